//! File handles and the identity of filesystems.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::proc::ProcPath;
use super::{Object, last_errno};
use crate::error::{Error, Result};
use crate::handle::Identity;

/// `MAX_HANDLE_SZ`
const MAX: usize = 128;

/// `struct file_handle` with room for the longest.
#[repr(C)]
struct RawHandle {
    bytes: libc::c_uint,
    kind: libc::c_int,
    handle: [u8; MAX],
}

/// The handle of an object, as its type and bytes; see `name_to_handle_at(2)`.
/// `None` where the filesystem has none.
pub fn of(object: Object<'_>) -> Result<Option<(u8, Vec<u8>)>> {
    let mut raw = RawHandle {
        bytes: MAX as libc::c_uint,
        kind: 0,
        handle: [0; MAX],
    };
    let mut mount_id = 0;
    let path = ProcPath::of(object);
    let flags = match object {
        Object::Entry(_) => 0,
        Object::Held(_) => libc::AT_SYMLINK_FOLLOW,
    };
    // SAFETY: the path ends with NUL and lives through the call; `raw` has the
    // layout of `file_handle` and the room that it says.
    let outcome = unsafe {
        libc::name_to_handle_at(
            libc::AT_FDCWD,
            path.as_c_str().as_ptr(),
            std::ptr::from_mut(&mut raw).cast(),
            &raw mut mount_id,
            flags,
        )
    };
    if outcome == 0 {
        let bytes = raw.handle.get(..raw.bytes as usize).unwrap_or_default();
        // Types are small, and the kernel's overlayfs stores eight bits.
        return Ok(u8::try_from(raw.kind)
            .ok()
            .map(|kind| (kind, bytes.to_vec())));
    }
    match last_errno() {
        Errno::OPNOTSUPP | Errno::OVERFLOW | Errno::NOSYS => Ok(None),
        errno => Err(Error::system("name_to_handle_at", object, errno)),
    }
}

/// Holds the object of a handle of the filesystem that `mount` lies on; see
/// `open_by_handle_at(2)`. `None` if there is no such object (any more).
///
/// Errors: `EPERM` without `CAP_DAC_READ_SEARCH`.
pub fn open(mount: BorrowedFd<'_>, kind: u8, bytes: &[u8]) -> Result<Option<OwnedFd>> {
    let mut raw = RawHandle {
        bytes: bytes.len() as libc::c_uint,
        kind: libc::c_int::from(kind),
        handle: [0; MAX],
    };
    match raw.handle.get_mut(..bytes.len()) {
        Some(room) => room.copy_from_slice(bytes),
        None => return Ok(None),
    }
    // SAFETY: `raw` has the layout of `file_handle`, and holds what it says.
    let fd = unsafe {
        libc::open_by_handle_at(
            mount.as_raw_fd(),
            std::ptr::from_mut(&mut raw).cast(),
            libc::O_PATH | libc::O_CLOEXEC | libc::O_NOFOLLOW,
        )
    };
    if fd >= 0 {
        // SAFETY: a descriptor that was just opened, and is nobody else's.
        return Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }));
    }
    match last_errno() {
        // EINVAL: no handle that this filesystem makes.
        Errno::STALE | Errno::INVAL => Ok(None),
        errno => Err(Error::system(
            "open_by_handle_at",
            format_args!("fd {}", mount.as_raw_fd()),
            errno,
        )),
    }
}

/// `struct fsuuid2` of `linux/fs.h`.
#[repr(C)]
struct FsUuid {
    len: u8,
    uuid: [u8; 16],
}

/// `_IOR(0x15, 0, struct fsuuid2)` of `linux/fs.h`.
const FS_IOC_GETFSUUID: libc::Ioctl = 0x8011_1500u32 as libc::Ioctl;

/// `struct btrfs_ioctl_fs_info_args` of `linux/btrfs.h`, as far as it is read.
#[repr(C)]
struct BtrfsInfo {
    max_id: u64,
    num_devices: u64,
    fsid: [u8; 16],
    rest: [u8; 1024 - 32],
}

/// `BTRFS_IOC_FS_INFO`: `_IOR(0x94, 31, struct btrfs_ioctl_fs_info_args)`.
const BTRFS_IOC_FS_INFO: libc::Ioctl = 0x8400_941fu32 as libc::Ioctl;

/// `BTRFS_SUPER_MAGIC` and `SQUASHFS_MAGIC` of `linux/magic.h`.
const BTRFS: libc::c_long = 0x9123_683e;
const SQUASHFS: libc::c_long = 0x7371_7368;

/// What tells a filesystem from others, as file handles need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filesystem {
    /// Its UUID; all zeros where it has none.
    pub uuid: [u8; 16],
    /// What that says.
    pub identity: Identity,
}

/// The identity of the filesystem that the directory `dir` lies on, as far as
/// the kernel tells: by `FS_IOC_GETFSUUID` (Linux 6.9), and of btrfs by its own
/// request. `None` where it does not tell.
pub fn filesystem(dir: BorrowedFd<'_>) -> Result<Option<Filesystem>> {
    // An `O_PATH` descriptor takes no ioctl.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = match rustix::fs::openat(dir, c".", flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::ACCESS) => return Ok(None),
        Err(errno) => return Err(Error::system("openat", "the root of a layer", errno)),
    };
    let kind = rustix::fs::fstatfs(&fd)
        .map_err(|errno| Error::system("fstatfs", "the root of a layer", errno))?
        .f_type;
    match kind as libc::c_long {
        BTRFS => Ok(btrfs_uuid(&fd).map(|uuid| Filesystem {
            uuid,
            identity: Identity::Unique,
        })),
        // It has none, which the request below cannot tell from an old kernel.
        SQUASHFS => Ok(Some(Filesystem {
            uuid: [0; 16],
            identity: Identity::Missing,
        })),
        _ => Ok(uuid(&fd).map(|uuid| Filesystem {
            uuid,
            identity: Identity::OfDevice,
        })),
    }
}

fn uuid(dir: &OwnedFd) -> Option<[u8; 16]> {
    let mut answer = FsUuid {
        len: 0,
        uuid: [0; 16],
    };
    // SAFETY: `answer` is the `struct fsuuid2` that this request fills.
    let outcome = unsafe { libc::ioctl(dir.as_raw_fd(), FS_IOC_GETFSUUID, &raw mut answer) };
    match outcome {
        0 if answer.len == 16 => Some(answer.uuid),
        0 => None,
        _ => {
            let errno = last_errno();
            tracing::debug!(%errno, "the filesystem does not tell its identity");
            None
        }
    }
}

fn btrfs_uuid(dir: &OwnedFd) -> Option<[u8; 16]> {
    let mut info = BtrfsInfo {
        max_id: 0,
        num_devices: 0,
        fsid: [0; 16],
        rest: [0; 1024 - 32],
    };
    // SAFETY: `info` has the size of the struct that this request fills.
    let outcome = unsafe { libc::ioctl(dir.as_raw_fd(), BTRFS_IOC_FS_INFO, &raw mut info) };
    match outcome {
        0 => Some(info.fsid),
        _ => {
            let errno = last_errno();
            tracing::debug!(%errno, "btrfs does not tell its identity");
            None
        }
    }
}
