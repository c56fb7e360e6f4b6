//! The kernel's own overlayfs: the reference.

use std::ffi::CString;
use std::os::unix::fs::FileTypeExt;

use overlay_core::spec::{Dir, Op, Outcome, Seen, Stored};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::Subject;
use super::posix::Posix;
use crate::scratch::Scratch;
use crate::sys;

/// A mount of type `overlay` over layers of its own.
#[derive(Debug)]
pub struct Kernel {
    /// `None` only while it is not mounted.
    mounted: Option<Posix>,
    writable: bool,
    scratch: Scratch,
}

impl Kernel {
    /// The options that the model's rules stand for.
    const OPTIONS: &str = "redirect_dir=off,index=off,metacopy=off,xino=auto";

    /// Whether the kernel's overlayfs can be had here; a sentence if not.
    pub fn available() -> Result<(), String> {
        if !rustix::process::geteuid().is_root() {
            return Err("mounting the kernel's overlayfs needs root".into());
        }
        sys::own_namespace().map_err(|errno| format!("no namespace for mounts: {errno}"))?;
        let empty = Dir::new(1, []);
        let probe = Kernel::try_new(&[empty.clone(), empty], true);
        probe
            .map(drop)
            .map_err(|errno| format!("mount -t overlay: {errno}"))
    }

    /// Mounts `layers`, top first, two at least; the top one is written if
    /// `writable`.
    pub fn new(layers: &[Dir<Stored>], writable: bool) -> Kernel {
        sys::own_namespace().unwrap();
        Kernel::try_new(layers, writable).unwrap()
    }

    fn try_new(layers: &[Dir<Stored>], writable: bool) -> rustix::io::Result<Kernel> {
        let mut kernel = Kernel {
            mounted: None,
            writable,
            scratch: Scratch::new(layers),
        };
        kernel.mount()?;
        Ok(kernel)
    }

    fn mount(&mut self) -> rustix::io::Result<()> {
        let lower = self.scratch.lower_dirs(usize::from(self.writable));
        let mut options = format!("{},lowerdir={lower}", Kernel::OPTIONS);
        if self.writable {
            let (upper, work) = (self.scratch.layer(0), self.scratch.work());
            options += &format!(",upperdir={},workdir={}", upper.display(), work.display());
        }
        let options = CString::new(options).unwrap();
        let target = self.scratch.mount_point();
        mount(
            "overlay",
            &target,
            "overlay",
            MountFlags::empty(),
            Some(&*options),
        )?;
        self.mounted = Some(Posix::new(&target));
        Ok(())
    }

    fn mounted(&mut self) -> &mut Posix {
        self.mounted.as_mut().unwrap()
    }
}

impl Subject for Kernel {
    fn apply(&mut self, op: &Op) -> Outcome {
        if *op != Op::Remount {
            return self.mounted().apply(op);
        }
        // Without MNT_DETACH: what is still open would be a fault of ours.
        self.mounted = None;
        unmount(self.scratch.mount_point(), UnmountFlags::empty()).unwrap();
        self.mount().unwrap();
        Outcome::Done
    }

    fn look(&mut self) -> Result<Seen, String> {
        self.mounted().look()
    }

    fn stored(&self) -> Vec<Dir<Stored>> {
        self.scratch.load()
    }

    /// The kernel keeps one whiteout for later, to link it where it is needed.
    fn litter(&self) -> Vec<String> {
        if !self.writable {
            return Vec::new();
        }
        let entries = std::fs::read_dir(self.scratch.work().join("work")).unwrap();
        let litter = entries.map(Result::unwrap).filter(|entry| {
            let whiteout = entry.file_type().unwrap().is_char_device();
            !(whiteout && entry.file_name().as_encoded_bytes().starts_with(b"#"))
        });
        litter
            .map(|entry| entry.file_name().display().to_string())
            .collect()
    }

    fn numbers_persist(&self) -> bool {
        true
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        if self.mounted.take().is_some()
            && let Err(errno) = unmount(self.scratch.mount_point(), UnmountFlags::DETACH)
        {
            eprintln!("{:?} stays mounted: {errno}", self.scratch.path());
        }
    }
}
