//! Layers as container tools and fuse-overlayfs write them: marks that are
//! names ([`super::names`]), and all that OverlayFS has besides.
//!
//! fuse-overlayfs marks an opaque directory twice, by an attribute of whatever
//! namespace it may write and by `.wh..wh..opq`; a whiteout is character
//! device 0:0, or `.wh.NAME` where it may not make one. Layers extracted by
//! `containers/storage` for a mount program have the names of the archive.

use super::overlay::mark;
use super::{Namespace, Opacity, names};
use crate::error::{Errno, Result};
use crate::layer::Node;

/// The attributes that make a directory opaque, whoever wrote them.
const OPAQUE: [&[u8]; 3] = [
    b"trusted.overlay.opaque",
    b"user.overlay.opaque",
    b"user.fuseoverlayfs.opaque",
];

/// The names under which these layers store attributes of their own.
pub(super) const PREFIXES: [&[u8]; 3] = [
    b"trusted.overlay.",
    b"user.overlay.",
    b"user.fuseoverlayfs.",
];

/// What the directory `node` says about the branches below; `has` says which
/// attributes it may have.
pub(super) fn opacity(
    namespace: Namespace,
    node: &dyn Node,
    has: impl Fn(&[u8]) -> bool,
) -> Result<Opacity> {
    if names::opacity(node)? == Opacity::Opaque {
        return Ok(Opacity::Opaque);
    }
    for name in OPAQUE.into_iter().filter(|name| has(name)) {
        match mark(node, name) {
            Ok(Some(value)) if value == b"y" => return Ok(Opacity::Opaque),
            Ok(Some(_) | None) => {}
            Err(error) if error.is(Errno::ACCESS) => return Ok(Opacity::Opaque),
            Err(error) => return Err(error),
        }
    }
    match has(namespace.opaque_mark().0) {
        true => namespace.opacity(node),
        false => Ok(Opacity::Transparent),
    }
}
