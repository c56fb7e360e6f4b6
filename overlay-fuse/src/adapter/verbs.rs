//! The requests that take more than one call of the union.

use std::ffi::OsStr;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fuser::{CopyFileRangeFlags, FileAttr, FileHandle, INodeNo, Notifier, Request, WriteFlags};
use overlay_core::error::Errno;
use overlay_core::layer::{NewKind, RenameMode, SeekTo, SetXattr};
use overlay_core::union::{Entry, Inode, Live, Now};
use overlay_core::{Attr, Caller, Error, Name, Owner, Result, SetAttr};

use super::{Adapter, Known};
use crate::answer::{answer, asked};
use crate::control::Control;
use crate::convert::file_attr;
use crate::epoch::Epoch;
use crate::follow::Follower;
use crate::handles::Handles;
use crate::io::Io;
use crate::presentation::Presentation;
use crate::strangers::Strangers;
use crate::ways::Ways;

/// The most that one reply to `copy_file_range(2)` can report, in whole pages
/// (the kernel's `MAX_RW_COUNT`).
const MAX_COPY: u64 = 0x7fff_f000;

/// What only some mounts have.
#[derive(Debug, Default)]
pub(crate) struct More {
    pub(crate) follower: Option<Arc<Follower>>,
    pub(crate) control: Option<Arc<dyn Control>>,
    pub(crate) epoch: Option<Epoch>,
    pub(crate) io: Io,
}

impl Adapter {
    /// Answers from `live`.
    pub(crate) fn new(live: Arc<Live>, presentation: Presentation, more: More) -> Adapter {
        Adapter {
            live,
            presentation,
            files: Handles::new(),
            running: Arc::default(),
            listings: Arc::new(Handles::new()),
            strangers: Strangers::default(),
            follower: more.follower,
            control: more.control,
            epoch: more.epoch.map(Arc::new),
            notifier: Arc::default(),
            kills_privileges: false,
            ways: Ways::new(more.io == Io::Passthrough),
        }
    }

    /// Where the session's notifier belongs, before the session runs.
    pub(crate) fn notifier(&self) -> Arc<OnceLock<Notifier>> {
        Arc::clone(&self.notifier)
    }

    /// Who asks, as the union knows them.
    pub(super) fn caller(&self, request: &Request, umask: u32) -> Result<Caller> {
        let owner = Owner {
            uid: request.uid(),
            gid: request.gid(),
        };
        let owner = self.presentation.maker(owner)?;
        Ok(Caller { owner, umask })
    }

    /// The adapter with the union as it is now. One for a request: see
    /// [`Now`](overlay_core::union::Now).
    pub(super) fn now(&self) -> Serving<'_> {
        Serving {
            adapter: self,
            union: self.live.now(),
        }
    }
}

/// The adapter with the union as it is while one request is answered.
pub(super) struct Serving<'a> {
    adapter: &'a Adapter,
    pub(super) union: Now<'a>,
}

impl Deref for Serving<'_> {
    type Target = Adapter;

    fn deref(&self) -> &Adapter {
        self.adapter
    }
}

impl Serving<'_> {
    pub(super) fn inode(&self, ino: INodeNo) -> Result<Arc<Inode>> {
        match self.union.known(ino.0) {
            Some(inode) => Ok(inode),
            None => self.find_again(ino),
        }
    }

    /// An inode that was known before the branches changed.
    #[cold]
    fn find_again(&self, ino: INodeNo) -> Result<Arc<Inode>> {
        let entry = self.union.recall_after_change(ino.0)?;
        Ok(entry.inode)
    }

    /// An inode that the kernel may have forgotten.
    fn recall(&self, ino: INodeNo) -> Result<Entry> {
        self.union.recall(ino.0)?.ok_or(Error::Stale)
    }

    /// The entry as the kernel is told of it; counts the kernel's reference.
    pub(super) fn pinned(&self, entry: &Entry) -> Known {
        self.union.pin(&entry.inode);
        let mut known = Known::of(entry, &self.presentation);
        let number = entry.inode.number();
        known.attr_ttl = self.ways.lifetime(number, known.attr_ttl);
        known
    }

    /// From now on the kernel is told what others change in a directory.
    pub(super) fn follow(&self, directory: &Arc<Inode>) {
        if let Some(follower) = &self.follower {
            follower.watch(&self.union, directory);
        }
    }

    pub(super) fn look_up(&self, parent: INodeNo, name: &OsStr) -> Result<Option<Known>> {
        // File handles (open_by_handle_at(2), NFS) are resolved by these two.
        let entry = match name.as_encoded_bytes() {
            b"." => Some(self.recall(parent)?),
            b".." => {
                let inode = self.recall(parent)?.inode;
                Some(self.recall(INodeNo(self.union.parent_number(&inode)))?)
            }
            _ => {
                let parent = self.inode(parent)?;
                self.follow(&parent);
                self.union.lookup(&parent, Name::from_os(name)?)?
            }
        };
        Ok(entry.map(|entry| self.pinned(&entry)))
    }

    pub(super) fn forget_pins(&self, ino: INodeNo, count: u64) {
        match answer(asked("forget", ino), || {
            let count = self.strangers.part(ino.0, count);
            match &self.follower {
                None => self.union.unpin(ino.0, count),
                Some(follower) => {
                    let inode = self.union.known(ino.0);
                    self.union.unpin(ino.0, count);
                    // Of it alone: the kernel has it no more.
                    if let Some(inode) = inode.filter(|inode| Arc::strong_count(inode) == 1) {
                        follower.leave(&self.union, &inode);
                    }
                }
            }
            if self.union.known(ino.0).is_none() {
                self.ways.forget(ino.0);
            }
            Ok(())
        }) {
            // No reply exists for it; a panic has been logged.
            Ok(()) | Err(_) => {}
        }
    }

    pub(super) fn attr(&self, ino: INodeNo) -> Result<(FileAttr, Duration)> {
        let attr = self.union.attr(&self.inode(ino)?)?;
        Ok(self.shown(ino, &attr))
    }

    fn shown(&self, ino: INodeNo, attr: &Attr) -> (FileAttr, Duration) {
        let shown = file_attr(attr.ino, &self.presentation.attr(attr));
        let lifetime = self.presentation.shown_lifetime();
        (shown, self.ways.lifetime(ino.0, lifetime))
    }

    pub(super) fn set_attr(
        &self,
        ino: INodeNo,
        set: &SetAttr,
        request: &Request,
    ) -> Result<(FileAttr, Duration)> {
        let inode = self.inode(ino)?;
        let nothing = self.kills_privileges && *set == SetAttr::default();
        if nothing {
            self.permit_clearing(&inode, request)?;
        }
        let stored = self.presentation.stored(set)?;
        // Nothing, too: that is a copy-up, as on the kernel's overlayfs.
        let attr = self.union.set_attr(&inode, &stored)?;
        let owned = self.kills_privileges && (set.uid.is_some() || set.gid.is_some());
        let attr = match (set.mode, set.size) {
            (None, _) if nothing || owned => self.clear(&inode, &attr, request)?,
            (None, Some(_)) => self.after_truncation(&inode, &attr, request)?,
            (None | Some(_), _) => attr,
        };
        Ok(self.shown(ino, &attr))
    }

    pub(super) fn read_link(&self, ino: INodeNo) -> Result<Vec<u8>> {
        self.union.read_link(&self.inode(ino)?)
    }

    pub(super) fn make(
        &self,
        parent: INodeNo,
        name: &OsStr,
        kind: NewKind<'_>,
        mode: u32,
        caller: &Caller,
    ) -> Result<Known> {
        let parent = self.inode(parent)?;
        let name = Name::from_os(name)?;
        let entry = self
            .union
            .create(&parent, name, kind, mode & 0o7777, caller)?;
        Ok(self.pinned(&entry))
    }

    pub(super) fn link(&self, ino: INodeNo, parent: INodeNo, name: &OsStr) -> Result<Known> {
        let (inode, parent) = (self.inode(ino)?, self.inode(parent)?);
        let entry = self.union.link(&inode, &parent, Name::from_os(name)?)?;
        Ok(self.pinned(&entry))
    }

    pub(super) fn unlink(&self, parent: INodeNo, name: &OsStr) -> Result<()> {
        self.union
            .unlink(&self.inode(parent)?, Name::from_os(name)?)
    }

    pub(super) fn rmdir(&self, parent: INodeNo, name: &OsStr) -> Result<()> {
        self.union.rmdir(&self.inode(parent)?, Name::from_os(name)?)
    }

    pub(super) fn rename(
        &self,
        (from, name): (INodeNo, &OsStr),
        (to, new_name): (INodeNo, &OsStr),
        mode: RenameMode,
    ) -> Result<()> {
        let (from, to) = (self.inode(from)?, self.inode(to)?);
        let (name, new_name) = (Name::from_os(name)?, Name::from_os(new_name)?);
        self.union.rename((&from, name), (&to, new_name), mode)
    }

    pub(super) fn xattr_names(&self, ino: INodeNo) -> Result<Vec<u8>> {
        // No name of any attribute, so only what is said of all of them.
        self.presentation.require_xattr(b"")?;
        let mut list = Vec::new();
        for name in self.union.xattr_names(&self.inode(ino)?)? {
            if self.presentation.lists_xattr(&name) {
                list.extend_from_slice(&name);
                list.push(0);
            }
        }
        Ok(list)
    }

    pub(super) fn xattr(&self, ino: INodeNo, name: &[u8]) -> Result<Vec<u8>> {
        self.presentation.require_xattr(name)?;
        let value = self.union.xattr(&self.inode(ino)?, name)?;
        Ok(self.presentation.shown_value(name, value))
    }

    pub(super) fn set_xattr(
        &self,
        ino: INodeNo,
        name: &[u8],
        value: &[u8],
        how: SetXattr,
    ) -> Result<()> {
        self.presentation.require_xattr(name)?;
        let value = self.presentation.stored_value(name, value)?;
        self.union.set_xattr(&self.inode(ino)?, name, &value, how)
    }

    pub(super) fn write(
        &self,
        fh: FileHandle,
        data: &[u8],
        offset: u64,
        (flags, request): (WriteFlags, &Request),
    ) -> Result<usize> {
        let file = self.files.get(fh.0)?;
        if flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID) {
            self.before_write(&file, request)?;
        }
        self.union.write(&file, data, offset)
    }

    pub(super) fn seek(&self, fh: FileHandle, offset: i64, to: SeekTo) -> Result<i64> {
        let beyond = || Error::Errno(Errno::NXIO);
        let offset = u64::try_from(offset).map_err(|_| beyond())?;
        let found = self.union.seek(&*self.files.get(fh.0)?, offset, to)?;
        i64::try_from(found).map_err(|_| Error::Errno(Errno::OVERFLOW))
    }

    pub(super) fn copy_range(
        &self,
        (from, from_offset): (FileHandle, u64),
        (to, to_offset): (FileHandle, u64),
        len: u64,
        flags: CopyFileRangeFlags,
    ) -> Result<u32> {
        if !flags.is_empty() {
            return Err(Error::Invalid("flags of copy_file_range"));
        }
        let (from, to) = (self.files.get(from.0)?, self.files.get(to.0)?);
        let len = len.min(MAX_COPY);
        let copied = self
            .union
            .copy_range(&from, from_offset, &to, to_offset, len)?;
        // At most MAX_COPY, which fits.
        Ok(copied as u32)
    }
}
