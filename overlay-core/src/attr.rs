//! Attributes of objects: what `stat(2)` shows and what can be changed.

use std::time::{Duration, SystemTime};

/// What an object is. `st_mode & S_IFMT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A Unix domain socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

impl FileKind {
    /// The kind in an `st_mode`; `None` for bits that Linux does not define.
    pub fn from_mode(mode: u32) -> Option<FileKind> {
        Some(match mode & libc::S_IFMT {
            libc::S_IFREG => FileKind::Regular,
            libc::S_IFDIR => FileKind::Directory,
            libc::S_IFLNK => FileKind::Symlink,
            libc::S_IFIFO => FileKind::Fifo,
            libc::S_IFSOCK => FileKind::Socket,
            libc::S_IFCHR => FileKind::CharDevice,
            libc::S_IFBLK => FileKind::BlockDevice,
            _ => return None,
        })
    }

    /// The `S_IF...` bits.
    pub fn mode_bits(self) -> u32 {
        match self {
            FileKind::Regular => libc::S_IFREG,
            FileKind::Directory => libc::S_IFDIR,
            FileKind::Symlink => libc::S_IFLNK,
            FileKind::Fifo => libc::S_IFIFO,
            FileKind::Socket => libc::S_IFSOCK,
            FileKind::CharDevice => libc::S_IFCHR,
            FileKind::BlockDevice => libc::S_IFBLK,
        }
    }

    /// Whether this is a directory.
    pub fn is_dir(self) -> bool {
        self == FileKind::Directory
    }
}

/// A point in time as filesystems store it: seconds since 1970 (negative
/// before) and nanoseconds after that second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp {
    /// Whole seconds since the epoch.
    pub sec: i64,
    /// 0 to 999,999,999 nanoseconds after `sec`.
    pub nsec: u32,
}

impl Timestamp {
    /// The time now.
    pub fn now() -> Timestamp {
        SystemTime::now().into()
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Timestamp {
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => Timestamp {
                sec: after.as_secs() as i64,
                nsec: after.subsec_nanos(),
            },
            Err(before) => {
                let before = before.duration();
                let borrow = i64::from(before.subsec_nanos() > 0);
                Timestamp {
                    sec: -(before.as_secs() as i64) - borrow,
                    nsec: (1_000_000_000 - before.subsec_nanos()) % 1_000_000_000,
                }
            }
        }
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> SystemTime {
        let nanos = Duration::from_nanos(u64::from(time.nsec));
        let seconds = Duration::from_secs(time.sec.unsigned_abs());
        if time.sec >= 0 {
            SystemTime::UNIX_EPOCH + seconds + nanos
        } else {
            SystemTime::UNIX_EPOCH - seconds + nanos
        }
    }
}

/// The attributes of one object; see `stat(2)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr {
    /// What it is.
    pub kind: FileKind,
    /// Permission bits with setuid, setgid and sticky: `st_mode & 0o7777`.
    pub mode: u32,
    /// Number of hard links.
    pub nlink: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device node, as `makedev(3)` packs it; else 0.
    pub rdev: u64,
    /// Size in bytes.
    pub size: u64,
    /// Allocated 512-byte units.
    pub blocks: u64,
    /// Preferred I/O size in bytes.
    pub blksize: u32,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of content.
    pub mtime: Timestamp,
    /// Last change of attributes.
    pub ctime: Timestamp,
    /// Inode number: within `dev` for a branch's object, within the union
    /// for what the union shows.
    pub ino: u64,
    /// Device number of the filesystem that stores it.
    pub dev: u64,
    /// What the filesystem that stores it keeps from everybody; nothing for
    /// what a union shows, which checks by itself.
    pub protection: Protection,
}

/// What may not be done to an object, by anybody; see `chattr(1)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Protection {
    /// Nothing of it changes: `STATX_ATTR_IMMUTABLE`.
    pub immutable: bool,
    /// A file only grows, and a directory only gets entries:
    /// `STATX_ATTR_APPEND`.
    pub append_only: bool,
}

impl Protection {
    /// Everything may be done.
    pub const NONE: Protection = Protection {
        immutable: false,
        append_only: false,
    };

    /// What one of the two does not allow.
    pub fn or(self, other: Protection) -> Protection {
        Protection {
            immutable: self.immutable || other.immutable,
            append_only: self.append_only || other.append_only,
        }
    }
}

/// Owner and group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// A time to set; see `utimensat(2)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetTime {
    /// The filesystem's own clock (`UTIME_NOW`).
    Now,
    /// This time.
    To(Timestamp),
}

/// A change of attributes; `None` leaves a field as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SetAttr {
    /// New permission bits (`& 0o7777`).
    pub mode: Option<u32>,
    /// New owner.
    pub uid: Option<u32>,
    /// New group.
    pub gid: Option<u32>,
    /// New size of a regular file, in bytes.
    pub size: Option<u64>,
    /// New access time.
    pub atime: Option<SetTime>,
    /// New modification time.
    pub mtime: Option<SetTime>,
}

impl SetAttr {
    /// Gives an object the access and modification times of another.
    pub fn times_of(attr: &Attr) -> SetAttr {
        SetAttr {
            atime: Some(SetTime::To(attr.atime)),
            mtime: Some(SetTime::To(attr.mtime)),
            ..SetAttr::default()
        }
    }
}

/// What `statfs(2)` shows; counts are in units of `frsize` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StatFs {
    /// Preferred I/O size in bytes.
    pub bsize: u32,
    /// Unit of the block counts in bytes.
    pub frsize: u32,
    /// Blocks in all.
    pub blocks: u64,
    /// Free blocks.
    pub bfree: u64,
    /// Free blocks for ordinary users.
    pub bavail: u64,
    /// Inodes in all.
    pub files: u64,
    /// Free inodes.
    pub ffree: u64,
    /// Longest name in bytes.
    pub namelen: u32,
}
