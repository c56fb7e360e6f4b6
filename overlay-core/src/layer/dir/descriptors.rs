//! The budget of directory descriptors, and who loses theirs when it is spent.
//!
//! A hit touches nothing here: the node has the descriptor and marks it used.
//! A miss takes one shard's lock for a moment. Each shard turns a clock over
//! the nodes that it gave descriptors to: used since the last turn, spared once
//! more; else evicted.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use rustix::io::Errno;

use super::node::DirNode;
use crate::error::Result;
use crate::sys;

/// More shards than threads that miss at once, on usual machines.
const MAX_SHARDS: usize = 16;

/// A shard of fewer would evict what the same walk needs next.
const MIN_PER_SHARD: usize = 32;

/// More open directories than this bring nothing: a kernel's table of open
/// files grows, and a miss costs one `openat2`.
const MOST: usize = 32 * 1024;

/// A descriptor, and whether it was used since the clock passed.
#[derive(Debug)]
pub(super) struct Descriptor {
    fd: OwnedFd,
    used: AtomicBool,
}

impl Descriptor {
    pub(super) fn new(fd: OwnedFd) -> Arc<Descriptor> {
        Arc::new(Descriptor {
            fd,
            used: AtomicBool::new(false),
        })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Reads before it writes: a directory that all threads use is marked
    /// already, and its cache line stays shared.
    pub(super) fn mark_used(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    fn spared(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }
}

/// A budget of descriptors that the directories of all branches share.
///
/// It bounds what is kept for speed. Beyond it are the roots, open files,
/// objects that were removed while in use, and one or two per running call.
#[derive(Debug)]
pub struct Descriptors {
    shards: Box<[Mutex<VecDeque<Weak<DirNode>>>]>,
    per_shard: usize,
}

impl Descriptors {
    /// Keeps at most about `limit` directories open (at least one).
    pub fn new(limit: usize) -> Arc<Descriptors> {
        let shards = (limit / MIN_PER_SHARD).clamp(1, MAX_SHARDS);
        Arc::new(Descriptors {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            per_shard: (limit / shards).max(1),
        })
    }

    /// A budget that fits this process' limit (`ulimit -n`): a quarter of what
    /// is left after 64 for roots, the FUSE device and the program's own. The
    /// rest is for open files and for objects removed while in use.
    pub fn from_rlimit() -> Arc<Descriptors> {
        let limit = sys::limit::descriptors().unwrap_or(u64::MAX);
        let share = limit.saturating_sub(64) / 4;
        Descriptors::new(usize::try_from(share).map_or(MOST, |share| share.min(MOST)))
    }

    /// How many directories of one long way are worth keeping: one way must
    /// not evict all others, or two deep trees in turn would each open the
    /// whole of theirs every time.
    pub(super) fn worth_keeping(&self) -> usize {
        (self.shards.len() * self.per_shard / 4).max(1)
    }

    /// Counts the descriptor that `node` has just been given, and takes others
    /// back if that was one too many.
    pub(super) fn admit(&self, node: &Arc<DirNode>) {
        // Addresses of one allocator differ in the bits above the size class.
        let address = Arc::as_ptr(node) as usize;
        let shard = (address >> 4 ^ address >> 12) % self.shards.len();
        if let Some(shard) = self.shards.get(shard) {
            let mut clock = shard.lock();
            clock.push_back(Arc::downgrade(node));
            while clock.len() > self.per_shard {
                turn(&mut clock);
            }
        }
    }

    /// Runs `open`; if the process or the system is out of descriptors, gives
    /// half of the cached ones back and tries once more.
    pub(super) fn with_room<T>(&self, open: impl Fn() -> Result<T>) -> Result<T> {
        match open() {
            Err(error) if error.is(Errno::MFILE) || error.is(Errno::NFILE) => {
                tracing::debug!(%error, "out of descriptors: giving cached directories back");
                for shard in &self.shards {
                    let mut clock = shard.lock();
                    let half = clock.len() / 2;
                    while clock.len() > half {
                        turn(&mut clock);
                    }
                }
                open()
            }
            outcome => outcome,
        }
    }
}

/// One step of the clock. A node that is gone has closed its descriptor itself.
fn turn(clock: &mut VecDeque<Weak<DirNode>>) {
    let Some(first) = clock.pop_front() else {
        return;
    };
    let Some(node) = first.upgrade() else {
        return;
    };
    let mut slot = node.slot().write();
    if slot.as_ref().is_some_and(|descriptor| descriptor.spared()) {
        clock.push_back(first);
    } else {
        *slot = None;
    }
}
