//! Pages of the big file in no order.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::super::layers::{BIG, Noise};
use super::super::workload::{Stage, Target, Timed, Workload, repeated};
use super::sequential_read::read_through;

/// Bytes of one read.
const PAGE: u64 = 4_096;

/// `pread(2)` of 4 KiB at random.
#[derive(Debug)]
pub(super) struct RandomRead;

impl Workload for RandomRead {
    fn name(&self) -> &'static str {
        "random-read"
    }

    fn about(&self) -> &'static str {
        "read 4 KiB at random places of the big file, which has been read before"
    }

    fn unit(&self) -> &'static str {
        "reads"
    }

    fn target(&self, _: &str) -> Target {
        Target::to(1.0, 0.95)
    }

    fn prepare<'a>(&self, stage: &'a Stage<'a>) -> io::Result<Timed<'a>> {
        read_through(&stage.path(BIG))?;
        let file = File::open(stage.path(BIG))?;
        let mut noise = Noise::new(4);
        Ok(Box::new(move || {
            repeated(stage.scale.at_least, || {
                let mut buffer = [0; PAGE as usize];
                for _ in 0..stage.scale.random {
                    let page = noise.below(stage.scale.big / PAGE);
                    file.read_exact_at(&mut buffer, page * PAGE)?;
                }
                Ok(stage.scale.random as u64)
            })
        }))
    }
}
