//! What is known of the process that asks: `/proc` tells, and it waits for the
//! answer meanwhile.
//!
//! Who may ask the server of a mount to change it: it opens directories by its
//! own rights, where it sees them. So who asks must see what it sees and be able
//! to do what it can. Root of a container whose root directory the mount is has
//! user id 0 too, and must not reach what lies outside.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use fuser::Request;
use overlay_core::{Error, Result};

/// The bit of `CAP_SYS_ADMIN`, which a remount takes; see `capabilities(7)`.
const SYS_ADMIN: u32 = 21;

/// The bit of `CAP_FSETID`, the same.
const FSETID: u32 = 4;

/// How the kernel names the first user namespace (`PROC_USER_INIT_INO` in
/// `include/linux/proc_ns.h`): it alone counts for `capable()`.
const FIRST_USER_NAMESPACE: &str = "user:[4026531837]";

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
    let asker = process(request).ok_or(OUTSIDE)?;
    for what in ["ns/mnt", "ns/user", "root"] {
        let own = fs::read_link(PathBuf::from("/proc/self").join(what)).map_err(refused)?;
        if fs::read_link(asker.join(what)).map_err(refused)? != own {
            return Err(OUTSIDE);
        }
    }
    if server.is_root() && !has(&asker, SYS_ADMIN).map_err(refused)? {
        return Err(OUTSIDE);
    }
    Ok(())
}

/// Whether a file keeps setuid and setgid when who asks changes it: root with
/// `CAP_FSETID` in the first user namespace. Whatever is in doubt is no.
pub(super) fn keeps_setid(request: &Request) -> bool {
    let Some(asker) = process(request).filter(|_| request.uid() == 0) else {
        return false;
    };
    let in_first = fs::read_link(asker.join("ns/user"))
        .is_ok_and(|name| name.as_os_str() == FIRST_USER_NAMESPACE);
    in_first && has(&asker, FSETID).unwrap_or(false)
}

/// Whether who asks is in a group. Whatever is in doubt is no.
pub(super) fn is_in_group(request: &Request, group: u32) -> bool {
    if request.gid() == group {
        return true;
    }
    let groups = process(request).and_then(|asker| status(&asker, "Groups:").ok());
    let groups = groups.unwrap_or_default();
    let mut groups = groups.split_whitespace();
    groups.any(|one| one.parse() == Ok(group))
}

/// The directory of who asks; none of a process that this one does not see,
/// which has the number 0.
fn process(request: &Request) -> Option<PathBuf> {
    let pid = Some(request.pid()).filter(|pid| *pid != 0);
    pid.map(|pid| PathBuf::from(format!("/proc/{pid}")))
}

/// Whether a capability is in effect in the process of this directory.
fn has(process: &Path, capability: u32) -> io::Result<bool> {
    let effective = u64::from_str_radix(&status(process, "CapEff:")?, 16);
    Ok(effective.unwrap_or(0) & 1 << capability != 0)
}

/// What `/proc/PID/status` says by the word `field`; nothing if it has none.
fn status(process: &Path, field: &str) -> io::Result<String> {
    let status = fs::read_to_string(process.join("status"))?;
    let said = status.lines().find_map(|line| line.strip_prefix(field));
    Ok(said.unwrap_or_default().trim().to_owned())
}
