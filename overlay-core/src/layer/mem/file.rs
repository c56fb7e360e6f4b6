//! An open regular file in memory.

use std::any::Any;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rustix::io::Errno;

use super::node::{MemNode, set_len};
use super::pages::MAX;
use super::tree::PAST_THE_END;
use crate::attr::Attr;
use crate::error::{Error, Result};
use crate::layer::{Access, Node, OpenFile, SeekTo, SyncWhat};

/// Bytes that a copy moves at once.
const CHUNK: usize = 64 * 1024;

/// An open regular file in memory.
#[derive(Debug)]
pub(super) struct MemFile {
    node: Arc<MemNode>,
    access: Access,
}

impl MemFile {
    pub(super) fn new(node: Arc<MemNode>, access: Access) -> MemFile {
        MemFile { node, access }
    }

    fn writable(&self) -> Result<()> {
        match self.access {
            Access::Write => Ok(()),
            Access::Read => Err(Error::Errno(Errno::BADF)),
        }
    }
}

impl OpenFile for MemFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let tree = self.node.shared.tree.read();
        Ok(tree.file(self.node.ino)?.read(offset, buf))
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<usize> {
        self.writable()?;
        check_end(offset, data.len() as u64)?;
        let mut tree = self.node.shared.tree.write();
        tree.file_mut(self.node.ino)?.write(offset, data);
        if !data.is_empty() {
            tree.get_mut(self.node.ino)?.modified();
        }
        Ok(data.len())
    }

    fn set_len(&self, len: u64) -> Result<()> {
        match self.access {
            Access::Write => set_len(&mut self.node.shared.tree.write(), self.node.ino, len),
            Access::Read => Err(Error::Invalid("not open for writing")),
        }
    }

    fn allocate(&self, mode: u32, offset: u64, len: u64) -> Result<()> {
        const KEEP: u32 = libc::FALLOC_FL_KEEP_SIZE as u32;
        const PUNCH: u32 = libc::FALLOC_FL_PUNCH_HOLE as u32;
        const ZERO: u32 = libc::FALLOC_FL_ZERO_RANGE as u32;
        self.writable()?;
        if len == 0 || offset > MAX || len > MAX {
            return Err(Error::Invalid("a range that cannot be"));
        }
        let end = check_end(offset, len)?;
        let mut tree = self.node.shared.tree.write();
        let pages = tree.file_mut(self.node.ino)?;
        // Memory is never short in advance: to allocate is to set the size.
        let (zero, grow) = match mode & !KEEP {
            0 => (false, mode & KEEP == 0),
            PUNCH if mode & KEEP != 0 => (true, false),
            ZERO => (true, mode & KEEP == 0),
            _ => return Err(Error::Unsupported("this mode of fallocate")),
        };
        if zero {
            pages.punch(offset, len);
        }
        if grow && end > pages.len() {
            pages.set_len(end);
        }
        tree.get_mut(self.node.ino)?.modified();
        Ok(())
    }

    fn seek(&self, offset: u64, to: SeekTo) -> Result<u64> {
        let tree = self.node.shared.tree.read();
        let found = tree.file(self.node.ino)?.seek(offset, to);
        found.ok_or(PAST_THE_END)
    }

    fn sync(&self, _what: SyncWhat) -> Result<()> {
        Ok(())
    }

    fn written_back(&self) -> Result<()> {
        Ok(())
    }

    fn attr(&self) -> Result<Attr> {
        self.node.attr()
    }

    fn xattr(&self, name: &[u8]) -> Result<Option<Vec<u8>>> {
        self.node.xattr(name)
    }

    fn copy_range(
        &self,
        mut offset: u64,
        from: &dyn OpenFile,
        mut from_offset: u64,
        len: u64,
    ) -> Result<u64> {
        self.writable()?;
        let any: &dyn Any = from;
        if let Some(from) = any.downcast_ref::<MemFile>()
            && (from.node.ino, from.node.shared.dev) == (self.node.ino, self.node.shared.dev)
            && offset.abs_diff(from_offset) < len
        {
            return Err(Error::Invalid("the ranges overlap"));
        }
        let mut buf = vec![0; CHUNK];
        let mut copied = 0;
        while copied < len {
            let want = usize::try_from(len - copied).map_or(CHUNK, |left| left.min(CHUNK));
            let got = from.read_at(&mut buf[..want], from_offset)?;
            if got == 0 {
                break;
            }
            self.write_at(&buf[..got], offset)?;
            copied += got as u64;
            offset += got as u64;
            from_offset += got as u64;
        }
        Ok(copied)
    }

    fn reflink(&self, _from: &dyn OpenFile) -> Result<bool> {
        Ok(false)
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

fn check_end(offset: u64, len: u64) -> Result<u64> {
    offset
        .checked_add(len)
        .filter(|end| *end <= MAX)
        .ok_or(Error::Errno(Errno::FBIG))
}
