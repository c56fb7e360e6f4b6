//! Opening files, and in which way.

use std::ffi::OsStr;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use fuser::{BackingId, FopenFlags, INodeNo, OpenAccMode, OpenFlags, Request};
use overlay_core::error::Errno;
use overlay_core::union::{Handle, Inode, Lent, OpenOptions};
use overlay_core::{Caller, Error, Name, Result};

use super::Known;
use super::verbs::Serving;
use crate::running::OpenFile;
use crate::ways::{Belief, Mappable, Means, Taken, Way};

/// The flag of an open for executing (`__FMODE_EXEC`, `include/linux/fs.h`).
const FMODE_EXEC: i32 = 0x20;

/// A file that has been opened.
#[derive(Debug)]
pub(super) struct NewFile {
    pub(super) number: u64,
    pub(super) flags: FopenFlags,
    pub(super) way: Way,
}

/// Gives a descriptor to the kernel, to read and write its file past the server.
type Back<'a> = &'a dyn Fn(BorrowedFd<'_>) -> io::Result<BackingId>;

impl Serving<'_> {
    pub(super) fn create(
        &self,
        (parent, name): (INodeNo, &OsStr),
        mode: u32,
        flags: OpenFlags,
        caller: &Caller,
        back: Back<'_>,
    ) -> Result<(Known, NewFile)> {
        let parent = self.inode(parent)?;
        let name = Name::from_os(name)?;
        let (entry, handle) = self
            .union
            .create_file(&parent, name, mode & 0o7777, caller)?;
        let (way, _, taken) = self.enter(&entry.inode, &handle, flags, back)?;
        let number = entry.inode.number();
        let opened = self.opened(number, way, OpenFile::new(handle, taken, None));
        Ok((self.pinned(&entry), opened))
    }

    pub(super) fn open(
        &self,
        ino: INodeNo,
        flags: OpenFlags,
        request: &Request,
        back: Back<'_>,
    ) -> Result<NewFile> {
        let inode = self.inode(ino)?;
        let truncate = flags.0 & libc::O_TRUNC != 0;
        let writes = flags.acc_mode() != OpenAccMode::O_RDONLY;
        if truncate && !writes && self.running.has(ino.0) {
            return Err(Error::Errno(Errno::TXTBSY));
        }
        let options = OpenOptions {
            write: writes || truncate,
            truncate,
            append: flags.0 & libc::O_APPEND != 0,
        };
        let was_copied_up = inode.is_copied_up();
        let handle = self.union.open(&inode, options)?;
        if truncate {
            self.after_open(&inode, request)?;
        }
        let (way, belief, taken) = self.enter(&inode, &handle, flags, back)?;
        if options.write && !was_copied_up || belief == Belief::ToBeAsked {
            self.tell_of_attributes(ino);
        }
        let run = (flags.0 & FMODE_EXEC != 0).then(|| self.running.start(ino.0));
        Ok(self.opened(ino.0, way, OpenFile::new(handle, taken, run)))
    }

    /// Finds the way into a file that has been opened.
    fn enter(
        &self,
        inode: &Arc<Inode>,
        handle: &Handle,
        flags: OpenFlags,
        back: Back<'_>,
    ) -> Result<(Way, Belief, Taken)> {
        let mappable = match flags.acc_mode() {
            OpenAccMode::O_RDWR => Mappable::Yes,
            OpenAccMode::O_RDONLY | OpenAccMode::O_WRONLY => Mappable::No,
        };
        let means = match flags.0 & libc::O_DIRECT {
            0 => Means::Cache,
            _ => Means::Direct,
        };
        let lend = || self.lend(handle, flags);
        let how = (mappable, means);
        let entered = self.ways.enter(inode.number(), how, lend, back)?;
        if let Way::Passed(_) = &entered.0 {
            self.union.lent(handle);
        }
        Ok(entered)
    }

    /// What is passed is opened by the kernel with the flags of whoever opens it
    /// (`backing_file_open` in `fs/backing-file.c`): with `O_DIRECT` the layer has
    /// to be able to. Through the cache it need not.
    fn lend(&self, handle: &Handle, flags: OpenFlags) -> Result<Option<Lent>> {
        let lent = self.union.lend(handle)?;
        match &lent {
            Some(file) if flags.0 & libc::O_DIRECT != 0 && !file.is_direct()? => Ok(None),
            Some(_) | None => Ok(lent),
        }
    }

    /// A close sends nothing, for there is nothing to flush, as every write
    /// reaches the layer at once; and contents stay cached over opens, unless
    /// nothing is to be remembered, nothing is cached, or a mapping may have
    /// changed them past the cache.
    fn opened(&self, ino: u64, way: Way, file: OpenFile) -> NewFile {
        let keeps = match &way {
            Way::Cached => {
                !self.presentation.shown_lifetime().is_zero() && !self.ways.changes_unseen(ino)
            }
            Way::Passed(_) => false,
        };
        let mut flags = FopenFlags::FOPEN_NOFLUSH;
        flags.set(FopenFlags::FOPEN_KEEP_CACHE, keeps);
        NewFile {
            number: self.files.insert(file),
            flags,
            way,
        }
    }

    /// A copy has a ctime and a link count of its own. The kernel asks for
    /// the attributes again after each change that it sent, but to open a
    /// file is none. Before the reply, so that whoever opened sees the copy's;
    /// to invalidate attributes alone takes no lock of the kernel's
    /// (`fuse_reverse_inval_inode`, fs/fuse/inode.c).
    fn tell_of_attributes(&self, ino: INodeNo) {
        let Some(notifier) = self.notifier.get() else {
            return;
        };
        if let Err(error) = notifier.inval_inode(ino, -1, 0) {
            tracing::debug!(ino = ino.0, %error, "the kernel keeps its attributes");
        }
    }
}
