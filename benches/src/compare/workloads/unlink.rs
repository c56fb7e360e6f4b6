//! New files removed.

use std::fs;
use std::io;

use super::super::workload::{Stage, Target, Timed, Workload, once};
use super::tree;

/// `unlink(2)` of what lies in the upper layer alone.
#[derive(Debug)]
pub(super) struct Unlink;

impl Workload for Unlink {
    fn name(&self) -> &'static str {
        "unlink"
    }

    fn about(&self) -> &'static str {
        "unlink new files"
    }

    fn target(&self, _: &str) -> Target {
        Target::to(1.7, 0.4)
    }

    fn prepare<'a>(&self, stage: &'a Stage<'a>) -> io::Result<Timed<'a>> {
        let directory = stage.path("made");
        fs::create_dir(&directory)?;
        tree::make_files(&directory, stage.scale.creates)?;
        Ok(Box::new(move || {
            once(|| {
                for number in 0..stage.scale.creates {
                    fs::remove_file(directory.join(format!("new{number}")))?;
                }
                Ok(stage.scale.creates as u64)
            })
        }))
    }
}
