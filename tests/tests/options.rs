//! Every combination of options that the kernel accepts, on the kernel,
//! against the model.
//!
//! `UFS_CASES=2000 cargo test -p overlay-tests --test options` for more cases,
//! `UFS_SEED=...` to repeat a failure.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;

use overlay_core::Union;
use overlay_core::attr::FileKind;
use overlay_core::fs::UnionFs;
use overlay_core::spec::generate::{Case, cases_configured, cases_of_metacopies};
use overlay_core::spec::{
    Config, Dir, Errno, Index, Op, Outcome, Path, Rules, Seen, Stored, Switch, Xino, broken, look,
    metacopies, view_over,
};
use overlay_core::union::{self, Options};
use overlay_tests::Subject;
use overlay_tests::check::{Depth, check, same};
use overlay_tests::runner::{case_count, root, run, skip};
use overlay_tests::scratch::Scratch;
use overlay_tests::subject::Numbers;
use overlay_tests::subject::core::Core;
use overlay_tests::subject::core::storages::{InMemory, OnDirectories, Storages as _};
use overlay_tests::subject::kernel::Kernel;
use overlay_tests::subject::mounted::Mounted;
use overlay_tests::subject::ours::{self, supported, supports};

const LENGTH: usize = 25;

#[test]
fn the_kernel_accepts_the_options_that_the_specification_says() {
    if skip(Kernel::available()) {
        return;
    }
    for config in Config::all() {
        let empty = Dir::new(1, []);
        let scratch = Scratch::with(&[empty.clone(), empty], config);
        let mounted = Kernel::over(scratch, true, config);
        match (mounted, config.is_accepted()) {
            (Ok(kernel), true) => are_in_force(config, &kernel.options_in_force()),
            (Err(errno), false) => assert_eq!(errno, Errno::INVAL, "{config}"),
            (mounted, _) => panic!("{config}: {:?}", mounted.map(drop)),
        }
    }
}

/// Nothing was turned off in silence. What is on is no default.
fn are_in_force(config: Config, options: &[String]) {
    let asked = config.to_string();
    let asked = asked.split(',').filter(|option| {
        option.ends_with("=on") && !option.starts_with("xino") || *option == "userxattr"
    });
    for option in asked {
        let found = options.iter().any(|in_force| in_force == option);
        assert!(found, "{config}: {option} is not among {options:?}");
    }
}

/// What an option is there for; a history that never comes to it shows
/// nothing of the option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reached {
    Metacopy,
    RedirectedMetacopy,
    MetacopyInTwoLayers,
    Index,
    IndexedMetacopy,
}

#[test]
fn the_model_agrees_with_the_kernels_overlayfs_with_all_options() {
    if skip(Kernel::available()) {
        return;
    }
    let configs = Config::accepted();
    let share = case_count(420).div_ceil(configs.len() as u32);
    let reached = RefCell::new(BTreeSet::new());
    let compare = |count, config| {
        run(count, cases_configured(2..=5, LENGTH, config), |case| {
            let kernel = Kernel::new(&case.layers, case.writable, case.config);
            let mut watched = Watched {
                kernel,
                reached: &reached,
            };
            check(case, Rules::Kernel, &mut watched, Depth::EveryOp)
        });
    };
    for config in &configs {
        // Few combinations have it, and much depends on it.
        let count = share * if config.metacopy.is_on() { 4 } else { 1 };
        compare(count, *config);
    }
    // Rare: until chance has come to it.
    let metacopies = configs.iter().filter(|config| config.metacopy.is_on());
    for config in metacopies.cycle().take(100) {
        let rare = [Reached::MetacopyInTwoLayers, Reached::IndexedMetacopy];
        if rare.iter().all(|what| reached.borrow().contains(what)) {
            break;
        }
        compare(10, *config);
    }
    let reached = reached.into_inner();
    for what in [
        Reached::Metacopy,
        Reached::RedirectedMetacopy,
        Reached::MetacopyInTwoLayers,
        Reached::Index,
        Reached::IndexedMetacopy,
    ] {
        assert!(reached.contains(&what), "no history comes to {what:?}");
    }
}

/// A kernel that notes what it stores on the way.
struct Watched<'a> {
    kernel: Kernel,
    reached: &'a RefCell<BTreeSet<Reached>>,
}

impl Watched<'_> {
    fn note(&self, what: Reached) {
        self.reached.borrow_mut().insert(what);
    }

    /// Counts metacopies, and notes those with redirects.
    fn metacopies(&self, dir: &Dir<Stored>) -> usize {
        let count = |entry: &Stored| match entry {
            Stored::Dir(dir) => self.metacopies(dir),
            Stored::Metacopy(copy) => {
                self.note(match copy.redirect {
                    Some(_) => Reached::RedirectedMetacopy,
                    None => Reached::Metacopy,
                });
                1
            }
            Stored::Leaf(_) | Stored::Whiteout => 0,
        };
        dir.entries.values().map(count).sum()
    }
}

impl Subject for Watched<'_> {
    fn apply(&mut self, op: &Op) -> Outcome {
        self.kernel.apply(op)
    }

    fn look(&mut self) -> Result<Seen, String> {
        self.kernel.look()
    }

    fn stored(&self) -> Vec<Dir<Stored>> {
        let stored = self.kernel.stored();
        let counts = stored.iter().map(|layer| self.metacopies(layer));
        if counts.filter(|count| *count > 0).count() > 1 {
            self.note(Reached::MetacopyInTwoLayers);
        }
        stored
    }

    fn index(&self) -> Index {
        let index = self.kernel.index();
        for copied in index.values() {
            self.note(Reached::Index);
            if let Stored::Metacopy(_) = copied.stored {
                self.note(Reached::IndexedMetacopy);
            }
        }
        index
    }

    fn litter(&self) -> Vec<String> {
        self.kernel.litter()
    }

    fn numbers(&self, over: &Op) -> Numbers {
        self.kernel.numbers(over)
    }
}

#[test]
fn metacopies_that_lead_anywhere_are_followed_by_the_core() {
    run(case_count(500), cases_of_metacopies(1..=5), |case| {
        let storages = InMemory::with(&case.layers, case.writable, case.config);
        let mut core = Core::new(Box::new(storages), case.writable, case.config);
        let data = case.config.data_only;
        let broken = broken(&case.layers, data);
        let mut expected = look(&view_over(&case.layers, data));
        same_by_name(&expected, &mut core)?;
        for path in &broken {
            let found = core.apply(&Op::Stat { path: path.clone() });
            if found != Outcome::Failed(Errno::IO) {
                return Err(format!("stat {path}: expected EIO, found {found}"));
            }
        }
        if broken.is_empty() {
            return same("the core shows something else", &expected, &core.look()?);
        }
        // The names without content are listed all the same.
        expected.retain(|_, sight| sight.kind.is_dir());
        for path in expected.into_keys() {
            let listed = core.apply(&Op::ReadDir { path: path.clone() });
            let Outcome::Entries(listed) = listed else {
                return Err(format!("readdir {path}: {listed}"));
            };
            let inside = |other: &&Path| other.0.split_last().is_some_and(|(_, dir)| dir == path.0);
            let missing = broken.iter().filter(inside).find(|other| {
                let name = other.0.last();
                !name.is_some_and(|name| listed.contains_key(name))
            });
            if let Some(missing) = missing {
                return Err(format!("{missing} is not listed"));
            }
        }
        Ok(())
    });
}

#[test]
fn metacopies_are_refused_by_a_union_told_not_to_follow_them() {
    run(case_count(300), cases_of_metacopies(1..=5), |case| {
        if case.config.data_only > 0 {
            return Ok(());
        }
        let options = Options {
            metacopy: union::Metacopy::NoFollow,
            ..ours::options(case.config)
        };
        let stack = InMemory::with(&case.layers, case.writable, case.config).stack();
        let union = Union::with_options(stack, options).map_err(|error| error.to_string())?;
        let union = UnionFs::from_union(union);
        for path in metacopies(&case.layers, 0) {
            let names = path.0.iter().map(|name| name.as_os_str());
            let found = union.symlink_metadata(names.collect::<PathBuf>());
            let errno = found.err().map(|error| error.errno());
            if errno != Some(Errno::PERM) {
                return Err(format!("stat {path}: expected EPERM, found {errno:?}"));
            }
        }
        Ok(())
    });
}

/// Runs a share of `count` cases with each combination that ours knows.
fn run_ours(count: u32, subject: impl Fn(&Case) -> Box<dyn Subject>) {
    let configs = supported();
    assert!(!configs.is_empty());
    let share = case_count(count).div_ceil(configs.len() as u32);
    for config in configs {
        run(share, cases_configured(2..=5, LENGTH, config), |case| {
            check(case, Rules::Union, &mut *subject(case), Depth::EveryOp)
        });
    }
}

#[test]
fn the_core_in_memory_agrees_with_the_model_with_all_options() {
    run_ours(500, |case| {
        let storages = InMemory::with(&case.layers, case.writable, case.config);
        Box::new(Core::new(Box::new(storages), case.writable, case.config))
    });
}

#[test]
fn the_core_on_directories_agrees_with_the_model_with_all_options() {
    if skip(root()) {
        return;
    }
    run_ours(200, |case| {
        let storages = OnDirectories::with(&case.layers, case.writable, case.config);
        Box::new(Core::new(Box::new(storages), case.writable, case.config))
    });
}

#[test]
fn the_mount_agrees_with_the_model_with_all_options() {
    if skip(Mounted::available()) {
        return;
    }
    run_ours(200, |case| {
        let (writable, config) = (case.writable, case.config);
        Box::new(Mounted::new(&case.layers, writable, config))
    });
}

#[test]
fn metacopies_that_lead_anywhere_are_followed_as_by_the_kernel() {
    if skip(Kernel::available()) {
        return;
    }
    run(case_count(300), cases_of_metacopies(2..=5), |case| {
        let mut kernel = Kernel::new(&case.layers, case.writable, case.config);
        let data = case.config.data_only;
        let broken = broken(&case.layers, data);
        for path in &broken {
            let found = kernel.apply(&Op::Stat { path: path.clone() });
            if found != Outcome::Failed(Errno::IO) {
                return Err(format!("stat {path}: expected EIO, found {found}"));
            }
        }
        let expected = look(&view_over(&case.layers, data));
        match broken.is_empty() {
            true => same(
                "the kernel shows something else",
                &expected,
                &kernel.look()?,
            ),
            // The kernel may be unable to list a directory with such names.
            false => same_by_name(&expected, &mut kernel),
        }
    });
}

fn same_by_name(expected: &Seen, subject: &mut dyn Subject) -> Result<(), String> {
    for (path, expected) in expected {
        let path = path.clone();
        let found = subject.apply(&Op::Stat { path: path.clone() });
        let agrees = match &found {
            Outcome::Sight(found) => expected.agrees(found),
            Outcome::Done
            | Outcome::Failed(_)
            | Outcome::Bytes(_)
            | Outcome::Names(_)
            | Outcome::Entries(_) => false,
        };
        if !agrees {
            return Err(format!("stat {path}: expected {expected}, found {found}"));
        }
        if expected.kind == FileKind::Regular {
            let found = subject.apply(&Op::Read { path: path.clone() });
            if Some(&found) != expected.content.clone().map(Outcome::Bytes).as_ref() {
                return Err(format!("read {path}: expected {expected}, found {found}"));
            }
        }
    }
    Ok(())
}

#[test]
fn metacopies_are_refused_by_a_kernel_that_does_not_follow_them() {
    if skip(Kernel::available()) {
        return;
    }
    run(case_count(150), cases_of_metacopies(2..=5), |case| {
        if case.config.data_only > 0 {
            return Ok(());
        }
        let config = Config {
            metacopy: Switch::Off,
            ..case.config
        };
        let mut kernel = Kernel::new(&case.layers, case.writable, config);
        for path in metacopies(&case.layers, 0) {
            let found = kernel.apply(&Op::Stat { path: path.clone() });
            if found != Outcome::Failed(Errno::PERM) {
                return Err(format!("stat {path}: expected EPERM, found {found}"));
            }
        }
        Ok(())
    });
}

/// With `xino=off` numbers of several filesystems may be anything.
fn configs_for_several_filesystems() -> Vec<Config> {
    let mut configs = Config::accepted();
    configs.retain(|config| config.xino != Xino::Off && !config.index.is_on());
    configs
}

#[test]
fn the_model_agrees_with_the_kernels_overlayfs_over_several_filesystems() {
    if skip(Kernel::available()) {
        return;
    }
    let configs = configs_for_several_filesystems();
    let share = case_count(100).div_ceil(configs.len() as u32);
    for config in configs {
        run(share, cases_configured(2..=5, LENGTH, config), |case| {
            let scratch = Scratch::spread(&case.layers, case.config);
            let kernel = Kernel::over(scratch, case.writable, case.config);
            let mut kernel = kernel.map_err(|errno| errno.to_string())?;
            check(case, Rules::Kernel, &mut kernel, Depth::EveryOp)
        });
    }
}

#[test]
fn the_core_agrees_with_the_model_over_several_filesystems() {
    if skip(Kernel::available()) {
        return;
    }
    let mut configs = configs_for_several_filesystems();
    configs.retain(supports);
    let share = case_count(100).div_ceil(configs.len() as u32);
    for config in configs {
        run(share, cases_configured(2..=5, LENGTH, config), |case| {
            let scratch = Scratch::spread(&case.layers, case.config);
            let storages = OnDirectories::over(scratch, case.writable, case.config);
            let mut core = Core::new(Box::new(storages), case.writable, case.config);
            check(case, Rules::Union, &mut core, Depth::EveryOp)
        });
    }
}
