//! System calls, one family a file. No policy; the only place with `unsafe`.
//!
//! A function here is one system call with types on it: it checks nothing,
//! retries nothing but `EINTR`, and names itself and its subject when it fails.
//!
//! Two words run through all of it. An [`At`] is one name in a held directory,
//! never a path. An [`Object`] is what a call works on: such an entry (whose
//! last symlink is never followed), or something held by a descriptor, which
//! may be an `O_PATH` one.

use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::AtFlags;
use rustix::io::Errno;

use crate::name::Name;

pub mod copy;
pub mod dir;
pub mod fanotify;
pub mod handle;
pub mod limit;
pub mod lock;
pub mod make;
pub mod meta;
pub mod mount;
pub mod open;
pub mod proc;
pub mod rename;
pub mod space;
pub mod stat;
pub mod sync;
pub mod xattr;

/// One name in a held directory.
#[derive(Debug, Clone, Copy)]
pub struct At<'a> {
    /// The directory.
    pub dir: BorrowedFd<'a>,
    /// The name in it.
    pub name: &'a Name,
}

impl<'a> At<'a> {
    /// `name` in `dir`.
    pub fn new(dir: BorrowedFd<'a>, name: &'a Name) -> At<'a> {
        At { dir, name }
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dir {}/{:?}", self.dir.as_raw_fd(), self.name)
    }
}

/// What a system call works on. A symlink is never followed.
#[derive(Debug, Clone, Copy)]
pub enum Object<'a> {
    /// Found by its name.
    Entry(At<'a>),
    /// Held by a descriptor.
    Held(BorrowedFd<'a>),
}

impl<'a> Object<'a> {
    /// As the `*at` calls take it that know `AT_EMPTY_PATH`.
    fn parts(self) -> (BorrowedFd<'a>, &'a [u8], AtFlags) {
        match self {
            Object::Entry(at) => (at.dir, at.name.as_bytes(), AtFlags::SYMLINK_NOFOLLOW),
            Object::Held(fd) => (fd, b"", AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW),
        }
    }
}

impl fmt::Display for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Object::Entry(at) => at.fmt(f),
            Object::Held(fd) => write!(f, "fd {}", fd.as_raw_fd()),
        }
    }
}

/// What the last call of libc answered.
fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
