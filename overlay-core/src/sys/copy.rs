//! Data from one open file to another within the kernel.

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::error::{Error, Result};

/// Copies up to `len` bytes; see `copy_file_range(2)`. Zero means the end.
pub fn range(
    from: BorrowedFd<'_>,
    mut from_offset: u64,
    to: BorrowedFd<'_>,
    mut offset: u64,
    len: usize,
) -> Result<usize> {
    rustix::fs::copy_file_range(from, Some(&mut from_offset), to, Some(&mut offset), len)
        .map_err(|e| Error::system("copy_file_range", pair(from, to), e))
}

/// Shares all data of `from`; see `ioctl_ficlone(2)`.
pub fn reflink(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    rustix::fs::ioctl_ficlone(to, from)
        .map_err(|e| Error::system("ioctl(FICLONE)", pair(from, to), e))
}

fn pair(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> String {
    format!("fd {} -> fd {}", from.as_raw_fd(), to.as_raw_fd())
}
