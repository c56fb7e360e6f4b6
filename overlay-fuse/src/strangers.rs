//! Nodes that the kernel knows from a listing and the union does not.
//!
//! A listing with attributes tells a node for each name, and the kernel counts
//! that as a look-up of it. Where the union has no inode of that number (see
//! `listing.rs`), there is none to pin; but one may get the number before the
//! kernel gives that look-up back. Taken from the pins of that inode, it would
//! be forgotten while the kernel still has it, and what the kernel asks of it
//! then would be `ESTALE`.
//!
//! One lock, a leaf.

use std::collections::HashMap;

use parking_lot::RwLock;

/// How many look-ups of each such node the kernel has not given back.
#[derive(Debug, Default)]
pub(crate) struct Strangers(RwLock<HashMap<u64, u64>>);

impl Strangers {
    /// The kernel is about to be told of `number`, once more.
    pub(crate) fn meet(&self, number: u64) {
        *self.0.write().entry(number).or_default() += 1;
    }

    /// The kernel gives `count` look-ups of `number` back, or was not told:
    /// how many of them were of an inode.
    pub(crate) fn part(&self, number: u64, count: u64) -> u64 {
        // There are hardly ever any.
        if !self.0.read().contains_key(&number) {
            return count;
        }
        let mut counts = self.0.write();
        let Some(met) = counts.get_mut(&number) else {
            return count;
        };
        let strange = count.min(*met);
        *met -= strange;
        if *met == 0 {
            counts.remove(&number);
        }
        count - strange
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_ups_of_a_stranger_are_not_taken_from_the_pins_of_an_inode() {
        let strangers = Strangers::default();
        assert_eq!(strangers.part(7, 3), 3);
        strangers.meet(7);
        strangers.meet(7);
        strangers.meet(8);
        assert_eq!(strangers.part(7, 1), 0);
        assert_eq!(strangers.part(7, 3), 2);
        assert_eq!(strangers.part(7, 1), 1);
        assert_eq!(strangers.part(8, 1), 0);
    }
}
