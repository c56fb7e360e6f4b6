//! OverlayFS' marks: character device 0:0, `trusted.overlay.*` or
//! `user.overlay.*`. Source: `fs/overlayfs/{namei,util,xattrs}.c` of the
//! kernel and its `Documentation/filesystems/overlayfs.rst`.

use std::borrow::Cow;

use super::{Opacity, Redirect, origin};
use crate::attr::{Attr, FileKind, Protection};
use crate::error::{Errno, Result};
use crate::layer::{New, NewKind, Node};

/// Longest name of an extended attribute in bytes; `XATTR_NAME_MAX`.
const XATTR_NAME_MAX: usize = 255;

/// Follows the prefix of what a union stacked on us stored.
const ESCAPE: &[u8] = b"overlay.";

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
    pub(super) fn prefixes(self) -> &'static [&'static [u8]] {
        match self {
            Namespace::Trusted => &[b"trusted.overlay."],
            Namespace::User => &[b"user.overlay."],
        }
    }

    pub(super) fn opaque_mark(self) -> (&'static [u8], &'static [u8]) {
        match self {
            Namespace::Trusted => (b"trusted.overlay.opaque", b"y"),
            Namespace::User => (b"user.overlay.opaque", b"y"),
        }
    }

    /// The same name: a directory is opaque or holds such whiteouts.
    pub(super) fn file_whiteouts_mark(self) -> (&'static [u8], &'static [u8]) {
        (self.opaque_mark().0, b"x")
    }

    /// Any value would do; there are tools that lose empty ones.
    pub(super) fn file_whiteout(self) -> New<'static> {
        New {
            kind: NewKind::Regular,
            xattrs: match self {
                Namespace::Trusted => &[(b"trusted.overlay.whiteout", b"y")],
                Namespace::User => &[(b"user.overlay.whiteout", b"y")],
            },
            ..whiteout()
        }
    }

    fn whiteout_mark(self) -> &'static [u8] {
        match self {
            Namespace::Trusted => b"trusted.overlay.whiteout",
            Namespace::User => b"user.overlay.whiteout",
        }
    }

    pub(super) fn opacity(self, node: &dyn Node) -> Result<Opacity> {
        let value = match mark(node, self.opaque_mark().0) {
            // What it says is unknown; what was hidden must not come back.
            Err(error) if error.is(Errno::ACCESS) => return Ok(Opacity::Opaque),
            outcome => outcome?,
        };
        Ok(match value.as_deref() {
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
        let value = mark(node, self.redirect_mark())?;
        value.map(|value| Redirect::parse(&value)).transpose()
    }

    pub(super) fn lacks_data(self, node: &dyn Node, attr: &Attr) -> Result<bool> {
        Ok(attr.kind == FileKind::Regular && has_mark(node, self.metacopy_mark().0)?)
    }

    /// The value may hold a digest of the data, for `verity`; we make none.
    pub(super) fn metacopy_mark(self) -> (&'static [u8], &'static [u8]) {
        match self {
            Namespace::Trusted => (b"trusted.overlay.metacopy", b""),
            Namespace::User => (b"user.overlay.metacopy", b""),
        }
    }

    pub(super) fn origin_mark(self) -> &'static [u8] {
        match self {
            Namespace::Trusted => b"trusted.overlay.origin",
            Namespace::User => b"user.overlay.origin",
        }
    }

    pub(super) fn origin(self, node: &dyn Node) -> Result<Option<origin::Stored>> {
        let value = mark_if_readable(node, self.origin_mark())?;
        Ok(value.map(|value| origin::parse(&value)))
    }

    pub(super) fn impure_mark(self) -> (&'static [u8], &'static [u8]) {
        match self {
            Namespace::Trusted => (b"trusted.overlay.impure", b"y"),
            Namespace::User => (b"user.overlay.impure", b"y"),
        }
    }

    pub(super) fn is_impure(self, node: &dyn Node) -> Result<bool> {
        let (name, yes) = self.impure_mark();
        Ok(mark_if_readable(node, name)?.as_deref() == Some(yes))
    }

    pub(super) fn link_count_mark(self) -> &'static [u8] {
        match self {
            Namespace::Trusted => b"trusted.overlay.nlink",
            Namespace::User => b"user.overlay.nlink",
        }
    }

    pub(super) fn link_count(self, node: &dyn Node) -> Result<Option<origin::LinkCount>> {
        let value = mark_if_readable(node, self.link_count_mark())?;
        Ok(value.and_then(|value| origin::LinkCount::parse(&value)))
    }

    pub(super) fn upper_mark(self) -> &'static [u8] {
        match self {
            Namespace::Trusted => b"trusted.overlay.upper",
            Namespace::User => b"user.overlay.upper",
        }
    }

    fn protection_name(self) -> &'static [u8] {
        match self {
            Namespace::Trusted => b"trusted.overlay.protattr",
            Namespace::User => b"user.overlay.protattr",
        }
    }

    pub(super) fn protection(self, node: &dyn Node) -> Result<Protection> {
        let value = mark_if_readable(node, self.protection_name())?;
        Ok(value.map_or(Protection::NONE, |value| parse_protection(&value)))
    }

    /// The letters in the order in which the kernel writes them.
    pub(super) fn protection_mark(
        self,
        what: Protection,
    ) -> Option<(&'static [u8], &'static [u8])> {
        let value: &[u8] = match (what.append_only, what.immutable) {
            (false, false) => return None,
            (true, false) => b"a",
            (false, true) => b"i",
            (true, true) => b"ai",
        };
        Some((self.protection_name(), value))
    }

    pub(super) fn is_file_whiteout(self, node: &dyn Node) -> Result<bool> {
        has_mark(node, self.whiteout_mark())
    }
}

/// The name under which `shown` is stored: one with a prefix of ours is
/// escaped, `prefix.NAME` as `prefix.overlay.NAME`.
pub(super) fn stored_xattr<'a>(prefixes: &[&[u8]], shown: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    for prefix in prefixes {
        if let Some(rest) = shown.strip_prefix(*prefix) {
            let stored = [prefix, ESCAPE, rest].concat();
            return (stored.len() <= XATTR_NAME_MAX).then_some(Cow::Owned(stored));
        }
    }
    Some(Cow::Borrowed(shown))
}

/// The name that is shown for `stored`; `None` for one of our own.
pub(super) fn shown_xattr<'a>(prefixes: &[&[u8]], stored: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    for prefix in prefixes {
        if let Some(rest) = stored.strip_prefix(*prefix) {
            let nested = rest.strip_prefix(ESCAPE)?;
            return Some(Cow::Owned([prefix, nested].concat()));
        }
    }
    Some(Cow::Borrowed(stored))
}

/// A value with a letter that is not known says nothing at all; see
/// `ovl_check_protattr` in `fs/overlayfs/util.c`.
fn parse_protection(value: &[u8]) -> Protection {
    let mut parsed = Protection::NONE;
    for letter in value {
        match letter {
            b'a' => parsed.append_only = true,
            b'i' => parsed.immutable = true,
            _ => return Protection::NONE,
        }
    }
    parsed
}

/// The value of a mark that the content of the union does not depend on: if it
/// cannot be read, as if it were not there.
fn mark_if_readable(node: &dyn Node, name: &[u8]) -> Result<Option<Vec<u8>>> {
    match node.xattr(name) {
        Err(error) if error.is(Errno::ACCESS) => Ok(None),
        outcome => outcome,
    }
}

/// The value of the mark `name`.
///
/// `user.*` attributes cannot be read where the object cannot (`EACCES`),
/// their names can: then only a mark that is there is an error.
pub(super) fn mark(node: &dyn Node, name: &[u8]) -> Result<Option<Vec<u8>>> {
    match node.xattr(name) {
        Err(error) if error.is(Errno::ACCESS) => {
            match node.xattr_names()?.iter().any(|there| there == name) {
                true => Err(error),
                false => Ok(None),
            }
        }
        outcome => outcome,
    }
}

fn has_mark(node: &dyn Node, name: &[u8]) -> Result<bool> {
    match mark(node, name) {
        Err(error) if error.is(Errno::ACCESS) => Ok(true),
        outcome => Ok(outcome?.is_some()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn protection_is_read_as_it_is_written_and_nothing_else_is() {
        for (append_only, immutable) in [(true, false), (false, true), (true, true)] {
            let protection = Protection {
                immutable,
                append_only,
            };
            let (_, value) = Namespace::Trusted.protection_mark(protection).unwrap();
            assert_eq!(parse_protection(value), protection);
        }
        assert_eq!(Namespace::User.protection_mark(Protection::NONE), None);
        for value in [b"".as_slice(), b"ix", b"A"] {
            assert_eq!(parse_protection(value), Protection::NONE);
        }
    }

    #[test]
    fn own_attributes_are_hidden_and_nested_ones_are_escaped() {
        let trusted = Namespace::Trusted.prefixes();
        assert_eq!(shown_xattr(trusted, b"trusted.overlay.opaque"), None);
        let escaped: &[u8] = b"trusted.overlay.overlay.opaque";
        let stored = stored_xattr(trusted, b"trusted.overlay.opaque").unwrap();
        assert_eq!(stored.as_ref(), escaped);
        let shown = shown_xattr(trusted, escaped).unwrap();
        assert_eq!(shown.as_ref(), b"trusted.overlay.opaque");
        let other = stored_xattr(trusted, b"user.overlay.x").unwrap();
        assert_eq!(other.as_ref(), b"user.overlay.x");
        let long = [b"trusted.overlay.".as_slice(), &[b'n'; 239]].concat();
        assert_eq!(stored_xattr(trusted, &long), None);
    }
}
