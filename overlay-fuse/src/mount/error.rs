//! Why a union is not mounted, or not unmounted: one sentence each.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

/// Why mounting or unmounting failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// `/dev/fuse` is missing, or the kernel has no FUSE.
    #[error(
        "/dev/fuse is missing: load the kernel's FUSE (modprobe fuse), or give this container the device (--device /dev/fuse)"
    )]
    NoDevice,
    /// `/dev/fuse` may not be opened.
    #[error("/dev/fuse cannot be opened ({0}): run as root, or install the package fuse3")]
    Device(#[source] io::Error),
    /// `/dev/fuse` may not be opened by ordinary users.
    #[error(
        "/dev/fuse may not be opened by this user: run as root, or let root permit it (chmod 0666 /dev/fuse)"
    )]
    DeviceDenied,
    /// An ordinary user needs `fusermount3`.
    #[error(
        "mounting needs root, or the command fusermount3 for other users: install the package fuse3, or run as root"
    )]
    NoFusermount,
    /// An ordinary user mounts only over what is theirs.
    #[error(
        "mount point {0:?} cannot be written by this user: name a directory that it may write, or run as root"
    )]
    PointDenied(PathBuf),
    /// `fusermount3` knows fewer options than `mount(2)`.
    #[error("fusermount3 does not know the option {0}: leave it out, or run as root")]
    HelperOption(String),
    /// `fusermount3` refused.
    #[error("fusermount3 refused to mount at {0:?} ({1}): see fusermount3(1), or run as root")]
    Fusermount(PathBuf, String),
    /// `fusermount3` could not be run.
    #[error("fusermount3 cannot be run ({0}): install the package fuse3 again, or run as root")]
    RunFusermount(#[source] io::Error),
    /// `allow_other` is not permitted.
    #[error(
        "allow_other is not permitted to this user: add the line user_allow_other to /etc/fuse.conf, or leave allow_other out"
    )]
    AllowOther,
    /// `suid` or `dev` is not permitted.
    #[error(
        "the option {0} is not permitted to an ordinary user: write no{0} (mount(8) adds {0} where that is missing), or run as root"
    )]
    RootOnly(&'static str),
    /// How a mount propagates is root's to say.
    #[error(
        "the option {0} is not permitted to an ordinary user, whose mounts propagate as the one that they lie on: leave it out, or run as root"
    )]
    Propagation(&'static str),
    /// `context=` from a process that is not root.
    #[error(
        "the option context is not permitted to an ordinary user: leave it out, or run as root"
    )]
    ContextForRoot,
    /// `context=` without SELinux.
    #[error(
        "the option context has no effect here, for this kernel has no SELinux, or it is off: leave it out"
    )]
    NoSelinux,
    /// A name with a NUL, or not representable in a mount option.
    #[error(
        "the name {0:?} cannot be shown in the table of mounts: leave it out, or choose another"
    )]
    Name(OsString),
    /// The mount point cannot be reached.
    #[error("mount point {0:?} cannot be used ({1}): name a directory that you can enter")]
    Point(PathBuf, #[source] io::Error),
    /// `mount(2)` failed.
    #[error("mounting at {0:?} failed ({1}): see the kernel's log (dmesg)")]
    Mount(PathBuf, #[source] Errno),
    /// What an earlier mount left in the work directory could not be cleared.
    #[error(
        "the work directory cannot be made ready ({0}): check it and the room on its filesystem"
    )]
    Recover(#[source] overlay_core::Error),
    /// What others change cannot be followed.
    #[error(
        "changes by others cannot be followed ({0}): write udba=reval, which looks at each name \
         again"
    )]
    Follow(#[source] overlay_core::Error),
    /// The conversation with the kernel failed.
    #[error("serving the mount failed: {0}")]
    Session(#[source] io::Error),
    /// `umount(2)` failed.
    #[error("unmounting {0:?} failed ({1}): try umount -l, or fusermount3 -u -z")]
    Unmount(PathBuf, #[source] io::Error),
    /// Something else is mounted on top.
    #[error("{0:?} is covered by another mount: unmount that first")]
    Covered(PathBuf),
}

impl MountError {
    /// Whether an option is not for this user or this machine: it was wrong to
    /// give it, and nothing else has failed.
    pub(crate) fn is_about_an_option(&self) -> bool {
        match self {
            MountError::HelperOption(_)
            | MountError::Follow(_)
            | MountError::AllowOther
            | MountError::RootOnly(_)
            | MountError::Propagation(_)
            | MountError::ContextForRoot
            | MountError::NoSelinux
            | MountError::Name(_) => true,
            MountError::NoDevice
            | MountError::Device(_)
            | MountError::DeviceDenied
            | MountError::NoFusermount
            | MountError::PointDenied(_)
            | MountError::Fusermount(..)
            | MountError::RunFusermount(_)
            | MountError::Point(..)
            | MountError::Mount(..)
            | MountError::Recover(_)
            | MountError::Session(_)
            | MountError::Unmount(..)
            | MountError::Covered(_) => false,
        }
    }
}
