//! Pseudo-links: lower files with several names stay one object on a branch of
//! AuFS, as they do with overlayfs' index.

use std::sync::Arc;

use overlay_core::dialect::Heed;
use overlay_core::dialect::plinks::Plink;
use overlay_core::fs::UnionFs;
use overlay_core::layer::{NewKind, RenameMode, Storage, WritableNode, WritableStorage};
use overlay_core::spec::generate::{Case, cases_configured};
use overlay_core::spec::{Config, Op, Rules, Switch};
use overlay_core::union::plinks::{self, Left, Standing};
use overlay_core::union::{Live, Options, Plinks};
use overlay_core::{Errno, MemStorage, Owner, Stack, Store, Union};
use overlay_tests::aufs::{self, AUFS, Asked, Branches, fitting};
use overlay_tests::check::{Depth, check};
use overlay_tests::faulty::Scope;
use overlay_tests::runner::{case_count, root, run, skip};
use overlay_tests::scenario;
use overlay_tests::subject::core::Core;
use overlay_tests::subject::core::storages::{InMemory, OnDirectories, Storages};
use overlay_tests::trial::{Kind, On, crash_in, fault_in, survives_in_with};
use proptest::strategy::Strategy;

use crate::{dir_at, name, stored};

const LENGTH: usize = 25;

const PLNK: &str = ".wh..wh.plnk";

fn kept() -> Config {
    Config {
        index: Switch::On,
        ..Config::default()
    }
}

fn agrees<S: Storages + 'static>(
    case: &Case,
    make: impl FnOnce(&[overlay_core::spec::Dir<overlay_core::spec::Stored>], bool) -> S,
) -> Result<(), String> {
    let (layers, writable) = (&case.layers, case.writable);
    let storages = Branches::new(layers, writable, AUFS, Asked::Finished, make);
    let options = aufs::options(case.config);
    let mut core = Core::with_options(Box::new(storages), writable, case.config, options);
    check(case, Rules::Union, &mut core, Depth::EveryOp)
}

/// One history, in memory and on directories.
fn holds(layers: &[&str], steps: &[&str]) {
    let case = scenario::case_with(layers, steps, kept());
    let fail = |message: String| panic!("{case}{message}");
    agrees(&case, InMemory::new).unwrap_or_else(fail);
    if !skip(root()) {
        agrees(&case, OnDirectories::foreign).unwrap_or_else(fail);
    }
    scenario::the_model_says(&case, steps);
}

fn histories(layers: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Case> {
    cases_configured(layers, LENGTH, kept()).prop_map(|case| {
        let mut case = fitting(case);
        // What becomes of the links when the branch becomes a lower one is
        // another question: they are flushed before.
        case.ops.retain(|op| *op != Op::Rotate);
        case
    })
}

#[test]
fn histories_with_pseudo_links_agree_with_the_model() {
    run(case_count(600), histories(2..=5), |case| {
        agrees(case, InMemory::new)
    });
    if !skip(root()) {
        run(case_count(60), histories(2..=4), |case| {
            agrees(case, OnDirectories::foreign)
        });
    }
}

#[test]
fn a_crash_among_pseudo_links_leaves_before_or_after() {
    run(case_count(800), short(), |case| {
        crash_in(case, On::Memory, Kind::Aufs).map(drop)
    });
    if !skip(root()) {
        run(case_count(60), short(), |case| {
            crash_in(case, On::Directories, Kind::Aufs).map(drop)
        });
    }
}

#[test]
fn a_change_of_pseudo_links_that_fails_leaves_before_or_after() {
    run(case_count(600), short(), |case| {
        fault_in(case, On::Memory, Kind::Aufs, Scope::Changes, Errno::NOSPC).map(drop)
    });
    run(case_count(300), short(), |case| {
        fault_in(case, On::Memory, Kind::Aufs, Scope::All, Errno::IO).map(drop)
    });
}

fn short() -> impl Strategy<Value = Case> {
    histories(2..=3).prop_map(|mut case| {
        case.ops.truncate(6);
        case
    })
}

#[test]
fn every_change_of_a_pseudo_link_is_one_step() {
    let survives = |layers: &[&str], steps: &[&str]| {
        survives_in_with(Kind::Aufs, kept(), layers, steps);
    };
    let layers = ["", "a=1 b~a d/ d/c~a"];
    for step in [
        "append /a y: ok",
        "chmod /b 600: ok",
        "rm /a: ok",
        "ln /a /e: ok",
        "mv /a /e: ok",
        "truncate /a 0: ok",
    ] {
        survives(&layers, &[step]);
        survives(&layers, &["append /d/c x: ok", step]);
    }
    survives(&["f=2", layers[1]], &["mv /f /a: ok"]);
    survives(&["f=2", layers[1]], &["swap /f /a: ok"]);
    // The last name.
    survives(&["", "a=1 b~a"], &["rm /b: ok", "rm /a: ok"]);
    survives(&["f=2", "a=1 b~a"], &["rm /b: ok", "mv /f /a: ok"]);
}

#[test]
fn lower_hard_links_stay_one_object_on_a_branch_of_aufs() {
    holds(
        &["", "a=x b~a"],
        &[
            "stat /a: 0644 0:0 nlink 2",
            "append /a y: ok",
            "read /b: xy",
            "chmod /b 600: ok",
            "stat /a: 0600 0:0 nlink 2",
            "remount: ok",
            "stat /b: 0600 0:0 nlink 2",
            "append /b z: ok",
            "read /a: xyz",
        ],
    );
    holds(
        &["", "a@x b~a"],
        &["chown /a 5: ok", "stat /b: 0777 5:5 nlink 2"],
    );
    // Over another branch, in directories of which one is below it.
    holds(
        &["e/", "d/", "d/ d/a=x e/ e/b~d/a"],
        &[
            "append /d/a y: ok",
            "read /e/b: xy",
            "mv /e/b /c: ok",
            "append /c z: ok",
            "remount: ok",
            "read /d/a: xyz",
            "stat /d/a: 0644 0:0 nlink 2",
        ],
    );
}

#[test]
fn the_link_count_is_right_whatever_becomes_of_the_names() {
    holds(
        &["", "a=x b~a c~a"],
        &[
            "open 0 /a: ok",
            "rm /b: ok",
            "stat /a: 0644 0:0 nlink 2",
            "ln /a /d: ok",
            "stat /c: 0644 0:0 nlink 3",
            "mv /c /e: ok",
            "stat /e: 0644 0:0 nlink 3",
            "mkfile /f: ok",
            "mv /f /d: ok",
            "stat /a: 0644 0:0 nlink 2",
            "remount: ok",
            "stat /a: 0644 0:0 nlink 2",
            "rm /a: ok",
            "stat /e: 0644 0:0 nlink 1",
            "ls /: d e",
        ],
    );
    holds(
        &["", "a=x b~a"],
        &[
            "open 0 /a: ok",
            "rm /b: ok",
            "stat-held 0: 0644 0:0 nlink 1",
            "rm /a: ok",
            "stat-held 0: 0644 0:0 nlink 0",
            "read-held 0: x",
        ],
    );
    holds(&["", "a=x b~a"], &["mv /a /b: ok", "ls /: a b"]);
}

fn union_of(stack: Stack, plinks: Plinks) -> UnionFs {
    let options = Options {
        plinks,
        ..Options::default()
    };
    UnionFs::from_union(Union::with_options(stack, options).unwrap())
}

fn stack_of(upper: &Arc<MemStorage>, lowers: &[&Arc<MemStorage>]) -> Stack {
    let stack = Stack::new().upper_as(Arc::clone(upper) as Arc<_>, AUFS);
    lowers.iter().fold(stack, |stack, lower| {
        stack.lower_as(Arc::clone(lower) as Arc<_>, AUFS)
    })
}

fn plnk(upper: &MemStorage) -> Vec<String> {
    crate::entries(upper, PLNK)
}

fn numbers(union: &UnionFs, paths: &[&str]) -> Vec<(u64, u64)> {
    let attr = |path: &&str| union.symlink_metadata(path).unwrap();
    let attrs = paths.iter().map(attr);
    attrs.map(|attr| (attr.ino, attr.nlink)).collect()
}

#[test]
fn the_names_have_one_number_over_copy_up_and_remount() {
    let (upper, lower) = (MemStorage::new(), stored("a=1 b~a d/ d/c~a"));
    let paths = ["a", "b", "d/c"];
    let union = union_of(stack_of(&upper, &[&lower]), Plinks::Keep);
    let before = numbers(&union, &paths);
    assert_eq!(before, [before[0]; 3]);
    union.write("b", "2").unwrap();
    assert_eq!(numbers(&union, &paths), before);
    union.rename("b", "d/e").unwrap();
    drop(union);
    for paths in [["a", "d/e", "d/c"], ["d/e", "d/c", "a"]] {
        let union = union_of(stack_of(&upper, &[&lower]), Plinks::Keep);
        let listed = |path: &str| {
            let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
            let entries = union.read_dir(dir).unwrap();
            entries.iter().find(|entry| entry.name == name).unwrap().ino
        };
        // Also if they are listed before anybody looks them up.
        assert_eq!(paths.map(listed), [before[0].0; 3]);
        assert_eq!(numbers(&union, &paths), before);
        assert_eq!(paths.map(|path| union.read(path).unwrap()), [b"2"; 3]);
    }
}

#[test]
fn pseudo_links_stay_over_a_change_of_the_branches() {
    let (upper, lower) = (MemStorage::new(), stored("a=1 b~a c~a"));
    let live = Live::new(Arc::clone(
        union_of(stack_of(&upper, &[&lower]), Plinks::Keep).union(),
    ));
    let now = || UnionFs::from_union(Arc::clone(&*live.now()));
    let before = numbers(&now(), &["a", "b", "c"]);
    now().write("a", "2").unwrap();
    live.change(|stack| Ok(stack.lower_as(stored("z="), AUFS)))
        .unwrap();
    let union = now();
    let listed: Vec<_> = union.read_dir("").unwrap();
    assert!(listed[..3].iter().all(|entry| entry.ino == before[0].0));
    assert_eq!(numbers(&union, &["c", "b", "a"]), before);
    union.write("c", "3").unwrap();
    assert_eq!(union.read("b").unwrap(), b"3");
    union.remove_file("a").unwrap();
    union.remove_file("b").unwrap();
    union.remove_file("c").unwrap();
    assert_eq!(plnk(&upper), [""; 0]);
}

#[test]
fn names_stay_together_when_the_branch_is_not_the_only_writable_one_any_more() {
    for frozen in [false, true] {
        let (upper, lower) = (MemStorage::new(), stored("a=1 d/ d/b~a c~a"));
        let live = Live::new(Arc::clone(
            union_of(stack_of(&upper, &[&lower]), Plinks::Keep).union(),
        ));
        let now = || UnionFs::from_union(Arc::clone(&*live.now()));
        let file = now().open("a").unwrap();
        let number = numbers(&now(), &["a"])[0].0;
        now().write("a", "2").unwrap();
        drop(file);
        let more: Arc<MemStorage> = MemStorage::new();
        live.change(|mut stack| {
            let id = stack.branches()[0].id;
            if frozen {
                let storage = Arc::clone(&upper) as Arc<dyn Storage>;
                stack.set_access(id, Store::ReadOnly(storage), Heed::Marks)?;
            }
            let store = Store::Writable(Arc::clone(&more) as Arc<_>);
            stack.insert(0, store, AUFS, Heed::Marks);
            Ok(stack)
        })
        .unwrap();
        assert_eq!(plnk(&upper), [""; 0]);
        let union = now();
        assert_eq!(numbers(&union, &["d/b", "c", "a"]), [(number, 3); 3]);
        for path in ["a", "d/b", "c"] {
            assert_eq!(union.read(path).unwrap(), b"2", "{path}");
        }
    }
}

#[test]
fn what_has_lost_all_names_leaves_nothing_among_the_pseudo_links() {
    let (upper, lower) = (MemStorage::new(), stored("a=1 b~a c~a"));
    let union = union_of(stack_of(&upper, &[&lower]), Plinks::Keep);
    union.write("a", "2").unwrap();
    assert_eq!(plnk(&upper).len(), 5 - 1, "a has its name");
    union.remove_file("b").unwrap();
    union.rename("c", "d").unwrap();
    union.remove_file("a").unwrap();
    union.write("new", "").unwrap();
    union.rename("new", "d").unwrap();
    assert_eq!(plnk(&upper), [""; 0]);
    let root = dir_at(&upper, "");
    assert_eq!(root.attr_of(name("d")).unwrap().unwrap().nlink, 1);
}

#[test]
fn without_plink_the_names_part() {
    let (upper, lower) = (MemStorage::new(), stored("a=1 b~a"));
    let union = union_of(stack_of(&upper, &[&lower]), Plinks::Break);
    union.write("a", "2").unwrap();
    assert_eq!(union.read("b").unwrap(), b"1");
    assert_eq!(plnk(&upper), [""; 0]);
}

#[test]
fn flushed_pseudo_links_are_hard_links() {
    let (upper, lower) = (MemStorage::new(), stored("a=1 b~a d/ d/c~a e~a"));
    let union = union_of(stack_of(&upper, &[&lower]), Plinks::Keep);
    union.write("a", "2").unwrap();
    union.remove_file("e").unwrap();
    // Known names have been copied up: these were not.
    drop(union);
    let flushed = plinks::flush(stack_of(&upper, &[&lower]), Left::Keep, &mut |_| {}).unwrap();
    assert_eq!((flushed.names, flushed.plinks), (2, 1));
    assert_eq!(flushed.kept, []);
    assert_eq!(plnk(&upper), [""; 0]);
    let union = union_of(stack_of(&upper, &[&lower]), Plinks::Break);
    let found = numbers(&union, &["a", "b", "d/c"]);
    assert_eq!(found, [(found[0].0, 3); 3]);
    union.write("d/c", "3").unwrap();
    assert_eq!(union.read("a").unwrap(), b"3");
    let again = plinks::flush(stack_of(&upper, &[&lower]), Left::Keep, &mut |_| {}).unwrap();
    assert_eq!(again, plinks::Flushed::default());
}

#[test]
fn a_pseudo_link_of_other_branches_is_kept_by_a_flush() {
    let (upper, lower) = (MemStorage::new(), stored("a=1 b~a"));
    let union = union_of(stack_of(&upper, &[&lower]), Plinks::Keep);
    union.write("a", "2").unwrap();
    drop(union);
    let before = plnk(&upper);
    let other = || stack_of(&upper, &[&stored("x=1 y=1")]);
    let flushed = plinks::flush(other(), Left::Keep, &mut |_| {}).unwrap();
    assert_eq!(
        (flushed.names, flushed.plinks, flushed.kept.len()),
        (0, 0, 1)
    );
    assert_eq!(plnk(&upper), before);
    let flushed = plinks::flush(other(), Left::Remove, &mut |_| {}).unwrap();
    assert_eq!((flushed.plinks, flushed.kept.len()), (1, 0));
    assert_eq!(plnk(&upper), [""; 0]);
}

#[test]
fn what_was_interrupted_among_the_pseudo_links_is_settled_by_the_next_mount() {
    let (upper, lower) = (MemStorage::new(), stored("a=1 b~a"));
    let union = union_of(stack_of(&upper, &[&lower]), Plinks::Keep);
    union.write("a", "2").unwrap();
    drop(union);
    let dir = writable(&upper, PLNK);
    let entry = plnk(&upper)
        .into_iter()
        .find(|e| e.matches('.').count() == 1);
    dir.remove(
        name(&entry.unwrap()),
        overlay_core::layer::Removal::NonDirectory,
        None,
    )
    .unwrap();
    assert_eq!(listed(&upper)[0].standing, Standing::Unfinished);
    let union = union_of(stack_of(&upper, &[&lower]), Plinks::Keep);
    assert_eq!(plnk(&upper), [""; 0]);
    assert_eq!(union.read("b").unwrap(), b"1");
    assert_eq!(numbers(&union, &["a"])[0].1, 1);
}

fn writable(upper: &MemStorage, dir: &str) -> Arc<dyn WritableNode> {
    let root = WritableStorage::root(upper);
    root.lookup_writable(name(dir)).unwrap().unwrap().node
}

fn listed(upper: &MemStorage) -> Vec<plinks::Listed> {
    plinks::list(&Storage::root(upper)).unwrap()
}

#[test]
fn strange_and_damaged_pseudo_links_are_left_alone() {
    let (upper, lower) = (MemStorage::new(), stored("a=1 b~a c=1 d~c"));
    let union = union_of(stack_of(&upper, &[&lower]), Plinks::Keep);
    let number = numbers(&union, &["a"])[0].0;
    union.write("own", "own").unwrap();
    drop(union);
    let dir = writable(&upper, PLNK);
    let root = WritableStorage::root(&*upper);
    let own = root.lookup_writable(name("own")).unwrap().unwrap();
    // AuFS made it: of what it is a copy is not known.
    let plink = Plink {
        number,
        copy: own.attr.ino,
    };
    dir.link(&plink.name(), &*own.node, RenameMode::NoReplace)
        .unwrap();
    // The branch was copied: its numbers are those of others.
    let moved = Plink {
        number: number + 1,
        copy: 1 << 30,
    };
    for name in [moved.name(), moved.beside(7, 0), moved.beside(7, 1)] {
        dir.link(&name, &*own.node, RenameMode::NoReplace).unwrap();
    }
    let owner = Owner { uid: 0, gid: 0 };
    let file = overlay_core::layer::New {
        kind: NewKind::Regular,
        mode: 0o600,
        owner,
        xattrs: &[],
    };
    dir.create(name("strange"), &file).unwrap();
    let before = plnk(&upper);
    let standings: Vec<_> = listed(&upper).iter().map(|plink| plink.standing).collect();
    assert_eq!(standings, [Standing::OfAufs, Standing::Damaged]);
    assert_eq!(listed(&upper)[0].names, [b"own"]);
    let union = union_of(stack_of(&upper, &[&lower]), Plinks::Keep);
    assert_eq!(union.read("a").unwrap(), b"1");
    union.write("a", "2").unwrap();
    assert_eq!(union.read("b").unwrap(), b"2");
    union.remove_file("a").unwrap();
    union.remove_file("b").unwrap();
    assert_eq!(plnk(&upper), before);
}

/// The branches below were made anew, and another file has the number.
#[test]
fn a_pseudo_link_is_of_no_other_file_that_has_the_number_of_its_original() {
    let (upper, lower) = (MemStorage::new(), stored("a=1 b~a"));
    let union = union_of(stack_of(&upper, &[&lower]), Plinks::Keep);
    let number = numbers(&union, &["a"])[0].0;
    union.write("a", "2").unwrap();
    union.rename("a", "z").unwrap();
    drop(union);
    let other = stored("c=longer d~c e=1");
    for first in ["z", "c"] {
        let union = union_of(stack_of(&upper, &[&other]), Plinks::Keep);
        assert_eq!(numbers(&union, &[first]).len(), 1);
        assert_eq!(numbers(&union, &["z"])[0].0, number);
        let entries = union.read_dir("").unwrap();
        for entry in &entries {
            let attr = union.symlink_metadata(&entry.name).unwrap();
            assert_eq!(attr.ino, entry.ino, "{:?}", entry.name);
            assert_eq!(attr.ino == number, entry.name == "z");
        }
        assert_eq!(union.read("c").unwrap(), b"longer");
        assert_eq!(union.read("z").unwrap(), b"2");
    }
}
