//! What a history of operations is run on.

use overlay_core::spec::{Dir, Index, Op, Outcome, Rules, Seen, Stored};

pub mod core;
pub mod kernel;
pub mod mounted;
pub mod ours;
pub mod posix;
pub mod travelling;

/// A union that can be compared with the model.
pub trait Subject {
    /// Does one operation.
    fn apply(&mut self, op: &Op) -> Outcome;

    /// The whole tree as a reader sees it; a message if it contradicts itself.
    fn look(&mut self) -> Result<Seen, String>;

    /// The layers as they are stored now, top first.
    fn stored(&self) -> Vec<Dir<Stored>>;

    /// The index as it is stored now; empty without one.
    fn index(&self) -> Index;

    /// What lies in the work area and should not.
    fn litter(&self) -> Vec<String>;

    /// What becomes of inode numbers over this remount or rotation.
    fn numbers(&self, over: &Op) -> Numbers;

    /// Whether an object that the index counts is copied up under all names
    /// that are known, and not just under the one that is used: a request of
    /// FUSE, or one on an open file, names an inode and not a name.
    /// Directories that are copied up for it merge (S19).
    fn copies_all_names(&self) -> bool {
        false
    }

    /// Whose rules it follows now, if that changes over remounts.
    fn rules(&self) -> Option<Rules> {
        None
    }
}

/// What becomes of inode numbers when a union is mounted again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// They stay, as the model has it.
    Stay,
    /// They do, but for the root's: in a FUSE mount that is 1.
    StayBelowTheRoot,
    /// Any of them may change.
    Change,
}
