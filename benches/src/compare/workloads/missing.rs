//! Names that are not there.

use std::io;

use rustix::fs::{AtFlags, statat};
use rustix::io::Errno;

use super::super::scale::Variant;
use super::super::workload::{Stage, Target, Timed, Workload, as_c, repeated};
use super::tree;

/// As a compiler looks for headers, a shell for commands.
#[derive(Debug)]
pub(super) struct Missing;

impl Workload for Missing {
    fn name(&self) -> &'static str {
        "missing"
    }

    fn about(&self) -> &'static str {
        "stat names that are missing, not for the first time"
    }

    fn unit(&self) -> &'static str {
        "names"
    }

    fn target(&self, _: &str) -> Target {
        Target::to(1.0, 1.0)
    }

    fn variants(&self) -> &'static [Variant] {
        &[Variant::Eight, Variant::TwoHundred]
    }

    fn prepare<'a>(&self, stage: &'a Stage<'a>) -> io::Result<Timed<'a>> {
        let root = stage.open_root()?;
        let files = stage.some_files(tree::SOME).into_iter();
        let missing = |file: &std::path::Path| as_c(&file.with_extension("missing"));
        let names: Vec<_> = files.map(missing).collect::<io::Result<_>>()?;
        let pass = move || {
            for name in &names {
                match statat(&root, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Err(Errno::NOENT) => {}
                    Err(errno) => return Err(errno.into()),
                    Ok(_) => return Err(io::Error::other("a missing name is there")),
                }
            }
            Ok(names.len() as u64)
        };
        pass()?;
        Ok(Box::new(move || repeated(stage.scale.at_least, pass)))
    }
}
