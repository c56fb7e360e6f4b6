//! The kernel's own overlayfs: the reference.

use std::ffi::CString;

use overlay_core::spec::{Config, Dir, Index, Op, Outcome, Seen, Stored, Switch};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::posix::Posix;
use super::{Numbers, Subject};
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
    config: Config,
    /// Whether something was linked since it was mounted.
    linked: bool,
    scratch: Scratch,
}

impl Kernel {
    /// Whether the kernel's overlayfs can be had here; a sentence if not.
    pub fn available() -> Result<(), String> {
        runner::root()?;
        sys::own_namespace().map_err(|errno| format!("no namespace for mounts: {errno}"))?;
        Kernel::accepts(Config::default()).map_err(|errno| format!("mount -t overlay: {errno}"))
    }

    /// Whether it mounts with these options; the errno if not.
    pub fn accepts(config: Config) -> Result<(), Errno> {
        sys::own_namespace()?;
        let empty = Dir::new(1, []);
        let scratch = Scratch::with(&[empty.clone(), empty], config);
        Kernel::over(scratch, true, config).map(drop)
    }

    /// Mounts `layers`, top first, two at least; the top one is written if
    /// `writable`.
    pub fn new(layers: &[Dir<Stored>], writable: bool, config: Config) -> Kernel {
        sys::own_namespace().unwrap();
        Kernel::over(Scratch::with(layers, config), writable, config).unwrap()
    }

    /// The options that are in force, in the words of `/proc/self/mountinfo`,
    /// which leaves out what is the default.
    pub fn options_in_force(&self) -> Vec<String> {
        let mounts = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let point = format!(" {} ", self.scratch.mount_point().display());
        let line = mounts.lines().find(|line| line.contains(&point)).unwrap();
        let (_, options) = line.rsplit_once(' ').unwrap();
        options.split(',').map(str::to_owned).collect()
    }

    /// What the kernel shows of all layers in `scratch`, none of them written.
    /// It looks into directories that we wrote.
    pub fn look_at(scratch: &Scratch) -> Result<Seen, String> {
        sys::own_namespace().unwrap();
        let point = scratch.mount_point();
        let layers = scratch.lower_dirs(0, 0);
        let options = format!("redirect_dir=follow,lowerdir={layers}");
        let options = CString::new(options).unwrap();
        mount(
            "overlay",
            &point,
            "overlay",
            MountFlags::RDONLY,
            Some(&*options),
        )
        .map_err(|errno| format!("mount -t overlay: {errno}"))?;
        let seen = Posix::new(&point).look(EntryNumbers::Any);
        unmount(&point, UnmountFlags::DETACH).unwrap();
        seen
    }

    /// Calls `look` while it is not mounted.
    pub fn unmounted<T>(&mut self, look: impl FnOnce(&Scratch) -> T) -> T {
        self.mounted = None;
        unmount_from(&self.scratch).unwrap();
        let seen = look(&self.scratch);
        self.mount().unwrap();
        seen
    }

    /// Mounts what lies in `scratch`.
    pub fn over(scratch: Scratch, writable: bool, config: Config) -> Result<Kernel, Errno> {
        let mut kernel = Kernel {
            mounted: None,
            writable,
            config,
            linked: false,
            scratch,
        };
        kernel.mount()?;
        Ok(kernel)
    }

    fn mount(&mut self) -> Result<(), Errno> {
        self.mounted = Some(mount_on(&self.scratch, self.writable, self.config)?);
        self.linked = false;
        Ok(())
    }

    fn mounted(&mut self) -> &mut Posix {
        self.mounted.as_mut().unwrap()
    }
}

/// Mounts what lies in `scratch`.
pub(super) fn mount_on(scratch: &Scratch, writable: bool, config: Config) -> Result<Posix, Errno> {
    let lower = scratch.lower_dirs(usize::from(writable), config.data_only);
    let mut options = format!("{config},lowerdir={lower}");
    if writable {
        let (upper, work) = (scratch.layer(0), scratch.work());
        options += &format!(",upperdir={},workdir={}", upper.display(), work.display());
    }
    let options = CString::new(options).unwrap();
    let target = scratch.mount_point();
    let flags = MountFlags::empty();
    mount("overlay", &target, "overlay", flags, Some(&*options))?;
    Ok(Posix::new(&target))
}

/// Unmounts it; `EBUSY` if anything is still open.
pub(super) fn unmount_from(scratch: &Scratch) -> Result<(), Errno> {
    unmount(scratch.mount_point(), UnmountFlags::empty())
}

/// Unmounts it in any case.
pub(super) fn detach_from(scratch: &Scratch) {
    if let Err(errno) = unmount(scratch.mount_point(), UnmountFlags::DETACH) {
        eprintln!("{:?} stays mounted: {errno}", scratch.path());
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
        self.mounted = None;
        unmount_from(&self.scratch).unwrap();
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

    fn index(&self) -> Index {
        match self.config.index {
            Switch::On => self.scratch.index(),
            Switch::Off => Index::new(),
        }
    }

    fn litter(&self) -> Vec<String> {
        if !self.writable {
            return Vec::new();
        }
        self.scratch.litter()
    }

    fn numbers(&self, _: &Op) -> Numbers {
        Numbers::Stay
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        if self.mounted.take().is_some() {
            detach_from(&self.scratch);
        }
    }
}
