//! The policies for copies, and for links and renames, which keep the branch
//! of their source.

use super::candidate::{Candidate, Place};
use super::choose::{Chooser, View};
use super::constrain::constrain;
use super::table::{CopyUpRule, WhenFull};
use crate::error::{Error, Result};
use crate::stack::BranchId;

impl Chooser {
    /// The branch for the copy of an object of the branch `source`: always
    /// above it, or itself if it can be written, so the copy is seen.
    ///
    /// Fails with `ESTALE` if there is no branch `source` any more.
    pub fn copy_up<C: Candidate>(
        &self,
        branches: &[C],
        source: BranchId,
        failed: &[BranchId],
    ) -> Result<Option<BranchId>> {
        let heeded = match self.copy_up.row().when_full {
            WhenFull::Fails => &[],
            WhenFull::Next => failed,
        };
        let view = View::new(branches, heeded);
        let at = view.position(source).ok_or(Error::Stale)?;
        let chosen = match self.copy_up.rule() {
            CopyUpRule::TopDownParent => top_down_parent(&view, at)?,
            CopyUpRule::BottomUpParent => bottom_up_parent(&view, at)?,
            CopyUpRule::BottomUp => here_or_above(&view, at),
        };
        let chosen = chosen.map(Candidate::id);
        Ok(chosen.filter(|id| !failed.contains(id)))
    }

    /// The branch for a new name of an object that lies on `source`.
    ///
    /// That branch if it can be written, since there a link costs nothing;
    /// else the object is copied up first, by the policy for copies. Then
    /// marks over the new name count as for a new object: see
    /// [`constrain`].
    pub fn link<C: Candidate>(
        &self,
        branches: &[C],
        source: BranchId,
        place: &Place<'_>,
    ) -> Result<Option<BranchId>> {
        let view = View::new(branches, place.failed);
        let at = view.position(source).ok_or(Error::Stale)?;
        let stays = view.get(at).filter(|branch| view.is_usable(branch));
        let chosen = match stays {
            Some(branch) => Some(branch.id()),
            None => self.copy_up(branches, source, place.failed)?,
        };
        Ok(chosen.and_then(|id| constrain(branches, id, place.ceiling, place.failed)))
    }

    /// The branch on which an object of `source` gets another name, over an
    /// object of the branch `replaced` if there is one.
    ///
    /// The higher of the two, so that the new one is seen; from there as
    /// [`Chooser::link`].
    pub fn rename<C: Candidate>(
        &self,
        branches: &[C],
        source: BranchId,
        replaced: Option<BranchId>,
        place: &Place<'_>,
    ) -> Result<Option<BranchId>> {
        let higher = branches
            .iter()
            .map(Candidate::id)
            .find(|id| *id == source || Some(*id) == replaced);
        self.link(branches, higher.ok_or(Error::Stale)?, place)
    }
}

/// The source's branch, the highest above it that has the parent, the nearest
/// above it (`au_wbr_create_tdp`, which aufs calls for copies too).
fn top_down_parent<'a, C: Candidate>(view: &View<'a, C>, at: usize) -> Result<Option<&'a C>> {
    if let Some(branch) = view.get(at).filter(|branch| view.is_usable(branch)) {
        return Ok(Some(branch));
    }
    for (_, branch) in view.writable().take_while(|(here, _)| *here < at) {
        if branch.has_parent()? && view.is_usable(branch) {
            return Ok(Some(branch));
        }
    }
    Ok(view.above(at))
}

/// From the source upwards the nearest that has the parent, else the nearest
/// above all that have it (`au_wbr_copyup_bup`).
fn bottom_up_parent<'a, C: Candidate>(view: &View<'a, C>, at: usize) -> Result<Option<&'a C>> {
    let up_to_source = view.writable().take_while(|(here, _)| *here <= at);
    for (_, branch) in up_to_source.collect::<Vec<_>>().into_iter().rev() {
        if view.is_usable(branch) && branch.has_parent()? {
            return Ok(Some(branch));
        }
    }
    Ok(view.top_parent()?.and_then(|top| view.above(top)))
}

fn here_or_above<'a, C: Candidate>(view: &View<'a, C>, at: usize) -> Option<&'a C> {
    let here = view.get(at).filter(|branch| view.is_usable(branch));
    here.or_else(|| view.above(at))
}
