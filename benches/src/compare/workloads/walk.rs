//! Every directory listed, every entry's attributes read.

use std::fs;
use std::io;
use std::path::Path;

use super::super::scale::Variant;
use super::super::workload::{Caches, Stage, Target, Timed, Workload, once, repeated};

/// As `find -newer` or `ls -lR` does.
#[derive(Debug)]
pub(super) enum Walk {
    /// Nothing in memory.
    Cold,
    /// The layers in memory, the mount new.
    First,
    /// After a first walk.
    Warm,
}

impl Workload for Walk {
    fn name(&self) -> &'static str {
        match self {
            Walk::Cold => "walk-cold",
            Walk::First => "walk-first",
            Walk::Warm => "walk-warm",
        }
    }

    fn about(&self) -> &'static str {
        match self {
            Walk::Cold => "list all directories and stat all entries, nothing in memory",
            Walk::First => "the same on a new mount, the layers in memory",
            Walk::Warm => "the same again",
        }
    }

    fn unit(&self) -> &'static str {
        "entries"
    }

    fn target(&self, _: &str) -> Target {
        match self {
            Walk::Cold | Walk::First => Target::to(1.3, 0.85),
            Walk::Warm => Target::to(2.0, 1.0),
        }
    }

    fn variants(&self) -> &'static [Variant] {
        &[Variant::Eight, Variant::TwoHundred]
    }

    fn caches(&self) -> Caches {
        match self {
            Walk::Cold => Caches::Dropped,
            Walk::First | Walk::Warm => Caches::Kept,
        }
    }

    fn prepare<'a>(&self, stage: &'a Stage<'a>) -> io::Result<Timed<'a>> {
        let tree = stage.path("tree");
        match self {
            Walk::Cold | Walk::First => Ok(Box::new(move || once(|| walk(&tree)))),
            Walk::Warm => {
                // Twice: the kernel caches a listing when it is read as such,
                // which the first time it need not be.
                walk(&tree)?;
                walk(&tree)?;
                Ok(Box::new(move || {
                    repeated(stage.scale.at_least, || walk(&tree))
                }))
            }
        }
    }
}

/// The number of entries below `directory`.
fn walk(directory: &Path) -> io::Result<u64> {
    let mut count = 0;
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            count += 1;
            // Relative to the directory, and not through a symlink.
            if entry.metadata()?.is_dir() {
                left.push(entry.path());
            }
        }
    }
    Ok(count)
}
