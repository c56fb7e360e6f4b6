//! Opening: `openat2(2)` one component at a time, and opening again what is
//! held.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

use super::At;
use super::proc::ProcPath;
use crate::error::{Error, Result};

/// Opens one entry; see `openat2(2)`.
///
/// A symlink is never followed: it fails with `ELOOP`, or is held itself where
/// `flags` has `O_PATH` and `O_NOFOLLOW`. `O_CLOEXEC` is added.
pub fn entry(at: At<'_>, flags: OFlags) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::io::retry_on_intr(|| {
        rustix::fs::openat2(at.dir, at.name.as_bytes(), flags, Mode::empty(), resolve)
    })
    .map_err(|e| Error::system("openat2", at, e))
}

/// Opens a held directory itself (`"."`) in another way, e.g. for listing.
pub fn directory(dir: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC | OFlags::DIRECTORY;
    rustix::fs::openat(dir, c".", flags, Mode::empty())
        .map_err(|e| Error::system("openat", format_args!("dir {}/.", dir.as_raw_fd()), e))
}

/// Opens what `fd` holds in another way, through `/proc/self/fd`.
pub fn again(fd: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd> {
    let path = ProcPath::held(fd);
    rustix::fs::openat(CWD, path.as_c_str(), flags | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Error::system("openat", format_args!("fd {}", fd.as_raw_fd()), e))
}

/// Opens a path of the host, following symlinks: only for what a person names.
pub fn path(path: &Path, flags: OFlags) -> Result<OwnedFd> {
    rustix::fs::openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Error::system("openat", path.display(), e))
}

/// The directory above a held one. For checks at mount, not for walking.
pub fn parent(dir: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(dir, c"..", flags, Mode::empty())
        .map_err(|e| Error::system("openat", format_args!("dir {}/..", dir.as_raw_fd()), e))
}
