//! A fresh directory with everything that a mounted stack needs.

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use overlay_core::spec::{Dir, Stored};
use tempfile::TempDir;

use crate::{load, materialize};

/// Layers on disk, a work directory and a mount point; removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    dir: TempDir,
    layers: usize,
}

impl Scratch {
    /// Writes `layers`, given top first. `UFS_TEST_DIR` says on which
    /// filesystem, by default the one of temporary files.
    pub fn new(layers: &[Dir<Stored>]) -> Scratch {
        let mut builder = tempfile::Builder::new();
        builder.prefix("ufs-test-");
        let dir = match std::env::var_os("UFS_TEST_DIR") {
            Some(parent) => builder.tempdir_in(parent).unwrap(),
            None => builder.tempdir().unwrap(),
        };
        let scratch = Scratch {
            dir,
            layers: layers.len(),
        };
        for (index, layer) in layers.iter().enumerate() {
            materialize::on_disk(&scratch.layer(index), layer);
        }
        std::fs::create_dir(scratch.work()).unwrap();
        std::fs::create_dir(scratch.mount_point()).unwrap();
        scratch
    }

    /// Puts an empty layer on top, with the root of the one that was.
    pub fn rotate(&mut self) {
        for index in (0..self.layers).rev() {
            std::fs::rename(self.layer(index), self.layer(index + 1)).unwrap();
        }
        self.layers += 1;
        let below = load::from_disk(&self.layer(1), 1);
        materialize::on_disk(&self.layer(0), &materialize::empty(below));
    }

    /// How many layers there are.
    pub fn layers(&self) -> usize {
        self.layers
    }

    /// Where a layer lies; 0 is the top.
    pub fn layer(&self, index: usize) -> PathBuf {
        self.dir.path().join(index.to_string())
    }

    /// The work directory.
    pub fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    /// The mount point.
    pub fn mount_point(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }

    /// The directory that holds all of these.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// What lies on disk now, top first.
    pub fn load(&self) -> Vec<Dir<Stored>> {
        (0..self.layers)
            .map(|index| load::from_disk(&self.layer(index), index))
            .collect()
    }

    /// What lies in the work area and should not. One whiteout may be kept
    /// there, to be linked where it is needed; the kernel does so.
    pub fn litter(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.work().join("work")).unwrap();
        let litter = entries.map(Result::unwrap).filter(|entry| {
            let whiteout = entry.file_type().unwrap().is_char_device();
            !(whiteout && entry.file_name().as_encoded_bytes().starts_with(b"#"))
        });
        litter
            .map(|entry| entry.file_name().display().to_string())
            .collect()
    }

    /// The value of `lowerdir=`; with an upper, layer 0 is not among them.
    pub fn lower_dirs(&self, from: usize) -> String {
        let paths = (from..self.layers).map(|index| self.layer(index).display().to_string());
        paths.collect::<Vec<_>>().join(":")
    }
}
