//! Where a directory really is, so that overlaps are seen through symlinks
//! and bind mounts.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;

use super::error::{Role, SetupError};
use crate::error::Error;
use crate::layer::dir::{UpperLock, WorkAt};
use crate::name::Name;
use crate::stack::mounts::MountTable;

/// Why something is not taken.
#[derive(Debug)]
pub(super) enum Refused {
    /// Somebody else has it.
    InUse,
    /// It could not be in any case.
    Never(SetupError),
}

/// `st_dev` and `st_ino`.
type Identity = (u64, u64);

/// A directory, found; or one that may be made in its parent.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) role: Role,
    /// As it was given.
    pub(super) path: PathBuf,
    /// Absolute, without symlinks.
    pub(super) real: PathBuf,
    /// Itself (if it exists) and every directory above it.
    above: Vec<Identity>,
    /// Itself; `None` while it does not exist.
    identity: Option<Identity>,
    /// `st_dev` of itself, or of the parent it will be made in.
    dev: u64,
    /// The mount it is seen through, the filesystem, and where it lies in it.
    within: Option<(u64, u64, PathBuf)>,
}

impl Place {
    /// The directory at `path`, which must exist.
    pub(super) fn find(role: Role, path: &Path, mounts: &MountTable) -> Result<Place, SetupError> {
        let real = fs::canonicalize(path).map_err(|error| refusal(role, path, error))?;
        let attr = fs::metadata(&real).map_err(|error| refusal(role, path, error))?;
        if !attr.is_dir() {
            return Err(SetupError::NotDirectory {
                role,
                path: path.to_owned(),
            });
        }
        let above = ancestors(&real).map_err(|error| refusal(role, path, error))?;
        Ok(Place {
            role,
            path: path.to_owned(),
            above,
            identity: Some((attr.dev(), attr.ino())),
            dev: attr.dev(),
            within: within(&real, mounts),
            real,
        })
    }

    /// The default work directory: `<upper>.work`, which need not exist.
    pub(super) fn beside(upper: &Place, mounts: &MountTable) -> Result<Place, SetupError> {
        match (upper.real.parent(), upper.real.file_name()) {
            (Some(parent), Some(_)) => Place::work_in(parent, beside(&upper.real), mounts),
            // The upper layer is "/": nothing lies beside it.
            _ => Err(SetupError::NothingBeside {
                upper: upper.path.clone(),
            }),
        }
    }

    /// The work directory of this name in the upper layer; it need not exist.
    pub(super) fn within(
        upper: &Place,
        name: &Name,
        mounts: &MountTable,
    ) -> Result<Place, SetupError> {
        Place::work_in(&upper.real, inside(&upper.real, name), mounts)
    }

    fn work_in(parent: &Path, real: PathBuf, mounts: &MountTable) -> Result<Place, SetupError> {
        match fs::symlink_metadata(&real) {
            Ok(_) => return Place::find(Role::Work, &real, mounts),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(refusal(Role::Work, &real, error)),
        }
        let refused = |error| refusal(Role::Work, &real, error);
        let above = ancestors(parent).map_err(refused)?;
        Ok(Place {
            role: Role::Work,
            path: real.clone(),
            above,
            identity: None,
            dev: fs::metadata(parent).map_err(refused)?.dev(),
            within: within(&real, mounts),
            real,
        })
    }

    /// Whether it has to be made.
    pub(super) fn is_missing(&self) -> bool {
        self.identity.is_none()
    }

    /// Whether this is `other` or lies below it.
    pub(super) fn is_inside(&self, other: &Place) -> bool {
        // By identity: sees symlinks and a bind mount of `other` itself.
        let by_identity = other.identity.is_some_and(|id| self.above.contains(&id));
        // By place in the filesystem: sees bind mounts of what is below.
        let by_place = match (&self.within, &other.within) {
            (Some((_, dev, place)), Some((_, other_dev, other_place))) => {
                dev == other_dev && place.starts_with(other_place)
            }
            _ => self.real.starts_with(&other.real),
        };
        by_identity || by_place
    }

    /// Whether objects can be renamed between the two: one filesystem, seen
    /// through one mount (`rename(2)`, `EXDEV`).
    pub(super) fn shares_filesystem(&self, other: &Place) -> bool {
        let mount = |place: &Place| place.within.as_ref().map(|(mount, _, _)| *mount);
        self.dev == other.dev && mount(self) == mount(other)
    }

    /// Whether `path` names this directory.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        // A path of another mount namespace may mean nothing here.
        fs::metadata(path).is_ok_and(|attr| self.identity == Some((attr.dev(), attr.ino())))
    }

    /// Whether this process may do with it (or with the parent that it will
    /// be made in) what `access` says.
    pub(super) fn require(&self, access: Access) -> Result<(), SetupError> {
        let subject = match (self.is_missing(), self.real.parent()) {
            (true, Some(parent)) => parent,
            (true, None) | (false, _) => &self.real,
        };
        let check = |access| rustix::fs::accessat(CWD, subject, access, AtFlags::EACCESS);
        let (role, path) = (self.role, self.path.clone());
        match check(access) {
            Ok(()) => Ok(()),
            Err(Errno::ROFS) => Err(SetupError::ReadOnly { role, path }),
            Err(Errno::ACCESS | Errno::PERM) => match check(access.difference(Access::WRITE_OK)) {
                Ok(()) => Err(SetupError::Unwritable { role, path }),
                Err(_) => Err(SetupError::Unreadable { role, path }),
            },
            Err(errno) => Err(refusal(role, &path, errno.into())),
        }
    }

    /// Keeps everybody else away from this upper layer.
    pub(super) fn lock(&self) -> Result<UpperLock, Refused> {
        UpperLock::take(&self.real).map_err(|error| self.not_locked(error))
    }

    /// The same for this work directory, which lies `at` that place, of that
    /// upper layer.
    pub(super) fn lock_with(&self, upper: &mut UpperLock, at: WorkAt<'_>) -> Result<(), Refused> {
        let taken = upper.take_work(at);
        taken.map_err(|error| self.not_locked(error))
    }

    fn not_locked(&self, error: Error) -> Refused {
        match matches!(error, Error::Busy(_)) {
            true => Refused::InUse,
            false => Refused::Never(self.refused(error)),
        }
    }

    /// This work directory cannot be used for `upper`.
    pub(super) fn refused_for(&self, upper: &Place, source: Error) -> SetupError {
        if let Error::Incompatible(feature) = &source {
            return SetupError::incompatible(upper, self, feature);
        }
        if source.is(Errno::NOTDIR) || source.is(Errno::LOOP) {
            let path = self.path.join("work");
            return SetupError::WorkArea { path };
        }
        self.refused(source)
    }

    /// The layer itself would not open.
    pub(super) fn refused(&self, source: Error) -> SetupError {
        let (role, path) = (self.role, self.path.clone());
        if source.is(Errno::MFILE) {
            return SetupError::TooManyOpen { role, path };
        }
        if source.is(Errno::NOSPC) || source.is(Errno::DQUOT) {
            return SetupError::NoSpace { role, path };
        }
        SetupError::Layer { role, path, source }
    }
}

/// A name in the upper layer.
pub(super) fn inside(upper: &Path, name: &Name) -> PathBuf {
    upper.join(OsStr::from_bytes(name.as_bytes()))
}

/// `<upper>.work`
pub(super) fn beside(upper: &Path) -> PathBuf {
    let mut name = upper.as_os_str().to_owned();
    name.push(".work");
    name.into()
}

fn within(real: &Path, mounts: &MountTable) -> Option<(u64, u64, PathBuf)> {
    let mount = mounts.of(real)?;
    Some((mount.id, mount.dev, mount.place_of(real)?))
}

fn ancestors(real: &Path) -> io::Result<Vec<Identity>> {
    let mut above = Vec::new();
    for path in real.ancestors() {
        match fs::symlink_metadata(path) {
            Ok(attr) => above.push((attr.dev(), attr.ino())),
            // Not ours to look at, so not a layer of ours either.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            Err(error) => return Err(error),
        }
    }
    Ok(above)
}

pub(super) fn refusal(role: Role, path: &Path, error: io::Error) -> SetupError {
    let path = path.to_owned();
    match Errno::from_io_error(&error) {
        Some(Errno::NOENT) => SetupError::Missing { role, path },
        Some(Errno::NOTDIR) => SetupError::NotDirectory { role, path },
        Some(Errno::ACCESS | Errno::PERM) => SetupError::Unreadable { role, path },
        Some(Errno::ROFS) => SetupError::ReadOnly { role, path },
        Some(Errno::NOSPC | Errno::DQUOT) => SetupError::NoSpace { role, path },
        Some(Errno::MFILE) => SetupError::TooManyOpen { role, path },
        // A FUSE mount answers so once its server is gone.
        Some(Errno::NOTCONN) => SetupError::Dead { role, path },
        _ => SetupError::Path {
            role,
            path,
            source: error,
        },
    }
}
