//! Ways back to inodes that are not known any more: with `nfs_export`, where
//! an object was is kept when its inode is forgotten, so that a file handle
//! still leads to it; and after a change of the branches where those were that
//! were known. Numbers that objects get again are told apart by a generation.
//!
//! Owned by the [`Table`](super::table::Table); its map is a leaf.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dashmap::DashMap;

use super::change::Unasked;
use super::inode::{Inode, Link};
use super::table::ROOT;
use super::{Entry, Union};
use crate::attr::FileKind;
use crate::error::{Error, Result};
use crate::name::{Name, NameBuf};
use crate::stack::{BranchId, Stack};

/// The mount option `nfs_export`: how long a file handle of the union is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NfsExport {
    /// For as long as the union lives and the object has the name under which
    /// it was forgotten, or one of its directories was renamed. Costs
    /// memory for each object that was ever known.
    On,
    /// While the inode is known.
    #[default]
    Off,
}

/// Where an object was when its inode was forgotten.
#[derive(Debug, Clone)]
pub(super) struct Trail {
    parent: u64,
    name: NameBuf,
    kind: FileKind,
    generation: u32,
    /// The number that it showed.
    shown: u64,
    /// The branches that it lay on: by what is there it is found again.
    branches: Box<[BranchId]>,
    /// They have gone, and it with them. The name may mean something else now.
    gone: bool,
    /// Its content may be that of another object: what showed has gone.
    content_changed: bool,
}

/// What a look-up has found, to be told from what had its number before.
#[derive(Debug)]
pub(super) struct Met<'a> {
    pub parent: &'a Inode,
    pub name: &'a Name,
    pub kind: FileKind,
    /// Whether it is a non-directory with other names.
    pub has_more_names: bool,
    /// The branches that it lies on.
    pub branches: &'a [BranchId],
}

impl Trail {
    fn of(inode: &Inode) -> Option<Trail> {
        let Link { parent, name } = inode.link()?;
        Some(Trail {
            parent: parent.number(),
            name,
            kind: inode.kind(),
            generation: inode.generation(),
            shown: inode.shown_number(),
            branches: inode.branches().into(),
            gone: false,
            // Of one whose data lies elsewhere that may change with any branch.
            content_changed: inode.lacks_data(),
        })
    }

    /// The same in `stack`. What lay on none of its branches is gone for good:
    /// its number may be that of anything by now.
    fn in_stack(mut self, stack: &Stack) -> Trail {
        let stays = |branch: &BranchId| stack.branch(*branch).is_some();
        self.gone |= !self.branches.iter().any(stays);
        self.content_changed |= !self.branches.first().is_some_and(stays);
        self
    }

    /// Whether it leads to what was found, which has its number. By another
    /// name an object is met first if it has several.
    fn leads_to(&self, met: &Met<'_>) -> bool {
        let by_name = (self.parent, &*self.name) == (met.parent.number(), met.name);
        let on = |branch: &BranchId| met.branches.contains(branch);
        !self.gone
            && self.kind == met.kind
            && self.branches.iter().any(on)
            && (by_name || met.has_more_names)
    }
}

/// Where forgotten inodes were, and which generation new ones are of.
#[derive(Debug, Default)]
pub(super) struct Trails {
    kept: Option<DashMap<u64, Trail>>,
    /// Of inodes that were known when the branches changed, and were not asked
    /// for since.
    left: DashMap<u64, Trail>,
    /// Whether the branches ever changed: until then nothing is left.
    changed: bool,
    /// Objects that were removed: a number may come again after each.
    removed: AtomicU32,
}

impl Trails {
    pub fn new(export: NfsExport) -> Trails {
        Trails {
            kept: match export {
                NfsExport::On => Some(DashMap::new()),
                NfsExport::Off => None,
            },
            left: DashMap::new(),
            changed: false,
            removed: AtomicU32::new(0),
        }
    }

    /// The trails of a union of `stack`, which takes the place of this one's.
    /// What goes is as what was removed.
    pub fn hand_over(&self, stack: &Stack) -> Trails {
        let in_stack = |trails: &DashMap<u64, Trail>| -> DashMap<u64, Trail> {
            let trails = trails.iter();
            let trail = |entry: &Trail| entry.clone().in_stack(stack);
            trails.map(|e| (*e.key(), trail(e.value()))).collect()
        };
        let kept = self.kept.as_ref().map(in_stack);
        if let Some(kept) = &kept {
            kept.retain(|_, trail| !trail.gone);
        }
        let removed = self.removed.load(Ordering::Relaxed);
        Trails {
            kept,
            left: in_stack(&self.left),
            changed: true,
            removed: AtomicU32::new(removed.wrapping_add(1)),
        }
    }

    /// Whether these follow those of a union of other branches.
    pub fn after_change(&self) -> bool {
        self.changed
    }

    /// Notes where `inode` is, for the union of `stack` that takes over.
    pub fn leave(&self, inode: &Inode, stack: &Stack) {
        if let Some(trail) = Trail::of(inode) {
            self.left.insert(inode.number(), trail.in_stack(stack));
        }
    }

    /// The numbers of what was left and is not gone, and what it showed.
    pub fn numbers_left(&self) -> Vec<(u64, u64)> {
        let left = self.left.iter().filter(|entry| !entry.gone);
        left.map(|entry| (*entry.key(), entry.shown)).collect()
    }

    /// Whether what had this number went with its branches.
    pub fn is_gone(&self, number: u64) -> bool {
        self.left.get(&number).is_some_and(|trail| trail.gone)
    }

    /// Nobody knows the number any more: if what had it is gone, it may be that
    /// of anything.
    pub fn forget_gone(&self, number: u64) {
        self.left.remove_if(&number, |_, trail| trail.gone);
    }

    /// Whether what had the number of what was found, before the branches
    /// changed, is another object; `None` if nothing is known of it.
    pub fn led_elsewhere(&self, number: u64, met: &Met<'_>) -> Option<bool> {
        let trail = self.left.get(&number).filter(|trail| !trail.gone)?;
        Some(!trail.leads_to(met))
    }

    /// What was left and not asked for.
    pub fn left(&self) -> Vec<Unasked> {
        let left = self.left.iter();
        left.map(|entry| Unasked {
            number: *entry.key(),
            kind: entry.kind,
            parent: entry.parent,
            name: entry.name.clone(),
            content_changed: entry.content_changed,
        })
        .collect()
    }

    /// What was left of this inode counts no more.
    pub fn forget(&self, number: u64) {
        if self.changed {
            self.left.remove(&number);
        }
    }

    /// The generation of a new inode with this number: that of the forgotten
    /// one, which is the same object (see [`Table::is_of_another`]).
    ///
    /// [`Table::is_of_another`]: super::table::Table::is_of_another
    pub fn generation(&self, number: u64) -> u32 {
        match self.get(number) {
            // The kernel has the root before it asks for any, as of this one.
            _ if number == ROOT => 0,
            Some(trail) => trail.generation,
            None => self.removed.load(Ordering::Relaxed),
        }
    }

    /// An inode is being dropped.
    pub fn keep(&self, inode: &Inode) {
        if !inode.has_name() {
            return self.remove(inode.number());
        }
        if let Some(kept) = &self.kept
            && let Some(trail) = Trail::of(inode)
        {
            kept.insert(inode.number(), trail);
        }
        self.forget(inode.number());
    }

    /// An object has lost its last name: handles of it lead nowhere.
    pub fn remove(&self, number: u64) {
        if number != ROOT {
            self.removed.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(kept) = &self.kept {
            kept.remove(&number);
        }
        self.left.remove(&number);
    }

    fn get(&self, number: u64) -> Option<Trail> {
        let kept = self.kept.as_ref().and_then(|kept| kept.get(&number));
        if let Some(trail) = kept {
            return Some(trail.clone());
        }
        if !self.changed {
            return None;
        }
        let left = self.left.get(&number).filter(|trail| !trail.gone)?;
        Some(left.clone())
    }
}

impl Union {
    /// As [`Union::recall`] for an inode that is in use. One that the branches
    /// lost when they changed is as one that was removed.
    ///
    /// Errors: `ENOENT` then, `ESTALE` if they never changed.
    pub fn recall_after_change(&self, number: u64) -> Result<Entry> {
        match self.table.is_handed_over() {
            true => self.recall(number)?.ok_or(Error::NotFound),
            false => Err(Error::Stale),
        }
    }

    /// The inode with this number, found again if it was forgotten; `None` if
    /// it is gone, or no trail leads to it ([`NfsExport`]).
    pub fn recall(&self, number: u64) -> Result<Option<Entry>> {
        // Up to the nearest inode that is known, in a loop: trees are deep.
        let mut way = Vec::new();
        let mut at = number;
        let mut inode = loop {
            if let Some(known) = self.known(at) {
                break known;
            }
            match self.table.trails().get(at) {
                // A trail that leads in a circle is no trail.
                Some(_) if way.iter().any(|(met, _)| *met == at) => return Ok(None),
                Some(trail) => {
                    way.push((at, trail.name));
                    at = trail.parent;
                }
                None => return Ok(None),
            }
        };
        for (expected, name) in way.iter().rev() {
            match self.lookup(&inode, name)? {
                Some(entry) if entry.inode.number() == *expected => inode = entry.inode,
                Some(_) | None => return Ok(None),
            }
        }
        let attr = self.attr(&inode)?;
        Ok(Some(Entry {
            inode: Arc::clone(&inode),
            attr,
        }))
    }
}
