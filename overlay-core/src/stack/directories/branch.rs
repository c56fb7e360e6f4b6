//! One branch by itself, opened to be converted, and where a copy of it is
//! made.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rustix::fs::Access;

use super::HANDOVER;
use super::error::{Role, SetupError};
use super::place::{Place, refusal};
use crate::dialect::conversion::CONVERSION;
use crate::error::{Errno, Error};
use crate::layer::dir::{Descriptors, DirStorage, DirUpper, UpperLock};
use crate::layer::{Node, Storage};
use crate::name::Name;
use crate::stack::mounts::{MountEntry, MountTable, unescape_option};

/// An attribute that says what is going on: name and value.
type NoteOn<'a> = (&'a [u8], &'a [u8]);

/// A directory that is no part of a union now, and cannot become the upper
/// layer of one while this lives.
///
/// A lower layer of a union of ours cannot be told from any other directory.
#[derive(Debug)]
pub struct LoneBranch {
    place: Place,
    lock: UpperLock,
    looked: Arc<DirStorage>,
    descriptors: Arc<Descriptors>,
}

impl LoneBranch {
    /// Checks the directory at `path` and opens it for reading. Nothing on disk
    /// changes.
    pub fn open(path: &Path) -> Result<LoneBranch, SetupError> {
        let mounts = MountTable::read().map_err(SetupError::NoProc)?;
        let place = Place::find(Role::Branch, path, &mounts)?;
        place.require(Access::READ_OK | Access::EXEC_OK)?;
        refuse_unions(&place, &mounts)?;
        let lock = lock(&place)?;
        let descriptors = Descriptors::from_rlimit();
        let looked =
            DirStorage::open(&place.real, &descriptors).map_err(|error| place.refused(error))?;
        Ok(LoneBranch {
            place,
            lock,
            looked,
            descriptors,
        })
    }

    /// The root, to be looked at.
    pub fn root(&self) -> Arc<dyn Node> {
        self.looked.root()
    }

    /// Opens the branch to rewrite it. Sets the attribute `note` on it, unless
    /// it is there, and makes the work area inside it, which says to everybody
    /// else to keep away.
    ///
    /// On failure nothing has changed, or the next conversion finds it begun.
    pub fn into_writable(self, note: NoteOn<'_>) -> Result<Arc<DirUpper>, SetupError> {
        let writable = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
        self.place.require(writable)?;
        rewrite(&self.place, self.lock, note, &self.descriptors)
    }

    /// Opens the directory `to` for a copy, made if it is missing.
    pub fn copy_to(&self, to: &Path, note: NoteOn<'_>) -> Result<CopyTarget, SetupError> {
        let mounts = MountTable::read().map_err(SetupError::NoProc)?;
        let refused = |error| refusal(Role::Copy, to, error);
        // 0700: what lies there is not yet subject to the owner's modes.
        let made = match DirBuilder::new().mode(0o700).create(to) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(refused(error)),
        };
        let mut target = CopyTarget {
            path: to.to_owned(),
            made,
            begun: made,
            note: note.0.to_vec(),
            storage: None,
        };
        let place = Place::find(Role::Copy, to, &mounts)?;
        match (place.is_inside(&self.place), self.place.is_inside(&place)) {
            (true, true) => return Err(SetupError::same(&place, &self.place)),
            (true, false) => return Err(SetupError::inside(&place, &self.place)),
            (false, true) => return Err(SetupError::inside(&self.place, &place)),
            (false, false) => {}
        }
        if fs::read_dir(&place.real).map_err(refused)?.next().is_some() {
            let path = place.path.clone();
            return Err(SetupError::NotEmpty { path });
        }
        let lock = lock(&place)?;
        target.path.clone_from(&place.real);
        target.begun = true;
        target.storage = Some(rewrite(&place, lock, note, &self.descriptors)?);
        Ok(target)
    }
}

/// A directory in which a copy is made. Dropping it removes what was made,
/// unless [`CopyTarget::keep`] is called.
#[derive(Debug)]
pub struct CopyTarget {
    path: PathBuf,
    /// Whether it was missing.
    made: bool,
    /// Whether what lies in it is ours.
    begun: bool,
    note: Vec<u8>,
    storage: Option<Arc<DirUpper>>,
}

impl CopyTarget {
    /// What is written.
    pub fn storage(&self) -> Result<&Arc<DirUpper>, SetupError> {
        self.storage.as_ref().ok_or_else(|| SetupError::Missing {
            role: Role::Copy,
            path: self.path.clone(),
        })
    }

    /// Keeps what was made.
    pub fn keep(mut self) {
        self.begun = false;
    }
}

impl Drop for CopyTarget {
    fn drop(&mut self) {
        if !self.begun {
            return;
        }
        let removed = match self.made {
            true => fs::remove_dir_all(&self.path),
            false => clear(&self.path),
        };
        if let (Some(storage), false) = (&self.storage, self.made) {
            use crate::layer::WritableStorage;
            match WritableStorage::root(&**storage).remove_xattr(&self.note) {
                Ok(()) | Err(Error::NoAttribute) => {}
                Err(error) => tracing::warn!(%error, "the directory of the copy keeps a note"),
            }
        }
        if let Err(error) = removed {
            tracing::warn!(%error, path = ?self.path, "something is left of a failed copy");
        }
    }
}

fn clear(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

/// Whether a conversion of this directory is not finished.
pub(super) fn is_half_converted(place: &Place) -> bool {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let mark = place.real.join(OsStr::from_bytes(CONVERSION));
    fs::symlink_metadata(mark).is_ok_and(|attr| attr.is_dir())
}

fn rewrite(
    place: &Place,
    lock: UpperLock,
    note: NoteOn<'_>,
    descriptors: &Arc<Descriptors>,
) -> Result<Arc<DirUpper>, SetupError> {
    let area = Name::new(CONVERSION).map_err(|error| place.refused(error))?;
    let opened = DirUpper::within(lock, area, note, descriptors);
    opened.map_err(|error| match error.errno() {
        Errno::PERM | Errno::OPNOTSUPP => SetupError::NoConversionMark {
            role: place.role,
            path: place.path.clone(),
            attribute: note.0.escape_ascii().to_string(),
            source: error,
        },
        _ => place.refused(error),
    })
}

fn lock(place: &Place) -> Result<UpperLock, SetupError> {
    let until = Instant::now() + HANDOVER;
    loop {
        match UpperLock::take(&place.real) {
            Ok(lock) => return Ok(lock),
            Err(Error::Busy(_)) if Instant::now() < until => {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            Err(Error::Busy(_)) => {
                let path = place.path.clone();
                return Err(SetupError::BranchInUse { path });
            }
            Err(error) => return Err(place.refused(error)),
        }
    }
}

/// A union itself is no branch, and a branch of a mounted one is in use.
fn refuse_unions(place: &Place, mounts: &MountTable) -> Result<(), SetupError> {
    if let Some(mount) = mounts.at(&place.real) {
        let kind = mount.kind.to_string_lossy();
        if matches!(&*kind, "overlay" | "aufs") || kind.starts_with("fuse.") {
            return Err(SetupError::NotABranch {
                path: place.path.clone(),
                kind: kind.into_owned(),
            });
        }
    }
    let overlays = mounts.entries().iter().filter(|m| m.kind == "overlay");
    for mount in overlays {
        for layer in layers_of(mount) {
            // A path of another mount namespace may mean nothing here.
            let Ok(layer) = Place::find(Role::Lower, &layer, mounts) else {
                continue;
            };
            if layer.is_inside(place) || place.is_inside(&layer) {
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

/// The directories that an overlay of the kernel is made of, as far as its
/// options tell.
fn layers_of(mount: &MountEntry) -> Vec<PathBuf> {
    let mut layers = Vec::new();
    for name in ["upperdir", "lowerdir+", "datadir+"] {
        for shown in mount.options(name) {
            // Kernels differ in whether they show the path as it was given.
            layers.push(unescape_option(shown.as_os_str()).into());
            layers.push(shown);
        }
    }
    for shown in mount.options("lowerdir") {
        layers.extend(split(&shown));
    }
    layers
}

/// The parts of a list that colons separate, but for those after a backslash.
fn split(list: &Path) -> Vec<PathBuf> {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let mut parts = vec![Vec::new()];
    let mut bytes = list.as_os_str().as_bytes().iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b':' => parts.push(Vec::new()),
            // Never empty: it begins with one part and only grows.
            byte => parts.last_mut().into_iter().for_each(|part| {
                let byte = match byte {
                    b'\\' => bytes.next().copied(),
                    byte => Some(*byte),
                };
                part.extend(byte);
            }),
        }
    }
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    parts.map(|part| OsString::from_vec(part).into()).collect()
}
