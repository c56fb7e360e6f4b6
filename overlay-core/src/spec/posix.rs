//! What any filesystem does with attributes and content, in layers or not.
//! All models of the specification share it.
//!
//! Everything is done by root, so permissions are not asked.

use crate::attr::FileKind;

use super::op::{Errno, Object, Presence, Umask};
use super::{Data, Meta};

type Result<T> = std::result::Result<T, Errno>;

const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;
const SETGID_EXECUTABLE: u32 = 0o2010;

/// The attributes of what is made in a directory with those of `parent`.
///
/// Owner and mode as `inode_init_owner` in the kernel: a setgid directory
/// gives its group, and to directories also the bit.
pub(super) fn born(parent: &Meta, kind: FileKind, mode: u32, umask: Umask) -> Meta {
    let inherits = parent.mode & SETGID != 0;
    let mode = match kind {
        FileKind::Directory if inherits => mode & 0o1777 & !umask.0 | SETGID,
        FileKind::Directory => mode & 0o1777 & !umask.0,
        FileKind::Symlink => 0o777,
        FileKind::Regular
        | FileKind::Fifo
        | FileKind::Socket
        | FileKind::CharDevice
        | FileKind::BlockDevice => mode & 0o7777 & !umask.0,
    };
    Meta {
        gid: if inherits { parent.gid } else { 0 },
        ..Meta::new(mode)
    }
}

/// A change of owner takes the setuid bit away from everything but
/// directories, and the setgid bit where it means the same.
pub(super) fn change_owner(meta: &mut Meta, kind: FileKind, uid: Option<u32>, gid: Option<u32>) {
    meta.uid = uid.unwrap_or(meta.uid);
    meta.gid = gid.unwrap_or(meta.gid);
    if !kind.is_dir() {
        meta.mode &= !SETUID;
        if meta.mode & SETGID_EXECUTABLE == SETGID_EXECUTABLE {
            meta.mode &= !SETGID;
        }
    }
}

/// Writes at `offset`; a gap before it reads as zeros.
pub(super) fn write(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let start = offset as usize;
    let end = start + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[start..end].copy_from_slice(data);
}

/// Makes zeros of a range, as far as the file reaches.
pub(super) fn punch(bytes: &mut [u8], offset: u64, len: u64) {
    let bytes = bytes.iter_mut().skip(offset as usize);
    bytes.take(len as usize).for_each(|byte| *byte = 0);
}

/// A symlink has no mode of its own.
pub(super) fn need_mode(kind: FileKind) -> Result<()> {
    match kind {
        FileKind::Symlink => Err(Errno::OPNOTSUPP),
        FileKind::Directory
        | FileKind::Regular
        | FileKind::Fifo
        | FileKind::Socket
        | FileKind::CharDevice
        | FileKind::BlockDevice => Ok(()),
    }
}

/// Only regular files are opened; see [`Op`](super::Op).
pub(super) fn need_file(kind: FileKind) -> Result<()> {
    match kind {
        FileKind::Regular => Ok(()),
        FileKind::Directory => Err(Errno::ISDIR),
        FileKind::Symlink => Err(Errno::LOOP),
        FileKind::Fifo | FileKind::Socket | FileKind::CharDevice | FileKind::BlockDevice => {
            Err(Errno::NXIO)
        }
    }
}

/// Only regular files have a length to set.
pub(super) fn need_length(kind: FileKind) -> Result<()> {
    match kind {
        FileKind::Regular => Ok(()),
        FileKind::Directory => Err(Errno::ISDIR),
        FileKind::Symlink
        | FileKind::Fifo
        | FileKind::Socket
        | FileKind::CharDevice
        | FileKind::BlockDevice => Err(Errno::INVAL),
    }
}

/// `user.*` belongs to files and directories alone.
pub(super) fn need_xattrs(kind: FileKind, name: &[u8]) -> Result<()> {
    match kind {
        FileKind::Directory | FileKind::Regular => Ok(()),
        FileKind::Symlink
        | FileKind::Fifo
        | FileKind::Socket
        | FileKind::CharDevice
        | FileKind::BlockDevice
            if name.starts_with(b"user.") =>
        {
            Err(Errno::PERM)
        }
        FileKind::Symlink
        | FileKind::Fifo
        | FileKind::Socket
        | FileKind::CharDevice
        | FileKind::BlockDevice => Ok(()),
    }
}

/// Whether an attribute may be set that is there, or is not.
pub(super) fn need_presence(how: Presence, is_there: bool) -> Result<()> {
    match (how, is_there) {
        (Presence::Create, true) => Err(Errno::EXIST),
        (Presence::Replace, false) => Err(Errno::NODATA),
        (Presence::Either | Presence::Create | Presence::Replace, _) => Ok(()),
    }
}

/// A directory replaces only a directory, and nothing else does.
pub(super) fn need_same_sort(moved: FileKind, target: Option<FileKind>) -> Result<()> {
    match (moved.is_dir(), target.map(FileKind::is_dir)) {
        (true, Some(false)) => Err(Errno::NOTDIR),
        (false, Some(true)) => Err(Errno::ISDIR),
        (true | false, _) => Ok(()),
    }
}

impl Object {
    /// What it is; `None` for a directory.
    pub(super) fn data(&self) -> Option<Data> {
        match self {
            Object::Dir => None,
            Object::File => Some(Data::File(Vec::new())),
            Object::Symlink(target) => Some(Data::Symlink(target.clone())),
            Object::Special(kind, rdev) => Some(Data::Special {
                kind: *kind,
                rdev: *rdev,
            }),
        }
    }
}
