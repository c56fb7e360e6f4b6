//! One byte more in the big lower file.

use std::fs::OpenOptions;
use std::io::{self, Write};

use super::super::layers::BIG;
use super::super::workload::{Stage, Target, Timed, Workload, once};

/// Copies 512 MiB for one byte.
#[derive(Debug)]
pub(super) struct AppendLarge;

impl Workload for AppendLarge {
    fn name(&self) -> &'static str {
        "append-large"
    }

    fn about(&self) -> &'static str {
        "append a byte to the big lower file, which copies it up"
    }

    fn target(&self, _: &str) -> Target {
        Target::of_copy_up(1.0, 1.0)
    }

    fn copies_up(&self) -> bool {
        true
    }

    fn prepare<'a>(&self, stage: &'a Stage<'a>) -> io::Result<Timed<'a>> {
        let path = stage.path(BIG);
        Ok(Box::new(move || {
            once(|| {
                let mut file = OpenOptions::new().append(true).open(path)?;
                file.write_all(b"x")?;
                Ok(1)
            })
        }))
    }
}
