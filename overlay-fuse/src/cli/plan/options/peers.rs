//! Options that other FUSE programs have: of libfuse, and of fuse-overlayfs.

use super::{Group, MountOption, refused, value};

const CACHE: &str = "what the kernel may keep is decided by the union: leave it out";
const OWNERS: &str = "files show the owners and modes that their layers store: leave it out";
const TUNING: &str = "it tunes libfuse, which is not used here: leave it out";
const ANYWAY: &str = "accepted: so it is in any case";

const fn tuning(name: &'static str) -> MountOption {
    refused(name, TUNING)
}

pub(super) const PEERS: Group = Group {
    title: "Of other programs",
    options: &[
        value("threaded", "1", ANYWAY, |_, given| {
            given.only(
                "1",
                "requests are always answered by several threads: leave it out",
            )
        }),
        value("writeback", "0", ANYWAY, |_, given| {
            given.only("0", "writes are always passed on at once: leave it out")
        }),
        value("fast_ino", "0", ANYWAY, |_, given| {
            given.only(
                "0",
                "inode numbers are always those of the objects: leave it out",
            )
        }),
        refused("plugins", "there are none: leave it out"),
        refused("kernel_cache", CACHE),
        refused("auto_cache", CACHE),
        refused("noauto_cache", CACHE),
        refused("direct_io", CACHE),
        refused("entry_timeout", CACHE),
        refused("negative_timeout", CACHE),
        refused("attr_timeout", CACHE),
        refused("ac_attr_timeout", CACHE),
        refused("noforget", CACHE),
        refused("remember", CACHE),
        refused("umask", OWNERS),
        refused("uid", OWNERS),
        refused("gid", OWNERS),
        refused("modules", "there are none: leave it out"),
        refused(
            "drop_privileges",
            "whoever mounts serves, and may unmount: leave it out, or use setuid=USER",
        ),
        refused(
            "setuid",
            "it is for mount.fuse3(8), as in mount -t fuse.ufsmount: use that, or run as that user",
        ),
        tuning("max_write"),
        tuning("max_readahead"),
        tuning("max_background"),
        tuning("congestion_threshold"),
        tuning("async_read"),
        tuning("sync_read"),
        tuning("atomic_o_trunc"),
        tuning("big_writes"),
        tuning("large_read"),
        tuning("clone_fd"),
        tuning("max_threads"),
        tuning("max_idle_threads"),
        tuning("hard_remove"),
        tuning("use_ino"),
        tuning("readdir_ino"),
        tuning("intr"),
        tuning("intr_signal"),
        tuning("no_remote_lock"),
        tuning("no_remote_flock"),
        tuning("no_remote_posix_lock"),
        tuning("splice_read"),
        tuning("splice_write"),
        tuning("splice_move"),
        tuning("no_splice_read"),
        tuning("no_splice_write"),
        tuning("no_splice_move"),
    ],
};
