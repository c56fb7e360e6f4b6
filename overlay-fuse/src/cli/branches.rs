//! Branches as AuFS' words name them: opened, and what else those words ask for.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::SystemTime;

use overlay_core::dialect::Heed;
use overlay_core::dialect::aufs::{Aufs, Diropq, WhiteoutFiles};
use overlay_core::stack::directories::{
    BranchAccess, BranchDirectory, BranchForm, LayerFormat, OpenedBranch, Opener,
};
use overlay_core::union::{Options, Plinks, ShowWhiteouts, Size};

use super::Failure;
use super::plan::Plan;
use super::plan::aufs::{Access, Attribute, AufsMount, Branch, Opaque, Permission, Sum, Switch};
use crate::mount::MountFlag;

/// Opens the branches of a mount, top first.
pub(super) fn open(mount: &AufsMount, plan: &Plan) -> Result<Vec<OpenedBranch>, Failure> {
    let opener = opener(plan);
    let is_written = !plan.options.has(MountFlag::ReadOnly);
    if mount.show_whiteouts == Switch::On && is_written {
        return Err(Failure::Usage(
            "shwh shows whiteouts where nothing is written: write ro too, or leave it out"
                .to_owned(),
        ));
    }
    let mut opened: Vec<OpenedBranch> = Vec::new();
    for branch in &mount.branches {
        let others: Vec<PathBuf> = opened.iter().map(|other| other.real.clone()).collect();
        let mut directory = directory(branch, mount.opaque);
        if !is_written {
            directory.access = BranchAccess::ReadOnly(heed(&branch.permission));
        }
        opened.push(opener.open(&directory, &others)?);
    }
    if mount.warn_perm == Switch::On {
        warn_of_permissions(opened.iter().map(|branch| &branch.real));
    }
    Ok(opened)
}

/// Opens branches for this mount, now and later.
pub(super) fn opener(plan: &Plan) -> Opener {
    // The server leaves the directory that the command was called in.
    let point = plan.point.canonicalize();
    let point = point.unwrap_or_else(|_| plan.point.clone());
    let mut opener = Opener::new(Some(point));
    opener.marks = plan.directories.marks;
    opener.ownership = plan.directories.ownership;
    opener.access_times = plan.directories.access_times;
    opener
}

/// A branch as it is to be opened.
pub(super) fn directory(branch: &Branch, opaque: Opaque) -> BranchDirectory {
    let permission = &branch.permission;
    let aufs = dialect(permission, opaque);
    BranchDirectory {
        path: branch.path.clone(),
        access: match permission.access() {
            Access::ReadWrite => BranchAccess::Writable { work: None },
            Access::ReadOnly | Access::RealReadOnly => BranchAccess::ReadOnly(heed(permission)),
        },
        form: given_form(permission).unwrap_or(BranchForm::Detected(aufs)),
    }
}

/// How a branch is written.
pub(super) fn dialect(permission: &Permission, opaque: Opaque) -> Aufs {
    Aufs {
        opaque: match opaque {
            Opaque::Always => Diropq::Always,
            Opaque::Whiteouted => Diropq::Whiteouted,
        },
        whiteouts: match permission.has(Attribute::UnlinkedWhiteouts) {
            true => WhiteoutFiles::Separate,
            false => WhiteoutFiles::Linked,
        },
    }
}

/// Whose marks a branch has, if that is said of it.
pub(super) fn given_form(permission: &Permission) -> Option<BranchForm> {
    if permission.has(Attribute::OfAufs) {
        Some(BranchForm::As(LayerFormat::Aufs(Aufs::default())))
    } else if permission.has(Attribute::OfOverlay) {
        Some(BranchForm::As(LayerFormat::Overlay))
    } else {
        None
    }
}

/// A layer of an overlay as it is to be opened: its marks count in any case.
pub(super) fn layer(branch: &Branch, form: BranchForm) -> BranchDirectory {
    BranchDirectory {
        path: branch.path.clone(),
        access: match branch.permission.access() {
            Access::ReadWrite => BranchAccess::Writable { work: None },
            Access::ReadOnly | Access::RealReadOnly => BranchAccess::ReadOnly(Heed::Marks),
        },
        form: given_form(&branch.permission).unwrap_or(form),
    }
}

/// The whiteouts of a branch that is written count in any case.
fn heed(permission: &Permission) -> Heed {
    let written = permission.access() == Access::ReadWrite;
    match written || permission.has(Attribute::Whiteouts) {
        true => Heed::Marks,
        false => Heed::Nothing,
    }
}

/// What the words say of the union.
pub(super) fn options(mount: &AufsMount) -> Options {
    Options {
        create: mount.create,
        copy_up: mount.copy_up,
        seed: seed(),
        whiteouts: match mount.show_whiteouts {
            Switch::On => ShowWhiteouts::AsTheyAre,
            Switch::Off => ShowWhiteouts::Never,
        },
        size: size(mount.sum),
        plinks: match mount.pseudo_links {
            Switch::On => Plinks::Keep,
            Switch::Off => Plinks::Break,
        },
        ..Options::default()
    }
}

/// Whose sizes the union tells.
pub(super) fn size(sum: Sum) -> Size {
    match sum {
        Sum::First => Size::Top,
        Sum::All => Size::All,
        Sum::Writable => Size::AllWritten,
    }
}

/// Random policies shall not do the same at each mount.
fn seed() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| now.as_nanos() as u64)
}

/// Who may do what in the root is decided by the top branch alone.
fn warn_of_permissions<'a>(mut roots: impl Iterator<Item = &'a PathBuf>) {
    let look = |path: &PathBuf| {
        let attr = std::fs::metadata(path).ok()?;
        Some((attr.mode() & 0o7777, attr.uid(), attr.gid()))
    };
    let Some(top) = roots.next() else {
        return;
    };
    let expected = look(top);
    for root in roots {
        if look(root) != expected {
            tracing::warn!(
                branch = ?root,
                "its owner or mode differs from that of the top branch, which counts"
            );
        }
    }
}
