//! A writable storage that fails on demand: wrapped around another, it counts
//! every step that changes something and fails by [`Plan`].
//!
//! A **cut** is a crash: from step `n` on nothing changes any more, whatever
//! the union tries; then the union is dropped and the storage is mounted
//! again. A **fault** is one step that fails and leaves no trace. A **lost
//! answer** is one that is done, and told to have failed.
//!
//! Nodes and open files are wrapped too, and unwrapped where one is passed to
//! the storage below, which knows only its own.

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use overlay_core::error::{Errno, Error, Result};
use overlay_core::layer::{
    Capabilities, Discard, New, NewKind, RenameMode, Storage, WritableNode, WritableStorage,
};
use overlay_core::name::Name;
use overlay_core::spec::{Dir, Index, Stored};
use overlay_core::{Attr, FileHandle, Stack, Store};
use parking_lot::Mutex;

use crate::subject::core::storages::Storages;

mod file;
mod node;

use node::FaultyNode;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Nothing; steps are counted.
    Watch,
    /// From this step on, counted from 1, no change succeeds.
    CutAt(u64),
    /// This step, counted from 1, fails with this errno; all others work.
    FaultAt(u64, Errno),
    /// From this step on, counted from 1, nothing that needs room succeeds: it
    /// fails with this errno. All else works.
    FullFrom(u64, Errno),
    /// This step, counted from 1, is done, and told to have failed with this
    /// errno.
    LostAt(u64, Errno),
    /// Nothing, but now and then a step waits, so that threads meet in the
    /// middle of a verb.
    Dawdle,
}

/// How long a dawdling step waits: longer than another thread needs to wake.
const PAUSE: Duration = Duration::from_micros(60);

/// What a step asks of the filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Room for something new.
    Room,
    /// None: it takes away, changes what is there, or only looks.
    Nothing,
}

/// Which steps count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those that change the storage.
    Changes,
    /// Those that only look, too.
    All,
}

/// What the filesystem below cannot, in every step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lacks {
    /// It can all that the wrapped storage can.
    Nothing,
    /// `RENAME_WHITEOUT`.
    RenameWhiteout,
    /// Device 0:0, made in whatever way.
    Devices,
}

/// The plan of a storage, and how far it got. Shared by everything wrapped.
#[derive(Debug)]
pub struct Faults {
    scope: Scope,
    lacks: Lacks,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    plan: Plan,
    steps: u64,
    /// The first step that failed.
    failed: Option<&'static str>,
    /// What a step is told when it is done.
    lost: Option<Error>,
    /// Objects in the work area.
    staged: i64,
}

impl Faults {
    /// Nothing goes wrong yet.
    pub fn new(scope: Scope) -> Arc<Faults> {
        Faults::on(Lacks::Nothing, scope)
    }

    /// The same on a filesystem that lacks something.
    pub fn on(lacks: Lacks, scope: Scope) -> Arc<Faults> {
        Arc::new(Faults {
            scope,
            lacks,
            state: Mutex::new(State {
                plan: Plan::Watch,
                steps: 0,
                failed: None,
                lost: None,
                staged: 0,
            }),
        })
    }

    /// From now on, with steps counted from 1 again.
    pub fn arm(&self, plan: Plan) {
        let mut state = self.state.lock();
        state.plan = plan;
        state.steps = 0;
        state.failed = None;
        state.lost = None;
    }

    /// How many steps were tried since [`Faults::arm`].
    pub fn steps(&self) -> u64 {
        self.state.lock().steps
    }

    /// The first step that failed since [`Faults::arm`].
    pub fn failed(&self) -> Option<&'static str> {
        self.state.lock().failed
    }

    /// A step that needs no room.
    fn change(&self, what: &'static str) -> Result<()> {
        self.step(what, Needs::Nothing)
    }

    /// A step that adds something.
    fn add(&self, what: &'static str) -> Result<()> {
        self.step(what, Needs::Room)
    }

    /// A step that gives something a name, or another one: an exchange adds
    /// none.
    fn name(&self, what: &'static str, mode: RenameMode) -> Result<()> {
        match mode {
            RenameMode::Exchange => self.change(what),
            RenameMode::Replace | RenameMode::NoReplace | RenameMode::Whiteout => self.add(what),
        }
    }

    fn step(&self, what: &'static str, needs: Needs) -> Result<()> {
        let mut state = self.state.lock();
        state.steps += 1;
        // The step that was to be told of it failed by itself.
        state.lost = None;
        let errno = match state.plan {
            Plan::Watch => return Ok(()),
            Plan::Dawdle => {
                let die = scattered(state.steps);
                drop(state);
                match die % 8 {
                    0 => thread::sleep(PAUSE),
                    1..4 => thread::yield_now(),
                    _ => {}
                }
                return Ok(());
            }
            Plan::CutAt(at) if state.steps >= at => Errno::IO,
            Plan::FaultAt(at, errno) if state.steps == at => errno,
            Plan::FullFrom(at, errno) if state.steps >= at && needs == Needs::Room => errno,
            Plan::LostAt(at, errno) if state.steps == at => {
                state.failed.get_or_insert(what);
                state.lost = Some(Error::system(what, "a lost answer", errno));
                return Ok(());
            }
            Plan::CutAt(_) | Plan::FaultAt(..) | Plan::FullFrom(..) | Plan::LostAt(..) => {
                return Ok(());
            }
        };
        state.failed.get_or_insert(what);
        Err(Error::system(what, "a planned failure", errno))
    }

    /// What is told of a step that was made.
    fn told<T>(&self, answer: Result<T>) -> Result<T> {
        let lost = self.state.lock().lost.take();
        match (lost, answer) {
            (Some(error), Ok(_)) => Err(error),
            (Some(_) | None, answer) => answer,
        }
    }

    fn look(&self, what: &'static str) -> Result<()> {
        match self.scope {
            Scope::Changes => Ok(()),
            Scope::All => self.change(what),
        }
    }

    /// What the filesystem says to a new object.
    fn permit(&self, new: &New<'_>) -> Result<()> {
        match (self.lacks, new.kind) {
            (Lacks::Devices, NewKind::CharDevice(0)) => {
                Err(Error::system("mknod", "a device 0:0", Errno::PERM))
            }
            _ => Ok(()),
        }
    }

    /// What it says to a mode of rename.
    fn permit_rename(&self, mode: RenameMode) -> Result<()> {
        match (self.lacks, mode) {
            (Lacks::Devices | Lacks::RenameWhiteout, RenameMode::Whiteout) => {
                Err(Error::Invalid("no RENAME_WHITEOUT here"))
            }
            _ => Ok(()),
        }
    }

    /// How many objects lie in the work area.
    pub fn staged(&self) -> i64 {
        self.state.lock().staged
    }

    fn count_staged(&self, by: i64) {
        self.state.lock().staged += by;
    }
}

/// A number that looks random, made from a counter (the finaliser of
/// splitmix64).
fn scattered(number: u64) -> u64 {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// The wrapped storage.
#[derive(Debug)]
pub struct Faulty {
    inner: Arc<dyn WritableStorage>,
    faults: Arc<Faults>,
}

impl Faulty {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn WritableStorage>, faults: &Arc<Faults>) -> Arc<Faulty> {
        Arc::new(Faulty {
            inner,
            faults: Arc::clone(faults),
        })
    }
}

impl WritableStorage for Faulty {
    fn root(&self) -> Arc<dyn WritableNode> {
        FaultyNode::wrap(self.inner.root(), &self.faults)
    }

    fn capabilities(&self) -> Capabilities {
        let can = self.inner.capabilities();
        match self.faults.lacks {
            Lacks::Nothing => can,
            Lacks::RenameWhiteout => Capabilities {
                rename_whiteout: false,
                ..can
            },
            Lacks::Devices => Capabilities {
                rename_whiteout: false,
                whiteout_device: false,
                ..can
            },
        }
    }

    fn stage(&self, new: &New<'_>) -> Result<Arc<dyn WritableNode>> {
        self.faults.permit(new)?;
        self.faults.add("stage")?;
        let node = self.inner.stage(new)?;
        self.faults.count_staged(1);
        self.faults.told(Ok(FaultyNode::wrap(node, &self.faults)))
    }

    fn publish(
        &self,
        staged: &dyn WritableNode,
        dir: &dyn WritableNode,
        name: &Name,
        mode: RenameMode,
        displaced: Option<&dyn WritableNode>,
    ) -> Result<Option<Arc<dyn WritableNode>>> {
        self.faults.name("publish", mode)?;
        let out = self.inner.publish(
            node::below(staged),
            node::below(dir),
            name,
            mode,
            displaced.map(node::below),
        )?;
        self.faults.count_staged(if out.is_some() { 0 } else { -1 });
        let out = out.map(|node| FaultyNode::wrap(node, &self.faults));
        self.faults.told(Ok(out))
    }

    fn withdraw(&self, dir: &dyn WritableNode, name: &Name, node: &dyn WritableNode) -> Result<()> {
        self.faults.change("withdraw")?;
        self.inner
            .withdraw(node::below(dir), name, node::below(node))?;
        self.faults.count_staged(1);
        self.faults.told(Ok(()))
    }

    fn discard(&self, staged: &dyn WritableNode, keep: Discard) -> Result<()> {
        self.faults.change("discard")?;
        self.inner.discard(node::below(staged), keep)?;
        self.faults.count_staged(-1);
        self.faults.told(Ok(()))
    }

    fn clear_work(&self) -> Result<()> {
        self.faults.change("clear_work")?;
        self.inner.clear_work()?;
        self.faults.state.lock().staged = 0;
        self.faults.told(Ok(()))
    }

    fn index(&self) -> Result<Arc<dyn WritableNode>> {
        self.faults.change("index")?;
        let index = FaultyNode::wrap(self.inner.index()?, &self.faults);
        self.faults.told(Ok(index))
    }

    fn workdir(&self) -> Result<Option<Arc<dyn WritableNode>>> {
        let workdir = self.inner.workdir()?;
        Ok(workdir.map(|node| FaultyNode::wrap(node, &self.faults)))
    }

    fn attr_of_handle(&self, handle: &FileHandle) -> Result<Option<Attr>> {
        self.inner.attr_of_handle(handle)
    }

    fn mark_volatile(&self) -> Result<()> {
        self.faults.change("mark_volatile")?;
        self.faults.told(self.inner.mark_volatile())
    }
}

/// Storages whose writable branch fails on demand. Each new stack is the one
/// after a crash: the plan is over.
pub struct FaultyStorages<S> {
    inner: S,
    faults: Arc<Faults>,
}

impl<S: Storages> FaultyStorages<S> {
    /// Wraps the writable branch of what `inner` holds.
    pub fn new(inner: S, faults: &Arc<Faults>) -> FaultyStorages<S> {
        FaultyStorages {
            inner,
            faults: Arc::clone(faults),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for FaultyStorages<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<S: Storages> Storages for FaultyStorages<S> {
    fn stack(&self) -> Stack {
        self.faults.arm(Plan::Watch);
        let inner = self.inner.stack();
        let branches = inner.branches().iter();
        branches.fold(Stack::new(), |stack, branch| match &branch.storage {
            Store::ReadOnly(storage) => {
                let storage: Arc<dyn Storage> = Arc::clone(storage);
                match branch.data_only {
                    true => stack.data_only(storage),
                    false => stack.lower_as(storage, branch.dialect),
                }
            }
            Store::Writable(storage) => {
                let storage = Faulty::new(Arc::clone(storage), &self.faults);
                stack.upper_as(storage, branch.dialect)
            }
        })
    }

    fn rotate(&mut self) {
        self.inner.rotate();
    }

    fn stored(&self) -> Vec<Dir<Stored>> {
        self.inner.stored()
    }

    fn index(&self) -> Index {
        self.inner.index()
    }

    fn litter(&self) -> Vec<String> {
        let mut litter = self.inner.litter();
        let staged = self.faults.staged();
        if litter.is_empty() && staged != 0 {
            litter.push(format!("{staged} staged objects"));
        }
        litter
    }

    fn on_one_filesystem(&self) -> bool {
        self.inner.on_one_filesystem()
    }

    fn keeps_numbers(&self) -> bool {
        self.inner.keeps_numbers()
    }
}
