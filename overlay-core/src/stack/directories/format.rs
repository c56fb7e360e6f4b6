//! Who wrote a layer, and so how its marks look.

use std::fs;
use std::io::Read;
use std::path::Path;

use crate::dialect::{Aufs, Dialect, Namespace};

/// Who wrote the layers.
///
/// A layer of one kind read as the other shows deleted files, or hides files
/// whose names begin with `.wh.`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LayerFormat {
    /// OverlayFS, but for lower layers in the storage of a container engine
    /// (`containers/storage`: podman, buildah, CRI-O) that uses a mount
    /// program: [`LayerFormat::Containers`].
    #[default]
    Auto,
    /// OverlayFS: `.wh.` names are ordinary ones, in every layer.
    Overlay,
    /// Container tools or fuse-overlayfs, every layer; the upper one too.
    Containers,
    /// AuFS, every layer; the upper one is written as AuFS does.
    Aufs(Aufs),
}

impl LayerFormat {
    /// How marks look on the upper layer; but for AuFS' it is written with
    /// OverlayFS'.
    pub(super) fn of_upper(self, namespace: Namespace) -> Dialect {
        match self {
            LayerFormat::Auto | LayerFormat::Overlay => Dialect::Overlay(namespace),
            LayerFormat::Containers => Dialect::Containers(namespace),
            LayerFormat::Aufs(aufs) => Dialect::Aufs(aufs),
        }
    }

    /// How marks look on the lower layer at `real`, a path without symlinks.
    pub(super) fn of_lower(self, real: &Path, namespace: Namespace) -> Dialect {
        match self {
            LayerFormat::Auto if is_extracted_for_mount_program(real) => {
                tracing::debug!(?real, "a layer of a container engine: .wh. names are marks");
                Dialect::Containers(namespace)
            }
            LayerFormat::Auto | LayerFormat::Overlay => Dialect::Overlay(namespace),
            LayerFormat::Containers => Dialect::Containers(namespace),
            LayerFormat::Aufs(aufs) => Dialect::Aufs(aufs),
        }
    }
}

/// Whether a layer lies where `containers/storage` puts one that it extracts
/// for a mount program: `HOME/ID/diff`, beside it a file `link`, and
/// `HOME/.has-mount-program`.
///
/// With a mount program it writes that last file before it mounts anything,
/// and leaves the archive's names of whiteouts as they are; without one it
/// makes OverlayFS' marks of them, and if it writes the file, then `false`.
/// Source: `Init`, `SupportsNativeOverlay` and `getWhiteoutFormat` in its
/// `drivers/overlay/overlay.go`.
fn is_extracted_for_mount_program(real: &Path) -> bool {
    let Some(layer) = real.parent() else {
        return false;
    };
    let Some(home) = layer.parent() else {
        return false;
    };
    let is_layer = real.ends_with("diff")
        && fs::symlink_metadata(layer.join("link")).is_ok_and(|attr| attr.is_file());
    is_layer && uses_mount_program(home)
}

/// Old versions leave the file empty, newer ones write a word into it. One
/// that may not be read counts: a name that is hidden without need is less
/// than deleted files that are seen.
fn uses_mount_program(home: &Path) -> bool {
    /// Bytes: more than the longest word.
    const ENOUGH: u64 = 16;
    let flag = home.join(".has-mount-program");
    if !fs::symlink_metadata(&flag).is_ok_and(|attr| attr.is_file()) {
        return false;
    }
    let mut word = Vec::new();
    match fs::File::open(&flag).and_then(|file| file.take(ENOUGH).read_to_end(&mut word)) {
        Ok(_) => word.trim_ascii() != b"false",
        Err(error) => {
            tracing::debug!(?flag, %error, "cannot be read");
            true
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_layer_is_recognised_by_its_place_in_the_storage() {
        let dir = tempfile::tempdir().unwrap();
        let layer = dir.path().join("0123");
        let diff = layer.join("diff");
        fs::create_dir_all(&diff).unwrap();
        let of = |format: LayerFormat, at: &Path| format.of_lower(at, Namespace::User);
        let (overlay, containers) = (
            Dialect::Overlay(Namespace::User),
            Dialect::Containers(Namespace::User),
        );
        let flag = dir.path().join(".has-mount-program");
        assert_eq!(of(LayerFormat::Auto, &diff), overlay);
        fs::write(layer.join("link"), "ABC").unwrap();
        assert_eq!(of(LayerFormat::Auto, &diff), overlay);
        for (word, expected) in [("", containers), ("true", containers), ("false", overlay)] {
            fs::write(&flag, word).unwrap();
            assert_eq!(of(LayerFormat::Auto, &diff), expected, "{word:?}");
        }
        fs::write(&flag, "true\n").unwrap();
        assert_eq!(of(LayerFormat::Auto, &layer), overlay);
        assert_eq!(of(LayerFormat::Overlay, &diff), overlay);
        assert_eq!(of(LayerFormat::Containers, dir.path()), containers);
    }

    #[test]
    fn an_upper_layer_is_overlayfs_own_unless_said_otherwise() {
        let of = |format: LayerFormat| format.of_upper(Namespace::Trusted);
        assert_eq!(of(LayerFormat::Auto), Dialect::Overlay(Namespace::Trusted));
        assert_eq!(
            of(LayerFormat::Containers),
            Dialect::Containers(Namespace::Trusted)
        );
        let aufs = Aufs::default();
        assert_eq!(of(LayerFormat::Aufs(aufs)), Dialect::Aufs(aufs));
    }
}
