//! A new large file.

use std::fs::File;
use std::io::{self, Write};

use super::super::scale::MIB;
use super::super::workload::{Stage, Target, Timed, Workload, once};

/// In writes of 1 MiB.
#[derive(Debug)]
pub(super) struct SequentialWrite;

impl Workload for SequentialWrite {
    fn name(&self) -> &'static str {
        "sequential-write"
    }

    fn about(&self) -> &'static str {
        "write a new file of 256 MiB by 1 MiB"
    }

    fn unit(&self) -> &'static str {
        "MiB"
    }

    fn target(&self, _: &str) -> Target {
        Target::to(1.1, 0.95)
    }

    fn prepare<'a>(&self, stage: &'a Stage<'a>) -> io::Result<Timed<'a>> {
        let path = stage.path("written");
        let block = vec![b'x'; MIB as usize];
        Ok(Box::new(move || {
            once(|| {
                let mut file = File::create_new(path)?;
                for _ in 0..stage.scale.written / MIB {
                    file.write_all(&block)?;
                }
                Ok(stage.scale.written / MIB)
            })
        }))
    }
}
