//! New objects: made whole in the work area, or in place where nothing about
//! them needs a second step.

use std::sync::Arc;

use rustix::fs::OFlags;

use super::upper::Writer;
use super::{Descriptor, DirNode};
use crate::attr::{Attr, FileKind};
use crate::error::{Error, Result};
use crate::layer::{New, NewKind, RenameMode, SetXattr};
use crate::name::{Name, NameBuf};
use crate::sys::{self, At, Object};

/// A name that goes away again unless it is given away.
pub(super) struct Temporary<'a> {
    at: At<'a>,
    kind: FileKind,
    armed: bool,
}

impl Temporary<'_> {
    /// The name stays, or is another's business by now.
    pub(super) fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let gone = match self.kind.is_dir() {
            true => sys::make::remove_directory(self.at),
            false => sys::make::unlink(self.at),
        };
        if let Err(error) = gone {
            tracing::warn!(%error, "a half-made object stays behind");
        }
    }
}

impl DirNode {
    /// Makes `new` as `name` in this directory.
    pub(super) fn make(&self, name: &Name, new: &New<'_>) -> Result<(Arc<DirNode>, Attr)> {
        let writer = self.branch().writer()?;
        let dir = self.directory()?;
        let at = At::new(dir.fd(), name);
        let attr = match writer.needs_one_step(new) {
            true => {
                let made = plain(at, new, new.mode)?;
                let attr = writer.finish(at, new)?;
                made.disarm();
                attr
            }
            false => {
                let staged = writer.stage(new)?;
                let from = At::new(writer.work(), &staged);
                let made = Temporary {
                    at: from,
                    kind: new.kind.file_kind(),
                    armed: true,
                };
                writer.rename(from, at, RenameMode::NoReplace)?;
                made.disarm();
                sys::stat::attr(Object::Entry(at))?
            }
        };
        Ok((self.child(name, attr.kind)?, attr))
    }

    /// Gives `node` another name in this directory. In place of another
    /// object it comes from the work area, so that the name is never free.
    pub(super) fn add_name(&self, name: &Name, node: &DirNode, mode: RenameMode) -> Result<()> {
        let writer = self.branch().writer()?;
        if node.kind().is_dir() {
            return Err(Error::NotPermitted("a directory has one name only"));
        }
        let dir = self.directory()?;
        let at = At::new(dir.fd(), name);
        match mode {
            RenameMode::NoReplace => node.object(|object| sys::make::link(object, at)),
            RenameMode::Replace => {
                let temporary = writer.fresh_name()?;
                let from = At::new(writer.work(), &temporary);
                node.object(|object| sys::make::link(object, from))?;
                let made = Temporary {
                    at: from,
                    kind: node.kind(),
                    armed: true,
                };
                writer.rename(from, at, RenameMode::Replace)?;
                made.disarm();
                Ok(())
            }
            RenameMode::Exchange | RenameMode::Whiteout => {
                Err(Error::Invalid("a link is new, or replaces another object"))
            }
        }
    }
}

impl Writer {
    /// Whether one system call makes `new` as it must be.
    fn needs_one_step(&self, new: &New<'_>) -> bool {
        let whole_mode = match new.kind.file_kind() {
            FileKind::Symlink => true,
            FileKind::Regular
            | FileKind::Directory
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::CharDevice
            | FileKind::BlockDevice => new.mode & self.umask == 0,
        };
        new.xattrs.is_empty() && new.owner == self.owner && whole_mode
    }

    /// Makes `new` in the work area, whole, and returns its name there.
    pub(super) fn stage(&self, new: &New<'_>) -> Result<NameBuf> {
        // Nobody but this process can look into the work area, but until the
        // owner and the attributes are there it needs no more than this.
        let mode = match new.xattrs.is_empty() {
            true => new.mode,
            false => new.mode | 0o600,
        };
        loop {
            let name = self.fresh_name()?;
            let at = At::new(self.work(), &name);
            let made = match plain(at, new, mode) {
                Ok(made) => made,
                // Left by an earlier process: the next number is free.
                Err(error) if error.is(rustix::io::Errno::EXIST) => continue,
                Err(error) => return Err(error),
            };
            self.finish(at, new)?;
            made.disarm();
            return Ok(name);
        }
    }

    /// Makes what lies at `at` what `new` says, where it is not yet, and
    /// returns its attributes. In the order of copy-up: the owner first, for
    /// changing it takes setuid bits and capabilities away; the mode last, for
    /// an access ACL changes it.
    fn finish(&self, at: At<'_>, new: &New<'_>) -> Result<Attr> {
        let object = Object::Entry(at);
        let seen = sys::stat::attr(object)?;
        let mut touched = false;
        if (seen.uid, seen.gid) != (new.owner.uid, new.owner.gid) {
            sys::meta::set_owner(object, Some(new.owner.uid), Some(new.owner.gid))?;
            touched = true;
        }
        for (name, value) in new.xattrs {
            sys::xattr::set(object, name, value, SetXattr::Any)?;
            touched = true;
        }
        let is_symlink = seen.kind == FileKind::Symlink;
        if !is_symlink && (touched || seen.mode != new.mode & 0o7777) {
            self.set_mode(object, new.mode)?;
            touched = true;
        }
        match touched {
            true => sys::stat::attr(object),
            false => Ok(seen),
        }
    }

    /// Changes the mode; a symlink has none to change (`EOPNOTSUPP`).
    pub(super) fn set_mode(&self, object: Object<'_>, mode: u32) -> Result<()> {
        match object {
            Object::Held(fd) => sys::meta::set_mode_held(fd, mode),
            Object::Entry(at) if self.mode_by_name => sys::meta::set_mode_of(at, mode),
            Object::Entry(at) => {
                let held = Descriptor::new(sys::open::entry(at, OFlags::PATH)?);
                sys::meta::set_mode_held(held.fd(), mode)
            }
        }
    }
}

/// One system call: an object of this process' owner, subject to its umask.
fn plain<'a>(at: At<'a>, new: &New<'_>, mode: u32) -> Result<Temporary<'a>> {
    let kind = new.kind.file_kind();
    match new.kind {
        NewKind::Regular | NewKind::Fifo | NewKind::Socket => {
            sys::make::node(at, kind, mode, 0)?;
        }
        NewKind::CharDevice(rdev) | NewKind::BlockDevice(rdev) => {
            sys::make::node(at, kind, mode, rdev)?;
        }
        NewKind::Directory => sys::make::directory(at, mode)?,
        NewKind::Symlink(target) => sys::make::symlink(target, at)?,
    }
    Ok(Temporary {
        at,
        kind,
        armed: true,
    })
}
