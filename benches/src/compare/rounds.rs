//! The rounds: every workload on every peer, in turn.
//!
//! Those who are compared are measured next to each other in time, and who is
//! first changes from round to round: what else the machine does, and what
//! one leaves in the caches for the next, falls on all alike.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::args::Plan;
use super::interrupt::Interrupt;
use super::layers::{BIG, Layers};
use super::machine::Machine;
use super::mounted::Mounted;
use super::peer::Peer;
use super::progress::Progress;
use super::requests::{Counters, Counts, Tracepoints, difference};
use super::results::{Cell, Results, Row};
use super::scale::Scale;
use super::workload::{Caches, Sample, Stage, Workload};
use super::{caches, report, say, sys};

/// How a comparison ended.
#[derive(Debug)]
pub(crate) struct Outcome(ExitCode);

impl Outcome {
    pub(crate) fn status(self) -> ExitCode {
        self.0
    }
}

/// What a shell says of a process that ctrl-c ended.
const INTERRUPTED: u8 = 130;

/// Does all of it.
pub(crate) fn run(plan: &Plan) -> io::Result<Outcome> {
    // While there is one thread.
    sys::own_mounts()?;
    let interrupt = Interrupt::handle()?;
    let home = tempfile::Builder::new()
        .prefix("compare-")
        .tempdir_in(&plan.dir)?;
    let result = compare(plan, home.path(), &interrupt);
    home.close()?;
    if interrupt.is_set() {
        say("interrupted; everything is unmounted and removed");
        return Ok(Outcome(ExitCode::from(INTERRUPTED)));
    }
    let results = result?;
    report::write(plan, &results)?;
    Ok(Outcome(results.status()))
}

fn compare(plan: &Plan, home: &Path, interrupt: &Interrupt) -> io::Result<Results> {
    let scale = plan.size.scale();
    let counted = plan.peers.iter().filter(|peer| is_counted(peer)).count();
    let extra = if plan.counts { counted } else { 0 };
    let steps = plan.workloads.len() * (plan.peers.len() * plan.rounds + extra);
    let progress = Progress::new(steps);
    let layers = Layers::generate(home, plan.variant, &scale, &progress, interrupt)?;
    let mut ground = Ground {
        home,
        layers: &layers,
        scale: &scale,
        interrupt,
        warm: true,
    };
    let workloads = plan.workloads.iter().filter(|workload| {
        let missing = workload.missing(&layers);
        if let Some(why) = missing {
            progress.tell(&format!("{} is left out: {why}", workload.name()));
        }
        missing.is_none()
    });
    let workloads: Vec<&dyn Workload> = workloads.copied().collect();
    let mut rows = Rows::default();
    for round in 0..plan.rounds {
        progress.note(&format!("round {} of {}", round + 1, plan.rounds));
        for workload in &workloads {
            for turn in 0..plan.peers.len() {
                let place = (turn + round) % plan.peers.len();
                let Some(peer) = plan.peers.get(place) else {
                    continue;
                };
                interrupt.check()?;
                progress.step(&format!("{} on {peer}", workload.name()));
                if !peer.is_volatile() || workload.copies_up() {
                    let result = ground.measure(*workload, peer, None);
                    interrupt.check()?;
                    rows.enter(*workload, peer, result, &progress);
                }
                progress.done();
            }
        }
    }
    if plan.counts {
        count(plan, &workloads, &mut ground, &mut rows, &progress)?;
    }
    Ok(Results {
        machine: Machine::of(home)?,
        size: plan.size,
        variant: plan.variant,
        rounds: plan.rounds,
        peers: plan.peers.iter().map(|peer| peer.name.clone()).collect(),
        rows: rows.0,
    })
}

/// Whose requests are counted: with nothing durable they are the same.
fn is_counted(peer: &Peer) -> bool {
    peer.is_fuse() && !peer.is_volatile()
}

/// One more round, for its counts alone.
fn count(
    plan: &Plan,
    workloads: &[&dyn Workload],
    ground: &mut Ground<'_>,
    rows: &mut Rows,
    progress: &Progress,
) -> io::Result<()> {
    let tracepoints = match Tracepoints::find(&ground.home.join("tracefs")) {
        Ok(tracepoints) => tracepoints,
        Err(error) => {
            progress.tell(&format!(
                "requests are not counted: the kernel has no tracepoint for them ({error})"
            ));
            return Ok(());
        }
    };
    progress.note("counting requests");
    for workload in workloads {
        for peer in plan.peers.iter().filter(|peer| is_counted(peer)) {
            ground.interrupt.check()?;
            progress.step(&format!("{} on {peer}, counted", workload.name()));
            // A failure has been told of before.
            if let Ok(measured) = ground.measure(*workload, peer, Some(tracepoints)) {
                rows.enter_counts(*workload, peer, &measured);
            }
            progress.done();
        }
    }
    Ok(())
}

/// What all mounts stand on.
#[derive(Debug)]
struct Ground<'a> {
    home: &'a Path,
    layers: &'a Layers,
    scale: &'a Scale,
    interrupt: &'a Interrupt,
    /// Whether the layers are in memory.
    warm: bool,
}

/// What one run has yielded.
#[derive(Debug)]
struct Measured {
    samples: Vec<Sample>,
    counts: Counts,
}

impl Ground<'_> {
    /// Runs `workload` once, on a new mount of `peer` with an empty upper
    /// layer.
    fn measure(
        &mut self,
        workload: &dyn Workload,
        peer: &Peer,
        counted: Option<Tracepoints>,
    ) -> io::Result<Measured> {
        if workload.caches() == Caches::Kept && !self.warm {
            self.warm_up()?;
        }
        let mounted = Mounted::new(peer, &self.layers.lowers, self.home)?;
        let stage = Stage {
            root: mounted.point(),
            aside: self.home,
            layers: self.layers,
            scale: self.scale,
            interrupt: self.interrupt,
        };
        let timed = workload.prepare(&stage)?;
        match workload.caches() {
            Caches::Kept => caches::settle(),
            Caches::Dropped => {
                caches::drop_all()?;
                self.warm = false;
            }
        }
        let Some(tracepoints) = counted else {
            return Ok(Measured {
                samples: timed()?,
                counts: Counts::new(),
            });
        };
        let mut counters = Counters::new(tracepoints, &mounted)?;
        let before = counters.read()?;
        let samples = timed()?;
        let counts = difference(&before, &counters.read()?);
        Ok(Measured { samples, counts })
    }

    /// Brings the layers into memory.
    fn warm_up(&mut self) -> io::Result<()> {
        let mut left: Vec<PathBuf> = self.layers.lowers.clone();
        while let Some(directory) = left.pop() {
            self.interrupt.check()?;
            for entry in fs::read_dir(directory)? {
                let entry = entry?;
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    left.push(entry.path());
                } else if kind.is_file() && entry.file_name() != BIG {
                    fs::read(entry.path())?;
                }
            }
        }
        if let Some(bottom) = self.layers.lowers.last() {
            match File::open(bottom.join(BIG)) {
                Ok(mut big) => {
                    io::copy(&mut big, &mut io::sink())?;
                }
                // A variant without it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        self.warm = true;
        Ok(())
    }
}

/// The table, as it fills.
#[derive(Debug, Default)]
struct Rows(Vec<Row>);

impl Rows {
    fn cell(&mut self, workload: &dyn Workload, part: &str, peer: &Peer) -> Option<&mut Cell> {
        let name = row_name(workload, part);
        let place = match self.0.iter().position(|row| row.name == name) {
            Some(place) => place,
            None => {
                self.0.push(Row {
                    name,
                    about: workload.about().to_owned(),
                    unit: workload.unit().to_owned(),
                    target: workload.target(part),
                    cells: Default::default(),
                });
                self.0.len() - 1
            }
        };
        let row = self.0.get_mut(place)?;
        Some(row.cells.entry(peer.name.clone()).or_default())
    }

    fn enter(
        &mut self,
        workload: &dyn Workload,
        peer: &Peer,
        result: io::Result<Measured>,
        progress: &Progress,
    ) {
        match result {
            Ok(measured) => {
                for sample in measured.samples {
                    if let Some(cell) = self.cell(workload, sample.part, peer) {
                        let rate = sample.operations as f64 / sample.seconds;
                        cell.rates.push(rate);
                    }
                }
            }
            Err(error) => {
                let Some(cell) = self.cell(workload, "", peer) else {
                    return;
                };
                if cell.failure.is_none() {
                    progress.tell(&format!("{} fails on {peer}: {error}", workload.name()));
                }
                cell.failure = Some(error.to_string());
            }
        }
    }

    fn enter_counts(&mut self, workload: &dyn Workload, peer: &Peer, measured: &Measured) {
        // The requests of a workload belong to all of its figures; one says it.
        let Some(sample) = measured.samples.first() else {
            return;
        };
        let per_operation = |count: &u64| *count as f64 / sample.operations.max(1) as f64;
        let counts = measured.counts.iter();
        let counts = counts.map(|(kind, count)| (kind.clone(), per_operation(count)));
        if let Some(cell) = self.cell(workload, sample.part, peer) {
            cell.requests = Some(counts.collect());
        }
    }
}

fn row_name(workload: &dyn Workload, part: &str) -> String {
    match part {
        "" => workload.name().to_owned(),
        part => format!("{}-{part}", workload.name()),
    }
}
