//! A union that is mounted somewhere, used through system calls.
//!
//! Paths are walked one name at a time and symlinks are not followed, so that
//! every subject understands a path alike.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path as HostPath;

use overlay_core::attr::FileKind;
use overlay_core::spec::{
    Access, Errno, Object, Op, Outcome, Path, Place, Presence, Rename, Seen, Slot, Umask,
};
use rustix::fs::{
    AtFlags, FallocateFlags, FileType, Gid, Mode, OFlags, RenameFlags, Uid, XattrFlags,
};
use rustix::io::Result;

use crate::materialize::times;
use crate::snapshot::{self, EntryNumbers};
use crate::sys::{self, proc_path};

/// The mounted tree, and what is held open in it.
#[derive(Debug)]
pub struct Posix {
    root: OwnedFd,
    held: BTreeMap<Slot, OwnedFd>,
}

impl Posix {
    /// Uses what is mounted at `mount_point`.
    pub fn new(mount_point: &HostPath) -> Posix {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(mount_point, flags, Mode::empty()).unwrap();
        Posix {
            root,
            held: BTreeMap::new(),
        }
    }

    /// The whole tree; see [`snapshot::look`].
    pub fn look(&self, numbers: EntryNumbers) -> std::result::Result<Seen, String> {
        snapshot::look(self.root.as_fd(), numbers)
    }

    /// Does one operation. [`Op::Remount`] is the owner's business.
    pub fn apply(&mut self, op: &Op) -> Outcome {
        self.try_apply(op).unwrap_or_else(Outcome::Failed)
    }

    fn try_apply(&mut self, op: &Op) -> Result<Outcome> {
        match op {
            Op::Make {
                at,
                object,
                mode,
                umask,
            } => self.make(at, object, *mode, *umask)?,
            Op::Create {
                slot,
                at,
                mode,
                umask,
            } => {
                self.held.remove(slot);
                let dir = self.parent(at)?;
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
                let mode = Mode::from_raw_mode(*mode);
                let file = masked(*umask, || {
                    rustix::fs::openat(&dir, at.name.as_os_str(), flags, mode)
                })?;
                self.held.insert(*slot, file);
            }
            Op::Link { from, to } => {
                // As a call with two paths does: the source counts first.
                self.find(from)?;
                let (from_dir, from) = self.locate(from)?;
                let to_dir = self.parent(to)?;
                let name = to.name.as_os_str();
                rustix::fs::linkat(&from_dir, from, &to_dir, name, AtFlags::empty())?;
            }
            Op::Unlink { at } => {
                let dir = self.parent(at)?;
                rustix::fs::unlinkat(&dir, at.name.as_os_str(), AtFlags::empty())?;
            }
            Op::Rmdir { at } => {
                let dir = self.parent(at)?;
                rustix::fs::unlinkat(&dir, at.name.as_os_str(), AtFlags::REMOVEDIR)?;
            }
            Op::Rename { from, to, how } => {
                let (from_dir, to_dir) = (self.parent(from)?, self.parent(to)?);
                let flags = match how {
                    Rename::Replace => RenameFlags::empty(),
                    Rename::NoReplace => RenameFlags::NOREPLACE,
                    Rename::Exchange => RenameFlags::EXCHANGE,
                };
                let (from, to) = (from.name.as_os_str(), to.name.as_os_str());
                rustix::fs::renameat_with(&from_dir, from, &to_dir, to, flags)?;
            }
            Op::Write { path, offset, data } => {
                let file = self.open(path, OFlags::WRONLY)?;
                write(&file, *offset, data)?;
            }
            Op::Append { path, data } => {
                let file = self.open(path, OFlags::WRONLY | OFlags::APPEND)?;
                let written = rustix::io::write(&file, data)?;
                assert_eq!(written, data.len(), "a short write");
            }
            Op::Empty { path } => drop(self.open(path, OFlags::WRONLY | OFlags::TRUNC)?),
            Op::Truncate { path, len } => {
                let file = self.find(path)?;
                sys::truncate(&proc_path(&file), *len)?;
            }
            Op::Allocate { path, offset, len } => {
                let file = self.open(path, OFlags::WRONLY)?;
                rustix::fs::fallocate(&file, FallocateFlags::empty(), *offset, *len)?;
            }
            Op::Punch { path, offset, len } => {
                let file = self.open(path, OFlags::WRONLY)?;
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                rustix::fs::fallocate(&file, flags, *offset, *len)?;
            }
            Op::Read { path } => {
                let file = self.open(path, OFlags::RDONLY)?;
                return Ok(Outcome::Bytes(snapshot::read(file.as_fd())?));
            }
            Op::ReadDir { path } => {
                let (dir, name) = self.locate(path)?;
                let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let dir = rustix::fs::openat(&dir, name, flags, Mode::empty())?;
                let listed = snapshot::list(dir.as_fd())?;
                let count = listed.len();
                let entries = listed.into_iter().map(|entry| (entry.name, entry.kind));
                let entries: BTreeMap<_, _> = entries.collect();
                assert_eq!(entries.len(), count, "a name is listed twice");
                return Ok(Outcome::Entries(entries));
            }
            Op::ReadLink { path } => {
                let (dir, name) = self.locate(path)?;
                let target = rustix::fs::readlinkat(&dir, name, Vec::new())?;
                return Ok(Outcome::Bytes(target.into_bytes()));
            }
            Op::Stat { path } => {
                let (dir, name) = self.locate(path)?;
                let stat = rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
                return Ok(Outcome::Sight(Box::new(snapshot::sight(&stat))));
            }
            Op::Chmod { path, mode } => {
                let object = self.find(path)?;
                rustix::fs::chmod(proc_path(&object), Mode::from_raw_mode(*mode))?;
            }
            Op::Chown { path, uid, gid } => {
                let (dir, name) = self.locate(path)?;
                let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
                rustix::fs::chownat(&dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
            }
            Op::SetMtime { path, mtime } => {
                let (dir, name) = self.locate(path)?;
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                rustix::fs::utimensat(&dir, name, &times(*mtime), flags)?;
            }
            Op::SetXattr {
                path,
                name,
                value,
                how,
            } => {
                let flags = match how {
                    Presence::Either => XattrFlags::empty(),
                    Presence::Create => XattrFlags::CREATE,
                    Presence::Replace => XattrFlags::REPLACE,
                };
                rustix::fs::lsetxattr(&self.direct(path)?.host, &name[..], value, flags)?;
            }
            Op::RemoveXattr { path, name } => {
                rustix::fs::lremovexattr(&self.direct(path)?.host, &name[..])?;
            }
            Op::GetXattr { path, name } => {
                let mut value = vec![0; 1024];
                let path = self.direct(path)?;
                let len = rustix::fs::lgetxattr(&path.host, &name[..], &mut value[..])?;
                value.truncate(len);
                return Ok(Outcome::Bytes(value));
            }
            Op::ListXattrs { path } => {
                let xattrs = snapshot::xattrs_of(&self.direct(path)?.host)?;
                return Ok(Outcome::Names(xattrs.into_keys().collect()));
            }
            Op::Open { slot, path, access } => {
                self.held.remove(slot);
                let file = self.open(
                    path,
                    match access {
                        Access::Read => OFlags::RDONLY,
                        Access::Write => OFlags::RDWR,
                    },
                )?;
                self.held.insert(*slot, file);
            }
            Op::ReadHeld { slot } => {
                return Ok(Outcome::Bytes(snapshot::read(self.held(*slot)?.as_fd())?));
            }
            Op::WriteHeld { slot, offset, data } => write(self.held(*slot)?, *offset, data)?,
            Op::StatHeld { slot } => {
                let stat = rustix::fs::fstat(self.held(*slot)?)?;
                return Ok(Outcome::Sight(Box::new(snapshot::sight(&stat))));
            }
            Op::TruncateHeld { slot, len } => rustix::fs::ftruncate(self.held(*slot)?, *len)?,
            Op::ChmodHeld { slot, mode } => {
                rustix::fs::fchmod(self.held(*slot)?, Mode::from_raw_mode(*mode))?;
            }
            Op::Close { slot } => drop(self.held.remove(slot).ok_or(Errno::BADF)?),
            Op::Remount | Op::Rotate => unreachable!("the owner of the mount does this"),
        }
        Ok(Outcome::Done)
    }

    fn make(&self, at: &Place, object: &Object, mode: u32, umask: Umask) -> Result<()> {
        let dir = self.parent(at)?;
        let name = at.name.as_os_str();
        let mode = Mode::from_raw_mode(mode);
        let node = |kind, rdev| rustix::fs::mknodat(&dir, name, kind, mode, rdev);
        masked(umask, || match object {
            Object::Dir => rustix::fs::mkdirat(&dir, name, mode),
            Object::File => node(FileType::RegularFile, 0),
            Object::Symlink(target) => rustix::fs::symlinkat(&target[..], &dir, name),
            Object::Special(kind, rdev) => node(FileType::from_raw_mode(kind.mode_bits()), *rdev),
        })
    }

    /// The object at `path`, as a descriptor that only names it.
    fn find(&self, path: &Path) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut at = self.root.try_clone().unwrap();
        for name in &path.0 {
            at = rustix::fs::openat(&at, name.as_os_str(), flags, Mode::empty())?;
        }
        Ok(at)
    }

    fn parent(&self, place: &Place) -> Result<OwnedFd> {
        self.directory(&place.parent)
    }

    fn directory(&self, path: &Path) -> Result<OwnedFd> {
        let dir = self.find(path)?;
        // Said here, not by the call that uses it: a call with two of them
        // must fail for the first that is wrong.
        if FileType::from_raw_mode(rustix::fs::fstat(&dir)?.st_mode) != FileType::Directory {
            return Err(Errno::NOTDIR);
        }
        Ok(dir)
    }

    /// The directory of `path` and the name in it; `.` for the root.
    fn locate<'a>(&self, path: &'a Path) -> Result<(OwnedFd, &'a OsStr)> {
        match path.0.split_last() {
            None => Ok((self.root.try_clone().unwrap(), OsStr::new("."))),
            Some((name, parent)) => {
                let dir = self.directory(&Path(parent.to_vec()))?;
                Ok((dir, name.as_os_str()))
            }
        }
    }

    /// A host path to the object, for calls that take no descriptor.
    fn direct(&self, path: &Path) -> Result<Direct> {
        let (dir, name) = self.locate(path)?;
        let host = [proc_path(&dir).as_bytes(), b"/", name.as_encoded_bytes()].concat();
        Ok(Direct {
            host: CString::new(host).unwrap(),
            _dir: dir,
        })
    }

    /// Opens a regular file; device nodes, pipes and sockets are not opened.
    fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd> {
        let (dir, name) = self.locate(path)?;
        let stat = rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileKind::from_mode(stat.st_mode).unwrap() {
            FileKind::Fifo | FileKind::Socket | FileKind::CharDevice | FileKind::BlockDevice => {
                return Err(Errno::NXIO);
            }
            // Would open, and fail only when it is read.
            FileKind::Directory => return Err(Errno::ISDIR),
            FileKind::Regular | FileKind::Symlink => {}
        }
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&dir, name, flags, Mode::empty())
    }

    fn held(&self, slot: Slot) -> Result<&OwnedFd> {
        self.held.get(&slot).ok_or(Errno::BADF)
    }
}

/// A path through a descriptor, which it keeps open.
struct Direct {
    host: CString,
    _dir: OwnedFd,
}

fn write(file: &OwnedFd, offset: u64, data: &[u8]) -> Result<()> {
    let written = rustix::io::pwrite(file, data, offset)?;
    assert_eq!(written, data.len(), "a short write");
    Ok(())
}

/// Runs `call` with this umask, which is the thread's own; see
/// [`sys::own_namespace`].
fn masked<T>(umask: Umask, call: impl FnOnce() -> T) -> T {
    let before = rustix::process::umask(Mode::from_raw_mode(umask.0));
    let out = call();
    rustix::process::umask(before);
    out
}
