//! What git looks at.

use std::io;
use std::path::Path;
use std::process::Stdio;

use super::super::layers::{Layers, REPOSITORY, git};
use super::super::workload::{Stage, Target, Timed, Workload, repeated};

/// `git status` in a repository in a lower layer.
#[derive(Debug)]
pub(super) struct GitStatus;

impl Workload for GitStatus {
    fn name(&self) -> &'static str {
        "git-status"
    }

    fn about(&self) -> &'static str {
        "git status of 2,000 files, after one that has refreshed the index"
    }

    fn unit(&self) -> &'static str {
        "runs"
    }

    fn target(&self, _: &str) -> Target {
        Target::to(1.3, 0.8)
    }

    fn missing(&self, layers: &Layers) -> Option<&'static str> {
        (!layers.git).then_some("git is not installed")
    }

    fn prepare<'a>(&self, stage: &'a Stage<'a>) -> io::Result<Timed<'a>> {
        let repository = stage.path(REPOSITORY);
        status(&repository)?;
        Ok(Box::new(move || {
            repeated(stage.scale.at_least, || status(&repository))
        }))
    }
}

fn status(repository: &Path) -> io::Result<u64> {
    let mut git = git(repository);
    git.args(["status", "--porcelain"]).stdout(Stdio::null());
    match git.status()? {
        status if status.success() => Ok(1),
        status => Err(io::Error::other(format!("git status: {status}"))),
    }
}
