//! The last operation of a pool's history, with things going wrong inside it:
//! what is seen afterwards is the state **before** it or the one **after**, of
//! the specification, and the union, its storages and a new union of them
//! agree. What counts as the state before, and what is not compared of
//! directories, is as in [`crate::trial`].
//!
//! A crash cuts all branches off at once, or one that the others outlive. A
//! failure is one of one branch, since a policy may then go on with another.
//! Where a step was done and told to have failed, the union may be wrong about
//! what is stored until it is mounted again: what it shows then is compared.
//!
//! Whatever has come of it, the pool is then used and taken down, name by
//! name, as the specification says of what its branches store: nothing may be
//! in the way, and nothing may come to light again.

use std::sync::Arc;

use overlay_core::Errno;
use overlay_core::name::NameBuf;
use overlay_core::spec::generate::{FREE, PoolCase, Step};
use overlay_core::spec::pool::{Branch, Create, Marks, Permission, Policies};
use overlay_core::spec::{Object, Op, Outcome, Path, Place, Pool, Seen, Sight, Umask};
use overlay_core::union::Inode;

use super::Mounted;
use super::backing::{Backing, Directory, Memory};
use crate::branches::{Tree, difference};
use crate::check::same;
use crate::faulty::{Faults, Lacks, Plan, Scope};
use crate::runner::{root, skip};
use crate::scenario::{layer, parse};
use crate::subject::Subject as _;
use crate::trial::states::with_copies;
use crate::trial::{agree, everything, opened_by, same_but_times};

/// How a branch fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// One step fails.
    Once(Scope, Errno),
    /// From one step on there is no room.
    Full(Errno),
}

impl Failure {
    fn scope(self) -> Scope {
        match self {
            Failure::Once(scope, _) => scope,
            Failure::Full(_) => Scope::Changes,
        }
    }

    fn errno(self) -> Errno {
        match self {
            Failure::Once(_, errno) | Failure::Full(errno) => errno,
        }
    }

    fn plan(self, step: u64) -> Plan {
        match self {
            Failure::Once(_, errno) => Plan::FaultAt(step, errno),
            Failure::Full(errno) => Plan::FullFrom(step, errno),
        }
    }
}

/// How a union ends in the middle of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// From one step on nothing is written any more.
    Crash,
    /// From one step on nothing is written to one of the branches, and the
    /// others go on.
    BranchGone,
    /// One step on one branch is done, and told to have failed.
    Lost(Errno),
}

impl End {
    fn plan(self, step: u64) -> Plan {
        match self {
            End::Crash | End::BranchGone => Plan::CutAt(step),
            End::Lost(errno) => Plan::LostAt(step, errno),
        }
    }
}

/// Ends the union at each step of the last operation, and mounts again.
/// Returns how often, or the first thing that is wrong.
pub fn crash<B: Backing>(case: &PoolCase, end: End) -> Result<u64, String> {
    crash_on::<B>(case, end, Lacks::Nothing)
}

/// The same where the filesystems of the branches lack something.
pub fn crash_on<B: Backing>(case: &PoolCase, end: End, lacks: Lacks) -> Result<u64, String> {
    let Some(trial) = Trial::new(case) else {
        return Ok(0);
    };
    let faults = || -> Vec<_> {
        let one = || Faults::on(lacks, Scope::Changes);
        match end {
            // One plan for all branches: they share the power.
            End::Crash => vec![one(); case.branches.len()],
            End::BranchGone | End::Lost(_) => case.branches.iter().map(|_| one()).collect(),
        }
    };
    let mut written = written(case);
    if end == End::Crash {
        written.truncate(1);
    }
    let mut count = 0;
    for branch in written {
        let steps = trial.start::<B>(&faults()).count_steps(branch)?;
        count += steps;
        for step in 1..=steps {
            let mut run = trial.start::<B>(&faults());
            run.faults[branch].arm(end.plan(step));
            run.mounted.core.apply(trial.op);
            let failed = run.faults[branch].failed().unwrap_or("nothing");
            let place = |message| {
                format!("{end:?} at step {step} of {steps}, branch {branch} ({failed}): {message}")
            };
            run.mounted.core.apply(&Op::Remount);
            run.after_crash().map_err(place)?;
            run.take_down(Vec::new()).map_err(place)?;
        }
    }
    Ok(count)
}

/// The branches that can be written, by their places.
fn written(case: &PoolCase) -> Vec<usize> {
    let branches = case.branches.iter().enumerate();
    let written = branches.filter(|(_, branch)| branch.permission == Permission::Rw);
    written.map(|(index, _)| index).collect()
}

/// Lets each step that the last operation makes on each branch fail. Returns
/// how many failures there were, or the first thing that is wrong.
pub fn fault<B: Backing>(case: &PoolCase, failure: Failure) -> Result<u64, String> {
    let Some(trial) = Trial::new(case) else {
        return Ok(0);
    };
    let mut count = 0;
    for branch in written(case) {
        let faults = || -> Vec<_> {
            let each = case.branches.iter();
            each.map(|_| Faults::new(failure.scope())).collect()
        };
        let steps = trial.start::<B>(&faults()).count_steps(branch)?;
        count += steps;
        for step in 1..=steps {
            let mut run = trial.start::<B>(&faults());
            let known = run.know_everything();
            run.faults[branch].arm(failure.plan(step));
            let found = run.mounted.core.apply(trial.op);
            let Some(failed) = run.faults[branch].failed() else {
                continue;
            };
            run.faults[branch].arm(Plan::Watch);
            let errno = failure.errno();
            let place = |message| {
                format!(
                    "{errno} at step {step} of {steps} on branch {branch} ({failed}), \
                     answer {found}: {message}"
                )
            };
            run.after_fault(&found, failed, failure).map_err(place)?;
            // Either what the union knows or what it finds out anew may be wrong.
            let known = match step % 2 {
                0 => known,
                _ => {
                    drop(known);
                    run.check_remount().map_err(place)?;
                    Vec::new()
                }
            };
            run.take_down(known).map_err(place)?;
        }
    }
    Ok(count)
}

/// Demands of the last of `steps` (see [`crate::scenario`]) that nothing that
/// goes wrong inside it shows anything but the states before and after it. The
/// branches (top first, as [`crate::scenario`] has layers) are written, or not;
/// they have the marks of overlayfs, of AuFS, and of both by turns. They lie in
/// memory, and for a crash on directories too.
pub fn survives(branches: &[(Permission, &str)], policies: Policies, steps: &[&str]) {
    for marks in [
        &[Marks::Overlay][..],
        &[Marks::Aufs],
        &[Marks::AufsAlwaysOpaque, Marks::Overlay],
    ] {
        survive::<Memory>(&case_of(branches, marks, policies, steps));
    }
    let case = case_of(branches, &[Marks::Overlay, Marks::Aufs], policies, steps);
    survive::<Memory>(&case);
    if !skip(root()) {
        crash::<Directory>(&case, End::Crash).unwrap_or_else(|message| panic!("{case}{message}"));
    }
}

/// A case of branches with these marks, by turns.
pub fn case_of(
    branches: &[(Permission, &str)],
    marks: &[Marks],
    policies: Policies,
    steps: &[&str],
) -> PoolCase {
    let branches = branches.iter().zip(marks.iter().cycle()).enumerate();
    let branches = branches.map(|(index, ((permission, text), marks))| Branch {
        root: layer(text, index),
        permission: *permission,
        marks: *marks,
        free: FREE,
    });
    let steps = steps.iter().map(|step| Step::Op(parse(step).0));
    PoolCase {
        branches: branches.collect(),
        policies,
        steps: steps.collect(),
    }
}

fn survive<B: Backing>(case: &PoolCase) {
    let fail = |message: String| -> u64 { panic!("{case}{message}") };
    let cuts = crash::<B>(case, End::Crash).unwrap_or_else(fail);
    assert!(cuts > 0, "{case}nothing was changed");
    for end in [End::BranchGone, End::Lost(Errno::IO)] {
        crash::<B>(case, end).unwrap_or_else(fail);
    }
    for failure in [
        Failure::Once(Scope::Changes, Errno::NOSPC),
        Failure::Once(Scope::All, Errno::IO),
        Failure::Full(Errno::NOSPC),
    ] {
        fault::<B>(case, failure).unwrap_or_else(fail);
    }
}

/// A case whose last operation is the one that goes wrong.
struct Trial<'a> {
    case: &'a PoolCase,
    history: Vec<&'a Op>,
    op: &'a Op,
    /// Before the operation, first without anything copied up.
    before: Vec<Pool>,
    after: Pool,
    /// The same on a branch above, where the policy has one for what its own
    /// has no room for. What is replaced stays below it, hidden, and is still
    /// one of the names of its object.
    above: Vec<Pool>,
    outcome: Outcome,
}

impl<'a> Trial<'a> {
    /// `None` if the last step is none that a branch could fail.
    fn new(case: &'a PoolCase) -> Option<Trial<'a>> {
        let mut history = Vec::new();
        for step in &case.steps {
            match step {
                Step::Op(op) => history.push(op),
                Step::Change(_) => return None,
            }
        }
        let op = history.pop().filter(|op| **op != Op::Remount)?;
        let mut pool = case.pool();
        for op in &history {
            pool.apply(op);
        }
        let before = with_copies(&pool, op);
        let above = done_above(&pool, op);
        let outcome = pool.apply(op);
        Some(Trial {
            case,
            history,
            op,
            before,
            after: pool,
            above,
            outcome,
        })
    }

    /// The pool as it is before the last operation.
    fn start<B: Backing>(&self, faults: &[Arc<Faults>]) -> Run<'_, B> {
        let mut mounted = Mounted::with_faults(self.case, faults);
        for op in &self.history {
            mounted.core.apply(op);
        }
        let read_only = mounted.bytes();
        Run {
            trial: self,
            faults: faults.to_vec(),
            mounted,
            read_only,
        }
    }

    fn is_before(&self, shown: &Seen) -> Result<(), String> {
        let mut first = Ok(());
        for pool in &self.before {
            match same_but_times("not the state before", &pool.look(), shown) {
                Ok(()) => return Ok(()),
                Err(message) => first = first.and(Err(message)),
            }
        }
        first
    }

    fn is_after(&self, shown: &Seen) -> Result<(), String> {
        same_but_times("not the state after", &self.after.look(), shown)
    }

    /// The same where the branch that failed may have been left for another.
    fn is_after_all(&self, failure: Failure, shown: &Seen) -> Result<(), String> {
        let is_after = self.is_after(shown);
        let mut above = self.above.iter();
        match failure.errno() {
            Errno::NOSPC | Errno::DQUOT
                if above.any(|pool| same_but_times("", &pool.look(), shown).is_ok()) =>
            {
                Ok(())
            }
            _ => is_after,
        }
    }
}

/// `pool` after `op`, done on each branch above that of what it is about.
fn done_above(pool: &Pool, op: &Op) -> Vec<Pool> {
    let Op::Rename { from, .. } = op else {
        return Vec::new();
    };
    let branches = 0..pool.branches().len();
    branches
        .map(|index| {
            let mut pool = pool.clone();
            pool.lift_at(index, &from.path());
            pool.apply(op);
            pool
        })
        .collect()
}

struct Run<'a, B> {
    trial: &'a Trial<'a>,
    /// Of each branch.
    faults: Vec<Arc<Faults>>,
    mounted: Mounted<B>,
    /// What lies on branches that nobody may change.
    read_only: Vec<Option<Tree>>,
}

impl<B: Backing> Run<'_, B> {
    /// Looks everything up and keeps it known, as a kernel does that has it
    /// in its caches.
    fn know_everything(&self) -> Vec<Arc<Inode>> {
        everything(self.mounted.core.union())
    }

    /// The steps that the operation makes on a branch.
    fn count_steps(mut self, branch: usize) -> Result<u64, String> {
        let known = self.know_everything();
        self.faults[branch].arm(Plan::Watch);
        let found = self.mounted.core.apply(self.trial.op);
        drop(known);
        let expected = &self.trial.outcome;
        match agree(expected, &found) {
            true => Ok(self.faults[branch].steps()),
            false => Err(format!("expected {expected}, found {found}")),
        }
    }

    fn after_crash(&mut self) -> Result<(), String> {
        let shown = self.mounted.core.look()?;
        if let Err(before) = self.trial.is_before(&shown) {
            let after = self.trial.is_after(&shown);
            after.map_err(|after| format!("{before}\n    {after}"))?;
        }
        self.check_storage(&shown)?;
        nothing_is_left(self.mounted.core.litter())
    }

    fn after_fault(
        &mut self,
        found: &Outcome,
        failed: &str,
        failure: Failure,
    ) -> Result<(), String> {
        let shown = self.mounted.core.look()?;
        self.check_storage(&shown)?;
        if failed != "discard" {
            nothing_is_left(self.mounted.core.litter())?;
        }
        nothing_is_left(self.mounted.unfinished())?;
        let trial = self.trial;
        if agree(&trial.outcome, found) {
            trial.is_after_all(failure, &shown)?;
            return self.check_held(&trial.after);
        }
        let errno = failure.errno();
        if *found != Outcome::Failed(errno) {
            return Err(format!("expected {} or {errno}", trial.outcome));
        }
        match (trial.is_before(&shown), failure.scope()) {
            (Ok(()), _) => {}
            // What was done cannot be looked at: it is done all the same.
            (Err(_), Scope::All) => return trial.is_after(&shown),
            (Err(message), Scope::Changes) => return Err(message),
        }
        self.check_held(&trial.before[0])?;
        let again = self.mounted.core.apply(trial.op);
        if !agree(&trial.outcome, &again) {
            let expected = &trial.outcome;
            return Err(format!("tried again: expected {expected}, found {again}"));
        }
        let tried_again = |message| format!("tried again: {message}");
        let shown = self.mounted.core.look()?;
        let is_after = trial.is_after_all(failure, &shown);
        is_after.map_err(tried_again)?;
        self.check_storage(&shown).map_err(tried_again)?;
        self.check_held(&trial.after).map_err(tried_again)
    }

    /// What is held open is what the model holds open.
    fn check_held(&mut self, pool: &Pool) -> Result<(), String> {
        let mut pool = pool.clone();
        for slot in 0..2 {
            if opened_by(self.trial.op) == Some(slot) {
                continue;
            }
            let op = Op::ReadHeld { slot };
            let (expected, found) = (pool.apply(&op), self.mounted.core.apply(&op));
            if !agree(&expected, &found) {
                return Err(format!("{op}: expected {expected}, found {found}"));
            }
        }
        Ok(())
    }

    /// Whether what is seen is what the branches store, and those that nobody
    /// may change are as they were, byte by byte.
    fn check_storage(&self, shown: &Seen) -> Result<(), String> {
        for (before, now) in self.read_only.iter().zip(self.mounted.bytes()) {
            if let (Some(before), Some(now)) = (before, now)
                && *before != now
            {
                let difference = difference(before, &now);
                return Err(format!("a read-only branch was written:\n{difference}"));
            }
        }
        same(
            "the union is not what is stored",
            &self.model().look(),
            shown,
        )
    }

    /// A pool of what the branches store.
    fn model(&self) -> Pool {
        let case = self.trial.case;
        Pool::new(&self.mounted.branches(case), case.policies)
    }

    fn check_remount(&mut self) -> Result<(), String> {
        let live = self.mounted.core.look()?;
        self.mounted.core.apply(&Op::Remount);
        let fresh = self.mounted.core.look()?;
        same("a remount shows something else", &live, &fresh)
    }

    /// Makes something in each directory, changes all that is seen, and
    /// removes it, while these inodes are `known`.
    fn take_down(&mut self, known: Vec<Arc<Inode>>) -> Result<(), String> {
        for slot in 0..2 {
            self.mounted.core.apply(&Op::Close { slot });
        }
        let mut pool = self.model();
        let places = uses(&pool.look(), self.trial.case.policies.create);
        for op in places {
            self.both(&mut pool, &op)?;
        }
        let used = self.mounted.core.look()?;
        same_but_times("used afterwards", &pool.look(), &used)?;
        for op in removals(&used) {
            self.both(&mut pool, &op)?;
        }
        let left = self.mounted.core.look()?;
        same_but_times("taken down", &pool.look(), &left)?;
        nothing_is_left(self.mounted.unfinished())?;
        drop(known);
        self.mounted.core.apply(&Op::Remount);
        nothing_is_left(self.mounted.core.litter())?;
        let left = self.mounted.core.look()?;
        same_but_times("taken down and mounted again", &pool.look(), &left)
    }

    fn both(&mut self, pool: &mut Pool, op: &Op) -> Result<(), String> {
        let (expected, found) = (pool.apply(op), self.mounted.core.apply(op));
        match agree(&expected, &found) {
            true => Ok(()),
            false => Err(format!(
                "used afterwards: {op}: expected {expected}, found {found}"
            )),
        }
    }
}

fn nothing_is_left(litter: Vec<String>) -> Result<(), String> {
    match &litter[..] {
        [] => Ok(()),
        litter => Err(format!("this is left: {litter:?}")),
    }
}

/// Something new in each directory, and a change of everything.
fn uses(seen: &Seen, create: Create) -> Vec<Op> {
    let mut ops = Vec::new();
    for (path, sight) in seen {
        ops.push(Op::Chmod {
            path: path.clone(),
            mode: 0o751,
        });
        // A turn is not to be told from what is stored, and it may be that of a
        // branch where nothing can be made.
        if sight.kind.is_dir() && create != Create::RoundRobin {
            ops.push(Op::Make {
                at: Place {
                    parent: path.clone(),
                    name: NameBuf::new(b"later").unwrap(),
                },
                object: Object::File,
                mode: 0o644,
                umask: Umask(0),
            });
        }
    }
    ops
}

/// From the bottom up: what lies in a directory comes after it.
fn removals(seen: &Seen) -> Vec<Op> {
    let names = seen.iter().rev();
    let removal = |(path, sight): (&Path, &Sight)| {
        let (name, parent) = path.0.split_last()?;
        let at = Place {
            parent: Path(parent.to_vec()),
            name: name.clone(),
        };
        Some(match sight.kind.is_dir() {
            true => Op::Rmdir { at },
            false => Op::Unlink { at },
        })
    };
    names.filter_map(removal).collect()
}
