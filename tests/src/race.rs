//! Threads on one union, again and again from the same beginning.
//!
//! After every round: what the union shows is what the specification makes of
//! the storage, the lower layers are as they were, the work area is empty, and
//! a fresh mount shows the same. A round that does not end fails the test.

use std::fmt::Display;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use overlay_core::fs::UnionFs;
use overlay_core::spec::generate::Case;
use overlay_core::spec::{Config, Dir, Op, Outcome, Stored, differences, indexed, look, view_over};
use overlay_core::{Errno, Union};
use parking_lot::Mutex;

use crate::faulty::{Faults, FaultyStorages, Plan, Scope};
use crate::subject::core::Core;
use crate::subject::core::storages::{InMemory, OnDirectories};
use crate::trial::{On, places};
use crate::{Subject, runner, scenario};

/// A round takes milliseconds: what takes this long will not end.
const PATIENCE: Duration = Duration::from_secs(60);

/// For how long each race is repeated on each kind of storage: `UFS_CASES`
/// milliseconds, or this.
const DEFAULT_MILLISECONDS: u32 = 300;

/// One thread's part in a race.
pub type Part<'a> = Box<dyn FnOnce(&UnionFs) + Send + 'a>;

/// A mounted stack on which threads meet.
#[derive(Debug)]
pub struct Arena {
    core: Core,
    before: Vec<Dir<Stored>>,
    writable: bool,
    config: Config,
}

impl Arena {
    /// Mounts `layers`, given top first.
    pub fn new(layers: &[Dir<Stored>], writable: bool, config: Config, on: On) -> Arena {
        let faults = Faults::new(Scope::All);
        let core = match on {
            On::Memory => {
                let storages = InMemory::with(layers, writable, config);
                let storages = FaultyStorages::new(storages, &faults);
                Core::new(Box::new(storages), writable, config)
            }
            On::Directories => {
                let storages = OnDirectories::with(layers, writable, config);
                let storages = FaultyStorages::new(storages, &faults);
                Core::new(Box::new(storages), writable, config)
            }
        };
        let before = core.stored();
        faults.arm(Plan::Dawdle);
        Arena {
            core,
            before,
            writable,
            config,
        }
    }

    /// The union with paths.
    pub fn fs(&self) -> UnionFs {
        UnionFs::from_union(Arc::clone(self.core.union()))
    }

    /// The union.
    pub fn union(&self) -> &Arc<Union> {
        self.core.union()
    }

    /// Runs the parts on a thread each, all at once.
    pub fn run(&self, parts: Vec<Part<'_>>) {
        let fs = self.fs();
        let start = std::sync::Barrier::new(parts.len());
        thread::scope(|scope| {
            for part in parts {
                let (fs, start) = (&fs, &start);
                scope.spawn(move || {
                    start.wait();
                    part(fs);
                });
            }
        });
    }

    /// Runs a history on each thread. No order of them, and so no mixture,
    /// may be answered with an error that speaks of the union's own troubles.
    pub fn run_histories(&self, histories: &[Vec<Op>]) -> Result<(), String> {
        let troubles = Mutex::new(Vec::new());
        let parts = histories.iter().map(|ops| {
            let mut process = self.core.beside();
            let troubles = &troubles;
            let part: Part<'_> = Box::new(move |_| {
                for op in ops {
                    let outcome = process.apply(op);
                    if let Outcome::Failed(Errno::STALE | Errno::IO | Errno::BUSY) = outcome {
                        troubles.lock().push(format!("{op}: {outcome}"));
                    }
                }
            });
            part
        });
        self.run(parts.collect());
        match troubles.into_inner() {
            troubles if troubles.is_empty() => Ok(()),
            troubles => Err(troubles.join("\n    ")),
        }
    }

    /// Makes the checks that hold after any race.
    pub fn check(mut self) -> Result<(), String> {
        let shown = self.core.look()?;
        let stored = self.core.stored();
        let index = self.core.index();
        let lowers = usize::from(self.writable);
        for (index, (before, now)) in self.before.iter().zip(&stored).enumerate().skip(lowers) {
            if before != now {
                return Err(format!("layer {index} was written:\n{before}became\n{now}"));
            }
        }
        let litter = self.core.litter();
        if !litter.is_empty() {
            return Err(format!("the work area holds {litter:?}"));
        }
        self.core.apply(&Op::Remount);
        let fresh = self.core.look()?;
        let view = view_over(&stored, self.config.data_only);
        let decoded = look(&indexed(view, &index));
        for (what, expected) in [("storage", &decoded), ("a remount", &fresh)] {
            if let differences @ [_, ..] = &differences(expected, &shown)[..] {
                let lines = differences.iter().map(|line| format!("\n    {line}"));
                let lines = lines.collect::<String>();
                return Err(format!("{what} and the union differ:{lines}"));
            }
        }
        match self.core.index().values().any(|copied| copied.links == 0) {
            true => Err("the index holds a copy that has no name".into()),
            false => Ok(()),
        }
    }
}

/// Repeats `round` for a while on a stack made anew from `layers` (in the
/// words of [`scenario`]), in memory and on directories.
pub fn race(layers: &[&str], round: impl Fn(&Arena) + Send + Sync) {
    race_with(Config::default(), layers, round);
}

/// The same with these options.
pub fn race_with(config: Config, layers: &[&str], round: impl Fn(&Arena) + Send + Sync) {
    let layers = scenario::case_with(layers, &[], config).layers;
    for on in places() {
        let begin = Instant::now();
        let time = Duration::from_millis(runner::case_count(DEFAULT_MILLISECONDS).into());
        let mut rounds = 0;
        while rounds == 0 || begin.elapsed() < time {
            rounds += 1;
            let arena = Arena::new(&layers, true, config, on);
            within_patience(&"", || {
                round(&arena);
                arena.check().unwrap_or_else(|m| panic!("{on:?}: {m}"));
            });
        }
    }
}

/// The history of `case`, cut into one for each thread at every
/// [`Op::Remount`], all at once; `rounds` times.
pub fn race_histories(case: &Case, on: On, rounds: u32) -> Result<(), String> {
    let histories = case.ops.split(|op| *op == Op::Remount);
    let histories: Vec<Vec<Op>> = histories.map(<[Op]>::to_vec).collect();
    within_patience(case, || {
        (0..rounds).try_for_each(|_| {
            let arena = Arena::new(&case.layers, case.writable, case.config, on);
            arena.run_histories(&histories)?;
            arena.check()
        })
    })
}

/// Runs `body`; if it does not end, says so and ends the process, since a
/// thread that waits for a lock forever cannot be ended.
fn within_patience<T>(what: &(dyn Display + Sync), body: impl FnOnce() -> T) -> T {
    thread::scope(|scope| {
        let (done, watch) = channel::<()>();
        scope.spawn(move || match watch.recv_timeout(PATIENCE) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {}
            Err(RecvTimeoutError::Timeout) => {
                // Not by a macro: what they say is lost with the process.
                let sentence = format!("no end within {PATIENCE:?}, a deadlock\n{what}\n");
                std::io::stderr().write_all(sentence.as_bytes()).ok();
                std::process::abort();
            }
        });
        let outcome = body();
        drop(done);
        outcome
    })
}
