//! Open regular files. A handle that was opened before a copy-up reads the
//! copy after it: databases that keep a reader open depend on that.
//!
//! Takes no lock but the handle's own, which is a leaf.

use std::sync::Arc;

use parking_lot::RwLock;

use super::Union;
use super::copy_up::{Cut, DataNeeded};
use super::inode::Inode;
use super::opened::{Opened, Use};
use crate::attr::{Attr, FileKind};
use crate::error::{Errno, Error, Result};
use crate::layer::{Access, OpenFile, SeekTo};
use crate::stack::BranchId;

/// How to open a regular file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenOptions {
    /// For writing (and reading): copies the file up.
    pub write: bool,
    /// Cut to size zero: copies no data up.
    pub truncate: bool,
    /// Nothing will be written but at the end, wherever that is (`O_APPEND`):
    /// the only way to open an append-only file for writing.
    pub append: bool,
}

/// An open regular file. Opened before a copy-up, it reads the copy after it.
#[derive(Debug)]
pub struct Handle {
    opened: Arc<Opened>,
    writes: Writes,
    source: RwLock<Source>,
}

/// What may be written through a handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writes {
    Nothing,
    /// What follows the end: of an append-only file.
    TheEnd,
    Everything,
}

#[derive(Debug)]
struct Source {
    file: Arc<dyn OpenFile>,
    /// The writable branch that `file` lies on, if it does.
    copy: Option<BranchId>,
}

impl Handle {
    /// For `file`, which lies on the writable branch `copy`, if it does: its
    /// inode may be on another one by now, and then that is opened at the first
    /// use.
    pub(super) fn new(
        opened: Arc<Opened>,
        file: Arc<dyn OpenFile>,
        copy: Option<BranchId>,
        writes: Writes,
    ) -> Handle {
        Handle {
            opened,
            writes,
            source: RwLock::new(Source { file, copy }),
        }
    }

    /// The inode it was opened on.
    pub fn inode(&self) -> Arc<Inode> {
        self.opened.inode()
    }

    /// What is open, as the union counts it.
    pub(super) fn opened(&self) -> &Opened {
        &self.opened
    }

    /// The file that shows now: the copy if there is one.
    pub(super) fn file(&self) -> Result<Arc<dyn OpenFile>> {
        let inode = self.inode();
        let now = inode.home_of_copied_data();
        {
            let source = self.source.read();
            if source.copy == now {
                return Ok(Arc::clone(&source.file));
            }
        }
        let mut source = self.source.write();
        if source.copy != now {
            let access = match self.writes {
                Writes::Nothing => Access::Read,
                // The original was moved, and this is where it is now.
                Writes::TheEnd | Writes::Everything => Access::Write,
            };
            source.file = inode.node().open(access)?;
            source.copy = now;
        }
        Ok(Arc::clone(&source.file))
    }

    /// For writing from `offset` on.
    fn file_for_writing(&self, offset: u64) -> Result<Arc<dyn OpenFile>> {
        match self.writes {
            Writes::Nothing => Err(Error::Errno(Errno::BADF)),
            Writes::Everything => self.file(),
            Writes::TheEnd => {
                let file = self.file()?;
                match offset >= file.attr()?.size {
                    true => Ok(file),
                    false => Err(APPEND_ONLY),
                }
            }
        }
    }

    /// For changing what is there.
    fn file_for_changing(&self) -> Result<Arc<dyn OpenFile>> {
        match self.writes {
            Writes::Nothing => Err(Error::Errno(Errno::BADF)),
            Writes::Everything => self.file(),
            Writes::TheEnd => Err(APPEND_ONLY),
        }
    }
}

/// The one bit of `fallocate(2)` that leaves alone what is there.
const KEEP_SIZE: u32 = libc::FALLOC_FL_KEEP_SIZE as u32;

const APPEND_ONLY: Error = Error::NotPermitted("the file is append-only");

impl Union {
    /// Opens a regular file; for writing it is copied up first.
    ///
    /// Errors: `EISDIR`, `ELOOP` for a symlink, `ENXIO` for devices, pipes
    /// and sockets, `EROFS`, `EPERM` for what is immutable, and for an
    /// append-only file that is to be cut, or written without `append`.
    pub fn open(&self, inode: &Arc<Inode>, options: OpenOptions) -> Result<Handle> {
        match inode.kind() {
            FileKind::Regular => {}
            FileKind::Directory => return Err(Error::IsDirectory),
            FileKind::Symlink => return Err(Error::Errno(Errno::LOOP)),
            FileKind::Fifo | FileKind::Socket | FileKind::CharDevice | FileKind::BlockDevice => {
                return Err(Error::Errno(Errno::NXIO));
            }
        }
        if !options.write && !options.truncate {
            // Asked before opening: a copy made in between is noticed at the
            // first read.
            let copy = inode.home_of_copied_data();
            let file = self.open_data(inode)?;
            let opened = self.opens.enter(inode, Use::Reading);
            return Ok(Handle::new(opened, file, copy, Writes::Nothing));
        }
        self.target()?;
        self.permit_open(inode, options)?;
        let data = match options.truncate {
            true => DataNeeded::Nothing,
            false => DataNeeded::All,
        };
        let cut = self.copied(inode, data)?.1;
        let _staying = self.moves.stay(inode);
        let file = inode.node().open(Access::Write)?;
        if options.truncate && cut == Cut::No {
            file.set_len(0)?;
        }
        let writes = match self.protection(inode)?.append_only {
            true => Writes::TheEnd,
            false => Writes::Everything,
        };
        let opened = self.opens.enter(inode, Use::Writing);
        let copy = inode.home_of_copied_data();
        Ok(Handle::new(opened, file, copy, writes))
    }

    /// Reads at `offset`; short only at the end.
    pub fn read(&self, handle: &Handle, buf: &mut [u8], offset: u64) -> Result<usize> {
        handle.file()?.read_at(buf, offset)
    }

    /// Writes at `offset`; `EBADF` on a handle that was opened for reading,
    /// `EPERM` before the end of an append-only file.
    pub fn write(&self, handle: &Handle, data: &[u8], offset: u64) -> Result<usize> {
        let _staying = self.moves.stay(&handle.inode());
        handle.file_for_writing(offset)?.write_at(data, offset)
    }

    /// `fallocate(2)` with its `mode` bits. Of an append-only file it changes
    /// nothing that is there.
    pub fn allocate(&self, handle: &Handle, mode: u32, offset: u64, len: u64) -> Result<()> {
        let _staying = self.moves.stay(&handle.inode());
        let file = match mode & !KEEP_SIZE {
            // Nothing is written, so it is nowhere before the end.
            0 => handle.file_for_writing(u64::MAX)?,
            _ => handle.file_for_changing()?,
        };
        file.allocate(mode, offset, len)
    }

    /// `lseek(2)` for data and holes; `ENXIO` past the end.
    pub fn seek(&self, handle: &Handle, offset: u64, to: SeekTo) -> Result<u64> {
        handle.file()?.seek(offset, to)
    }

    /// `copy_file_range(2)`: returns how many bytes; zero at the end of `from`.
    pub fn copy_range(
        &self,
        from: &Handle,
        from_offset: u64,
        to: &Handle,
        to_offset: u64,
        len: u64,
    ) -> Result<u64> {
        let _staying = self.moves.stay(&to.inode());
        let target = to.file_for_writing(to_offset)?;
        target.copy_range(to_offset, &*from.file()?, from_offset, len)
    }

    /// The attributes of an open file, through its descriptor.
    pub fn attr_of_handle(&self, handle: &Handle) -> Result<Attr> {
        let inode = handle.inode();
        if inode.lacks_data() || inode.indexed().is_some() {
            // The descriptor is of the data, or does not know of all links.
            return self.attr(&inode);
        }
        let attr = handle.file()?.attr()?;
        Ok(inode.shown(attr))
    }

    /// Whether anybody has it open for writing. Looks at all that is open.
    pub fn is_written(&self, inode: &Arc<Inode>) -> bool {
        let open = self.opens.all().into_iter();
        let mut written = open.filter(|opened| opened.how() == Use::Writing);
        written.any(|opened| Arc::ptr_eq(&opened.inode(), inode))
    }

    /// Sets the size through an open file: allowed whatever the file's mode
    /// is by now; `EBADF` on a handle that was opened for reading, `EPERM` for
    /// an append-only file.
    pub fn set_len(&self, handle: &Handle, len: u64) -> Result<()> {
        let _staying = self.moves.stay(&handle.inode());
        handle.file_for_changing()?.set_len(len)
    }
}
