//! The marks that a directory needs before it moves: where its lower part
//! lies, or that it has none.
//!
//! They are set where the directory lies now and say nothing new there, so a
//! crash between the mark and the move changes nothing that is seen. Source:
//! `ovl_set_redirect`, `ovl_get_redirect` and `ovl_set_opaque_xerr` in
//! `fs/overlayfs/dir.c`. The caller holds the locks of the rename.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Union;
use super::inode::{Directory, Inode};
use super::options::RedirectDir;
use crate::dialect::Redirect;
use crate::error::{Error, Result};
use crate::layer::SetXattr;
use crate::name::{Name, NameBuf};
use crate::policy::Target;

/// Whether a directory stays in its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    SameParent,
    AnotherParent,
}

impl Union {
    /// `EXDEV` for a directory with lower content where none is to be made.
    pub(super) fn refuse_merged(&self, inode: &Inode) -> Result<()> {
        let merged = inode.kind().is_dir() && inode.lower().is_some();
        match self.options.redirect_dir {
            RedirectDir::Follow | RedirectDir::NoFollow if merged => Err(Error::CrossDevice),
            RedirectDir::On | RedirectDir::Follow | RedirectDir::NoFollow => Ok(()),
        }
    }

    /// `EXDEV` for a directory whose redirect would be too long, before
    /// anything is copied up for the move.
    pub(super) fn check_reach(&self, moving: &Arc<Inode>, name: &Name, reach: Reach) -> Result<()> {
        match moving.directory() {
            Some(directory) => next_redirect(moving, directory, name, reach).map(drop),
            None => Ok(()),
        }
    }

    /// Marks a directory that is about to move from `name` to another name in
    /// `to`. `EXDEV` if the way to its lower part is too long to be stored.
    pub(super) fn mark_for_move(
        &self,
        target: &Target,
        moving: &Arc<Inode>,
        name: &Name,
        to: &Inode,
        reach: Reach,
    ) -> Result<()> {
        let Some(directory) = moving.directory() else {
            return Ok(());
        };
        let node = moving.writable.get().ok_or(Error::Stale)?;
        if directory.lowers.is_empty() {
            if to.lower().is_none() {
                return Ok(());
            }
            // Or it would merge with what lies below its new name.
            let (name, value) = target.dialect.opaque_mark();
            return node.set_xattr(name, value, SetXattr::Any);
        }
        let Some((redirect, value)) = next_redirect(moving, directory, name, reach)? else {
            return Ok(());
        };
        node.set_xattr(target.dialect.redirect_mark(), &value, SetXattr::Any)?;
        *directory.redirect.lock() = Some(redirect);
        Ok(())
    }
}

/// The redirect that a directory needs for a move, with its stored form;
/// `None` if it has it, or has no lower part. `EXDEV` if it would be too long.
fn next_redirect(
    moving: &Arc<Inode>,
    directory: &Directory,
    name: &Name,
    reach: Reach,
) -> Result<Option<(Redirect, Vec<u8>)>> {
    if directory.lowers.is_empty() {
        return Ok(None);
    }
    let now = directory.redirect.lock().clone();
    let next = match (now, reach) {
        (Some(Redirect::Path(_)), _) | (Some(_), Reach::SameParent) => return Ok(None),
        (None, Reach::SameParent) => Redirect::Sibling(name.to_owned()),
        (_, Reach::AnotherParent) => Redirect::Path(lower_path(moving)),
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
