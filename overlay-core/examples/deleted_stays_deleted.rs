//! A lesson: state a property, and let a machine look for the history that
//! breaks it.
//!
//! The property is the first promise of a union filesystem: *what I deleted
//! stays deleted*. It sounds too simple to break. Yet the lower layers cannot
//! be written: what I deleted is still there, only hidden, and each later
//! operation can uncover it. The classic way: delete a directory, make a
//! directory of the same name. The whiteout that hid the old one is gone now
//! (a name is either a whiteout or a directory), so the new directory must say
//! by itself that it hides everything below. It must be *opaque*.
//!
//! Below are two small unions that differ in that one bit. The property holds
//! for one, and the machine finds out how to break the other.
//!
//! ```sh
//! cargo run -p overlay-core --features proptest --example deleted_stays_deleted
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::process::ExitCode;

use overlay_core::Name;
use overlay_core::spec::generate::{paths, stacks};
use overlay_core::spec::{Dir, Path, Stored, Visible, look, view};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};

/// What the user of a union does. Two verbs suffice, and remounting: then a
/// union has only its layers to go by, and nothing that it kept in memory.
#[derive(Debug, Clone)]
enum Step {
    RemoveAll(Path),
    MakeDir(Path),
    Remount,
}

/// The one difference between the two unions.
#[derive(Debug, Clone, Copy, PartialEq)]
enum NewDirectory {
    /// It is opaque wherever something would shine through.
    HidesWhatIsBelow,
    /// It is never opaque: the fault.
    HidesNothing,
}

/// A union of one writable layer on others, in forty lines. It stores marks
/// and leaves it to [`view`], the specification, what they mean to a reader.
struct Union {
    /// The writable layer first.
    layers: Vec<Dir<Stored>>,
    rule: NewDirectory,
}

impl Union {
    fn mount(layers: Vec<Dir<Stored>>, rule: NewDirectory) -> Union {
        Union { layers, rule }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::RemoveAll(path) => self.remove_all(path),
            Step::MakeDir(path) => self.make_dir(path),
            Step::Remount => {
                let layers = std::mem::take(&mut self.layers);
                *self = Union::mount(layers, self.rule);
            }
        }
    }

    /// Takes the entry out of the writable layer. Whatever is visible then
    /// comes from below, and a whiteout has to hide it.
    fn remove_all(&mut self, path: &Path) {
        if self.at(path).is_none() {
            return;
        }
        let entry = match self.shines_through(path) {
            true => Some(Stored::Whiteout),
            false => None,
        };
        self.store(path, entry);
    }

    fn make_dir(&mut self, path: &Path) {
        if self.at(path).is_some() {
            return;
        }
        let opaque = match self.rule {
            NewDirectory::HidesWhatIsBelow => self.shines_through(path),
            NewDirectory::HidesNothing => false,
        };
        let dir = Dir {
            opaque,
            ..Dir::new(0, [])
        };
        self.store(path, Some(Stored::Dir(dir)));
    }

    /// Whether the path would be seen if the writable layer had nothing there.
    fn shines_through(&self, path: &Path) -> bool {
        let mut without = Union::mount(self.layers.clone(), self.rule);
        without.store(path, None);
        without.at(path).is_some()
    }

    /// Puts an entry into the writable layer, where the path leads through
    /// directories that can be seen. Those on the way are copied up.
    fn store(&mut self, path: &Path, entry: Option<Stored>) {
        let Some((name, parents)) = path.0.split_last() else {
            return; // The root stays.
        };
        if !matches!(self.at(&Path(parents.to_vec())), Some(Visible::Dir(_))) {
            return;
        }
        let mut dir = &mut self.layers[0];
        for parent in parents {
            let copied_up = || Stored::Dir(Dir::new(0, []));
            dir = match dir.entries.entry(parent.clone()).or_insert_with(copied_up) {
                Stored::Dir(dir) => dir,
                Stored::Leaf(_) | Stored::Metacopy(_) | Stored::Whiteout => {
                    unreachable!("a directory is seen here")
                }
            };
        }
        match entry {
            Some(entry) => dir.entries.insert(name.clone(), entry),
            None => dir.entries.remove(&**name),
        };
    }

    /// What a reader sees at `path`.
    fn at(&self, path: &Path) -> Option<Visible> {
        let mut at = Visible::Dir(view(&self.layers));
        for name in &path.0 {
            at = match at {
                Visible::Dir(mut dir) => dir.entries.remove::<Name>(name)?,
                Visible::Leaf(_) => return None,
            };
        }
        Some(at)
    }

    fn visible_paths(&self) -> BTreeSet<Path> {
        look(&view(&self.layers)).into_keys().collect()
    }
}

/// The property. It knows nothing of layers: it watches the tree as a user
/// does, and takes notes of what was deleted.
fn what_i_deleted_stays_deleted(mut union: Union, steps: &[Step]) -> Result<(), String> {
    let mut deleted: BTreeSet<Path> = BTreeSet::new();
    for step in steps {
        let before = union.visible_paths();
        union.step(step);
        let after = union.visible_paths();
        match step {
            // Everything that this step took away is deleted from now on,
            Step::RemoveAll(_) => deleted.extend(before.difference(&after).cloned()),
            // and may come back by its own name alone.
            Step::MakeDir(path) => drop(deleted.remove(path)),
            Step::Remount => {}
        }
        if let Some(ghost) = deleted.intersection(&after).next() {
            return Err(format!("{ghost} was deleted, and is back after: {step}"));
        }
    }
    Ok(())
}

/// A stack as it may be found on a disk, and a history. Only the first three
/// names of the generator's alphabet matter here; it brings the others too.
#[derive(Clone)]
struct Case {
    layers: Vec<Dir<Stored>>,
    steps: Vec<Step>,
}

fn cases() -> impl Strategy<Value = Case> {
    let step = prop_oneof![
        3 => paths().prop_map(Step::RemoveAll),
        3 => paths().prop_map(Step::MakeDir),
        1 => Just(Step::Remount),
    ];
    (stacks(2..=3), vec(step, 1..12)).prop_map(|(layers, steps)| Case { layers, steps })
}

/// Looks for a case that breaks the property, and for the smallest such.
fn search(rule: NewDirectory) -> Result<(), Box<TestError<Case>>> {
    let config = Config {
        cases: 3000,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, deterministic())
        .run(&cases(), |case| {
            let union = Union::mount(case.layers, rule);
            what_i_deleted_stays_deleted(union, &case.steps).map_err(TestCaseError::fail)
        })
        .map_err(Box::new)
}

/// The same histories each time: a lesson should not depend on luck.
fn deterministic() -> proptest::test_runner::TestRng {
    let algorithm = proptest::test_runner::RngAlgorithm::ChaCha;
    proptest::test_runner::TestRng::deterministic_rng(algorithm)
}

fn main() -> ExitCode {
    if let Err(error) = search(NewDirectory::HidesWhatIsBelow) {
        println!("the right union breaks the property: {error}");
        return ExitCode::FAILURE;
    }
    println!("What I deleted stays deleted: held in 3000 histories.\n");

    match search(NewDirectory::HidesNothing) {
        Err(error) => {
            println!("A union whose new directories hide nothing is caught:\n\n{error}");
            ExitCode::SUCCESS
        }
        Ok(()) => {
            println!("a wrong union was not caught");
            ExitCode::FAILURE
        }
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, layer) in self.layers.iter().enumerate() {
            write!(f, "\nlayer {index}:\n{layer}")?;
        }
        writeln!(f, "history:")?;
        self.steps
            .iter()
            .try_for_each(|step| writeln!(f, "  {step}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::RemoveAll(path) => write!(f, "rm -r {path}"),
            Step::MakeDir(path) => write!(f, "mkdir {path}"),
            Step::Remount => write!(f, "remount"),
        }
    }
}
