//! Operations on what is there. Of operations that are made up most do
//! nothing, for they name nothing; where the last operation of a history is
//! what a test is about, it had better change something.

use std::collections::BTreeSet;

use overlay_core::name::NameBuf;
use overlay_core::spec::generate::{PoolCase, Step};
use overlay_core::spec::{
    Access, Dir, Object, Op, Outcome, Path, Place, Pool, Presence, Rename, Seen, Stored, Umask,
};

/// Ends the history with an operation that the model says is done: which one,
/// `dice` says, and what sort of operation that is, `die`. It changes
/// something, or copies it up. Live changes are left out. Where nothing can be
/// done the history is as it was.
pub fn aimed(mut case: PoolCase, die: usize, dice: usize) -> PoolCase {
    case.steps.retain(|step| matches!(step, Step::Op(_)));
    let mut pool = case.pool();
    for step in &case.steps {
        if let Step::Op(op) = step {
            pool.apply(op);
        }
    }
    let targets = Targets::of(&pool);
    for sort in 0..SORTS {
        let ops = targets.ops((die + sort) % SORTS);
        let turned = ops.iter().cycle().skip(dice % ops.len().max(1));
        let mut turned = turned.take(ops.len());
        if let Some(op) = turned.find(|op| pool.clone().apply(op) == Outcome::Done) {
            case.steps.push(Step::Op(op.clone()));
            break;
        }
    }
    case
}

/// Sorts of operations.
pub const SORTS: usize = 12;

/// What operations can be about.
struct Targets {
    seen: Seen,
    /// Names in directories that are seen, which some branch stores, seen or
    /// not, and new ones.
    places: Vec<Place>,
}

impl Targets {
    fn of(pool: &Pool) -> Targets {
        let seen = pool.look();
        let mut places = BTreeSet::new();
        for branch in pool.branches() {
            stored_in(&branch.root, &Path::default(), &seen, &mut places);
        }
        Targets {
            seen,
            places: places.into_iter().collect(),
        }
    }

    fn paths(&self, is_dir: bool) -> impl Iterator<Item = &Path> {
        let paths = self.seen.iter();
        let meant = paths.filter(move |(_, sight)| sight.kind.is_dir() == is_dir);
        meant.map(|(path, _)| path)
    }

    fn free(&self) -> impl Iterator<Item = &Place> {
        let places = self.places.iter();
        places.filter(|place| !self.seen.contains_key(&place.path()))
    }

    fn taken(&self) -> impl Iterator<Item = &Place> {
        let places = self.places.iter();
        places.filter(|place| self.seen.contains_key(&place.path()))
    }

    fn renames(&self, is_dir: bool, how: Rename) -> Vec<Op> {
        let from = self.taken().filter(|from| {
            let sight = self.seen.get(&from.path());
            sight.is_some_and(|sight| sight.kind.is_dir() == is_dir)
        });
        from.flat_map(|from| {
            let to: Vec<&Place> = match how {
                Rename::NoReplace => self.free().collect(),
                Rename::Replace | Rename::Exchange => self.taken().collect(),
            };
            let to = to.into_iter().filter(move |to| *to != from);
            to.map(move |to| Op::Rename {
                from: from.clone(),
                to: to.clone(),
                how,
            })
        })
        .collect()
    }

    fn made(&self, object: &Object) -> Vec<Op> {
        let made = self.free().map(|at| Op::Make {
            at: at.clone(),
            object: object.clone(),
            mode: 0o750,
            umask: Umask(0o022),
        });
        made.collect()
    }

    fn ops(&self, sort: usize) -> Vec<Op> {
        match sort {
            0 => self.made(&Object::Dir),
            1 => self.made(&Object::File),
            2 => self
                .taken()
                .map(|at| Op::Unlink { at: at.clone() })
                .collect(),
            3 => self
                .taken()
                .map(|at| Op::Rmdir { at: at.clone() })
                .collect(),
            4 => self.renames(false, Rename::NoReplace),
            5 => self.renames(false, Rename::Replace),
            6 => self.renames(true, Rename::NoReplace),
            7 => self.renames(true, Rename::Replace),
            8 => {
                let mut both = self.renames(false, Rename::Exchange);
                both.extend(self.renames(true, Rename::Exchange));
                both
            }
            9 => {
                let links = self.paths(false).flat_map(|from| {
                    self.free().map(|to| Op::Link {
                        from: from.clone(),
                        to: to.clone(),
                    })
                });
                links.collect()
            }
            10 => {
                let contents = self.paths(false).flat_map(|path| {
                    let path = path.clone();
                    let data = b"more".to_vec();
                    [
                        Op::Append {
                            path: path.clone(),
                            data,
                        },
                        Op::Empty { path: path.clone() },
                        Op::Open {
                            slot: 0,
                            path,
                            access: Access::Write,
                        },
                    ]
                });
                contents.collect()
            }
            _ => {
                let attributes = self.seen.keys().flat_map(|path| {
                    let path = path.clone();
                    [
                        Op::Chmod {
                            path: path.clone(),
                            mode: 0o711,
                        },
                        Op::SetXattr {
                            path,
                            name: b"user.aim".to_vec(),
                            value: b"1".to_vec(),
                            how: Presence::Either,
                        },
                    ]
                });
                attributes.collect()
            }
        }
    }
}

fn stored_in(dir: &Dir<Stored>, path: &Path, seen: &Seen, places: &mut BTreeSet<Place>) {
    match seen.get(path) {
        Some(sight) if sight.kind.is_dir() => {}
        Some(_) | None => return,
    }
    let new = NameBuf::new(b"new").unwrap();
    for name in dir.entries.keys().chain([&new]) {
        places.insert(Place {
            parent: path.clone(),
            name: name.clone(),
        });
    }
    for (name, entry) in &dir.entries {
        match entry {
            Stored::Dir(below) => stored_in(below, &path.join(name), seen, places),
            Stored::Leaf(_) | Stored::Metacopy(_) | Stored::Whiteout => {}
        }
    }
}
