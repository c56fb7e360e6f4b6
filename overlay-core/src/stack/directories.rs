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

use crate::dialect::aufs::orphans;
use crate::dialect::{Dialect, Namespace};
use crate::layer::WritableStorage;
use crate::layer::dir::{AccessTimes, Descriptors, DirStorage, DirUpper, Signs, WorkAt};
use crate::name::Name;
use crate::stack::Stack;
use crate::stack::mounts::{MountEntry, MountTable, unescape_option};
use crate::sys;

mod branch;
mod error;
mod format;
mod look;
mod names;
mod opener;
mod owners;
mod place;
mod undo;

pub use branch::{CopyTarget, LoneBranch};
pub use error::{Role, SetupError};
pub use format::LayerFormat;
pub use look::Looked;
pub use opener::{BranchAccess, BranchDirectory, BranchForm, OpenedBranch, Opener};
pub use owners::{Keeping, OwnerAttributes, Ownership};
use place::{Place, Refused, refusal};
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
    /// Layers that show nothing, and hold data of files on `lowers`: the
    /// kernel's data-only lower layers. See [`Stack::data_only`].
    pub data_lowers: Vec<PathBuf>,
    /// The layer that takes all changes; without it the union is read-only.
    pub upper: Option<PathBuf>,
    /// Where changes are prepared: a directory on the filesystem of `upper`
    /// that holds nothing else. `None`: `<upper>.work`, or inside the upper
    /// layer if that is one of AuFS; made if missing.
    pub work: Option<PathBuf>,
    /// Names of the marks.
    pub marks: Marks,
    /// Where owners are stored.
    pub ownership: Ownership,
    /// What reading does to the access times of the upper layer; those of
    /// lower layers never change.
    pub access_times: AccessTimes,
    /// Who wrote the layers.
    pub format: LayerFormat,
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
        self.open_by(Signs::Refused)
    }

    /// As [`Directories::open_undoable`], for a [check](crate::check) that
    /// repairs: also where a volatile mount left its sign.
    pub fn open_to_repair(&self) -> Result<Opened, SetupError> {
        self.open_by(Signs::Left)
    }

    fn open_by(&self, signs: Signs) -> Result<Opened, SetupError> {
        let places = self.check()?;
        let descriptors = Descriptors::from_rlimit();
        let namespace = self.namespace();
        let mut stack = Stack::new();
        let storage: Arc<dyn WritableStorage>;
        // Dropped before the storage: takes things back under its locks.
        let mut undo = Undo::nothing();
        // Before anything is made: they may need more descriptors than there
        // are. Dropped first, so that `undo` has some left.
        let open = |lower: &Place| {
            let storage = DirStorage::open(&lower.real, &descriptors)
                .map_err(|error| lower.refused(error))?;
            self.ownership.of_lower(storage, lower)
        };
        let lowers: Result<Vec<_>, SetupError> = places.lowers.iter().map(open).collect();
        let data: Result<Vec<_>, SetupError> = places.data_lowers.iter().map(open).collect();
        let (lowers, data) = (lowers?, data?);
        let format = |lower: &Place| self.format.of_lower(&lower.real, namespace);
        let dialects = places.lowers.iter().map(format);
        if let Some(last) = places.lowers.last() {
            require_spare_descriptors(last)?;
        }
        if let Some((upper, work)) = &places.writable {
            // Before anything is made, so that nothing is left where somebody
            // else has it.
            let mut lock = when_free(upper, work, || upper.lock())?;
            undo = Undo::of(work)?;
            let at = self.work_at(work);
            if let Err(error) = when_free(upper, work, || work.lock_with(&mut lock, at)) {
                // What lies there is another upper layer's.
                if matches!(error, SetupError::InUse { .. }) {
                    undo.keep();
                }
                return Err(error);
            }
            storage = DirUpper::of(lock, &descriptors, self.access_times, signs)
                .map_err(|error| work.refused_for(upper, error))?;
            let dialect = self.format.of_upper(namespace);
            require_marks(&*storage, dialect, upper)?;
            names::require_names(&*WritableStorage::root(&*storage), dialect, upper)?;
            let owned = self.ownership.of_upper(Arc::clone(&storage), upper)?;
            stack = stack.upper_as(owned, dialect);
        }
        for (storage, dialect) in lowers.into_iter().zip(dialects) {
            stack = stack.lower_as(storage, dialect);
        }
        for storage in data {
            stack = stack.data_only(storage);
        }
        Ok(Opened { undo, stack })
    }

    /// Where changes are prepared: as named, or where it is unless named.
    pub fn workdir(&self) -> Option<PathBuf> {
        let upper = self.upper.as_ref()?;
        Some(match (&self.work, self.within()) {
            (Some(work), _) => work.clone(),
            (None, Some(name)) => place::inside(upper, name),
            (None, None) => place::beside(upper),
        })
    }

    fn namespace(&self) -> Namespace {
        match self.marks {
            Marks::User => Namespace::User,
            Marks::Automatic if may_write_trusted() => Namespace::Trusted,
            Marks::Automatic => Namespace::User,
        }
    }

    /// The name of the work directory in the upper layer, if it lies there.
    fn within(&self) -> Option<&'static Name> {
        match (&self.work, self.format) {
            (None, LayerFormat::Aufs(_)) => Some(orphans()),
            (Some(_), LayerFormat::Aufs(_))
            | (_, LayerFormat::Auto | LayerFormat::Overlay | LayerFormat::Containers) => None,
        }
    }

    /// Where the work directory lies, for whoever opens it.
    fn work_at<'a>(&self, work: &'a Place) -> WorkAt<'a> {
        self.within()
            .map_or(WorkAt::Apart(&work.real), WorkAt::Within)
    }

    /// All checks that need no change on disk.
    fn check(&self) -> Result<Places, SetupError> {
        self.check_for(Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK)
    }

    /// The same, where the upper layer is for no more than `allowed`.
    fn check_for(&self, allowed: Access) -> Result<Places, SetupError> {
        let mounts = MountTable::read().map_err(SetupError::NoProc)?;
        if self.lowers.is_empty() {
            return Err(SetupError::NoLower);
        }
        let find = |path: &PathBuf| {
            let place = Place::find(Role::Lower, path, &mounts)?;
            place.require(Access::READ_OK | Access::EXEC_OK)?;
            Ok(place)
        };
        let lowers = self.lowers.iter().map(find);
        let lowers = lowers.collect::<Result<Vec<_>, SetupError>>()?;
        let data_lowers = self.data_lowers.iter().map(find);
        let data_lowers = data_lowers.collect::<Result<Vec<_>, SetupError>>()?;
        let writable = match &self.upper {
            Some(upper) => Some(self.check_writable(upper, &mounts, allowed)?),
            None => None,
        };
        let places = Places {
            lowers,
            data_lowers,
            writable,
            work_within: self.within().is_some(),
        };
        places.check_overlaps()?;
        places.refuse_half_converted()?;
        if let Some(point) = &self.mount_point {
            places.check_mount_point(point, &mounts)?;
        }
        Ok(places)
    }

    fn check_writable(
        &self,
        upper: &Path,
        mounts: &MountTable,
        allowed: Access,
    ) -> Result<(Place, Place), SetupError> {
        let upper = Place::find(Role::Upper, upper, mounts)?;
        upper.require(allowed)?;
        let work = match (&self.work, self.within()) {
            (Some(work), _) => Place::find(Role::Work, work, mounts)?,
            (None, Some(name)) => Place::within(&upper, name, mounts)?,
            (None, None) => Place::beside(&upper, mounts)?,
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
        work.require(allowed)?;
        refuse_kernel_overlay(&upper, mounts)?;
        refuse_kernel_overlay(&work, mounts)?;
        Ok((upper, work))
    }
}

/// The directories, found and checked.
struct Places {
    lowers: Vec<Place>,
    data_lowers: Vec<Place>,
    writable: Option<(Place, Place)>,
    work_within: bool,
}

impl Places {
    fn all(&self) -> Vec<&Place> {
        let mut all: Vec<&Place> = self.lowers.iter().chain(&self.data_lowers).collect();
        if let Some((upper, work)) = &self.writable {
            all.push(upper);
            // Where it lies inside the upper layer, it is hidden there.
            all.extend((!self.work_within).then_some(work));
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

    /// A branch with marks of two forms shows what was deleted, in one or the
    /// other.
    fn refuse_half_converted(&self) -> Result<(), SetupError> {
        match self
            .all()
            .iter()
            .find(|place| branch::is_half_converted(place))
        {
            Some(place) => Err(SetupError::HalfConverted {
                role: place.role,
                path: place.path.clone(),
            }),
            None => Ok(()),
        }
    }

    /// A layer below the mount point is fine: layers are held by descriptors.
    /// The other way round the union would show itself.
    fn check_mount_point(&self, point: &Path, mounts: &MountTable) -> Result<(), SetupError> {
        let point = Place::find(Role::MountPoint, point, mounts)?;
        // A mount covers what was mounted there, as on the kernel's overlayfs;
        // of unions it would be the same one, mounted twice by mistake.
        if mounts.at(&point.real).is_some_and(MountEntry::is_union) {
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

/// Takes something that must not be in use, and waits a little if it is.
fn when_free<T>(
    upper: &Place,
    work: &Place,
    mut take: impl FnMut() -> Result<T, Refused>,
) -> Result<T, SetupError> {
    let until = Instant::now() + HANDOVER;
    loop {
        match take() {
            Ok(taken) => return Ok(taken),
            Err(Refused::InUse) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(Refused::InUse) => {
                return Err(SetupError::InUse {
                    upper: upper.path.clone(),
                    work: work.path.clone(),
                });
            }
            Err(Refused::Never(error)) => return Err(error),
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
    match dialect.namespace() {
        // All marks are names.
        None => Ok(()),
        Some(_) if !can.trusted_xattr && !can.user_xattr => Err(SetupError::NoXattr { path }),
        Some(Namespace::Trusted) if !can.trusted_xattr => Err(SetupError::NoTrustedXattr { path }),
        Some(Namespace::User) if !can.user_xattr => Err(SetupError::NoUserXattr { path }),
        Some(Namespace::Trusted | Namespace::User) => Ok(()),
    }
}

/// `trusted.*` needs `CAP_SYS_ADMIN` in the first user namespace: root of a
/// container without it reads them as unset.
fn may_write_trusted() -> bool {
    let capable = rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN));
    capable && sys::proc::in_first_user_namespace()
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
