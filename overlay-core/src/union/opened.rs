//! What is open: files and directories by which somebody uses an inode. They
//! go on with another inode when the branches change, and keep a branch from
//! being taken away.
//!
//! The registry outlives a change of the branches. Its map is a leaf, and so is
//! the lock of what is open.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use dashmap::DashMap;
use parking_lot::RwLock;

use super::inode::Inode;
use super::lend::{self, LentForWriting};

/// How an inode is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// A directory.
    Listing,
    /// A file that is read.
    Reading,
    /// A file that is written.
    Writing,
}

/// One open file or directory.
#[derive(Debug)]
pub(super) struct Opened {
    /// What was there before is let go: it holds branches that may have gone.
    inode: RwLock<Arc<Inode>>,
    how: Use,
    /// Whether it is read or written past the union.
    lent: AtomicBool,
    number: u64,
    opens: Weak<Opens>,
}

/// All of them, by a number of their own.
#[derive(Debug, Default)]
pub(super) struct Opens {
    next: AtomicU64,
    all: DashMap<u64, Weak<Opened>>,
    /// How many are lent for writing, and were.
    lent_now: AtomicUsize,
    lent_ever: AtomicU64,
}

impl Opens {
    /// `inode` is open until what is returned is dropped.
    pub fn enter(self: &Arc<Opens>, inode: &Arc<Inode>, how: Use) -> Arc<Opened> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let opened = Arc::new(Opened {
            inode: RwLock::new(Arc::clone(inode)),
            how,
            lent: AtomicBool::new(false),
            number,
            opens: Arc::downgrade(self),
        });
        self.all.insert(number, Arc::downgrade(&opened));
        opened
    }

    /// How files are lent for writing, and were.
    pub fn lent_for_writing(&self) -> LentForWriting {
        LentForWriting {
            now: self.lent_now.load(Ordering::SeqCst),
            ever: self.lent_ever.load(Ordering::SeqCst),
        }
    }

    /// What is open now.
    pub fn all(&self) -> Vec<Arc<Opened>> {
        let all = self.all.iter();
        all.filter_map(|entry| entry.value().upgrade()).collect()
    }
}

impl Opened {
    /// The inode that it is open on.
    pub fn inode(&self) -> Arc<Inode> {
        Arc::clone(&self.inode.read())
    }

    /// How.
    pub fn how(&self) -> Use {
        self.how
    }

    /// From now on it is lent.
    pub fn lend(&self) {
        if self.lent.swap(true, Ordering::SeqCst) || !lend::writes(self.how) {
            return;
        }
        if let Some(opens) = self.opens.upgrade() {
            opens.lent_now.fetch_add(1, Ordering::SeqCst);
            opens.lent_ever.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Whether it is lent.
    pub fn is_lent(&self) -> bool {
        self.lent.load(Ordering::SeqCst)
    }

    /// It goes on with another inode, of the same object.
    pub fn move_to(&self, inode: Arc<Inode>) {
        let before = std::mem::replace(&mut *self.inode.write(), inode);
        // Not under the lock: an inode's drop goes to its table.
        drop(before);
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some(opens) = self.opens.upgrade() {
            opens.all.remove(&self.number);
            if self.is_lent() && lend::writes(self.how) {
                opens.lent_now.fetch_sub(1, Ordering::SeqCst);
            }
        }
    }
}
