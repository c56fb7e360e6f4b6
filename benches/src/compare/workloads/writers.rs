//! What others feel of a large copy-up.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::super::layers::BIG;
use super::super::workload::{Sample, Stage, Target, Timed, Workload};

/// Threads that write, each to a file of its own.
const WRITERS: usize = 2;

/// Writes of each, at the least: a copy-up may be over at once.
const LEAST: usize = 100;

/// The part that is the usual latency.
const MEDIAN: &str = "median";

/// Two threads append to files of theirs while a third copies the big file
/// up. Their latency is the figure; as a rate, so that more is better.
#[derive(Debug)]
pub(super) struct Writers;

impl Workload for Writers {
    fn name(&self) -> &'static str {
        "writers"
    }

    fn about(&self) -> &'static str {
        "2 threads open, append 4 KiB and close while a third copies the big file up: \
         1 / latency, the median and the worst of a hundred"
    }

    fn unit(&self) -> &'static str {
        "writes"
    }

    fn target(&self, part: &str) -> Target {
        let mut target = Target::to(10.0, 0.8);
        // Most writes are over before a lock of the copy-up is in their way:
        // it is the others that have to be better.
        if part == MEDIAN {
            target.fuse_overlayfs = None;
        }
        target
    }

    fn copies_up(&self) -> bool {
        true
    }

    fn prepare<'a>(&self, stage: &'a Stage<'a>) -> io::Result<Timed<'a>> {
        let own = |writer: usize| stage.path(format!("log{writer}"));
        for writer in 0..WRITERS {
            fs::write(own(writer), "")?;
        }
        let big = stage.path(BIG);
        Ok(Box::new(move || {
            let copied = AtomicBool::new(false);
            let ready = Barrier::new(WRITERS + 1);
            let (copied, ready) = (&copied, &ready);
            let mut latencies = thread::scope(|scope| {
                let write = |writer| {
                    let path = own(writer);
                    scope.spawn(move || {
                        ready.wait();
                        write(&path, copied)
                    })
                };
                let writers: Vec<_> = (0..WRITERS).map(write).collect();
                ready.wait();
                let appended = append(&big);
                copied.store(true, Ordering::Relaxed);
                let mut all = Vec::new();
                for writer in writers {
                    let latencies = writer.join();
                    all.extend(latencies.map_err(|_| io::Error::other("a panic"))??);
                }
                appended.map(|()| all)
            })?;
            latencies.sort_unstable();
            let operations = latencies.len() as u64;
            let at = |hundredth: usize| {
                let place = (latencies.len() * hundredth / 100).min(latencies.len() - 1);
                latencies.get(place).map_or(0.0, Duration::as_secs_f64)
            };
            // The seconds that as many operations of this latency take: the
            // rate is then its inverse, and requests are per operation.
            let sample = |part, latency| Sample {
                part,
                operations,
                seconds: latency * operations as f64,
            };
            Ok(vec![sample(MEDIAN, at(50)), sample("p99", at(99))])
        }))
    }
}

fn append(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    file.write_all(b"x")
}

fn write(path: &Path, copied: &AtomicBool) -> io::Result<Vec<Duration>> {
    let content = [b'x'; 4_096];
    let mut latencies = Vec::new();
    while latencies.len() < LEAST || !copied.load(Ordering::Relaxed) {
        let start = Instant::now();
        let mut file = OpenOptions::new().append(true).open(path)?;
        file.write_all(&content)?;
        drop(file);
        latencies.push(start.elapsed());
    }
    Ok(latencies)
}
