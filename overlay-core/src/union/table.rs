//! Known inodes by number, and how numbers are given.
//!
//! A number is made from where the object lies ([`Numbers`]), so it is the same
//! at every mount, and hard links share it.
//!
//! Locks: the shards of the maps (rank 4, leaves). No guard outlives its
//! expression, and nothing is dropped under one: an inode's drop comes here.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock, Weak};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry as Slot;

use super::inode::Inode;
use super::numbers::Numbers;
use super::options::Options;
use super::trail::{Met, Trails};
use crate::attr::Attr;
use crate::name::{Name, NameBuf};
use crate::stack::BranchId;

mod hand_over;

/// The root's number: FUSE wants it so.
pub(super) const ROOT: u64 = 1;

/// An object of some branch: its filesystem and its inode number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ObjectId {
    pub dev: u64,
    pub ino: u64,
}

impl ObjectId {
    pub fn new(dev: u64, ino: u64) -> ObjectId {
        ObjectId { dev, ino }
    }
}

impl From<&Attr> for ObjectId {
    fn from(attr: &Attr) -> ObjectId {
        ObjectId::new(attr.dev, attr.ino)
    }
}

#[derive(Debug)]
struct Known {
    inode: Weak<Inode>,
    /// Keeps the inode alive while `pins` is above zero.
    pinned: Option<Arc<Inode>>,
    pins: u64,
}

/// What there is to a known number.
#[derive(Debug, Clone, Copy)]
enum State {
    Alive,
    /// It was known before the branches changed, and was not found since.
    Unfound,
    /// About to be taken out.
    Dying,
}

/// The number that an object shows in place of its own.
#[derive(Debug, Clone, Copy)]
struct Given {
    /// That of its inode.
    number: u64,
    /// That which `stat(2)` shows. Another one for what was one of several names
    /// of a lower file.
    shown: u64,
    /// Where it lies, if only this says what its number is: it counts as long
    /// as that branch is there.
    on: Option<BranchId>,
}

/// The numbers that were given so far.
#[derive(Debug)]
struct Numbering {
    numbers: Arc<Numbers>,
    /// Numbers of objects that do not show their own: copies show the number
    /// of their origin for as long as the union lives, and what cannot be
    /// encoded shows a private one.
    given: DashMap<ObjectId, Given>,
    /// Numbers of the names of lower files with several hard links, and of
    /// directories that lie in several places.
    split: DashMap<(u64, NameBuf), u64>,
}

/// Known inodes by number.
#[derive(Debug)]
pub(super) struct Table {
    known: DashMap<u64, Known>,
    numbering: Numbering,
    trails: Trails,
    /// Numbers that another object had by then than the one they are made from:
    /// a copy. If the original comes to light again, it is somebody else.
    lent: HashSet<u64>,
    /// The same for the copies among the pseudo-links, once they are known:
    /// that the number is made from their original is for a look-up to see.
    reserved: OnceLock<HashSet<u64>>,
}

impl Table {
    pub fn new(numbers: Numbers, options: &Options) -> Table {
        Table {
            known: DashMap::new(),
            numbering: Numbering {
                numbers: Arc::new(numbers),
                given: DashMap::new(),
                split: DashMap::new(),
            },
            trails: Trails::new(options.nfs_export),
            lent: HashSet::new(),
            reserved: OnceLock::new(),
        }
    }

    pub fn trails(&self) -> &Trails {
        &self.trails
    }

    /// The number of an object that was found on a branch.
    pub fn number_of(&self, id: ObjectId) -> u64 {
        if let Some(number) = self.given(id) {
            return number;
        }
        if let Some(number) = self.numbering.numbers.encode(id) {
            return number;
        }
        self.made_up(id)
    }

    /// The number of an object that shows by itself. Unlike
    /// [`Table::number_of`] never that of a copy of it, or of what lay on a
    /// branch that has gone.
    pub fn number_of_shown(&self, id: ObjectId) -> u64 {
        let number = self.number_of(id);
        if !self.is_lent(number) || self.is_given(id) {
            return number;
        }
        self.made_up(id)
    }

    fn made_up(&self, id: ObjectId) -> u64 {
        let make_up = || Given::for_now(self.numbering.numbers.make_up());
        self.numbering
            .given
            .entry(id)
            .or_insert_with(make_up)
            .number
    }

    fn is_lent(&self, number: u64) -> bool {
        let reserved = self.reserved.get();
        self.lent.contains(&number) || reserved.is_some_and(|all| all.contains(&number))
    }

    /// Whether only a look-up can tell if an object shows the number that is
    /// made from its own.
    pub fn is_in_doubt(&self, id: ObjectId) -> bool {
        if self.lent.is_empty() && self.reserved.get().is_none_or(HashSet::is_empty) {
            return false;
        }
        let number = self.numbering.numbers.encode(id);
        number.is_some_and(|number| self.is_lent(number)) && !self.is_given(id)
    }

    /// Whether `number` is remembered for another object than the one that was
    /// found: it was known before the branches changed, is not there any more
    /// or leads elsewhere, and the number was used again. Who knows it still
    /// must not come to the wrong one by it. Asked where [numbers were given
    /// before](Table::is_handed_over) alone: elsewhere there is no such.
    pub fn is_of_another(&self, number: u64, met: &Met<'_>) -> bool {
        debug_assert!(self.is_handed_over());
        match self.known.get(&number).map(|known| known.state()) {
            // Somebody has it open, and it has no name.
            Some(State::Alive) => self.trails.is_gone(number),
            // Without a trail it was removed, or is gone.
            Some(State::Unfound) => self.trails.led_elsewhere(number, met).unwrap_or(true),
            Some(State::Dying) | None => {
                self.trails.forget_gone(number);
                self.trails.led_elsewhere(number, met).unwrap_or(false)
            }
        }
    }

    /// Another number for the object `id` than `number`, which is another's.
    pub fn another_number(&self, id: ObjectId, number: u64) -> u64 {
        let given = self.numbering.given.entry(id);
        let mut given = given.or_insert(Given::for_now(number));
        if given.number == number {
            *given = Given::for_now(self.numbering.numbers.make_up());
        }
        given.number
    }

    /// These copies go on showing the numbers of their originals.
    pub fn lend(&mut self, copies: Vec<(ObjectId, u64)>) {
        for (copy, number) in copies {
            if self.given(copy).is_none() {
                self.give(copy, number);
            }
            self.lent.insert(number);
        }
    }

    /// From the beginning these numbers are those of copies.
    pub fn reserve(&self, numbers: HashSet<u64>) {
        self.reserved.get_or_init(|| numbers);
    }

    /// The number that is made from where an object lies: the same at every
    /// mount.
    pub fn lasting_number(&self, id: ObjectId) -> Option<u64> {
        self.numbering.numbers.encode(id)
    }

    /// Whether numbers were given before by another union of these branches:
    /// directories may have been given one by any of their parts.
    pub fn is_handed_over(&self) -> bool {
        self.trails.after_change()
    }

    /// Whether an object shows a number that is not made from its own.
    pub fn is_given(&self, id: ObjectId) -> bool {
        self.numbering.given.contains_key(&id)
    }

    pub fn given(&self, id: ObjectId) -> Option<u64> {
        self.numbering.given.get(&id).map(|given| given.number)
    }

    /// The number that a listing shows for the object `id`.
    pub fn listed_number(&self, id: ObjectId) -> u64 {
        let number = self.number_of_shown(id);
        match self.given(id).and_then(|given| self.get(given)) {
            Some(known) => known.shown_number(),
            None => self.shown(id, number).unwrap_or(number),
        }
    }

    /// The number that is made from where the object lies, whatever it was
    /// given; a private one if that cannot be.
    pub fn own_number(&self, id: ObjectId) -> u64 {
        let made_up = || self.numbering.numbers.make_up();
        self.numbering.numbers.encode(id).unwrap_or_else(made_up)
    }

    /// From now on the object `id` shows `number`: it is a copy of what does,
    /// as its origin or a pseudo-link says.
    pub fn give(&self, id: ObjectId, number: u64) {
        let given = self.numbering.given.entry(id);
        let mut given = given.or_insert(Given::for_now(number));
        if given.number != number {
            *given = Given::for_now(number);
        }
    }

    /// From now on the object `id` of a branch has the number of `inode`, and
    /// shows what that shows. Nothing else may say so.
    pub fn give_on(&self, branch: BranchId, id: ObjectId, inode: &Inode) {
        self.numbering.given.insert(id, Given::on(branch, inode));
    }

    /// What the object `id` shows, if it has this number.
    pub fn shown(&self, id: ObjectId, number: u64) -> Option<u64> {
        let given = self.numbering.given.get(&id)?;
        (given.number == number).then_some(given.shown)
    }

    /// The number of one name of an object that is one for each of its names.
    pub fn split_number(&self, parent: &Inode, name: &Name) -> u64 {
        *self
            .numbering
            .split
            .entry((parent.number(), name.to_owned()))
            .or_insert_with(|| self.numbering.numbers.make_up())
    }

    /// Enters the number again if an inode that died meanwhile took it out.
    pub fn confirm_split(&self, parent: &Inode, name: &Name, number: u64) {
        self.numbering
            .split
            .entry((parent.number(), name.to_owned()))
            .or_insert(number);
    }

    /// This name does not mean that lower file any more.
    pub fn forget_split(&self, parent: &Inode, name: &Name) {
        if !self.numbering.split.is_empty() {
            self.numbering
                .split
                .remove(&(parent.number(), name.to_owned()));
        }
    }

    /// The live inode with this number.
    pub fn get(&self, number: u64) -> Option<Arc<Inode>> {
        self.known
            .get(&number)
            .and_then(|known| known.inode.upgrade())
    }

    /// Whether an inode has this number. Unlike [`Table::get`] it makes no
    /// reference, so it can be asked under another map's guard.
    fn is_alive(&self, number: u64) -> bool {
        self.known
            .get(&number)
            .is_some_and(|known| known.inode.strong_count() > 0)
    }

    /// Enters an inode, unless one with its number is alive: then that one.
    pub fn enter(&self, inode: Inode) -> Arc<Inode> {
        let inode = Arc::new(inode);
        let mut live = None;
        match self.known.entry(inode.number()) {
            Slot::Vacant(slot) => {
                slot.insert(Known::new(&inode));
            }
            Slot::Occupied(mut slot) => match slot.get().inode.upgrade() {
                Some(there) => live = Some(there),
                None => slot.get_mut().revive(&inode),
            },
        }
        live.unwrap_or(inode)
    }

    /// Enters an inode in place of one with its number that is not what is
    /// there any more; pins of that count for it.
    pub fn replace(&self, inode: Inode) -> Arc<Inode> {
        let inode = Arc::new(inode);
        let mut gone = None;
        match self.known.entry(inode.number()) {
            Slot::Vacant(slot) => {
                slot.insert(Known::new(&inode));
            }
            Slot::Occupied(mut slot) => {
                gone = slot.get_mut().pinned.take();
                slot.get_mut().revive(&inode);
            }
        }
        // Outside the guard: this may be the last reference.
        drop(gone);
        inode
    }

    pub fn pin(&self, inode: &Arc<Inode>) {
        let mut known = self
            .known
            .entry(inode.number())
            .or_insert_with(|| Known::new(inode));
        known.pins += 1;
        if known.pinned.is_none() {
            known.pinned = Some(Arc::clone(inode));
        }
    }

    pub fn unpin(&self, number: u64, count: u64) {
        let mut dropped = None;
        if let Some(mut known) = self.known.get_mut(&number) {
            known.pins = known.pins.saturating_sub(count);
            if known.pins == 0 {
                dropped = known.pinned.take();
            }
        }
        // Outside the guard: this may be the last reference.
        drop(dropped);
        // One that was never found again has no inode to take it out.
        let unfound = |_: &u64, known: &Known| known.pins == 0 && known.inode.strong_count() == 0;
        if self.is_handed_over() && self.known.remove_if(&number, unfound).is_some() {
            self.trails.forget(number);
        }
    }

    /// An inode is being dropped.
    pub fn forget(&self, inode: &Inode) {
        // By life, not by address: what dies with its last entry was moved out
        // of its `Arc`. A new inode of this number is alive, and stays.
        self.known
            .remove_if(&inode.number(), |_, known| known.inode.strong_count() == 0);
        self.trails.keep(inode);
        if !inode.has_name() {
            return self.forget_copy(inode);
        }
        if !inode.is_split() {
            return;
        }
        if inode.is_copied_up() {
            self.part_from_copy(inode);
        } else if let Some(link) = inode.link() {
            let name = (link.parent.number(), link.name);
            // Unless a new inode took the number over: that one confirms
            // it after it has entered itself.
            self.numbering
                .split
                .remove_if(&name, |_, number| !self.is_alive(*number));
        }
    }

    /// The copy of one name of a lower file with several shows another number
    /// than the inode has: when it is met again, that is the inode's too.
    fn part_from_copy(&self, inode: &Inode) {
        if let Some(node) = inode.copy()
            && let Ok(attr) = node.attr()
        {
            let (id, number) = (ObjectId::from(&attr), inode.shown_number());
            if self.lasting_number(id) == Some(number) {
                self.numbering.given.remove(&id);
                return;
            }
            let parted = Given {
                number,
                ..Given::on(inode.home(), inode)
            };
            self.numbering.given.insert(id, parted);
        }
    }

    /// A copy without a name is being dropped: its filesystem may use the
    /// inode number again, and that object must not show our number.
    fn forget_copy(&self, inode: &Inode) {
        let forget = |id: &ObjectId| {
            let given = &self.numbering.given;
            given.remove_if(id, |_, given| given.number == inode.number());
        };
        inode.parts().iter().for_each(|part| forget(&part.id));
        if let (false, Some(copy)) = (inode.kind().is_dir(), inode.copy())
            && let Ok(attr) = copy.attr()
            && attr.nlink == 0
        {
            forget(&ObjectId::from(&attr));
        }
    }
}

impl Given {
    /// What an object of a branch has from `inode`.
    fn on(branch: BranchId, inode: &Inode) -> Given {
        Given {
            number: inode.number(),
            shown: inode.shown_number(),
            on: Some(branch),
        }
    }

    /// A number that is found out again, or may be another one then.
    fn for_now(number: u64) -> Given {
        Given {
            number,
            shown: number,
            on: None,
        }
    }
}

impl Known {
    fn new(inode: &Arc<Inode>) -> Known {
        Known {
            inode: Arc::downgrade(inode),
            pinned: None,
            pins: 0,
        }
    }

    fn state(&self) -> State {
        match (self.inode.strong_count(), self.pins) {
            (0, 0) => State::Dying,
            (0, _) => State::Unfound,
            (_, _) => State::Alive,
        }
    }

    /// From now on this is the inode; pins of the one before count for it.
    fn revive(&mut self, inode: &Arc<Inode>) {
        self.inode = Arc::downgrade(inode);
        self.pinned = (self.pins > 0).then(|| Arc::clone(inode));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::{Caller, MemStorage, Name, Owner, Stack, Union, layer::NewKind};

    #[test]
    fn regression_directories_that_die_with_their_last_entry_leave_the_table() {
        let union = Union::new(Stack::new().upper(MemStorage::new())).unwrap();
        let owner = Owner { uid: 0, gid: 0 };
        let caller = Caller { owner, umask: 0 };
        let name = Name::new(b"d").unwrap();
        let mut deepest = union.root();
        for _ in 0..10 {
            let made = union.create(&deepest, name, NewKind::Directory, 0o755, &caller);
            deepest = made.unwrap().inode;
        }
        assert_eq!(union.table.known.len(), 11);
        drop(deepest);
        assert_eq!(union.table.known.len(), 1, "the root is left");
    }
}
