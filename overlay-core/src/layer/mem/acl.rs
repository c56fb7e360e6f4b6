//! The ACLs of objects in memory: the mode follows them, and they the mode.

use super::tree::{Body, Inode};
use crate::error::{Error, Result};
use crate::layer::acl;
pub(super) use crate::layer::acl::{ACCESS, DEFAULT};

/// Sets an access ACL: the mode follows it, and one that says no more than a
/// mode can is not kept.
pub(super) fn set_access(inode: &mut Inode, value: &[u8]) -> Result<()> {
    if matches!(inode.body, Body::Symlink(_)) {
        return Err(Error::Unsupported("a symlink has no ACL"));
    }
    let access = acl::access(value)?;
    inode.mode = inode.mode & !0o777 | access.bits;
    match access.extended {
        false => inode.xattrs.remove(ACCESS),
        true => inode.xattrs.insert(ACCESS.to_vec(), value.to_vec()),
    };
    Ok(())
}

/// Sets a default ACL, which only a directory has.
pub(super) fn set_default(inode: &mut Inode, value: &[u8]) -> Result<()> {
    if !matches!(inode.body, Body::Directory { .. }) {
        return Err(Error::Errno(rustix::io::Errno::ACCESS));
    }
    acl::check(value)?;
    inode.xattrs.insert(DEFAULT.to_vec(), value.to_vec());
    Ok(())
}

/// The mode was set: the access ACL follows it.
pub(super) fn follow_mode(inode: &mut Inode) {
    if let Some(access) = inode.xattrs.get_mut(ACCESS) {
        acl::follow_mode(access, inode.mode);
    }
}
