//! Pools on storages: the branches of a case as the engine gets them, changed
//! while they are mounted, and compared with the model after every step.
//!
//! After each the same is the result, what is seen of the whole tree, which
//! paths have which inode number, and what every branch stores: whiteouts,
//! opaque directories and hidden objects with all the rest. Branches that
//! cannot be written are as they were, byte by byte.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use overlay_core::dialect::Heed;
use overlay_core::dialect::aufs::{Aufs, Diropq, WhiteoutFiles};
use overlay_core::error::{Errno, Error};
use overlay_core::layer::Node;
use overlay_core::spec::generate::{PoolCase, Step};
use overlay_core::spec::pool::{Branch, Change, Create, Marks, Permission, Policies, laid_bare};
use overlay_core::spec::{Config, Dir, Op, Outcome, Path, Pool, Seen, Stored, Time, look};
use overlay_core::union::Options;
use overlay_core::{Dialect, Stack, Store};
use parking_lot::Mutex;

use crate::aufs::{AUFS, besides, decode, encode, fits, fitting_layer, temporaries};
use crate::branches::{Tree, difference, tree};
use crate::check::same;
use crate::faulty::{Faults, Faulty, Plan};
use crate::subject::Subject as _;
use crate::subject::core::Core;
use crate::subject::core::storages::Storages;

pub mod aim;
pub mod backing;
pub mod trial;

use backing::Backing;

/// A case that means the same on branches of overlayfs and of aufs, if it has
/// any of these.
pub fn fitting(mut case: PoolCase) -> PoolCase {
    let mut all: Vec<&mut Branch> = case.branches.iter_mut().collect();
    for step in &mut case.steps {
        let Step::Change(changes) = step else {
            continue;
        };
        for change in changes {
            match change {
                Change::Append(branch) | Change::Prepend(branch) | Change::Insert(_, branch) => {
                    all.push(branch);
                }
                Change::Remove(_) | Change::Mode(..) => {}
            }
        }
    }
    if all.iter().all(|branch| branch.marks == Marks::Overlay) {
        return case;
    }
    for branch in all {
        branch.root = fitting_layer(branch.root.clone());
    }
    case.steps.retain(|step| match step {
        Step::Op(op) => fits(op),
        Step::Change(_) => true,
    });
    case
}

/// Without policies that look at the space: all branches lie on one
/// filesystem, and others use it.
pub fn on_one_filesystem(case: PoolCase) -> PoolCase {
    let create = match case.policies.create {
        create @ (Create::TopDownParent
        | Create::RoundRobin
        | Create::FirstFound
        | Create::ExistingFirst) => create,
        Create::MostFree | Create::TopDownMostFree(_) => Create::RoundRobin,
        Create::LeastFree => Create::FirstFound,
        Create::ParentMostFree | Create::ExistingMostFree | Create::ExistingLeastFree => {
            Create::ExistingFirst
        }
    };
    let policies = Policies {
        create,
        ..case.policies
    };
    PoolCase { policies, ..case }
}

/// A branch where it is stored.
#[derive(Debug)]
struct Laid<B> {
    backing: Arc<B>,
    permission: Permission,
    marks: Marks,
    /// What goes wrong with it, if anything does.
    faults: Option<Arc<Faults>>,
}

impl<B> Clone for Laid<B> {
    /// The same branch.
    fn clone(&self) -> Laid<B> {
        Laid {
            backing: Arc::clone(&self.backing),
            faults: self.faults.clone(),
            ..*self
        }
    }
}

impl<B: Backing> Laid<B> {
    fn new(branch: &Branch) -> Laid<B> {
        let root = match branch.marks {
            Marks::Overlay => branch.root.clone(),
            Marks::Aufs | Marks::AufsAlwaysOpaque => encode(&branch.root),
        };
        let backing = B::new(&root, branch.free);
        Laid {
            backing: Arc::new(backing),
            permission: branch.permission,
            marks: branch.marks,
            faults: None,
        }
    }

    fn dialect(&self) -> Dialect {
        match self.marks {
            Marks::Overlay => Dialect::default(),
            Marks::Aufs => AUFS,
            Marks::AufsAlwaysOpaque => Dialect::Aufs(Aufs {
                opaque: Diropq::Always,
                whiteouts: WhiteoutFiles::Separate,
            }),
        }
    }

    fn heed(&self) -> Heed {
        match (self.permission, self.marks) {
            (Permission::Rw | Permission::RoWh, _) | (_, Marks::Overlay) => Heed::Marks,
            (Permission::Ro, Marks::Aufs | Marks::AufsAlwaysOpaque) => Heed::Nothing,
        }
    }

    fn store(&self) -> Store {
        match self.permission {
            Permission::Rw => Store::Writable(match &self.faults {
                None => self.backing.writable(),
                Some(faults) => Faulty::new(self.backing.writable(), faults),
            }),
            Permission::RoWh | Permission::Ro => Store::ReadOnly(self.backing.readable()),
        }
    }

    /// The branch in the words of the specification.
    fn stored(&self, index: usize) -> Dir<Stored> {
        let root = self.backing.load(index);
        match self.marks {
            Marks::Overlay => root,
            Marks::Aufs | Marks::AufsAlwaysOpaque => decode(root),
        }
    }

    /// Whether its marks are entries that it is written with.
    fn writes_names(&self) -> bool {
        let aufs = matches!(self.marks, Marks::Aufs | Marks::AufsAlwaysOpaque);
        aufs && self.permission == Permission::Rw
    }

    /// What no mount and no change leaves, however they end.
    fn litter(&self) -> Vec<String> {
        let mut litter = self.backing.litter();
        let staged = self.faults.iter().map(|faults| faults.staged());
        match staged.sum() {
            0_i64 => {}
            staged if litter.is_empty() => litter.push(format!("{staged} staged objects")),
            _ => {}
        }
        if self.writes_names() {
            litter.extend(temporaries(&self.backing.load(0)));
        }
        litter
    }

    /// What a change may leave only if it is cut short.
    fn unfinished(&self) -> Vec<String> {
        match self.writes_names() {
            true => besides(&self.backing.load(0)),
            false => Vec::new(),
        }
    }

    /// All that it stores, if nobody may change it.
    fn bytes(&self) -> Option<Tree> {
        let root: Arc<dyn Node> = self.backing.readable().root();
        (self.permission != Permission::Rw).then(|| tree(&*root))
    }
}

/// The branches of a pool, top first.
#[derive(Debug)]
struct Branches<B>(Mutex<Vec<Laid<B>>>);

impl<B: Backing> Storages for Branches<B> {
    fn stack(&self) -> Stack {
        let branches = self.0.lock();
        for branch in branches.iter() {
            branch.backing.close();
            // This is the mount after a crash: the plan is over.
            let faults = branch.faults.iter();
            faults.for_each(|faults| faults.arm(Plan::Watch));
        }
        let mut stack = Stack::new();
        for (index, branch) in branches.iter().enumerate() {
            stack.insert(index, branch.store(), branch.dialect(), branch.heed());
        }
        stack
    }

    fn rotate(&mut self) {
        unreachable!("pools do not rotate");
    }

    fn stored(&self) -> Vec<Dir<Stored>> {
        let branches = self.0.lock();
        let branches = branches.iter().enumerate();
        branches
            .map(|(index, branch)| branch.stored(index))
            .collect()
    }

    fn litter(&self) -> Vec<String> {
        let branches = self.0.lock();
        branches.iter().flat_map(Laid::litter).collect()
    }
}

/// A mounted pool.
struct Mounted<B> {
    core: Core,
    branches: Arc<Branches<B>>,
}

impl<B> fmt::Debug for Mounted<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mounted")
            .field("core", &self.core)
            .finish_non_exhaustive()
    }
}

fn options(policies: Policies) -> Options {
    Options {
        create: policies.create.to_string().parse().unwrap(),
        copy_up: policies.copy_up.to_string().parse().unwrap(),
        ..Options::default()
    }
}

impl<B: Backing> Mounted<B> {
    fn new(case: &PoolCase) -> Mounted<B> {
        Mounted::with_faults(case, &[])
    }

    /// With what goes wrong on each branch, top first.
    fn with_faults(case: &PoolCase, faults: &[Arc<Faults>]) -> Mounted<B> {
        let laid = case.branches.iter().enumerate();
        let laid = laid.map(|(index, branch)| Laid {
            faults: faults.get(index).map(Arc::clone),
            ..Laid::new(branch)
        });
        let laid = laid.collect();
        let branches = Arc::new(Branches(Mutex::new(laid)));
        let writable = case.branches.iter().any(|b| b.permission == Permission::Rw);
        let storages = Box::new(Arc::clone(&branches));
        let options = options(case.policies);
        let core = Core::with_options(storages, writable, Config::default(), options);
        Mounted { core, branches }
    }

    /// The branches as they are now, in the words of the specification.
    fn branches(&self, case: &PoolCase) -> Vec<Branch> {
        let laid = self.branches.0.lock();
        let laid = laid.iter().zip(&case.branches).enumerate();
        laid.map(|(index, (laid, branch))| Branch {
            root: laid.stored(index),
            ..branch.clone()
        })
        .collect()
    }

    /// All that lies on the branches that nobody may change.
    fn bytes(&self) -> Vec<Option<Tree>> {
        self.branches.0.lock().iter().map(Laid::bytes).collect()
    }

    fn unfinished(&self) -> Vec<String> {
        let laid = self.branches.0.lock();
        laid.iter().flat_map(Laid::unfinished).collect()
    }

    fn change(&mut self, changes: &[Change]) -> Outcome {
        let mut laid = self.branches.0.lock().clone();
        let changed = self.core.change(|mut stack| {
            for change in changes {
                change_one(change, &mut stack, &mut laid)?;
            }
            match laid.is_empty() {
                true => Err(Error::Busy("the last branch")),
                false => Ok(stack),
            }
        });
        match changed {
            Ok(()) => {
                *self.branches.0.lock() = laid;
                Outcome::Done
            }
            Err(error) => Outcome::Failed(error.errno()),
        }
    }
}

fn change_one<B: Backing>(
    change: &Change,
    stack: &mut Stack,
    laid: &mut Vec<Laid<B>>,
) -> overlay_core::Result<()> {
    let id = |stack: &Stack, index: usize| stack.branches().get(index).map(|branch| branch.id);
    let mut insert = |stack: &mut Stack, index: usize, branch: &Branch| {
        let branch = Laid::new(branch);
        stack.insert(index, branch.store(), branch.dialect(), branch.heed());
        laid.insert(index, branch);
    };
    let count = stack.branches().len();
    match change {
        Change::Append(branch) => insert(stack, count, branch),
        Change::Prepend(branch) => insert(stack, 0, branch),
        Change::Insert(index, branch) if *index <= count => insert(stack, *index, branch),
        Change::Insert(..) => return Err(Error::Errno(Errno::INVAL)),
        Change::Remove(index) => {
            let id = id(stack, *index).ok_or(Error::Errno(Errno::INVAL))?;
            stack.remove(id)?;
            laid.remove(*index);
        }
        Change::Mode(index, permission) => {
            let id = id(stack, *index).ok_or(Error::Errno(Errno::INVAL))?;
            let now = stack.branch(id).ok_or(Error::NotFound)?.storage.clone();
            let branch = &mut laid[*index];
            branch.permission = *permission;
            let store = match permission {
                Permission::Rw => branch.store(),
                Permission::RoWh | Permission::Ro => now.frozen(),
            };
            stack.set_access(id, store, branch.heed())?;
        }
    }
    Ok(())
}

/// Runs `case` on branches of this kind; the first difference as a message.
pub fn check<B: Backing>(case: &PoolCase) -> Result<(), String> {
    let mut run = Run {
        pool: case.pool(),
        mounted: Mounted::<B>::new(case),
        numbers: BTreeMap::new(),
    };
    run.compare()
        .map_err(|message| format!("before the first step: {message}"))?;
    for (index, step) in case.steps.iter().enumerate() {
        let place = |message| format!("after {index}: {step}\n    {message}");
        let before: Vec<_> = run.mounted.branches.0.lock().clone();
        let before: Vec<_> = before
            .into_iter()
            .map(|branch| (branch.bytes(), branch))
            .collect();
        run.step(step).map_err(place)?;
        for (bytes, branch) in before {
            let Some(bytes) = bytes else { continue };
            let now = tree(&*branch.backing.readable().root());
            let is_same = now == bytes || branch_can_be_written(&run, &branch);
            if !is_same {
                return Err(place(format!(
                    "a read-only branch was written:\n{}",
                    difference(&bytes, &now)
                )));
            }
        }
        run.compare().map_err(place)?;
    }
    Ok(())
}

/// Whether a change has made it so.
fn branch_can_be_written<B: Backing>(run: &Run<B>, branch: &Laid<B>) -> bool {
    let branches = run.mounted.branches.0.lock();
    let mut same = branches
        .iter()
        .filter(|now| Arc::ptr_eq(&now.backing, &branch.backing));
    same.any(|now| now.permission == Permission::Rw)
}

struct Run<B> {
    pool: Pool,
    mounted: Mounted<B>,
    /// The union's inode number for each of the model's.
    numbers: BTreeMap<u64, u64>,
}

impl<B: Backing> Run<B> {
    fn step(&mut self, step: &Step) -> Result<(), String> {
        let (expected, found) = match step {
            Step::Op(op) => {
                if *op == Op::Remount {
                    self.numbers.clear();
                }
                (self.pool.apply(op), self.mounted.core.apply(op))
            }
            Step::Change(changes) => {
                let before = self.pool.clone();
                let both = (self.pool.change(changes), self.mounted.change(changes));
                self.keep_numbers_of(&before);
                both
            }
        };
        let agree = match (&expected, &found) {
            (Outcome::Sight(expected), Outcome::Sight(found)) => expected.agrees(found),
            (expected, found) => expected == found,
        };
        match agree {
            true => Ok(()),
            false => Err(format!("expected {expected}\n    found    {found}")),
        }
    }

    /// Numbers stay of what shows where it did from where it did.
    fn keep_numbers_of(&mut self, before: &Pool) {
        let (old, new) = (before.look(), self.pool.look());
        let stays = |path: &Path| before.home(path) == self.pool.home(path);
        let kept = new
            .iter()
            .filter(|(path, _)| old.contains_key(path) && stays(path));
        let kept: Vec<u64> = kept.map(|(_, sight)| sight.ino).collect();
        self.numbers.retain(|number, _| kept.contains(number));
    }

    fn compare(&mut self) -> Result<(), String> {
        let shown = self.mounted.core.look()?;
        let expected = self.pool.look();
        same("the model and the union differ", &expected, &shown)?;
        for (path, sight) in &expected {
            let found = shown[path].ino;
            let before = *self.numbers.entry(sight.ino).or_insert(found);
            if before != found {
                return Err(format!(
                    "the inode number of {path} was {before} and is {found}"
                ));
            }
        }
        for (index, found) in self.mounted.core.stored().iter().enumerate() {
            let mut expected = self.pool.look_at_branch(index);
            let mut found = look(&laid_bare(found));
            forget_times(&mut expected);
            forget_times(&mut found);
            same(
                &format!("branch {index} stores something else"),
                &expected,
                &found,
            )?;
        }
        match [self.mounted.core.litter(), self.mounted.unfinished()].concat() {
            litter if litter.is_empty() => Ok(()),
            litter => Err(format!("this is left: {litter:?}")),
        }
    }
}

/// Times of directories that do not show are nobody's.
fn forget_times(seen: &mut Seen) {
    let directories = seen.values_mut().filter(|sight| sight.kind.is_dir());
    directories.for_each(|sight| sight.mtime = Time::Unknown);
}
