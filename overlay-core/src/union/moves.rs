//! Files that are written stay where they are: while one is moved to another
//! branch nobody writes to the original, or what is written would be lost; and
//! nobody gives it another name, which would go on with the original.
//!
//! Only where several branches can be written: elsewhere no file is moved, and
//! nothing is locked. One lock for many inodes, of which few are ever moved.
//! Rank 2: inside the copy-up lock, outside those of directories; data I/O is
//! done under it.

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::inode::Inode;

/// Locks for a power of two: enough that writers seldom meet a move that is
/// none of their file.
const LOCKS: usize = 256;

/// Who writes, and who moves.
#[derive(Debug)]
pub(super) struct Moves(Box<[RwLock<()>]>);

impl Moves {
    /// For a stack in which files may move, or not.
    pub fn new(may_move: bool) -> Moves {
        let locks = if may_move { LOCKS } else { 0 };
        Moves((0..locks).map(|_| RwLock::new(())).collect())
    }

    /// While the guard lives, `inode` stays on its branch.
    pub fn stay(&self, inode: &Inode) -> Option<RwLockReadGuard<'_, ()>> {
        self.lock_of(inode).map(RwLock::read)
    }

    /// While the guard lives, nothing is written to `inode`, and it gets no name.
    pub fn begin(&self, inode: &Inode) -> Option<RwLockWriteGuard<'_, ()>> {
        self.lock_of(inode).map(RwLock::write)
    }

    fn lock_of(&self, inode: &Inode) -> Option<&RwLock<()>> {
        // Of no locks none.
        self.0.get(inode.number() as usize % LOCKS)
    }
}
