//! Names that come and go: `mknodat`, `mkdirat`, `symlinkat`, `linkat`,
//! `unlinkat`. Modes are subject to the umask and the directory's default ACL.

use rustix::fs::{AtFlags, CWD, FileType, Mode};

use super::proc::ProcPath;
use super::{At, Object};
use crate::attr::FileKind;
use crate::error::{Error, Result};

/// Makes anything but a directory or a symlink; see `mknodat(2)`.
pub fn node(at: At<'_>, kind: FileKind, mode: u32, rdev: u64) -> Result<()> {
    let kind = FileType::from_raw_mode(kind.mode_bits());
    rustix::fs::mknodat(at.dir, at.name.as_bytes(), kind, mode_of(mode), rdev)
        .map_err(|e| Error::system("mknodat", at, e))
}

/// Makes a directory; see `mkdirat(2)`.
pub fn directory(at: At<'_>, mode: u32) -> Result<()> {
    rustix::fs::mkdirat(at.dir, at.name.as_bytes(), mode_of(mode))
        .map_err(|e| Error::system("mkdirat", at, e))
}

/// Makes a symlink; see `symlinkat(2)`.
pub fn symlink(target: &[u8], at: At<'_>) -> Result<()> {
    rustix::fs::symlinkat(target, at.dir, at.name.as_bytes())
        .map_err(|e| Error::system("symlinkat", at, e))
}

/// Another name for an object; see `linkat(2)`. A symlink is linked itself.
///
/// What is held goes through `/proc/self/fd`, for `AT_EMPTY_PATH` needs a
/// capability. `ENOENT` once the last name of the object is gone.
pub fn link(object: Object<'_>, to: At<'_>) -> Result<()> {
    let name = to.name.as_bytes();
    match object {
        Object::Entry(at) => {
            rustix::fs::linkat(at.dir, at.name.as_bytes(), to.dir, name, AtFlags::empty())
        }
        Object::Held(fd) => {
            let path = ProcPath::held(fd);
            rustix::fs::linkat(CWD, path.as_c_str(), to.dir, name, AtFlags::SYMLINK_FOLLOW)
        }
    }
    .map_err(|e| Error::system("linkat", format_args!("{object} -> {to}"), e))
}

/// Removes a name of anything but a directory; see `unlinkat(2)`.
pub fn unlink(at: At<'_>) -> Result<()> {
    rustix::fs::unlinkat(at.dir, at.name.as_bytes(), AtFlags::empty())
        .map_err(|e| Error::system("unlinkat", at, e))
}

/// Removes an empty directory; see `unlinkat(2)`, `AT_REMOVEDIR`.
pub fn remove_directory(at: At<'_>) -> Result<()> {
    rustix::fs::unlinkat(at.dir, at.name.as_bytes(), AtFlags::REMOVEDIR)
        .map_err(|e| Error::system("unlinkat", at, e))
}

fn mode_of(mode: u32) -> Mode {
    Mode::from_raw_mode(mode & 0o7777)
}
