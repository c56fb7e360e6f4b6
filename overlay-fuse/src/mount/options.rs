//! How to mount.

use std::ffi::{OsStr, OsString};
use std::num::NonZeroU32;

use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::process::geteuid;

/// A flag of the mount; see `mount(8)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MountFlag {
    /// `ro`: nothing can be changed.
    ReadOnly,
    /// `nodev`: device nodes cannot be opened.
    NoDev,
    /// `nosuid`: setuid, setgid and file capabilities have no effect.
    NoSuid,
    /// `noexec`: nothing can be executed.
    NoExec,
    /// `noatime`, as the table of mounts shows it. The kernel itself never
    /// changes access times of FUSE mounts: that the union does not either is
    /// for who opens its layers (`Directories::access_times`).
    NoAtime,
    /// `nodiratime`: the same for directories.
    NoDirAtime,
    /// `sync`: every write to a file waits for the disk. There is no `dirsync`:
    /// the kernel's FUSE syncs no directories of its own accord.
    Synchronous,
    /// `nosymfollow`: symlinks are not followed, but can be read and made
    /// (Linux 5.10).
    NoSymFollow,
}

impl MountFlag {
    const ALL: [MountFlag; 8] = [
        MountFlag::ReadOnly,
        MountFlag::NoDev,
        MountFlag::NoSuid,
        MountFlag::NoExec,
        MountFlag::NoAtime,
        MountFlag::NoDirAtime,
        MountFlag::Synchronous,
        MountFlag::NoSymFollow,
    ];

    fn kernel(self) -> MountFlags {
        match self {
            MountFlag::ReadOnly => MountFlags::RDONLY,
            MountFlag::NoDev => MountFlags::NODEV,
            MountFlag::NoSuid => MountFlags::NOSUID,
            MountFlag::NoExec => MountFlags::NOEXEC,
            MountFlag::NoAtime => MountFlags::NOATIME,
            MountFlag::NoDirAtime => MountFlags::NODIRATIME,
            MountFlag::Synchronous => MountFlags::SYNCHRONOUS,
            MountFlag::NoSymFollow => MountFlags::NOSYMFOLLOW,
        }
    }

    fn word(self) -> &'static str {
        match self {
            MountFlag::ReadOnly => "ro",
            MountFlag::NoDev => "nodev",
            MountFlag::NoSuid => "nosuid",
            MountFlag::NoExec => "noexec",
            MountFlag::NoAtime => "noatime",
            MountFlag::NoDirAtime => "nodiratime",
            MountFlag::Synchronous => "sync",
            MountFlag::NoSymFollow => "nosymfollow",
        }
    }
}

/// Whether what is mounted and unmounted below the mount is so in other places
/// where it is mounted too; see `mount_namespaces(7)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Propagation {
    /// Neither way.
    Private,
    /// Both ways.
    Shared,
    /// From there to here alone, if it was shared before.
    Slave,
    /// Neither way, and it cannot be mounted in another place (`--bind`).
    Unbindable,
}

impl Propagation {
    pub(super) fn kernel(self) -> MountPropagationFlags {
        match self {
            Propagation::Private => MountPropagationFlags::PRIVATE,
            Propagation::Shared => MountPropagationFlags::SHARED,
            Propagation::Slave => MountPropagationFlags::DOWNSTREAM,
            Propagation::Unbindable => MountPropagationFlags::UNBINDABLE,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Propagation::Private => "private",
            Propagation::Shared => "shared",
            Propagation::Slave => "slave",
            Propagation::Unbindable => "unbindable",
        }
    }

    /// Whether a new mount has it, on one that is `shared` or is not: the
    /// kernel makes it the same (`attach_recursive_mnt` in `fs/namespace.c`).
    pub(super) fn comes_by_itself(self, shared: bool) -> bool {
        match self {
            Propagation::Private | Propagation::Slave => !shared,
            Propagation::Shared => shared,
            Propagation::Unbindable => false,
        }
    }
}

/// Who may use the mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Users {
    /// Everyone where root mounts, else the user who mounts.
    #[default]
    Usual,
    /// Everyone, by the permissions of the files (`allow_other`). An ordinary
    /// user needs `user_allow_other` in `/etc/fuse.conf` for it.
    Everyone,
    /// Only the user who mounts.
    Owner,
}

/// How to mount. Begins with `nosuid` and `nodev`, as FUSE mounts do: layers
/// may come from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountOptions {
    flags: MountFlags,
    propagation: Option<Propagation>,
    users: Users,
    max_read: Option<NonZeroU32>,
    source: OsString,
    subtype: OsString,
    context: Option<OsString>,
}

impl Default for MountOptions {
    fn default() -> MountOptions {
        MountOptions::new()
    }
}

impl MountOptions {
    /// The defaults.
    pub fn new() -> MountOptions {
        MountOptions {
            flags: MountFlags::NODEV | MountFlags::NOSUID,
            propagation: None,
            users: Users::Usual,
            max_read: None,
            source: "ufsmount".into(),
            subtype: "ufsmount".into(),
            context: None,
        }
    }

    /// Sets a flag.
    pub fn set(mut self, flag: MountFlag) -> MountOptions {
        self.flags.insert(flag.kernel());
        self
    }

    /// Takes a flag away.
    pub fn clear(mut self, flag: MountFlag) -> MountOptions {
        self.flags.remove(flag.kernel());
        self
    }

    /// How it propagates. Unless set, as the mount that it lies on: where that
    /// is shared, so is this one.
    pub fn propagation(mut self, propagation: Propagation) -> MountOptions {
        self.propagation = Some(propagation);
        self
    }

    /// Who may use it.
    pub fn users(mut self, users: Users) -> MountOptions {
        self.users = users;
        self
    }

    /// The kernel asks for at most so many bytes with one request to read;
    /// below 4096 it takes 4096 (`fs/fuse/inode.c`). Unlimited unless set.
    pub fn max_read(mut self, bytes: NonZeroU32) -> MountOptions {
        self.max_read = Some(bytes);
        self
    }

    /// First field of `/proc/mounts`; `ufsmount` unless set.
    pub fn source(mut self, source: impl Into<OsString>) -> MountOptions {
        self.source = source.into();
        self
    }

    /// The type shown in `/proc/mounts` after `fuse.`; `ufsmount` unless set.
    pub fn subtype(mut self, subtype: impl Into<OsString>) -> MountOptions {
        self.subtype = subtype.into();
        self
    }

    /// The SELinux context that all files show, without quotes (`context=`, see
    /// `mount(8)`). Mounting with one fails where the kernel has no SELinux.
    pub fn context(mut self, context: impl Into<OsString>) -> MountOptions {
        self.context = Some(context.into());
        self
    }

    /// Whether a flag is set.
    pub fn has(&self, flag: MountFlag) -> bool {
        self.flags.contains(flag.kernel())
    }

    pub(crate) fn allows_others(&self) -> bool {
        match self.users {
            Users::Usual => geteuid().is_root(),
            Users::Everyone => true,
            Users::Owner => false,
        }
    }

    pub(super) fn flags(&self) -> MountFlags {
        self.flags
    }

    pub(super) fn shown_propagation(&self) -> Option<Propagation> {
        self.propagation
    }

    pub(super) fn shown_source(&self) -> &OsStr {
        &self.source
    }

    pub(super) fn shown_subtype(&self) -> &OsStr {
        &self.subtype
    }

    pub(super) fn shown_context(&self) -> Option<&OsStr> {
        self.context.as_deref()
    }

    /// The words of the flags that are set.
    pub(super) fn words(&self) -> Vec<&'static str> {
        let set = MountFlag::ALL.into_iter().filter(|flag| self.has(*flag));
        set.map(MountFlag::word).collect()
    }

    /// What `fs/fuse` itself takes, beside what the mount is made of.
    pub(super) fn data(&self) -> String {
        let mut data = String::from("default_permissions");
        if self.allows_others() {
            data.push_str(",allow_other");
        }
        if let Some(bytes) = self.max_read {
            data.push_str(&format!(",max_read={bytes}"));
        }
        data
    }
}
