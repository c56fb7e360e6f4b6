//! New small files.

use std::fs;
use std::io;

use super::super::workload::{Stage, Target, Timed, Workload, by_threads};
use super::tree;

/// Create, write 1 KiB, close.
#[derive(Debug)]
pub(super) struct Create {
    pub(super) threads: usize,
}

impl Workload for Create {
    fn name(&self) -> &'static str {
        match self.threads {
            1 => "create-1",
            _ => "create-4",
        }
    }

    fn about(&self) -> &'static str {
        match self.threads {
            1 => "create files of 1 KiB",
            _ => "the same by 4 threads, each in a directory of its own",
        }
    }

    fn target(&self, _: &str) -> Target {
        match self.threads {
            1 => Target::to(1.5, 0.6),
            _ => Target::to(2.5, 0.4),
        }
    }

    fn prepare<'a>(&self, stage: &'a Stage<'a>) -> io::Result<Timed<'a>> {
        let threads = self.threads;
        let directory = |thread| stage.path(format!("made-by-{thread}"));
        for thread in 0..threads {
            fs::create_dir(directory(thread))?;
        }
        let each = stage.scale.creates / threads;
        Ok(Box::new(move || {
            by_threads(threads, |thread| tree::make_files(&directory(thread), each))
        }))
    }
}
