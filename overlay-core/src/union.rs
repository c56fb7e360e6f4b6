//! The union engine: one verb a file.
//!
//! Skeleton of the face that front ends use.

use std::sync::Arc;

use crate::attr::{Attr, FileKind, Owner, SetAttr, StatFs};
use crate::error::Result;
use crate::layer::{NewKind, RenameMode, SeekTo, SetXattr, SyncWhat};
use crate::name::Name;
use crate::stack::Stack;

/// Who asks: new objects belong to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Owner of what is created.
    pub owner: Owner,
    /// Bits to take away from the mode of what is created, unless the
    /// directory has a default ACL.
    pub umask: u32,
}

/// One object of the union.
#[derive(Debug)]
pub struct Inode {}

impl Inode {
    /// The number that names this inode while it is known: unique among all
    /// known inodes, constant over copy-up. The root's is 1.
    ///
    /// `Attr::ino` is the same, except for a lower file with several hard
    /// links: there each name is an inode of its own (writing to one breaks
    /// the link, as on the kernel without `index`), while `Attr::ino` shows
    /// the shared lower number until the link is broken.
    pub fn number(&self) -> u64 {
        todo!()
    }

    /// What it is; never changes.
    pub fn kind(&self) -> FileKind {
        todo!()
    }
}

/// An inode found by name, with its attributes.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The inode.
    pub inode: Arc<Inode>,
    /// Its attributes as the union shows them.
    pub attr: Attr,
}

/// How to open a regular file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenOptions {
    /// For writing (and reading): copies the file up.
    pub write: bool,
    /// Cut to size zero: copies no data up.
    pub truncate: bool,
}

/// An open regular file. Opened before a copy-up, it reads the copy after it.
#[derive(Debug)]
pub struct Handle {}

/// An open directory: a snapshot of its names, taken at position 0.
#[derive(Debug)]
pub struct DirHandle {}

/// One entry of a merged directory.
#[derive(Debug, Clone, Copy)]
pub struct DirEntry<'a> {
    /// The name.
    pub name: &'a Name,
    /// What it is.
    pub kind: FileKind,
    /// The same as `Attr::ino` of the entry.
    pub ino: u64,
    /// Where to go on after this entry.
    pub next: u64,
}

/// Whether [`Union::read_dir`] goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// To the next entry.
    Continue,
    /// No: this entry was not taken, and comes first next time.
    Stop,
}

/// A mounted stack: all verbs of a filesystem.
#[derive(Debug)]
pub struct Union {}

#[allow(unused_variables)]
impl Union {
    /// Puts `stack` together; clears what a crash left in the work area.
    pub fn new(stack: Stack) -> Result<Arc<Union>> {
        todo!()
    }
    /// The root directory.
    pub fn root(&self) -> Arc<Inode> {
        todo!()
    }
    /// The inode with this number, if it is pinned or otherwise alive.
    pub fn known(&self, number: u64) -> Option<Arc<Inode>> {
        todo!()
    }
    /// Keeps `inode` known until [`Union::unpin`] was called as often.
    pub fn pin(&self, inode: &Arc<Inode>) {
        todo!()
    }
    /// Takes back `count` pins of the inode `number`.
    pub fn unpin(&self, number: u64, count: u64) {
        todo!()
    }
    /// What `name` shows in the directory `parent`.
    pub fn lookup(&self, parent: &Arc<Inode>, name: &Name) -> Result<Option<Entry>> {
        todo!()
    }
    /// Attributes.
    pub fn attr(&self, inode: &Arc<Inode>) -> Result<Attr> {
        todo!()
    }
    /// Changes attributes (copies up) and returns the new ones.
    pub fn set_attr(&self, inode: &Arc<Inode>, set: &SetAttr) -> Result<Attr> {
        todo!()
    }
    /// Target of a symlink.
    pub fn read_link(&self, inode: &Arc<Inode>) -> Result<Vec<u8>> {
        todo!()
    }
    /// Makes a new object.
    pub fn create(
        &self,
        parent: &Arc<Inode>,
        name: &Name,
        kind: NewKind<'_>,
        mode: u32,
        caller: &Caller,
    ) -> Result<Entry> {
        todo!()
    }
    /// Makes a regular file and opens it for writing, in one step. `EEXIST` if there is one.
    pub fn create_file(
        &self,
        parent: &Arc<Inode>,
        name: &Name,
        mode: u32,
        caller: &Caller,
    ) -> Result<(Entry, Handle)> {
        todo!()
    }
    /// `unlink(2)`
    pub fn unlink(&self, parent: &Arc<Inode>, name: &Name) -> Result<()> {
        todo!()
    }
    /// `rmdir(2)`
    pub fn rmdir(&self, parent: &Arc<Inode>, name: &Name) -> Result<()> {
        todo!()
    }
    /// `renameat2(2)`; [`RenameMode::Whiteout`] is refused (`EINVAL`).
    pub fn rename(
        &self,
        from: (&Arc<Inode>, &Name),
        to: (&Arc<Inode>, &Name),
        mode: RenameMode,
    ) -> Result<()> {
        todo!()
    }
    /// `link(2)`
    pub fn link(&self, inode: &Arc<Inode>, parent: &Arc<Inode>, name: &Name) -> Result<Entry> {
        todo!()
    }
    /// Opens a regular file.
    pub fn open(&self, inode: &Arc<Inode>, options: OpenOptions) -> Result<Handle> {
        todo!()
    }
    /// Reads at `offset`; short only at the end.
    pub fn read(&self, handle: &Handle, buf: &mut [u8], offset: u64) -> Result<usize> {
        todo!()
    }
    /// Writes at `offset`.
    pub fn write(&self, handle: &Handle, data: &[u8], offset: u64) -> Result<usize> {
        todo!()
    }
    /// `fallocate(2)`
    pub fn allocate(&self, handle: &Handle, mode: u32, offset: u64, len: u64) -> Result<()> {
        todo!()
    }
    /// `lseek(2)` for data and holes.
    pub fn seek(&self, handle: &Handle, offset: u64, to: SeekTo) -> Result<u64> {
        todo!()
    }
    /// `copy_file_range(2)`; zero at the end of `from`.
    pub fn copy_range(
        &self,
        from: &Handle,
        from_offset: u64,
        to: &Handle,
        to_offset: u64,
        len: u64,
    ) -> Result<u64> {
        todo!()
    }
    /// `fsync(2)`, `fdatasync(2)` of an open file.
    pub fn sync_file(&self, handle: &Handle, what: SyncWhat) -> Result<()> {
        todo!()
    }
    /// `fsync(2)` of a directory.
    pub fn sync_dir(&self, inode: &Arc<Inode>) -> Result<()> {
        todo!()
    }
    /// Opens a directory.
    pub fn open_dir(&self, inode: &Arc<Inode>) -> Result<DirHandle> {
        todo!()
    }
    /// Lists from position `from` (0: the beginning, and a fresh look). `.`
    /// and `..` are not among the entries.
    pub fn read_dir(
        &self,
        dir: &DirHandle,
        from: u64,
        each: &mut dyn FnMut(DirEntry<'_>) -> Flow,
    ) -> Result<()> {
        todo!()
    }
    /// Number of the parent of a directory, for `..`; the root's is its own.
    pub fn parent_number(&self, inode: &Arc<Inode>) -> u64 {
        todo!()
    }
    /// Value of an extended attribute; `ENODATA` if unset.
    pub fn xattr(&self, inode: &Arc<Inode>, name: &[u8]) -> Result<Vec<u8>> {
        todo!()
    }
    /// Names of the extended attributes.
    pub fn xattr_names(&self, inode: &Arc<Inode>) -> Result<Vec<Vec<u8>>> {
        todo!()
    }
    /// Sets an extended attribute (copies up).
    pub fn set_xattr(
        &self,
        inode: &Arc<Inode>,
        name: &[u8],
        value: &[u8],
        how: SetXattr,
    ) -> Result<()> {
        todo!()
    }
    /// Removes an extended attribute (copies up); `ENODATA` if unset.
    pub fn remove_xattr(&self, inode: &Arc<Inode>, name: &[u8]) -> Result<()> {
        todo!()
    }
    /// State of the branch that takes new objects, else of the top one.
    pub fn stat_fs(&self) -> Result<StatFs> {
        todo!()
    }
}
