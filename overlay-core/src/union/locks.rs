//! The order of locks, outermost first (see `docs/locking.md`):
//!
//! 1. `Inode::copy_up`, one at a time per inode;
//! 2. the topology lock: renames of directories between parents;
//! 3. the states of directories, in the order of inode numbers;
//! 4. leaves: an inode's links, the table's shards, the places in the layers.
//!
//! Debug builds check on every lock that none of the same or an inner rank is
//! held by this thread. Leaves need no check: no code runs under them.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard, RwLockReadGuard, RwLockWriteGuard};

use super::inode::{DirState, Inode};
use crate::error::{Error, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    CopyUp,
    Topology,
    Directory,
}

/// Remembers, in debug builds, that this thread holds a lock of a rank.
#[derive(Debug)]
struct Held {
    #[cfg(debug_assertions)]
    rank: Rank,
}

#[cfg(debug_assertions)]
thread_local! {
    static HELD: std::cell::RefCell<Vec<Rank>> = const { std::cell::RefCell::new(Vec::new()) };
}

impl Held {
    #[cfg(debug_assertions)]
    fn enter(rank: Rank) -> Held {
        HELD.with_borrow_mut(|held| {
            if let Some(inner) = held.iter().find(|&&other| other >= rank) {
                panic!("lock order: {rank:?} taken while {inner:?} is held");
            }
            held.push(rank);
        });
        Held { rank }
    }

    #[cfg(not(debug_assertions))]
    fn enter(_: Rank) -> Held {
        Held {}
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        #[cfg(debug_assertions)]
        HELD.with_borrow_mut(|held| {
            if let Some(at) = held.iter().rposition(|&rank| rank == self.rank) {
                held.remove(at);
            }
        });
    }
}

/// The right to copy one inode up.
#[derive(Debug)]
pub(super) struct CopyUpGuard<'a> {
    _lock: MutexGuard<'a, ()>,
    _held: Held,
}

impl CopyUpGuard<'_> {
    pub fn lock(inode: &Inode) -> CopyUpGuard<'_> {
        let held = Held::enter(Rank::CopyUp);
        CopyUpGuard {
            _lock: inode.copy_up.lock(),
            _held: held,
        }
    }
}

/// The right to move directories between parents.
#[derive(Debug)]
pub(super) struct TopologyGuard<'a> {
    _lock: MutexGuard<'a, ()>,
    _held: Held,
}

impl TopologyGuard<'_> {
    pub fn lock(topology: &Mutex<()>) -> TopologyGuard<'_> {
        let held = Held::enter(Rank::Topology);
        TopologyGuard {
            _lock: topology.lock(),
            _held: held,
        }
    }
}

/// That the entries of some directories do not change meanwhile.
pub(super) trait DirHeld {
    /// Whether `directory` is among them; asked by `debug_assert!` alone.
    fn holds(&self, directory: &Inode) -> bool;
}

/// One directory, held for looking.
#[derive(Debug)]
pub(super) struct DirRead<'a> {
    directory: &'a Inode,
    state: RwLockReadGuard<'a, DirState>,
    _held: Held,
}

impl<'a> DirRead<'a> {
    /// Fails with `ENOTDIR` for anything but a directory.
    pub fn lock(inode: &'a Arc<Inode>) -> Result<DirRead<'a>> {
        let directory = inode.directory().ok_or(Error::NotDirectory)?;
        let held = Held::enter(Rank::Directory);
        Ok(DirRead {
            directory: inode,
            state: directory.state.read(),
            _held: held,
        })
    }

    /// Whether the directory was removed.
    pub fn is_removed(&self) -> bool {
        self.state.removed
    }
}

impl DirHeld for DirRead<'_> {
    fn holds(&self, directory: &Inode) -> bool {
        std::ptr::eq(self.directory, directory)
    }
}

/// Some directories, held for changing.
#[derive(Debug)]
pub(super) struct DirWrite<'a> {
    /// In the order of inode numbers, each once.
    locked: Vec<(&'a Arc<Inode>, RwLockWriteGuard<'a, DirState>)>,
    _held: Held,
}

impl<'a> DirWrite<'a> {
    /// Locks each of `inodes` once. Fails with `ENOTDIR` if one is not a
    /// directory.
    pub fn lock(inodes: &[&'a Arc<Inode>]) -> Result<DirWrite<'a>> {
        let mut sorted = inodes.to_vec();
        sorted.sort_by_key(|inode| inode.number());
        sorted.dedup_by(|a, b| Arc::ptr_eq(a, b));
        let held = Held::enter(Rank::Directory);
        let mut locked = Vec::with_capacity(sorted.len());
        for inode in sorted {
            let directory = inode.directory().ok_or(Error::NotDirectory)?;
            locked.push((inode, directory.state.write()));
        }
        Ok(DirWrite {
            locked,
            _held: held,
        })
    }

    /// Whether a locked directory was removed.
    pub fn is_removed(&self, directory: &Arc<Inode>) -> bool {
        self.locked
            .iter()
            .any(|(inode, state)| Arc::ptr_eq(inode, directory) && state.removed)
    }

    /// Marks a locked directory as removed.
    pub fn set_removed(&mut self, directory: &Arc<Inode>) {
        for (inode, state) in &mut self.locked {
            if Arc::ptr_eq(inode, directory) {
                state.removed = true;
            }
        }
    }
}

impl DirHeld for DirWrite<'_> {
    fn holds(&self, directory: &Inode) -> bool {
        self.locked
            .iter()
            .any(|(inode, _)| std::ptr::eq(&***inode, directory))
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "lock order")]
    fn taking_an_outer_lock_inside_an_inner_one_is_caught() {
        let _inner = Held::enter(Rank::Directory);
        let _outer = Held::enter(Rank::CopyUp);
    }
}
