//! What a history of operations is run on.

use overlay_core::spec::{Dir, Op, Outcome, Seen, Stored};

pub mod core;
pub mod kernel;
pub mod mounted;
pub mod posix;

/// A union that can be compared with the model.
pub trait Subject {
    /// Does one operation.
    fn apply(&mut self, op: &Op) -> Outcome;

    /// The whole tree as a reader sees it; a message if it contradicts itself.
    fn look(&mut self) -> Result<Seen, String>;

    /// The layers as they are stored now, top first.
    fn stored(&self) -> Vec<Dir<Stored>>;

    /// What lies in the work area and should not.
    fn litter(&self) -> Vec<String>;

    /// Whether inode numbers stay over [`Op::Remount`].
    fn numbers_persist(&self) -> bool;
}
