//! Unmounting: at once if nothing is in use, else lazily; and never what
//! somebody else has mounted over it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use overlay_core::stack::mounts::{MountEntry, MountTable};
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
    point: PathBuf,
    /// Device number of the mounted filesystem; `None` without `/proc`.
    dev: Option<u64>,
}

impl Unmounter {
    /// For what has just been mounted at `point`.
    pub(super) fn of(point: &Path) -> Unmounter {
        let dev = MountTable::read()
            .ok()
            .and_then(|mounts| Some(mounts.at(point)?.dev));
        Unmounter {
            mount: Arc::new(Place {
                point: point.to_owned(),
                dev,
            }),
        }
    }

    /// Where it is mounted.
    pub fn point(&self) -> &Path {
        &self.mount.point
    }

    /// Unmounts; lazily if it is in use.
    pub fn unmount(&self) -> Result<Unmounted, MountError> {
        let point = self.point();
        if let (Some(dev), Ok(mounts)) = (self.mount.dev, MountTable::read()) {
            let ours = |entry: &MountEntry| entry.dev == dev && entry.point == point;
            match mounts.at(point) {
                Some(top) if ours(top) => {}
                Some(_) if mounts.entries().iter().any(ours) => {
                    return Err(MountError::Covered(point.to_owned()));
                }
                Some(_) | None => return Ok(Unmounted::Already),
            }
        }
        let failed = |error| MountError::Unmount(point.to_owned(), error);
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
