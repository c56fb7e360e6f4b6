//! Marks that are entries of their own: `.wh.NAME` beside NAME.
//!
//! Sources: `aufs(5)`, section "Branch syntax"; "Whiteouts" in `layer.md` of
//! the OCI image specification: a mark speaks of the layers below its own
//! alone. So `NAME` and `.wh.NAME` may stand side by side: `NAME` is seen, and
//! what the layers below have by that name is not.

use super::Opacity;
use crate::error::{Errno, Result};
use crate::layer::Node;
use crate::name::{Name, NameBuf};

pub(super) const PREFIX: &[u8] = b".wh.";
/// Names that were never a whiteout of anything: AuFS' own, and [`OPAQUE`].
const RESERVED: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What a name stored on a branch means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning<'a> {
    /// The object it names.
    Entry,
    /// That the branches below show nothing by this name.
    Hides(&'a Name),
    /// Something between a branch and who writes it: it is nobody's entry.
    Private,
}

/// What `name` means where marks are names.
pub(super) fn meaning(name: &Name) -> Meaning<'_> {
    let bytes = name.as_bytes();
    if bytes.starts_with(RESERVED) {
        return Meaning::Private;
    }
    match bytes.strip_prefix(PREFIX) {
        None => Meaning::Entry,
        // Nothing is called "", "." or "..", so these hide nothing.
        Some(hidden) => Name::new(hidden).map_or(Meaning::Private, Meaning::Hides),
    }
}

/// The entry that hides `name`; `None` if that would be no name, or one that
/// means something else.
pub(super) fn hider_of(name: &Name) -> Option<NameBuf> {
    let hider = NameBuf::new([PREFIX, name.as_bytes()].concat()).ok()?;
    (meaning(&hider) == Meaning::Hides(name)).then_some(hider)
}

/// The entry that makes its directory opaque.
pub(super) fn opaque() -> &'static Name {
    match Name::new(OPAQUE) {
        Ok(name) => name,
        Err(_) => unreachable!("twelve bytes without a slash are a name"),
    }
}

/// What the directory `node` says by such an entry.
pub(super) fn opacity(node: &dyn Node) -> Result<Opacity> {
    match node.attr_of(opaque()) {
        Ok(None) => Ok(Opacity::Transparent),
        Ok(Some(_)) => Ok(Opacity::Opaque),
        // Unknown; what was hidden must not come back.
        Err(error) if error.is(Errno::ACCESS) => Ok(Opacity::Opaque),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn name(bytes: &[u8]) -> &Name {
        Name::new(bytes).unwrap()
    }

    #[test]
    fn a_prefix_makes_a_whiteout() {
        assert_eq!(meaning(name(b"x")), Meaning::Entry);
        assert_eq!(meaning(name(b".wh")), Meaning::Entry);
        assert_eq!(meaning(name(b".wh.x")), Meaning::Hides(name(b"x")));
        assert_eq!(meaning(name(b".wh..x")), Meaning::Hides(name(b".x")));
        assert_eq!(hider_of(name(b"x")).unwrap().as_bytes(), b".wh.x");
    }

    #[test]
    fn reserved_names_hide_nothing() {
        for reserved in [
            b".wh.".as_slice(),
            b".wh..",
            b".wh...",
            b".wh..wh.",
            b".wh..wh..opq",
            b".wh..wh.plnk",
        ] {
            assert_eq!(meaning(name(reserved)), Meaning::Private);
        }
        assert_eq!(hider_of(name(b".wh.x")), None);
        assert_eq!(opaque().as_bytes(), b".wh..wh..opq");
    }

    #[test]
    fn a_name_without_room_for_the_prefix_has_no_whiteout() {
        assert!(hider_of(name(&[b'n'; 251])).is_some());
        assert_eq!(hider_of(name(&[b'n'; 252])), None);
    }
}
