//! Owners that the kernel does not show.
//!
//! In a user namespace an owner without an id there is shown as the overflow
//! id (65534), and so may be an owner that has that very id. Copied as it
//! shows, a file of the former would come to belong to somebody else. The
//! kernel's overlayfs refuses such a copy-up (`EOVERFLOW`, `ovl_copy_up_one`
//! in `fs/overlayfs/copy_up.c`), and can tell the two apart; a process can
//! tell only by what it may do: its capabilities reach objects whose owner and
//! group both have an id (`capabilities(7)`, `capable_wrt_inode_uidgid`).

use rustix::fs::Access;

use super::DirNode;
use crate::attr::{Attr, FileKind, Owner};
use crate::error::Result;
use crate::layer::Node;
use crate::sys;

/// `system.posix_acl_access`: may grant what the mode does not.
const ACL: &[u8] = b"system.posix_acl_access";

impl DirNode {
    /// Whether owner or group of this object, which shows `attr`, is unknown.
    /// In doubt it is.
    pub(super) fn looks_foreign(&self, attr: &Attr) -> Result<bool> {
        let Some(overflow) = self.branch().overflow else {
            return Ok(false);
        };
        if attr.uid != overflow.uid && attr.gid != overflow.gid {
            return Ok(false);
        }
        let Some(right) = denied(attr, sys::meta::process_owner(), overflow) else {
            return Ok(true);
        };
        if self.xattr(ACL)?.is_some() {
            return Ok(true);
        }
        let may = self.object(|object| sys::meta::may(object, right))?;
        Ok(!may)
    }
}

/// A right that `attr` gives to none of the classes that `process` may be in:
/// who has it in spite of that has it by a capability.
fn denied(attr: &Attr, process: Owner, overflow: Owner) -> Option<Access> {
    if attr.kind == FileKind::Symlink {
        // Its mode gives all to everybody.
        return None;
    }
    let mut given = attr.mode;
    if attr.uid == process.uid {
        given |= attr.mode >> 6;
    }
    // Groups without an id may be among the process' own.
    if attr.gid == process.gid || attr.gid == overflow.gid || sys::meta::is_in_group(attr.gid) {
        given |= attr.mode >> 3;
    }
    [(0o2, Access::WRITE_OK), (0o4, Access::READ_OK)]
        .into_iter()
        .find(|(bit, _)| given & bit == 0)
        .map(|(_, right)| right)
}
