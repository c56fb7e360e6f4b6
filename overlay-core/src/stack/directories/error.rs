//! Why directories do not make a stack: one sentence each, which names the
//! thing and says what to do.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::place::Place;
use crate::error::Error;
use crate::name::Name;

/// What a directory was meant to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A read-only layer.
    Lower,
    /// The layer that takes all changes.
    Upper,
    /// Where changes are prepared.
    Work,
    /// Where the union is mounted.
    MountPoint,
    /// A directory that is to be converted.
    Branch,
    /// Where a converted copy is made.
    Copy,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Lower => "lower layer",
            Role::Upper => "upper layer",
            Role::Work => "work directory",
            Role::MountPoint => "mount point",
            Role::Branch => "branch",
            Role::Copy => "copy",
        })
    }
}

/// Why a stack was refused. Nothing on disk has changed.
///
/// The text of each variant is one sentence for the person who named the
/// directories.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// No lower layer.
    #[error("no lower layer is given: name at least one directory to read from")]
    NoLower,
    /// The table of mounts cannot be read.
    #[error("the table of mounts /proc/self/mountinfo cannot be read ({0}): mount /proc")]
    NoProc(#[source] io::Error),
    /// `ENOENT`
    #[error("{role} {path:?} does not exist: create the directory or correct the path")]
    Missing {
        /// What it was meant to be.
        role: Role,
        /// As it was given.
        path: PathBuf,
    },
    /// `ENOTDIR`
    #[error("{role} {path:?} is not a directory: name a directory")]
    NotDirectory {
        /// What it was meant to be.
        role: Role,
        /// As it was given.
        path: PathBuf,
    },
    /// `EACCES` for reading or searching.
    #[error(
        "{role} {path:?} cannot be read: grant this user read and search permission (chmod u+rx), or run as its owner"
    )]
    Unreadable {
        /// What it was meant to be.
        role: Role,
        /// As it was given.
        path: PathBuf,
    },
    /// `EACCES` for writing.
    #[error(
        "{role} {path:?} cannot be written: grant this user write permission (chmod u+w), or run as its owner"
    )]
    Unwritable {
        /// What it was meant to be.
        role: Role,
        /// As it was given.
        path: PathBuf,
    },
    /// `EROFS`
    #[error(
        "{role} {path:?} lies on a filesystem that is mounted read-only: choose a directory that can be written, or leave the upper layer out"
    )]
    ReadOnly {
        /// What it was meant to be.
        role: Role,
        /// As it was given.
        path: PathBuf,
    },
    /// Any other failure to look at it.
    #[error("{role} {path:?} cannot be used ({source}): check the path")]
    Path {
        /// What it was meant to be.
        role: Role,
        /// As it was given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// One directory for two purposes.
    #[error(
        "{first_role} {first:?} and {second_role} {second:?} are the same directory: use two different ones"
    )]
    Same {
        /// One purpose.
        first_role: Role,
        /// As it was given for it.
        first: PathBuf,
        /// The other purpose.
        second_role: Role,
        /// As it was given for that.
        second: PathBuf,
    },
    /// One directory below another.
    #[error(
        "{inner_role} {inner:?} lies inside {outer_role} {outer:?}: move one of them, layers must not overlap"
    )]
    Inside {
        /// What the one below was meant to be.
        inner_role: Role,
        /// The one below.
        inner: PathBuf,
        /// What the one above was meant to be.
        outer_role: Role,
        /// The one above.
        outer: PathBuf,
    },
    /// Work and upper on two filesystems or mounts.
    #[error(
        "work directory {work:?} is not on the filesystem of upper layer {upper:?}: name one beside it with workdir="
    )]
    WorkElsewhere {
        /// The work directory.
        work: PathBuf,
        /// The upper layer.
        upper: PathBuf,
    },
    /// Work on another mount than upper, and none can lie on the same.
    #[error(
        "upper layer {upper:?} is the root of a mount, so no work directory can lie beside it: make a directory inside it the upper layer, for example {:?}", .upper.join("upper")
    )]
    NothingBeside {
        /// The upper layer.
        upper: PathBuf,
    },
    /// Another union of ours writes there, or somebody looks it over.
    #[error(
        "upper layer {upper:?} or its work directory {work:?} is in use by another mount, or by ufs check or convert: unmount that first and close what is still open in it, or wait for the command"
    )]
    InUse {
        /// The upper layer.
        upper: PathBuf,
        /// The work directory.
        work: PathBuf,
    },
    /// Something else has the place of the work area.
    #[error(
        "{path:?} is not a directory, and changes are prepared in one of that name: move it away"
    )]
    WorkArea {
        /// The directory `work` in the work directory.
        path: PathBuf,
    },
    /// `ENOSPC`, `EDQUOT`
    #[error(
        "there is no room for anything in {role} {path:?}: make room on its filesystem, or mount with ro"
    )]
    NoSpace {
        /// What it was meant to be.
        role: Role,
        /// As it was given.
        path: PathBuf,
    },
    /// The last mount of the upper layer was volatile.
    #[error(
        "upper layer {upper:?} was mounted volatile before, so it may be damaged if the machine went down since: throw it and its work directory away, or, if it did not go down, remove {marker:?} with all in it"
    )]
    Volatile {
        /// The upper layer.
        upper: PathBuf,
        /// What says so.
        marker: PathBuf,
    },
    /// The last mount of the upper layer had a feature that we do not.
    #[error(
        "upper layer {upper:?} was mounted with a feature that is not known here, says {marker:?}: mount it with what made it"
    )]
    Incompatible {
        /// The upper layer.
        upper: PathBuf,
        /// What says so.
        marker: PathBuf,
    },
    /// The kernel's overlayfs writes there.
    #[error("{role} {path:?} is in use by the overlay mounted at {point:?}: unmount that first")]
    InKernelOverlay {
        /// What it was meant to be.
        role: Role,
        /// As it was given.
        path: PathBuf,
        /// Where the overlay is mounted.
        point: PathBuf,
    },
    /// `ufs convert` was interrupted there.
    #[error(
        "{role} {path:?} is half-way from one form to another, for ufs convert was interrupted there: run ufs convert {path:?} again to finish it"
    )]
    HalfConverted {
        /// What it was meant to be.
        role: Role,
        /// As it was given.
        path: PathBuf,
    },
    /// A branch that is to be written as AuFS does was written by overlayfs.
    #[error(
        "branch {path:?} has marks of overlayfs, and is to be written as AuFS does: run ufs convert {path:?} first, or name it as a read-only branch"
    )]
    OverlayMarks {
        /// The branch.
        path: PathBuf,
    },
    /// What AuFS keeps in the root of a branch is something else.
    #[error(
        "{role} {path:?} is damaged: {name} in it, which is of AuFS, is no {expected}: move it away"
    )]
    StrangeName {
        /// What it was meant to be.
        role: Role,
        /// As it was given.
        path: PathBuf,
        /// The name in its root.
        name: String,
        /// What should have that name.
        expected: &'static str,
    },
    /// A branch to be converted is the upper layer of a union of ours, or
    /// being converted.
    #[error(
        "branch {path:?} is in use by a mount or another conversion: unmount it first, or wait"
    )]
    BranchInUse {
        /// The branch.
        path: PathBuf,
    },
    /// A branch to be converted is a union itself.
    #[error(
        "{path:?} is where a union is mounted ({kind}), not a branch: unmount it, and name the directory of the branch"
    )]
    NotABranch {
        /// As it was given.
        path: PathBuf,
        /// The type of the mount.
        kind: String,
    },
    /// There is something where a copy is to be made.
    #[error("copy {path:?} is not empty: name an empty or a missing directory")]
    NotEmpty {
        /// As it was given.
        path: PathBuf,
    },
    /// The marks of a conversion cannot be stored.
    #[error(
        "{role} {path:?} does not take the attribute {attribute} ({source}): run as root on a filesystem that stores such attributes, or use --userxattr for those that anybody may set"
    )]
    NoConversionMark {
        /// What it was meant to be.
        role: Role,
        /// As it was given.
        path: PathBuf,
        /// The attribute's name.
        attribute: String,
        /// What the system said.
        source: Error,
    },
    /// No extended attributes can be stored.
    #[error(
        "the filesystem of upper layer {path:?} stores no extended attributes, which marks need: choose a directory on another filesystem, for example ext4, xfs or btrfs"
    )]
    NoXattr {
        /// The upper layer.
        path: PathBuf,
    },
    /// `trusted.*` cannot be stored.
    #[error(
        "the filesystem of upper layer {path:?} stores no trusted.* attributes, which marks need: use -o userxattr"
    )]
    NoTrustedXattr {
        /// The upper layer.
        path: PathBuf,
    },
    /// `user.*` cannot be stored.
    #[error(
        "the filesystem of upper layer {path:?} stores no user.* attributes, which marks need: choose a directory on another filesystem, for example ext4, xfs or btrfs"
    )]
    NoUserXattr {
        /// The upper layer.
        path: PathBuf,
    },
    /// `security.*` cannot be stored.
    #[error(
        "the owners of upper layer {path:?} are to be stored in security.* attributes, which this process may not write there: use xattr_permissions=2 with a new upper layer, or run as root"
    )]
    NoSecurityXattr {
        /// The upper layer.
        path: PathBuf,
    },
    /// Whoever may write to a file may have written such an attribute.
    #[error(
        "the owners in {role} {path:?} are stored in attributes ({attribute}) that anybody may have written: add xattr_permissions=2 to believe them, or xattr_permissions=0 to show the files as they are"
    )]
    OwnersInAttributes {
        /// What it was meant to be.
        role: Role,
        /// As it was given.
        path: PathBuf,
        /// The attribute's name.
        attribute: String,
    },
    /// An owner attribute of a layer's root means nothing.
    #[error(
        "the owner of {role} {path:?} is stored in the attribute {attribute}, whose value is not UID:GID:MODE: set it anew (setfattr), or add xattr_permissions=0 to show the files as they are"
    )]
    OwnersIllegible {
        /// What it was meant to be.
        role: Role,
        /// As it was given.
        path: PathBuf,
        /// The attribute's name.
        attribute: String,
    },
    /// A union is mounted there already.
    #[error(
        "a union is mounted at mount point {path:?} already: unmount it, or choose another directory"
    )]
    MountPointBusy {
        /// The mount point.
        path: PathBuf,
    },
    /// What is mounted there has lost its server.
    #[error(
        "{role} {path:?} is a mount whose server is gone: unmount it (umount, or fusermount3 -u)"
    )]
    Dead {
        /// What it was meant to be.
        role: Role,
        /// As it was given.
        path: PathBuf,
    },
    /// `EMFILE`: each layer holds a descriptor.
    #[error(
        "{role} {path:?} cannot be opened, for this process may open no more files: raise the limit (ulimit -n), or name fewer layers"
    )]
    TooManyOpen {
        /// What it was meant to be.
        role: Role,
        /// As it was given.
        path: PathBuf,
    },
    /// The layer refused to open.
    #[error("{role} {path:?} cannot be opened ({source}): check the directory")]
    Layer {
        /// What it was meant to be.
        role: Role,
        /// As it was given.
        path: PathBuf,
        /// Why.
        source: Error,
    },
}

impl SetupError {
    pub(super) fn same(first: &Place, second: &Place) -> SetupError {
        SetupError::Same {
            first_role: first.role,
            first: first.path.clone(),
            second_role: second.role,
            second: second.path.clone(),
        }
    }

    /// See [`Error::Incompatible`].
    pub(super) fn incompatible(upper: &Place, work: &Place, feature: &Name) -> SetupError {
        let upper = upper.path.clone();
        let name = OsStr::from_bytes(feature.as_bytes());
        let marker = work.path.join("work/incompat").join(name);
        match feature.as_bytes() {
            b"volatile" => SetupError::Volatile { upper, marker },
            _ => SetupError::Incompatible { upper, marker },
        }
    }

    pub(super) fn inside(inner: &Place, outer: &Place) -> SetupError {
        SetupError::Inside {
            inner_role: inner.role,
            inner: inner.path.clone(),
            outer_role: outer.role,
            outer: outer.path.clone(),
        }
    }
}
