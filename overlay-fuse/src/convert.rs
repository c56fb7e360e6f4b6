//! The kernel's words for the engine's types, and the other way round.

use std::time::SystemTime;

use fuser::{FileAttr, FileType, INodeNo, RenameFlags, TimeOrNow};
use overlay_core::layer::{NewKind, RenameMode, SeekTo, SetXattr};
use overlay_core::{Attr, Error, FileKind, Result, SetTime, Timestamp};

/// The engine's attributes, for the inode `number`.
pub(crate) fn file_attr(number: u64, attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(number),
        size: attr.size,
        blocks: attr.blocks,
        atime: attr.atime.into(),
        mtime: attr.mtime.into(),
        ctime: attr.ctime.into(),
        crtime: SystemTime::UNIX_EPOCH,
        kind: file_type(attr.kind),
        perm: (attr.mode & 0o7777) as u16,
        nlink: u32::try_from(attr.nlink).unwrap_or(u32::MAX),
        uid: attr.uid,
        gid: attr.gid,
        // The kernel's 32-bit form agrees with makedev(3) up to major 4095
        // and minor 2^20 - 1, and Linux has no larger ones.
        rdev: attr.rdev as u32,
        blksize: attr.blksize,
        flags: 0,
    }
}

/// Attributes of which the kernel looks only at the number and the kind: for
/// a missing name (number 0), and for `.` and `..` in a listing.
pub(crate) fn bare_attr(number: u64, kind: FileType) -> FileAttr {
    FileAttr {
        ino: INodeNo(number),
        size: 0,
        blocks: 0,
        atime: SystemTime::UNIX_EPOCH,
        mtime: SystemTime::UNIX_EPOCH,
        ctime: SystemTime::UNIX_EPOCH,
        crtime: SystemTime::UNIX_EPOCH,
        kind,
        perm: 0,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 0,
        flags: 0,
    }
}

/// `d_type`
pub(crate) fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::Regular => FileType::RegularFile,
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::Fifo => FileType::NamedPipe,
        FileKind::Socket => FileType::Socket,
        FileKind::CharDevice => FileType::CharDevice,
        FileKind::BlockDevice => FileType::BlockDevice,
    }
}

/// A time to set.
pub(crate) fn set_time(time: TimeOrNow) -> SetTime {
    match time {
        TimeOrNow::Now => SetTime::Now,
        TimeOrNow::SpecificTime(time) => SetTime::To(timestamp(time)),
    }
}

/// fuser 0.18 takes the nanoseconds of a time before 1970 away where the
/// kernel adds them; this undoes it.
fn timestamp(time: SystemTime) -> Timestamp {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(_) => time.into(),
        Err(before) => {
            let before = before.duration();
            Timestamp {
                sec: 0i64.wrapping_sub_unsigned(before.as_secs()),
                nsec: before.subsec_nanos(),
            }
        }
    }
}

/// What `mknod(2)` asks for.
pub(crate) fn new_node(mode: u32, rdev: u32) -> Result<NewKind<'static>> {
    let rdev = u64::from(rdev);
    match FileKind::from_mode(mode) {
        Some(FileKind::Regular) => Ok(NewKind::Regular),
        Some(FileKind::Fifo) => Ok(NewKind::Fifo),
        Some(FileKind::Socket) => Ok(NewKind::Socket),
        Some(FileKind::CharDevice) => Ok(NewKind::CharDevice(rdev)),
        Some(FileKind::BlockDevice) => Ok(NewKind::BlockDevice(rdev)),
        Some(FileKind::Directory | FileKind::Symlink) | None => {
            Err(Error::Invalid("mknod makes no such kind"))
        }
    }
}

/// The flags of `renameat2(2)`; leaving a whiteout is the union's own business.
pub(crate) fn rename_mode(flags: RenameFlags) -> Result<RenameMode> {
    if flags.is_empty() {
        Ok(RenameMode::Replace)
    } else if flags == RenameFlags::RENAME_NOREPLACE {
        Ok(RenameMode::NoReplace)
    } else if flags == RenameFlags::RENAME_EXCHANGE {
        Ok(RenameMode::Exchange)
    } else {
        Err(Error::Invalid("flags of renameat2"))
    }
}

/// The flags of `setxattr(2)`.
pub(crate) fn set_xattr(flags: i32) -> Result<SetXattr> {
    match flags {
        0 => Ok(SetXattr::Any),
        libc::XATTR_CREATE => Ok(SetXattr::Create),
        libc::XATTR_REPLACE => Ok(SetXattr::Replace),
        _ => Err(Error::Invalid("flags of setxattr")),
    }
}

/// `whence` of `lseek(2)`; the kernel asks only for these two.
pub(crate) fn seek_to(whence: i32) -> Result<SeekTo> {
    match whence {
        libc::SEEK_DATA => Ok(SeekTo::Data),
        libc::SEEK_HOLE => Ok(SeekTo::Hole),
        _ => Err(Error::Invalid("whence of lseek")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_before_1970_survive_fuser() {
        // utimensat(-2 s + 0.3 s): what fuser 0.18 makes of it.
        let garbled = SystemTime::UNIX_EPOCH - Duration::new(2, 300_000_000);
        let meant = Timestamp {
            sec: -2,
            nsec: 300_000_000,
        };
        assert_eq!(
            set_time(TimeOrNow::SpecificTime(garbled)),
            SetTime::To(meant)
        );
    }

    #[test]
    fn renaming_with_a_whiteout_is_refused_from_outside() {
        assert!(rename_mode(RenameFlags::RENAME_WHITEOUT).is_err());
        let both = RenameFlags::RENAME_NOREPLACE | RenameFlags::RENAME_EXCHANGE;
        assert!(rename_mode(both).is_err());
    }
}
