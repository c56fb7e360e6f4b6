//! Files that are read and written past the union: whoever has one lent goes to
//! the branch's own file, and the union sees nothing of it.
//!
//! So only a file that stays the one that shows for as long as it is open: no
//! copy-up may come, and no move to another branch. In a stack with one branch
//! that can be written, on top, that is what has its data there; in one with
//! none, everything that has its data where it shows. Where others may write to
//! the branches nothing stays. A change of the branches that would make it otherwise is
//! refused while such a file is open (`union/change.rs`). A union that ever had
//! several branches to write lends nothing, so that it can have them again
//! whatever is open.
//!
//! Takes no lock but the handle's.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::fs::OFlags;

use super::Union;
use super::inode::Inode;
use super::open::Handle;
use super::opened::Use;
use super::options::Others;
use crate::attr::FileKind;
use crate::error::{Errno, Result};
use crate::layer::OpenFile;
use crate::stack::{Branch, Stack};
use crate::sys;

/// The file of a branch that shows for as long as a handle is open.
#[derive(Debug)]
pub struct Lent(Arc<dyn OpenFile>);

/// How files were lent for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LentForWriting {
    /// How many are open now.
    pub now: usize,
    /// How many ever were.
    pub ever: u64,
}

impl Lent {
    /// Its descriptor: `None` where none is to be had, as of a file in memory.
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.descriptor_to_lend()
    }

    /// Whether its filesystem can do direct I/O (`O_DIRECT` of `open(2)`).
    pub fn is_direct(&self) -> Result<bool> {
        match sys::open::again(self.as_fd(), OFlags::RDONLY | OFlags::DIRECT) {
            Ok(_) => Ok(true),
            Err(error) if error.is(Errno::INVAL) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Lent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd()
            .unwrap_or_else(|| unreachable!("only what has one is lent"))
    }
}

impl Union {
    /// The file below `handle`, to be read and written past the union; `None`
    /// where that would not be right: where the file may be copied up or moved
    /// while it is open, or be changed by others, is append-only, or lies on a
    /// branch whose access times would change. What is answered for an inode stays so while a handle of it
    /// [is lent](Union::lent).
    pub fn lend(&self, handle: &Handle) -> Result<Option<Lent>> {
        if !self.may_lend(&handle.inode())? {
            return Ok(None);
        }
        let lent = Lent(handle.file()?);
        Ok(lent.fd().is_some().then_some(lent))
    }

    /// Says that the file of `handle` is lent, until that is dropped.
    pub fn lent(&self, handle: &Handle) {
        handle.opened().lend();
    }

    /// How files are lent for writing, and were.
    pub fn lent_for_writing(&self) -> LentForWriting {
        self.opens.lent_for_writing()
    }

    fn may_lend(&self, inode: &Inode) -> Result<bool> {
        debug_assert_eq!(inode.kind(), FileKind::Regular);
        if !self.lends || self.options.others == Others::Write {
            return Ok(false);
        }
        if self.targets.is_empty() {
            return Ok(!inode.lacks_data());
        }
        // What may be written of an append-only file is for the union to see.
        Ok(inode.home_of_copied_data().is_some() && !self.protection(inode)?.append_only)
    }
}

/// Whether a file that is lent, and shows on `inode`, can go on in `stack`.
pub(super) fn stays_lent(inode: &Inode, stack: &Stack) -> bool {
    let is_written = |branch: &Branch| branch.storage.is_writable();
    match stack.only_upper() {
        Some(upper) => inode.home() == upper && !inode.lacks_data(),
        None => !stack.branches().iter().any(is_written),
    }
}

/// Whether a use that is lent counts among those for writing.
pub(super) fn writes(how: Use) -> bool {
    match how {
        Use::Writing => true,
        Use::Listing | Use::Reading => false,
    }
}
