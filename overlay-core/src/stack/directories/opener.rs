//! One branch more: a directory of the host opened by itself, beside others,
//! with an access of its own. What AuFS' words name, and what is added to a
//! stack that is in use.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::Access;

use super::error::{Role, SetupError};
use super::format::LayerFormat;
use super::owners::Ownership;
use super::place::Place;
use super::undo::Undo;
use super::{Marks, may_write_trusted, names, refuse_kernel_overlay, require_marks, when_free};
use crate::dialect::aufs::{BASE, PLINKS, orphans};
use crate::dialect::{Aufs, Dialect, Heed, Namespace};
use crate::layer::dir::{AccessTimes, Descriptors, DirStorage, DirUpper, Signs, WorkAt};
use crate::layer::{Node, Storage, WritableStorage};
use crate::name::Name;
use crate::stack::mounts::{MountEntry, MountTable};
use crate::stack::{BranchId, Stack, Store};

/// A directory that is to be a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BranchDirectory {
    /// The directory.
    pub path: PathBuf,
    /// What it may be used for.
    pub access: BranchAccess,
    /// Who wrote it.
    pub form: BranchForm,
}

/// What a branch may be used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BranchAccess {
    /// It is read.
    ReadOnly(Heed),
    /// It is written, with its work area in this directory, or inside it.
    Writable {
        /// `None`: inside a branch of AuFS, `<branch>.work` beside any other.
        work: Option<PathBuf>,
    },
}

/// Whose marks a branch has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BranchForm {
    /// AuFS' if it has what AuFS keeps in the root of a branch; else all that
    /// are known count, by whomever. One that is written gets AuFS'.
    Detected(Aufs),
    /// As the layers of a mount have it.
    As(LayerFormat),
}

/// Opens branches for one mount.
#[derive(Debug)]
pub struct Opener {
    descriptors: Arc<Descriptors>,
    /// Names of overlayfs' marks.
    pub marks: Marks,
    /// Where owners are stored.
    pub ownership: Ownership,
    /// What reading does to the access times of what is written.
    pub access_times: AccessTimes,
    /// Where the union is, or will be, mounted.
    pub mount_point: Option<PathBuf>,
}

/// A branch that is open, and can still be given back.
#[derive(Debug)]
pub struct OpenedBranch {
    // Dropped first: takes things back under the locks of the storage.
    undo: Undo,
    /// Where it really is: absolute, without symlinks.
    pub real: PathBuf,
    /// What it stores.
    pub store: Store,
    /// How its marks look.
    pub dialect: Dialect,
    /// Whether they count.
    pub heed: Heed,
}

impl OpenedBranch {
    /// Puts it into `stack` at this place.
    pub fn insert(&self, stack: &mut Stack, at: usize) -> BranchId {
        stack.insert(at, self.store.clone(), self.dialect, self.heed)
    }

    /// Takes it for the branch `id`, which is the same directory with another
    /// access. Errors: `ENOENT`.
    pub fn replace(&self, stack: &mut Stack, id: BranchId) -> crate::Result<()> {
        stack.set_dialect(id, self.dialect)?;
        stack.set_access(id, self.store.clone(), self.heed)
    }

    /// Keeps what was made on disk.
    pub fn keep(self) {
        self.undo.keep();
    }
}

impl Opener {
    /// For a mount at `mount_point`; the rest is as usual.
    pub fn new(mount_point: Option<PathBuf>) -> Opener {
        Opener {
            descriptors: Descriptors::from_rlimit(),
            marks: Marks::default(),
            ownership: Ownership::default(),
            access_times: AccessTimes::default(),
            mount_point,
        }
    }

    /// Where the directory of a branch really is.
    pub fn find(path: &Path) -> Result<PathBuf, SetupError> {
        let mounts = MountTable::read().map_err(SetupError::NoProc)?;
        Ok(Place::find(Role::Branch, path, &mounts)?.real)
    }

    /// Whether a branch that was opened to be written, and was not written for
    /// some time, still can be.
    pub fn look_again(path: &Path, store: &Store, dialect: Dialect) -> Result<(), SetupError> {
        let refused = |source| SetupError::Layer {
            role: Role::Branch,
            path: path.to_owned(),
            source,
        };
        let strange = names::find_strange(&*store.root(), dialect).map_err(refused)?;
        names::refuse(strange, Role::Branch, path)
    }

    /// Opens a branch beside `others`, which are the branches that there are,
    /// where they really are.
    ///
    /// On failure nothing on disk has changed.
    pub fn open(
        &self,
        branch: &BranchDirectory,
        others: &[PathBuf],
    ) -> Result<OpenedBranch, SetupError> {
        let mounts = MountTable::read().map_err(SetupError::NoProc)?;
        let place = Place::find(Role::Branch, &branch.path, &mounts)?;
        self.check_apart(&place, others, &mounts)?;
        if super::branch::is_half_converted(&place) {
            return Err(SetupError::HalfConverted {
                role: place.role,
                path: place.path,
            });
        }
        match &branch.access {
            BranchAccess::ReadOnly(heed) => self.open_to_read(place, *heed, branch.form),
            BranchAccess::Writable { work } => {
                self.open_to_write(place, work.as_deref(), branch.form, &mounts)
            }
        }
    }

    fn open_to_read(
        &self,
        place: Place,
        heed: Heed,
        form: BranchForm,
    ) -> Result<OpenedBranch, SetupError> {
        place.require(Access::READ_OK | Access::EXEC_OK)?;
        let storage = DirStorage::open(&place.real, &self.descriptors)
            .map_err(|error| place.refused(error))?;
        let dialect = match form {
            BranchForm::As(format) => format.of_lower(&place.real, self.namespace()),
            BranchForm::Detected(aufs) => {
                match holds_aufs(&*storage.root()).map_err(|error| place.refused(error))? {
                    true => Dialect::Aufs(aufs),
                    // Reads them all.
                    false => Dialect::Containers(self.namespace()),
                }
            }
        };
        Ok(OpenedBranch {
            undo: Undo::nothing(),
            store: Store::ReadOnly(self.ownership.of_lower(storage, &place)?),
            real: place.real,
            dialect,
            heed,
        })
    }

    fn open_to_write(
        &self,
        place: Place,
        work: Option<&Path>,
        form: BranchForm,
        mounts: &MountTable,
    ) -> Result<OpenedBranch, SetupError> {
        let all = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
        place.require(all)?;
        let work = match work {
            Some(path) => Place::find(Role::Work, path, mounts)?,
            None => match form {
                BranchForm::Detected(_) | BranchForm::As(LayerFormat::Aufs(_)) => {
                    Place::within(&place, orphans(), mounts)?
                }
                BranchForm::As(_) => Place::beside(&place, mounts)?,
            },
        };
        if !work.shares_filesystem(&place) {
            return Err(SetupError::WorkElsewhere {
                work: work.path,
                upper: place.path,
            });
        }
        work.require(all)?;
        refuse_kernel_overlay(&place, mounts)?;
        let dialect = match form {
            BranchForm::As(format) => format.of_upper(self.namespace()),
            BranchForm::Detected(aufs) => Dialect::Aufs(aufs),
        };
        let mut lock = when_free(&place, &work, || place.lock())?;
        if let Dialect::Aufs(_) = dialect {
            refuse_overlay_marks(&place)?;
        }
        let undo = Undo::of(&work)?;
        let at = match dialect {
            Dialect::Aufs(_) if work.real.parent() == Some(&place.real) => {
                WorkAt::Within(orphans())
            }
            Dialect::Aufs(_) | Dialect::Overlay(_) | Dialect::Containers(_) => {
                WorkAt::Apart(&work.real)
            }
        };
        if let Err(error) = when_free(&place, &work, || work.lock_with(&mut lock, at)) {
            if matches!(error, SetupError::InUse { .. }) {
                undo.keep();
            }
            return Err(error);
        }
        let storage: Arc<dyn WritableStorage> =
            DirUpper::of(lock, &self.descriptors, self.access_times, Signs::Refused)
                .map_err(|error| work.refused_for(&place, error))?;
        require_marks(&*storage, dialect, &place)?;
        names::require_names(&*storage.root(), dialect, &place)?;
        Ok(OpenedBranch {
            undo,
            store: Store::Writable(self.ownership.of_upper(storage, &place)?),
            real: place.real,
            dialect,
            heed: Heed::Marks,
        })
    }

    fn check_apart(
        &self,
        place: &Place,
        others: &[PathBuf],
        mounts: &MountTable,
    ) -> Result<(), SetupError> {
        for other in others {
            let other = Place::find(Role::Branch, other, mounts)?;
            match (place.is_inside(&other), other.is_inside(place)) {
                (true, true) => return Err(SetupError::same(place, &other)),
                (true, false) => return Err(SetupError::inside(place, &other)),
                (false, true) => return Err(SetupError::inside(&other, place)),
                (false, false) => {}
            }
        }
        let Some(point) = &self.mount_point else {
            return Ok(());
        };
        // A union that is mounted there already is looked past: its own point
        // must not be asked of the union while that changes.
        if mounts.at(point).is_some_and(MountEntry::is_union) {
            return match point.starts_with(&place.real) {
                true => Err(SetupError::Inside {
                    inner_role: Role::MountPoint,
                    inner: point.clone(),
                    outer_role: Role::Branch,
                    outer: place.path.clone(),
                }),
                false => Ok(()),
            };
        }
        let point = Place::find(Role::MountPoint, point, mounts)?;
        match (point.is_inside(place), place.is_inside(&point)) {
            (true, true) => Err(SetupError::same(&point, place)),
            (true, false) => Err(SetupError::inside(&point, place)),
            (false, _) => Ok(()),
        }
    }

    fn namespace(&self) -> Namespace {
        match self.marks {
            Marks::Automatic if may_write_trusted() => Namespace::Trusted,
            Marks::Automatic | Marks::User => Namespace::User,
        }
    }
}

/// Whether the root of a branch has what AuFS keeps there.
fn holds_aufs(root: &dyn Node) -> crate::Result<bool> {
    for name in [BASE, PLINKS] {
        if root.attr_of(Name::new(name)?)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A branch that overlayfs has written says so on its root.
fn refuse_overlay_marks(place: &Place) -> Result<(), SetupError> {
    let mut names = vec![0; 64 * 1024];
    let len = match rustix::fs::listxattr(&place.real, &mut names) {
        Ok(len) => len,
        // None are there to be told.
        Err(_) => return Ok(()),
    };
    let names = names.get(..len).unwrap_or_default();
    let marked = names.split(|byte| *byte == 0).any(|name| {
        let prefixes: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];
        prefixes.iter().any(|prefix| name.starts_with(prefix))
    });
    match marked {
        true => Err(SetupError::OverlayMarks {
            path: place.path.clone(),
        }),
        false => Ok(()),
    }
}
