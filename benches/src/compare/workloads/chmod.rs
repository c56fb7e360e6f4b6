//! A change of attributes, with a copy-up.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;

use super::super::workload::{Stage, Target, Timed, Workload, once};
use super::tree;

/// `chmod(2)` of lower files.
#[derive(Debug)]
pub(super) struct Chmod;

impl Workload for Chmod {
    fn name(&self) -> &'static str {
        "chmod-copy-up"
    }

    fn about(&self) -> &'static str {
        "chmod lower files, which copies each up"
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
                    fs::set_permissions(file, Permissions::from_mode(0o600))?;
                }
                Ok(files.len() as u64)
            })
        }))
    }
}
