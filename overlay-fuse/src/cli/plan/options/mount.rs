//! How the union is mounted: flags of `mount(8)`, and options of the kernel's
//! FUSE.

use std::num::NonZeroU32;

use super::super::draft::{State, once};
use super::super::error::UsageError;
use super::{Group, accepted, refused, value, word};
use crate::io::Io;
use crate::mount::{MountFlag, Propagation, Users};

const READ_ONLY: &str = "with ro, UPPER is only read too";
const SAFE: &str = "no effect of setuid, no device nodes: what an ordinary user gets in any case";
const UNSAFE: &str = "the contrary: the default for root, and only for root";
const FLAG: &str = "as mount(8) says";
const SYNC: &str = "whether every write to a file waits for the disk";
const ATIME: &str = "whether reading changes access times in UPPER, of files and directories, or \
                     of directories alone; how, its filesystem decides, and in lower layers it \
                     never does";
const PROPAGATION: &str = "whether what is mounted and unmounted below shows in other places where \
                           the same is mounted (mount_namespaces(7)); where nothing is given, and \
                           for ordinary users, as the mount below has it";
const SHOWN: &str = "how /proc/mounts shows the mount";
const ANYWAY: &str = "accepted: so it is in any case";

const BY_UPPER: &str =
    "the filesystem of the upper layer keeps the times: leave it out, and mount that so";
const BY_US: &str = "ufsmount sets it itself: leave it out";
const NO_BLOCKS: &str = "a union lies on no block device of its own: leave it out";

const IO: [(&str, Io); 2] = [("passthrough", Io::Passthrough), ("cached", Io::Cached)];

pub(super) const MOUNT: Group = Group {
    title: "Mounting",
    options: &[
        word("ro", READ_ONLY, |d| d.flag(MountFlag::ReadOnly, State::Set)),
        word("rw", READ_ONLY, |d| {
            d.flag(MountFlag::ReadOnly, State::Clear)
        }),
        word("nosuid", SAFE, |d| d.flag(MountFlag::NoSuid, State::Set)),
        word("nodev", SAFE, |d| d.flag(MountFlag::NoDev, State::Set)),
        word("suid", UNSAFE, |d| d.flag(MountFlag::NoSuid, State::Clear)),
        word("dev", UNSAFE, |d| d.flag(MountFlag::NoDev, State::Clear)),
        word("exec", FLAG, |d| d.flag(MountFlag::NoExec, State::Clear)),
        word("noexec", FLAG, |d| d.flag(MountFlag::NoExec, State::Set)),
        word("sync", SYNC, |d| d.flag(MountFlag::Synchronous, State::Set)),
        word("async", SYNC, |d| {
            d.flag(MountFlag::Synchronous, State::Clear)
        }),
        word("symfollow", FLAG, |d| {
            d.flag(MountFlag::NoSymFollow, State::Clear)
        }),
        word("nosymfollow", FLAG, |d| {
            d.flag(MountFlag::NoSymFollow, State::Set)
        }),
        word("atime", ATIME, |d| d.flag(MountFlag::NoAtime, State::Clear)),
        word("noatime", ATIME, |d| d.flag(MountFlag::NoAtime, State::Set)),
        word("diratime", ATIME, |d| {
            d.flag(MountFlag::NoDirAtime, State::Clear)
        }),
        word("nodiratime", ATIME, |d| {
            d.flag(MountFlag::NoDirAtime, State::Set)
        }),
        word("private", PROPAGATION, |d| {
            d.propagation(Propagation::Private)
        }),
        word("rprivate", PROPAGATION, |d| {
            d.propagation(Propagation::Private)
        }),
        word("shared", PROPAGATION, |d| {
            d.propagation(Propagation::Shared)
        }),
        word("rshared", PROPAGATION, |d| {
            d.propagation(Propagation::Shared)
        }),
        word("slave", PROPAGATION, |d| d.propagation(Propagation::Slave)),
        word("rslave", PROPAGATION, |d| d.propagation(Propagation::Slave)),
        word("unbindable", PROPAGATION, |d| {
            d.propagation(Propagation::Unbindable)
        }),
        word("runbindable", PROPAGATION, |d| {
            d.propagation(Propagation::Unbindable)
        }),
        word(
            "allow_other",
            "for all users; root has it in any case",
            |draft| {
                draft.mount(|mount| mount.users(Users::Everyone));
                Ok(())
            },
        ),
        value(
            "io",
            "passthrough|cached",
            "how contents of files come and go: past the server where that is allowed (passthrough, \
             the default; of the kernel, to root), or through it",
            |draft, given| {
                draft.io = given.choose(&IO)?;
                Ok(())
            },
        ),
        value(
            "max_read",
            "BYTES",
            "at most so many bytes with one request to read, and 4096 at least",
            |draft, given| {
                let value = given.text();
                let bytes: Option<NonZeroU32> = value.to_str().and_then(|text| text.parse().ok());
                let name = "max_read";
                let bytes = bytes.ok_or(UsageError::Number { name, value })?;
                draft.mount(|mount| mount.max_read(bytes));
                Ok(())
            },
        ),
        value("fsname", "NAME", SHOWN, |draft, given| {
            once("fsname", &mut draft.source, given.text())
        }),
        value("subtype", "NAME", SHOWN, |draft, given| {
            draft.mount(|mount| mount.subtype(given.text()));
            Ok(())
        }),
        word("debug", "as --debug", |draft| {
            draft.debug = true;
            Ok(())
        }),
        accepted("default_permissions", ANYWAY),
        accepted("relatime", ANYWAY),
        accepted("norelatime", ANYWAY),
        accepted("nostrictatime", ANYWAY),
        accepted("nolazytime", ANYWAY),
        accepted("noiversion", ANYWAY),
        accepted("nomand", ANYWAY),
        accepted("silent", ANYWAY),
        accepted("loud", ANYWAY),
        accepted("nonempty", ANYWAY),
        refused(
            "dirsync",
            "FUSE syncs no directories: leave it out, and mount the filesystem of the upper layer so",
        ),
        refused("strictatime", BY_UPPER),
        refused("lazytime", BY_UPPER),
        refused(
            "iversion",
            "FUSE carries no version numbers of files: leave it out",
        ),
        refused(
            "mand",
            "Linux has no mandatory locks any more: leave it out",
        ),
        refused(
            "remount",
            "a live mount is changed without its server: mount -i -o remount,...",
        ),
        refused(
            "allow_root",
            "the kernel answers from its cache without asking who may: use allow_other, or leave \
             it out",
        ),
        refused(
            "auto_unmount",
            "the server unmounts when it is ended by a signal; should it ever crash, use umount: \
             leave it out",
        ),
        refused("blkdev", NO_BLOCKS),
        refused("blksize", NO_BLOCKS),
        refused("fd", BY_US),
        refused("rootmode", BY_US),
        refused("user_id", BY_US),
        refused("group_id", BY_US),
    ],
};
