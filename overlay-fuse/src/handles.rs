//! Open files and directories by the numbers the kernel gives back.
//!
//! Sharded, because every read and write looks its handle up. Each shard has
//! a lock of its own, which is held for the look-up only: a leaf, never held
//! while another lock is taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use overlay_core::error::Errno;
use overlay_core::{Error, Result};
use parking_lot::RwLock;

/// More than the threads that a mount has on common machines, so that two of
/// them seldom meet.
const SHARDS: usize = 16;

/// A table of handles.
#[derive(Debug)]
pub(crate) struct Handles<T> {
    shards: [RwLock<Shard<T>>; SHARDS],
    turn: AtomicUsize,
}

#[derive(Debug)]
struct Shard<T> {
    slots: Vec<Option<Arc<T>>>,
    free: Vec<usize>,
}

impl<T> Handles<T> {
    /// No handles.
    pub(crate) fn new() -> Handles<T> {
        let shard = || {
            RwLock::new(Shard {
                slots: Vec::new(),
                free: Vec::new(),
            })
        };
        Handles {
            shards: std::array::from_fn(|_| shard()),
            turn: AtomicUsize::new(0),
        }
    }

    /// Keeps `value`; returns its number, which may be reused after `remove`.
    pub(crate) fn insert(&self, value: T) -> u64 {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let mut shard = self.shard(turn).write();
        let value = Some(Arc::new(value));
        let slot = match shard.free.pop() {
            Some(slot) => slot,
            None => {
                shard.slots.push(None);
                shard.slots.len() - 1
            }
        };
        if let Some(place) = shard.slots.get_mut(slot) {
            *place = value;
        }
        (slot * SHARDS + turn) as u64
    }

    /// What has this number; `EBADF` if nothing has.
    pub(crate) fn get(&self, number: u64) -> Result<Arc<T>> {
        let (slot, turn) = parts(number);
        let shard = self.shard(turn).read();
        match shard.slots.get(slot) {
            Some(Some(value)) => Ok(Arc::clone(value)),
            Some(None) | None => Err(Error::Errno(Errno::BADF)),
        }
    }

    /// What has a number now.
    pub(crate) fn all(&self) -> Vec<Arc<T>> {
        let shards = self.shards.iter();
        let values = |shard: &RwLock<Shard<T>>| -> Vec<Arc<T>> {
            shard.read().slots.iter().flatten().cloned().collect()
        };
        shards.flat_map(values).collect()
    }

    /// Gives the number up and returns what had it.
    pub(crate) fn remove(&self, number: u64) -> Result<Arc<T>> {
        let (slot, turn) = parts(number);
        let mut shard = self.shard(turn).write();
        let value = shard.slots.get_mut(slot).and_then(Option::take);
        if value.is_some() {
            shard.free.push(slot);
        }
        value.ok_or(Error::Errno(Errno::BADF))
    }

    fn shard(&self, turn: usize) -> &RwLock<Shard<T>> {
        // In bounds: the remainder by SHARDS, the array's length.
        &self.shards[turn % SHARDS]
    }
}

fn parts(number: u64) -> (usize, usize) {
    let number = number as usize;
    (number / SHARDS, number % SHARDS)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_number_means_its_value_until_it_is_removed() {
        let handles = Handles::new();
        let numbers: Vec<u64> = (0..100).map(|value| handles.insert(value)).collect();
        for (value, number) in numbers.iter().enumerate() {
            assert_eq!(*handles.get(*number).unwrap(), value as i32);
        }
        let gone = numbers[40];
        assert_eq!(*handles.remove(gone).unwrap(), 40);
        assert!(handles.get(gone).is_err());
        assert!(handles.remove(gone).is_err());
        assert!(handles.get(1 << 40).is_err());
    }

    #[test]
    fn numbers_are_used_again() {
        let handles = Handles::new();
        for _ in 0..10_000 {
            let number = handles.insert(());
            handles.remove(number).unwrap();
        }
        let slots: usize = handles.shards.iter().map(|s| s.read().slots.len()).sum();
        assert_eq!(slots, SHARDS);
    }
}
