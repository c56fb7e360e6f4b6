//! Branches as AuFS writes them: every mark is an entry of its own
//! ([`super::names`]), and nothing else means anything. A character device
//! 0:0 is a device there, and `trusted.overlay.*` are attributes like others.
//!
//! Sources: `fs/aufs/whout.c` (the names, the base of all whiteouts and its
//! mode, what happens at its last link), `include/uapi/linux/aufs_type.h` (the
//! length of names), `fs/aufs/i_op_add.c` (`diropq`), `aufs(5)`.

use crate::layer::{New, NewKind};
use crate::name::Name;

/// Longest name in bytes: what is removed is renamed to `.wh..wh.NAME.` and
/// four digits first, which must be a name too (`AUFS_MAX_NAMELEN`).
pub const NAME_MAX: usize = crate::name::NAME_MAX - 2 * super::names::PREFIX.len() - 1 - 4;

/// The file that all whiteouts are links of, in the root of the branch.
pub const BASE: &[u8] = b".wh..wh.aufs";
/// The directory of pseudo-links, in the root of the branch.
pub const PLINKS: &[u8] = b".wh..wh.plnk";
/// The directory of objects that have no name, in the root of the branch.
pub const ORPHANS: &[u8] = b".wh..wh.orph";

/// The name of [`ORPHANS`].
pub fn orphans() -> &'static Name {
    match Name::new(ORPHANS) {
        Ok(name) => name,
        Err(_) => unreachable!("twelve bytes without a slash are a name"),
    }
}

/// What a branch of AuFS is written like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Aufs {
    /// The mount option `diropq`.
    pub opaque: Diropq,
    /// The attribute `nolwh` of a branch.
    pub whiteouts: WhiteoutFiles,
}

/// Which new directories are opaque: the mount option `diropq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Diropq {
    /// Those that take the place of something.
    #[default]
    Whiteouted,
    /// All of them.
    Always,
}

/// What whiteouts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhiteoutFiles {
    /// Links of one file, so that none costs an inode.
    #[default]
    Linked,
    /// Files of their own: `nolwh`.
    Separate,
}

/// A whiteout, an opaque mark, or the base of both. Nobody sees its owner.
pub(super) fn whiteout() -> New<'static> {
    New {
        kind: NewKind::Regular,
        mode: 0o444,
        owner: crate::sys::meta::process_owner(),
        xattrs: &[],
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Dialect, Meaning, Opacity, Says, WhiteoutForm};
    use super::*;
    use crate::attr::FileKind;
    use crate::layer::mem::MemStorage;
    use crate::layer::{SetXattr, WritableNode, WritableStorage};
    use std::sync::Arc;

    const AUFS: Dialect = Dialect::Aufs(Aufs {
        opaque: Diropq::Whiteouted,
        whiteouts: WhiteoutFiles::Linked,
    });

    fn name(text: &str) -> &Name {
        Name::new(text.as_bytes()).unwrap()
    }

    fn root() -> Arc<dyn WritableNode> {
        WritableStorage::root(&*MemStorage::new())
    }

    fn make(dir: &dyn WritableNode, entry: &str, kind: NewKind<'_>) -> Arc<dyn WritableNode> {
        let new = New { kind, ..whiteout() };
        dir.create(name(entry), &new).unwrap().node
    }

    #[test]
    fn a_name_has_242_bytes_at_most() {
        assert_eq!(AUFS.name_max(), 242);
        assert_eq!(Dialect::default().name_max(), 255);
    }

    #[test]
    fn the_base_and_its_directories_are_nobodys_entries() {
        for own in [BASE, PLINKS, ORPHANS] {
            let own = Name::new(own).unwrap();
            assert_eq!(AUFS.meaning(own), Meaning::Private);
            assert!(AUFS.reserves(own));
        }
    }

    #[test]
    fn a_device_0_0_and_overlayfs_attributes_mean_nothing() {
        let root = root();
        let device = make(&*root, "device", NewKind::CharDevice(0));
        let attr = device.attr().unwrap();
        assert!(!AUFS.hides(&*device, &attr, true).unwrap());
        assert!(
            !AUFS
                .entry_hides(&*root, name("device"), &attr, true)
                .unwrap()
        );
        let dir = make(&*root, "dir", NewKind::Directory);
        for (mark, value) in [("opaque", "y"), ("redirect", "x"), ("metacopy", "")] {
            let mark = format!("trusted.overlay.{mark}");
            dir.set_xattr(mark.as_bytes(), value.as_bytes(), SetXattr::Any)
                .unwrap();
            let shown = AUFS.shown_xattr(mark.as_bytes()).unwrap();
            assert_eq!(*shown, *mark.as_bytes());
            let stored = AUFS.stored_xattr(mark.as_bytes()).unwrap();
            assert_eq!(*stored, *mark.as_bytes());
        }
        assert_eq!(AUFS.opacity(&*dir).unwrap(), Opacity::Transparent);
        let marks = AUFS.directory_marks(&*dir).unwrap();
        assert_eq!(marks, Opacity::Transparent.into());
        assert_eq!(AUFS.redirect(&*dir).unwrap(), None);
        assert!(!AUFS.takes_marks(FileKind::Regular));
        assert!(!AUFS.marks_of(&*dir).unwrap().any());
    }

    #[test]
    fn marks_are_entries() {
        let root = root();
        make(&*root, ".wh.gone", NewKind::Regular);
        let says = |entry: &str| AUFS.says_of(&*root, name(entry), false).unwrap();
        assert_eq!(says("gone"), Says::Hides);
        assert_eq!(says("other"), Says::Nothing);
        make(&*root, "gone", NewKind::Regular);
        assert_eq!(says("gone"), Says::Shows);
        let dir = make(&*root, "dir", NewKind::Directory);
        make(&*dir, ".wh..wh..opq", NewKind::Regular);
        assert_eq!(AUFS.opacity(&*dir).unwrap(), Opacity::Opaque);
        assert_eq!(AUFS.root_opacity(&*dir).unwrap(), Opacity::Opaque);
    }

    #[test]
    fn a_whiteout_is_an_empty_file_that_anybody_may_read() {
        let new = AUFS.whiteout(WhiteoutForm::Entry);
        assert_eq!((new.kind, new.mode), (NewKind::Regular, 0o444));
    }
}
