//! Stacks that the benches run on: directories on disk, as a mount has them;
//! and [`compare`], which mounts them.
//!
//! Run with `cargo bench -p overlay-benches`; one group alone with
//! `cargo bench -p overlay-benches --bench lookup`. Without `--bench` (as
//! `cargo test` runs them) each bench runs once, as a check that it works.

use std::io;
use std::path::{Path, PathBuf};

use overlay_core::fs::UnionFs;
use overlay_core::layer::dir::{Descriptors, DirStorage, DirUpper};
use overlay_core::{Dialect, Namespace, Stack};
use tempfile::TempDir;

pub mod compare;

/// Layers on disk that vanish when dropped.
#[derive(Debug)]
pub struct Layers {
    home: TempDir,
    lowers: usize,
}

impl Layers {
    /// `lowers` empty lowers, an upper and a work directory.
    pub fn new(lowers: usize) -> io::Result<Layers> {
        let home = tempfile::tempdir()?;
        for name in ["upper", "work"] {
            std::fs::create_dir(home.path().join(name))?;
        }
        let layers = Layers { home, lowers };
        for lower in 0..lowers {
            std::fs::create_dir(layers.lower(lower))?;
        }
        Ok(layers)
    }

    /// The path of a lower; 0 is the topmost.
    pub fn lower(&self, index: usize) -> PathBuf {
        self.home.path().join(format!("lower{index}"))
    }

    /// The path of the upper.
    pub fn upper(&self) -> PathBuf {
        self.home.path().join("upper")
    }

    /// The union of all layers. Marks lie in `user.*`: no privilege needed.
    pub fn union(&self) -> overlay_core::Result<UnionFs> {
        let descriptors = Descriptors::from_rlimit();
        let dialect = Dialect::Overlay(Namespace::User);
        let work = self.home.path().join("work");
        let upper = DirUpper::open(&self.upper(), &work, &descriptors)?;
        let mut stack = Stack::new().upper_as(upper, dialect);
        for lower in 0..self.lowers {
            let lower = DirStorage::open(&self.lower(lower), &descriptors)?;
            stack = stack.lower_as(lower, dialect);
        }
        UnionFs::new(stack)
    }
}

/// Makes `count` files of `size` bytes, `prefix0`, `prefix1`, ...
pub fn fill(directory: &Path, prefix: &str, count: usize, size: usize) -> io::Result<()> {
    let content = vec![b'x'; size];
    for index in 0..count {
        std::fs::write(directory.join(format!("{prefix}{index}")), &content)?;
    }
    Ok(())
}
