//! Facts about this process.

use crate::attr::Owner;

/// The effective user and group: who owns what this process creates.
pub fn owner() -> Owner {
    Owner {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    }
}
