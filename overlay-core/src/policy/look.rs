//! The free space of the branches, as it was a short while ago.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::candidate::Space;
use super::choose::View;
use crate::policy::Candidate;
use crate::stack::BranchId;

/// What all writable branches said when they were last asked.
#[derive(Debug)]
pub(super) struct Look {
    until: Instant,
    /// `None` for a branch that did not answer, or had just failed: then what
    /// it says of its space is not worth much (quotas).
    spaces: Vec<(BranchId, Option<Space>)>,
}

/// The last [`Look`], while it is good.
#[derive(Debug, Default)]
pub(super) struct LastLook(Mutex<Option<Arc<Look>>>);

impl LastLook {
    /// The last look if it is younger than `seconds` and knows all writable
    /// branches, else a fresh one; always a fresh one after a failure.
    pub(super) fn at<C: Candidate>(
        &self,
        view: &View<'_, C>,
        seconds: u32,
        now: Instant,
    ) -> Arc<Look> {
        let last = self.0.lock().clone();
        if let Some(last) = last
            && view.failed().is_empty()
            && now < last.until
            && view.writable().all(|(_, branch)| last.knows(branch.id()))
        {
            return last;
        }
        // Not under the lock: a filesystem may take its time to answer. Two
        // threads may both ask then, which harms nobody.
        let fresh = Arc::new(Look::fresh(view, seconds, now));
        *self.0.lock() = Some(Arc::clone(&fresh));
        fresh
    }
}

impl Look {
    fn fresh<C: Candidate>(view: &View<'_, C>, seconds: u32, now: Instant) -> Look {
        let ask = |branch: &C| match branch.space() {
            Ok(space) => Some(space),
            Err(error) => {
                // As aufs does (`au_mfs`): the other branches can still be chosen.
                tracing::warn!(%error, branch = branch.id().0, "a branch does not tell its free space");
                None
            }
        };
        let spaces = view.writable().map(|(_, branch)| {
            let id = branch.id();
            (
                id,
                (!view.failed().contains(&id))
                    .then(|| ask(branch))
                    .flatten(),
            )
        });
        let lasts = Duration::from_secs(u64::from(seconds));
        Look {
            until: now.checked_add(lasts).unwrap_or(now),
            spaces: spaces.collect(),
        }
    }

    fn knows(&self, id: BranchId) -> bool {
        self.spaces.iter().any(|(known, _)| *known == id)
    }

    pub(super) fn space(&self, id: BranchId) -> Option<Space> {
        let found = self.spaces.iter().find(|(known, _)| *known == id);
        found.and_then(|(_, space)| *space)
    }

    pub(super) fn available(&self, id: BranchId) -> Option<u64> {
        self.space(id).map(|space| space.available)
    }

    pub(super) fn used(&self, id: BranchId) -> Option<Reverse<u64>> {
        self.space(id).map(|space| Reverse(space.used()))
    }

    /// In millionths; an empty filesystem of no size is full.
    pub(super) fn used_share(&self, id: BranchId) -> Option<Reverse<u64>> {
        let share = |space: Space| {
            let millionths = u128::from(space.used()) * 1_000_000;
            let share = millionths.checked_div(u128::from(space.total));
            // At most a million.
            share.map_or(1_000_000, |share| share as u64)
        };
        self.space(id).map(|space| Reverse(share(space)))
    }
}
