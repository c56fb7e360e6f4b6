//! The kernel's own overlayfs: the reference.

use std::ffi::CString;

use overlay_core::spec::{Config, Dir, Op, Outcome, RedirectDir, Seen, Stored};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::Subject;
use super::posix::Posix;
use crate::runner;
use crate::scratch::Scratch;
use crate::snapshot::EntryNumbers;
use crate::sys;

/// A mount of type `overlay` over layers of its own.
#[derive(Debug)]
pub struct Kernel {
    /// `None` only while it is not mounted.
    mounted: Option<Posix>,
    writable: bool,
    /// The option of this name.
    redirect_dir: &'static str,
    /// Whether something was linked since it was mounted.
    linked: bool,
    scratch: Scratch,
}

impl Kernel {
    /// The options that the model's rules stand for, whatever its
    /// configuration.
    const OPTIONS: &str = "index=off,metacopy=off,xino=auto";

    /// Whether the kernel's overlayfs can be had here; a sentence if not.
    pub fn available() -> Result<(), String> {
        runner::root()?;
        sys::own_namespace().map_err(|errno| format!("no namespace for mounts: {errno}"))?;
        let empty = Dir::new(1, []);
        let probe = Kernel::try_new(&[empty.clone(), empty], true, "off");
        probe
            .map(drop)
            .map_err(|errno| format!("mount -t overlay: {errno}"))
    }

    /// Mounts `layers`, top first, two at least; the top one is written if
    /// `writable`.
    pub fn new(layers: &[Dir<Stored>], writable: bool, config: Config) -> Kernel {
        sys::own_namespace().unwrap();
        let redirect_dir = match config.redirect_dir {
            RedirectDir::On => "on",
            // What redirects there are, it follows by default.
            RedirectDir::Off => "off",
        };
        Kernel::try_new(layers, writable, redirect_dir).unwrap()
    }

    /// The same with `redirect_dir=nofollow`, as the specification's
    /// [`refused`](overlay_core::spec::refused) says it.
    pub fn refusing_redirects(layers: &[Dir<Stored>]) -> Kernel {
        sys::own_namespace().unwrap();
        Kernel::try_new(layers, true, "nofollow").unwrap()
    }

    fn try_new(
        layers: &[Dir<Stored>],
        writable: bool,
        redirect_dir: &'static str,
    ) -> rustix::io::Result<Kernel> {
        let mut kernel = Kernel {
            mounted: None,
            writable,
            redirect_dir,
            linked: false,
            scratch: Scratch::new(layers),
        };
        kernel.mount()?;
        Ok(kernel)
    }

    fn mount(&mut self) -> rustix::io::Result<()> {
        let lower = self.scratch.lower_dirs(usize::from(self.writable));
        let (redirect_dir, options) = (self.redirect_dir, Kernel::OPTIONS);
        let mut options = format!("redirect_dir={redirect_dir},{options},lowerdir={lower}");
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
        if !matches!(op, Op::Remount | Op::Rotate) {
            if let Op::Link { .. } = op {
                self.linked = true;
            }
            return self.mounted().apply(op);
        }
        self.linked = false;
        // Without MNT_DETACH: what is still open would be a fault of ours.
        self.mounted = None;
        unmount(self.scratch.mount_point(), UnmountFlags::empty()).unwrap();
        if *op == Op::Rotate && self.writable {
            self.scratch.rotate();
        }
        self.mount().unwrap();
        Outcome::Done
    }

    /// Difference D1: after a link of something copied up into a directory
    /// that the kernel has listed before, it lists a stale `d_ino`.
    fn look(&mut self) -> Result<Seen, String> {
        let numbers = match self.linked {
            true => EntryNumbers::DirectoriesOnly,
            false => EntryNumbers::Exact,
        };
        self.mounted().look(numbers)
    }

    fn stored(&self) -> Vec<Dir<Stored>> {
        self.scratch.load()
    }

    fn litter(&self) -> Vec<String> {
        if !self.writable {
            return Vec::new();
        }
        self.scratch.litter()
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
