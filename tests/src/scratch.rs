//! A fresh directory with everything that a mounted stack needs.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use overlay_core::spec::{Config, Dir, Id, Index, Namespace, Stored, Visible, view_over};
use rustix::mount::{MountFlags, UnmountFlags};
use tempfile::TempDir;

use crate::load::Layer;
use crate::materialize::{Form, Hints};
use crate::{index, load, materialize, sys};

/// Layers on disk, a work directory and a mount point; removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    /// Goes before the directory that it is in.
    other: Option<OtherFilesystem>,
    dir: TempDir,
    layers: usize,
    namespace: Namespace,
    hints: Hints,
}

impl Scratch {
    /// Writes `layers`, given top first. `UFS_TEST_DIR` says on which
    /// filesystem, by default the one of temporary files.
    pub fn new(layers: &[Dir<Stored>]) -> Scratch {
        Scratch::with(layers, Config::default())
    }

    /// The same as a mount with these options wants it.
    pub fn with(layers: &[Dir<Stored>], config: Config) -> Scratch {
        Scratch::place(layers, config, false, Hints::Left)
    }

    /// The same for layers that no overlayfs has written.
    pub fn foreign(layers: &[Dir<Stored>]) -> Scratch {
        Scratch::place(layers, Config::default(), false, Hints::None)
    }

    /// The same with every other layer on a filesystem of its own, beginning
    /// with the one below the top.
    pub fn spread(layers: &[Dir<Stored>], config: Config) -> Scratch {
        Scratch::place(layers, config, true, Hints::Left)
    }

    fn place(layers: &[Dir<Stored>], config: Config, spread: bool, hints: Hints) -> Scratch {
        let namespace = config.namespace;
        let mut builder = tempfile::Builder::new();
        builder.prefix("ufs-test-");
        let dir = match std::env::var_os("UFS_TEST_DIR") {
            Some(parent) => builder.tempdir_in(parent).unwrap(),
            None => builder.tempdir().unwrap(),
        };
        let other = spread.then(|| OtherFilesystem::mount(dir.path().join("other")));
        let scratch = Scratch {
            other,
            dir,
            layers: layers.len(),
            namespace,
            hints,
        };
        let mut form = Form {
            namespace,
            hints,
            ..Form::default()
        };
        find_alone(&view_over(layers, config.data_only), &mut form.alone);
        for (index, layer) in layers.iter().enumerate() {
            let at = scratch.layer(index);
            match &scratch.other {
                Some(other) if index % 2 == 1 => {
                    let there = other.point.join(index.to_string());
                    materialize::on_disk(&there, layer, &form);
                    std::os::unix::fs::symlink(there, at).unwrap();
                }
                Some(_) | None => materialize::on_disk(&at, layer, &form),
            }
        }
        std::fs::create_dir(scratch.work()).unwrap();
        std::fs::create_dir(scratch.mount_point()).unwrap();
        scratch
    }

    /// Puts an empty layer on top, with the root of the one that was. The work
    /// directory is a new one, too: an index belongs to its layer.
    pub fn rotate(&mut self) {
        std::fs::remove_dir_all(self.work()).unwrap();
        std::fs::create_dir(self.work()).unwrap();
        for index in (0..self.layers).rev() {
            std::fs::rename(self.layer(index), self.layer(index + 1)).unwrap();
        }
        self.layers += 1;
        let below = self.load_layer(1);
        let top = materialize::empty(below);
        let form = Form {
            namespace: self.namespace,
            hints: self.hints,
            ..Form::default()
        };
        materialize::on_disk(&self.layer(0), &top, &form);
    }

    /// Whether all layers, also those to come, lie on one filesystem.
    pub fn on_one_filesystem(&self) -> bool {
        self.other.is_none()
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
            .map(|index| self.load_layer(index))
            .collect()
    }

    fn load_layer(&self, index: usize) -> Dir<Stored> {
        let namespace = self.namespace;
        load::from_disk(&self.layer(index), Layer { index, namespace })
    }

    /// The index that lies in the work directory now.
    pub fn index(&self) -> Index {
        index::load(&self.work().join("index"), &self.load(), self.namespace)
    }

    /// What lies in the work area and should not. One whiteout may be kept
    /// there, to be linked where it is needed; the kernel does so.
    pub fn litter(&self) -> Vec<String> {
        let mut litter = Vec::new();
        for (dir, is_index) in [("work", false), ("index", true)] {
            let entries = match std::fs::read_dir(self.work().join(dir)) {
                // With an index the kernel works there, and without there is none.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                entries => entries.unwrap().map(Result::unwrap),
            };
            let left = entries.filter(|entry| {
                let whiteout = entry.file_type().unwrap().is_char_device();
                let temporary = entry.file_name().as_encoded_bytes().starts_with(b"#");
                (temporary || !is_index) && !(whiteout && temporary)
            });
            litter.extend(left.map(|entry| format!("{dir}/{}", entry.file_name().display())));
        }
        litter
    }

    /// The value of `lowerdir=`; with an upper, layer 0 is not among them.
    /// The lowest `data` are data-only.
    pub fn lower_dirs(&self, from: usize, data: usize) -> String {
        let mut value = String::new();
        for index in from..self.layers {
            value += match index {
                _ if index == from => "",
                _ if index >= self.layers - data => "::",
                _ => ":",
            };
            value += &self.layer(index).display().to_string();
        }
        value
    }
}

/// A filesystem in memory; unmounted when dropped.
#[derive(Debug)]
struct OtherFilesystem {
    point: PathBuf,
}

impl OtherFilesystem {
    fn mount(point: PathBuf) -> OtherFilesystem {
        sys::own_namespace().unwrap();
        std::fs::create_dir(&point).unwrap();
        let flags = MountFlags::empty();
        rustix::mount::mount("tmpfs", &point, "tmpfs", flags, None).unwrap();
        OtherFilesystem { point }
    }
}

impl Drop for OtherFilesystem {
    fn drop(&mut self) {
        if let Err(errno) = rustix::mount::unmount(&self.point, UnmountFlags::DETACH) {
            eprintln!("{:?} stays mounted: {errno}", self.point);
        }
    }
}

/// The directories of a view that merge with nothing.
fn find_alone(dir: &Dir<Visible>, alone: &mut BTreeSet<Id>) {
    if let [id] = dir.parts[..] {
        alone.insert(id);
    }
    for entry in dir.entries.values() {
        match entry {
            Visible::Dir(dir) => find_alone(dir, alone),
            Visible::Leaf(_) => {}
        }
    }
}
