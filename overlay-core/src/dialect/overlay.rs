//! OverlayFS' marks: character device 0:0, `trusted.overlay.*` or
//! `user.overlay.*`. Source: `fs/overlayfs/{namei,util,xattrs}.c` of the
//! kernel and its `Documentation/filesystems/overlayfs.rst`.

use std::borrow::Cow;

use super::{Opacity, Redirect};
use crate::attr::{Attr, FileKind};
use crate::error::Result;
use crate::layer::{New, NewKind, Node};

/// Longest name of an extended attribute in bytes; `XATTR_NAME_MAX`.
const XATTR_NAME_MAX: usize = 255;

/// Where OverlayFS' own attributes lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// `trusted.overlay.*`: needs `CAP_SYS_ADMIN`.
    Trusted,
    /// `user.overlay.*`: the mount option `userxattr`.
    User,
}

/// A whiteout is a character device 0:0.
pub(super) fn is_whiteout(attr: &Attr) -> bool {
    attr.kind == FileKind::CharDevice && attr.rdev == 0
}

/// A whiteout without `mknod(2)` is an empty regular file with a mark.
pub(super) fn may_be_file_whiteout(attr: &Attr) -> bool {
    attr.kind == FileKind::Regular && attr.size == 0
}

/// Owner and mode are never seen: the process's own spare a `chown(2)`.
pub(super) fn whiteout() -> New<'static> {
    New {
        kind: NewKind::CharDevice(0),
        mode: 0,
        owner: crate::sys::meta::process_owner(),
        xattrs: &[],
    }
}

impl Namespace {
    fn prefix(self) -> &'static [u8] {
        match self {
            Namespace::Trusted => b"trusted.overlay.",
            Namespace::User => b"user.overlay.",
        }
    }

    /// The prefix of attributes that a union stacked on us stored.
    fn escaped_prefix(self) -> &'static [u8] {
        match self {
            Namespace::Trusted => b"trusted.overlay.overlay.",
            Namespace::User => b"user.overlay.overlay.",
        }
    }

    pub(super) fn opaque_mark(self) -> (&'static [u8], &'static [u8]) {
        match self {
            Namespace::Trusted => (b"trusted.overlay.opaque", b"y"),
            Namespace::User => (b"user.overlay.opaque", b"y"),
        }
    }

    fn whiteout_mark(self) -> &'static [u8] {
        match self {
            Namespace::Trusted => b"trusted.overlay.whiteout",
            Namespace::User => b"user.overlay.whiteout",
        }
    }

    pub(super) fn opacity(self, node: &dyn Node) -> Result<Opacity> {
        Ok(match node.xattr(self.opaque_mark().0)?.as_deref() {
            Some(b"y") => Opacity::Opaque,
            Some(b"x") => Opacity::HoldsFileWhiteouts,
            Some(_) | None => Opacity::Transparent,
        })
    }

    pub(super) fn redirect_mark(self) -> &'static [u8] {
        match self {
            Namespace::Trusted => b"trusted.overlay.redirect",
            Namespace::User => b"user.overlay.redirect",
        }
    }

    pub(super) fn redirect(self, node: &dyn Node) -> Result<Option<Redirect>> {
        let value = node.xattr(self.redirect_mark())?;
        value.map(|value| Redirect::parse(&value)).transpose()
    }

    pub(super) fn lacks_data(self, node: &dyn Node, attr: &Attr) -> Result<bool> {
        let mark: &[u8] = match self {
            Namespace::Trusted => b"trusted.overlay.metacopy",
            Namespace::User => b"user.overlay.metacopy",
        };
        Ok(attr.kind == FileKind::Regular && node.xattr(mark)?.is_some())
    }

    pub(super) fn is_file_whiteout(self, node: &dyn Node) -> Result<bool> {
        Ok(node.xattr(self.whiteout_mark())?.is_some())
    }

    pub(super) fn stored_xattr(self, shown: &[u8]) -> Option<Cow<'_, [u8]>> {
        match shown.strip_prefix(self.prefix()) {
            None => Some(Cow::Borrowed(shown)),
            Some(rest) => {
                let stored = [self.escaped_prefix(), rest].concat();
                (stored.len() <= XATTR_NAME_MAX).then_some(Cow::Owned(stored))
            }
        }
    }

    pub(super) fn shown_xattr(self, stored: &[u8]) -> Option<Cow<'_, [u8]>> {
        if let Some(rest) = stored.strip_prefix(self.escaped_prefix()) {
            return Some(Cow::Owned([self.prefix(), rest].concat()));
        }
        (!stored.starts_with(self.prefix())).then_some(Cow::Borrowed(stored))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn own_attributes_are_hidden_and_nested_ones_are_escaped() {
        let trusted = Namespace::Trusted;
        assert_eq!(trusted.shown_xattr(b"trusted.overlay.opaque"), None);
        assert_eq!(
            trusted
                .stored_xattr(b"trusted.overlay.opaque")
                .unwrap()
                .as_ref(),
            b"trusted.overlay.overlay.opaque"
        );
        assert_eq!(
            trusted
                .shown_xattr(b"trusted.overlay.overlay.opaque")
                .unwrap()
                .as_ref(),
            b"trusted.overlay.opaque"
        );
        assert_eq!(
            trusted.stored_xattr(b"user.overlay.x").unwrap().as_ref(),
            b"user.overlay.x"
        );
        let long = [b"trusted.overlay.".as_slice(), &[b'n'; 239]].concat();
        assert_eq!(trusted.stored_xattr(&long), None);
    }
}
