//! Attributes of objects and filesystems, and targets of symlinks.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{AtFlags, Statx, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use super::{At, Object};
use crate::attr::{Attr, FileKind, Protection, StatFs, Timestamp};
use crate::error::{Error, Result};

/// The attributes; see `statx(2)`, which alone tells what is protected. Never
/// follows, never mounts.
pub fn attr(object: Object<'_>) -> Result<Attr> {
    let (dir, name, flags) = object.parts();
    let flags = flags | AtFlags::NO_AUTOMOUNT;
    match rustix::fs::statx(dir, name, flags, StatxFlags::BASIC_STATS) {
        Ok(stat) => convert(&stat),
        Err(errno) => Err(Error::system("statx", object, errno)),
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

fn convert(stat: &Statx) -> Result<Attr> {
    let mode = u32::from(stat.stx_mode);
    let kind = FileKind::from_mode(mode).ok_or(Error::Damaged(
        "an object of a kind that Linux does not know",
    ))?;
    let time = |time: rustix::fs::StatxTimestamp| Timestamp {
        sec: time.tv_sec,
        nsec: time.tv_nsec,
    };
    let has = |attribute| stat.stx_attributes.contains(attribute);
    Ok(Attr {
        kind,
        mode: mode & 0o7777,
        nlink: u64::from(stat.stx_nlink),
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        rdev: match kind {
            FileKind::CharDevice | FileKind::BlockDevice => {
                rustix::fs::makedev(stat.stx_rdev_major, stat.stx_rdev_minor)
            }
            FileKind::Regular
            | FileKind::Directory
            | FileKind::Symlink
            | FileKind::Fifo
            | FileKind::Socket => 0,
        },
        size: stat.stx_size,
        blocks: stat.stx_blocks,
        blksize: stat.stx_blksize,
        atime: time(stat.stx_atime),
        mtime: time(stat.stx_mtime),
        ctime: time(stat.stx_ctime),
        ino: stat.stx_ino,
        dev: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
        protection: Protection {
            immutable: has(StatxAttributes::IMMUTABLE),
            append_only: has(StatxAttributes::APPEND),
        },
    })
}
