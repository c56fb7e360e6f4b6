//! A directory of the host that can be written, with its work area.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::node::{Branch, Place, Reading};
use super::volatile::refuse_incompatible;
use super::{Descriptor, Descriptors, DirNode, NEEDS_PROC};
use crate::attr::{Attr, FileKind, Owner};
use crate::error::{Error, Result};
use crate::handle::FileHandle;
use crate::layer::{
    Capabilities, Discard, New, RenameMode, SetXattr, WritableNode, WritableStorage,
};
use crate::name::{Name, NameBuf};
use crate::sys::{self, At, Object};

/// What writing to a branch needs beside the tree itself.
pub(super) struct Writer {
    /// The work area.
    work: OwnedFd,
    /// The number of the next name in it.
    next: AtomicU64,
    /// Who owns what this process makes without further words.
    pub(super) owner: Owner,
    /// The bits that the kernel takes away from a mode.
    pub(super) umask: u32,
    /// `fchmodat2` is there (Linux 6.6).
    pub(super) mode_by_name: bool,
    pub(super) capabilities: Capabilities,
    /// The given work directory; it carries the lock.
    workdir: OwnedFd,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("capabilities", &self.capabilities)
            .finish_non_exhaustive()
    }
}

impl Writer {
    pub(super) fn work(&self) -> BorrowedFd<'_> {
        self.work.as_fd()
    }

    /// A name that this process has not used in the work area yet.
    pub(super) fn fresh_name(&self) -> Result<NameBuf> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        NameBuf::new(format!("#{number:x}"))
    }
}

/// What reading through a writable branch does to access times. A symlink that
/// is read has its own changed in any case: no open flag prevents it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessTimes {
    /// What the filesystem below does, by the options of its own mount.
    #[default]
    Recorded,
    /// The same for files, and nothing for directories (`nodiratime`).
    OfFiles,
    /// Nothing (`noatime`), where the process may: it needs to own the file,
    /// or the capability `CAP_FOWNER`.
    Unchanged,
}

/// Keeps every [`DirUpper`] away from an upper directory and its work
/// directory, without a change to either.
#[derive(Debug)]
pub struct UpperLock {
    upper: OwnedFd,
    work: Option<OwnedFd>,
}

impl UpperLock {
    /// Locks the directory `upper`. Whoever has it may make a work directory,
    /// and [take](UpperLock::take_work) that too.
    ///
    /// Fails with `EBUSY` while it is in use by a `DirUpper` or a lock, in this
    /// process or another.
    pub fn take(upper: &Path) -> Result<UpperLock> {
        let upper = sys::open::path(upper, OFlags::RDONLY | OFlags::DIRECTORY)?;
        lock(upper.as_fd(), "something else has this upper directory")?;
        Ok(UpperLock { upper, work: None })
    }

    /// Locks its work directory as well.
    ///
    /// Fails with `EBUSY` as [`UpperLock::take`] does, and with `EINVAL` where
    /// the two do not lie on one mount, or one contains the other and should
    /// not.
    pub fn take_work(&mut self, at: WorkAt<'_>) -> Result<()> {
        let upper = self.upper.as_fd();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let work = match at {
            WorkAt::Apart(path) => sys::open::path(path, flags)?,
            WorkAt::Within(name) => sys::open::entry(At::new(upper, name), flags)?,
        };
        check_mount(upper, work.as_fd())?;
        match at {
            WorkAt::Apart(_) => check_apart(upper, work.as_fd())?,
            WorkAt::Within(_) => {}
        }
        lock(work.as_fd(), WORK_IN_USE)?;
        self.work = Some(work);
        Ok(())
    }
}

const WORK_IN_USE: &str = "something else has this work directory";

/// As long as the descriptor lives.
fn lock(directory: BorrowedFd<'_>, in_use: &'static str) -> Result<()> {
    match sys::lock::try_exclusive(directory)? {
        true => Ok(()),
        false => Err(Error::Busy(in_use)),
    }
}

/// Where a writable directory keeps its work area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkAt<'a> {
    /// In a directory that has nothing to do with the tree.
    Apart(&'a Path),
    /// In this directory of the tree's root, which the dialect of the branch
    /// shows to nobody.
    Within(&'a Name),
}

/// A directory of the host that is written, with a work area on the same mount.
///
/// No private copy of the mount here: the two directories would have to be
/// found again below a common one, since `renameat2` refuses to cross copies.
#[derive(Debug)]
pub struct DirUpper {
    root: Arc<DirNode>,
    work: Arc<DirNode>,
}

impl DirUpper {
    /// Opens the directory `upper`, with its work area in the directory `work`
    /// (as `work/work`, made if missing).
    ///
    /// Fails with `EBUSY` while either is in use by another `DirUpper`, in this
    /// process or another, with `EINVAL` where the two do not lie on one mount
    /// or one contains the other, and with [`Error::Incompatible`] where an
    /// earlier mount was volatile.
    pub fn open(
        upper: &Path,
        work: &Path,
        descriptors: &Arc<Descriptors>,
    ) -> Result<Arc<DirUpper>> {
        DirUpper::open_as(upper, WorkAt::Apart(work), descriptors, Signs::Refused)
    }

    /// The same for those who look after what an earlier mount left: also
    /// where that was volatile.
    pub fn open_to_repair(
        upper: &Path,
        work: WorkAt<'_>,
        descriptors: &Arc<Descriptors>,
    ) -> Result<Arc<DirUpper>> {
        DirUpper::open_as(upper, work, descriptors, Signs::Left)
    }

    fn open_as(
        upper: &Path,
        work: WorkAt<'_>,
        descriptors: &Arc<Descriptors>,
        signs: Signs,
    ) -> Result<Arc<DirUpper>> {
        let mut lock = UpperLock::take(upper)?;
        lock.take_work(work)?;
        DirUpper::of(lock, descriptors, AccessTimes::default(), signs)
    }

    /// As [`DirUpper::open`], of directories that are locked, with a say on
    /// access times and on what an earlier mount left.
    ///
    /// Fails with `EINVAL` for a lock without a work directory; all other
    /// failures are about that directory.
    pub fn of(
        lock: UpperLock,
        descriptors: &Arc<Descriptors>,
        access_times: AccessTimes,
        signs: Signs,
    ) -> Result<Arc<DirUpper>> {
        let UpperLock { upper: root, work } = lock;
        let workdir = work.ok_or(Error::Invalid("an upper directory needs a work directory"))?;
        if !sys::proc::works(root.as_fd())? {
            return Err(NEEDS_PROC);
        }
        DirUpper::with_locked(root, workdir, access_times, signs, descriptors)
    }

    /// Opens a directory that is locked already, to rewrite what it stores: the
    /// work area is a directory `area` inside it, which nobody clears away.
    ///
    /// Before that is made, the attribute `note` is set on the directory,
    /// unless it is there; if that fails, nothing has changed.
    pub fn within(
        held: UpperLock,
        area: &Name,
        note: (&[u8], &[u8]),
        descriptors: &Arc<Descriptors>,
    ) -> Result<Arc<DirUpper>> {
        let root = held.upper;
        if !sys::proc::works(root.as_fd())? {
            return Err(NEEDS_PROC);
        }
        let (name, value) = note;
        match sys::xattr::set(Object::Held(root.as_fd()), name, value, SetXattr::Create) {
            Ok(()) => {}
            Err(error) if error.is(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        let workdir = open_private(root.as_fd(), area.as_bytes(), Signs::Left)?;
        lock(workdir.as_fd(), WORK_IN_USE)?;
        let times = AccessTimes::Unchanged;
        DirUpper::with_locked(root, workdir, times, Signs::Left, descriptors)
    }

    fn with_locked(
        root: OwnedFd,
        workdir: OwnedFd,
        access_times: AccessTimes,
        signs: Signs,
        descriptors: &Arc<Descriptors>,
    ) -> Result<Arc<DirUpper>> {
        let area = open_private(workdir.as_fd(), WORK, signs)?;
        let mut writer = Writer {
            work: area,
            next: AtomicU64::new(0),
            owner: sys::meta::process_owner(),
            // Unknown: as if all were masked, so that every mode is looked after.
            umask: sys::proc::umask().unwrap_or(0o777),
            mode_by_name: false,
            capabilities: NONE,
            workdir,
        };
        writer.probe()?;
        tracing::debug!(?writer, "opened an upper");
        let held = sys::open::directory(writer.work(), OFlags::PATH)?;
        let branch = Arc::new(Branch::writable(
            Arc::clone(descriptors),
            writer,
            match access_times {
                AccessTimes::Recorded => Reading::LeavesNoTrace,
                AccessTimes::OfFiles => Reading::AskForDirectories,
                AccessTimes::Unchanged => Reading::AskForNoAtime,
            },
            root.as_fd(),
        ));
        Ok(Arc::new(DirUpper {
            root: DirNode::root(&branch, Descriptor::new(root)),
            work: DirNode::root(&branch, Descriptor::new(held)),
        }))
    }

    /// Makes durable what was written to the filesystem below; see `syncfs(2)`.
    pub fn sync_filesystem(&self) -> Result<()> {
        sys::sync::filesystem(self.root.branch().writer()?.work())
    }

    /// The node behind a staged one, and its name in the work area.
    fn staged<'a>(&self, node: &'a dyn WritableNode) -> Result<(&'a DirNode, NameBuf)> {
        let node = self.root.sibling(node)?;
        match &*node.place().read() {
            Place::At { dir, name } if Arc::ptr_eq(dir, &self.work) => Ok((node, name.clone())),
            Place::At { .. } | Place::Held(_) => Err(Error::Invalid("not a staged object")),
        }
    }
}

impl WritableStorage for DirUpper {
    fn root(&self) -> Arc<dyn WritableNode> {
        Arc::clone(&self.root) as Arc<dyn WritableNode>
    }

    fn capabilities(&self) -> Capabilities {
        match self.root.branch().writer() {
            Ok(writer) => writer.capabilities,
            // The branch of an upper has a writer from the beginning.
            Err(_) => NONE,
        }
    }

    fn stage(&self, new: &New<'_>) -> Result<Arc<dyn WritableNode>> {
        let name = self.root.branch().writer()?.stage(new)?;
        Ok(self.work.child(&name, new.kind.file_kind())?)
    }

    fn publish(
        &self,
        staged: &dyn WritableNode,
        dir: &dyn WritableNode,
        name: &Name,
        mode: RenameMode,
        displaced: Option<&dyn WritableNode>,
    ) -> Result<Option<Arc<dyn WritableNode>>> {
        match mode {
            RenameMode::Replace | RenameMode::NoReplace | RenameMode::Exchange => {}
            RenameMode::Whiteout => {
                return Err(Error::Invalid("a staged object leaves no whiteout behind"));
            }
        }
        let (node, from) = self.staged(staged)?;
        let dir = self.root.sibling(dir)?;
        let displaced = match displaced {
            Some(displaced) => Some(self.root.sibling(displaced)?),
            None => None,
        };
        self.work
            .shift(&from, dir, name, mode, Some(node), displaced)?;
        match (mode, displaced) {
            (RenameMode::Exchange, Some(displaced)) => Ok(Some(displaced.me()?)),
            (RenameMode::Exchange, None) => {
                let found = self.work.find(&from)?;
                let (node, _) = found.ok_or(Error::Damaged("what was displaced is gone"))?;
                Ok(Some(node))
            }
            (RenameMode::Replace | RenameMode::NoReplace | RenameMode::Whiteout, _) => Ok(None),
        }
    }

    fn withdraw(&self, dir: &dyn WritableNode, name: &Name, node: &dyn WritableNode) -> Result<()> {
        let (dir, node) = (self.root.sibling(dir)?, self.root.sibling(node)?);
        let mode = RenameMode::NoReplace;
        loop {
            let to = self.root.branch().writer()?.fresh_name()?;
            match dir.shift(name, &self.work, &to, mode, Some(node), None) {
                // Left by an earlier process: the next number is free.
                Err(error) if error.is(Errno::EXIST) => {}
                outcome => return outcome,
            }
        }
    }

    fn discard(&self, staged: &dyn WritableNode, keep: Discard) -> Result<()> {
        let (node, name) = self.staged(staged)?;
        self.discard_entry(node, &name, keep)
    }

    fn clear_work(&self) -> Result<()> {
        self.clear(&self.work)
    }

    fn index(&self) -> Result<Arc<dyn WritableNode>> {
        let branch = self.root.branch();
        let index = open_private(branch.writer()?.workdir.as_fd(), INDEX, Signs::Left)?;
        Ok(DirNode::root(branch, Descriptor::new(index)))
    }

    fn workdir(&self) -> Result<Option<Arc<dyn WritableNode>>> {
        let branch = self.root.branch();
        let fd = sys::open::directory(branch.writer()?.workdir.as_fd(), OFlags::PATH)?;
        Ok(Some(DirNode::root(branch, Descriptor::new(fd))))
    }

    fn attr_of_handle(&self, handle: &FileHandle) -> Result<Option<Attr>> {
        self.root.attr_of_handle(handle)
    }

    fn mark_volatile(&self) -> Result<()> {
        self.root.branch().writer()?.mark_volatile()
    }
}

const NONE: Capabilities = Capabilities {
    rename_whiteout: false,
    rename_exchange: false,
    whiteout_device: false,
    trusted_xattr: false,
    user_xattr: false,
};

/// Refuses what could not work: a rename between mounts fails with `EXDEV`.
fn check_mount(upper: BorrowedFd<'_>, work: BorrowedFd<'_>) -> Result<()> {
    let device = |fd: BorrowedFd<'_>| sys::stat::attr(Object::Held(fd)).map(|attr| attr.dev);
    let same_mount = sys::stat::mount_id(upper)? == sys::stat::mount_id(work)?;
    if !same_mount || device(upper)? != device(work)? {
        return Err(Error::Invalid(
            "upperdir and workdir must lie on the same mount",
        ));
    }
    Ok(())
}

/// The same: clearing a work area around the upper would remove it, and one
/// inside it would be seen.
fn check_apart(upper: BorrowedFd<'_>, work: BorrowedFd<'_>) -> Result<()> {
    if is_below(upper, work)? || is_below(work, upper)? {
        return Err(Error::Invalid(
            "upperdir and workdir must be separate, neither inside the other",
        ));
    }
    Ok(())
}

/// Whether `dir` is `above` or lies in it.
fn is_below(dir: BorrowedFd<'_>, above: BorrowedFd<'_>) -> Result<bool> {
    let identity =
        |fd: BorrowedFd<'_>| sys::stat::attr(Object::Held(fd)).map(|attr| (attr.dev, attr.ino));
    let wanted = identity(above)?;
    let mut here = identity(dir)?;
    let mut up = sys::open::parent(dir)?;
    loop {
        if here == wanted {
            return Ok(true);
        }
        let next = identity(up.as_fd())?;
        if next == here {
            return Ok(false);
        }
        here = next;
        up = sys::open::parent(up.as_fd())?;
    }
}

/// Where objects are made, in the work directory; `OVL_WORKDIR_NAME`.
const WORK: &[u8] = b"work";

/// Where copies lie by the handles of their originals; `OVL_INDEXDIR_NAME`.
const INDEX: &[u8] = b"index";

/// What becomes of signs that an earlier mount left in the work area for
/// whoever comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signs {
    /// They keep the branch from being opened.
    Refused,
    /// They stay, for somebody who looks after them.
    Left,
}

/// Opens a directory in the work directory, made if missing: closed to others,
/// and without an ACL or a setgid bit that new objects would inherit.
fn open_private(workdir: BorrowedFd<'_>, name: &[u8], signs: Signs) -> Result<OwnedFd> {
    let at = At::new(workdir, Name::new(name)?);
    match sys::make::directory(at, 0o700) {
        Ok(()) => {}
        Err(error) if error.is(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    let area = sys::open::entry(at, OFlags::RDONLY | OFlags::DIRECTORY)?;
    match signs {
        Signs::Refused => refuse_incompatible(area.as_fd())?,
        Signs::Left => {}
    }
    let object = Object::Held(area.as_fd());
    for acl in ["system.posix_acl_default", "system.posix_acl_access"] {
        match sys::xattr::remove(object, acl.as_bytes()) {
            Ok(()) | Err(Error::NoAttribute) => {}
            Err(error) if error.is(Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error),
        }
    }
    sys::meta::set_mode_held(area.as_fd(), 0o700)?;
    Ok(area)
}

impl Writer {
    /// Tries what the filesystem can, on a few objects in the work area.
    ///
    /// A refusal is an answer, whatever its errno: filesystems and security
    /// modules have many ways of saying no.
    fn probe(&mut self) -> Result<()> {
        let (first, second) = (self.probe_file()?, self.probe_file()?);
        let (a, b) = (At::new(self.work(), &first), At::new(self.work(), &second));
        let object = Object::Entry(a);
        let can_set = |name: &[u8]| {
            let set = sys::xattr::set(object, name, b"y", SetXattr::Any);
            yes("an extended attribute", set)
        };
        let trusted_xattr = can_set(b"trusted.overlay.probe");
        let user_xattr = can_set(b"user.overlay.probe");
        let mode_by_name = yes("fchmodat2", sys::meta::set_mode_of(a, 0o600));
        let exchange = sys::rename::rename(a, b, RenameMode::Exchange);
        let rename_exchange = yes("RENAME_EXCHANGE", exchange);
        let whiteout = sys::rename::rename(a, b, RenameMode::Whiteout);
        let rename_whiteout = yes("RENAME_WHITEOUT", whiteout);
        for at in [a, b] {
            match sys::make::unlink(at) {
                Ok(()) | Err(Error::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        let device = sys::make::node(a, FileKind::CharDevice, 0, 0);
        let whiteout_device = yes("a whiteout device", device);
        if whiteout_device {
            sys::make::unlink(a)?;
        }
        self.mode_by_name = mode_by_name;
        self.capabilities = Capabilities {
            rename_whiteout,
            rename_exchange,
            whiteout_device,
            trusted_xattr,
            user_xattr,
        };
        Ok(())
    }

    fn probe_file(&self) -> Result<NameBuf> {
        loop {
            let name = self.fresh_name()?;
            match sys::make::node(At::new(self.work(), &name), FileKind::Regular, 0o600, 0) {
                Ok(()) => return Ok(name),
                Err(error) if error.is(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn yes(what: &str, outcome: Result<()>) -> bool {
    match outcome {
        Ok(()) => true,
        Err(error) => {
            tracing::debug!(%error, "this filesystem does not take {what}");
            false
        }
    }
}
