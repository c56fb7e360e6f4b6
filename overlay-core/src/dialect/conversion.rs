//! Names and attributes that conversions between dialects need beside the
//! marks themselves: AuFS' entries at the root of a branch, what says that a
//! conversion is under way, and what one remembers for the way back.
//!
//! The attributes lie under OverlayFS' own prefix. It ignores those that it
//! does not know, and a union shows none of them.

use super::{Dialect, Namespace, names};
use crate::name::Name;

pub use super::aufs::{
    BASE as AUFS_BASE, NAME_MAX as AUFS_NAME_MAX, ORPHANS as AUFS_ORPHANS,
    PLINKS as AUFS_PSEUDO_LINKS,
};

/// A directory of this name at the root of a branch says that a conversion is
/// not finished; it is the work area of that conversion.
pub const CONVERSION: &[u8] = b".wh..wh.convert";

/// The entry that makes its directory opaque.
pub fn opaque_entry() -> &'static Name {
    names::opaque()
}

impl Namespace {
    /// What the names of all marks begin with.
    pub fn prefix(self) -> &'static [u8] {
        match self {
            Namespace::Trusted => b"trusted.overlay.",
            Namespace::User => b"user.overlay.",
        }
    }

    /// The attribute of a directory that a conversion is changing: its times
    /// before, and which conversion it is.
    pub fn conversion_record(self) -> &'static [u8] {
        match self {
            Namespace::Trusted => b"trusted.overlay.ufs.convert",
            Namespace::User => b"user.overlay.ufs.convert",
        }
    }

    /// The attribute that holds what AuFS' own entries looked like.
    pub fn conversion_memory(self) -> &'static [u8] {
        match self {
            Namespace::Trusted => b"trusted.overlay.ufs.aufs",
            Namespace::User => b"user.overlay.ufs.aufs",
        }
    }

    /// The same prefixes as [`Namespace::prefix`] that other choices would
    /// have made, and which count where container tools wrote a layer.
    pub fn other_prefixes(self) -> impl Iterator<Item = &'static [u8]> {
        let all = Dialect::Containers(self).prefixes().iter().copied();
        all.filter(move |prefix| *prefix != self.prefix())
    }
}
