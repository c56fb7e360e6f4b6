//! The kernel's requests as verbs of the union. Translates, decides nothing.
//!
//! Each method does its work inside [`answer`] and replies after it. What
//! takes more than a line is in [`Adapter`]'s own methods (`verbs`).

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileAttr, FileHandle, Filesystem,
    FopenFlags, Generation, INodeNo, InitFlags, IoctlFlags, KernelConfig, LockOwner, Notifier,
    OpenFlags, PollEvents, PollFlags, PollNotifier, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen,
    ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use overlay_core::SetAttr;
use overlay_core::layer::{NewKind, SyncWhat};
use overlay_core::union::{Entry, Inode, Live};
use rustix::thread::CapabilitySet;

use crate::answer::{answer, asked};
use crate::control::{self, Control};
use crate::convert::{file_attr, new_node, rename_mode, seek_to, set_time, set_xattr};
use crate::epoch::Epoch;
use crate::follow::Follower;
use crate::handles::Handles;
use crate::listing::Listing;
use crate::presentation::{Presentation, Xattrs};
use crate::running::{OpenFile, Running};
use crate::strangers::Strangers;
use crate::ways::Ways;

mod asker;
mod controlled;
mod opens;
mod privileges;
mod reply;
mod verbs;

pub(crate) use verbs::More;

/// What we ask of the kernel, as far as it has it; and `POSIX_ACL`, unless ACLs
/// are not to be shown.
///
/// Not asked: `WRITEBACK_CACHE` (a crash would lose what a program believes
/// written), `FLOCK_LOCKS` and `POSIX_LOCKS` (the kernel's own are right, as it
/// alone sees the files).
const WANTED: InitFlags = InitFlags::FUSE_PARALLEL_DIROPS
    .union(InitFlags::FUSE_DO_READDIRPLUS)
    .union(InitFlags::FUSE_READDIRPLUS_AUTO)
    .union(InitFlags::FUSE_CACHE_SYMLINKS)
    .union(InitFlags::FUSE_ATOMIC_O_TRUNC)
    .union(InitFlags::FUSE_DONT_MASK)
    .union(InitFlags::FUSE_EXPORT_SUPPORT)
    .union(InitFlags::FUSE_HANDLE_KILLPRIV_V2)
    .union(InitFlags::FUSE_ASYNC_DIO);

/// Bytes in one WRITE: the most the kernel sends (`fs.fuse.max_pages_limit`
/// is 256 pages of 4 KiB by default).
const MAX_WRITE: u32 = 1024 * 1024;

/// Layers whose files are passed lie on no stacked filesystem themselves.
const STACK_DEPTH: u32 = 1;

/// Requests the kernel may have under way in the background (read-ahead,
/// asynchronous direct I/O, releases); fuser's 16 starve parallel readers.
const MAX_BACKGROUND: u16 = 64;

thread_local! {
    /// What a READ is answered from: grown to the largest request once, not
    /// allocated and zeroed for each.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Answers the kernel's requests from a union.
#[derive(Debug)]
pub(crate) struct Adapter {
    live: Arc<Live>,
    presentation: Presentation,
    files: Handles<OpenFile>,
    running: Arc<Running>,
    listings: Arc<Handles<Listing>>,
    strangers: Strangers,
    /// Who tells the kernel what others change, if anybody does.
    follower: Option<Arc<Follower>>,
    /// Who answers what is asked of the mount itself, if anybody does.
    control: Option<Arc<dyn Control>>,
    epoch: Option<Arc<Epoch>>,
    /// To tell the kernel what it does not ask; set before the first request.
    notifier: Arc<OnceLock<Notifier>>,
    ways: Arc<Ways>,
    /// Whether `HANDLE_KILLPRIV_V2` is agreed: see `privileges`.
    kills_privileges: bool,
}

/// An entry as the kernel is told of it.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) attr: FileAttr,
    pub(crate) generation: Generation,
    /// How long the kernel may believe `attr`.
    pub(crate) attr_ttl: Duration,
    /// How long it may believe that the name leads there.
    pub(crate) entry_ttl: Duration,
}

impl Known {
    /// fuser takes the inode number for the node id. Where the two differ,
    /// the attributes carry the node id and expire at once: the kernel asks
    /// GETATTR, whose reply carries the number to show.
    pub(crate) fn of(entry: &Entry, presentation: &Presentation) -> Known {
        let number = entry.inode.number();
        let lifetime = presentation.shown_lifetime();
        Known {
            attr: file_attr(number, &presentation.attr(&entry.attr)),
            generation: generation(&entry.inode),
            attr_ttl: if entry.attr.ino == number {
                lifetime
            } else {
                Duration::ZERO
            },
            entry_ttl: lifetime,
        }
    }
}

/// What tells the inode from others that had its number before.
pub(crate) fn generation(inode: &Inode) -> Generation {
    Generation(u64::from(inode.generation()))
}

fn sync_what(data_only: bool) -> SyncWhat {
    if data_only {
        SyncWhat::Data
    } else {
        SyncWhat::All
    }
}

impl Adapter {
    /// Passing files is agreed to where this process may: a mount with it counts
    /// as stacked, and can have one less above it (`s_stack_depth`).
    fn agree_to_pass(&self, config: &mut KernelConfig) -> io::Result<()> {
        if !self.ways.passes() {
            return Ok(());
        }
        let capabilities = rustix::thread::capabilities(None)?;
        let may = capabilities.effective.contains(CapabilitySet::SYS_ADMIN);
        if !may
            || config
                .add_capabilities(InitFlags::FUSE_PASSTHROUGH)
                .is_err()
        {
            tracing::debug!("no file is passed to the kernel");
            self.ways.pass_nothing();
            return Ok(());
        }
        let depth = config.set_max_stack_depth(STACK_DEPTH);
        depth
            .map(drop)
            .map_err(|_| io::Error::other("a limit of FUSE is out of range"))
    }
}

impl Filesystem for Adapter {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let refused = |_| io::Error::other("the kernel's FUSE is too old");
        let wanted = match self.presentation.shown_xattrs() {
            Xattrs::All => WANTED | InitFlags::FUSE_POSIX_ACL,
            Xattrs::NoAcls | Xattrs::None => WANTED,
        };
        // Only what was offered, so none of it can be refused.
        let offered = config.capabilities() & wanted;
        config.add_capabilities(offered).map_err(refused)?;
        self.agree_to_pass(config)?;
        self.kills_privileges = offered.contains(InitFlags::FUSE_HANDLE_KILLPRIV_V2);
        let too_small = |_| io::Error::other("a limit of FUSE is out of range");
        config.set_max_write(MAX_WRITE).map_err(too_small)?;
        let background = config.set_max_background(MAX_BACKGROUND);
        background.map_err(|_| io::Error::other("a limit of FUSE is out of range"))?;
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let lifetime = self.presentation.shown_lifetime();
        reply::entry_or_none(reply, asked("lookup", parent), lifetime, || {
            self.now().look_up(parent, name)
        });
    }

    // fuser hands a BATCH_FORGET over piece by piece.
    fn forget(&self, _: &Request, ino: INodeNo, count: u64) {
        self.now().forget_pins(ino, count);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply::attr(reply, asked("getattr", ino), || self.now().attr(ino));
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let set = SetAttr {
            mode: mode.map(|mode| mode & 0o7777),
            uid,
            gid,
            size,
            atime: atime.map(set_time),
            mtime: mtime.map(set_time),
        };
        reply::attr(reply, asked("setattr", ino), || {
            self.now().set_attr(ino, &set, request)
        });
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        reply::data(reply, asked("readlink", ino), || self.now().read_link(ino));
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        reply::entry(reply, asked("mknod", parent), || {
            let caller = self.caller(request, umask)?;
            self.now()
                .make(parent, name, new_node(mode, rdev)?, mode, &caller)
        });
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        reply::entry(reply, asked("mkdir", parent), || {
            let caller = self.caller(request, umask)?;
            self.now()
                .make(parent, name, NewKind::Directory, mode, &caller)
        });
    }

    fn symlink(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let kind = NewKind::Symlink(target.as_os_str().as_bytes());
        reply::entry(reply, asked("symlink", parent), || {
            let caller = self.caller(request, 0)?;
            self.now().make(parent, name, kind, 0o777, &caller)
        });
    }

    fn link(&self, _: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        reply::entry(reply, asked("link", ino), || {
            self.now().link(ino, parent, name)
        });
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        reply::empty(reply, asked("unlink", parent), || {
            self.now().unlink(parent, name)
        });
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        reply::empty(reply, asked("rmdir", parent), || {
            self.now().rmdir(parent, name)
        });
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        reply::empty(reply, asked("rename", parent), || {
            self.now()
                .rename((parent, name), (new_parent, new_name), rename_mode(flags)?)
        });
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let flags = OpenFlags(flags);
        reply::created(reply, asked("create", parent), |reply| {
            let caller = self.caller(request, umask)?;
            let back = |fd: BorrowedFd<'_>| reply.open_backing(fd);
            self.now()
                .create((parent, name), mode, flags, &caller, &back)
        });
    }

    // O_DIRECT is the kernel's business: it bypasses its own cache. So is
    // O_APPEND, for it sends offsets, but where nothing else is permitted.
    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        reply::opened_file(reply, asked("open", ino), |reply| {
            let back = |fd: BorrowedFd<'_>| reply.open_backing(fd);
            self.now().open(ino, flags, request, &back)
        });
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        BUFFER.with_borrow_mut(|buffer| {
            let size = size as usize;
            if buffer.len() < size {
                buffer.resize(size, 0);
            }
            let (room, _) = buffer.split_at_mut(size);
            let read = answer(asked("read", ino), || {
                self.now().union.read(&*self.files.get(fh.0)?, room, offset)
            });
            match read.map(|len| room.get(..len)) {
                Ok(Some(data)) => reply.data(data),
                // More than there was room for: the engine cannot mean it.
                Ok(None) => reply.error(Errno::EIO),
                Err(errno) => reply.error(errno),
            }
        });
    }

    fn write(
        &self,
        request: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        flags: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match answer(asked("write", ino), || {
            self.now().write(fh, data, offset, (flags, request))
        }) {
            Ok(len) => reply.written(len as u32),
            Err(errno) => reply.error(errno),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // Older kernels ask in spite of FOPEN_NOFLUSH, once.
        reply.error(Errno::ENOSYS);
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        reply::empty(reply, asked("release", ino), || {
            self.files.remove(fh.0).map(drop)
        });
    }

    fn fsync(&self, _: &Request, ino: INodeNo, fh: FileHandle, data_only: bool, reply: ReplyEmpty) {
        reply::empty(reply, asked("fsync", ino), || {
            let file = self.files.get(fh.0)?;
            self.now().union.sync_file(&file, sync_what(data_only))
        });
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply::opened(reply, asked("opendir", ino), FopenFlags::empty(), || {
            let now = self.now();
            let inode = now.inode(ino)?;
            now.follow(&inode);
            let listing = Listing::open(&now.union, &inode)?;
            Ok(self.listings.insert(listing))
        });
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        match answer(asked("readdir", ino), || {
            let listing = self.listings.get(fh.0)?;
            listing.read(&self.now().union, offset, &mut reply)
        }) {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn readdirplus(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        match answer(asked("readdirplus", ino), || {
            let listing = self.listings.get(fh.0)?;
            listing.read_plus(
                &self.now().union,
                &self.presentation,
                &self.strangers,
                &self.ways,
                offset,
                &mut reply,
            )
        }) {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn releasedir(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        _: OpenFlags,
        reply: ReplyEmpty,
    ) {
        reply::empty(reply, asked("releasedir", ino), || {
            self.listings.remove(fh.0).map(drop)
        });
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, fh: FileHandle, _: bool, reply: ReplyEmpty) {
        reply::empty(reply, asked("fsyncdir", ino), || {
            self.now().union.sync_dir(&self.listings.get(fh.0)?.inode())
        });
    }

    fn statfs(&self, _: &Request, ino: INodeNo, reply: ReplyStatfs) {
        match answer(asked("statfs", ino), || self.now().union.stat_fs()) {
            Ok(s) => reply.statfs(
                s.blocks, s.bfree, s.bavail, s.files, s.ffree, s.bsize, s.namelen, s.frsize,
            ),
            Err(errno) => reply.error(errno),
        }
    }

    fn setxattr(
        &self,
        _: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        reply::empty(reply, asked("setxattr", ino), || {
            self.now()
                .set_xattr(ino, name.as_bytes(), value, set_xattr(flags)?)
        });
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, room: u32, reply: ReplyXattr) {
        reply::xattr(reply, asked("getxattr", ino), room, || {
            self.now().xattr(ino, name.as_bytes())
        });
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, room: u32, reply: ReplyXattr) {
        reply::xattr(reply, asked("listxattr", ino), room, || {
            self.now().xattr_names(ino)
        });
    }

    fn removexattr(&self, _: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        reply::empty(reply, asked("removexattr", ino), || {
            self.presentation.require_xattr(name.as_bytes())?;
            let now = self.now();
            now.union.remove_xattr(&now.inode(ino)?, name.as_bytes())
        });
    }

    fn access(&self, _: &Request, _: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        // default_permissions is always on: the kernel checks by itself.
        reply.error(Errno::ENOSYS);
    }

    fn ioctl(
        &self,
        request: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        number: u32,
        data: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        if number != control::REQUEST || ino != INodeNo::ROOT {
            return reply.error(Errno::ENOTTY);
        }
        match answer(asked("control", ino), || self.permit_control(request, data)) {
            Ok((controlled, text)) => controlled.in_a_thread(text, reply),
            Err(errno) => reply.error(errno),
        }
    }

    fn poll(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: PollNotifier,
        _: PollEvents,
        _: PollFlags,
        reply: ReplyPoll,
    ) {
        // Regular files are always ready; the kernel says so after this.
        reply.error(Errno::ENOSYS);
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        len: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        reply::empty(reply, asked("fallocate", ino), || {
            let file = self.files.get(fh.0)?;
            self.now().union.allocate(&file, mode as u32, offset, len)
        });
    }

    fn lseek(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        match answer(asked("lseek", ino), || {
            self.now().seek(fh, offset, seek_to(whence)?)
        }) {
            Ok(offset) => reply.offset(offset),
            Err(errno) => reply.error(errno),
        }
    }

    fn copy_file_range(
        &self,
        _: &Request,
        ino: INodeNo,
        from: FileHandle,
        from_offset: u64,
        _: INodeNo,
        to: FileHandle,
        to_offset: u64,
        len: u64,
        flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        match answer(asked("copy_file_range", ino), || {
            self.now()
                .copy_range((from, from_offset), (to, to_offset), len, flags)
        }) {
            Ok(len) => reply.written(len),
            Err(errno) => reply.error(errno),
        }
    }
}
