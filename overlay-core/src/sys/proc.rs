//! Paths below `/proc/self/fd`: the way to the calls that take only a path.
//!
//! `/proc/self/fd/N` is a magic link that leads to the very object that `N`
//! holds, symlinks and removed objects included; `/proc/self/fd/N/name` is one
//! step from a held directory, and the `l...` calls do not follow the last one.

use std::ffi::CStr;
use std::fs;
use std::io::Write;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{AtFlags, CWD};
use rustix::io::Errno;

use super::{At, Object};
use crate::attr::Owner;
use crate::error::{Error, Result};
use crate::name::NAME_MAX;

/// `"/proc/self/fd/"`, ten digits, a slash, a name, a NUL.
const LONGEST: usize = 14 + 10 + 1 + NAME_MAX + 1;

/// A path below `/proc/self/fd`, on the stack.
#[derive(Debug)]
pub struct ProcPath {
    bytes: [u8; LONGEST],
}

impl ProcPath {
    /// The path of what `fd` holds; to be followed.
    pub fn held(fd: BorrowedFd<'_>) -> ProcPath {
        ProcPath::build(fd, None)
    }

    /// The path of an entry; not to be followed.
    pub fn entry(at: At<'_>) -> ProcPath {
        ProcPath::build(at.dir, Some(at.name.as_bytes()))
    }

    /// The path of either.
    pub fn of(object: Object<'_>) -> ProcPath {
        match object {
            Object::Entry(at) => ProcPath::entry(at),
            Object::Held(fd) => ProcPath::held(fd),
        }
    }

    fn build(fd: BorrowedFd<'_>, name: Option<&[u8]>) -> ProcPath {
        let mut bytes = [0; LONGEST];
        let mut rest = &mut bytes[..LONGEST - 1];
        let wrote = write!(rest, "/proc/self/fd/{}", fd.as_raw_fd()).and_then(|()| match name {
            None => Ok(()),
            Some(name) => rest.write_all(b"/").and_then(|()| rest.write_all(name)),
        });
        // LONGEST counts the longest of each part, and a name's length is checked.
        debug_assert!(wrote.is_ok());
        ProcPath { bytes }
    }

    /// As C takes it.
    pub fn as_c_str(&self) -> &CStr {
        // The last byte is never written to, so there is a NUL; the parts have none.
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }
}

/// Whether `/proc/self/fd` leads where it must; see `proc(5)`.
pub fn works(fd: BorrowedFd<'_>) -> Result<bool> {
    let path = ProcPath::held(fd);
    let through = match rustix::fs::statat(CWD, path.as_c_str(), AtFlags::empty()) {
        Ok(stat) => stat,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
        Err(errno) => return Err(Error::system("fstatat", "/proc/self/fd", errno)),
    };
    let direct = rustix::fs::fstat(fd).map_err(|e| Error::system("fstat", "a root", e))?;
    Ok((through.st_dev, through.st_ino) == (direct.st_dev, direct.st_ino))
}

/// Whether this process is in the first user namespace, which maps all ids to
/// themselves; see `user_namespaces(7)`. One that cannot tell is not.
pub fn in_first_user_namespace() -> bool {
    ["uid_map", "gid_map"].into_iter().all(|map| {
        fs::read_to_string(format!("/proc/self/{map}"))
            .is_ok_and(|map| map.split_whitespace().eq(["0", "0", "4294967295"]))
    })
}

/// The ids that the kernel shows in place of those that have none in this
/// process' user namespace; see `proc_sys_kernel(5)`.
pub fn overflow_owner() -> Owner {
    let id = |file: &str| {
        let text = fs::read_to_string(format!("/proc/sys/kernel/{file}")).ok()?;
        text.trim().parse().ok()
    };
    Owner {
        uid: id("overflowuid").unwrap_or(OVERFLOW_ID),
        gid: id("overflowgid").unwrap_or(OVERFLOW_ID),
    }
}

/// What Linux begins with.
const OVERFLOW_ID: u32 = 65534;

/// The file mode creation mask of this process, which `umask(2)` cannot tell
/// without changing it. `None` where `/proc/self/status` lacks it (Linux 4.7).
pub fn umask() -> Option<u32> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(line.trim(), 8).ok()
}
