//! The kernel's own overlayfs over the layers of a scene, to compare with.

use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::Scene;

/// A mount of the kernel's overlayfs; unmounted on drop.
#[derive(Debug)]
pub struct KernelMount {
    pub point: PathBuf,
}

impl KernelMount {
    /// At `k` in the scene; `@` in the options stands for the scene.
    pub fn new(scene: &Scene, options: &str) -> KernelMount {
        let point = scene.at("k");
        fs::create_dir_all(&point).unwrap();
        let options = options.replace('@', scene.root().to_str().unwrap());
        let options = CString::new(options).unwrap();
        let flags = MountFlags::empty();
        mount("overlay", &point, "overlay", flags, Some(&*options)).unwrap();
        KernelMount { point }
    }

    /// A path in it.
    pub fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.point.join(name)
    }
}

impl Drop for KernelMount {
    fn drop(&mut self) {
        unmount(&self.point, UnmountFlags::DETACH).unwrap();
    }
}
