//! The operations of a filesystem and what they answer.
//!
//! Each is what one system call (or open, call, close) does, made by root.
//! Opening a device node, pipe or socket never reaches a union; operations
//! that would do so are defined to fail with `ENXIO` instead.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::attr::{FileKind, Timestamp};
use crate::name::NameBuf;

pub use crate::error::Errno;

use super::path::{Path, Place};
use super::seen::Sight;

/// One operation. `Display` is a readable line for failing histories.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the fields are the arguments of the calls named"
)]
pub enum Op {
    /// `mkdir`, `mknod` or `symlink`, by what is made. The umask counts.
    Make {
        at: Place,
        object: Object,
        mode: u32,
        umask: Umask,
    },
    /// `open(O_CREAT | O_EXCL | O_RDWR)`, kept open in `slot`.
    Create {
        slot: Slot,
        at: Place,
        mode: u32,
        umask: Umask,
    },
    /// `link`; the source is not followed.
    Link { from: Path, to: Place },
    /// `unlink`
    Unlink { at: Place },
    /// `rmdir`
    Rmdir { at: Place },
    /// `renameat2`
    Rename { from: Place, to: Place, how: Rename },
    /// Opens for writing and writes at `offset`.
    Write {
        path: Path,
        offset: u64,
        data: Vec<u8>,
    },
    /// Opens with `O_APPEND` and writes.
    Append { path: Path, data: Vec<u8> },
    /// `open(O_WRONLY | O_TRUNC)`
    Empty { path: Path },
    /// `truncate(2)`
    Truncate { path: Path, len: u64 },
    /// Opens for writing and calls `fallocate(2)` with mode 0.
    Allocate { path: Path, offset: u64, len: u64 },
    /// Opens for writing and punches a hole.
    Punch { path: Path, offset: u64, len: u64 },
    /// Reads a whole file.
    Read { path: Path },
    /// Lists a directory.
    ReadDir { path: Path },
    /// `readlink`
    ReadLink { path: Path },
    /// `lstat`
    Stat { path: Path },
    /// `chmod`, not following.
    Chmod { path: Path, mode: u32 },
    /// `lchown`; `None` leaves the id as it is.
    Chown {
        path: Path,
        uid: Option<u32>,
        gid: Option<u32>,
    },
    /// `utimensat` of the modification time, not following.
    SetMtime { path: Path, mtime: Timestamp },
    /// `lsetxattr`
    SetXattr {
        path: Path,
        name: Vec<u8>,
        value: Vec<u8>,
        how: Presence,
    },
    /// `lremovexattr`
    RemoveXattr { path: Path, name: Vec<u8> },
    /// `lgetxattr`
    GetXattr { path: Path, name: Vec<u8> },
    /// `llistxattr`
    ListXattrs { path: Path },
    /// Opens a regular file into `slot` (closing what was there).
    Open {
        slot: Slot,
        path: Path,
        access: Access,
    },
    /// `pread` of everything through the slot.
    ReadHeld { slot: Slot },
    /// `pwrite` through the slot.
    WriteHeld {
        slot: Slot,
        offset: u64,
        data: Vec<u8>,
    },
    /// `fstat`
    StatHeld { slot: Slot },
    /// `ftruncate`
    TruncateHeld { slot: Slot, len: u64 },
    /// `fchmod`, also through a handle that only reads.
    ChmodHeld { slot: Slot, mode: u32 },
    /// Closes the slot.
    Close { slot: Slot },
    /// Closes all slots, unmounts and mounts again.
    Remount,
    /// The same, but what was written so far becomes the topmost of the lower
    /// layers, and an empty layer is written from now on; its root has the
    /// attributes of the one before.
    Rotate,
}

/// A number for a handle kept open.
pub type Slot = usize;

/// What [`Op::Make`] makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// `mkdir`
    Dir,
    /// `mknod` of an empty regular file.
    File,
    /// `symlink` to this target.
    Symlink(Vec<u8>),
    /// `mknod` of a pipe, socket or device with this number.
    Special(FileKind, u64),
}

/// How a rename treats its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rename {
    /// As `rename(2)`.
    Replace,
    /// `RENAME_NOREPLACE`
    NoReplace,
    /// `RENAME_EXCHANGE`
    Exchange,
}

/// Whether `setxattr` may create or replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Either.
    Either,
    /// `XATTR_CREATE`
    Create,
    /// `XATTR_REPLACE`
    Replace,
}

/// How [`Op::Open`] opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// `O_RDONLY`
    Read,
    /// `O_RDWR`
    Write,
}

/// Permission bits that the process takes away from what it creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Umask(pub u32);

/// What an operation answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It succeeded and returns nothing.
    Done,
    /// It failed and changed nothing that can be seen.
    Failed(Errno),
    /// Content, a link target or an attribute's value.
    Bytes(Vec<u8>),
    /// Names of extended attributes.
    Names(BTreeSet<Vec<u8>>),
    /// Names and kinds in a directory, without `.` and `..`.
    Entries(BTreeMap<NameBuf, FileKind>),
    /// Attributes.
    Sight(Box<Sight>),
}

impl Op {
    /// The paths that it is about, those that it makes included.
    pub fn paths(&self) -> Vec<Path> {
        match self {
            Op::Make { at, .. } | Op::Create { at, .. } | Op::Unlink { at } | Op::Rmdir { at } => {
                vec![at.path()]
            }
            Op::Link { from, to } => vec![from.clone(), to.path()],
            Op::Rename { from, to, .. } => vec![from.path(), to.path()],
            Op::Write { path, .. }
            | Op::Append { path, .. }
            | Op::Empty { path }
            | Op::Truncate { path, .. }
            | Op::Allocate { path, .. }
            | Op::Punch { path, .. }
            | Op::Read { path }
            | Op::ReadDir { path }
            | Op::ReadLink { path }
            | Op::Stat { path }
            | Op::Chmod { path, .. }
            | Op::Chown { path, .. }
            | Op::SetMtime { path, .. }
            | Op::SetXattr { path, .. }
            | Op::RemoveXattr { path, .. }
            | Op::GetXattr { path, .. }
            | Op::ListXattrs { path }
            | Op::Open { path, .. } => vec![path.clone()],
            Op::ReadHeld { .. }
            | Op::WriteHeld { .. }
            | Op::StatHeld { .. }
            | Op::TruncateHeld { .. }
            | Op::ChmodHeld { .. }
            | Op::Close { .. }
            | Op::Remount
            | Op::Rotate => Vec::new(),
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use super::op::Op::*;
        match self {
            Make {
                at,
                object,
                mode,
                umask,
            } => {
                write!(
                    f,
                    "make {object} {at} mode {mode:04o} umask {:03o}",
                    umask.0
                )
            }
            Create {
                slot,
                at,
                mode,
                umask,
            } => {
                write!(
                    f,
                    "#{slot} = create {at} mode {mode:04o} umask {:03o}",
                    umask.0
                )
            }
            Link { from, to } => write!(f, "link {from} -> {to}"),
            Unlink { at } => write!(f, "unlink {at}"),
            Rmdir { at } => write!(f, "rmdir {at}"),
            Rename { from, to, how } => write!(f, "rename {from} -> {to} {how:?}"),
            Write { path, offset, data } => {
                write!(f, "write {path} at {offset}: '{}'", data.escape_ascii())
            }
            Append { path, data } => write!(f, "append {path}: '{}'", data.escape_ascii()),
            Empty { path } => write!(f, "open {path} O_TRUNC"),
            Truncate { path, len } => write!(f, "truncate {path} to {len}"),
            Allocate { path, offset, len } => write!(f, "fallocate {path} at {offset}+{len}"),
            Punch { path, offset, len } => write!(f, "punch hole {path} at {offset}+{len}"),
            Read { path } => write!(f, "read {path}"),
            ReadDir { path } => write!(f, "readdir {path}"),
            ReadLink { path } => write!(f, "readlink {path}"),
            Stat { path } => write!(f, "stat {path}"),
            Chmod { path, mode } => write!(f, "chmod {path} {mode:04o}"),
            Chown { path, uid, gid } => write!(f, "chown {path} {uid:?} {gid:?}"),
            SetMtime { path, mtime } => write!(f, "utimens {path} mtime {}", mtime.sec),
            SetXattr {
                path,
                name,
                value,
                how,
            } => write!(
                f,
                "setxattr {path} {} = '{}' {how:?}",
                name.escape_ascii(),
                value.escape_ascii()
            ),
            RemoveXattr { path, name } => write!(f, "removexattr {path} {}", name.escape_ascii()),
            GetXattr { path, name } => write!(f, "getxattr {path} {}", name.escape_ascii()),
            ListXattrs { path } => write!(f, "listxattr {path}"),
            Open { slot, path, access } => write!(f, "#{slot} = open {path} {access:?}"),
            ReadHeld { slot } => write!(f, "read #{slot}"),
            WriteHeld { slot, offset, data } => {
                write!(f, "write #{slot} at {offset}: '{}'", data.escape_ascii())
            }
            StatHeld { slot } => write!(f, "fstat #{slot}"),
            TruncateHeld { slot, len } => write!(f, "ftruncate #{slot} to {len}"),
            ChmodHeld { slot, mode } => write!(f, "fchmod #{slot} {mode:04o}"),
            Close { slot } => write!(f, "close #{slot}"),
            Remount => write!(f, "remount"),
            Rotate => write!(f, "rotate"),
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Object::Dir => f.write_str("dir"),
            Object::File => f.write_str("file"),
            Object::Symlink(target) => write!(f, "symlink to '{}'", target.escape_ascii()),
            Object::Special(kind, rdev) => write!(f, "{kind:?} {rdev:#x}"),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Done => f.write_str("done"),
            Outcome::Failed(errno) => write!(f, "{errno}"),
            Outcome::Bytes(bytes) => write!(f, "'{}'", bytes.escape_ascii()),
            Outcome::Names(names) => {
                let names = names.iter().map(|name| name.escape_ascii().to_string());
                f.debug_set().entries(names).finish()
            }
            Outcome::Entries(entries) => f.debug_map().entries(entries).finish(),
            Outcome::Sight(sight) => write!(f, "{sight}"),
        }
    }
}
