//! Names that are marks on the writable branch, and names that such a mark
//! hides: only where a dialect has marks of that kind
//! ([`Dialect::hider_of`](crate::dialect::Dialect::hider_of)).

use super::Union;
use super::inode::Inode;
use super::locks::DirHeld;
use super::lookup::Written;
use super::target::Target;
use super::whiteout::Whiteouts;
use crate::dialect::WhiteoutForm;
use crate::error::{Error, Result};
use crate::layer::WritableNode;
use crate::name::{NAME_MAX, Name};

impl Union {
    /// Whether an object of this name would be a mark on a writable branch.
    /// Then nothing by it is shown, from whatever branch.
    pub(super) fn is_reserved(&self, name: &Name) -> bool {
        let mut targets = self.targets.iter();
        targets.any(|target| target.dialect.reserves(name))
    }

    /// `ENAMETOOLONG` for a name that a writable branch cannot have, or
    /// could not hide.
    pub(super) fn refuse_long(&self, name: &Name) -> Result<()> {
        let targets = self.targets.iter();
        let longest = targets.map(|target| target.dialect.name_max()).min();
        let longest = longest.unwrap_or(NAME_MAX);
        match name.as_bytes().len() > longest {
            true => Err(Error::NameTooLong),
            false => Ok(()),
        }
    }

    /// `EPERM` for a name that [`Union::is_reserved`].
    pub(super) fn refuse_reserved(&self, name: &Name) -> Result<()> {
        self.refuse_long(name)?;
        match self.is_reserved(name) {
            true => Err(Error::NotPermitted("this name would be a whiteout")),
            false => Ok(()),
        }
    }

    /// As [`Union::written`], for a name that gets a new object unless it has
    /// one: then no other entry of the writable branch has a say about it.
    pub(super) fn claim(
        &self,
        target: &Target,
        parent: &std::sync::Arc<Inode>,
        dir: &dyn WritableNode,
        name: &Name,
        held: &impl DirHeld,
    ) -> Result<Written> {
        debug_assert!(held.holds(parent));
        match target.whiteouts {
            WhiteoutForm::Device | WhiteoutForm::MarkedFile => {}
            // What hides the name stays until the object is there.
            WhiteoutForm::Entry => return self.written(target, parent, name, held),
        }
        match self.written(target, parent, name, held)? {
            Written::Nothing if self.settle(target, dir, name)? == Settled::Now => {
                Ok(Written::Whiteout)
            }
            Written::Whiteout => self.settle(target, dir, name).map(|_| Written::Whiteout),
            written @ (Written::Nothing | Written::Object) => Ok(written),
        }
    }

    /// Puts the mark that another entry is about `name` on what has the name, and
    /// removes that entry, unless that is how the branch is written and nothing
    /// has the name. Each step shows what was shown before.
    ///
    /// Otherwise a directory that merges could not take the name: beside such an
    /// entry it would hide what it merges with.
    pub(super) fn settle(
        &self,
        target: &Target,
        dir: &dyn WritableNode,
        name: &Name,
    ) -> Result<Settled> {
        let Some(hider) = target.dialect.hider_of(name) else {
            return Ok(Settled::Before);
        };
        if dir.attr_of(&hider)?.is_none() {
            return Ok(Settled::Before);
        }
        let settled = match dir.lookup_writable(name)? {
            None if target.whiteouts == WhiteoutForm::Entry => return Ok(Settled::Before),
            // Where a whiteout would be seen, nothing lies below.
            None => match self.allow_whiteouts(target, dir)? {
                Whiteouts::Count => {
                    dir.create(name, &target.whiteout())?;
                    Settled::Now
                }
                Whiteouts::AreSeen => Settled::Before,
            },
            Some(found) if found.attr.kind.is_dir() => {
                self.make_opaque(target, &*found.node)?;
                Settled::Before
            }
            Some(_) => Settled::Before,
        };
        self.unhide(target, dir, name)?;
        Ok(settled)
    }
}

/// Whether [`Union::settle`] made a whiteout where there was nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    Now,
    Before,
}
