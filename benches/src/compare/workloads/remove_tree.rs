//! Directories removed with all that is in them.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::super::workload::{Stage, Target, Timed, Workload, once};
use super::tree;

/// Directories to remove.
const DIRECTORIES: usize = 20;

/// `rm -rf`.
#[derive(Debug)]
pub(super) enum RemoveTree {
    /// What lies in the upper layer alone.
    New,
    /// What lies in lower layers.
    Lower,
}

impl Workload for RemoveTree {
    fn name(&self) -> &'static str {
        match self {
            RemoveTree::New => "rm-new",
            RemoveTree::Lower => "rm-lower",
        }
    }

    fn about(&self) -> &'static str {
        match self {
            RemoveTree::New => "remove directories of new files",
            RemoveTree::Lower => "remove directories of lower files, which leaves whiteouts",
        }
    }

    fn target(&self, _: &str) -> Target {
        Target::to(1.1, 0.25)
    }

    fn prepare<'a>(&self, stage: &'a Stage<'a>) -> io::Result<Timed<'a>> {
        let each = stage.scale.per_directory;
        let directories: Vec<PathBuf> = match self {
            RemoveTree::New => {
                let new = |number| stage.path(format!("made{number}"));
                let directories: Vec<_> = (0..DIRECTORIES).map(new).collect();
                for directory in &directories {
                    fs::create_dir(directory)?;
                    tree::make_files(directory, each)?;
                }
                directories
            }
            RemoveTree::Lower => {
                let lower = stage.layers.directories.iter().take(DIRECTORIES);
                lower.map(|directory| stage.path(directory)).collect()
            }
        };
        Ok(Box::new(move || {
            once(|| {
                for directory in &directories {
                    fs::remove_dir_all(directory)?;
                }
                Ok((directories.len() * each) as u64)
            })
        }))
    }
}
