//! What a new object inherits from the default ACL of its directory.
//!
//! Objects are staged in the work area, where nothing is inherited, so the
//! union does what the filesystem would have done. Source: acl(5), "Object
//! creation and default ACLs", and the kernel's `fs/posix_acl.c`.

use crate::error::{Error, Result};

/// The attribute that holds a directory's default ACL.
pub(super) const DEFAULT: &[u8] = b"system.posix_acl_default";
/// The attribute that holds an object's ACL.
pub(super) const ACCESS: &[u8] = b"system.posix_acl_access";

/// `POSIX_ACL_XATTR_VERSION`
const VERSION: u32 = 2;
const HEADER: usize = 4;
const ENTRY: usize = 8;

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// What a new object gets from a default ACL.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Inherited {
    /// The permission bits, masked by the ACL instead of the umask.
    pub mode: u32,
    /// The object's ACL; `None` where the mode says it all.
    pub access: Option<Vec<u8>>,
}

/// Applies the default ACL `default` (as stored) to an object asked for with
/// `mode`. `EIO` for an ACL that the kernel would not have stored.
pub(super) fn inherit(default: &[u8], mode: u32) -> Result<Inherited> {
    let damaged = Error::Damaged("an ACL that is not in the kernel's form");
    let (header, entries) = default.split_at_checked(HEADER).ok_or(damaged.clone())?;
    if header != VERSION.to_le_bytes() || entries.len() % ENTRY != 0 {
        return Err(damaged);
    }
    let mut acl = default.to_vec();
    let mut mode = mode;
    let mut extended = false;
    let mut group = None;
    let mut mask = None;
    for at in (HEADER..acl.len()).step_by(ENTRY) {
        match u16::from_le_bytes([acl[at], acl[at + 1]]) {
            USER_OBJ => mode = restrict(&mut acl, at, mode, 6),
            OTHER => mode = restrict(&mut acl, at, mode, 0),
            USER | GROUP => extended = true,
            GROUP_OBJ => group = Some(at),
            MASK => {
                extended = true;
                mask = Some(at);
            }
            _ => return Err(damaged),
        }
    }
    if let Some(at) = mask.or(group) {
        mode = restrict(&mut acl, at, mode, 3);
    }
    Ok(Inherited {
        mode,
        access: extended.then_some(acl),
    })
}

/// Leaves in the entry at `at` and in the class of `mode` at `shift` what
/// both allow, and returns the mode.
fn restrict(acl: &mut [u8], at: usize, mode: u32, shift: u32) -> u32 {
    let allowed = u32::from(u16::from_le_bytes([acl[at + 2], acl[at + 3]]));
    let both = allowed & (mode >> shift) & 0o7;
    // Three bits, so the high byte is zero.
    acl[at + 2] = both as u8;
    acl[at + 3] = 0;
    mode & !(0o7 << shift) | both << shift
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut bytes = VERSION.to_le_bytes().to_vec();
        for (tag, perm, id) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(perm.to_le_bytes());
            bytes.extend(id.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn a_minimal_default_acl_becomes_the_mode_alone() {
        let default = acl(&[(USER_OBJ, 7, 0), (GROUP_OBJ, 5, 0), (OTHER, 0, 0)]);
        let inherited = inherit(&default, 0o666).unwrap();
        assert_eq!((inherited.mode, inherited.access), (0o640, None));
    }

    #[test]
    fn the_mask_takes_the_place_of_the_group_bits() {
        let default = acl(&[
            (USER_OBJ, 7, 0),
            (USER, 7, 1000),
            (GROUP_OBJ, 5, 0),
            (MASK, 7, 0),
            (OTHER, 5, 0),
        ]);
        let inherited = inherit(&default, 0o660).unwrap();
        let expected = acl(&[
            (USER_OBJ, 6, 0),
            (USER, 7, 1000),
            (GROUP_OBJ, 5, 0),
            (MASK, 6, 0),
            (OTHER, 0, 0),
        ]);
        assert_eq!(inherited.mode, 0o660);
        assert_eq!(inherited.access, Some(expected));
    }

    #[test]
    fn a_broken_acl_is_an_error() {
        assert!(inherit(b"", 0o666).is_err());
        assert!(inherit(&[2, 0, 0, 0, 1], 0o666).is_err());
    }
}
