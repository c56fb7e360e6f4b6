//! An empty directory in the place of one that stores whiteouts: what shows
//! nothing is replaced, or removed, in one step all the same.
//!
//! The caller holds the locks of both directories.

use std::sync::Arc;

use super::Union;
use super::beside::Hider;
use super::locks::DirWrite;
use super::rename::Place;
use super::table::ObjectId;
use super::target::Target;
use crate::attr::{Attr, Owner, SetAttr};
use crate::dialect::{OpaqueForm, WhiteoutForm};
use crate::error::Result;
use crate::layer::{New, NewKind, RenameMode, Staged, WritableNode};
use crate::name::Name;

/// An empty directory in the place of one that stores whiteouts.
pub(super) struct Swapped<'a> {
    pub empty: Arc<dyn WritableNode>,
    id: ObjectId,
    old: Staged,
    /// Hides what the old directory hid, where the empty one does not.
    shield: Option<Hider<'a>>,
}

impl<'a> Swapped<'a> {
    /// Puts `staged`, an empty directory, in the place of `old`, which is
    /// `name` in `dir`.
    pub fn put(
        staged: Staged,
        dir: &dyn WritableNode,
        name: &Name,
        old: &Arc<dyn WritableNode>,
        shield: Option<Hider<'a>>,
    ) -> Result<Swapped<'a>> {
        let id = ObjectId::from(&staged.node().attr()?);
        match staged.swap(dir, name, old) {
            Ok((empty, old)) => Ok(Swapped {
                empty,
                id,
                old,
                shield,
            }),
            Err(error) => {
                // If it was done, only the shield hides what is below.
                if let Some(shield) = shield
                    && !matches!(is_at(id, dir, name), Ok(false))
                {
                    shield.keep();
                }
                Err(error)
            }
        }
    }

    /// Ends the swap by the outcome of what it was made for: the old
    /// directory goes, or comes back.
    pub fn settle(self, dir: &dyn WritableNode, name: &Name, outcome: Result<()>) -> Result<()> {
        match outcome {
            Ok(()) => {
                // The change is visible: failing to tidy up must not undo it.
                if let Err(error) = self.old.keep() {
                    tracing::warn!(%error, "a replaced directory stays in the work area");
                }
                Ok(())
            }
            Err(error) => {
                let back = match is_at(self.id, dir, name) {
                    Ok(true) => {
                        let empty = Some(&*self.empty);
                        let mode = RenameMode::Exchange;
                        self.old.publish(dir, name, mode, empty).map(drop)
                    }
                    // It was done all the same: what has the name now stays.
                    Ok(false) => Ok(()),
                    Err(unknown) => Err(unknown),
                };
                if let Err(error) = back {
                    tracing::warn!(%error, "an empty directory stays for one with whiteouts");
                    self.shield.into_iter().for_each(Hider::keep);
                }
                Err(error)
            }
        }
    }
}

/// Whether `name` in `dir` is this object, looked up anew: its node may be wrong
/// about its name where a step was done and told to have failed.
pub(super) fn is_at(id: ObjectId, dir: &dyn WritableNode, name: &Name) -> Result<bool> {
    let there = dir.attr_of(name)?;
    Ok(there.is_some_and(|attr| ObjectId::from(&attr) == id))
}

/// A new directory like one with the attributes `attr`.
pub(super) fn empty_like<'a>(attr: &Attr, xattrs: &'a [(&'a [u8], &'a [u8])]) -> New<'a> {
    New {
        kind: NewKind::Directory,
        mode: attr.mode,
        owner: Owner {
            uid: attr.uid,
            gid: attr.gid,
        },
        xattrs,
    }
}

impl Union {
    /// What hides what lies below an empty directory that cannot be opaque
    /// itself, for then it would not be empty.
    pub(super) fn shield<'a>(
        &self,
        target: &Target,
        to: Place<'_>,
        dir: &'a dyn WritableNode,
        held: &DirWrite<'_>,
    ) -> Result<Option<Hider<'a>>> {
        match target.whiteouts {
            WhiteoutForm::Device | WhiteoutForm::MarkedFile => Ok(None),
            WhiteoutForm::Entry if !self.lower_shows(target, to.0, to.1, held)? => Ok(None),
            WhiteoutForm::Entry => self.hide(target, dir, to.1).map(Some),
        }
    }

    /// Puts an empty directory with the same attributes in the place of one
    /// that stores whiteouts, so that it can be replaced in one step. What is
    /// seen does not change: both are empty. The old one waits in the work
    /// area until the replacement is done: only it hides what lies below.
    /// Source: `ovl_clear_empty`.
    pub(super) fn put_empty<'a>(
        &self,
        target: &Target,
        dir: &dyn WritableNode,
        name: &Name,
        old: &Arc<dyn WritableNode>,
        shield: Option<Hider<'a>>,
    ) -> Result<Swapped<'a>> {
        let attr = old.attr()?;
        let opaque = match target.dialect.opaque_form() {
            OpaqueForm::Attribute(name, value) => Some((name, value)),
            // See `shield`.
            OpaqueForm::Entry(_) => None,
        };
        let staged = Staged::new(&target.storage, &empty_like(&attr, opaque.as_slice()))?;
        self.copy_xattrs(target, target.dialect, &**old, &**staged.node())?;
        staged.node().set_attr(&SetAttr {
            // Again: an access ACL among the attributes changes it.
            mode: Some(attr.mode),
            ..SetAttr::times_of(&attr)
        })?;
        Swapped::put(staged, dir, name, old, shield)
    }
}
