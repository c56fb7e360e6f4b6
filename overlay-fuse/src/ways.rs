//! How the kernel has each file open: through its page cache, or past the server
//! in the file of a branch (passthrough).
//!
//! While a file is open it is open in one way: the kernel answers an open of the
//! other way, or with another backing file, `EIO` (`fuse_file_io_open` in
//! `fs/fuse/iomode.c`). It has left a way before it tells of the last close.
//!
//! Each shard has a lock. It is held over `FUSE_DEV_IOC_BACKING_OPEN`, so that
//! two opens of a file do not make two backing files, over the look whether a
//! file of which that was not known can be opened with `O_DIRECT`, and over
//! nothing else that could wait.
//!
//! An open that passes drops what the kernel has cached of the file, as it is
//! without `FOPEN_KEEP_CACHE`, and nothing is cached while it is open. So what
//! is written past the cache never leaves old pages there.
//!
//! Of what is stored in a file by a mapping past the server the kernel learns
//! nothing, and the mapping may outlive the last close. So the times of a file
//! that was ever opened so that it could be mapped for writing are asked for
//! each time, until the kernel has forgotten it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use fuser::BackingId;
use overlay_core::error::Errno;
use overlay_core::union::Lent;
use overlay_core::{Error, Result};
use parking_lot::Mutex;

/// More than the threads that a mount has on common machines.
const SHARDS: usize = 64;

/// For an open that cannot be past the server, of a file that is: with `O_DIRECT`
/// on a filesystem without it, which answers the same.
const NOT_SO: Error = Error::Errno(Errno::INVAL);

/// How every open file is open.
#[derive(Debug)]
pub(crate) struct Ways {
    shards: [Mutex<Shard>; SHARDS],
    /// Whether the kernel may be asked to pass any file.
    passes: AtomicBool,
    /// How many files may change unseen.
    unseen: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shard {
    open: HashMap<u64, Open>,
    /// What may be, or may have been, mapped for writing past the server.
    unseen: HashSet<u64>,
}

/// How one file is open.
#[derive(Debug)]
struct Open {
    way: Way,
    times: usize,
}

/// A way into a file.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    /// Through the kernel's page cache.
    Cached,
    /// Past the server.
    Passed(Arc<BackingId>),
}

/// What the kernel believes of a file's times when it opens it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Belief {
    /// It may go on.
    Right,
    /// From this open on it may be wrong.
    ToBeAsked,
}

/// Whether a file is opened for reading and writing, and so may be mapped to be
/// written (`mmap(2)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mappable {
    Yes,
    No,
}

/// How whoever opens a file reads and writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Means {
    /// Through the cache of the kernel, where there is one.
    Cache,
    /// With `O_DIRECT`.
    Direct,
}

/// A file is open as long as this lives.
#[derive(Debug)]
pub(crate) struct Taken {
    ways: Arc<Ways>,
    ino: u64,
}

impl Ways {
    /// With files that pass, or without.
    pub(crate) fn new(passes: bool) -> Arc<Ways> {
        Arc::new(Ways {
            shards: std::array::from_fn(|_| Mutex::default()),
            passes: AtomicBool::new(passes),
            unseen: AtomicUsize::new(0),
        })
    }

    /// Whether any file is passed from now on.
    pub(crate) fn passes(&self) -> bool {
        self.passes.load(Ordering::Relaxed)
    }

    /// None is from now on.
    pub(crate) fn pass_nothing(&self) {
        self.passes.store(false, Ordering::Relaxed);
    }

    /// Opens the file `ino` in the way that it is open, or else past the server
    /// if `lend` has a file for that and the kernel takes it.
    ///
    /// `lend` may be asked twice: when it was asked first, the file may not have
    /// been one to lend.
    pub(crate) fn enter(
        self: &Arc<Ways>,
        ino: u64,
        (mappable, means): (Mappable, Means),
        lend: impl Fn() -> Result<Option<Lent>>,
        back: impl FnOnce(BorrowedFd<'_>) -> io::Result<BackingId>,
    ) -> Result<(Way, Belief, Taken)> {
        let lent = match self.passes() {
            true => lend()?,
            false => None,
        };
        let mut shard = self.shard(ino).lock();
        let Shard { open, unseen } = &mut *shard;
        let open = match open.entry(ino) {
            Entry::Occupied(open) => {
                let open = open.into_mut();
                match (&open.way, lent, means) {
                    (Way::Passed(_), None, Means::Direct) => drop(lend()?.ok_or(NOT_SO)?),
                    // It is one to be lent, or was when the first came.
                    (Way::Passed(_) | Way::Cached, _, _) => {}
                }
                open
            }
            Entry::Vacant(place) => {
                let way = match lent.map(|lent| back(lent.as_fd())) {
                    None => Way::Cached,
                    Some(Ok(id)) => Way::Passed(Arc::new(id)),
                    Some(Err(error)) => {
                        self.refused(&error);
                        Way::Cached
                    }
                };
                place.insert(Open { way, times: 0 })
            }
        };
        open.times += 1;
        let belief = match (&open.way, mappable) {
            (Way::Passed(_), Mappable::Yes) if unseen.insert(ino) => {
                self.unseen.fetch_add(1, Ordering::SeqCst);
                Belief::ToBeAsked
            }
            (Way::Passed(_) | Way::Cached, _) => Belief::Right,
        };
        let ways = Arc::clone(self);
        Ok((open.way.clone(), belief, Taken { ways, ino }))
    }

    /// Whether the kernel must not believe anything of the file's times.
    pub(crate) fn changes_unseen(&self, ino: u64) -> bool {
        self.unseen.load(Ordering::SeqCst) > 0 && self.shard(ino).lock().unseen.contains(&ino)
    }

    /// How long the kernel may believe the file's attributes, which else is
    /// `lifetime`.
    pub(crate) fn lifetime(&self, ino: u64, lifetime: Duration) -> Duration {
        match self.changes_unseen(ino) {
            true => Duration::ZERO,
            false => lifetime,
        }
    }

    /// The kernel has forgotten the file.
    pub(crate) fn forget(&self, ino: u64) {
        if self.unseen.load(Ordering::SeqCst) > 0 && self.shard(ino).lock().unseen.remove(&ino) {
            self.unseen.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// `EPERM`: never to this process. Else it may be about this file: one on a
    /// filesystem that is stacked itself is `ELOOP`.
    fn refused(&self, error: &io::Error) {
        tracing::debug!(%error, "a file is not passed to the kernel");
        if error.kind() == io::ErrorKind::PermissionDenied {
            self.pass_nothing();
        }
    }

    fn shard(&self, ino: u64) -> &Mutex<Shard> {
        // In bounds: the remainder by SHARDS, the array's length.
        &self.shards[ino as usize % SHARDS]
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut shard = self.ways.shard(self.ino).lock();
        let Entry::Occupied(mut open) = shard.open.entry(self.ino) else {
            return;
        };
        open.get_mut().times -= 1;
        if open.get().times > 0 {
            return;
        }
        let last = open.remove();
        drop(shard);
        // The kernel lets the file go here: not under the lock, for one without
        // a name may have to be removed from the disk.
        drop(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(ways: &Arc<Ways>, ino: u64) -> (Way, Belief, Taken) {
        let refused = |_: BorrowedFd<'_>| Err(io::ErrorKind::PermissionDenied.into());
        let entered = ways.enter(ino, (Mappable::Yes, Means::Cache), || Ok(None), refused);
        entered.unwrap_or_else(|error| unreachable!("{error}"))
    }

    #[test]
    fn a_file_that_is_not_to_be_lent_is_cached_until_its_last_close() {
        let ways = Ways::new(true);
        let (first, second) = (enter(&ways, 7), enter(&ways, 7));
        assert!(matches!((&first.0, &second.0), (Way::Cached, Way::Cached)));
        assert!(!ways.changes_unseen(7) && first.1 == Belief::Right);
        drop(first);
        assert_eq!(ways.shard(7).lock().open.len(), 1);
        drop(second);
        assert!(ways.shard(7).lock().open.is_empty());
    }
}
