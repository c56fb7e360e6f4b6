//! Ways back to inodes that are not known any more: with `nfs_export`, where
//! an object was is kept when its inode is forgotten, so that a file handle
//! still leads to it. Numbers that objects get again are told apart by a
//! generation.
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
use crate::name::NameBuf;

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
struct Trail {
    parent: u64,
    name: NameBuf,
    kind: FileKind,
    generation: u32,
}

/// Where forgotten inodes were, and which generation new ones are of.
#[derive(Debug, Default)]
pub(super) struct Trails {
    kept: Option<DashMap<u64, Trail>>,
    /// Of inodes that were known when the branches changed, and were not asked
    /// for since.
    left: DashMap<u64, Trail>,
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
            removed: AtomicU32::new(0),
        }
    }

    /// The trails of a union that takes the place of this one's.
    pub fn hand_over(&self) -> Trails {
        Trails {
            kept: self.kept.clone(),
            left: self.left.clone(),
            removed: AtomicU32::new(self.removed.load(Ordering::Relaxed)),
        }
    }

    /// Notes where `inode` is, for the union that takes over.
    pub fn leave(&self, inode: &Inode) {
        if let Some(Link { parent, name }) = inode.link() {
            let trail = Trail {
                parent: parent.number(),
                name,
                kind: inode.kind(),
                generation: inode.generation(),
            };
            self.left.insert(inode.number(), trail);
        }
    }

    /// What was left and not asked for.
    pub fn left(&self) -> Vec<Unasked> {
        let left = self.left.iter();
        left.map(|entry| Unasked {
            number: *entry.key(),
            kind: entry.kind,
            parent: entry.parent,
            name: entry.name.clone(),
        })
        .collect()
    }

    /// Nobody will ask for this inode.
    pub fn forget(&self, number: u64) {
        self.left.remove(&number);
    }

    /// The generation of a new inode with this number: that of the forgotten
    /// one if it is the same object.
    pub fn generation(&self, number: u64) -> u32 {
        match self.get(number) {
            Some(trail) => trail.generation,
            None => self.removed.load(Ordering::Relaxed),
        }
    }

    /// An inode is being dropped.
    pub fn keep(&self, inode: &Inode) {
        match (inode.link(), &self.kept) {
            (Some(Link { parent, name }), Some(kept)) => {
                let trail = Trail {
                    parent: parent.number(),
                    name,
                    kind: inode.kind(),
                    generation: inode.generation(),
                };
                kept.insert(inode.number(), trail);
            }
            (Some(_), None) => self.forget(inode.number()),
            (None, _) => self.remove(inode.number()),
        }
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
        match kept {
            Some(trail) => Some(trail.clone()),
            None if self.left.is_empty() => None,
            None => self.left.get(&number).map(|trail| trail.clone()),
        }
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
