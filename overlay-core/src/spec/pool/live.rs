//! Live changes: branches come and go while the union is mounted.
//!
//! Afterwards the tree is what the new branches show, as if they had always
//! been there: what a change has done away with is gone as if it had been
//! removed, and what it brings to light is there as if it had been made.

use std::collections::BTreeSet;
use std::fmt;

use super::*;

/// A live change. Branches are named by where they lie at that moment; 0 is
/// the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Adds a branch below all others.
    Append(Branch),
    /// Adds a branch on top.
    Prepend(Branch),
    /// Adds a branch at this place, above the one that is there.
    Insert(usize, Branch),
    /// Takes a branch away.
    Remove(usize),
    /// Changes what may be done to a branch.
    Mode(usize, Permission),
}

impl Pool {
    /// Makes `changes`, from left to right: all of them or none. What counts
    /// is what they come to.
    ///
    /// - `EBUSY`: a branch cannot go while a file of it is held open, nor can
    ///   the last one; and it cannot become read-only while one is open for
    ///   writing.
    /// - `EINVAL`: there is no such place.
    pub fn change(&mut self, changes: &[Change]) -> Outcome {
        let mut changed = self.clone();
        let made = changes
            .iter()
            .try_for_each(|change| changed.change_one(change));
        let made = made.and_then(|()| changed.need_not_busy());
        if let Err(errno) = made {
            return Outcome::Failed(errno);
        }
        changed.number_anew(&shown(&self.view()));
        changed.turn = 0;
        *self = changed;
        Outcome::Done
    }

    fn change_one(&mut self, change: &Change) -> Result<()> {
        let count = self.branches.len();
        match change {
            Change::Append(branch) => self.insert(count, branch),
            Change::Prepend(branch) => self.insert(0, branch),
            Change::Insert(index, branch) if *index <= count => self.insert(*index, branch),
            Change::Remove(index) if *index < count => {
                self.branches.remove(*index);
            }
            Change::Mode(index, permission) if *index < count => {
                self.branches[*index].permission = *permission;
            }
            Change::Insert(..) | Change::Remove(_) | Change::Mode(..) => return Err(Errno::INVAL),
        }
        Ok(())
    }

    fn insert(&mut self, index: usize, branch: &Branch) {
        let branch = self.named(branch);
        self.branches.insert(index, branch);
    }

    /// Whether there is a branch, and those of all that is held open are there
    /// and can be written as it needs it.
    fn need_not_busy(&self) -> Result<()> {
        let is_fine = |held: &Held| {
            let mut branches = self.branches.iter();
            let branch = branches.find(|branch| branch.name() == held.id.layer);
            branch.is_some_and(|branch| branch.is_writable() || held.access == Access::Read)
        };
        match self.held.values().all(is_fine) && !self.branches.is_empty() {
            true => Ok(()),
            false => Err(Errno::BUSY),
        }
    }

    /// What comes to light has a number of its own, though it may be the
    /// original of a copy that can still be seen elsewhere.
    fn number_anew(&mut self, before: &BTreeSet<Id>) {
        for id in shown(&self.view()).difference(before) {
            let number = self.number();
            self.shown.insert(*id, number);
        }
    }
}

/// What shows a number of its own.
fn shown(dir: &Dir<Visible>) -> BTreeSet<Id> {
    let mut ids = BTreeSet::from_iter(dir.parts.first().copied());
    for entry in dir.entries.values() {
        match entry {
            Visible::Dir(dir) => ids.append(&mut shown(dir)),
            Visible::Leaf(_) => drop(ids.insert(id(entry))),
        }
    }
    ids
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Append(branch) => write!(f, "append {branch}"),
            Change::Prepend(branch) => write!(f, "prepend {branch}"),
            Change::Insert(index, branch) => write!(f, "insert at {index} {branch}"),
            Change::Remove(index) => writeln!(f, "remove {index}"),
            Change::Mode(index, permission) => writeln!(f, "branch {index} becomes {permission}"),
        }
    }
}
