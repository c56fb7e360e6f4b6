//! Directories to stack, by the engine here and by the kernel there, for tests
//! that change sides.

use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};

use overlay_core::fs::UnionFs;
use overlay_core::union::Options;
use overlay_core::{Directories, Union};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

use crate::sys;

/// An upper layer `u`, its work directory `w`, a mount point `m`, and lower
/// layers that a test names; removed when dropped.
#[derive(Debug)]
pub struct Ground {
    dir: TempDir,
    lowers: Vec<String>,
    data: Vec<String>,
}

impl Ground {
    /// Makes the directories `lowers` (top first), and data-only ones.
    pub fn new(lowers: &[&str], data: &[&str]) -> Ground {
        let mut builder = tempfile::Builder::new();
        builder.prefix("ufs-test-");
        let dir = match std::env::var_os("UFS_TEST_DIR") {
            Some(parent) => builder.tempdir_in(parent).unwrap(),
            None => builder.tempdir().unwrap(),
        };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let ground = Ground {
            dir,
            lowers: names(lowers),
            data: names(data),
        };
        for name in ["u", "w", "m"].iter().chain(lowers).chain(data) {
            fs::create_dir(ground.path(name)).unwrap();
        }
        ground
    }

    /// A path below the directory of all.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file of a layer, e.g. `l/d/f`, with its parents.
    pub fn write(&self, path: &str, content: &[u8]) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// The stack for the engine, with the upper layer.
    pub fn ours(&self, options: Options) -> UnionFs {
        let stack = self.directories().open().unwrap();
        UnionFs::from_union(Union::with_options(stack, options).unwrap())
    }

    /// The directories, with the upper one.
    pub fn directories(&self) -> Directories {
        Directories {
            lowers: self.lowers.iter().map(|name| self.path(name)).collect(),
            data_lowers: self.data.iter().map(|name| self.path(name)).collect(),
            upper: Some(self.path("u")),
            work: Some(self.path("w")),
            ..Directories::default()
        }
    }

    /// Mounts the kernel's overlayfs on `m` in this thread's namespace.
    pub fn kernel(&self, options: &str) -> KernelMount {
        self.try_kernel(options).unwrap()
    }

    /// The same, where it may refuse.
    pub fn try_kernel(&self, options: &str) -> rustix::io::Result<KernelMount> {
        sys::own_namespace().unwrap();
        let shown = |names: &[String]| -> Vec<String> {
            let paths = names.iter().map(|name| self.path(name));
            paths.map(|path| path.display().to_string()).collect()
        };
        let mut lower = shown(&self.lowers).join(":");
        for data in shown(&self.data) {
            lower += &format!("::{data}");
        }
        let (upper, work) = (self.path("u"), self.path("w"));
        let options = format!(
            "lowerdir={lower},upperdir={},workdir={},{options}",
            upper.display(),
            work.display()
        );
        let options = CString::new(options).unwrap();
        let target = self.path("m");
        let flags = MountFlags::empty();
        mount("overlay", &target, "overlay", flags, Some(&*options))?;
        Ok(KernelMount { target })
    }

    /// The upper layer becomes the top lower one, `name`, under an empty one.
    pub fn rotate(&mut self, name: &str) {
        fs::rename(self.path("u"), self.path(name)).unwrap();
        fs::create_dir(self.path("u")).unwrap();
        self.lowers.insert(0, name.to_owned());
    }
}

/// A mount of the kernel's overlayfs; unmounted when dropped.
#[derive(Debug)]
pub struct KernelMount {
    target: PathBuf,
}

impl KernelMount {
    /// A path on the mount.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.target.join(path)
    }
}

impl Drop for KernelMount {
    fn drop(&mut self) {
        if let Err(error) = unmount(&self.target, UnmountFlags::DETACH) {
            eprintln!("{}: {error}", self.target.display());
        }
    }
}
