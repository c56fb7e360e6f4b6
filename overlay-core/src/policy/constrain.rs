//! What overrides every policy.

use super::candidate::Candidate;
use crate::stack::BranchId;

/// Where an object goes that a policy wants on `choice`, if marks hide it
/// there: the exceptions of aufs ("Exceptions for Policies" in `aufs(5)`).
///
/// A new object must be seen, so it may not lie below a mark that hides it.
/// `ceiling` is the topmost branch that has one of
///
/// - a whiteout of the name (the engine removes it where it creates over it),
/// - the parent directory as an opaque one,
/// - a directory above the parent as an opaque one.
///
/// A choice at or above it stands. Any other is replaced by the branch of the
/// mark if that can be written, else by the nearest writable one above. `None`
/// where there is none: the stack is read-only for this name.
///
/// `failed` branches count as not writable.
///
/// In the source this is spread over `au_wbr_create_exp` and `au_wbr_nonopq`
/// (`fs/aufs/wbr_policy.c`). Two things differ there, and here the manual is
/// followed. A mark below the choice replaces it too in the source (but not
/// for `tdp` and `tdmfs`), which the manual does not say and nobody can see. And a
/// mark on a read-only branch is forgotten in the source, which would put the
/// new object where it is hidden.
///
/// ```
/// use overlay_core::policy::{Candidate, Space, constrain};
/// use overlay_core::{BranchId, Result, Timestamp};
///
/// struct Branch(u32, bool);
/// impl Candidate for Branch {
///     fn id(&self) -> BranchId { BranchId(self.0) }
///     fn is_writable(&self) -> bool { self.1 }
///     fn has_parent(&self) -> Result<bool> { Ok(true) }
///     fn parent_modified(&self) -> Result<Timestamp> { Ok(Timestamp::default()) }
///     fn space(&self) -> Result<Space> { Ok(Space::default()) }
/// }
/// // rw1 + ro with a whiteout + rw2, and a policy that wants rw2.
/// let stack = [Branch(1, true), Branch(2, false), Branch(3, true)];
/// let placed = constrain(&stack, BranchId(3), Some(BranchId(2)), &[]);
/// assert_eq!(placed, Some(BranchId(1)));
/// ```
pub fn constrain<C: Candidate>(
    branches: &[C],
    choice: BranchId,
    ceiling: Option<BranchId>,
    failed: &[BranchId],
) -> Option<BranchId> {
    let at = |id: BranchId| branches.iter().position(|branch| branch.id() == id);
    let Some(ceiling) = ceiling.and_then(at) else {
        return Some(choice);
    };
    if at(choice)? <= ceiling {
        return Some(choice);
    }
    let mut upwards = branches.iter().take(ceiling + 1).rev();
    let found = upwards.find(|branch| branch.is_writable() && !failed.contains(&branch.id()));
    found.map(Candidate::id)
}
