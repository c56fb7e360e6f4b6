//! The rules for the index and for inode numbers of `docs/semantics.md`, one
//! small history each, on the kernel's overlayfs, and on ours where it knows
//! the options.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::sync::Arc;

use overlay_core::fs::UnionFs;
use overlay_core::spec::{Config, Namespace, RedirectDir, Switch};
use overlay_core::union::{Index, Live, Options};
use overlay_core::{MemStorage, Name, Stack, Union};
use overlay_tests::scenario::holds_with;

fn index() -> Config {
    Config {
        redirect_dir: RedirectDir::On,
        index: Switch::On,
        ..Config::default()
    }
}

/// With `nfs_export`, for which everything is indexed.
fn export() -> Config {
    Config {
        nfs_export: Switch::On,
        ..index()
    }
}

/// Without an index, and with marks in the user's namespace.
fn user() -> Config {
    Config {
        redirect_dir: RedirectDir::NoFollow,
        namespace: Namespace::User,
        ..Config::default()
    }
}

#[test]
fn names_of_a_lower_object_stay_one_object() {
    let steps = [
        "stat /a: 0644 0:0 nlink 2",
        "append /a y: ok",
        "read /b: xy",
        "stat /a: 0644 0:0 nlink 2",
        "chmod /b 600: ok",
        "stat /a: 0600 0:0 nlink 2",
        "remount: ok",
        "stat /b: 0600 0:0 nlink 2",
        "append /b z: ok",
        "read /a: xyz",
    ];
    for config in [index(), export()] {
        holds_with(config, &["", "a=x b~a"], &steps);
        holds_with(config, &["", "", "a=x b~a"], &steps);
    }
    // Names in directories that merge, or that were moved away.
    holds_with(
        index(),
        &["d/", "d/ d/a=x e/ e/b~d/a"],
        &[
            "mv /e /f: ok",
            "append /d/a y: ok",
            "read /f/b: xy",
            "mv /f/b /c: ok",
            "append /c z: ok",
            "read /d/a: xyz",
            "stat /d/a: 0644 0:0 nlink 2",
        ],
    );
}

#[test]
fn a_symlink_with_several_names_stays_one_object() {
    holds_with(
        index(),
        &["", "a@x b~a"],
        &["chown /a 5: ok", "stat /b: 0777 5:5 nlink 2"],
    );
}

#[test]
fn the_union_counts_the_names_that_were_not_removed() {
    holds_with(
        index(),
        &["c-", "a=x b~a c~a"],
        &[
            "stat /a: 0644 0:0 nlink 3",
            "open 0 /a: ok",
            "rm /b: ok",
            "stat /a: 0644 0:0 nlink 2",
            "ln /a /d: ok",
            "stat /d: 0644 0:0 nlink 3",
            "mkfile /e: ok",
            "mv /e /d: ok",
            "stat /a: 0644 0:0 nlink 2",
            "remount: ok",
            "stat /a: 0644 0:0 nlink 2",
            "rm /a: ok",
            "ls /: d",
        ],
    );
    holds_with(
        index(),
        &["", "a=x b~a"],
        &[
            "open 0 /a: ok",
            "rm /b: ok",
            "stat-held 0: 0644 0:0 nlink 1",
            "rm /a: ok",
            "stat-held 0: 0644 0:0 nlink 0",
            "read-held 0: x",
            "remount: ok",
            "ls /:",
        ],
    );
}

#[test]
fn a_name_moved_onto_another_of_the_same_lower_object_stays() {
    for steps in [
        ["mv /a /b: ok", "ls /: a b"],
        ["swap /a /b: ok", "ls /: a b"],
    ] {
        holds_with(index(), &["", "a=x b~a"], &steps);
    }
    // Without an index they are two.
    let config = Config {
        redirect_dir: RedirectDir::On,
        ..Config::default()
    };
    holds_with(config, &["", "a=x b~a"], &["mv /a /b: ok", "ls /: b"]);
}

#[test]
fn without_the_index_a_name_shows_what_lies_below_again() {
    holds_with(
        index(),
        &["", "a=x b~a"],
        &[
            "append /a y: ok",
            "read /b: xy",
            "rotate: ok",
            "read /a: xy",
            "read /b: x",
            "stat /a: 0644 0:0 nlink 1",
            "stat /b: 0644 0:0 nlink 2",
        ],
    );
}

/// Setting an attribute is about the object, where that is copied up already.
#[test]
fn an_attribute_of_a_copy_needs_no_further_name() {
    holds_with(
        index(),
        &["", "a=x b~a c~a"],
        &[
            "append /a y: ok",
            "setxattr /b trusted.a 1: ok",
            "chmod /c 600: ok",
            "rotate: ok",
            "read /b: x",
            "read /c: xy",
            "getxattr /c trusted.a: 1",
        ],
    );
}

#[test]
fn for_nfs_export_what_is_removed_is_copied_up_first() {
    holds_with(
        export(),
        &["", "f=low"],
        &[
            "open 0 /f: ok",
            "rm /f: ok",
            "stat-held 0: 0644 0:0 nlink 0",
            "chmod-held 0 600: ok",
            "read-held 0: low",
        ],
    );
}

#[test]
fn marks_of_the_other_namespace_are_ordinary_attributes() {
    let steps = |name: &str| {
        let set = format!("setxattr /d {name} y: ok");
        let get = format!("getxattr /d {name}: y");
        let (ls, remount) = ("ls /d: x".to_owned(), "remount: ok".to_owned());
        [set, get.clone(), ls.clone(), remount, get, ls]
    };
    for name in ["trusted.overlay.opaque", "user.overlay.opaque"] {
        let steps = steps(name);
        let steps = steps.each_ref().map(|step| &**step);
        holds_with(user(), &["", "d/ d/x="], &steps);
        holds_with(Config::default(), &["", "d/ d/x="], &steps);
    }
}

/// That the numbers stay or change is checked after every step.
#[test]
fn copies_keep_their_numbers_over_remounts_where_they_can_be_marked() {
    let touched = |config| {
        holds_with(
            config,
            &["", "d/ d/f=x d/s@target"],
            &[
                "chown /d/f 5: ok",
                "chown /d/s 5: ok",
                "remount: ok",
                "mv /d/f /f: ok",
                "remount: ok",
                "append /f y: ok",
                "remount: ok",
            ],
        );
    };
    [Config::default(), index(), export(), user()]
        .into_iter()
        .for_each(touched);
}

/// The numbers of copies are known by the change, and those of their originals
/// are not.
#[test]
fn names_of_a_lower_object_are_listed_with_its_number_after_a_change_of_the_branches() {
    let lower = MemStorage::new();
    let below = UnionFs::new(Stack::new().upper(lower.clone())).unwrap();
    below.write("a", "1").unwrap();
    below.hard_link("a", "b").unwrap();
    let options = Options {
        index: Index::On,
        ..Options::default()
    };
    let stack = Stack::new().upper(MemStorage::new()).lower(lower);
    let live = Live::new(Union::with_options(stack, options).unwrap());
    let now = || UnionFs::from_union(Arc::clone(&*live.now()));
    let a = now().open("a").unwrap();
    now().write("a", "2").unwrap();
    // As a kernel that has it in its caches.
    let union = now();
    let root = union.union().root();
    let name = Name::new(b"a").unwrap();
    let known = union.union().lookup(&root, name).unwrap().unwrap();
    union.union().pin(&known.inode);
    live.change(|stack| Ok(stack.lower(MemStorage::new())))
        .unwrap();
    let union = now();
    for entry in union.read_dir("").unwrap() {
        assert_eq!(entry.ino, known.attr.ino, "{:?}", entry.name);
        assert_eq!(union.metadata(&entry.name).unwrap().ino, entry.ino);
    }
    drop(a);
}
