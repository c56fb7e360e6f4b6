//! Which changes of the writable branch do a rename.
//!
//! Usually one: `renameat2` replaces the target, and leaves a whiteout where
//! the old name would show something below. A filesystem without
//! `RENAME_WHITEOUT`, or one on which it would make a device that cannot be
//! made otherwise, needs two: a whiteout is made at the new name first, where
//! it hides nothing or what is hidden already, and the two trade places.
//!
//! Where that cannot be (something is seen at the new name, or a whiteout
//! there would be seen), a crash between the two shows a third state; see the
//! variants. In none is anything lost, and nobody who goes through the union
//! sees it: the directories are locked.

use super::Union;
use super::beside::Hider;
use super::empty::{Swapped, empty_like, is_at};
use super::table::ObjectId;
use super::target::Target;
use super::whiteout::Whiteouts;
use crate::dialect::WhiteoutForm;
use crate::error::{Error, Result};
use crate::layer::{Removal, RenameMode, Staged, WritableNode};
use crate::name::Name;

/// A rename on the writable branch, without exchange.
#[derive(Clone, Copy)]
pub(super) struct Move<'a> {
    pub from: (&'a dyn WritableNode, &'a Name),
    pub to: (&'a dyn WritableNode, &'a Name),
    pub node: &'a dyn WritableNode,
    /// What the union shows at the new name, on the writable branch.
    pub over: Option<&'a dyn WritableNode>,
}

/// What is known of the two names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    pub is_dir: bool,
    /// The writable branch hides the new name.
    pub over_whiteout: bool,
    /// The new name shows something.
    pub displaces: bool,
    /// Without a whiteout the old name would show something.
    pub uncovers: bool,
}

/// What does a rename.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// One rename, which leaves nothing at the old name.
    Replace,
    /// One rename, which leaves a whiteout at the old name.
    Whiteout,
    /// The object trades places with the whiteout at the new name.
    Exchange,
    /// The same, and the whiteout is removed: at the old name it hides
    /// nothing.
    ExchangeAndRemove,
    /// The same with a whiteout that is made at the new name, which is free.
    /// If it would be seen there, a crash may leave an empty file there.
    MakeAndExchange,
    /// The object trades places with what is seen at the new name, and that
    /// is replaced by a whiteout. A crash may leave the two exchanged.
    ExchangeAndHide,
    /// A whiteout that would be seen at the old name is replaced by an empty
    /// directory, and that by the object. A crash may leave that directory.
    ReplaceEmpty,
    /// On a branch whose whiteouts are other entries: one is made beside the
    /// old name before, one is removed beside the new name after. See
    /// `union/beside.rs`.
    Beside { uncovers: bool, over_whiteout: bool },
}

impl Step {
    /// The step for a rename on a branch where a whiteout in `from` counts, or
    /// not.
    fn choose(
        target: &Target,
        names: Names,
        in_from: impl FnOnce() -> Result<Whiteouts>,
    ) -> Result<Step> {
        match target.whiteouts {
            WhiteoutForm::Device | WhiteoutForm::MarkedFile => {}
            WhiteoutForm::Entry => {
                return Ok(Step::Beside {
                    uncovers: names.uncovers,
                    over_whiteout: names.over_whiteout,
                });
            }
        }
        // A directory cannot replace a whiteout, but trade places with it:
        // the whiteout then hides the old name, or nothing.
        let dir_over_whiteout = names.is_dir && names.over_whiteout;
        if !names.uncovers {
            return Ok(match dir_over_whiteout {
                false => Step::Replace,
                true => match in_from()? {
                    Whiteouts::Count => Step::ExchangeAndRemove,
                    Whiteouts::AreSeen => Step::ReplaceEmpty,
                },
            });
        }
        Ok(match leaves_whiteouts(target) {
            _ if dir_over_whiteout => Step::Exchange,
            true => Step::Whiteout,
            false if names.over_whiteout => Step::Exchange,
            false if names.displaces => Step::ExchangeAndHide,
            false => Step::MakeAndExchange,
        })
    }
}

/// Whether a rename leaves a whiteout of the branch's form without a trade of
/// places.
pub(super) fn leaves_whiteouts(target: &Target) -> bool {
    match target.whiteouts {
        WhiteoutForm::Device => target.storage.capabilities().rename_whiteout,
        WhiteoutForm::MarkedFile => false,
        WhiteoutForm::Entry => true,
    }
}

impl Union {
    /// Chooses how to do a rename in `from`, and prepares the directory for
    /// the whiteout that it will hold.
    pub(super) fn choose_step(
        &self,
        target: &Target,
        from: &dyn WritableNode,
        names: Names,
    ) -> Result<Step> {
        if names.uncovers {
            self.expect_whiteouts(target, from)?;
        }
        Step::choose(target, names, || self.allow_whiteouts(target, from))
    }

    /// Does a rename. If it fails, nothing has changed, but where a step was done
    /// and told to have failed: that stays done.
    pub(super) fn take_step(&self, target: &Target, step: Step, moved: Move<'_>) -> Result<()> {
        match step {
            Step::Replace => moved.rename(RenameMode::Replace),
            Step::Whiteout => moved.rename(RenameMode::Whiteout),
            Step::Exchange => moved.rename(RenameMode::Exchange),
            Step::ExchangeAndRemove => {
                moved.rename(RenameMode::Exchange)?;
                remove_whiteout(moved.from);
                Ok(())
            }
            Step::MakeAndExchange => {
                let (dir, name) = moved.to;
                self.allow_whiteouts(target, dir)?;
                let whiteout = ObjectId::from(&dir.create(name, &target.whiteout())?.attr);
                moved.rename(RenameMode::Exchange).inspect_err(|_| {
                    // If it was done, this is what has moved.
                    if matches!(is_at(whiteout, dir, name), Ok(true)) {
                        remove_whiteout(moved.to);
                    }
                })
            }
            Step::ExchangeAndHide => {
                let whiteout = self.stage_whiteout(target, moved.from.0)?;
                let over = moved.over.ok_or(Error::Stale)?;
                let replaced = ObjectId::from(&over.attr()?);
                let (dir, name) = moved.from;
                let hidden = moved.rename(RenameMode::Exchange).and_then(|()| {
                    let mode = RenameMode::Exchange;
                    whiteout.publish(dir, name, mode, Some(over)).map(drop)
                });
                // Whichever failed, or was done all the same.
                if hidden.is_err() && matches!(is_at(replaced, dir, name), Ok(true)) {
                    moved.back(over)?;
                }
                hidden
            }
            Step::Beside {
                uncovers,
                over_whiteout,
            } => self.move_beside(target, moved, uncovers, over_whiteout),
            Step::ReplaceEmpty => {
                let (dir, name) = moved.to;
                let swapped = empty_for_whiteout(target, moved)?;
                let replace = Move {
                    over: Some(&*swapped.empty),
                    ..moved
                };
                let replaced = replace.rename(RenameMode::Replace);
                swapped.settle(dir, name, replaced)
            }
        }
    }
}

impl Union {
    fn move_beside(
        &self,
        target: &Target,
        moved: Move<'_>,
        uncovers: bool,
        over_whiteout: bool,
    ) -> Result<()> {
        let ((from, name), (to, to_name)) = (moved.from, moved.to);
        let hider = match uncovers {
            true => Some(self.hide(target, from, name)?),
            false => None,
        };
        moved.rename(RenameMode::Replace)?;
        if over_whiteout && let Err(error) = self.unhide(target, to, to_name) {
            // Nothing had the new name on this branch.
            let mode = RenameMode::NoReplace;
            return match to.rename(to_name, from, name, mode, Some(moved.node), None) {
                Ok(()) => Err(error),
                Err(error) => {
                    // It has moved: its old name stays hidden.
                    tracing::warn!(%error, "a rename cannot be taken back");
                    hider.into_iter().for_each(Hider::keep);
                    Ok(())
                }
            };
        }
        hider.into_iter().for_each(Hider::keep);
        Ok(())
    }
}

impl Move<'_> {
    fn rename(&self, mode: RenameMode) -> Result<()> {
        let ((from, name), (to, to_name)) = (self.from, self.to);
        from.rename(name, to, to_name, mode, Some(self.node), self.over)
    }

    /// Undoes an exchange.
    fn back(&self, over: &dyn WritableNode) -> Result<()> {
        let ((from, name), (to, to_name)) = (self.from, self.to);
        let mode = RenameMode::Exchange;
        to.rename(to_name, from, name, mode, Some(self.node), Some(over))
    }
}

/// The change is done, or undone: failing to tidy up changes nothing of it.
fn remove_whiteout((dir, name): (&dyn WritableNode, &Name)) {
    if let Err(error) = dir.remove(name, Removal::NonDirectory, None) {
        tracing::warn!(%error, "a whiteout that hides nothing stays");
    }
}

/// Puts an empty directory like the one that moves in the place of the
/// whiteout at its new name.
fn empty_for_whiteout(target: &Target, moved: Move<'_>) -> Result<Swapped<'static>> {
    let (dir, name) = moved.to;
    let whiteout = dir.lookup_writable(name)?.ok_or(Error::Stale)?.node;
    let attr = moved.node.attr()?;
    let opaque = [target.dialect.opaque_mark()];
    let empty = empty_like(&attr, &opaque);
    let staged = Staged::new(&target.storage, &empty)?;
    Swapped::put(staged, dir, name, &whiteout, None)
}
