//! System calls that no crate has in a safe form, as in `overlay_core`: one a
//! function, without policy; the only place with `unsafe`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Marks all descriptors from the number `first` on as closed in a program that
/// this process starts; see `close_range(2)`. `EINVAL` before Linux 5.11,
/// `ENOSYS` before 5.9.
pub(crate) fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: no pointers; whoever owns a descriptor still owns it afterwards,
    // for none is closed in this process.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    match answer {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `ioctl(2)` with a buffer that is read and written; its size is in `request`.
pub(crate) fn ioctl(fd: BorrowedFd<'_>, request: u32, bytes: &mut [u8]) -> io::Result<()> {
    let room = (request >> 16 & 0x3fff) as usize;
    if bytes.len() < room {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: the kernel reads and writes as many bytes as the number of the
    // request says, and there are as many.
    let answer = unsafe { libc::ioctl(fd.as_raw_fd(), request as libc::Ioctl, bytes.as_mut_ptr()) };
    match answer {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
