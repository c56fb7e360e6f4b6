//! The state of the policies, and what they have in common.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::candidate::Candidate;
use super::look::LastLook;
use super::words::{CopyUpPolicy, CreatePolicy};
use crate::error::Result;
use crate::stack::BranchId;

/// Chooses branches for one mounted stack: its two policies with what they
/// remember from one request to the next.
///
/// Every answer is a branch that can be written and has not failed, or `None`.
/// What `None` means depends on the request: with an empty
/// [`Place::failed`](super::Place::failed) nothing can be written there
/// (`EROFS`), else the first failure is the answer (`ENOSPC`).
///
/// To be shared between threads; each request may run at the same time as
/// others.
#[derive(Debug)]
pub struct Chooser {
    pub(super) create: CreatePolicy,
    pub(super) copy_up: CopyUpPolicy,
    /// Of the round-robin policies: requests so far.
    pub(super) turn: AtomicUsize,
    /// Of the random policies.
    random: AtomicU64,
    pub(super) look: LastLook,
}

impl Chooser {
    /// A chooser that remembers nothing yet. `seed` is what random policies
    /// begin with: the same seed, the same choices.
    pub fn new(create: CreatePolicy, copy_up: CopyUpPolicy, seed: u64) -> Chooser {
        Chooser {
            create,
            copy_up,
            turn: AtomicUsize::new(0),
            random: AtomicU64::new(seed),
            look: LastLook::default(),
        }
    }

    /// The policy for new objects.
    pub fn create_policy(&self) -> CreatePolicy {
        self.create
    }

    /// The policy for copies.
    pub fn copy_up_policy(&self) -> CopyUpPolicy {
        self.copy_up
    }

    /// A random number below `limit`; 0 if that is 0. The generator is
    /// SplitMix64: its whole state is a counter, so threads share it without
    /// a lock.
    pub(super) fn random_below(&self, limit: u128) -> u128 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut x = self
            .random
            .fetch_add(STEP, Ordering::Relaxed)
            .wrapping_add(STEP);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // Limits are far below 2^64 times any size that there is, and the bias
        // of a remainder of 64 bits far below what anybody can count.
        u128::from(x ^ (x >> 31)).checked_rem(limit).unwrap_or(0)
    }
}

/// The branches without those that have failed.
#[derive(Debug)]
pub(super) struct View<'a, C> {
    branches: &'a [C],
    failed: &'a [BranchId],
}

impl<'a, C: Candidate> View<'a, C> {
    pub(super) fn new(branches: &'a [C], failed: &'a [BranchId]) -> View<'a, C> {
        View { branches, failed }
    }

    pub(super) fn failed(&self) -> &[BranchId] {
        self.failed
    }

    /// All that can be written, failed or not, top first.
    pub(super) fn writable(&self) -> impl DoubleEndedIterator<Item = (usize, &'a C)> {
        let all = self.branches.iter().enumerate();
        all.filter(|(_, branch)| branch.is_writable())
    }

    pub(super) fn is_usable(&self, branch: &C) -> bool {
        branch.is_writable() && !self.failed.contains(&branch.id())
    }

    /// All that can be written and have not failed, top first.
    pub(super) fn usable(&self) -> Vec<&'a C> {
        let writable = self.writable().map(|(_, branch)| branch);
        writable.filter(|branch| self.is_usable(branch)).collect()
    }

    pub(super) fn position(&self, id: BranchId) -> Option<usize> {
        self.branches.iter().position(|branch| branch.id() == id)
    }

    pub(super) fn get(&self, at: usize) -> Option<&'a C> {
        self.branches.get(at)
    }

    /// The highest branch that has the parent, whether it can be written or
    /// not.
    pub(super) fn top_parent(&self) -> Result<Option<usize>> {
        for (at, branch) in self.branches.iter().enumerate() {
            if branch.has_parent()? {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// The nearest usable branch above the one at `at` (`au_wbr_bu`).
    pub(super) fn above(&self, at: usize) -> Option<&'a C> {
        let mut upwards = self.branches.iter().take(at).rev();
        upwards.find(|branch| self.is_usable(branch))
    }

    /// All that can be written and have the parent, failed or not.
    pub(super) fn with_parent(&self) -> Result<Vec<&'a C>> {
        let mut found = Vec::new();
        for (_, branch) in self.writable() {
            if branch.has_parent()? {
                found.push(branch);
            }
        }
        Ok(found)
    }
}

/// The first of those with the greatest value. Those without one are only
/// considered where all are without.
pub(super) fn best<'a, C, K: Ord>(
    branches: impl IntoIterator<Item = &'a C>,
    mut value: impl FnMut(&C) -> Result<Option<K>>,
) -> Result<Option<&'a C>> {
    let mut best: Option<(Option<K>, &C)> = None;
    for branch in branches {
        let this = value(branch)?;
        match &best {
            // `None` is the smallest.
            Some((greatest, _)) if this <= *greatest => {}
            Some(_) | None => best = Some((this, branch)),
        }
    }
    Ok(best.map(|(_, branch)| branch))
}
