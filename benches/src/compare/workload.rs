//! What a workload is, and what it is given.

use std::ffi::CString;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use super::interrupt::Interrupt;
use super::layers::Layers;
use super::scale::{Scale, Variant};

/// Something that is done on a mount, and timed.
pub(crate) trait Workload: fmt::Debug + Sync {
    /// Its name in tables and for `--only`.
    fn name(&self) -> &'static str;

    /// What it does and what one operation is: one sentence.
    fn about(&self) -> &'static str;

    /// What is counted.
    fn unit(&self) -> &'static str {
        "files"
    }

    /// What the project wants of the figure `part`.
    fn target(&self, _: &str) -> Target {
        Target::default()
    }

    /// The layers that it makes sense on.
    fn variants(&self) -> &'static [Variant] {
        &[Variant::Eight]
    }

    /// What the kernel may remember when it begins.
    fn caches(&self) -> Caches {
        Caches::Kept
    }

    /// Whether it copies files up: then it matters who syncs the copies, and
    /// those who do not are measured too.
    fn copies_up(&self) -> bool {
        false
    }

    /// Why it cannot run here.
    fn missing(&self, _: &Layers) -> Option<&'static str> {
        None
    }

    /// Does what is not timed, and returns what is.
    fn prepare<'a>(&self, stage: &'a Stage<'a>) -> io::Result<Timed<'a>>;
}

/// The part of a workload that is timed. It times itself.
pub(crate) type Timed<'a> = Box<dyn FnOnce() -> io::Result<Vec<Sample>> + 'a>;

/// What the kernel remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caches {
    /// The layers are in memory; the mount is new.
    Kept,
    /// Nothing is, neither of the layers nor of the mount.
    Dropped,
}

/// Ratios of operations per second to reach.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Target {
    /// To fuse-overlayfs 2.
    pub(crate) fuse_overlayfs: Option<f64>,
    /// To the kernel's overlayfs.
    pub(crate) kernel: Option<f64>,
    /// To fuse-overlayfs 2, when nothing is durable, as nothing is there.
    pub(crate) volatile: Option<f64>,
}

impl Target {
    pub(crate) fn to(fuse_overlayfs: f64, kernel: f64) -> Target {
        Target {
            fuse_overlayfs: Some(fuse_overlayfs),
            kernel: Some(kernel),
            volatile: None,
        }
    }

    /// For a copy-up: with the kernel's promise against the kernel, without
    /// it against fuse-overlayfs.
    pub(crate) fn of_copy_up(volatile: f64, kernel: f64) -> Target {
        Target {
            fuse_overlayfs: None,
            kernel: Some(kernel),
            volatile: Some(volatile),
        }
    }
}

/// How long how many operations took.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// What of the workload, if it yields more than one figure.
    pub(crate) part: &'static str,
    pub(crate) operations: u64,
    pub(crate) seconds: f64,
}

/// Where a workload runs.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    /// The mount point.
    pub(crate) root: &'a Path,
    /// A directory outside it, on the same filesystem as the layers.
    pub(crate) aside: &'a Path,
    pub(crate) layers: &'a Layers,
    pub(crate) scale: &'a Scale,
    pub(crate) interrupt: &'a Interrupt,
}

impl Stage<'_> {
    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// The mount's root, for calls relative to it.
    pub(crate) fn open_root(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::open(self.root, flags, Mode::empty())?)
    }

    /// At most `most` of the small files, from all directories, relative to
    /// the root.
    pub(crate) fn some_files(&self, most: usize) -> Vec<&Path> {
        let step = self.layers.files.len().div_ceil(most.max(1)).max(1);
        let files = self.layers.files.iter().step_by(step);
        files.map(PathBuf::as_path).collect()
    }

    /// The same for system calls.
    pub(crate) fn some_names(&self, most: usize) -> io::Result<Vec<CString>> {
        let files = self.some_files(most).into_iter();
        files.map(as_c).collect()
    }
}

/// A path for system calls.
pub(crate) fn as_c(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// Times `work`, which returns the number of its operations.
pub(crate) fn once(work: impl FnOnce() -> io::Result<u64>) -> io::Result<Vec<Sample>> {
    let start = Instant::now();
    let operations = work()?;
    Ok(vec![sample(operations, start.elapsed())])
}

/// Times `pass` over and over until `at_least` has passed.
pub(crate) fn repeated(
    at_least: Duration,
    mut pass: impl FnMut() -> io::Result<u64>,
) -> io::Result<Vec<Sample>> {
    let start = Instant::now();
    let mut operations = 0;
    while start.elapsed() < at_least {
        operations += pass()?;
    }
    Ok(vec![sample(operations, start.elapsed())])
}

/// Times `work` by `threads` that begin together, until the last has ended.
/// Each is given its number, and returns how many operations it has done.
pub(crate) fn by_threads(
    threads: usize,
    work: impl Fn(usize) -> io::Result<u64> + Sync,
) -> io::Result<Vec<Sample>> {
    let ready = Barrier::new(threads + 1);
    let (work, ready) = (&work, &ready);
    thread::scope(|scope| {
        let start_one = |number| {
            scope.spawn(move || {
                ready.wait();
                work(number)
            })
        };
        let started: Vec<_> = (0..threads).map(start_one).collect();
        ready.wait();
        let start = Instant::now();
        let mut operations = 0;
        for thread in started {
            operations += thread.join().map_err(|_| io::Error::other("a panic"))??;
        }
        Ok(vec![sample(operations, start.elapsed())])
    })
}

fn sample(operations: u64, elapsed: Duration) -> Sample {
    Sample {
        part: "",
        operations,
        seconds: elapsed.as_secs_f64(),
    }
}
