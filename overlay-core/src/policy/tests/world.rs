//! Branches that exist in the test alone, and count what they are asked.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::attr::{FileKind, Timestamp};
use crate::error::{Errno, Error, Result};
use crate::policy::{Candidate, Chooser, CreatePolicy, Place, Space};
use crate::stack::BranchId;

/// A branch of 1000 bytes, of which some are available.
#[derive(Debug, Clone)]
pub struct Branch {
    id: BranchId,
    writable: bool,
    parent: bool,
    pub total: u64,
    available: Cell<Option<u64>>,
    modified: i64,
    /// How often it was asked for its free space.
    pub looks: Cell<u32>,
    /// How often it was asked for the parent.
    pub lookups: Cell<u32>,
}

fn branch(writable: bool, available: u64) -> Branch {
    Branch {
        id: BranchId(0),
        writable,
        parent: true,
        total: 1000,
        available: Cell::new(Some(available)),
        modified: 0,
        looks: Cell::new(0),
        lookups: Cell::new(0),
    }
}

/// A writable branch with the parent.
pub fn rw(available: u64) -> Branch {
    branch(true, available)
}

/// A read-only branch with the parent.
pub fn ro() -> Branch {
    branch(false, 0)
}

impl Branch {
    /// It has no parent directory.
    pub fn bare(mut self) -> Branch {
        self.parent = false;
        self
    }

    pub fn modified(mut self, sec: i64) -> Branch {
        self.modified = sec;
        self
    }

    pub fn of(mut self, total: u64) -> Branch {
        self.total = total;
        self
    }

    pub fn is_bare(&self) -> bool {
        !self.parent
    }

    pub fn available(&self) -> u64 {
        self.available.get().unwrap()
    }

    /// `None`: its filesystem does not answer any more.
    pub fn set_available(&self, available: Option<u64>) {
        self.available.set(available);
    }
}

impl Candidate for Branch {
    fn id(&self) -> BranchId {
        self.id
    }

    fn is_writable(&self) -> bool {
        self.writable
    }

    fn has_parent(&self) -> Result<bool> {
        self.lookups.set(self.lookups.get() + 1);
        Ok(self.parent)
    }

    fn parent_modified(&self) -> Result<Timestamp> {
        assert!(self.parent, "only asked where it is");
        let sec = self.modified;
        Ok(Timestamp { sec, nsec: 0 })
    }

    fn space(&self) -> Result<Space> {
        assert!(
            self.writable,
            "a branch that cannot be written is not asked"
        );
        self.looks.set(self.looks.get() + 1);
        let available = self.available.get().ok_or(Error::Errno(Errno::IO))?;
        Ok(Space {
            total: self.total,
            free: available,
            available,
        })
    }
}

/// Names them 10, 20, 30, ... from the top down: no name is a position.
pub fn stack(branches: impl IntoIterator<Item = Branch>) -> Vec<Branch> {
    let mut branches: Vec<Branch> = branches.into_iter().collect();
    for (at, branch) in branches.iter_mut().enumerate() {
        branch.id = id(at);
    }
    branches
}

/// The name of the branch at a position.
pub fn id(at: usize) -> BranchId {
    BranchId((at as u32 + 1) * 10)
}

/// The position of a branch.
pub fn at(id: BranchId) -> usize {
    id.0 as usize / 10 - 1
}

pub fn chooser(create: &str) -> Chooser {
    Chooser::new(create.parse().unwrap(), "tdp".parse().unwrap(), 1)
}

pub fn copier(copy_up: &str) -> Chooser {
    let create = CreatePolicy::default();
    Chooser::new(create, copy_up.parse().unwrap(), 1)
}

/// A file, under no mark, at no time in particular.
pub fn file() -> Place<'static> {
    Place {
        kind: FileKind::Regular,
        ceiling: None,
        failed: &[],
        now: Instant::now(),
    }
}

/// The same some seconds later.
pub fn later(place: Place<'static>, seconds: u64) -> Place<'static> {
    Place {
        now: place.now + Duration::from_secs(seconds),
        ..place
    }
}

/// The position that a fresh chooser names for a file.
pub fn first(create: &str, branches: &[Branch]) -> Option<usize> {
    chooser(create).create(branches, &file()).unwrap().map(at)
}

/// How many of `count` files each position gets.
pub fn spread(create: &str, branches: &[Branch], count: usize) -> BTreeMap<usize, usize> {
    let chooser = chooser(create);
    let mut out = BTreeMap::new();
    for _ in 0..count {
        let chosen = chooser.create(branches, &file()).unwrap().unwrap();
        *out.entry(at(chosen)).or_default() += 1;
    }
    out
}

/// The positions that one request is sent to, when all of them are full.
pub fn tried(create: &str, branches: &[Branch]) -> Vec<usize> {
    let chooser = chooser(create);
    let mut failed = Vec::new();
    loop {
        let place = Place {
            failed: &failed,
            ..file()
        };
        match chooser.create(branches, &place).unwrap() {
            Some(id) => failed.push(id),
            None => return failed.into_iter().map(at).collect(),
        }
    }
}
