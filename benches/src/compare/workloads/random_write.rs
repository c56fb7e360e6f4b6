//! Pages of a large file in no order.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use super::super::layers::Noise;
use super::super::scale::MIB;
use super::super::workload::{Stage, Target, Timed, Workload, by_threads};

/// Bytes of one write.
const PAGE: u64 = 4_096;

/// Threads that write to the same file.
const THREADS: usize = 2;

/// `pwrite(2)` of 4 KiB at random, as a database does.
#[derive(Debug)]
pub(super) struct RandomWrite;

impl Workload for RandomWrite {
    fn name(&self) -> &'static str {
        "random-write"
    }

    fn about(&self) -> &'static str {
        "write 4 KiB at random places of a new file of 256 MiB, by 2 threads"
    }

    fn unit(&self) -> &'static str {
        "writes"
    }

    fn target(&self, _: &str) -> Target {
        Target::to(1.0, 0.95)
    }

    fn prepare<'a>(&self, stage: &'a Stage<'a>) -> io::Result<Timed<'a>> {
        let path = stage.path("database");
        let block = vec![b'x'; MIB as usize];
        let mut new = File::create_new(&path)?;
        for _ in 0..stage.scale.written / MIB {
            new.write_all(&block)?;
        }
        drop(new);
        let file = OpenOptions::new().write(true).open(path)?;
        Ok(Box::new(move || {
            by_threads(THREADS, |thread| {
                let mut noise = Noise::new(5 + thread as u64);
                let content = [b'y'; PAGE as usize];
                for _ in 0..stage.scale.random {
                    let page = noise.below(stage.scale.written / PAGE);
                    file.write_all_at(&content, page * PAGE)?;
                }
                Ok(stage.scale.random as u64)
            })
        }))
    }
}
