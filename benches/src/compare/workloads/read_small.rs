//! Small files read as a whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::super::scale::Variant;
use super::super::workload::{Caches, Stage, Target, Timed, Workload, once, repeated};

/// Files of one pass.
const FILES: usize = 4_000;

/// Open, read to the end, close.
#[derive(Debug)]
pub(super) enum ReadSmall {
    /// Nothing in memory.
    Cold,
    /// The layers in memory, the mount new.
    First,
    /// After a first time.
    Again,
}

impl Workload for ReadSmall {
    fn name(&self) -> &'static str {
        match self {
            ReadSmall::Cold => "read-small-cold",
            ReadSmall::First => "read-small-first",
            ReadSmall::Again => "read-small-again",
        }
    }

    fn about(&self) -> &'static str {
        match self {
            ReadSmall::Cold => "open, read and close files of 4 KiB, nothing in memory",
            ReadSmall::First => "the same on a new mount, the layers in memory",
            ReadSmall::Again => "the same again",
        }
    }

    fn target(&self, _: &str) -> Target {
        Target::to(1.2, 0.95)
    }

    fn variants(&self) -> &'static [Variant] {
        &[Variant::Eight, Variant::TwoHundred]
    }

    fn caches(&self) -> Caches {
        match self {
            ReadSmall::Cold => Caches::Dropped,
            ReadSmall::First | ReadSmall::Again => Caches::Kept,
        }
    }

    fn prepare<'a>(&self, stage: &'a Stage<'a>) -> io::Result<Timed<'a>> {
        let files = stage.some_files(FILES).into_iter();
        let files: Vec<PathBuf> = files.map(|file| stage.path(file)).collect();
        match self {
            ReadSmall::Cold => Ok(Box::new(move || once(|| read_all(&files)))),
            ReadSmall::First => {
                stat_all(&files)?;
                Ok(Box::new(move || once(|| read_all(&files))))
            }
            ReadSmall::Again => {
                read_all(&files)?;
                Ok(Box::new(move || {
                    repeated(stage.scale.at_least, || read_all(&files))
                }))
            }
        }
    }
}

/// The names are known then, and only the reading is timed.
fn stat_all(files: &[PathBuf]) -> io::Result<()> {
    for file in files {
        fs::symlink_metadata(file)?;
    }
    Ok(())
}

fn read_all(files: &[impl AsRef<Path>]) -> io::Result<u64> {
    for file in files {
        fs::read(file)?;
    }
    Ok(files.len() as u64)
}
