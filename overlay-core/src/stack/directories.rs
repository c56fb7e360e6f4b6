//! A stack from directories of the host, refused while nothing has happened
//! yet if it cannot be right.
//!
//! Owns the checks (what overlaps, what is in use, what the filesystem below
//! can store) and the choice of the dialect. Does not own the layers: it ends
//! by opening them. Everything that can be checked without a change on disk
//! comes first, and what the rest changed is taken back by [`Opened`].

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::Access;
use rustix::thread::CapabilitySet;

use crate::dialect::{Dialect, Namespace};
use crate::error::Error;
use crate::layer::WritableStorage;
use crate::layer::dir::{Descriptors, DirStorage, DirUpper};
use crate::stack::Stack;
use crate::stack::mounts::{MountTable, unescape_option};

mod error;
mod place;
mod undo;

pub use error::{Role, SetupError};
use place::{Place, refusal};
use undo::Undo;

/// How long a work directory may stay locked by a mount that is just going
/// away: `umount(8)` returns before the serving process has let go.
const HANDOVER: Duration = Duration::from_secs(1);

/// Descriptors that the lower layers must leave: for the upper layer, the
/// device, and the calls of some threads at once.
const SPARE: usize = 32;

/// Which names the marks of the overlay dialect get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Marks {
    /// `trusted.overlay.*` where this process may write them, else
    /// `user.overlay.*`.
    #[default]
    Automatic,
    /// `user.overlay.*`: the kernel's mount option `userxattr`.
    User,
}

/// Directories of the host to be put together, and where to show them.
///
/// ```no_run
/// use overlay_core::{Directories, Union};
///
/// let directories = Directories {
///     lowers: vec!["/srv/base".into()],
///     upper: Some("/srv/changes".into()),
///     ..Directories::default()
/// };
/// let union = Union::new(directories.open()?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directories {
    /// Read-only layers, top first; at least one.
    pub lowers: Vec<PathBuf>,
    /// The layer that takes all changes; without it the union is read-only.
    pub upper: Option<PathBuf>,
    /// Where changes are prepared: a directory on the filesystem of `upper`
    /// that holds nothing else. `None`: `<upper>.work`, made if missing.
    pub work: Option<PathBuf>,
    /// Names of the marks.
    pub marks: Marks,
    /// Where the union will be mounted, to be checked against the layers.
    pub mount_point: Option<PathBuf>,
}

impl Directories {
    /// Checks everything, then opens the layers.
    ///
    /// On failure nothing on disk has changed.
    pub fn open(&self) -> Result<Stack, SetupError> {
        Ok(self.open_undoable()?.keep())
    }

    /// As [`Directories::open`], for a caller who may still fail: what was
    /// made on disk goes away again unless [`Opened::keep`] is called.
    pub fn open_undoable(&self) -> Result<Opened, SetupError> {
        let places = self.check()?;
        let descriptors = Descriptors::from_rlimit();
        let user = Dialect::Overlay(Namespace::User);
        let trusted = Dialect::Overlay(Namespace::Trusted);
        let dialect = match self.marks {
            Marks::User => user,
            Marks::Automatic if may_write_trusted() => trusted,
            Marks::Automatic => user,
        };
        let mut stack = Stack::new();
        // Dropped before the stack: takes things back under the stack's locks.
        let mut undo = Undo::nothing();
        // Before anything is made: they may need more descriptors than there
        // are. Dropped first, so that `undo` has some left.
        let lowers = places
            .lowers
            .iter()
            .map(|lower| {
                DirStorage::open(&lower.real, &descriptors).map_err(|error| lower.refused(error))
            })
            .collect::<Result<Vec<_>, SetupError>>()?;
        if let Some(last) = places.lowers.last() {
            require_spare_descriptors(last)?;
        }
        if let Some((upper, work)) = &places.writable {
            undo = Undo::of(work)?;
            let storage = match open_upper(upper, work, &descriptors) {
                Ok(storage) => storage,
                Err(error) => {
                    // What lies there may be another mount's.
                    if matches!(error, SetupError::InUse { .. }) {
                        undo.keep();
                    }
                    return Err(error);
                }
            };
            stack = stack.upper_as(Arc::clone(&storage), dialect);
            require_marks(&*storage, dialect, upper)?;
        }
        for storage in lowers {
            stack = stack.lower_as(storage, dialect);
        }
        Ok(Opened { undo, stack })
    }

    /// All checks that need no change on disk.
    fn check(&self) -> Result<Places, SetupError> {
        let mounts = MountTable::read().map_err(SetupError::NoProc)?;
        if self.lowers.is_empty() {
            return Err(SetupError::NoLower);
        }
        let lowers = self
            .lowers
            .iter()
            .map(|path| {
                let place = Place::find(Role::Lower, path, &mounts)?;
                place.require(Access::READ_OK | Access::EXEC_OK)?;
                Ok(place)
            })
            .collect::<Result<Vec<_>, SetupError>>()?;
        let writable = match &self.upper {
            Some(upper) => Some(self.check_writable(upper, &mounts)?),
            None => None,
        };
        let places = Places { lowers, writable };
        places.check_overlaps()?;
        if let Some(point) = &self.mount_point {
            places.check_mount_point(point, &mounts)?;
        }
        Ok(places)
    }

    fn check_writable(
        &self,
        upper: &Path,
        mounts: &MountTable,
    ) -> Result<(Place, Place), SetupError> {
        let upper = Place::find(Role::Upper, upper, mounts)?;
        upper.require(Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK)?;
        let work = match &self.work {
            Some(work) => Place::find(Role::Work, work, mounts)?,
            None => Place::beside(&upper, mounts)?,
        };
        if !work.shares_filesystem(&upper) {
            if mounts.at(&upper.real).is_some() {
                return Err(SetupError::NothingBeside { upper: upper.path });
            }
            return Err(SetupError::WorkElsewhere {
                work: work.path,
                upper: upper.path,
            });
        }
        work.require(Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK)?;
        refuse_kernel_overlay(&upper, mounts)?;
        refuse_kernel_overlay(&work, mounts)?;
        Ok((upper, work))
    }
}

/// The directories, found and checked.
struct Places {
    lowers: Vec<Place>,
    writable: Option<(Place, Place)>,
}

impl Places {
    fn all(&self) -> Vec<&Place> {
        let mut all: Vec<&Place> = self.lowers.iter().collect();
        if let Some((upper, work)) = &self.writable {
            all.extend([upper, work]);
        }
        all
    }

    fn check_overlaps(&self) -> Result<(), SetupError> {
        let all = self.all();
        for (index, first) in all.iter().enumerate() {
            for second in all.iter().skip(index + 1) {
                match (second.is_inside(first), first.is_inside(second)) {
                    (true, true) => return Err(SetupError::same(first, second)),
                    (true, false) => return Err(SetupError::inside(second, first)),
                    (false, true) => return Err(SetupError::inside(first, second)),
                    (false, false) => {}
                }
            }
        }
        Ok(())
    }

    /// A layer below the mount point is fine: layers are held by descriptors.
    /// The other way round the union would show itself.
    fn check_mount_point(&self, point: &Path, mounts: &MountTable) -> Result<(), SetupError> {
        let point = Place::find(Role::MountPoint, point, mounts)?;
        if mounts.at(&point.real).is_some() {
            return Err(SetupError::MountPointBusy { path: point.path });
        }
        match self.all().iter().find(|layer| point.is_inside(layer)) {
            Some(layer) if layer.is_inside(&point) => Err(SetupError::same(&point, layer)),
            Some(layer) => Err(SetupError::inside(&point, layer)),
            None => Ok(()),
        }
    }
}

/// An opened stack that can still be given back.
///
/// Dropping it removes what opening made on disk.
#[derive(Debug)]
pub struct Opened {
    // Dropped first: takes things back under the stack's locks.
    undo: Undo,
    stack: Stack,
}

impl Opened {
    /// The layers.
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// Keeps what was made.
    pub fn keep(self) -> Stack {
        self.undo.keep();
        self.stack
    }
}

fn open_upper(
    upper: &Place,
    work: &Place,
    descriptors: &Arc<Descriptors>,
) -> Result<Arc<dyn WritableStorage>, SetupError> {
    let until = Instant::now() + HANDOVER;
    loop {
        match DirUpper::open(&upper.real, &work.real, descriptors) {
            Ok(storage) => return Ok(storage),
            Err(Error::Busy(_)) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(Error::Busy(_)) => {
                return Err(SetupError::InUse {
                    upper: upper.path.clone(),
                    work: work.path.clone(),
                });
            }
            Err(error) => return Err(upper.refused(error)),
        }
    }
}

/// A stack that opens with the last descriptor could neither be mounted nor
/// taken back.
fn require_spare_descriptors(last: &Place) -> Result<(), SetupError> {
    let spare = (0..SPARE).map(|_| fs::File::open(&last.real));
    let spare: Result<Vec<_>, _> = spare.collect();
    spare
        .map(drop)
        .map_err(|error| refusal(last.role, &last.path, error))
}

fn require_marks(
    storage: &dyn WritableStorage,
    dialect: Dialect,
    upper: &Place,
) -> Result<(), SetupError> {
    let can = storage.capabilities();
    let path = upper.path.clone();
    match dialect {
        Dialect::Overlay(_) if !can.trusted_xattr && !can.user_xattr => {
            Err(SetupError::NoXattr { path })
        }
        Dialect::Overlay(Namespace::Trusted) if !can.trusted_xattr => {
            Err(SetupError::NoTrustedXattr { path })
        }
        Dialect::Overlay(Namespace::User) if !can.user_xattr => {
            Err(SetupError::NoUserXattr { path })
        }
        Dialect::Overlay(_) if !can.whiteout_device => Err(SetupError::NoDevices { path }),
        Dialect::Overlay(_) => Ok(()),
    }
}

/// `trusted.*` needs `CAP_SYS_ADMIN` in the first user namespace: root of a
/// container without it reads them as unset.
fn may_write_trusted() -> bool {
    let capable = rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN));
    // user_namespaces(7): the first namespace maps all ids to themselves.
    let first = fs::read_to_string("/proc/self/uid_map")
        .is_ok_and(|map| map.split_whitespace().eq(["0", "0", "4294967295"]));
    capable && first
}

/// The kernel does not see our locks, nor we its own: two writers in one
/// upper layer destroy it.
fn refuse_kernel_overlay(place: &Place, mounts: &MountTable) -> Result<(), SetupError> {
    let overlays = mounts.entries().iter().filter(|m| m.kind == "overlay");
    for mount in overlays {
        for option in ["upperdir", "workdir"] {
            let Some(shown) = mount.option(option) else {
                continue;
            };
            // Kernels differ in whether they show the path as it was given.
            let given = PathBuf::from(unescape_option(shown.as_os_str()));
            if place.is_at(&shown) || place.is_at(&given) {
                return Err(SetupError::InKernelOverlay {
                    role: place.role,
                    path: place.path.clone(),
                    point: mount.point.clone(),
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
