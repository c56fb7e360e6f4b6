//! The words of the command line as a plan. Nothing is dropped in silence:
//! a word has an effect, is said to be the default, or is refused by name.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use overlay_core::Directories;
use overlay_core::layer::dir::AccessTimes;
use overlay_core::union::{Durability, Index, Metacopy, NfsExport, RedirectDir, Xino};

use super::Args;
use super::escape::options_in;
use crate::io::Io;
use crate::mount::{MountFlag, MountOptions};
use crate::presentation::{Presentation, Xattrs};

pub mod aufs;
mod draft;
mod error;
mod options;
mod unmounted;

use aufs::{AufsMount, MountAccess, Switch, Udba};
use draft::Draft;
pub use error::UsageError;
pub(super) use unmounted::{Unmounted, unmounted};

/// What `--help` says of the options.
pub(super) fn help() -> String {
    options::help()
}

/// What to mount, where and how.
#[derive(Debug)]
pub struct Plan {
    /// The layers; `mount_point` is set. None where there are branches.
    pub directories: Directories,
    /// The branches, if they are named as aufs names them.
    pub branches: Option<AufsMount>,
    /// `udba`
    pub udba: Udba,
    /// Where.
    pub point: PathBuf,
    /// How.
    pub options: MountOptions,
    /// `redirect_dir`, if it was given.
    pub redirect_dir: Option<RedirectDir>,
    /// `metacopy`, if it was given.
    pub metacopy: Option<Metacopy>,
    /// `index`.
    pub index: Index,
    /// `nfs_export`.
    pub nfs_export: NfsExport,
    /// `xino`.
    pub xino: Xino,
    /// `fsync`.
    pub durability: Durability,
    /// `io`.
    pub io: Io,
    /// How it is shown.
    pub presentation: Presentation,
    /// Whether to stay in the foreground.
    pub foreground: bool,
    /// Whether to tell every request.
    pub debug: bool,
    /// Where to tell it.
    pub log: Option<PathBuf>,
}

/// A remount that is about branches.
#[derive(Debug)]
pub(super) struct Remount {
    pub(super) point: PathBuf,
    pub(super) words: Vec<OsString>,
    /// Whether it says that the mount is read-only.
    pub(super) read_only: bool,
}

impl Args {
    /// Where and how a mounted stack is to be changed: the words of a remount that
    /// are about branches, and what else can be changed then. What `mount(8)` says
    /// beside them of the mount is as it is.
    pub(super) fn remount(&self) -> Option<Result<Remount, UsageError>> {
        let words = self.options.iter().flat_map(|list| options_in(list));
        let words: Vec<OsString> = words.filter(|word| !word.is_empty()).collect();
        let remounts = words.iter().any(|word| word == "remount");
        let changes = words.iter().any(|word| aufs::is_about_branches(word));
        if !remounts || !changes {
            return None;
        }
        let point = self.paths.last()?.into();
        if let Some(unknown) = words.iter().find(|word| !aufs::is_known(word)) {
            return Some(Err(UsageError::Unknown(unknown.clone())));
        }
        let read_only = words.iter().any(|word| word == "ro");
        let own = words.into_iter().filter(|word| aufs::is_own(word));
        Some(Ok(Remount {
            point,
            words: own.collect(),
            read_only,
        }))
    }

    /// Gives every word its meaning, or refuses it.
    pub fn plan(self) -> Result<Plan, UsageError> {
        let mut draft = Draft::new();
        if self.options.iter().any(|list| aufs::names_branches(list)) {
            draft.aufs = Some(Vec::new());
        }
        for list in &self.options {
            draft.options(list)?;
        }
        let point = draft.paths(self.paths)?;
        if let Some(source) = draft.source.take() {
            draft.mount(|mount| mount.source(source));
        }
        if draft.upper.is_none() && draft.work.is_some() {
            return Err(UsageError::WorkAlone);
        }
        if draft.mount.has(MountFlag::ReadOnly)
            && let Some(upper) = draft.upper.take()
        {
            // It has the same marks as a lower layer, and is on top.
            draft.lowers.insert(0, upper);
            draft.work = None;
        }
        let debug = self.debug || draft.debug;
        let access = match draft.mount.has(MountFlag::ReadOnly) {
            true => MountAccess::ReadOnly,
            false => MountAccess::ReadWrite,
        };
        let branches = draft.aufs.take();
        let branches = branches.map(|words| AufsMount::new(words, access));
        let branches = branches.transpose()?;
        let ownership = draft.owners.ownership();
        let mut presentation = draft.owners.presentation();
        let udba = branches.as_ref().map_or(draft.udba, |mount| mount.udba);
        if udba == Udba::Reval {
            // The kernel asks each time.
            presentation = presentation.lifetime(Duration::ZERO);
        }
        if let Some(AufsMount {
            acl: Switch::Off, ..
        }) = &branches
        {
            presentation = presentation.xattrs(Xattrs::NoAcls);
        }
        Ok(Plan {
            branches,
            udba,
            directories: Directories {
                lowers: draft.lowers,
                upper: draft.upper,
                work: draft.work,
                data_lowers: draft.data_lowers,
                marks: draft.marks,
                access_times: access_times(&draft.mount),
                format: draft.format,
                ownership,
                mount_point: Some(point.clone()),
            },
            point,
            options: draft.mount,
            redirect_dir: draft.redirect_dir,
            metacopy: draft.metacopy,
            index: index(draft.index, draft.nfs_export)?,
            nfs_export: exported(draft.nfs_export, draft.metacopy)?,
            xino: draft.xino,
            durability: draft.durability,
            io: draft.io,
            presentation,
            foreground: self.foreground || debug,
            debug,
            log: self.log,
        })
    }
}

/// The kernel changes no access times of a FUSE mount, so these flags are for
/// us to heed.
fn access_times(mount: &MountOptions) -> AccessTimes {
    match (
        mount.has(MountFlag::NoAtime),
        mount.has(MountFlag::NoDirAtime),
    ) {
        (true, _) => AccessTimes::Unchanged,
        (false, true) => AccessTimes::OfFiles,
        (false, false) => AccessTimes::Recorded,
    }
}

#[cfg(test)]
mod manual;
/// Handles of hard links are those of one file: as on the kernel, exporting
/// needs the index.
fn index(asked: Option<Index>, export: NfsExport) -> Result<Index, UsageError> {
    match (asked, export) {
        (Some(Index::Off), NfsExport::On) => {
            Err(UsageError::Conflict("nfs_export=on", "index=off"))
        }
        (None, NfsExport::On) => Ok(Index::On),
        (asked, NfsExport::On | NfsExport::Off) => Ok(asked.unwrap_or_default()),
    }
}

fn exported(export: NfsExport, metacopy: Option<Metacopy>) -> Result<NfsExport, UsageError> {
    match (export, metacopy) {
        (NfsExport::On, Some(Metacopy::On)) => {
            Err(UsageError::Conflict("nfs_export=on", "metacopy=on"))
        }
        (export, _) => Ok(export),
    }
}

#[cfg(test)]
mod tests;
