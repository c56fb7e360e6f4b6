//! Which attributes show, and under which names they are stored.

use std::borrow::Cow;

use super::Attribute;
use super::node::Owned;
use crate::attr::FileKind;
use crate::error::{Error, Result};
use crate::layer::{Node, acl};

/// Longest name of an extended attribute in bytes; `XATTR_NAME_MAX`.
const XATTR_NAME_MAX: usize = 255;

/// `security.capability`, which a change of owner takes away.
pub(super) const CAPABILITY: &[u8] = b"security.capability";

impl<N: Node + ?Sized> Owned<N> {
    /// The name under which the attribute `shown` is stored.
    ///
    /// Errors: `EPERM` for `user.*` of what stands in a file but is none,
    /// `EOPNOTSUPP` for a name that gets too long.
    pub(super) fn stored_name<'a>(&self, shown: &'a [u8]) -> Result<Cow<'a, [u8]>> {
        match self.attribute {
            Some(attribute) => attribute.stored_name(self.kind, shown),
            None => Ok(Cow::Borrowed(shown)),
        }
    }

    /// The name to show for a stored attribute; `None` for what is not shown.
    pub(super) fn shown_name<'a>(&self, stored: &'a [u8]) -> Option<&'a [u8]> {
        let Some(attribute) = self.attribute else {
            return Some(stored);
        };
        match stored.strip_prefix(attribute.prefix()) {
            Some(shown) => attribute.stores_elsewhere(shown).then_some(shown),
            // Stored by others, and not meant for who reads the attribute.
            None => (!attribute.stores_elsewhere(stored)).then_some(stored),
        }
    }
}

impl Attribute {
    /// As [`Owned::stored_name`], on an object that shows as `kind`.
    pub(super) fn stored_name<'a>(self, kind: FileKind, shown: &'a [u8]) -> Result<Cow<'a, [u8]>> {
        match kind {
            FileKind::Regular | FileKind::Directory => {}
            FileKind::Symlink
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::CharDevice
            | FileKind::BlockDevice => {
                if shown.starts_with(b"user.") {
                    return Err(Error::NotPermitted(
                        "user.* attributes are for files and directories",
                    ));
                }
            }
        }
        if !self.stores_elsewhere(shown) {
            return Ok(Cow::Borrowed(shown));
        }
        let stored = [self.prefix(), shown].concat();
        match stored.len() <= XATTR_NAME_MAX {
            true => Ok(Cow::Owned(stored)),
            false => Err(Error::Unsupported("the attribute's name is too long")),
        }
    }

    /// Whether the attribute `shown` is stored under this one's prefix: ACLs,
    /// which speak of owners; its own names, for a union stacked on this one;
    /// and what an ordinary user could not set otherwise.
    fn stores_elsewhere(self, shown: &[u8]) -> bool {
        let unprivileged = match self {
            Attribute::Containers => shown.starts_with(b"security."),
            // As fuse-overlayfs 1.x, which has no such names.
            Attribute::FuseOverlayfs | Attribute::Privileged => false,
        };
        unprivileged
            || shown == acl::ACCESS
            || shown == acl::DEFAULT
            || shown.starts_with(self.prefix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_privilege_or_speaks_of_owners_is_stored_elsewhere() {
        let containers = Attribute::Containers;
        assert!(containers.stores_elsewhere(b"security.capability"));
        assert!(containers.stores_elsewhere(acl::DEFAULT));
        assert!(containers.stores_elsewhere(b"user.containers.override_stat"));
        assert!(!containers.stores_elsewhere(b"user.note"));
        assert!(!containers.stores_elsewhere(b"trusted.overlay.opaque"));
        let privileged = Attribute::Privileged;
        assert!(!privileged.stores_elsewhere(b"security.capability"));
        assert!(privileged.stores_elsewhere(b"security.fuseoverlayfs.override_stat"));
    }
}
