//! The policies of aufs and mergerfs, as the tables in `docs/aufs.md` have
//! them. Those that throw dice are not here.

use std::cmp::Reverse;
use std::fmt;

/// The two policies of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policies {
    /// For new objects.
    pub create: Create,
    /// For copies.
    pub copy_up: CopyUp,
}

/// Which branch takes new objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Create {
    /// `tdp`
    #[default]
    TopDownParent,
    /// `rr`
    RoundRobin,
    /// `mfs`
    MostFree,
    /// `tdmfs`, with the bytes that are enough.
    TopDownMostFree(u64),
    /// `pmfs`
    ParentMostFree,
    /// `ff`
    FirstFound,
    /// `epff`
    ExistingFirst,
    /// `epmfs`
    ExistingMostFree,
    /// `lfs`
    LeastFree,
    /// `eplfs`
    ExistingLeastFree,
}

/// Which branch takes copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CopyUp {
    /// `tdp`
    #[default]
    TopDownParent,
    /// `bup`
    BottomUpParent,
    /// `bu`
    BottomUp,
}

/// A branch as a policy sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub index: usize,
    pub is_writable: bool,
    /// Whether it has a part of the directory in question.
    pub has_parent: bool,
    pub free: u64,
}

impl Create {
    /// The branch, of all those of a stack; `turn` is how often a file was
    /// made. Nothing where no branch will do.
    pub(super) fn choose(self, all: &[Candidate], turn: usize) -> Option<usize> {
        let writable: Vec<_> = all.iter().filter(|branch| branch.is_writable).collect();
        let mut parents = writable.clone();
        parents.retain(|branch| branch.has_parent);
        let existing = if parents.is_empty() {
            &writable
        } else {
            &parents
        };

        // Of equals `min_by_key` takes the first, `max_by_key` the last.
        let found = match self {
            Create::TopDownParent => top_down_parent(all),
            Create::RoundRobin => writable
                .iter()
                .cycle()
                .nth(turn % writable.len().max(1))
                .copied(),
            Create::MostFree => writable.into_iter().max_by_key(|branch| branch.free),
            Create::TopDownMostFree(low) => {
                let enough = writable.iter().find(|branch| branch.free >= low).copied();
                enough.or_else(|| writable.into_iter().max_by_key(|branch| branch.free))
            }
            Create::ParentMostFree => {
                let most = parents
                    .into_iter()
                    .min_by_key(|branch| Reverse(branch.free));
                most.or_else(|| top_down_parent(all))
            }
            Create::FirstFound => writable.into_iter().next(),
            Create::ExistingFirst => existing.iter().next().copied(),
            Create::ExistingMostFree => {
                let existing = existing.iter().copied();
                existing.min_by_key(|branch| Reverse(branch.free))
            }
            Create::LeastFree => writable.into_iter().min_by_key(|branch| branch.free),
            Create::ExistingLeastFree => existing.iter().copied().min_by_key(|branch| branch.free),
        };
        found.map(|branch| branch.index)
    }
}

/// The highest branch with the parent, or the nearest above it that can be
/// written.
fn top_down_parent(all: &[Candidate]) -> Option<&Candidate> {
    let top = all.iter().position(|branch| branch.has_parent)?;
    all.iter().take(top + 1).rfind(|branch| branch.is_writable)
}

impl CopyUp {
    /// The branch above `source`, of all those of a stack.
    pub(super) fn choose(self, all: &[Candidate], source: usize) -> Option<usize> {
        let above = all.iter().take(source);
        let above: Vec<_> = above.filter(|branch| branch.is_writable).collect();
        let mut parents = above.iter().copied().filter(|branch| branch.has_parent);
        let nearest = above.last().copied();
        let found = match self {
            CopyUp::TopDownParent => parents.next().or(nearest),
            CopyUp::BottomUpParent => parents.next_back().or_else(|| {
                let top = all.iter().position(|branch| branch.has_parent)?;
                above.iter().copied().rfind(|branch| branch.index < top)
            }),
            CopyUp::BottomUp => nearest,
        };
        found.map(|branch| branch.index)
    }
}

impl fmt::Display for Create {
    /// The word of a mount option.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Create::TopDownParent => "tdp",
            Create::RoundRobin => "rr",
            Create::MostFree => "mfs",
            Create::TopDownMostFree(low) => return write!(f, "tdmfs:{low}"),
            Create::ParentMostFree => "pmfs",
            Create::FirstFound => "ff",
            Create::ExistingFirst => "epff",
            Create::ExistingMostFree => "epmfs",
            Create::LeastFree => "lfs",
            Create::ExistingLeastFree => "eplfs",
        })
    }
}

impl fmt::Display for CopyUp {
    /// The word of a mount option.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CopyUp::TopDownParent => "tdp",
            CopyUp::BottomUpParent => "bup",
            CopyUp::BottomUp => "bu",
        })
    }
}
