//! The big file from its beginning to its end.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::super::layers::BIG;
use super::super::scale::MIB;
use super::super::workload::{Caches, Stage, Target, Timed, Workload, once, repeated};

/// In reads of 128 KiB, as `cp` and `cat` do.
#[derive(Debug)]
pub(super) enum SequentialRead {
    /// Nothing in memory.
    Cold,
    /// After a first time.
    Warm,
}

impl Workload for SequentialRead {
    fn name(&self) -> &'static str {
        match self {
            SequentialRead::Cold => "sequential-read-cold",
            SequentialRead::Warm => "sequential-read-warm",
        }
    }

    fn about(&self) -> &'static str {
        match self {
            SequentialRead::Cold => "read the big file by 128 KiB, nothing in memory",
            SequentialRead::Warm => "the same again",
        }
    }

    fn unit(&self) -> &'static str {
        "MiB"
    }

    fn target(&self, _: &str) -> Target {
        Target::to(1.0, 0.95)
    }

    fn caches(&self) -> Caches {
        match self {
            SequentialRead::Cold => Caches::Dropped,
            SequentialRead::Warm => Caches::Kept,
        }
    }

    fn prepare<'a>(&self, stage: &'a Stage<'a>) -> io::Result<Timed<'a>> {
        let path = stage.path(BIG);
        match self {
            SequentialRead::Cold => Ok(Box::new(move || once(|| read_through(&path)))),
            SequentialRead::Warm => {
                read_through(&path)?;
                Ok(Box::new(move || {
                    repeated(stage.scale.at_least, || read_through(&path))
                }))
            }
        }
    }
}

/// The number of MiB in the file.
pub(super) fn read_through(path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 128 * 1024];
    let mut read = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(read / MIB),
            len => read += len as u64,
        }
    }
}
