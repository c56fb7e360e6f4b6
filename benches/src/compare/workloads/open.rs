//! Files opened for reading, and closed.

use std::io;

use rustix::fs::{Mode, OFlags, openat};

use super::super::scale::Variant;
use super::super::workload::{Stage, Target, Timed, Workload, by_threads};
use super::tree;

/// `open(2)` and `close(2)`.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) threads: usize,
}

impl Workload for Open {
    fn name(&self) -> &'static str {
        match self.threads {
            1 => "open-1",
            _ => "open-4",
        }
    }

    fn about(&self) -> &'static str {
        match self.threads {
            1 => "open known files and close them",
            _ => "the same by 4 threads",
        }
    }

    fn target(&self, _: &str) -> Target {
        Target::to(1.0, 0.9)
    }

    fn variants(&self) -> &'static [Variant] {
        &[Variant::Eight, Variant::TwoHundred]
    }

    fn prepare<'a>(&self, stage: &'a Stage<'a>) -> io::Result<Timed<'a>> {
        let root = stage.open_root()?;
        let names = stage.some_names(tree::SOME)?;
        let threads = self.threads;
        let pass = move || {
            for name in &names {
                openat(&root, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
            }
            Ok(names.len() as u64)
        };
        pass()?;
        Ok(Box::new(move || {
            by_threads(threads, |_| tree::for_a_while(stage, &pass))
        }))
    }
}
