//! A change of contents, with a copy-up.

use std::fs::OpenOptions;
use std::io::{self, Write};

use super::super::workload::{Stage, Target, Timed, Workload, once};
use super::tree;

/// One byte more in lower files.
#[derive(Debug)]
pub(super) struct Append;

impl Workload for Append {
    fn name(&self) -> &'static str {
        "append-copy-up"
    }

    fn about(&self) -> &'static str {
        "append a byte to small lower files, which copies each up"
    }

    fn target(&self, _: &str) -> Target {
        Target::of_copy_up(1.5, 1.0)
    }

    fn copies_up(&self) -> bool {
        true
    }

    fn prepare<'a>(&self, stage: &'a Stage<'a>) -> io::Result<Timed<'a>> {
        let files = tree::to_copy_up(stage)?;
        Ok(Box::new(move || {
            once(|| {
                for file in &files {
                    let mut file = OpenOptions::new().append(true).open(file)?;
                    file.write_all(b"x")?;
                }
                Ok(files.len() as u64)
            })
        }))
    }
}
