//! The ids in a POSIX ACL, as `linux/posix_acl_xattr.h` lays it out: a version,
//! then entries of tag, permissions, id. The kernel maps them likewise between
//! user namespaces.

/// Bytes of the version.
const HEADER: usize = 4;
/// Bytes of an entry: tag and permissions in two each, the id in four.
const ENTRY: usize = 8;
/// `ACL_USER`
const USER: u16 = 0x02;
/// `ACL_GROUP`
const GROUP: u16 = 0x08;

/// Whether the attribute `name` is an ACL.
pub(crate) fn is_acl(name: &[u8]) -> bool {
    name == b"system.posix_acl_access" || name == b"system.posix_acl_default"
}

/// `acl` with the ids of users as `user` says, those of groups as `group`
/// says; `None` if one of them says nothing. What is no ACL stays as it is:
/// the layer refuses it.
pub(crate) fn map(
    mut acl: Vec<u8>,
    user: impl Fn(u32) -> Option<u32>,
    group: impl Fn(u32) -> Option<u32>,
) -> Option<Vec<u8>> {
    let entries = acl.get_mut(HEADER..).unwrap_or_default();
    for entry in entries.chunks_exact_mut(ENTRY) {
        let [tag, tag_high, _, _, id @ ..] = entry else {
            continue;
        };
        let Ok(bytes) = <[u8; 4]>::try_from(&*id) else {
            continue;
        };
        let old = u32::from_le_bytes(bytes);
        let new = match u16::from_le_bytes([*tag, *tag_high]) {
            USER => user(old)?,
            GROUP => group(old)?,
            _ => continue,
        };
        id.copy_from_slice(&new.to_le_bytes());
    }
    Some(acl)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(tag: u16, id: u32) -> Vec<u8> {
        [&tag.to_le_bytes()[..], &[7, 0], &id.to_le_bytes()].concat()
    }

    fn acl(user: u32, group: u32) -> Vec<u8> {
        let entries = [entry(1, u32::MAX), entry(USER, user), entry(GROUP, group)];
        [vec![2, 0, 0, 0], entries.concat()].concat()
    }

    #[test]
    fn only_ids_of_named_users_and_groups_are_mapped() {
        let mapped = map(acl(1, 2), |id| Some(id + 10), |id| Some(id + 20));
        assert_eq!(mapped, Some(acl(11, 22)));
        assert_eq!(map(acl(1, 2), Some, |_| None), None);
        assert_eq!(map(vec![2, 0], |_| None, |_| None), Some(vec![2, 0]));
    }
}
