//! A directory of very many entries.

use std::fs;
use std::io;
use std::path::Path;

use super::super::layers::{LARGE, LARGE_MERGED};
use super::super::scale::Variant;
use super::super::workload::{Stage, Target, Timed, Workload, once};

/// Its names, without attributes, on a new mount.
#[derive(Debug)]
pub(super) enum ReaddirLarge {
    /// In one lower layer.
    OneLayer,
    /// Spread over all of them.
    Merged,
}

impl Workload for ReaddirLarge {
    fn name(&self) -> &'static str {
        match self {
            ReaddirLarge::OneLayer => "readdir-large",
            ReaddirLarge::Merged => "readdir-large-merged",
        }
    }

    fn about(&self) -> &'static str {
        match self {
            ReaddirLarge::OneLayer => "list a directory of 200,000 entries in one layer",
            ReaddirLarge::Merged => "list one that is spread over 8 layers",
        }
    }

    fn unit(&self) -> &'static str {
        "entries"
    }

    fn target(&self, _: &str) -> Target {
        Target::to(3.0, 0.8)
    }

    fn variants(&self) -> &'static [Variant] {
        &[Variant::BigDir]
    }

    fn prepare<'a>(&self, stage: &'a Stage<'a>) -> io::Result<Timed<'a>> {
        let path = stage.path(match self {
            ReaddirLarge::OneLayer => LARGE,
            ReaddirLarge::Merged => LARGE_MERGED,
        });
        Ok(Box::new(move || once(|| list(&path))))
    }
}

fn list(path: &Path) -> io::Result<u64> {
    let mut count = 0;
    for entry in fs::read_dir(path)? {
        entry?;
        count += 1;
    }
    Ok(count)
}
