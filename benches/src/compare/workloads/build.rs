//! A small program compiled.

use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::layers::{Layers, PROGRAM};
use super::super::workload::{Stage, Target, Timed, Workload, by_threads};

/// Compilers at a time.
const JOBS: usize = 2;

/// Each source to an object, then all to a program.
#[derive(Debug)]
pub(super) struct Build;

impl Workload for Build {
    fn name(&self) -> &'static str {
        "build"
    }

    fn about(&self) -> &'static str {
        "compile 40 C sources in a lower layer, 2 at a time, and link them"
    }

    fn target(&self, _: &str) -> Target {
        Target::to(1.3, 0.8)
    }

    fn missing(&self, _: &Layers) -> Option<&'static str> {
        let works = Command::new("cc").arg("--version").output();
        match works.is_ok_and(|said| said.status.success()) {
            true => None,
            false => Some("cc is not installed"),
        }
    }

    fn prepare<'a>(&self, stage: &'a Stage<'a>) -> io::Result<Timed<'a>> {
        let home = stage.path(PROGRAM);
        let sources: Vec<String> = (0..stage.scale.sources)
            .map(|source| format!("part{source}"))
            .chain(["main".to_owned()])
            .collect();
        Ok(Box::new(move || {
            let next = AtomicUsize::new(0);
            let mut samples = by_threads(JOBS, |_| {
                let mut done = 0;
                while let Some(source) = sources.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (from, to) = (format!("{source}.c"), format!("{source}.o"));
                    cc(&home, &["-c", &from, "-o", &to])?;
                    done += 1;
                }
                Ok(done)
            })?;
            let objects = sources.iter().map(|source| format!("{source}.o"));
            let objects: Vec<String> = objects.collect();
            let words: Vec<&str> = objects.iter().map(String::as_str).collect();
            let linked = by_threads(1, |_| {
                cc(&home, &[&words[..], &["-o", "program"]].concat()).map(|()| 1)
            })?;
            if let (Some(sum), Some(last)) = (samples.first_mut(), linked.first()) {
                sum.operations += last.operations;
                sum.seconds += last.seconds;
            }
            Ok(samples)
        }))
    }
}

fn cc(home: &Path, words: &[&str]) -> io::Result<()> {
    let said = Command::new("cc").current_dir(home).args(words).output()?;
    if said.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&said.stderr).into_owned();
    let last = why.lines().last().unwrap_or("it said nothing");
    Err(io::Error::other(format!("cc: {}: {last}", said.status)))
}
