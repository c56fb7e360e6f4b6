//! The stack: branches, top first, with their access and dialect.

use std::sync::Arc;

use crate::attr::FileKind;
use crate::dialect::Dialect;
use crate::layer::{Storage, WritableStorage};

pub mod directories;
pub mod mounts;

/// Names a branch for as long as the stack lives. Never an index: branches
/// come and go while mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BranchId(pub u32);

/// A branch and how its marks are encoded.
#[derive(Debug, Clone)]
pub struct Branch {
    /// Its name within this stack.
    pub id: BranchId,
    /// What it stores.
    pub storage: Store,
    /// How whiteouts and opaque directories look on it.
    pub dialect: Dialect,
    /// It shows nothing: files of branches above have their data here.
    pub data_only: bool,
}

/// A branch's storage by access.
#[derive(Debug, Clone)]
pub enum Store {
    /// Never written; unwritable by type.
    ReadOnly(Arc<dyn Storage>),
    /// Written by copy-up and creation.
    Writable(Arc<dyn WritableStorage>),
}

/// The branches of a union, top first.
///
/// ```
/// use overlay_core::{MemStorage, Stack};
/// let stack = Stack::new()
///     .upper(MemStorage::new())
///     .lower(MemStorage::new());
/// assert_eq!(stack.branches().len(), 2);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Stack {
    branches: Vec<Branch>,
}

impl Stack {
    /// A stack without branches.
    pub fn new() -> Stack {
        Stack::default()
    }

    /// Adds a writable branch below those added so far.
    pub fn upper(self, storage: Arc<dyn WritableStorage>) -> Stack {
        self.upper_as(storage, Dialect::default())
    }

    /// As [`Stack::upper`], in a given dialect.
    pub fn upper_as(self, storage: Arc<dyn WritableStorage>, dialect: Dialect) -> Stack {
        self.push(Store::Writable(storage), dialect)
    }

    /// Adds a read-only branch below those added so far.
    pub fn lower(self, storage: Arc<dyn Storage>) -> Stack {
        self.lower_as(storage, Dialect::default())
    }

    /// As [`Stack::lower`], in a given dialect.
    pub fn lower_as(self, storage: Arc<dyn Storage>, dialect: Dialect) -> Stack {
        self.push(Store::ReadOnly(storage), dialect)
    }

    /// Adds a branch that shows nothing. It holds data of files on the
    /// branches above that say so by `metacopy` and an absolute `redirect`
    /// (the kernel's "data-only" lower layers). Below all others.
    pub fn data_only(mut self, storage: Arc<dyn Storage>) -> Stack {
        self = self.push(Store::ReadOnly(storage), Dialect::default());
        if let Some(branch) = self.branches.last_mut() {
            branch.data_only = true;
        }
        self
    }

    /// The branches, top first.
    pub fn branches(&self) -> &[Branch] {
        &self.branches
    }

    /// The branch of this name.
    pub fn branch(&self, id: BranchId) -> Option<&Branch> {
        self.branches.iter().find(|branch| branch.id == id)
    }

    /// Whether redirects and the like can be noted on the writable branch, if
    /// there is one.
    pub fn takes_marks(&self) -> bool {
        self.branches.iter().all(|branch| match branch.storage {
            Store::ReadOnly(_) => true,
            Store::Writable(_) => branch.dialect.takes_marks(FileKind::Directory),
        })
    }

    /// How marks are encoded on a branch.
    pub(crate) fn dialect(&self, id: BranchId) -> Dialect {
        self.branch(id)
            .map_or_else(Dialect::default, |branch| branch.dialect)
    }

    fn push(mut self, storage: Store, dialect: Dialect) -> Stack {
        let id = BranchId(self.branches.len() as u32);
        self.branches.push(Branch {
            id,
            storage,
            dialect,
            data_only: false,
        });
        self
    }
}
