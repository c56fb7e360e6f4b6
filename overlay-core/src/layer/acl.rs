//! POSIX ACLs and modes are two views of one thing; see `acl(5)` and the
//! kernel's `fs/posix_acl.c`. Here for branches whose modes are not a kernel
//! filesystem's business.
//!
//! What is stored is the attribute's own form (`linux/posix_acl_xattr.h`): a
//! version, then entries of tag, permissions, id.

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

/// What an access ACL says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Access {
    /// The mode's `0o777` that goes with it.
    pub(super) bits: u32,
    /// Whether it says more than a mode can, and so has to be kept.
    pub(super) extended: bool,
}

/// Reads an access ACL.
///
/// Errors: `EINVAL` for what is none, `EOPNOTSUPP` for another version.
pub(super) fn access(acl: &[u8]) -> Result<Access> {
    let entries = parse(acl)?;
    let bits = |wanted| {
        let found = entries.iter().find(|(tag, _)| *tag == wanted);
        found.map(|(_, bits)| u32::from(*bits))
    };
    let (Some(owner), Some(group), Some(other)) = (bits(OWNER), bits(GROUP), bits(OTHER)) else {
        return Err(Error::Invalid("an ACL without its three base entries"));
    };
    let group = bits(MASK).unwrap_or(group);
    Ok(Access {
        bits: owner << 6 | group << 3 | other,
        extended: entries.len() > 3,
    })
}

/// Whether this is an ACL; errors as [`access`].
pub(super) fn check(acl: &[u8]) -> Result<()> {
    parse(acl).map(drop)
}

/// The mode was set: the access ACL follows it. The group's bits of a mode are
/// the mask's, where there is one.
pub(super) fn follow_mode(acl: &mut [u8], mode: u32) {
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
