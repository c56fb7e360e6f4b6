//! The union engine: one verb a file.
//!
//! A [`Union`] is a stack put together: every verb of a filesystem over
//! inodes, with no FUSE in it. What lies where is the layers' business, how
//! marks look the dialect's; here is what the stack shows and how it changes.
//!
//! Locks, outermost first, are listed in `union/locks.rs`.

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::attr::{Attr, Owner};
use crate::error::{Error, Result};
use crate::layer::Node;
use crate::policy::Chooser;
use crate::stack::{BranchId, Stack};
use copies::Copies;
use moves::Moves;
use opened::Opens;
use origin::Filesystems;
use part::Part;
use sync::Lost;
use table::Table;
use target::Target;

mod acl;
mod assemble;
mod attr;
mod beside;
mod change;
mod claim;
mod copies;
mod copy_up;
mod create;
mod empty;
mod gone;
mod index;
mod inode;
mod lend;
mod link;
mod live;
mod locks;
mod lookup;
mod metacopy;
mod moves;
mod numbers;
mod open;
mod opened;
mod options;
mod origin;
mod part;
mod place;
pub mod plinks;
mod protection;
mod readdir;
mod redirect;
mod remove;
mod rename;
mod search;
mod step;
mod sync;
mod table;
mod target;
mod trail;
mod whiteout;
mod xattr;

pub use change::Unasked;
pub use inode::Inode;
pub use lend::{Lent, LentForWriting};
pub use live::{Live, Now};
pub use open::{Handle, OpenOptions};
pub use options::{
    DefaultAcls, Durability, Index, Metacopy, NfsExport, Options, Others, Plinks, Recover,
    RedirectDir, ShowWhiteouts, Size, Xino,
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
    /// What was asked for.
    asked: Options,
    /// What is done: in some stacks less.
    options: Options,
    stack: Stack,
    /// The branches that can be written, top first.
    targets: Box<[Arc<Target>]>,
    /// Which of them takes what is written; `None` if there is no choice.
    chooser: Option<Chooser>,
    /// Whether there never was one: where there was, files may be moved again.
    lends: bool,
    /// Read-only branches that may hold whiteouts that are regular files, by
    /// their root's mark.
    file_whiteout_branches: Vec<BranchId>,
    table: Arc<Table>,
    filesystems: Filesystems,
    /// Where copies of lower files with several names lie; set before the
    /// first change.
    copies: OnceLock<Copies>,
    root: Arc<Inode>,
    /// Subdirectories of a read-only top branch's root that are its dialect's
    /// own, once they were counted.
    hidden_in_root: OnceLock<u64>,
    /// The roots of the data-only branches, top first.
    data_roots: Vec<Arc<dyn Node>>,
    /// Held while a directory moves between parents. Rank 2.
    topology: Mutex<()>,
    /// What is open.
    opens: Arc<Opens>,
    /// Who keeps files from moving between branches, and who moves them.
    moves: Moves,
    /// Whether the work area has been cleared. Before all other locks.
    recovered: Mutex<bool>,
    /// What a volatile union could not write back.
    lost: Arc<Lost>,
}

impl Union {
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
        self.targets.is_empty()
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

    /// The writable branch of an overlay stack, which is on top: what only
    /// such a stack has (redirects, metacopies, an index, origins) is there.
    fn upper(&self) -> Option<&Target> {
        match self.chooser {
            None => self.targets.first().map(|target| &**target),
            Some(_) => None,
        }
    }

    /// Whether marks that are entries are seen, too.
    fn shows_whiteouts(&self) -> bool {
        self.options.whiteouts == ShowWhiteouts::AsTheyAre
    }

    /// Whether directories of this part's branch may hold file whiteouts.
    fn may_hold_file_whiteouts(&self, part: &Part) -> bool {
        self.file_whiteout_branches.contains(&part.branch)
    }

    /// Whether anything can lie below what the top branch stores.
    fn has_lowers(&self) -> bool {
        self.root.parts().len() > 1
    }

    /// Whether a branch has none below it that shows anything.
    fn is_bottom(&self, id: BranchId) -> bool {
        let bottom = self.root.parts().last();
        bottom.is_some_and(|root| root.branch == id)
    }

    /// Where a branch lies in the stack; 0 is the top.
    fn depth(&self, id: BranchId) -> Result<usize> {
        self.stack.position(id).ok_or(Error::Stale)
    }
}
