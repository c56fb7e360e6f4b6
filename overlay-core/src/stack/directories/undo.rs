//! Takes back what opening a stack made on disk.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::error::SetupError;
use super::place::{Place, refusal};

/// What to remove when dropped.
#[derive(Debug)]
pub(super) struct Undo(Option<Made>);

#[derive(Debug)]
enum Made {
    /// The work directory is ours, with all in it.
    Directory(PathBuf),
    /// The work directory was there, with these entries.
    Entries(PathBuf, BTreeSet<OsString>),
}

impl Undo {
    /// Nothing was made.
    pub(super) fn nothing() -> Undo {
        Undo(None)
    }

    /// Makes the work directory if it is missing, and remembers what was there.
    pub(super) fn of(work: &Place) -> Result<Undo, SetupError> {
        let refused = |error| refusal(work.role, &work.path, error);
        if work.is_missing() {
            // 0700: what lies there is not yet subject to the owner's modes.
            match DirBuilder::new().mode(0o700).create(&work.real) {
                Ok(()) => return Ok(Undo(Some(Made::Directory(work.real.clone())))),
                // Somebody else has made it since it was looked for.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(refused(error)),
            }
        }
        let entries = names(&work.real).map_err(refused)?;
        Ok(Undo(Some(Made::Entries(work.real.clone(), entries))))
    }

    /// Leaves all as it is.
    pub(super) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        let result = match &self.0 {
            None => Ok(()),
            Some(Made::Directory(path)) => fs::remove_dir_all(path),
            Some(Made::Entries(path, before)) => remove_new(path, before),
        };
        if let Err(error) = result {
            tracing::warn!(%error, "the work directory keeps something of a failed mount");
        }
    }
}

fn remove_new(work: &Path, before: &BTreeSet<OsString>) -> io::Result<()> {
    for name in names(work)?.difference(before) {
        let path = work.join(name);
        if fs::symlink_metadata(&path)?.is_dir() {
            fs::remove_dir_all(&path)?;
        } else {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn names(directory: &Path) -> io::Result<BTreeSet<OsString>> {
    fs::read_dir(directory)?
        .map(|entry| Ok(entry?.file_name()))
        .collect()
}
