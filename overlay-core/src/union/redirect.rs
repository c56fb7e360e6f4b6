//! The marks that an object needs before it moves: where the lower part of a
//! directory lies, or that it has none; where the data of a metacopy lies.
//!
//! They are set where the object lies now and say nothing new there, so a
//! crash between the mark and the move changes nothing that is seen. Source:
//! `ovl_set_redirect`, `ovl_get_redirect` and `ovl_set_opaque_xerr` in
//! `fs/overlayfs/dir.c`. The caller holds the locks of the rename.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Union;
use super::copy_up::DataNeeded;
use super::inode::{Directory, Inode};
use super::locks::DirWrite;
use super::options::RedirectDir;
use super::target::Target;
use crate::attr::FileKind;
use crate::dialect::Redirect;
use crate::error::{Error, Result};
use crate::layer::SetXattr;
use crate::name::{Name, NameBuf};

/// Whether an object stays in its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    SameParent,
    AnotherParent,
}

impl Reach {
    /// From one directory to another, or the same.
    pub(super) fn of(from: &Arc<Inode>, to: &Arc<Inode>) -> Reach {
        match Arc::ptr_eq(from, to) {
            true => Reach::SameParent,
            false => Reach::AnotherParent,
        }
    }
}

impl Union {
    /// `EXDEV` for a directory that has, or once it is copied up would have,
    /// several parts, where no redirect is to be made.
    pub(super) fn refuse_merged(&self, inode: &Inode) -> Result<()> {
        let alone = inode.is_copied_up() && inode.parts().len() == 1;
        let merged = inode.kind().is_dir() && !alone;
        match self.options.redirect_dir {
            RedirectDir::Follow | RedirectDir::NoFollow if merged => Err(Error::CrossDevice),
            RedirectDir::On | RedirectDir::Follow | RedirectDir::NoFollow => Ok(()),
        }
    }

    /// `EXDEV` for a directory whose redirect would be too long, before
    /// anything is copied up for the move.
    pub(super) fn check_reach(&self, moving: &Arc<Inode>, name: &Name, reach: Reach) -> Result<()> {
        match moving.directory() {
            Some(directory) => next_of_directory(moving, directory, name, reach).map(drop),
            None => Ok(()),
        }
    }

    /// What must be copied up of an object that is to leave `name` in
    /// `parent`. A file's data stays below if a redirect can say where.
    pub(super) fn needed_to_move(
        &self,
        target: &Target,
        moving: &Arc<Inode>,
        parent: &Arc<Inode>,
        name: &Name,
        reach: Reach,
    ) -> Result<DataNeeded> {
        if moving.kind() != FileKind::Regular || self.options.redirect_dir != RedirectDir::On {
            return Ok(DataNeeded::All);
        }
        match next_of_file(target, moving, parent, name, reach) {
            Ok(_) => Ok(DataNeeded::Attributes),
            Err(Error::CrossDevice) => Ok(DataNeeded::All),
            Err(error) => Err(error),
        }
    }

    /// Marks an object that is about to move from `name` in `from` to another
    /// name in `to`. `EXDEV` if the way to its lower part is too long to be
    /// stored.
    pub(super) fn mark_for_move(
        &self,
        target: &Target,
        moving: &Arc<Inode>,
        (from, name): (&Arc<Inode>, &Name),
        to: (&Arc<Inode>, &Name),
        held: &DirWrite<'_>,
    ) -> Result<()> {
        let reach = Reach::of(from, to.0);
        let node = moving.copy().ok_or(Error::Stale)?;
        let Some(directory) = moving.directory() else {
            return self.mark_file(target, moving, from, name, reach);
        };
        if directory.parts().lower().is_none() {
            if !self.must_hide(target, to, held)? {
                return Ok(());
            }
            // Or it would merge with what lies below its new name.
            return self.make_opaque(target, &**node);
        }
        let Some((redirect, value)) = next_of_directory(moving, directory, name, reach)? else {
            return Ok(());
        };
        node.set_xattr(target.dialect.redirect_mark(), &value, SetXattr::Any)?;
        *directory.redirect.lock() = Some(redirect);
        Ok(())
    }

    /// Notes on a file that leaves `name` in `from`, or gets another name,
    /// where its data lies. Nothing to do for one that has its data.
    pub(super) fn mark_file(
        &self,
        target: &Target,
        moving: &Arc<Inode>,
        from: &Arc<Inode>,
        name: &Name,
        reach: Reach,
    ) -> Result<()> {
        if !moving.lacks_data() {
            return Ok(());
        }
        let Some((_, value)) = next_of_file(target, moving, from, name, reach)? else {
            return Ok(());
        };
        let node = moving.copy().ok_or(Error::Stale)?;
        node.set_xattr(target.dialect.redirect_mark(), &value, SetXattr::Any)
    }
}

/// A redirect and its stored form.
type Next = (Redirect, Vec<u8>);

/// The redirect that a directory needs for a move; `None` if it has it, or
/// has no lower part. `EXDEV` if it would be too long.
fn next_of_directory(
    moving: &Arc<Inode>,
    directory: &Directory,
    name: &Name,
    reach: Reach,
) -> Result<Option<Next>> {
    if directory.parts().lower().is_none() {
        return Ok(None);
    }
    let now = directory.redirect.lock().clone();
    next(now, reach, name, || lower_path(moving))
}

/// The redirect that a metacopy needs for a move.
fn next_of_file(
    target: &Target,
    moving: &Arc<Inode>,
    parent: &Arc<Inode>,
    name: &Name,
    reach: Reach,
) -> Result<Option<Next>> {
    let (now, several) = match moving.copy() {
        None => (None, false),
        Some(copy) => (target.dialect.redirect(&**copy)?, copy.attr()?.nlink > 1),
    };
    // What all its names share must be right at each.
    let reach = if several { Reach::AnotherParent } else { reach };
    let below = match &now {
        Some(Redirect::Sibling(name)) => name.clone(),
        Some(Redirect::Path(_)) | None => name.to_owned(),
    };
    next(now, reach, name, || {
        let mut path = lower_path(parent);
        path.push_back(below);
        path
    })
}

/// The redirect that is needed after `now`, if that does not do.
fn next(
    now: Option<Redirect>,
    reach: Reach,
    name: &Name,
    path: impl FnOnce() -> VecDeque<NameBuf>,
) -> Result<Option<Next>> {
    let next = match (now, reach) {
        (Some(Redirect::Path(_)), _) | (Some(_), Reach::SameParent) => return Ok(None),
        (None, Reach::SameParent) => Redirect::Sibling(name.to_owned()),
        (_, Reach::AnotherParent) => Redirect::Path(path()),
    };
    let value = next.to_value().ok_or(Error::CrossDevice)?;
    Ok(Some((next, value)))
}

/// The way from the roots of the branches below to the lower part of a
/// directory: by names, and where one was renamed, by its redirect.
fn lower_path(directory: &Arc<Inode>) -> VecDeque<NameBuf> {
    let mut path = VecDeque::new();
    let mut at = Arc::clone(directory);
    while let Some(link) = at.link() {
        match at.directory().and_then(|d| d.redirect.lock().clone()) {
            None => path.push_front(link.name),
            Some(Redirect::Sibling(name)) => path.push_front(name),
            Some(Redirect::Path(mut whole)) => {
                whole.extend(path);
                return whole;
            }
        }
        at = link.parent;
    }
    path
}
