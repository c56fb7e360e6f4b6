//! What was written becomes durable.

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::error::{Error, Result};

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
