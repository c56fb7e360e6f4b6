//! What was written becomes durable.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::error::{Errno, Error, Result};

/// `fsync(2)`
pub fn all(fd: BorrowedFd<'_>) -> Result<()> {
    rustix::fs::fsync(fd)
        .map_err(|e| Error::system("fsync", format_args!("fd {}", fd.as_raw_fd()), e))
}

/// `fdatasync(2)`
pub fn data(fd: BorrowedFd<'_>) -> Result<()> {
    rustix::fs::fdatasync(fd)
        .map_err(|e| Error::system("fdatasync", format_args!("fd {}", fd.as_raw_fd()), e))
}

/// `syncfs(2)`; takes no `O_PATH` descriptor.
pub fn filesystem(fd: BorrowedFd<'_>) -> Result<()> {
    rustix::fs::syncfs(fd)
        .map_err(|e| Error::system("syncfs", format_args!("fd {}", fd.as_raw_fd()), e))
}

/// Whether the kernel failed to write back data of a regular file since it was
/// opened or last asked; see `sync_file_range(2)`.
///
/// Asked about a page that no file reaches it starts no writing and waits for
/// none, but reports such an error as `fsync(2)` would (`mm/filemap.c`,
/// `file_check_and_advance_wb_err`). Linux has it from 4.13.
pub fn writeback_error(fd: BorrowedFd<'_>) -> Result<()> {
    /// Bytes; within what every kernel takes for an offset.
    const BEYOND: i64 = (1 << 62) - 1;
    // SAFETY: no pointers; `fd` is open for the duration of the call.
    let done = unsafe {
        libc::sync_file_range(fd.as_raw_fd(), BEYOND, 1, libc::SYNC_FILE_RANGE_WAIT_BEFORE)
    };
    match done {
        0 => Ok(()),
        _ => {
            let errno = Errno::from_io_error(&std::io::Error::last_os_error());
            let subject = format_args!("fd {}", fd.as_raw_fd());
            Err(Error::system(
                "sync_file_range",
                subject,
                errno.unwrap_or(Errno::IO),
            ))
        }
    }
}
