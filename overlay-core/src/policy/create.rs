//! The policies for new objects.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::candidate::{Candidate, Place};
use super::choose::{Chooser, View, best};
use super::constrain::constrain;
use super::look::Look;
use super::table::{CreateRule, WhenFull};
use crate::attr::FileKind;
use crate::error::Result;
use crate::stack::BranchId;

impl Chooser {
    /// The branch for a new object, by the policy and what overrides it.
    ///
    /// When making it there fails with `ENOSPC` or `EDQUOT`, ask again with
    /// the branch in [`Place::failed`]: policies that fill one branch after
    /// the other name the next, the others none (see [`WhenFull`]).
    ///
    /// Errors are those of the candidates. One that does not tell its free
    /// space is no error.
    pub fn create<C: Candidate>(
        &self,
        branches: &[C],
        place: &Place<'_>,
    ) -> Result<Option<BranchId>> {
        let failed = match self.create.row().when_full {
            WhenFull::Fails => &[],
            WhenFull::Next => place.failed,
        };
        let view = View::new(branches, failed);
        let chosen = self.by_policy(&view, place)?.map(Candidate::id);
        let placed = chosen.and_then(|id| constrain(branches, id, place.ceiling, failed));
        Ok(placed.filter(|id| !place.failed.contains(id)))
    }

    fn by_policy<'a, C: Candidate>(
        &self,
        view: &View<'a, C>,
        place: &Place<'_>,
    ) -> Result<Option<&'a C>> {
        let look = || self.look.at(view, self.create.seconds(), place.now);
        match self.create.rule() {
            CreateRule::TopDownParent => top_down_parent(view),
            CreateRule::RoundRobin => Ok(self.round_robin(view, place.kind)),
            CreateRule::MostFreeSpace => most_free(view, &look()),
            CreateRule::MostFreeThenRoundRobin => self.most_free_or_turn(view, &look(), place.kind),
            CreateRule::TopDownThenMostFree => {
                let look = look();
                let low = self.create.low();
                let room = |branch: &&C| look.available(branch.id()) >= Some(low);
                match view.usable().into_iter().find(room) {
                    Some(branch) => Ok(Some(branch)),
                    None => most_free(view, &look),
                }
            }
            CreateRule::ParentMostFree => parent_most_free(view, look),
            CreateRule::ParentMostFreeThenRoundRobin => {
                let look = look();
                let with_parent = parent_most_free(view, || Arc::clone(&look))?;
                let low = self.create.low();
                match with_parent.filter(|branch| look.available(branch.id()) >= Some(low)) {
                    Some(branch) => Ok(Some(branch)),
                    None => self.most_free_or_turn(view, &look, place.kind),
                }
            }
            CreateRule::FirstFound => Ok(view.usable().into_iter().next()),
            CreateRule::ExistingFirstFound => existing_first(view),
            CreateRule::ExistingMostFree => {
                let look = look();
                best(existing(view)?, |branch| Ok(look.available(branch.id())))
            }
            CreateRule::LeastFreeSpace => least_free(view.usable(), &look()),
            CreateRule::ExistingLeastFree => least_free(existing(view)?, &look()),
            CreateRule::LeastUsedSpace => least_used(view.usable(), &look()),
            CreateRule::ExistingLeastUsed => least_used(existing(view)?, &look()),
            CreateRule::LeastUsedPercent => {
                let look = look();
                best(view.usable(), |branch| Ok(look.used_share(branch.id())))
            }
            CreateRule::Random => Ok(self.any(&view.usable())),
            CreateRule::ExistingRandom => Ok(self.any(&existing(view)?)),
            CreateRule::RandomByFree => Ok(self.any_by_free(&view.usable(), &look())),
            CreateRule::ExistingRandomByFree => Ok(self.any_by_free(&existing(view)?, &look())),
            CreateRule::Newest => best(existing(view)?, |branch| {
                Ok(match branch.has_parent()? {
                    true => Some(branch.parent_modified()?),
                    false => None,
                })
            }),
        }
    }

    /// Turns are counted over the writable branches, from the top down. (In
    /// aufs over all of them, so that the neighbour of a read-only branch is
    /// served twice.) A directory takes the turn of the next file. Who asks
    /// again after a failure gets the next branch and takes no other's turn.
    fn round_robin<'a, C: Candidate>(&self, view: &View<'a, C>, kind: FileKind) -> Option<&'a C> {
        let turn = match (kind, view.failed().is_empty()) {
            (FileKind::Directory, _) | (_, false) => self.turn.load(Ordering::Relaxed),
            (_, true) => self.turn.fetch_add(1, Ordering::Relaxed),
        };
        let writable: Vec<&C> = view.writable().map(|(_, branch)| branch).collect();
        let skipped = turn.checked_rem(writable.len())?;
        let mut ring = writable.iter().cycle().skip(skipped).take(writable.len());
        ring.find(|branch| view.is_usable(branch)).copied()
    }

    fn most_free_or_turn<'a, C: Candidate>(
        &self,
        view: &View<'a, C>,
        look: &Look,
        kind: FileKind,
    ) -> Result<Option<&'a C>> {
        let most = most_free(view, look)?;
        let low = self.create.low();
        match most.filter(|branch| look.available(branch.id()) >= Some(low)) {
            Some(branch) => Ok(Some(branch)),
            None => Ok(self.round_robin(view, kind)),
        }
    }

    fn any<'a, C>(&self, branches: &[&'a C]) -> Option<&'a C> {
        let at = self.random_below(branches.len() as u128);
        branches.get(at as usize).copied()
    }

    /// Each as likely as its share of what is available on all.
    fn any_by_free<'a, C: Candidate>(&self, branches: &[&'a C], look: &Look) -> Option<&'a C> {
        let available = |branch: &C| u128::from(look.available(branch.id()).unwrap_or(0));
        let mut ticket = self.random_below(branches.iter().map(|b| available(b)).sum());
        for branch in branches {
            match ticket.checked_sub(available(branch)) {
                Some(rest) => ticket = rest,
                None => return Some(branch),
            }
        }
        // All are full, or none has answered.
        self.any(branches)
    }
}

/// The highest branch with the parent, else the nearest writable one above.
fn top_down_parent<'a, C: Candidate>(view: &View<'a, C>) -> Result<Option<&'a C>> {
    let Some(top) = view.top_parent()? else {
        return Ok(None);
    };
    let there = view.get(top).filter(|branch| view.is_usable(branch));
    Ok(there.or_else(|| view.above(top)))
}

/// Of two that are equal the lower one (`au_mfs`).
fn most_free<'a, C: Candidate>(view: &View<'a, C>, look: &Look) -> Result<Option<&'a C>> {
    let upwards = view.usable().into_iter().rev();
    best(upwards, |branch| Ok(look.available(branch.id())))
}

/// Of two that are equal the upper one (`au_wbr_create_pmfs`). Looks only if
/// there is a choice.
fn parent_most_free<'a, C: Candidate>(
    view: &View<'a, C>,
    look: impl FnOnce() -> Arc<Look>,
) -> Result<Option<&'a C>> {
    let mut found = view.with_parent()?;
    if found.is_empty() {
        return top_down_parent(view);
    }
    found.retain(|branch| view.is_usable(branch));
    if let [only] = found.as_slice() {
        return Ok(Some(only));
    }
    let look = look();
    best(found, |branch| Ok(look.available(branch.id())))
}

/// The usable branches of the `ep` policies: those with the parent; all if no
/// writable branch has it, for then it is on a read-only one, and is made on
/// the branch that is chosen. (mergerfs fails there: it has no copy-up.)
fn existing<'a, C: Candidate>(view: &View<'a, C>) -> Result<Vec<&'a C>> {
    let mut found = view.with_parent()?;
    if found.is_empty() {
        return Ok(view.usable());
    }
    found.retain(|branch| view.is_usable(branch));
    Ok(found)
}

/// The first of [`existing`], without asking the branches below it.
fn existing_first<'a, C: Candidate>(view: &View<'a, C>) -> Result<Option<&'a C>> {
    let mut full = false;
    for (_, branch) in view.writable() {
        if branch.has_parent()? {
            if view.is_usable(branch) {
                return Ok(Some(branch));
            }
            full = true;
        }
    }
    Ok(match full {
        true => None,
        false => view.usable().into_iter().next(),
    })
}

fn least_free<'a, C: Candidate>(branches: Vec<&'a C>, look: &Look) -> Result<Option<&'a C>> {
    best(branches, |branch| {
        Ok(look.available(branch.id()).map(std::cmp::Reverse))
    })
}

fn least_used<'a, C: Candidate>(branches: Vec<&'a C>, look: &Look) -> Result<Option<&'a C>> {
    best(branches, |branch| Ok(look.used(branch.id())))
}
