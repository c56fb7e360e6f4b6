//! What is made durable, and when: the kernel's mount option `fsync`.
//!
//! A copy-up must not replace a whole lower file by a copy whose data a power
//! cut loses. How far that goes is the caller's choice, [`Durability`]. What a
//! program asks for itself (`fsync(2)`) is done in any case, but on a volatile
//! union: there nothing is made durable, and what the kernel could not write
//! back is reported, for ever. Takes no lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use super::Union;
use super::inode::Inode;
use super::open::Handle;
use crate::attr::FileKind;
use crate::error::{Errno, Error, Result};
use crate::layer::{OpenFile, SyncWhat, WritableNode};

/// The mount option `fsync`: what copying up makes durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The data of a file, before its copy is published: after a power cut a
    /// name shows the lower file or the whole copy, on filesystems that keep
    /// the order of their changes (ext4, xfs, btrfs do).
    #[default]
    Auto,
    /// Every copy with its attributes, directories and files without data
    /// too, and then the entry in its directory: also on filesystems that
    /// keep no order (ubifs). A copied-up name is durable before the
    /// operation that needed it goes on.
    Strict,
    /// Nothing, not even what a program asks to be synced. After a power cut
    /// the writable branch may hold anything, so its work area says that it
    /// was in use in this way, and whoever opens it next refuses, also after
    /// a clean end.
    Volatile,
    /// As `Volatile`, but nothing in the work area remembers it.
    Unmarked,
}

impl Durability {
    fn syncs(self) -> bool {
        match self {
            Durability::Auto | Durability::Strict => true,
            Durability::Volatile | Durability::Unmarked => false,
        }
    }
}

/// The last error of writing back, as an errno; 0 while there was none.
///
/// The kernel's overlayfs asks its upper filesystem for any such error since
/// the mount. No system call tells that to a process without syncing all of
/// the filesystem (`syncfs(2)`), so here it is what the synced files told.
#[derive(Debug, Default)]
pub(super) struct Lost(AtomicI32);

impl Lost {
    fn note(&self, error: &Error) {
        let errno = error.errno().raw_os_error();
        self.0.store(errno, Ordering::Relaxed);
    }

    fn check(&self) -> Result<()> {
        match self.0.load(Ordering::Relaxed) {
            0 => Ok(()),
            errno => Err(Error::Errno(Errno::from_raw_os_error(errno))),
        }
    }
}

impl Union {
    /// Before a copy is published: `data` is its file if data was copied.
    pub(super) fn sync_copy(
        &self,
        copy: &dyn WritableNode,
        kind: FileKind,
        data: Option<&dyn OpenFile>,
    ) -> Result<()> {
        match (self.options.durability, data) {
            (Durability::Auto | Durability::Strict, Some(file)) => file.sync(SyncWhat::All),
            (Durability::Strict, None) => match kind {
                FileKind::Regular | FileKind::Directory => copy.sync(),
                // Nothing to open: they become durable with their entry.
                FileKind::Symlink
                | FileKind::Fifo
                | FileKind::Socket
                | FileKind::CharDevice
                | FileKind::BlockDevice => Ok(()),
            },
            (Durability::Auto, None) | (Durability::Volatile | Durability::Unmarked, _) => Ok(()),
        }
    }

    /// After a copy was published in `parent`.
    pub(super) fn sync_entry(&self, parent: &dyn WritableNode) -> Result<()> {
        match self.options.durability {
            Durability::Strict => parent.sync(),
            Durability::Auto | Durability::Volatile | Durability::Unmarked => Ok(()),
        }
    }

    /// `fsync(2)`, `fdatasync(2)` of an open file.
    ///
    /// On a volatile union nothing is synced. It fails with the error if the
    /// kernel could not write back the file; from then on all syncing of this
    /// union fails.
    pub fn sync_file(&self, handle: &Handle, what: SyncWhat) -> Result<()> {
        let source = handle.file()?;
        let inode = handle.inode();
        let Some(copy) = inode.copy() else {
            // A lower file is as durable as it will ever be.
            return self.lost.check();
        };
        if self.options.durability.syncs() {
            return match inode.lacks_data() {
                // Of a copy without data, the attributes.
                true => copy.sync(),
                false => source.sync(what),
            };
        }
        if let Err(error) = source.written_back() {
            tracing::error!(%error, "a volatile union has lost data: nothing of it can be trusted");
            self.lost.note(&error);
        }
        self.lost.check()
    }

    /// `fsync(2)` of a directory: makes its entries durable; on a volatile
    /// union as [`Union::sync_file`].
    pub fn sync_dir(&self, inode: &Arc<Inode>) -> Result<()> {
        match inode.copy() {
            Some(node) if self.options.durability.syncs() => node.sync(),
            Some(_) | None => self.lost.check(),
        }
    }
}
