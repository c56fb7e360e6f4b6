//! Attributes of objects and filesystems, and targets of symlinks.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{AtFlags, Stat, StatxFlags};
use rustix::io::Errno;

use super::{At, Object};
use crate::attr::{Attr, FileKind, StatFs, Timestamp};
use crate::error::{Error, Result};

/// The attributes; see `fstatat(2)`. Never follows, never mounts.
pub fn attr(object: Object<'_>) -> Result<Attr> {
    let (dir, name, flags) = object.parts();
    match rustix::fs::statat(dir, name, flags | AtFlags::NO_AUTOMOUNT) {
        Ok(stat) => convert(&stat),
        Err(errno) => Err(Error::system("fstatat", object, errno)),
    }
}

/// As [`attr`] of an entry; `None` if there is none.
pub fn attr_of(at: At<'_>) -> Result<Option<Attr>> {
    match attr(Object::Entry(at)) {
        Ok(attr) => Ok(Some(attr)),
        Err(Error::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The target of a symlink; see `readlinkat(2)`.
pub fn link_target(object: Object<'_>) -> Result<Vec<u8>> {
    let (dir, name, _) = object.parts();
    match rustix::fs::readlinkat(dir, name, Vec::new()) {
        Ok(target) => Ok(target.into_bytes()),
        Err(errno) => Err(Error::system("readlinkat", object, errno)),
    }
}

/// The filesystem's state; see `fstatvfs(3)`.
pub fn stat_fs(fd: BorrowedFd<'_>) -> Result<StatFs> {
    let stat = rustix::fs::fstatvfs(fd)
        .map_err(|e| Error::system("fstatfs", format_args!("fd {}", fd.as_raw_fd()), e))?;
    Ok(StatFs {
        bsize: narrow(stat.f_bsize),
        frsize: narrow(stat.f_frsize),
        blocks: stat.f_blocks,
        bfree: stat.f_bfree,
        bavail: stat.f_bavail,
        files: stat.f_files,
        ffree: stat.f_ffree,
        namelen: narrow(stat.f_namemax),
    })
}

/// The mount that `fd` was reached through; see `statx(2)`, `STATX_MNT_ID`.
/// `None` before Linux 5.8.
pub fn mount_id(fd: BorrowedFd<'_>) -> Result<Option<u64>> {
    let asked = StatxFlags::MNT_ID;
    match rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, asked) {
        Ok(stat) if stat.stx_mask & asked.bits() != 0 => Ok(Some(stat.stx_mnt_id)),
        Ok(_) | Err(Errno::NOSYS) => Ok(None),
        Err(e) => Err(Error::system(
            "statx",
            format_args!("fd {}", fd.as_raw_fd()),
            e,
        )),
    }
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[allow(
    clippy::unnecessary_cast,
    clippy::useless_conversion,
    reason = "the widths of stat's fields differ between architectures"
)]
fn convert(stat: &Stat) -> Result<Attr> {
    let kind = FileKind::from_mode(stat.st_mode).ok_or(Error::Damaged(
        "an object of a kind that Linux does not know",
    ))?;
    let time = |sec, nsec: u64| Timestamp {
        sec,
        // The kernel keeps nanoseconds below one second.
        nsec: nsec as u32,
    };
    Ok(Attr {
        kind,
        mode: stat.st_mode & 0o7777,
        nlink: stat.st_nlink as u64,
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: match kind {
            FileKind::CharDevice | FileKind::BlockDevice => stat.st_rdev as u64,
            FileKind::Regular
            | FileKind::Directory
            | FileKind::Symlink
            | FileKind::Fifo
            | FileKind::Socket => 0,
        },
        size: stat.st_size as u64,
        blocks: stat.st_blocks as u64,
        blksize: stat.st_blksize as u32,
        atime: time(stat.st_atime as i64, stat.st_atime_nsec as u64),
        mtime: time(stat.st_mtime as i64, stat.st_mtime_nsec as u64),
        ctime: time(stat.st_ctime as i64, stat.st_ctime_nsec as u64),
        ino: stat.st_ino as u64,
        dev: stat.st_dev as u64,
    })
}
