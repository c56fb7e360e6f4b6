//! Extended attributes, of entries and of what is held, without opening
//! anything for reading: through paths below `/proc/self/fd`, or where Linux has
//! it (6.13) by `getxattrat(2)`, which takes a third of the time, and
//! `listxattrat(2)`.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::meta::last_errno;
use super::proc::ProcPath;
use super::{At, Object};
use crate::error::{Error, Result};
use crate::how::SetXattr;
use crate::name::NAME_MAX;

/// Enough for all but rare values (a capability has 24 bytes, an opaque mark
/// one, a file handle some 30), so that one call does.
const FIRST_TRY: usize = 256;

/// `XATTR_SIZE_MAX` and `XATTR_LIST_MAX`, both 64 KiB.
const MOST: usize = 64 * 1024;

/// The value; see `getxattr(2)`. `None` if unset or if there is no such
/// namespace here.
pub fn get(object: Object<'_>, name: &[u8]) -> Result<Option<Vec<u8>>> {
    let path = ProcPath::of(object);
    let path = path.as_c_str();
    let mut first = [0_u8; FIRST_TRY];
    let call = |buf: &mut [u8]| match object {
        Object::Entry(_) => rustix::fs::lgetxattr(path, name, buf),
        Object::Held(_) => rustix::fs::getxattr(path, name, buf),
    };
    match call(&mut first) {
        Ok(len) => Ok(Some(first[..len].to_vec())),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(Errno::RANGE) => match with_most_room(call) {
            Ok(value) => Ok(Some(value)),
            Err(Errno::NODATA) => Ok(None),
            Err(errno) => Err(Error::system("getxattr", object, errno)),
        },
        Err(errno) => Err(Error::system("getxattr", object, errno)),
    }
}

/// The number of `getxattrat(2)`: the same on all machines since there is one
/// table for new calls (`scripts/syscall.tbl`). `libc` does not have it yet.
const SYS_GETXATTRAT: libc::c_long = 464;

/// `struct xattr_args` of `linux/xattr.h`.
#[repr(C, align(8))]
struct XattrArgs {
    value: u64,
    size: u32,
    flags: u32,
}

/// As [`get`] of an entry, by `getxattrat(2)`; `ENOSYS` before Linux 6.13.
pub fn get_entry(at: At<'_>, name: &[u8]) -> Result<Option<Vec<u8>>> {
    get_by_path(at.dir, at.name.as_bytes(), name, Object::Entry(at))
}

/// As [`get`] of a held directory, which may be an `O_PATH` descriptor, by
/// `getxattrat(2)`; `ENOSYS` before Linux 6.13.
pub fn get_directory(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Vec<u8>>> {
    get_by_path(dir, b".", name, Object::Held(dir))
}

fn get_by_path(
    dir: BorrowedFd<'_>,
    path: &[u8],
    name: &[u8],
    object: Object<'_>,
) -> Result<Option<Vec<u8>>> {
    let (mut path_room, mut name_room) = ([0_u8; NAME_MAX + 1], [0_u8; NAME_MAX + 1]);
    let (Some(path), Some(name)) = (
        terminated(&mut path_room, path),
        terminated(&mut name_room, name),
    ) else {
        return Err(Error::system("getxattrat", object, Errno::RANGE));
    };
    let call = |buf: &mut [u8]| {
        let mut args = XattrArgs {
            value: buf.as_mut_ptr() as u64,
            size: u32::try_from(buf.len()).unwrap_or(u32::MAX),
            flags: 0,
        };
        // SAFETY: both strings are NUL-terminated and live until the call
        // returns, as do `args`, whose true size is given, the borrow of the
        // descriptor, and `buf`, of which the kernel writes at most `size`
        // bytes and which nothing else can reach.
        let answer = unsafe {
            libc::syscall(
                SYS_GETXATTRAT,
                dir.as_raw_fd(),
                path.as_ptr(),
                libc::AT_SYMLINK_NOFOLLOW,
                name.as_ptr(),
                &raw mut args,
                size_of::<XattrArgs>(),
            )
        };
        usize::try_from(answer).map_err(|_| last_errno())
    };
    let mut first = [0_u8; FIRST_TRY];
    let outcome = match call(&mut first) {
        Ok(len) => Ok(first[..len].to_vec()),
        Err(Errno::RANGE) => with_most_room(call),
        Err(errno) => Err(errno),
    };
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(Error::system("getxattrat", object, errno)),
    }
}

/// `bytes` with a NUL; `None` if they do not fit or have one already.
fn terminated<'a>(room: &'a mut [u8; NAME_MAX + 1], bytes: &[u8]) -> Option<&'a CStr> {
    room.get_mut(..bytes.len())?.copy_from_slice(bytes);
    CStr::from_bytes_with_nul(room.get(..=bytes.len())?).ok()
}

/// The number of `listxattrat(2)`, as that of `getxattrat(2)`.
const SYS_LISTXATTRAT: libc::c_long = 465;

/// As [`list`] of an entry, by `listxattrat(2)`; `ENOSYS` before Linux 6.13.
pub fn list_entry(at: At<'_>) -> Result<Vec<Vec<u8>>> {
    list_by_path(at.dir, at.name.as_bytes(), Object::Entry(at))
}

/// As [`list`] of a held directory, which may be an `O_PATH` descriptor, by
/// `listxattrat(2)`; `ENOSYS` before Linux 6.13.
pub fn list_directory(dir: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>> {
    list_by_path(dir, b".", Object::Held(dir))
}

fn list_by_path(dir: BorrowedFd<'_>, path: &[u8], object: Object<'_>) -> Result<Vec<Vec<u8>>> {
    let mut room = [0_u8; NAME_MAX + 1];
    let path = terminated(&mut room, path)
        .ok_or_else(|| Error::system("listxattrat", object, Errno::RANGE))?;
    let call = |buf: &mut [u8]| {
        // SAFETY: the path is NUL-terminated and lives until the call returns,
        // as do the borrow of the descriptor and `buf`, whose true size is
        // given and which nothing else can reach.
        let answer = unsafe {
            libc::syscall(
                SYS_LISTXATTRAT,
                dir.as_raw_fd(),
                path.as_ptr(),
                libc::AT_SYMLINK_NOFOLLOW,
                buf.as_mut_ptr(),
                buf.len(),
            )
        };
        usize::try_from(answer).map_err(|_| last_errno())
    };
    names("listxattrat", object, call)
}

/// The names, as the kernel lists them; see `listxattr(2)`. Empty where the
/// filesystem has none.
pub fn list(object: Object<'_>) -> Result<Vec<Vec<u8>>> {
    let path = ProcPath::of(object);
    let path = path.as_c_str();
    let call = |buf: &mut [u8]| match object {
        Object::Entry(_) => rustix::fs::llistxattr(path, buf),
        Object::Held(_) => rustix::fs::listxattr(path, buf),
    };
    names("listxattr", object, call)
}

/// Makes a call that lists names, and again if it needs more room.
fn names(
    what: &'static str,
    object: Object<'_>,
    call: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
) -> Result<Vec<Vec<u8>>> {
    let mut first = [0_u8; FIRST_TRY];
    let long;
    let list = match call(&mut first) {
        Ok(len) => first.get(..len).unwrap_or_default(),
        Err(Errno::OPNOTSUPP) => &[],
        Err(Errno::RANGE) => {
            long = with_most_room(call).map_err(|e| Error::system(what, object, e))?;
            &long
        }
        Err(errno) => return Err(Error::system(what, object, errno)),
    };
    let names = list
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    Ok(names.map(<[u8]>::to_vec).collect())
}

/// Sets a value; see `setxattr(2)`.
pub fn set(object: Object<'_>, name: &[u8], value: &[u8], how: SetXattr) -> Result<()> {
    let path = ProcPath::of(object);
    let path = path.as_c_str();
    let flags = match how {
        SetXattr::Any => XattrFlags::empty(),
        SetXattr::Create => XattrFlags::CREATE,
        SetXattr::Replace => XattrFlags::REPLACE,
    };
    match object {
        Object::Entry(_) => rustix::fs::lsetxattr(path, name, value, flags),
        Object::Held(_) => rustix::fs::setxattr(path, name, value, flags),
    }
    .map_err(|errno| failed("setxattr", object, name, errno))
}

/// Removes an attribute; see `removexattr(2)`. `ENODATA` if it is not set.
pub fn remove(object: Object<'_>, name: &[u8]) -> Result<()> {
    let path = ProcPath::of(object);
    let path = path.as_c_str();
    match object {
        Object::Entry(_) => rustix::fs::lremovexattr(path, name),
        Object::Held(_) => rustix::fs::removexattr(path, name),
    }
    .map_err(|errno| failed("removexattr", object, name, errno))
}

fn failed(call: &'static str, object: Object<'_>, name: &[u8], errno: Errno) -> Error {
    match errno {
        Errno::NODATA => Error::NoAttribute,
        errno => Error::system(
            call,
            format_args!("{object}, {}", name.escape_ascii()),
            errno,
        ),
    }
}

/// Asks again with room for the longest value or list that Linux has.
fn with_most_room(
    call: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
) -> rustix::io::Result<Vec<u8>> {
    let mut buf = vec![0; MOST];
    let len = call(&mut buf)?;
    buf.truncate(len);
    buf.shrink_to_fit();
    Ok(buf)
}
