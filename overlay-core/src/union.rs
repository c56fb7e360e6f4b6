//! The union engine: one verb a file.
//!
//! A [`Union`] is a stack put together: every verb of a filesystem over
//! inodes, with no FUSE in it. What lies where is the layers' business, how
//! marks look the dialect's; here is what the stack shows and how it changes.
//!
//! Locks, outermost first, are listed in `union/locks.rs`.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};

use crate::attr::{Attr, Owner};
use crate::dialect::Opacity;
use crate::error::{Error, Result};
use crate::layer::{Node, WritableNode};
use crate::policy::{self, Target};
use crate::stack::{BranchId, Stack, Store};
use beside::Base;
use inode::{Body, Directory, LowerDir};
use numbers::Numbers;
use origin::{Filesystems, Impure};
use protection::Protected;
use sync::Lost;
use table::{ObjectId, ROOT, Table};

mod acl;
mod attr;
mod beside;
mod claim;
mod copy_up;
mod create;
mod index;
mod inode;
mod link;
mod locks;
mod lookup;
mod metacopy;
mod numbers;
mod open;
mod options;
mod origin;
mod protection;
mod readdir;
mod redirect;
mod remove;
mod rename;
mod search;
mod step;
mod sync;
mod table;
mod trail;
mod whiteout;
mod xattr;

pub use inode::Inode;
pub use open::{Handle, OpenOptions};
pub use options::{
    DefaultAcls, Durability, Index, Metacopy, NfsExport, Options, Recover, RedirectDir, Xino,
};
pub use readdir::{DirEntry, DirHandle, Flow};

/// Who asks: new objects belong to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Owner of what is created.
    pub owner: Owner,
    /// Bits to take away from the mode of what is created, unless the
    /// directory has a default ACL.
    pub umask: u32,
}

/// An inode found by name, with its attributes.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The inode.
    pub inode: Arc<Inode>,
    /// Its attributes as the union shows them.
    pub attr: Attr,
}

/// A stack put together: all verbs of a filesystem.
#[derive(Debug)]
pub struct Union {
    options: Options,
    stack: Stack,
    target: Option<Target>,
    /// Whether the writable branch may hold whiteouts that are regular files.
    writable_file_whiteouts: AtomicBool,
    /// What AuFS keeps in the root of the writable branch.
    base: Base,
    /// Branches that may, by their root's mark.
    file_whiteout_branches: Vec<BranchId>,
    table: Arc<Table>,
    filesystems: Filesystems,
    /// The directory of the index; set before the first change.
    index: OnceLock<Arc<dyn WritableNode>>,
    root: Arc<Inode>,
    /// The roots of the data-only branches, top first.
    data_roots: Vec<Arc<dyn Node>>,
    /// Held while a directory moves between parents. Rank 2.
    topology: Mutex<()>,
    /// Whether the work area has been cleared. Before all other locks.
    recovered: Mutex<bool>,
    /// What a volatile union could not write back.
    lost: Lost,
}

impl Union {
    /// Puts `stack` together, and clears what a crash left in the work area.
    ///
    /// Errors: `EINVAL` for a stack without branches, `EOPNOTSUPP` for a
    /// writable branch that is not on top, or has no marks for what is asked.
    ///
    /// ```
    /// use overlay_core::{Caller, MemStorage, Name, Owner, Stack, Union};
    /// use overlay_core::layer::NewKind;
    ///
    /// let union = Union::new(Stack::new().upper(MemStorage::new()).lower(MemStorage::new()))?;
    /// let me = Caller { owner: Owner { uid: 0, gid: 0 }, umask: 0o022 };
    /// let name = Name::new(b"hello")?;
    /// union.create(&union.root(), name, NewKind::Directory, 0o777, &me)?;
    /// let entry = union.lookup(&union.root(), name)?.expect("made above");
    /// assert_eq!(entry.attr.mode, 0o755);
    /// # Ok::<(), overlay_core::Error>(())
    /// ```
    pub fn new(stack: Stack) -> Result<Arc<Union>> {
        let options = Options::of(&stack);
        Union::with_options(stack, options)
    }

    /// As [`Union::new`], behaving as `options` say.
    ///
    /// Errors: also [`Error::Index`] for a stack that cannot have one.
    pub fn with_options(stack: Stack, options: Options) -> Result<Arc<Union>> {
        let target = policy::target(&stack)?;
        if let Some(target) = &target {
            options.check(target.whiteouts)?;
        }
        let numbers = Numbers::of(&stack, options.xino)?;
        let table = Arc::new(Table::new(numbers, &options));
        let mut writable: Option<Arc<dyn WritableNode>> = None;
        let mut lowers = Vec::new();
        let mut file_whiteout_branches = Vec::new();
        let mut data_roots = Vec::new();
        let mut writable_file_whiteouts = false;
        let mut hidden = false;
        for branch in stack.branches() {
            let node: Arc<dyn Node> = match &branch.storage {
                Store::Writable(storage) => {
                    let node = storage.root();
                    writable = Some(Arc::clone(&node));
                    node
                }
                Store::ReadOnly(storage) => storage.root(),
            };
            if branch.data_only {
                data_roots.push(node);
                continue;
            }
            let opacity = branch.dialect.root_opacity(&*node)?;
            let marked = opacity == Opacity::HoldsFileWhiteouts;
            match &branch.storage {
                Store::Writable(_) => writable_file_whiteouts = marked,
                Store::ReadOnly(_) if hidden => {}
                Store::ReadOnly(_) => lowers.push(LowerDir {
                    branch: branch.id,
                    node,
                    file_whiteouts: marked,
                }),
            }
            if marked {
                file_whiteout_branches.push(branch.id);
            }
            hidden |= opacity == Opacity::Opaque;
        }
        if writable.is_none() && lowers.is_empty() {
            return Err(Error::Invalid("a union needs a branch"));
        }
        let body = Body::Directory(Box::new(Directory {
            lowers: lowers.into_boxed_slice(),
            redirect: Mutex::new(None),
            impure: Impure::default(),
            state: RwLock::default(),
        }));
        let root = Inode::new(
            ROOT,
            ROOT,
            body,
            Protected::default(),
            writable,
            None,
            &table,
        );
        let attr = root.node().attr()?;
        // The kernel reads no mark there (`ovl_get_root` in `super.c`).
        root.protected.settle(attr.protection);
        let root = table.enter(root);
        // Copies of the root's own object show the root's number.
        table.give(ObjectId::from(&attr), ROOT);
        let union = Arc::new(Union {
            filesystems: Filesystems::of(&stack, &options)?,
            index: OnceLock::new(),
            options,
            stack,
            target,
            writable_file_whiteouts: AtomicBool::new(writable_file_whiteouts),
            base: Base::default(),
            file_whiteout_branches,
            table,
            root,
            data_roots,
            topology: Mutex::new(()),
            recovered: Mutex::new(false),
            lost: Lost::default(),
        });
        match options.recover {
            Recover::AtOnce => union.recover()?,
            // What can be refused is, while nothing has changed.
            Recover::WhenAsked => union.verify()?,
        }
        Ok(union)
    }

    /// Whether [`Union::recover`] would refuse the stack; nothing changes.
    fn verify(&self) -> Result<()> {
        match (&self.target, self.options.index) {
            (Some(target), Index::On) => self.verify_index(target),
            (Some(_), Index::Off) | (None, _) => Ok(()),
        }
    }

    /// Clears the work area of what a crash left there, and marks it where
    /// the union is volatile; once, however often it is called.
    pub fn recover(&self) -> Result<()> {
        let Some(target) = &self.target else {
            return Ok(());
        };
        let mut recovered = self.recovered.lock();
        if *recovered {
            return Ok(());
        }
        target.storage.clear_work()?;
        self.prepare_base(target)?;
        match self.options.durability {
            Durability::Volatile => target.storage.mark_volatile()?,
            Durability::Auto | Durability::Strict | Durability::Unmarked => {}
        }
        if self.options.index == Index::On && self.index.get().is_none() {
            let index = self.open_index(target)?;
            self.index.get_or_init(|| index);
        }
        *recovered = true;
        Ok(())
    }

    /// The root directory.
    pub fn root(&self) -> Arc<Inode> {
        Arc::clone(&self.root)
    }

    /// The stack that this union shows.
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// Whether anything can be changed.
    pub fn is_read_only(&self) -> bool {
        self.target.is_none()
    }

    /// The inode with this number, if it is pinned or otherwise alive.
    pub fn known(&self, number: u64) -> Option<Arc<Inode>> {
        self.table.get(number)
    }

    /// Keeps `inode` known until [`Union::unpin`] took back as many pins.
    pub fn pin(&self, inode: &Arc<Inode>) {
        self.table.pin(inode);
    }

    /// Takes back `count` pins of the inode `number`.
    pub fn unpin(&self, number: u64, count: u64) {
        self.table.unpin(number, count);
    }

    /// Whether directories of this part's branch may hold file whiteouts.
    fn may_hold_file_whiteouts(&self, part: &LowerDir) -> bool {
        self.file_whiteout_branches.contains(&part.branch)
    }

    /// Whether anything can lie below what the writable branch stores.
    fn has_lowers(&self) -> bool {
        self.root.lower().is_some()
    }

    /// Whether a branch has none below it that shows anything.
    fn is_bottom(&self, id: BranchId) -> bool {
        let bottom = self.lower_roots().last();
        bottom.is_some_and(|root| root.branch == id)
    }

    /// The roots of the read-only branches, top first: the root merges all.
    fn lower_roots(&self) -> &[LowerDir] {
        match self.root.directory() {
            Some(root) => &root.lowers,
            None => &[],
        }
    }
}
