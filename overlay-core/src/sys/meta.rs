//! Owner, mode and times of an object, and who this process is.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{
    Access, AtFlags, CWD, Gid, Mode, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, Uid,
};
use rustix::io::Errno;

use super::proc::ProcPath;
use super::{At, Object};
use crate::attr::{Owner, SetTime};
use crate::error::{Error, Result};

/// Changes the owner; see `fchownat(2)`. Linux takes setuid and setgid away.
pub fn set_owner(object: Object<'_>, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
    let (dir, name, flags) = object.parts();
    let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
    rustix::fs::chownat(dir, name, uid, gid, flags)
        .map_err(|e| Error::system("fchownat", object, e))
}

/// Changes the mode of an entry; see `fchmodat2(2)` (Linux 6.6, else `ENOSYS`).
/// `EOPNOTSUPP` for a symlink.
pub fn set_mode_of(at: At<'_>, mode: u32) -> Result<()> {
    // One more byte than the longest name, and it stays zero.
    let mut name = [0_u8; crate::name::NAME_MAX + 1];
    for (to, from) in name.iter_mut().zip(at.name.as_bytes()) {
        *to = *from;
    }
    let name = CStr::from_bytes_until_nul(&name).unwrap_or_default();
    // SAFETY: `name` is NUL-terminated and lives until the call returns, as
    // does the borrow of the descriptor; the kernel writes to no memory of ours.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_fchmodat2,
            at.dir.as_raw_fd(),
            name.as_ptr(),
            mode & 0o7777,
            libc::AT_SYMLINK_NOFOLLOW,
        )
    };
    match answer {
        0 => Ok(()),
        _ => Err(Error::system("fchmodat2", at, last_errno())),
    }
}

/// Changes the mode of what is held, through `/proc/self/fd`; see `chmod(2)`.
/// `EOPNOTSUPP` for a symlink.
pub fn set_mode_held(fd: BorrowedFd<'_>, mode: u32) -> Result<()> {
    let path = ProcPath::held(fd);
    let mode = Mode::from_raw_mode(mode & 0o7777);
    rustix::fs::chmodat(CWD, path.as_c_str(), mode, AtFlags::empty())
        .map_err(|e| Error::system("fchmodat", Object::Held(fd), e))
}

/// Changes the times; `None` leaves one as it is; see `utimensat(2)`.
pub fn set_times(object: Object<'_>, atime: Option<SetTime>, mtime: Option<SetTime>) -> Result<()> {
    let times = Timestamps {
        last_access: time(atime),
        last_modification: time(mtime),
    };
    match object {
        Object::Entry(at) => {
            let name = at.name.as_bytes();
            rustix::fs::utimensat(at.dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)
        }
        // `AT_EMPTY_PATH` came with Linux 5.8 only.
        Object::Held(fd) => {
            let path = ProcPath::held(fd);
            rustix::fs::utimensat(CWD, path.as_c_str(), &times, AtFlags::empty())
        }
    }
    .map_err(|e| Error::system("utimensat", object, e))
}

/// Whether this process may do that with an object; see `faccessat2(2)`. What
/// only a read-only mount forbids it may.
pub fn may(object: Object<'_>, right: Access) -> Result<bool> {
    let answer = match object {
        Object::Entry(at) => {
            let flags = AtFlags::EACCESS | AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::accessat(at.dir, at.name.as_bytes(), right, flags)
        }
        Object::Held(fd) => {
            let path = ProcPath::held(fd);
            rustix::fs::accessat(CWD, path.as_c_str(), right, AtFlags::EACCESS)
        }
    };
    match answer {
        // The permission is looked at first (`do_faccessat` in fs/open.c).
        Ok(()) | Err(Errno::ROFS) => Ok(true),
        Err(Errno::ACCESS | Errno::PERM) => Ok(false),
        Err(errno) => Err(Error::system("faccessat2", object, errno)),
    }
}

/// Whether `gid` is among the supplementary groups of this process. In doubt
/// it is.
pub fn is_in_group(gid: u32) -> bool {
    match rustix::process::getgroups() {
        Ok(groups) => groups.contains(&Gid::from_raw(gid)),
        Err(_) => true,
    }
}

/// Who new objects belong to that this process makes itself.
pub fn process_owner() -> Owner {
    Owner {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    }
}

fn time(set: Option<SetTime>) -> Timespec {
    let (tv_sec, tv_nsec) = match set {
        None => (0, UTIME_OMIT),
        Some(SetTime::Now) => (0, UTIME_NOW),
        Some(SetTime::To(time)) => (time.sec, time.nsec.into()),
    };
    Timespec { tv_sec, tv_nsec }
}

pub(super) fn last_errno() -> Errno {
    // A failed call sets errno above zero; EIO stands in for the impossible.
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
