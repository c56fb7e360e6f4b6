//! Open files that show other owners than they have.

use std::any::Any;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::Attribute;
use crate::attr::{Attr, FileKind};
use crate::error::Result;
use crate::layer::{OpenFile, SeekTo, SyncWhat};

/// An open file of the storage below, whose owner stands in its attribute.
#[derive(Debug)]
pub(super) struct OwnedFile {
    inner: Arc<dyn OpenFile>,
    attribute: Attribute,
}

impl OwnedFile {
    pub(super) fn wrap(inner: Arc<dyn OpenFile>, attribute: Attribute) -> Arc<dyn OpenFile> {
        Arc::new(OwnedFile { inner, attribute })
    }
}

/// The file of the storage below: it may know its own kind only.
fn below(file: &dyn OpenFile) -> &dyn OpenFile {
    let any: &dyn Any = file;
    match any.downcast_ref::<OwnedFile>() {
        Some(owned) => &*owned.inner,
        None => file,
    }
}

impl OpenFile for OwnedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.inner.read_at(buf, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<usize> {
        self.inner.write_at(data, offset)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.inner.set_len(len)
    }

    fn allocate(&self, mode: u32, offset: u64, len: u64) -> Result<()> {
        self.inner.allocate(mode, offset, len)
    }

    fn seek(&self, offset: u64, to: SeekTo) -> Result<u64> {
        self.inner.seek(offset, to)
    }

    fn sync(&self, what: SyncWhat) -> Result<()> {
        self.inner.sync(what)
    }

    fn written_back(&self) -> Result<()> {
        self.inner.written_back()
    }

    fn attr(&self) -> Result<Attr> {
        let value = self.inner.xattr(self.attribute.name())?;
        self.attribute.shown(value.as_deref(), self.inner.attr()?)
    }

    fn xattr(&self, name: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.attribute.stored_name(FileKind::Regular, name) {
            Ok(stored) => self.inner.xattr(&stored),
            // Nothing can have been stored under a name that cannot be.
            Err(_) => Ok(None),
        }
    }

    fn copy_range(
        &self,
        offset: u64,
        from: &dyn OpenFile,
        from_offset: u64,
        len: u64,
    ) -> Result<u64> {
        self.inner.copy_range(offset, below(from), from_offset, len)
    }

    fn reflink(&self, from: &dyn OpenFile) -> Result<bool> {
        self.inner.reflink(below(from))
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.fd()
    }

    fn descriptor_to_lend(&self) -> Option<BorrowedFd<'_>> {
        self.inner.descriptor_to_lend()
    }
}
