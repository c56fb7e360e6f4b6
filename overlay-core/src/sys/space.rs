//! Bytes of an open file: reading and writing at an offset, size, allocation,
//! data and holes.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::how::SeekTo;

/// `pread(2)`, once more after a signal.
pub fn read(fd: BorrowedFd<'_>, buf: &mut [u8], offset: u64) -> Result<usize> {
    rustix::io::retry_on_intr(|| rustix::io::pread(fd, &mut *buf, offset))
        .map_err(|e| failed("pread", fd, e))
}

/// `pwrite(2)`, once more after a signal.
pub fn write(fd: BorrowedFd<'_>, data: &[u8], offset: u64) -> Result<usize> {
    rustix::io::retry_on_intr(|| rustix::io::pwrite(fd, data, offset))
        .map_err(|e| failed("pwrite", fd, e))
}

/// `ftruncate(2)`
pub fn set_len(fd: BorrowedFd<'_>, len: u64) -> Result<()> {
    rustix::io::retry_on_intr(|| rustix::fs::ftruncate(fd, len))
        .map_err(|e| failed("ftruncate", fd, e))
}

/// `fallocate(2)` with its mode bits as they are.
pub fn allocate(fd: BorrowedFd<'_>, mode: u32, offset: u64, len: u64) -> Result<()> {
    let mode = FallocateFlags::from_bits_retain(mode);
    rustix::io::retry_on_intr(|| rustix::fs::fallocate(fd, mode, offset, len))
        .map_err(|e| failed("fallocate", fd, e))
}

/// `lseek(2)` to the next data or hole; moves the descriptor's own position,
/// which nothing else here uses.
pub fn seek(fd: BorrowedFd<'_>, offset: u64, to: SeekTo) -> Result<u64> {
    let to = match to {
        SeekTo::Data => SeekFrom::Data(offset),
        SeekTo::Hole => SeekFrom::Hole(offset),
    };
    match rustix::fs::seek(fd, to) {
        Ok(found) => Ok(found),
        // How every search for the last data ends: not worth a sentence.
        Err(Errno::NXIO) => Err(Error::Errno(Errno::NXIO)),
        Err(errno) => Err(failed("lseek", fd, errno)),
    }
}

fn failed(call: &'static str, fd: BorrowedFd<'_>, errno: Errno) -> Error {
    Error::system(call, format_args!("fd {}", fd.as_raw_fd()), errno)
}
