//! Changing the attributes of an object of a directory branch.

use std::os::fd::AsFd;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::DirNode;
use super::node::Place;
use crate::attr::{FileKind, SetAttr};
use crate::error::{Error, Result};
use crate::sys;

impl DirNode {
    pub(super) fn change(&self, set: &SetAttr) -> Result<()> {
        let writer = self.branch().writer()?;
        if let Some(size) = set.size {
            let file = self.open_file(OFlags::WRONLY)?;
            sys::space::set_len(file.as_fd(), size)?;
        }
        self.object(|object| {
            if set.uid.is_some() || set.gid.is_some() {
                sys::meta::set_owner(object, set.uid, set.gid)?;
            }
            if let Some(mode) = set.mode {
                writer.set_mode(object, mode)?;
            }
            if set.atime.is_some() || set.mtime.is_some() {
                sys::meta::set_times(object, set.atime, set.mtime)?;
            }
            Ok(())
        })
    }

    /// `fsync` of this object. What cannot be opened (symlinks, fifos, ...) has
    /// no data: its attributes become durable with the directory it lies in.
    pub(super) fn make_durable(&self) -> Result<()> {
        match self.kind() {
            FileKind::Directory => {
                let dir = self.directory()?;
                let open = sys::open::directory(dir.fd(), OFlags::RDONLY)?;
                sys::sync::all(open.as_fd())
            }
            FileKind::Regular => {
                let file = match self.open_file(OFlags::RDONLY) {
                    Err(error) if error.is(Errno::ACCESS) => self.open_file(OFlags::WRONLY)?,
                    outcome => outcome?,
                };
                sys::sync::all(file.as_fd())
            }
            FileKind::Symlink
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::CharDevice
            | FileKind::BlockDevice => {
                let parent = match &*self.place().read() {
                    Place::At { dir, .. } => std::sync::Arc::clone(dir),
                    Place::Held(Some(_)) => return Ok(()),
                    Place::Held(None) => return Err(Error::Stale),
                };
                parent.make_durable()
            }
        }
    }
}
