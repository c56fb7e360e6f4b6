//! Unmounting: at once if nothing is in use, else lazily; and never what
//! somebody else has mounted over it.
//!
//! A mount is known by its number and not by its path: directories above it
//! may be renamed while it is there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use overlay_core::stack::mounts::{MountEntry, MountTable};
use rustix::fs::{AtFlags, CWD, StatxFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::error::MountError;
use super::fusermount::{self, Lazy};

/// How a mount went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmounted {
    /// At once.
    Now,
    /// It was in use: it is gone from the tree, and the files that are open
    /// work until they are closed.
    Lazily,
    /// Somebody else had unmounted it.
    Already,
}

/// Unmounts one mount. Can be cloned and sent to other threads.
#[derive(Debug, Clone)]
pub struct Unmounter {
    mount: Arc<Place>,
}

#[derive(Debug)]
struct Place {
    /// Where it was mounted.
    point: PathBuf,
    /// `None` without `/proc`.
    known: Option<Known>,
}

/// What a mount is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    /// Its number in the table of mounts; another mount may get it later.
    id: u64,
    /// Device number of the mounted filesystem, the same.
    dev: u64,
    /// A number that no other mount ever gets (Linux 6.8).
    unique: Option<u64>,
}

impl Known {
    /// What is seen at `point` now.
    fn at(point: &Path, mounts: &MountTable) -> Option<Known> {
        // The table does not say which of several on one point is on top: one
        // that was moved there may be older than what it covers.
        let entry = match mount_id(point, StatxFlags::MNT_ID) {
            Some(id) => mounts.entries().iter().find(|entry| entry.id == id),
            None => mounts.at(point),
        }?;
        Some(Known {
            id: entry.id,
            dev: entry.dev,
            unique: mount_id(point, UNIQUE),
        })
    }

    fn is_listed_as(&self, entry: &MountEntry) -> bool {
        entry.id == self.id && entry.dev == self.dev
    }
}

/// `STATX_MNT_ID_UNIQUE`, `include/uapi/linux/stat.h`
const UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);

/// The number, of the kind `which`, of the mount that is seen at `point`. Asks
/// no server: none may be there yet, or any more.
fn mount_id(point: &Path, which: StatxFlags) -> Option<u64> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    let found = rustix::fs::statx(CWD, point, flags, which).ok()?;
    let known = StatxFlags::from_bits_retain(found.stx_mask).contains(which);
    known.then_some(found.stx_mnt_id)
}

impl Unmounter {
    /// For what has just been mounted at `point`.
    pub(super) fn of(point: &Path) -> Unmounter {
        let known = MountTable::read()
            .ok()
            .and_then(|mounts| Known::at(point, &mounts));
        Unmounter {
            mount: Arc::new(Place {
                point: point.to_owned(),
                known,
            }),
        }
    }

    /// Where it was mounted.
    pub fn point(&self) -> &Path {
        &self.mount.point
    }

    /// The device number of the mounted filesystem; `None` without `/proc`.
    pub(crate) fn filesystem(&self) -> Option<u64> {
        self.mount.known.map(|known| known.dev)
    }

    /// Where it is now; `None` if it is not mounted any more.
    fn place(&self) -> Result<Option<PathBuf>, MountError> {
        let (Some(known), Ok(mounts)) = (self.mount.known, MountTable::read()) else {
            return Ok(Some(self.point().to_owned()));
        };
        let ours = |entry: &&MountEntry| known.is_listed_as(entry);
        let Some(entry) = mounts.entries().iter().find(ours) else {
            return Ok(None);
        };
        match Known::at(&entry.point, &mounts) {
            Some(seen) if seen == known => Ok(Some(entry.point.clone())),
            // Its numbers, but not the one that is never given again.
            Some(seen) if seen.is_listed_as(entry) => Ok(None),
            Some(_) | None => Err(MountError::Covered(entry.point.clone())),
        }
    }

    /// Unmounts; lazily if it is in use.
    pub fn unmount(&self) -> Result<Unmounted, MountError> {
        let Some(point) = self.place()? else {
            return Ok(Unmounted::Already);
        };
        let point = &point;
        let failed = |error| MountError::Unmount(point.clone(), error);
        match rustix::mount::unmount(point, UnmountFlags::NOFOLLOW) {
            Ok(()) => Ok(Unmounted::Now),
            Err(Errno::BUSY) => {
                let lazily = UnmountFlags::NOFOLLOW | UnmountFlags::DETACH;
                rustix::mount::unmount(point, lazily).map_err(|errno| failed(errno.into()))?;
                Ok(Unmounted::Lazily)
            }
            // Only root may; the helper may for a user's own mounts.
            Err(Errno::PERM) => {
                if fusermount::unmount(point, Lazy::No).is_ok() {
                    return Ok(Unmounted::Now);
                }
                fusermount::unmount(point, Lazy::Yes).map_err(failed)?;
                Ok(Unmounted::Lazily)
            }
            // Not mounted: without /proc that is all there is to know.
            Err(Errno::INVAL) => Ok(Unmounted::Already),
            Err(errno) => Err(failed(errno.into())),
        }
    }
}
