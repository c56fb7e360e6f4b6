//! Marks that are entries of their own, on a writable branch of AuFS: how they
//! come and go, and in which order with what they speak of.
//!
//! A whiteout says nothing about what its own branch has by the name
//! ([`Dialect::says`](crate::dialect::Dialect::says)). So a change in several
//! steps is one for whoever looks:
//!
//! - what is removed gets its whiteout first, and is seen until it is gone;
//! - what takes the place of a whiteout gets its name first, a directory
//!   opaque already, and is seen before the whiteout goes;
//! - what is renamed gets the whiteout of its old name first, then the new
//!   name, and then the whiteout of that goes.
//!
//! A step that fails takes back those before it, once it is seen that it was
//! not done all the same: the answer of a network filesystem can get lost. The
//! caller holds the directory's lock, so nobody who goes through the union sees
//! a name and its whiteout side by side. Source:
//! `fs/aufs/i_op_{add,del,ren}.c`, whose order this is, but that a directory is
//! opaque before it moves; see decision 16.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::Union;
use super::inode::Inode;
use super::lookup::Written;
use super::target::Target;
use crate::attr::{FileKind, SetAttr};
use crate::dialect::aufs::{BASE, Diropq, ORPHANS, PLINKS, WhiteoutFiles};
use crate::dialect::{Aufs, Dialect, Meaning, WhiteoutForm};
use crate::error::{Errno, Error, Result};
use crate::layer::{New, NewKind, Node, Removal, RenameMode, Staged, WritableNode};
use crate::name::{Name, NameBuf};

/// What AuFS keeps in the root of a writable branch.
#[derive(Debug, Default)]
pub(super) struct Base {
    /// The file that marks are links of; `None` where each is a file of its
    /// own. A leaf lock, held to take or replace the reference.
    file: Mutex<Option<Arc<dyn WritableNode>>>,
    /// Directories in the root that nobody sees.
    directories: AtomicU64,
}

impl Base {
    /// How many subdirectories of the root are none of the union's.
    pub(super) fn directories(&self) -> u64 {
        self.directories.load(Ordering::Relaxed)
    }
}

/// A whiteout beside what it is to hide. It goes again unless it is
/// [kept](Hider::keep), was there before, or stands beside nothing.
#[derive(Debug)]
pub(super) struct Hider<'a> {
    dir: &'a dyn WritableNode,
    name: NameBuf,
    /// What it stands beside.
    hides: NameBuf,
    made: bool,
}

impl Hider<'_> {
    /// From now on it hides something.
    pub(super) fn keep(mut self) {
        self.made = false;
    }
}

impl Drop for Hider<'_> {
    fn drop(&mut self) {
        if !self.made {
            return;
        }
        let beside = self.dir.attr_of(&self.hides);
        if !matches!(beside, Ok(Some(_))) {
            // The step that failed was done: what is below must not show.
            tracing::warn!(?beside, "a whiteout stays where nothing has its name");
        } else if let Err(error) = self.dir.remove(&self.name, Removal::NonDirectory, None) {
            // Beside what has the name it changes nothing that is seen.
            tracing::warn!(%error, "a whiteout stays beside what it does not hide");
        }
    }
}

impl Target {
    /// Makes what AuFS keeps in the root of a writable branch, where it is
    /// missing. Source: `au_wh_init` in `fs/aufs/whout.c`.
    pub(super) fn prepare_base(&self) -> Result<()> {
        let Dialect::Aufs(Aufs { whiteouts, .. }) = self.dialect else {
            return Ok(());
        };
        let root = self.storage.root();
        let before = root.attr()?;
        let whole = New {
            kind: NewKind::Directory,
            mode: 0o700,
            ..self.whiteout()
        };
        let (base, mut changed) = match whiteouts {
            WhiteoutFiles::Linked => {
                let (base, made) = find_or_make(&*root, BASE, &self.whiteout())?;
                (Some(base), made)
            }
            WhiteoutFiles::Separate => (None, remove_if_there(&*root, BASE)?),
        };
        for directory in [PLINKS, ORPHANS] {
            changed |= find_or_make(&*root, directory, &whole)?.1;
        }
        if changed {
            // Nobody sees what changed.
            root.set_attr(&SetAttr::times_of(&before))?;
        }
        *self.base.file.lock() = base;
        let directories = hidden_directories(self.dialect, &*root)?;
        self.base.directories.store(directories, Ordering::Relaxed);
        Ok(())
    }
}

impl Union {
    /// Whether a new directory takes its place opaque.
    pub(super) fn is_made_opaque(&self, target: &Target, parent: &Inode, written: Written) -> bool {
        match target.dialect {
            // Wherever anything could lie below: what was removed must not
            // come back inside it.
            Dialect::Overlay(_) | Dialect::Containers(_) if self.chooser.is_none() => {
                parent.lower().is_some()
            }
            // Else what is made in it later could not go to the branches below.
            Dialect::Overlay(_) | Dialect::Containers(_) => written == Written::Whiteout,
            Dialect::Aufs(aufs) => match aufs.opaque {
                Diropq::Always => true,
                Diropq::Whiteouted => written == Written::Whiteout,
            },
        }
    }

    /// Makes the whiteout of `name` in `dir`, beside what has the name.
    pub(super) fn hide<'a>(
        &self,
        target: &Target,
        dir: &'a dyn WritableNode,
        name: &Name,
    ) -> Result<Hider<'a>> {
        let hides = name.to_owned();
        let name = target.dialect.hider_of(name).ok_or(Error::NameTooLong)?;
        let made = match self.make_mark(target, dir, &name) {
            Ok(()) => true,
            // Left by a crash.
            Err(error) if error.is(Errno::EXIST) => false,
            Err(error) => return Err(error),
        };
        Ok(Hider {
            dir,
            name,
            hides,
            made,
        })
    }

    /// Removes the whiteout of `name` from `dir`, if there is one.
    pub(super) fn unhide(
        &self,
        target: &Target,
        dir: &dyn WritableNode,
        name: &Name,
    ) -> Result<()> {
        let Some(hider) = target.dialect.hider_of(name) else {
            return Ok(());
        };
        match dir.remove(&hider, Removal::NonDirectory, None) {
            Ok(()) | Err(Error::NotFound) => Ok(()),
            Err(error) if error.is(Errno::ISDIR) => {
                // With all that is in it, which nobody sees.
                if let Some(found) = dir.lookup_writable(&hider)? {
                    drop(Staged::withdraw(&target.storage, dir, &hider, &found.node)?);
                }
                Ok(())
            }
            Err(error) => match dir.attr_of(&hider) {
                // It was done: to take back what has the name would show what
                // is below.
                Ok(None) => {
                    tracing::warn!(%error, "a whiteout is gone that could not be removed");
                    Ok(())
                }
                Ok(Some(_)) | Err(_) => Err(error),
            },
        }
    }

    /// Removes the whiteout in whose place `node` has come; if that fails,
    /// `node` goes again.
    pub(super) fn take_the_place(
        &self,
        target: &Target,
        dir: &dyn WritableNode,
        name: &Name,
        node: &Arc<dyn WritableNode>,
    ) -> Result<()> {
        self.unhide(target, dir, name).or_else(|error| {
            drop(Staged::withdraw(&target.storage, dir, name, node)?);
            Err(error)
        })
    }

    /// The same for another name of an object.
    pub(super) fn link_in_place(
        &self,
        target: &Target,
        dir: &dyn WritableNode,
        name: &Name,
        node: &dyn WritableNode,
    ) -> Result<()> {
        dir.link(name, node, RenameMode::NoReplace)?;
        self.unhide(target, dir, name).or_else(|error| {
            dir.remove(name, Removal::NonDirectory, None)?;
            Err(error)
        })
    }

    /// Removes the directory `node`, which shows nothing, with the marks in
    /// it: they go together, and are discarded in the work area.
    pub(super) fn take_away(
        &self,
        target: &Target,
        dir: &dyn WritableNode,
        name: &Name,
        node: &Arc<dyn WritableNode>,
    ) -> Result<()> {
        if !self.stores_anything(&**node)? {
            return dir.remove(name, Removal::Directory, Some(&**node));
        }
        let gone = Staged::withdraw(&target.storage, dir, name, node)?;
        if let Err(error) = gone.keep() {
            tracing::warn!(%error, "a removed directory stays in the work area");
        }
        Ok(())
    }

    /// Whether a directory that comes to `name` in `parent` must be opaque, for
    /// something lies below that name.
    pub(super) fn must_hide(
        &self,
        target: &Target,
        (parent, name): (&Arc<Inode>, &Name),
        held: &impl super::locks::DirHeld,
    ) -> Result<bool> {
        match (target.whiteouts, target.dialect) {
            (WhiteoutForm::Entry, Dialect::Aufs(aufs)) if aufs.opaque == Diropq::Always => Ok(true),
            (WhiteoutForm::Device | WhiteoutForm::MarkedFile, _) if self.chooser.is_none() => {
                Ok(parent.lower().is_some())
            }
            _ => {
                let written = self.written(target, parent, name, held)?;
                Ok(written == Written::Whiteout || self.lower_shows(target, parent, name, held)?)
            }
        }
    }

    /// Makes a mark of this name in `dir`: a link where that can be.
    pub(super) fn make_mark(
        &self,
        target: &Target,
        dir: &dyn WritableNode,
        name: &Name,
    ) -> Result<()> {
        let base = target.base.file.lock().as_ref().map(Arc::clone);
        if let Some(base) = base {
            match dir.link(name, &*base, RenameMode::NoReplace) {
                // It has as many links as it can, or somebody removed it.
                Err(error) if error.is(Errno::MLINK) || error.is(Errno::NOENT) => {
                    if let Err(error) = self.renew_base(target) {
                        tracing::warn!(%error, "whiteouts are files of their own from now on");
                        *target.base.file.lock() = None;
                    }
                }
                outcome => return outcome,
            }
        }
        dir.create(name, &target.whiteout()).map(drop)
    }

    /// Puts a new file in the place of the one that marks are links of.
    fn renew_base(&self, target: &Target) -> Result<()> {
        let staged = Staged::new(&target.storage, &target.whiteout())?;
        let root = target.storage.root();
        let base = staged.publish(&*root, Name::new(BASE)?, RenameMode::Replace, None)?;
        *target.base.file.lock() = Some(base);
        Ok(())
    }
}

/// The entry of a root, and whether it was made now.
fn find_or_make(
    root: &dyn WritableNode,
    name: &[u8],
    new: &New<'_>,
) -> Result<(Arc<dyn WritableNode>, bool)> {
    let name = Name::new(name)?;
    match root.lookup_writable(name)? {
        Some(found) if found.attr.kind == new.kind.file_kind() => Ok((found.node, false)),
        Some(_) => Err(Error::Damaged(
            "a name of AuFS in the root is of the wrong type",
        )),
        None => Ok((root.create(name, new)?.node, true)),
    }
}

fn remove_if_there(root: &dyn WritableNode, name: &[u8]) -> Result<bool> {
    match root.remove(Name::new(name)?, Removal::NonDirectory, None) {
        Ok(()) => Ok(true),
        Err(Error::NotFound) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The subdirectories of `root` that are nobody's.
pub(super) fn hidden_directories(dialect: Dialect, root: &dyn Node) -> Result<u64> {
    if !dialect.has_private_entries() {
        return Ok(0);
    }
    let mut names = Vec::new();
    root.entries(&mut |entry| {
        match dialect.meaning(entry.name) {
            Meaning::Entry => {}
            Meaning::Hides(_) | Meaning::Private => names.push(entry.name.to_owned()),
        }
        ControlFlow::Continue(())
    })?;
    let mut count = 0;
    for name in names {
        let kind = root.attr_of(&name)?.map(|attr| attr.kind);
        count += u64::from(kind == Some(FileKind::Directory));
    }
    Ok(count)
}
