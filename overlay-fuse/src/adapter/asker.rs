//! Who may ask the server of a mount to change it: it opens directories by its
//! own rights, where it sees them. So who asks must see what it sees and be able
//! to do what it can. Root of a container whose root directory the mount is has
//! user id 0 too, and must not reach what lies outside.

use std::fs;
use std::io;
use std::path::PathBuf;

use fuser::Request;
use overlay_core::{Error, Result};

/// The bit of `CAP_SYS_ADMIN`, which a remount takes; see `capabilities(7)`.
const SYS_ADMIN: u32 = 21;

const OTHER: Error = Error::NotPermitted("the mount is somebody else's");
const OUTSIDE: Error =
    Error::NotPermitted("who asks is not where the server is, or may do less than it");

/// `EPERM` unless who asks is the user who serves, with the same root directory
/// and in the same namespaces, and where that is root with `CAP_SYS_ADMIN`.
///
/// The process waits for the answer meanwhile. Nothing here looks into a
/// filesystem: its root may be the mount itself, which is waiting, too.
pub(super) fn permit(request: &Request) -> Result<()> {
    let server = rustix::process::geteuid();
    if request.uid() != server.as_raw() {
        return Err(OTHER);
    }
    let refused = |error: io::Error| {
        tracing::debug!(%error, "nothing is known of who asks");
        OUTSIDE
    };
    // A process that this one does not see has the number 0.
    let asker = match request.pid() {
        0 => return Err(OUTSIDE),
        pid => PathBuf::from(format!("/proc/{pid}")),
    };
    for what in ["ns/mnt", "ns/user", "root"] {
        let own = fs::read_link(PathBuf::from("/proc/self").join(what)).map_err(refused)?;
        if fs::read_link(asker.join(what)).map_err(refused)? != own {
            return Err(OUTSIDE);
        }
    }
    if server.is_root() {
        let status = fs::read_to_string(asker.join("status")).map_err(refused)?;
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let effective = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
        if effective.unwrap_or(0) & 1 << SYS_ADMIN == 0 {
            return Err(OUTSIDE);
        }
    }
    Ok(())
}
