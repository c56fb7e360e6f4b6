//! Being told of changes in directories: `fanotify(7)`.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::last_errno;
use crate::error::{Error, Result};

/// What is told of a directory and of what is in it.
const MASK: u64 = libc::FAN_CREATE
    | libc::FAN_DELETE
    | libc::FAN_MOVE
    | libc::FAN_MODIFY
    | libc::FAN_ATTRIB
    | libc::FAN_ONDIR
    | libc::FAN_EVENT_ON_CHILD;

/// Marks are set, or taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// `FAN_MARK_ADD`
    Add,
    /// `FAN_MARK_REMOVE`
    Remove,
}

/// Opens a group that is told of names in directories; see `fanotify_init(2)`.
/// An ordinary user may, since Linux 5.13.
pub fn open() -> Result<OwnedFd> {
    let flags = libc::FAN_CLASS_NOTIF
        | libc::FAN_CLOEXEC
        | libc::FAN_REPORT_DFID_NAME
        | libc::FAN_REPORT_FID;
    // No limits where the process may have none.
    for more in [libc::FAN_UNLIMITED_QUEUE | libc::FAN_UNLIMITED_MARKS, 0] {
        // SAFETY: no pointers.
        let fd = unsafe { libc::fanotify_init(flags | more, 0) };
        if fd >= 0 {
            // SAFETY: a descriptor that was just opened, and is nobody else's.
            return Ok(unsafe { OwnedFd::from_raw_fd(fd) });
        }
        match last_errno() {
            Errno::PERM if more != 0 => {}
            errno => return Err(Error::system("fanotify_init", "changes by others", errno)),
        }
    }
    unreachable!("the last try has returned")
}

/// Marks a directory; see `fanotify_mark(2)`. `false` where its filesystem has
/// no such handles (`EOPNOTSUPP`, `ENODEV`, `EXDEV`).
pub fn mark(group: BorrowedFd<'_>, mark: Mark, dir: BorrowedFd<'_>) -> Result<bool> {
    let how = match mark {
        Mark::Add => libc::FAN_MARK_ADD,
        Mark::Remove => libc::FAN_MARK_REMOVE,
    };
    // SAFETY: the path ends with NUL and lives through the call.
    let outcome = unsafe {
        libc::fanotify_mark(
            group.as_raw_fd(),
            how | libc::FAN_MARK_ONLYDIR,
            MASK,
            dir.as_raw_fd(),
            c".".as_ptr(),
        )
    };
    if outcome == 0 {
        return Ok(true);
    }
    match last_errno() {
        Errno::OPNOTSUPP | Errno::NODEV | Errno::XDEV => Ok(false),
        // It had none.
        Errno::NOENT if mark == Mark::Remove => Ok(true),
        errno => Err(Error::system(
            "fanotify_mark",
            format_args!("dir {}", dir.as_raw_fd()),
            errno,
        )),
    }
}

/// The identity of the filesystem of `dir`, as events name it; see
/// `statfs(2)`.
pub fn filesystem(dir: BorrowedFd<'_>) -> Result<[u8; 8]> {
    let mut stat = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: `stat` has room for what the call writes.
    if unsafe { libc::fstatfs(dir.as_raw_fd(), stat.as_mut_ptr()) } != 0 {
        let subject = format_args!("dir {}", dir.as_raw_fd());
        return Err(Error::system("fstatfs", subject, last_errno()));
    }
    // SAFETY: the call has succeeded, so it was written. `fsid_t` is two
    // integers of 32 bits (`asm/statfs.h`), whose names libc keeps to itself.
    Ok(unsafe { std::mem::transmute::<libc::fsid_t, [u8; 8]>(stat.assume_init().f_fsid) })
}
