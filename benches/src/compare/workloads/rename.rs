//! Lower files under other names, with a copy-up.

use std::fs;
use std::io;

use super::super::workload::{Stage, Target, Timed, Workload, once};
use super::tree;

/// `rename(2)` inside a directory.
#[derive(Debug)]
pub(super) struct Rename;

impl Workload for Rename {
    fn name(&self) -> &'static str {
        "rename-copy-up"
    }

    fn about(&self) -> &'static str {
        "rename lower files, which copies each up and leaves a whiteout"
    }

    fn target(&self, _: &str) -> Target {
        Target::to(1.3, 0.6)
    }

    fn copies_up(&self) -> bool {
        true
    }

    fn prepare<'a>(&self, stage: &'a Stage<'a>) -> io::Result<Timed<'a>> {
        let files = tree::to_copy_up(stage)?;
        Ok(Box::new(move || {
            once(|| {
                for file in &files {
                    fs::rename(file, file.with_extension("renamed"))?;
                }
                Ok(files.len() as u64)
            })
        }))
    }
}
