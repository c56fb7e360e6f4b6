//! `flock(2)`.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::error::{Error, Result};

/// Takes the exclusive lock until the last copy of `fd` is closed; `false` if
/// another open file has it. Takes no `O_PATH` descriptor.
pub fn try_exclusive(fd: BorrowedFd<'_>) -> Result<bool> {
    match rustix::fs::flock(fd, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(e) => Err(Error::system(
            "flock",
            format_args!("fd {}", fd.as_raw_fd()),
            e,
        )),
    }
}
