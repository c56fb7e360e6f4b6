//! The table of a union that takes the place of another: numbers stay with the
//! objects that have them.
//!
//! Nothing is done by either union meanwhile. No guard of a map is held while
//! an inode is in hand: see the table.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock, Weak};

use dashmap::DashMap;

use super::{Given, Known, Numbering, ROOT, Table};
use crate::stack::{BranchId, Stack};
use crate::union::inode::Inode;

impl Table {
    /// A table for a union of `stack` that takes the place of that of `before`:
    /// what is known keeps its number, and is found again when it is asked for.
    /// What is not found again by its name was lost to the change.
    ///
    /// What nobody knows any more keeps it too, where its branch stays: whoever
    /// asked for it before may compare.
    pub fn after(before: &Table, stack: &Stack) -> Table {
        let stays = |branch: BranchId| stack.branch(branch).is_some();
        let trails = before.trails.hand_over(stack);
        let were: Vec<(u64, Weak<Inode>, u64)> = before
            .known
            .iter()
            .map(|entry| (*entry.key(), entry.inode.clone(), entry.pins))
            .collect();
        let (given, known) = (DashMap::new(), DashMap::new());
        let mut alive = HashMap::new();
        for (number, inode, pins) in were {
            if pins > 0 {
                known.insert(number, Known::unfound(pins));
            }
            if let Some(inode) = inode.upgrade() {
                trails.leave(&inode, stack);
                alive.insert(number, inode);
            }
        }
        // What has a trail to where it is; its names may show another number.
        let (mut found, shown): (HashSet<u64>, HashSet<u64>) =
            trails.numbers_left().into_iter().unzip();
        found.insert(ROOT);
        for entry in &before.numbering.given {
            let (id, given_before) = (*entry.key(), *entry.value());
            let number = given_before.number;
            let kept = match alive.get(&number) {
                // By its parts, below.
                Some(inode) if inode.kind().is_dir() => false,
                Some(inode) if inode.link().is_some() => stays(inode.home()),
                Some(inode) => stays(inode.home()) && !is_removed(inode),
                None if found.contains(&number) || shown.contains(&number) => true,
                None => !known.contains_key(&number) && given_before.on.is_some_and(stays),
            };
            if kept {
                given.insert(id, given_before);
            }
        }
        for (number, inode) in &alive {
            // By whatever part of it is found again. What was removed is not,
            // and its filesystem may have given its place to something else.
            let parts = inode.parts().iter().filter(|_| found.contains(number));
            for part in parts.filter(|part| stays(part.branch)) {
                given.insert(part.id, Given::on(part.branch, inode));
            }
        }
        let numbers = Arc::clone(&before.numbering.numbers);
        let is_lent = |(id, number)| (numbers.encode(id) != Some(number)).then_some(number);
        let lent = given.iter();
        let lent = lent.filter_map(|entry| is_lent((*entry.key(), entry.number)));
        Table {
            known,
            lent: lent.collect(),
            numbering: Numbering {
                split: before.numbering.split.clone(),
                numbers: Arc::clone(&numbers),
                given,
            },
            trails,
            reserved: OnceLock::new(),
        }
    }
}

impl Known {
    /// One that was known before, and is to be found again.
    fn unfound(pins: u64) -> Known {
        Known {
            inode: Weak::new(),
            pinned: None,
            pins,
        }
    }
}

/// Whether an object has lost its last name on its branch, too: then nothing
/// holds its place there once it is closed.
fn is_removed(inode: &Inode) -> bool {
    let attr = inode.copy().map(|node| node.attr());
    attr.is_some_and(|attr| attr.map_or(true, |attr| attr.nlink == 0))
}
