//! The same words for a command that does not mount.

use std::ffi::OsString;

use overlay_core::Directories;
use overlay_core::union::RedirectDir;

use super::draft::{Draft, once};
use super::{UsageError, aufs};
use crate::mount::MountFlag;

const BRANCHES: &str = "name the branches as LOWER and UPPER, with layer_format=aufs; of several \
                        that are written, each alone";

/// A stack that is named and not mounted.
#[derive(Debug)]
pub(in crate::cli) struct Unmounted {
    /// The layers; `mount_point` is set if the words name one.
    pub(in crate::cli) directories: Directories,
    /// `redirect_dir`, if it was given.
    pub(in crate::cli) redirect_dir: Option<RedirectDir>,
    /// Whether `ro` was given.
    pub(in crate::cli) read_only: bool,
}

/// The stack that words as those of `ufsmount` name. Without `lowerdir` among
/// the options the paths are LOWER, UPPER and WORK; with it they are what
/// stands there for `mount(8)`.
pub(in crate::cli) fn unmounted(
    options: &[OsString],
    paths: Vec<OsString>,
) -> Result<Unmounted, UsageError> {
    let mut draft = Draft::new();
    for list in options {
        if aufs::names_branches(list) {
            return Err(UsageError::Unsupported(list.clone(), BRANCHES));
        }
        draft.options(list)?;
    }
    let mut mount_point = None;
    let mut paths = paths.into_iter();
    if draft.lowers.is_empty() {
        draft.lower_list(&paths.next().ok_or(UsageError::NoLayers)?)?;
        if let Some(upper) = paths.next() {
            once("the upper layer", &mut draft.upper, upper.into())?;
        }
        if let Some(work) = paths.next() {
            once("the work directory", &mut draft.work, work.into())?;
        }
    } else if let Some(first) = paths.next() {
        mount_point = Some(paths.next().unwrap_or(first).into());
    }
    if let Some(path) = paths.next() {
        return Err(UsageError::TooMany(path));
    }
    if draft.upper.is_none() && draft.work.is_some() {
        return Err(UsageError::WorkAlone);
    }
    Ok(Unmounted {
        directories: Directories {
            lowers: draft.lowers,
            data_lowers: draft.data_lowers,
            upper: draft.upper,
            work: draft.work,
            marks: draft.marks,
            format: draft.format,
            ownership: draft.owners.ownership(),
            mount_point,
            ..Directories::default()
        },
        redirect_dir: draft.redirect_dir,
        read_only: draft.mount.has(MountFlag::ReadOnly),
    })
}
