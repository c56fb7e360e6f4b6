//! An open file of a union, with the traits of `std::io`.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use crate::attr::Attr;
use crate::error::{Errno, Error, Result};
use crate::layer::SyncWhat;
use crate::union::{Handle, Union};

/// How much [`File::read_all`] reads at once, in bytes.
const CHUNK: usize = 128 * 1024;

/// An open file. Reads and writes through `std::io` move a position that
/// starts at 0; the `_at` methods do not.
#[derive(Debug)]
pub struct File {
    union: Arc<Union>,
    handle: Handle,
    position: u64,
}

impl File {
    pub(super) fn new(union: &Arc<Union>, handle: Handle) -> File {
        File {
            union: Arc::clone(union),
            handle,
            position: 0,
        }
    }

    /// Reads at `offset` bytes; short only at the end.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.union.read(&self.handle, buf, offset)
    }

    /// Writes all of `data` at `offset` bytes.
    pub fn write_all_at(&self, mut data: &[u8], mut offset: u64) -> Result<()> {
        while !data.is_empty() {
            let written = self.union.write(&self.handle, data, offset)?;
            if written == 0 {
                return Err(Error::Errno(Errno::NOSPC));
            }
            data = &data[written..];
            offset += written as u64;
        }
        Ok(())
    }

    /// Everything from the beginning to the end.
    pub fn read_all(&self) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        loop {
            let at = content.len();
            content.resize(at + CHUNK, 0);
            let read = self.read_at(&mut content[at..], at as u64)?;
            content.truncate(at + read);
            if read == 0 {
                return Ok(content);
            }
        }
    }

    /// The attributes.
    pub fn metadata(&self) -> Result<Attr> {
        self.union.attr(&self.handle.inode())
    }

    /// Sets the size in bytes.
    pub fn set_len(&self, len: u64) -> Result<()> {
        self.union.set_len(&self.handle, len)
    }

    /// Makes the file durable.
    pub fn sync_all(&self) -> Result<()> {
        self.union.sync_file(&self.handle, SyncWhat::All)
    }

    /// The handle below, for the verbs of [`Union`].
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Read for File {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.read_at(buf, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Write for File {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.union.write(&self.handle, data, self.position)?;
        self.position += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (base, by) = match to {
            SeekFrom::Start(offset) => (offset, 0),
            SeekFrom::Current(by) => (self.position, by),
            SeekFrom::End(by) => (self.metadata()?.size, by),
        };
        self.position = base
            .checked_add_signed(by)
            .ok_or(Error::Invalid("a position before the start"))?;
        Ok(self.position)
    }
}
