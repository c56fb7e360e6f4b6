//! One operation after a history, with things going wrong inside it.
//!
//! The states that may be seen afterwards are those of the model: **before**
//! the operation, or **after** it. An operation that copies something up first
//! may leave the copy: that is a kind of before, seen only in the link count
//! of a file with several names below.
//!
//! Of directories, link counts are not compared (a copied-up directory merges,
//! and says 1), and neither are times: a copy-up in a directory changes its
//! time for a moment, and clearing whiteouts does.

use std::sync::Arc;

use overlay_core::Union;
use overlay_core::error::Errno;
use overlay_core::spec::generate::Case;
use overlay_core::spec::{
    Dir, Model, Op, Outcome, Path, Place, Rules, Seen, Slot, Stored, Time, differences, look, view,
};
use overlay_core::union::{Flow, Inode};

use crate::faulty::{Faults, FaultyStorages, Plan, Scope};
use crate::subject::core::Core;
use crate::subject::core::storages::{InMemory, OnDirectories};
use crate::{Subject, runner, scenario};

/// Where the layers of a trial lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// In memory.
    Memory,
    /// In directories of the host.
    Directories,
}

/// Cuts the last operation of `case` at each of its steps and mounts again.
/// Returns how many cuts were made, or the first thing that is wrong.
pub fn crash(case: &Case, on: On) -> Result<u64, String> {
    let Some(trial) = Trial::new(case, on) else {
        return Ok(0);
    };
    let steps = trial.count_steps(Scope::Changes)?;
    for step in 1..=steps {
        let mut run = trial.start(Scope::Changes)?;
        run.faults.arm(Plan::CutAt(step));
        run.core.apply(trial.op);
        let failed = run.faults.failed().unwrap_or("nothing");
        let place = |message| format!("cut at step {step} of {steps} ({failed}): {message}");
        run.core.apply(&Op::Remount);
        let shown = run.core.look().map_err(place)?;
        trial.one_of_both(&shown).map_err(place)?;
        run.check_storage(&trial, &shown).map_err(place)?;
        if let litter @ [_, ..] = &run.core.litter()[..] {
            return Err(place(format!(
                "after a remount the work area holds {litter:?}"
            )));
        }
    }
    Ok(steps)
}

/// Lets each step of the last operation of `case` fail with `errno`, without
/// a remount. Returns how many failures there were, or what is wrong.
pub fn fault(case: &Case, on: On, scope: Scope, errno: Errno) -> Result<u64, String> {
    let Some(trial) = Trial::new(case, on) else {
        return Ok(0);
    };
    let steps = trial.count_steps(scope)?;
    for step in 1..=steps {
        let mut run = trial.start(scope)?;
        let known = run.know_everything();
        run.faults.arm(Plan::FaultAt(step, errno));
        let found = run.core.apply(trial.op);
        let failed = run.faults.failed().unwrap_or("nothing");
        run.faults.arm(Plan::Watch);
        let place = |message| {
            format!("{errno} at step {step} of {steps} ({failed}), answer {found}: {message}")
        };
        trial
            .after_fault(&mut run, &found, failed, scope, errno)
            .map_err(place)?;
        let live = run.core.look().map_err(place)?;
        drop(known);
        run.core.apply(&Op::Remount);
        let fresh = run.core.look().map_err(place)?;
        same("a remount shows something else", &fresh, &live).map_err(place)?;
    }
    Ok(steps)
}

/// Demands of the last of `steps` (see [`crate::scenario`]) that no crash and
/// no failure inside it shows anything but the states before and after it, in
/// memory and on directories.
pub fn survives(layers: &[&str], steps: &[&str]) {
    let case = scenario::case(layers, steps);
    let mut places = vec![On::Memory];
    if !runner::skip(runner::root()) {
        places.push(On::Directories);
    }
    for on in places {
        let fail = |message: String| -> u64 { panic!("{on:?}\n{case}{message}") };
        let cuts = crash(&case, on).unwrap_or_else(fail);
        assert!(cuts > 0, "{on:?}\n{case}nothing was changed");
        fault(&case, on, Scope::Changes, Errno::NOSPC).unwrap_or_else(fail);
        fault(&case, on, Scope::All, Errno::IO).unwrap_or_else(fail);
    }
}

/// What may be seen of one operation.
#[derive(Debug)]
pub struct Trial<'a> {
    case: &'a Case,
    on: On,
    history: &'a [Op],
    op: &'a Op,
    /// Before the operation, first without anything copied up.
    before: Vec<Model>,
    after: Model,
    outcome: Outcome,
}

struct Run {
    faults: Arc<Faults>,
    core: Core,
    /// The layers before the operation.
    stored: Vec<Dir<Stored>>,
}

impl<'a> Trial<'a> {
    /// The trial of the last operation of `case`, unless that is a remount.
    pub fn new(case: &'a Case, on: On) -> Option<Trial<'a>> {
        let (op, history) = case.ops.split_last()?;
        if matches!(op, Op::Remount | Op::Rotate) {
            return None;
        }
        let mut model = Model::new(&case.layers, case.writable, Rules::Union, case.config);
        for op in history {
            model.apply(op);
        }
        let before = with_copies(&model, op);
        let mut after = model;
        let outcome = after.apply(op);
        Some(Trial {
            case,
            on,
            history,
            op,
            before,
            after,
            outcome,
        })
    }

    /// The history is done, nothing goes wrong yet.
    fn start(&self, scope: Scope) -> Result<Run, String> {
        let faults = Faults::new(scope);
        let (layers, writable) = (&self.case.layers, self.case.writable);
        let config = self.case.config;
        let mut core = match self.on {
            On::Memory => {
                let storages = InMemory::new(layers, writable);
                Core::new(
                    Box::new(FaultyStorages::new(storages, &faults)),
                    writable,
                    config,
                )
            }
            On::Directories => {
                let storages = OnDirectories::new(layers, writable);
                Core::new(
                    Box::new(FaultyStorages::new(storages, &faults)),
                    writable,
                    config,
                )
            }
        };
        for op in self.history {
            core.apply(op);
        }
        let stored = core.stored();
        Ok(Run {
            faults,
            core,
            stored,
        })
    }

    fn count_steps(&self, scope: Scope) -> Result<u64, String> {
        let mut run = self.start(scope)?;
        let known = run.know_everything();
        run.faults.arm(Plan::Watch);
        let found = run.core.apply(self.op);
        let steps = run.faults.steps();
        drop(known);
        if !agree(&self.outcome, &found) {
            return Err(format!("expected {}, found {found}", self.outcome));
        }
        Ok(steps)
    }

    /// Whether the state before or after the operation is what is seen.
    pub fn one_of_both(&self, shown: &Seen) -> Result<(), String> {
        match self.is_before(shown) {
            Ok(()) => Ok(()),
            Err(before) => self
                .is_after(shown)
                .map_err(|after| format!("{before}\n    {after}")),
        }
    }

    fn is_before(&self, shown: &Seen) -> Result<(), String> {
        let mut first = Ok(());
        for model in &self.before {
            match same_but_times("not the state before", &model.look(), shown) {
                Ok(()) => return Ok(()),
                Err(message) => first = first.and(Err(message)),
            }
        }
        first
    }

    fn is_after(&self, shown: &Seen) -> Result<(), String> {
        same_but_times("not the state after", &self.after.look(), shown)
    }

    fn after_fault(
        &self,
        run: &mut Run,
        found: &Outcome,
        failed: &str,
        scope: Scope,
        errno: Errno,
    ) -> Result<(), String> {
        let shown = run.core.look()?;
        run.check_storage(self, &shown)?;
        if let (litter @ [_, ..], false) = (&run.core.litter()[..], failed == "discard") {
            return Err(format!("the work area holds {litter:?}"));
        }
        if agree(&self.outcome, found) {
            self.is_after(&shown)?;
            return self.check_held(run, &self.after);
        }
        if *found != Outcome::Failed(errno) {
            return Err(format!("expected {} or {errno}", self.outcome));
        }
        match (self.is_before(&shown), scope) {
            (Ok(()), _) => {}
            // What was done cannot be looked at: it is done all the same.
            (Err(_), Scope::All) => return self.is_after(&shown),
            (Err(message), Scope::Changes) => return Err(message),
        }
        self.check_held(run, &self.before[0])?;
        let again = run.core.apply(self.op);
        if !agree(&self.outcome, &again) {
            return Err(format!(
                "tried again: expected {}, found {again}",
                self.outcome
            ));
        }
        let shown = run.core.look()?;
        self.is_after(&shown)
            .map_err(|message| format!("tried again: {message}"))?;
        run.check_storage(self, &shown)
            .map_err(|message| format!("tried again: {message}"))
    }

    /// What is held open is what the model holds open.
    fn check_held(&self, run: &mut Run, model: &Model) -> Result<(), String> {
        let mut model = model.clone();
        for slot in 0..2 {
            if opened_by(self.op) == Some(slot) {
                continue;
            }
            let op = Op::ReadHeld { slot };
            let (expected, found) = (model.apply(&op), run.core.apply(&op));
            if !agree(&expected, &found) {
                return Err(format!("{op}: expected {expected}, found {found}"));
            }
        }
        Ok(())
    }
}

impl Run {
    /// Looks everything up and keeps it known, as a kernel does that has it
    /// in its caches.
    fn know_everything(&self) -> Vec<Arc<Inode>> {
        everything(self.core.union())
    }

    fn check_storage(&mut self, trial: &Trial<'_>, shown: &Seen) -> Result<(), String> {
        let stored = self.core.stored();
        let lowers = usize::from(trial.case.writable);
        let layers = self.stored.iter().zip(&stored).enumerate();
        for (index, (before, now)) in layers.skip(lowers) {
            if before != now {
                return Err(format!("layer {index} was written:\n{before}became\n{now}"));
            }
        }
        let decoded = look(&view(&stored));
        same("storage and union differ", &decoded, shown)
    }
}

/// Every inode below the root, known for as long as it is kept.
pub fn everything(union: &Arc<Union>) -> Vec<Arc<Inode>> {
    let mut all = vec![union.root()];
    let mut next = 0;
    while let Some(inode) = all.get(next).cloned() {
        next += 1;
        if !inode.kind().is_dir() {
            continue;
        }
        let mut names = Vec::new();
        let dir = union.open_dir(&inode).unwrap();
        let mut each = |entry: overlay_core::union::DirEntry<'_>| {
            names.push(entry.name.to_owned());
            Flow::Continue
        };
        union.read_dir(&dir, 0, &mut each).unwrap();
        for name in names {
            all.extend(union.lookup(&inode, &name).unwrap().map(|e| e.inode));
        }
    }
    all
}

fn agree(expected: &Outcome, found: &Outcome) -> bool {
    match (expected, found) {
        (Outcome::Sight(expected), Outcome::Sight(found)) => expected.agrees(found),
        (expected, found) => expected == found,
    }
}

/// `model`, and what it becomes when some of what `op` changes was copied up.
fn with_copies(model: &Model, op: &Op) -> Vec<Model> {
    let full = |place: &Place| place.parent.join(&place.name);
    let copied = |paths: &[Path]| {
        let mut model = model.clone();
        paths.iter().for_each(|path| model.copy_up_at(path));
        model
    };
    let mut models = vec![model.clone()];
    match op {
        Op::Link { from, .. } => models.push(copied(std::slice::from_ref(from))),
        Op::Rename { from, to, .. } => {
            let (from, to) = (full(from), full(to));
            models.push(copied(std::slice::from_ref(&from)));
            models.push(copied(std::slice::from_ref(&to)));
            models.push(copied(&[from, to]));
        }
        Op::Write { path, .. }
        | Op::Append { path, .. }
        | Op::Empty { path }
        | Op::Truncate { path, .. }
        | Op::Allocate { path, .. }
        | Op::Punch { path, .. }
        | Op::Chmod { path, .. }
        | Op::Chown { path, .. }
        | Op::SetMtime { path, .. }
        | Op::SetXattr { path, .. }
        | Op::RemoveXattr { path, .. }
        | Op::Open { path, .. } => models.push(copied(std::slice::from_ref(path))),
        Op::WriteHeld { slot, .. } | Op::TruncateHeld { slot, .. } | Op::ChmodHeld { slot, .. } => {
            let mut model = model.clone();
            model.copy_up_held(*slot);
            models.push(model);
        }
        Op::Make { .. }
        | Op::Create { .. }
        | Op::Unlink { .. }
        | Op::Rmdir { .. }
        | Op::Read { .. }
        | Op::ReadDir { .. }
        | Op::ReadLink { .. }
        | Op::Stat { .. }
        | Op::GetXattr { .. }
        | Op::ListXattrs { .. }
        | Op::ReadHeld { .. }
        | Op::StatHeld { .. }
        | Op::Close { .. }
        | Op::Remount
        | Op::Rotate => {}
    }
    models
}

/// The slot that `op` opens: even if it fails, what was there is closed.
fn opened_by(op: &Op) -> Option<Slot> {
    if let Op::Create { slot, .. } | Op::Open { slot, .. } = op {
        Some(*slot)
    } else {
        None
    }
}

/// As [`same`], but for times and link counts of directories.
fn same_but_times(what: &str, expected: &Seen, found: &Seen) -> Result<(), String> {
    let (mut expected, mut found) = (expected.clone(), found.clone());
    for sight in expected.values_mut().chain(found.values_mut()) {
        if sight.kind.is_dir() {
            sight.nlink = 0;
            sight.mtime = Time::Unknown;
        }
    }
    same(what, &expected, &found)
}

fn same(what: &str, expected: &Seen, found: &Seen) -> Result<(), String> {
    match &differences(expected, found)[..] {
        [] => Ok(()),
        differences => {
            let lines = differences.iter().map(|line| format!("\n    {line}"));
            Err(format!("{what}:{}", lines.collect::<String>()))
        }
    }
}
