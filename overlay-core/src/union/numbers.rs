//! How inode numbers are made from where objects lie: the object's own number
//! within its filesystem, with the filesystem's index above it, as the
//! kernel's overlayfs does (`xino`; `ovl_get_layers` in
//! `fs/overlayfs/super.c`, `ovl_map_ino` in `inode.c`).
//!
//! Where all branches lie on one filesystem its numbers show as they are.
//! Else the upper bits hold an index: 0 for the filesystem of the writable
//! branch, and the others in the order of the branches. The lowest of these
//! bits marks numbers that are made up, for what does not fit.

use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;

use super::options::Xino;
use super::table::{ObjectId, ROOT};
use crate::error::Result;
use crate::layer::Node;
use crate::stack::Stack;

/// `FILEID_INO32_GEN` and its length: the handles of filesystems whose inode
/// numbers have 32 bits (`include/linux/exportfs.h`).
const INO32_GEN: (u8, usize) = (1, 8);

/// Gives the numbers of a stack.
#[derive(Debug)]
pub(super) struct Numbers {
    /// Own numbers have less bits than this. The bit itself marks what was
    /// made up, and those above it hold the filesystem's index.
    own_bits: u32,
    /// Indexes from here on have no room.
    most: u64,
    /// Index of each filesystem that objects were seen on.
    filesystems: DashMap<u64, u64>,
    next_filesystem: AtomicU64,
    made_up: AtomicU64,
}

impl Numbers {
    /// For `stack`, as the option says.
    pub fn of(stack: &Stack, xino: Xino) -> Result<Numbers> {
        let (mut devices, mut own_are_small) = (Vec::new(), true);
        let mut has_writable = false;
        for branch in stack.branches() {
            has_writable |= branch.storage.is_writable();
            let root = branch.storage.root();
            let dev = root.attr()?.dev;
            if !devices.contains(&dev) {
                devices.push(dev);
            }
            own_are_small &= has_small_numbers(&*root)?;
        }
        // Index 0 is the writable branch's, also where there is none.
        let spared = !has_writable && devices.len() > 1 && xino != Xino::Off;
        let first = u64::from(spared);
        let count = devices.len() as u64 + first;
        let index_bits = match (devices.len(), xino, own_are_small) {
            (0 | 1, _, _) | (_, Xino::Off, _) => 1,
            (_, Xino::Auto | Xino::On, true) => 32,
            (_, Xino::Auto | Xino::On, false) => (count - 1).ilog2() + 2,
        };
        let numbers = Numbers {
            own_bits: u64::BITS - index_bits,
            most: 1 << (index_bits - 1),
            filesystems: DashMap::new(),
            next_filesystem: AtomicU64::new(first),
            made_up: AtomicU64::new(0),
        };
        // In the order of the branches, so that numbers persist.
        for dev in devices {
            numbers.filesystem(dev);
        }
        Ok(numbers)
    }

    /// The number of an object; `None` if it does not fit.
    pub fn encode(&self, id: ObjectId) -> Option<u64> {
        let index = self.filesystem(id.dev);
        // The root's number is taken.
        let is_root = index == 0 && id.ino <= ROOT;
        let fits = !is_root && id.ino >> self.own_bits == 0 && index < self.most;
        fits.then(|| match index {
            0 => id.ino,
            index => index << (self.own_bits + 1) | id.ino,
        })
    }

    /// A number that no object has by itself.
    pub fn make_up(&self) -> u64 {
        1 << self.own_bits | self.made_up.fetch_add(1, Ordering::Relaxed)
    }

    /// The index of a filesystem. One that is no branch's (a subvolume inside
    /// a branch) gets it when it is first seen.
    fn filesystem(&self, dev: u64) -> u64 {
        if let Some(index) = self.filesystems.get(&dev).map(|index| *index) {
            return index;
        }
        let next = || self.next_filesystem.fetch_add(1, Ordering::Relaxed);
        *self.filesystems.entry(dev).or_insert_with(next)
    }
}

/// Whether the inode numbers of a filesystem have 32 bits, as its handles say.
fn has_small_numbers(root: &dyn Node) -> Result<bool> {
    let handle = root.handle()?;
    Ok(handle.is_some_and(|handle| (handle.kind, handle.bytes.len()) == INO32_GEN))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::layer::Storage;
    use crate::layer::mem::MemStorage;

    fn numbers(branches: usize, xino: Xino) -> (Numbers, Vec<u64>) {
        let (mut stack, mut devices) = (Stack::new(), Vec::new());
        for _ in 0..branches {
            let storage = MemStorage::new();
            devices.push(Storage::root(&*storage).attr().unwrap().dev);
            stack = stack.lower(storage);
        }
        (Numbers::of(&stack, xino).unwrap(), devices)
    }

    #[test]
    fn numbers_of_one_filesystem_show_as_they_are() {
        let (numbers, devices) = numbers(1, Xino::Auto);
        for ino in [2, 1 << 40, (1 << 63) - 1] {
            assert_eq!(numbers.encode(ObjectId::new(devices[0], ino)), Some(ino));
        }
        for ino in [0, 1, 1 << 63] {
            assert_eq!(numbers.encode(ObjectId::new(devices[0], ino)), None);
        }
    }

    #[test]
    fn objects_of_several_filesystems_never_share_a_number() {
        let (numbers, devices) = numbers(3, Xino::On);
        let mut seen = std::collections::HashSet::new();
        for dev in devices {
            // Number 1 too: index 0 is nobody's without a writable branch.
            for ino in [1, 2, 77, 1 << 31] {
                assert!(seen.insert(numbers.encode(ObjectId::new(dev, ino)).unwrap()));
            }
        }
        for _ in 0..3 {
            assert!(seen.insert(numbers.make_up()));
        }
    }

    #[test]
    fn without_xino_only_the_first_filesystem_shows_its_numbers() {
        let (numbers, devices) = numbers(2, Xino::Off);
        assert_eq!(numbers.encode(ObjectId::new(devices[1], 7)), None);
    }
}
