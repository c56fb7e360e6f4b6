//! POSIX ACLs and modes are two views of one thing; see `acl(5)` and the
//! kernel's `fs/posix_acl.c`. What is stored is the attribute's own form
//! (`linux/posix_acl_xattr.h`): a version, then entries of tag, permissions, id.

use super::tree::{Body, Inode};
use crate::error::{Error, Result};

/// The access ACL's attribute.
pub(super) const ACCESS: &[u8] = b"system.posix_acl_access";
/// The default ACL's attribute.
pub(super) const DEFAULT: &[u8] = b"system.posix_acl_default";

const VERSION: [u8; 4] = 2_u32.to_le_bytes();
const HEADER: usize = VERSION.len();
/// Bytes of an entry: tag and permissions in two each, the id in four.
const ENTRY: usize = 8;

const OWNER: u16 = 0x01;
const GROUP: u16 = 0x04;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// Sets an access ACL: the mode follows it, and one that says no more than a
/// mode can is not kept.
pub(super) fn set_access(inode: &mut Inode, acl: &[u8]) -> Result<()> {
    if matches!(inode.body, Body::Symlink(_)) {
        return Err(Error::Unsupported("a symlink has no ACL"));
    }
    let entries = parse(acl)?;
    let bits = |wanted| {
        let found = entries.iter().find(|(tag, _)| *tag == wanted);
        found.map(|(_, bits)| u32::from(*bits))
    };
    let (Some(owner), Some(group), Some(other)) = (bits(OWNER), bits(GROUP), bits(OTHER)) else {
        return Err(Error::Invalid("an ACL without its three base entries"));
    };
    let group = bits(MASK).unwrap_or(group);
    inode.mode = inode.mode & !0o777 | owner << 6 | group << 3 | other;
    match entries.len() {
        3 => inode.xattrs.remove(ACCESS),
        _ => inode.xattrs.insert(ACCESS.to_vec(), acl.to_vec()),
    };
    Ok(())
}

/// Sets a default ACL, which only a directory has.
pub(super) fn set_default(inode: &mut Inode, acl: &[u8]) -> Result<()> {
    if !matches!(inode.body, Body::Directory { .. }) {
        return Err(Error::Errno(rustix::io::Errno::ACCESS));
    }
    parse(acl)?;
    inode.xattrs.insert(DEFAULT.to_vec(), acl.to_vec());
    Ok(())
}

/// The mode was set: the access ACL follows it. The group's bits of a mode are
/// the mask's, where there is one.
pub(super) fn follow_mode(inode: &mut Inode) {
    let mode = inode.mode;
    let Some(acl) = inode.xattrs.get_mut(ACCESS) else {
        return;
    };
    let entries = acl.get_mut(HEADER..).unwrap_or_default();
    let tag = |entry: &[u8]| match entry {
        [low, high, ..] => u16::from_le_bytes([*low, *high]),
        _ => 0,
    };
    let has_mask = entries.chunks(ENTRY).any(|entry| tag(entry) == MASK);
    for entry in entries.chunks_mut(ENTRY) {
        let bits = match tag(entry) {
            OWNER => mode >> 6,
            MASK => mode >> 3,
            GROUP if !has_mask => mode >> 3,
            OTHER => mode,
            _ => continue,
        };
        if let Some(low) = entry.get_mut(2) {
            *low = (bits & 0o7) as u8;
        }
    }
}

fn parse(acl: &[u8]) -> Result<Vec<(u16, u16)>> {
    let (version, entries) = acl
        .split_at_checked(HEADER)
        .filter(|(_, entries)| entries.len() % ENTRY == 0)
        .ok_or(Error::Invalid("not an ACL"))?;
    if version != VERSION {
        return Err(Error::Unsupported("this version of ACLs"));
    }
    let pair = |entry: &[u8]| match entry {
        [tag, tag_high, bits, bits_high, ..] => Ok((
            u16::from_le_bytes([*tag, *tag_high]),
            u16::from_le_bytes([*bits, *bits_high]),
        )),
        _ => Err(Error::Invalid("not an ACL")),
    };
    entries.chunks(ENTRY).map(pair).collect()
}
