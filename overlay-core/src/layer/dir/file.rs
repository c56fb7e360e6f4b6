//! An open regular file of the host.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use crate::attr::Attr;
use crate::error::Result;
use crate::layer::{OpenFile, SeekTo, SyncWhat};
use crate::sys::{self, Object};

/// Bytes that a copy through memory moves at once.
const CHUNK: usize = 128 * 1024;

/// What one `copy_file_range` may be asked for: the kernel itself stops a
/// little below 2 GiB.
const MOST_AT_ONCE: u64 = 1 << 30;

/// An open regular file of the host.
#[derive(Debug)]
pub(super) struct DirFile {
    fd: OwnedFd,
    tracks: Tracks,
}

/// What is left of reading a file by other descriptors than its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tracks {
    /// Nothing that anybody minds.
    None,
    /// The access time, which is to stay.
    AccessTime,
}

impl DirFile {
    pub(super) fn new(fd: OwnedFd, tracks: Tracks) -> DirFile {
        DirFile { fd, tracks }
    }

    /// The same bytes by way of memory: for files that the kernel cannot copy
    /// between, and files of another backend.
    fn copy_by_hand(
        &self,
        mut offset: u64,
        from: &dyn OpenFile,
        mut from_offset: u64,
        len: u64,
    ) -> Result<u64> {
        let mut buf = vec![0; CHUNK];
        let mut copied = 0;
        while copied < len {
            let want = usize::try_from(len - copied).map_or(CHUNK, |left| left.min(CHUNK));
            let got = from.read_at(&mut buf[..want], from_offset)?;
            if got == 0 {
                break;
            }
            let wrote = self.write_at(&buf[..got], offset)? as u64;
            copied += wrote;
            offset += wrote;
            from_offset += wrote;
            if wrote < got as u64 {
                break;
            }
        }
        Ok(copied)
    }
}

impl OpenFile for DirFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            let got = sys::space::read(self.fd.as_fd(), &mut buf[done..], offset + done as u64)?;
            if got == 0 {
                break;
            }
            done += got;
        }
        Ok(done)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<usize> {
        let mut done = 0;
        while done < data.len() {
            match sys::space::write(self.fd.as_fd(), &data[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(wrote) => done += wrote,
                // What is written is written; the next call meets the error.
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        sys::space::set_len(self.fd.as_fd(), len)
    }

    fn allocate(&self, mode: u32, offset: u64, len: u64) -> Result<()> {
        sys::space::allocate(self.fd.as_fd(), mode, offset, len)
    }

    fn seek(&self, offset: u64, to: SeekTo) -> Result<u64> {
        sys::space::seek(self.fd.as_fd(), offset, to)
    }

    fn sync(&self, what: SyncWhat) -> Result<()> {
        match what {
            SyncWhat::Data => sys::sync::data(self.fd.as_fd()),
            SyncWhat::All => sys::sync::all(self.fd.as_fd()),
        }
    }

    fn written_back(&self) -> Result<()> {
        sys::sync::writeback_error(self.fd.as_fd())
    }

    fn attr(&self) -> Result<Attr> {
        sys::stat::attr(Object::Held(self.fd.as_fd()))
    }

    fn xattr(&self, name: &[u8]) -> Result<Option<Vec<u8>>> {
        sys::xattr::get(Object::Held(self.fd.as_fd()), name)
    }

    fn copy_range(
        &self,
        offset: u64,
        from: &dyn OpenFile,
        from_offset: u64,
        len: u64,
    ) -> Result<u64> {
        let Some(from_fd) = from.fd() else {
            return self.copy_by_hand(offset, from, from_offset, len);
        };
        let at_once = len.min(MOST_AT_ONCE) as usize;
        match sys::copy::range(from_fd, from_offset, self.fd.as_fd(), offset, at_once) {
            Ok(copied) => Ok(copied as u64),
            Err(error) => match error.errno() {
                // Within one file it means that the ranges overlap.
                Errno::INVAL if same_file(from, self)? => Err(error),
                Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP => {
                    self.copy_by_hand(offset, from, from_offset, len)
                }
                _ => Err(error),
            },
        }
    }

    fn reflink(&self, from: &dyn OpenFile) -> Result<bool> {
        let Some(from) = from.fd() else {
            return Ok(false);
        };
        match sys::copy::reflink(from, self.fd.as_fd()) {
            Ok(()) => Ok(true),
            Err(error) => match error.errno() {
                Errno::OPNOTSUPP | Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::NOTTY => {
                    Ok(false)
                }
                _ => Err(error),
            },
        }
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd.as_fd())
    }

    fn descriptor_to_lend(&self) -> Option<BorrowedFd<'_>> {
        match self.tracks {
            Tracks::None => self.fd(),
            Tracks::AccessTime => None,
        }
    }
}

fn same_file(a: &dyn OpenFile, b: &dyn OpenFile) -> Result<bool> {
    let (a, b) = (a.attr()?, b.attr()?);
    Ok((a.dev, a.ino) == (b.dev, b.ino))
}
