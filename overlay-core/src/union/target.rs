//! The branches that can be written, and what is known of each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Union;
use super::beside::Base;
use crate::dialect::{Dialect, WhiteoutForm};
use crate::error::{Error, Result};
use crate::layer::{New, WritableStorage};
use crate::stack::{BranchId, Stack, Store};

/// A branch that takes what is written.
#[derive(Debug)]
pub(super) struct Target {
    pub branch: BranchId,
    /// Where it is stored.
    pub storage: Arc<dyn WritableStorage>,
    /// How marks are encoded there.
    pub dialect: Dialect,
    /// What a whiteout is there: the dialect and the filesystem have a say.
    pub whiteouts: WhiteoutForm,
    /// Whether its root says that it may hold whiteouts that are regular
    /// files.
    pub file_whiteouts: AtomicBool,
    /// What AuFS keeps in its root.
    pub base: Base,
}

impl Target {
    /// The object that hides a name.
    pub fn whiteout(&self) -> New<'static> {
        self.dialect.whiteout(self.whiteouts)
    }

    /// Whether its root says that it may hold whiteouts that are regular
    /// files.
    pub fn may_hold_marked_files(&self) -> bool {
        self.file_whiteouts.load(Ordering::Acquire)
    }

    /// Those of `stack`, top first. What is known of one `before` counts.
    pub fn of(stack: &Stack, before: &[Arc<Target>]) -> Box<[Arc<Target>]> {
        let branches = stack.branches().iter();
        let targets = branches.filter_map(|branch| match &branch.storage {
            Store::ReadOnly(_) => None,
            Store::Writable(storage) => {
                let known = before.iter().find(|target| target.branch == branch.id);
                Some(known.map(Arc::clone).unwrap_or_else(|| {
                    Arc::new(Target {
                        branch: branch.id,
                        storage: Arc::clone(storage),
                        dialect: branch.dialect,
                        whiteouts: branch.dialect.whiteout_form(storage.capabilities()),
                        file_whiteouts: AtomicBool::new(false),
                        base: Base::default(),
                    })
                }))
            }
        });
        targets.collect()
    }
}

impl Union {
    /// The topmost branch that can be written, or `EROFS`.
    pub(super) fn target(&self) -> Result<&Target> {
        let top = self.targets.first();
        top.map(|target| &**target).ok_or(Error::ReadOnly)
    }

    /// The writable branch of this name; `ESTALE` if there is none.
    pub(super) fn target_on(&self, branch: BranchId) -> Result<&Target> {
        let mut targets = self.targets.iter().map(|target| &**target);
        targets
            .find(|target| target.branch == branch)
            .ok_or(Error::Stale)
    }
}
