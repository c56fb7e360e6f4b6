//! Open files that fail on demand.

use std::any::Any;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use overlay_core::Attr;
use overlay_core::error::Result;
use overlay_core::layer::{OpenFile, SeekTo, SyncWhat};

use super::Faults;

/// At most this many bytes are copied in one step, so that the data of a
/// generated file (up to two blocks) takes several.
const COPIED_AT_ONCE: u64 = 4096;

#[derive(Debug)]
pub(super) struct FaultyFile {
    inner: Arc<dyn OpenFile>,
    faults: Arc<Faults>,
}

impl FaultyFile {
    pub(super) fn wrap(inner: Arc<dyn OpenFile>, faults: &Arc<Faults>) -> Arc<dyn OpenFile> {
        Arc::new(FaultyFile {
            inner,
            faults: Arc::clone(faults),
        })
    }
}

/// The file of the storage below.
fn below(file: &dyn OpenFile) -> &dyn OpenFile {
    let any: &dyn Any = file;
    match any.downcast_ref::<FaultyFile>() {
        Some(faulty) => &*faulty.inner,
        None => file,
    }
}

impl OpenFile for FaultyFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.faults.look("read_at")?;
        self.inner.read_at(buf, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<usize> {
        self.faults.add("write_at")?;
        self.faults.told(self.inner.write_at(data, offset))
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.faults.change("set_len")?;
        self.faults.told(self.inner.set_len(len))
    }

    fn allocate(&self, mode: u32, offset: u64, len: u64) -> Result<()> {
        self.faults.add("allocate")?;
        self.faults.told(self.inner.allocate(mode, offset, len))
    }

    fn seek(&self, offset: u64, to: SeekTo) -> Result<u64> {
        self.faults.look("seek")?;
        self.inner.seek(offset, to)
    }

    fn sync(&self, what: SyncWhat) -> Result<()> {
        self.faults.change("sync")?;
        self.faults.told(self.inner.sync(what))
    }

    fn written_back(&self) -> Result<()> {
        self.faults.change("written_back")?;
        self.faults.told(self.inner.written_back())
    }

    fn attr(&self) -> Result<Attr> {
        self.faults.look("attr of a file")?;
        self.inner.attr()
    }

    fn xattr(&self, name: &[u8]) -> Result<Option<Vec<u8>>> {
        self.faults.look("xattr of a file")?;
        self.inner.xattr(name)
    }

    fn copy_range(
        &self,
        offset: u64,
        from: &dyn OpenFile,
        from_offset: u64,
        len: u64,
    ) -> Result<u64> {
        self.faults.add("copy_range")?;
        let len = len.min(COPIED_AT_ONCE);
        let copied = self.inner.copy_range(offset, below(from), from_offset, len);
        self.faults.told(copied)
    }

    fn reflink(&self, from: &dyn OpenFile) -> Result<bool> {
        self.faults.add("reflink")?;
        self.faults.told(self.inner.reflink(below(from)))
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.fd()
    }
}
