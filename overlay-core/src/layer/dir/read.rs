//! What a node of a directory branch shows.

use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::DirNode;
use super::file::{DirFile, Tracks};
use super::node::{Reading, Xattrs};
use crate::attr::{Attr, FileKind, StatFs};
use crate::error::{Error, Result};
use crate::handle::FileHandle;
use crate::layer::{Access, Found, Node, OpenFile, RawEntry};
use crate::name::Name;
use crate::sys::handle::Filesystem;
use crate::sys::{self, At, Object};

impl Node for DirNode {
    fn attr(&self) -> Result<Attr> {
        self.object(sys::stat::attr)
    }

    fn attr_of(&self, name: &Name) -> Result<Option<Attr>> {
        let dir = self.directory()?;
        sys::stat::attr_of(At::new(dir.fd(), name))
    }

    fn descriptor(&self) -> Result<Option<OwnedFd>> {
        let own = self.directory()?.fd().try_clone_to_owned();
        own.map(Some)
            .map_err(|_| Error::system("fcntl", "a directory", Errno::MFILE))
    }

    fn lookup(&self, name: &Name) -> Result<Option<Found<dyn Node>>> {
        let Some((node, attr)) = self.find(name)? else {
            return Ok(None);
        };
        Ok(Some(Found { node, attr }))
    }

    fn entries(&self, each: &mut dyn FnMut(RawEntry<'_>) -> ControlFlow<()>) -> Result<()> {
        let dir = self.directory()?;
        let listing = self.open_quietly(OFlags::RDONLY, |flags| {
            let descriptors = &self.branch().descriptors;
            descriptors.with_room(|| sys::open::directory(dir.fd(), flags))
        })?;
        sys::dir::entries(listing.as_fd(), each)
    }

    fn open(&self, access: Access) -> Result<Arc<dyn OpenFile>> {
        let fd = match access {
            Access::Read => self.open_file(OFlags::RDONLY)?,
            Access::Write if !self.branch().is_writable() => return Err(Error::ReadOnly),
            Access::Write => match self.open_file(OFlags::RDWR) {
                Err(error) if error.is(Errno::ACCESS) => self.open_file(OFlags::WRONLY)?,
                outcome => outcome?,
            },
        };
        let tracks = match self.branch().reading {
            Reading::LeavesNoTrace | Reading::AskForDirectories => Tracks::None,
            Reading::AskForNoAtime => Tracks::AccessTime,
        };
        Ok(Arc::new(DirFile::new(fd, tracks)))
    }

    fn link_target(&self) -> Result<Vec<u8>> {
        match self.kind() {
            FileKind::Symlink => self.object(sys::stat::link_target),
            FileKind::Regular
            | FileKind::Directory
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::CharDevice
            | FileKind::BlockDevice => Err(Error::Invalid("not a symlink")),
        }
    }

    fn xattr(&self, name: &[u8]) -> Result<Option<Vec<u8>>> {
        let is_dir = self.kind().is_dir();
        self.object(|object| match (self.branch().xattrs, object) {
            (Xattrs::At, Object::Entry(at)) => sys::xattr::get_entry(at, name),
            (Xattrs::At, Object::Held(fd)) if is_dir => sys::xattr::get_directory(fd, name),
            (Xattrs::At | Xattrs::Proc, _) => sys::xattr::get(object, name),
        })
    }

    fn xattr_names(&self) -> Result<Vec<Vec<u8>>> {
        let is_dir = self.kind().is_dir();
        self.object(|object| match (self.branch().xattrs, object) {
            (Xattrs::At, Object::Entry(at)) => sys::xattr::list_entry(at),
            (Xattrs::At, Object::Held(fd)) if is_dir => sys::xattr::list_directory(fd),
            (Xattrs::At | Xattrs::Proc, _) => sys::xattr::list(object),
        })
    }

    fn stat_fs(&self) -> Result<StatFs> {
        self.object(|object| match object {
            Object::Entry(at) => sys::stat::stat_fs(at.dir),
            Object::Held(fd) => sys::stat::stat_fs(fd),
        })
    }

    fn hides_owner(&self, attr: &Attr) -> Result<bool> {
        self.looks_foreign(attr)
    }

    fn handle(&self) -> Result<Option<FileHandle>> {
        let Some(Filesystem { uuid, .. }) = self.branch().filesystem else {
            return Ok(None);
        };
        let handle = self.object(sys::handle::of)?;
        Ok(handle.map(|(kind, bytes)| FileHandle { uuid, kind, bytes }))
    }
}

impl DirNode {
    /// The attributes of an object of this directory's filesystem.
    pub(super) fn attr_of_handle(&self, handle: &FileHandle) -> Result<Option<Attr>> {
        let filesystem = self.branch().filesystem;
        if filesystem.map(|filesystem| filesystem.uuid) != Some(handle.uuid) {
            return Ok(None);
        }
        let descriptors = &self.branch().descriptors;
        let mount = match self.branch().by_handle.get() {
            Some(mount) => mount,
            None => {
                let dir = self.directory()?;
                let flags = OFlags::RDONLY | OFlags::DIRECTORY;
                let fd = descriptors.with_room(|| sys::open::directory(dir.fd(), flags))?;
                self.branch().by_handle.get_or_init(|| fd)
            }
        };
        let found = descriptors
            .with_room(|| sys::handle::open(mount.as_fd(), handle.kind, &handle.bytes))?;
        found
            .map(|fd| sys::stat::attr(Object::Held(fd.as_fd())))
            .transpose()
    }

    /// The entry `name` of this directory.
    pub(super) fn find(&self, name: &Name) -> Result<Option<(Arc<DirNode>, Attr)>> {
        match self.attr_of(name)? {
            None => Ok(None),
            Some(attr) => Ok(Some((self.child(name, attr.kind)?, attr))),
        }
    }

    /// Opens this regular file. Nothing else is ever opened for I/O: opening a
    /// fifo may block or wake its other end, opening a device may do anything.
    ///
    /// The kind was seen when the node was made. Should somebody have swapped
    /// the object since, behind the branch's back, then `O_NONBLOCK` keeps the
    /// open from waiting, and the descriptor is looked at before it is used.
    pub(super) fn open_file(&self, flags: OFlags) -> Result<OwnedFd> {
        match self.kind() {
            FileKind::Regular => {}
            FileKind::Directory => return Err(Error::IsDirectory),
            FileKind::Symlink
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::CharDevice
            | FileKind::BlockDevice => return Err(Error::Invalid("not a regular file")),
        }
        let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = self.open_quietly(flags, |flags| {
            self.object(|object| {
                self.branch().descriptors.with_room(|| match object {
                    Object::Entry(at) => sys::open::entry(at, flags),
                    Object::Held(fd) => sys::open::again(fd, flags),
                })
            })
        })?;
        match sys::stat::attr(Object::Held(fd.as_fd()))?.kind {
            FileKind::Regular => Ok(fd),
            FileKind::Directory
            | FileKind::Symlink
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::CharDevice
            | FileKind::BlockDevice => Err(Error::Stale),
        }
    }

    /// Opens with `O_NOATIME` where the branch asks for it and the object's
    /// owner is this process' (or the process is privileged); else without.
    fn open_quietly(
        &self,
        flags: OFlags,
        open: impl Fn(OFlags) -> Result<OwnedFd>,
    ) -> Result<OwnedFd> {
        let quietly = match self.branch().reading {
            Reading::LeavesNoTrace => false,
            Reading::AskForNoAtime => true,
            Reading::AskForDirectories => self.kind().is_dir(),
        };
        if !quietly {
            return open(flags);
        }
        match open(flags | OFlags::NOATIME) {
            Err(error) if error.is(Errno::PERM) => open(flags),
            outcome => outcome,
        }
    }
}
