//! Names that come to mean another object: remove, rename, publish. The entry
//! on disk and the places of the nodes change under the same locks.

use std::sync::Arc;

use rustix::io::Errno;

use super::node::{Place, Places};
use super::upper::Writer;
use super::{Descriptor, DirNode};
use crate::error::{Error, Result};
use crate::layer::{Removal, RenameMode};
use crate::name::Name;
use crate::sys::{self, At, Object};

impl DirNode {
    /// Removes an entry; `node` is held if its place is that entry. (It may
    /// have another name of the same object as its place, and keeps it then.)
    pub(super) fn take_away(
        &self,
        name: &Name,
        what: Removal,
        node: Option<&DirNode>,
    ) -> Result<()> {
        self.branch().writer()?;
        let dir = self.directory()?;
        let at = At::new(dir.fd(), name);
        let mut places = Places::lock(node, None);
        let held = match (node, places.first.as_deref()) {
            (Some(node), Some(place)) if says(place, self, at)? => Some(node.hold(at)?),
            (Some(_) | None, Some(_) | None) => None,
        };
        match what {
            Removal::NonDirectory => sys::make::unlink(at)?,
            Removal::Directory => sys::make::remove_directory(at).map_err(not_empty)?,
        }
        if let (Some(place), Some(held)) = (places.first.as_deref_mut(), held) {
            *place = Place::Held(Some(held));
        }
        Ok(())
    }

    /// Moves an entry, and the nodes with it; see `WritableNode::rename`.
    pub(super) fn shift(
        &self,
        name: &Name,
        to: &DirNode,
        to_name: &Name,
        mode: RenameMode,
        moved: Option<&DirNode>,
        displaced: Option<&DirNode>,
    ) -> Result<()> {
        let writer = self.branch().writer()?;
        let (from_dir, to_dir) = (self.directory()?, to.directory()?);
        let from_at = At::new(from_dir.fd(), name);
        let to_at = At::new(to_dir.fd(), to_name);
        let new_place = place(to, to_name)?;
        let mut places = Places::lock(moved, displaced);
        // Two handles, or two names of one object: the kernel leaves both
        // names alone then, and `moved` has the right place with either.
        let displaced_place = match (displaced, &places.second) {
            (None, _) | (_, None) => None,
            (Some(node), Some(place_now)) => match mode {
                RenameMode::Replace | RenameMode::Whiteout if says(place_now, to, to_at)? => {
                    hold_if_there(node, to_at)?
                }
                RenameMode::Replace | RenameMode::Whiteout => None,
                RenameMode::Exchange => Some(place(self, name)?),
                RenameMode::NoReplace => None,
            },
        };
        writer
            .rename(from_at, to_at, mode)
            .map_err(|error| match mode {
                RenameMode::Replace | RenameMode::Whiteout => not_empty(error),
                RenameMode::NoReplace | RenameMode::Exchange => error,
            })?;
        if let Some(place) = places.first.as_deref_mut()
            && moved.is_some()
        {
            *place = new_place;
        }
        if let (Some(place), Some(new)) = (places.second.as_deref_mut(), displaced_place) {
            *place = new;
        }
        Ok(())
    }

    /// `dir/name` is where this node is found from now on, if it is held.
    pub(super) fn is_now_at(&self, dir: &DirNode, name: &Name) -> Result<()> {
        let new_place = place(dir, name)?;
        let mut places = Places::lock(Some(self), None);
        if let Some(place) = places.first.as_deref_mut() {
            match place {
                Place::Held(_) => *place = new_place,
                Place::At { .. } => {}
            }
        }
        Ok(())
    }
}

impl Writer {
    /// `renameat2`, also where the filesystem has no flags for it.
    ///
    /// Then `NoReplace` looks first: the work area and the branch belong to
    /// this process alone (`flock`), and the caller has the directory locked.
    pub(super) fn rename(&self, from: At<'_>, to: At<'_>, mode: RenameMode) -> Result<()> {
        match mode {
            RenameMode::NoReplace if !self.capabilities.rename_exchange => {
                match sys::stat::attr_of(to)? {
                    Some(_) => Err(Error::Exists),
                    None => sys::rename::rename(from, to, RenameMode::Replace),
                }
            }
            RenameMode::Replace
            | RenameMode::NoReplace
            | RenameMode::Exchange
            | RenameMode::Whiteout => sys::rename::rename(from, to, mode),
        }
    }
}

fn place(dir: &DirNode, name: &Name) -> Result<Place> {
    Ok(Place::At {
        dir: dir.me()?,
        name: name.to_owned(),
    })
}

/// Whether a node with this place loses it when `at`, an entry of `dir`, loses
/// its meaning: a hard link's node may have another name as its place, and
/// keeps it then. In doubt it does: holding once too often does no harm.
fn says(place: &Place, dir: &DirNode, at: At<'_>) -> Result<bool> {
    let Place::At { dir: there, name } = place else {
        return Ok(false);
    };
    if **name != *at.name {
        return Ok(false);
    }
    if std::ptr::eq(&**there, dir) {
        return Ok(true);
    }
    // Another directory, or another node of this one.
    let Some(there) = there.cached() else {
        return Ok(true);
    };
    let there = sys::stat::attr(Object::Held(there.fd()))?;
    let here = sys::stat::attr(Object::Held(at.dir))?;
    Ok((there.dev, there.ino) == (here.dev, here.ino))
}

/// Nothing to hold where there is nothing to displace.
fn hold_if_there(node: &DirNode, at: At<'_>) -> Result<Option<Place>> {
    let held: Result<Arc<Descriptor>> = node.hold(at);
    match held {
        Ok(descriptor) => Ok(Some(Place::Held(Some(descriptor)))),
        Err(Error::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Some filesystems say `EEXIST` for a directory that is not empty; `rmdir(2)`
/// and `rename(2)` allow both.
pub(super) fn not_empty(error: Error) -> Error {
    match error.errno() {
        Errno::NOTEMPTY | Errno::EXIST => Error::NotEmpty,
        _ => error,
    }
}
