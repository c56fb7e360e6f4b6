//! Words in `/etc/fstab` that are for `mount(8)` itself, and what it keeps for
//! `umount(8)`; see there.

use super::{Group, accepted, elsewhere};

const READ: &str = "accepted: they are for mount(8)";

pub(super) const ELSEWHERE: Group = Group {
    title: "For other programs",
    options: &[
        accepted("defaults", READ),
        accepted("auto", READ),
        accepted("noauto", READ),
        accepted("user", READ),
        accepted("nouser", READ),
        accepted("users", READ),
        accepted("owner", READ),
        accepted("group", READ),
        accepted("nofail", READ),
        accepted("_netdev", READ),
        accepted("_rnetdev", READ),
        elsewhere("helper", READ),
        elsewhere("uhelper", READ),
        elsewhere("comment", READ),
        elsewhere("x-*", READ),
        elsewhere("X-*", READ),
    ],
};
