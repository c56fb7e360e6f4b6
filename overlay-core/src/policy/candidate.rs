//! What a policy may ask, and about what.

use std::time::Instant;

use crate::attr::{FileKind, StatFs, Timestamp};
use crate::error::Result;
use crate::stack::BranchId;

/// One branch of the stack, as a policy sees it. Policies take slices of them,
/// top first, and all branches: those that cannot be written have a say too
/// (`tdp` starts at the highest branch with the parent, whoever may write it).
///
/// Every method but the first two may cost system calls, so a policy asks
/// late and seldom.
pub trait Candidate {
    /// Its name.
    fn id(&self) -> BranchId;

    /// Whether it can be written now: its access is `rw`.
    fn is_writable(&self) -> bool;

    /// Whether the parent directory of the new entry lies on this branch.
    fn has_parent(&self) -> Result<bool>;

    /// When that directory was last changed. Only asked where
    /// [`Candidate::has_parent`] said that it is there.
    fn parent_modified(&self) -> Result<Timestamp>;

    /// How full the filesystem of the branch is. Where it does not answer, the
    /// branch is the last to be chosen.
    fn space(&self) -> Result<Space>;
}

/// How full a filesystem is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    /// In all.
    pub total: u64,
    /// Not used.
    pub free: u64,
    /// Free for users other than root: what all policies compare.
    pub available: u64,
}

impl Space {
    /// What nobody but root can use any more, in bytes; the reserve of root
    /// counts as used, as mergerfs counts.
    pub fn used(&self) -> u64 {
        self.total.saturating_sub(self.available)
    }
}

impl From<&StatFs> for Space {
    fn from(stat: &StatFs) -> Space {
        let bytes = |blocks: u64| blocks.saturating_mul(u64::from(stat.frsize));
        Space {
            total: bytes(stat.blocks),
            free: bytes(stat.bfree),
            available: bytes(stat.bavail),
        }
    }
}

/// What is to be placed, and what is known already.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// What is made: `rr` takes its next turn for all but directories.
    pub kind: FileKind,
    /// The topmost branch with a mark that hides the place on the branches
    /// below it; see [`constrain`](super::constrain).
    pub ceiling: Option<BranchId>,
    /// Branches that have just answered `ENOSPC` or `EDQUOT` to this request.
    /// Empty at first; who asks again adds the branch that failed.
    pub failed: &'a [BranchId],
    /// The time, for policies that do not look at the free space every time.
    pub now: Instant,
}
