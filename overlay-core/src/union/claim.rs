//! Names that are marks on the writable branch, and names that such a mark
//! hides: only where a dialect has marks of that kind
//! ([`Dialect::hider_of`](crate::dialect::Dialect::hider_of)).

use super::Union;
use super::inode::Inode;
use super::locks::DirHeld;
use super::lookup::Written;
use super::whiteout::Whiteouts;
use crate::error::{Error, Result};
use crate::layer::{New, NewKind, Removal, RenameMode, Staged, WritableNode};
use crate::name::Name;
use crate::policy::Target;
use crate::sys;

impl Union {
    /// Whether an object of this name would be a mark on the writable branch.
    /// Then nothing by it is shown, from whatever branch.
    pub(super) fn is_reserved(&self, name: &Name) -> bool {
        let target = self.target.as_ref();
        target.is_some_and(|target| target.dialect.reserves(name))
    }

    /// `EPERM` for a name that [`Union::is_reserved`].
    pub(super) fn refuse_reserved(&self, name: &Name) -> Result<()> {
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
        match self.written(parent, name, held)? {
            Written::Nothing if self.settle(target, dir, name)? == Settled::Now => {
                Ok(Written::Whiteout)
            }
            Written::Whiteout => self.settle(target, dir, name).map(|_| Written::Whiteout),
            written @ (Written::Nothing | Written::Object) => Ok(written),
        }
    }

    /// Puts the mark that another entry is about `name` on what has the name, and
    /// removes that entry. Each step shows what was shown before.
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
        let Some(attr) = dir.attr_of(&hider)? else {
            return Ok(Settled::Before);
        };
        let settled = match dir.lookup_writable(name)? {
            // Where a whiteout would be seen, nothing lies below.
            None => match self.allow_whiteouts(target, dir)? {
                Whiteouts::Count => {
                    dir.create(name, &target.whiteout())?;
                    Settled::Now
                }
                Whiteouts::AreSeen => Settled::Before,
            },
            Some(found) if found.attr.kind.is_dir() => {
                self.make_opaque(target.dialect, &*found.node)?;
                Settled::Before
            }
            Some(_) => Settled::Before,
        };
        if attr.kind.is_dir() {
            // With all that is in it, which nobody sees.
            let file = New {
                kind: NewKind::Regular,
                mode: 0,
                owner: sys::meta::process_owner(),
                xattrs: &[],
            };
            let file = Staged::new(&target.storage, &file)?;
            file.publish(dir, &hider, RenameMode::Exchange, None)?;
        }
        dir.remove(&hider, Removal::NonDirectory, None)?;
        Ok(settled)
    }
}

/// Whether [`Union::settle`] made a whiteout where there was nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    Now,
    Before,
}
