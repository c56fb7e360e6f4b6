//! The model of several writable branches, held to what it must not differ
//! from: the model of one, and a filesystem without layers.
//!
//! `UFS_CASES=20000 cargo test -p overlay-tests --test pool_model` for more
//! cases, `UFS_SEED=...` to repeat a failure.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::collections::{BTreeMap, BTreeSet};

use overlay_core::Timestamp;
use overlay_core::spec::generate::{
    Case, PoolCase, Step, cases, policies, pools, pools_that_change,
};
use overlay_core::spec::pool::{Branch, Marks, Permission};
use overlay_core::spec::{
    Config, Dir, Errno, Id, Leaf, Model, Op, Outcome, Path, Pool, Rules, Seen, Sight, Stored, Time,
    Visible,
};
use overlay_tests::check::same;
use overlay_tests::runner::{case_count, run};
use proptest::strategy::Strategy;

const LENGTH: usize = 25;

#[test]
fn a_pool_of_which_the_top_is_written_is_what_the_model_says() {
    let cases = (cases(1..=5, LENGTH), policies()).prop_map(|(case, policies)| {
        let Case {
            layers,
            writable,
            ops,
            ..
        } = case;
        let layers = layers.into_iter().enumerate();
        let branches = layers.map(|(index, root)| Branch {
            root,
            permission: match index {
                0 if writable => Permission::Rw,
                _ => Permission::RoWh,
            },
            marks: Marks::Overlay,
            free: index as u64,
        });
        PoolCase {
            branches: branches.collect(),
            policies,
            steps: ops.into_iter().map(Step::Op).collect(),
        }
    });
    run(case_count(500), cases, |case| {
        let layers: Vec<_> = case.branches.iter().map(|b| b.root.clone()).collect();
        let writable = case.branches[0].permission == Permission::Rw;
        let mut model = Model::new(&layers, writable, Rules::Union, Config::default());
        let mut pool = case.pool();
        let mut numbers = BTreeMap::new();
        same("at first", &model.look(), &pool.look())?;
        for (index, step) in case.steps.iter().enumerate() {
            let Step::Op(op) = step else { continue };
            let (expected, found) = (model.apply(op), pool.apply(op));
            let agree = match (&expected, &found) {
                (Outcome::Sight(expected), Outcome::Sight(found)) => expected.agrees(found),
                (expected, found) => expected == found,
            };
            if !agree {
                return Err(format!("{index}: {op}: expected {expected}, found {found}"));
            }
            let (expected, found) = (model.look(), pool.look());
            same(&format!("after {index}: {op}"), &expected, &found)?;
            for (path, sight) in expected {
                let ino = found[&path].ino;
                if *numbers.entry(sight.ino).or_insert(ino) != ino {
                    return Err(format!("{index}: {op}: {path} has another number"));
                }
            }
        }
        Ok(())
    });
}

/// A filesystem without layers that holds what a pool shows: the model of one
/// layer. Names of one object on a read-only branch are objects of their own
/// there, for so they are as soon as they change.
struct Plain {
    model: Model,
    /// The pool's number for each of the model's.
    numbers: BTreeMap<u64, u64>,
    /// The model's numbers of links that get numbers of their own when they
    /// break.
    whole: BTreeSet<u64>,
}

impl Plain {
    fn new(pool: &Pool) -> Plain {
        let mut flat = Flat {
            pool,
            numbers: 0,
            links: BTreeSet::new(),
        };
        let root = flat.dir(&Path::default(), &pool.view());
        let model = Model::new(&[root], true, Rules::Union, Config::default());
        let (seen, shown) = (model.look(), pool.look());
        let numbers = seen
            .iter()
            .map(|(path, sight)| (sight.ino, shown[path].ino));
        let whole = flat.links.iter().map(|path| seen[path].ino);
        Plain {
            numbers: numbers.collect(),
            whole: whole.collect(),
            model,
        }
    }

    fn apply(&mut self, op: &Op, found: &Outcome) -> Result<(), String> {
        if let Outcome::Failed(Errno::ROFS | Errno::XDEV) = found {
            // Only a union has these. What was in the slot is closed all the
            // same.
            if let Op::Create { slot, .. } | Op::Open { slot, .. } = op {
                self.model.apply(&Op::Close { slot: *slot });
            }
            return Ok(());
        }
        let expected = self.model.apply(op);
        let agree = match (&expected, found) {
            (Outcome::Sight(expected), Outcome::Sight(found)) => {
                let mut found = found.clone();
                found.nlink = expected.nlink;
                if found.kind.is_dir() {
                    found.mtime = Time::Unknown;
                }
                expected.agrees(&found)
            }
            (expected, found) => expected == found,
        };
        match agree {
            true => Ok(()),
            false => Err(format!("expected {expected}, found {found}")),
        }
    }

    /// All is the same but link counts, and times of directories whose topmost
    /// part is read-only: these stay.
    fn compare(&mut self, pool: &Pool) -> Result<(), String> {
        let mut found = pool.look();
        for (path, sight) in &found {
            if let (true, false, Time::At(mtime)) =
                (sight.kind.is_dir(), is_writable(pool, path), sight.mtime)
            {
                let path = path.clone();
                self.model.apply(&Op::SetMtime { path, mtime });
            }
        }
        let expected = self.model.look();
        for (path, sight) in &mut found {
            let Some(expected) = expected.get(path) else {
                continue;
            };
            let known = *self.numbers.entry(expected.ino).or_insert(sight.ino);
            if known != sight.ino && self.whole.remove(&expected.ino) {
                self.numbers.insert(expected.ino, sight.ino);
            } else if known != sight.ino {
                return Err(format!("the number of {path} was {known}: {sight}"));
            }
            sight.nlink = expected.nlink;
            sight.ino = expected.ino;
        }
        same("the pool is not a filesystem", &expected, &found)
    }
}

fn is_writable(pool: &Pool, path: &Path) -> bool {
    let home = pool.home(path).unwrap();
    let mut branches = pool.branches().iter();
    let branch = branches.find(|branch| branch.root.parts[0].layer == home.layer);
    branch.unwrap().permission == Permission::Rw
}

/// What a pool shows becomes one layer.
struct Flat<'a> {
    pool: &'a Pool,
    numbers: u64,
    /// Names that share a number with others and are objects of their own.
    links: BTreeSet<Path>,
}

impl Flat<'_> {
    fn dir(&mut self, path: &Path, dir: &Dir<Visible>) -> Dir<Stored> {
        let mut entries = BTreeMap::new();
        for (name, entry) in &dir.entries {
            let path = path.join(name);
            let entry = match entry {
                Visible::Dir(dir) => Stored::Dir(self.dir(&path, dir)),
                Visible::Leaf(leaf) => Stored::Leaf(self.leaf(&path, leaf)),
            };
            entries.insert(name.clone(), entry);
        }
        Dir {
            parts: vec![self.id(None)],
            opaque: false,
            redirect: None,
            entries,
            meta: Self::meta(self.pool, path, &dir.meta),
        }
    }

    fn leaf(&mut self, path: &Path, leaf: &Leaf) -> Leaf {
        let is_one = is_writable(self.pool, path) || leaf.links == 1;
        if !is_one {
            self.links.insert(path.clone());
        }
        Leaf {
            id: self.id(is_one.then_some(leaf.id)),
            links: 1,
            data: leaf.data.clone(),
            meta: Self::meta(self.pool, path, &leaf.meta),
        }
    }

    fn meta(pool: &Pool, path: &Path, meta: &overlay_core::spec::Meta) -> overlay_core::spec::Meta {
        let mut meta = meta.clone();
        meta.mtime = match pool.look()[path].mtime {
            Time::At(time) => time,
            Time::Recent | Time::Unknown => Timestamp::now(),
        };
        meta
    }

    /// Numbers of a pool are below those that are made up here.
    fn id(&mut self, own: Option<Id>) -> Id {
        self.numbers += 1;
        let number = own.map_or((1 << 32) + self.numbers, |id| id.number);
        Id { layer: 0, number }
    }
}

/// Nobody writes a read-only branch, and no two objects share a number.
fn check_pool(pool: &Pool, before: &[Branch]) -> Result<(), String> {
    for (index, (before, now)) in before.iter().zip(pool.branches()).enumerate() {
        if before.permission != Permission::Rw && before != now {
            return Err(format!("branch {index} was written: {before}became {now}"));
        }
    }
    let mut owners = BTreeMap::new();
    for (path, sight) in pool.look() {
        let home = pool.home(&path).unwrap();
        if *owners.entry(sight.ino).or_insert(home) != home {
            return Err(format!("{path} shares a number with another object"));
        }
    }
    Ok(())
}

fn run_plain(case: &PoolCase) -> Result<(), String> {
    let mut pool = case.pool();
    let mut plain = Plain::new(&pool);
    for (index, step) in case.steps.iter().enumerate() {
        let place = |message| format!("after {index}: {step}\n    {message}");
        let before = pool.branches().to_vec();
        match step {
            // A device 0:0 is one on branches of aufs alone.
            Step::Op(op) if op.to_string().contains("CharDevice 0x0") => continue,
            Step::Op(op) => {
                let found = pool.apply(op);
                plain.apply(op, &found).map_err(place)?;
                plain.compare(&pool).map_err(place)?;
                check_pool(&pool, &before).map_err(place)?;
            }
            Step::Change(changes) => {
                let old = pool.clone();
                if pool.change(changes) != Outcome::Done {
                    same("a change that failed", &old.look(), &pool.look()).map_err(place)?;
                    continue;
                }
                for (path, sight) in pool.look() {
                    let stays = old.home(&path) == pool.home(&path);
                    if stays && old.look()[&path].ino != sight.ino {
                        return Err(place(format!("the number of {path} has changed")));
                    }
                }
                check_pool(&pool, &[]).map_err(place)?;
                for slot in 0..2 {
                    pool.apply(&Op::Close { slot });
                }
                plain = Plain::new(&pool);
            }
        }
    }
    Ok(())
}

#[test]
fn a_pool_shows_what_a_filesystem_without_layers_would() {
    run(case_count(500), pools(1..=4, LENGTH), run_plain);
}

#[test]
fn a_pool_that_changes_shows_what_a_filesystem_without_layers_would() {
    run(case_count(500), pools_that_change(1..=4, LENGTH), run_plain);
}

/// What is seen, but for link counts: a directory that is made of several does
/// not count, and a link that is copied up breaks.
fn without_links(pool: &Pool) -> Seen {
    let sights = pool.look().into_iter();
    let bare = |sight| Sight {
        nlink: 0,
        ino: 0,
        ..sight
    };
    sights.map(|(path, sight)| (path, bare(sight))).collect()
}

#[test]
fn copying_up_and_making_parts_of_directories_changes_nothing_that_is_seen() {
    run(case_count(500), pools(1..=4, LENGTH), |case| {
        let pool = case.pool();
        let before = without_links(&pool);
        for path in before.keys() {
            let mut copied = pool.clone();
            copied.copy_up_at(path);
            let what = format!("{path} copied up");
            same(&what, &before, &without_links(&copied))?;
            for index in 0..case.branches.len() {
                let mut made = pool.clone();
                made.make_parts_at(index, path);
                let what = format!("{path} made on {index}");
                same(&what, &before, &without_links(&made))?;
            }
        }
        Ok(())
    });
}
