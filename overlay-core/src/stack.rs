//! The stack: branches, top first, with their access and dialect.

use std::sync::Arc;

use crate::attr::{Attr, FileKind};
use crate::dialect::{Dialect, Heed, Reading};
use crate::error::{Error, Result};
use crate::handle::FileHandle;
use crate::layer::{Node, Storage, WritableStorage};

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
    /// Whether its marks count.
    pub heed: Heed,
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
    /// Where the branch of each name lies, for a search of many branches asks
    /// that of each. No name is used again.
    places: Vec<Option<usize>>,
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

    /// As [`Stack::lower_as`], without looking for marks: AuFS' `ro` without
    /// `wh`.
    pub fn plain_as(mut self, storage: Arc<dyn Storage>, dialect: Dialect) -> Stack {
        self = self.lower_as(storage, dialect);
        if let Some(branch) = self.branches.last_mut() {
            branch.heed = Heed::Nothing;
        }
        self
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

    /// Where the branch of this name lies; 0 is the top.
    pub fn position(&self, id: BranchId) -> Option<usize> {
        *self.places.get(id.0 as usize)?
    }

    /// The branch of this name.
    pub fn branch(&self, id: BranchId) -> Option<&Branch> {
        self.branches.get(self.position(id)?)
    }

    /// The only branch that can be written, if it is on top.
    pub fn only_upper(&self) -> Option<BranchId> {
        let is_written = |branch: &Branch| branch.storage.is_writable();
        let (top, below) = self.branches.split_first()?;
        let alone = is_written(top) && !below.iter().any(is_written);
        alone.then_some(top.id)
    }

    /// Whether redirects and the like can be noted on the writable branch, if
    /// there is one.
    pub fn takes_marks(&self) -> bool {
        self.branches.iter().all(|branch| {
            !branch.storage.is_writable() || branch.dialect.takes_marks(FileKind::Directory)
        })
    }

    /// How a branch is read.
    pub(crate) fn reading(&self, id: BranchId) -> Reading {
        Reading {
            dialect: self.dialect(id),
            heed: self.branch(id).map_or(Heed::Marks, |branch| branch.heed),
        }
    }

    /// How marks are encoded on a branch.
    pub(crate) fn dialect(&self, id: BranchId) -> Dialect {
        self.branch(id)
            .map_or_else(Dialect::default, |branch| branch.dialect)
    }

    /// Adds a branch, at this place (0 is the top; at most below all others
    /// that show something), and returns its name.
    pub fn insert(&mut self, at: usize, storage: Store, dialect: Dialect, heed: Heed) -> BranchId {
        let id = self.name();
        let showing = self.branches.iter().take_while(|branch| !branch.data_only);
        let at = at.min(showing.count());
        self.branches.insert(
            at,
            Branch {
                id,
                storage,
                dialect,
                heed,
                data_only: false,
            },
        );
        self.note_places();
        id
    }

    /// Takes a branch away; `ENOENT` if it is not there.
    pub fn remove(&mut self, id: BranchId) -> Result<()> {
        let at = self.position(id).ok_or(Error::NotFound)?;
        self.branches.remove(at);
        self.note_places();
        Ok(())
    }

    /// A name for another branch.
    fn name(&mut self) -> BranchId {
        let id = BranchId(self.places.len() as u32);
        self.places.push(None);
        id
    }

    fn note_places(&mut self) {
        self.places.fill(None);
        for (at, branch) in self.branches.iter().enumerate() {
            if let Some(place) = self.places.get_mut(branch.id.0 as usize) {
                *place = Some(at);
            }
        }
    }

    /// Changes the access to a branch; `ENOENT` if it is not there. What it
    /// stores must be the same.
    pub fn set_access(&mut self, id: BranchId, storage: Store, heed: Heed) -> Result<()> {
        let at = self.position(id).ok_or(Error::NotFound)?;
        // A position is below the length.
        let branch = &mut self.branches[at];
        branch.storage = storage;
        branch.heed = heed;
        Ok(())
    }

    /// Changes how the marks of a branch look that are written from now on, and
    /// which are read; `ENOENT` if it is not there.
    pub fn set_dialect(&mut self, id: BranchId, dialect: Dialect) -> Result<()> {
        let at = self.position(id).ok_or(Error::NotFound)?;
        // A position is below the length.
        self.branches[at].dialect = dialect;
        Ok(())
    }

    fn push(mut self, storage: Store, dialect: Dialect) -> Stack {
        let id = self.name();
        self.branches.push(Branch {
            id,
            storage,
            dialect,
            heed: Heed::Marks,
            data_only: false,
        });
        self.note_places();
        self
    }
}

impl Store {
    /// Whether it can be written.
    pub fn is_writable(&self) -> bool {
        match self {
            Store::ReadOnly(_) => false,
            Store::Writable(_) => true,
        }
    }

    /// Its top directory, for reading.
    pub fn root(&self) -> Arc<dyn Node> {
        match self {
            Store::ReadOnly(storage) => storage.root(),
            Store::Writable(storage) => storage.root(),
        }
    }

    /// The same, which is not written any more.
    pub fn frozen(&self) -> Store {
        match self {
            Store::ReadOnly(storage) => Store::ReadOnly(Arc::clone(storage)),
            Store::Writable(storage) => Store::ReadOnly(Arc::new(Frozen(Arc::clone(storage)))),
        }
    }
}

/// A branch that was written, and is read from now on.
#[derive(Debug)]
struct Frozen(Arc<dyn WritableStorage>);

impl Storage for Frozen {
    fn root(&self) -> Arc<dyn Node> {
        self.0.root()
    }

    fn attr_of_handle(&self, handle: &FileHandle) -> Result<Option<Attr>> {
        self.0.attr_of_handle(handle)
    }
}
