//! The attributes of files that the kernel knows.

use std::io;

use rustix::fs::{AtFlags, statat};

use super::super::scale::Variant;
use super::super::workload::{Stage, Target, Timed, Workload, by_threads};
use super::tree;

/// `stat(2)` by path.
#[derive(Debug)]
pub(super) struct Stat {
    pub(super) threads: usize,
}

impl Workload for Stat {
    fn name(&self) -> &'static str {
        match self.threads {
            1 => "stat-1",
            _ => "stat-4",
        }
    }

    fn about(&self) -> &'static str {
        match self.threads {
            1 => "stat known files by path",
            _ => "the same by 4 threads",
        }
    }

    fn target(&self, _: &str) -> Target {
        Target::to(1.0, 1.0)
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
                statat(&root, name, AtFlags::SYMLINK_NOFOLLOW)?;
            }
            Ok(names.len() as u64)
        };
        pass()?;
        Ok(Box::new(move || {
            by_threads(threads, |_| tree::for_a_while(stage, &pass))
        }))
    }
}
