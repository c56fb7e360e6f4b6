//! What no history of operations shows: descriptors, several filesystems,
//! layers that somebody else made, unions whose disk says no.

#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use overlay_core::fs::UnionFs;
use overlay_core::layer::dir::{Descriptors, DirStorage, DirUpper};
use overlay_core::union::{Entry, Inode, Options, RedirectDir};
use overlay_core::{Dialect, Errno, Name, Namespace, SetAttr, SetTime, Stack, Timestamp, Union};
use overlay_tests::conformance::root_or_skip;
use tempfile::TempDir;

/// An empty upper over empty lowers.
struct Home {
    dir: TempDir,
    lowers: usize,
}

impl Home {
    fn new(lowers: usize) -> Home {
        let dir = tempfile::tempdir().unwrap();
        for name in ["upper", "work"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        for index in 0..lowers {
            fs::create_dir(dir.path().join(index.to_string())).unwrap();
        }
        Home { dir, lowers }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn open(&self) -> UnionFs {
        self.open_with(Options::default())
    }

    fn open_with(&self, options: Options) -> UnionFs {
        let descriptors = Descriptors::new(64);
        let upper = DirUpper::open(&self.at("upper"), &self.at("work"), &descriptors).unwrap();
        let mut stack = Stack::new().upper(upper);
        for index in 0..self.lowers {
            let lower = DirStorage::open(&self.at(&index.to_string()), &descriptors);
            stack = stack.lower(lower.unwrap());
        }
        UnionFs::from_union(Union::with_options(stack, options).unwrap())
    }
}

fn name(name: &str) -> &Name {
    Name::new(name.as_bytes()).unwrap()
}

fn look(union: &Union, parent: &Arc<Inode>, at: &str) -> Entry {
    union.lookup(parent, name(at)).unwrap().unwrap()
}

fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
}

/// Descriptors of this process that lead below `path`.
fn descriptors_below(path: &Path) -> usize {
    let links = fs::read_dir("/proc/self/fd").unwrap();
    links
        .filter_map(|link| fs::read_link(link.unwrap().path()).ok())
        .filter(|target| target.starts_with(path))
        .count()
}

#[test]
fn regression_a_hard_link_that_lives_on_by_another_name_holds_no_descriptor() {
    let home = Home::new(1);
    let fs = home.open();
    fs.create_dir("x").unwrap();
    fs.create_dir("y").unwrap();
    let mut known = Vec::new();
    for index in 0..100 {
        fs.write(format!("x/{index}"), "one").unwrap();
        fs.hard_link(format!("x/{index}"), format!("y/{index}"))
            .unwrap();
        let x = look(fs.union(), &fs.union().root(), "x").inode;
        known.push(look(fs.union(), &x, &index.to_string()));
    }
    let before = descriptors_below(home.dir.path());
    for index in 0..100 {
        fs.remove_file(format!("y/{index}")).unwrap();
    }
    assert!(descriptors_below(home.dir.path()) <= before);
    // The same after a rename of a name that is not the first.
    for index in 0..100 {
        fs.hard_link(format!("x/{index}"), format!("y/a{index}"))
            .unwrap();
        fs.rename(format!("y/a{index}"), format!("y/b{index}"))
            .unwrap();
        fs.remove_file(format!("y/b{index}")).unwrap();
    }
    assert!(descriptors_below(home.dir.path()) <= before);
    assert_eq!(fs.read("x/7").unwrap(), b"one");
}

#[test]
fn regression_a_link_to_an_object_whose_known_names_are_gone_frees_its_descriptor() {
    let home = Home::new(1);
    fs::write(home.at("upper/a"), "one").unwrap();
    fs::hard_link(home.at("upper/a"), home.at("upper/unseen")).unwrap();
    let fs = home.open();
    let root = fs.union().root();
    let entry = look(fs.union(), &root, "a");
    let before = descriptors_below(home.dir.path());
    fs.remove_file("a").unwrap();
    fs.union().link(&entry.inode, &root, name("b")).unwrap();
    assert!(descriptors_below(home.dir.path()) <= before);
    assert_eq!(fs.metadata("b").unwrap().nlink, 2);
    assert_eq!(fs.metadata("unseen").unwrap().ino, entry.attr.ino);
}

#[test]
fn regression_a_hard_link_stays_reachable_when_its_names_change_in_two_directories_at_once() {
    let home = Home::new(1);
    let fs = home.open();
    fs.create_dir("x").unwrap();
    fs.create_dir("y").unwrap();
    for round in 0..3000 {
        fs.write("x/a", "one").unwrap();
        fs.hard_link("x/a", "y/b").unwrap();
        let x = look(fs.union(), &fs.union().root(), "x").inode;
        let inode = look(fs.union(), &x, "a").inode;
        let start = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                fs.remove_file("x/a").unwrap();
            });
            scope.spawn(|| {
                start.wait();
                fs.rename("y/b", "y/c").unwrap();
            });
        });
        let attr = fs.union().attr(&inode);
        assert_eq!(attr.map(|attr| attr.nlink), Ok(1), "round {round}");
        fs.remove_file("y/c").unwrap();
    }
}

#[test]
fn an_entry_that_cannot_be_looked_up_does_not_keep_the_others_from_being_listed() {
    let home = Home::new(1);
    fs::create_dir(home.at("0/d")).unwrap();
    fs::create_dir(home.at("upper/d")).unwrap();
    fs::write(home.at("upper/f"), "").unwrap();
    set_xattr(
        &home.at("upper/d"),
        "trusted.overlay.redirect",
        b"elsewhere",
    );
    let fs = home.open_with(Options {
        redirect_dir: RedirectDir::NoFollow,
        ..Options::default()
    });
    let refused = fs.metadata("d").unwrap_err();
    assert_eq!(refused.errno(), Errno::PERM);
    let mut names: Vec<_> = fs
        .read_dir("/")
        .unwrap()
        .into_iter()
        .map(|e| e.name)
        .collect();
    names.sort();
    assert_eq!(names, ["d", "f"]);
}

#[test]
fn a_file_without_its_data_is_refused_on_the_lowest_layer_too() {
    let home = Home::new(1);
    fs::write(home.at("0/f"), "").unwrap();
    set_xattr(&home.at("0/f"), "trusted.overlay.metacopy", b"");
    let error = home.open().read("f").unwrap_err();
    assert_eq!(error.errno(), Errno::IO);
}

#[test]
fn an_opaque_directory_has_nothing_below_that_a_redirect_could_lead_to() {
    let home = Home::new(2);
    for layer in ["upper", "0"] {
        fs::create_dir(home.at(layer).join(layer)).unwrap();
        set_xattr(&home.at(layer).join(layer), "trusted.overlay.opaque", b"y");
        set_xattr(
            &home.at(layer).join(layer),
            "trusted.overlay.redirect",
            b"elsewhere",
        );
    }
    let fs = home.open();
    assert_eq!(fs.read_dir("upper").unwrap(), []);
    assert_eq!(fs.read_dir("0").unwrap(), []);
}

#[test]
fn regression_nothing_lies_above_a_file_in_a_path() {
    let home = Home::new(1);
    let fs = home.open();
    fs.write("file", "").unwrap();
    fs.write("other", "").unwrap();
    let error = fs.read("file/../other").unwrap_err();
    assert_eq!(error, overlay_core::Error::NotDirectory);
}

#[test]
fn regression_two_threads_create_one_file() {
    let home = Home::new(1);
    let fs = home.open();
    for round in 0..500 {
        let start = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    start.wait();
                    fs.create(format!("f{round}")).unwrap();
                });
            }
        });
    }
}

/// Something mounted inside a layer, until dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn memory(point: PathBuf) -> Mounted {
        Mounted::run(point, &["-t", "tmpfs", "tmpfs"])
    }

    fn again(directory: &Path, point: PathBuf) -> Mounted {
        Mounted::run(point, &["--bind", directory.to_str().unwrap()])
    }

    fn run(point: PathBuf, what: &[&str]) -> Mounted {
        let done = Command::new("mount").args(what).arg(&point).status();
        assert!(done.unwrap().success());
        Mounted(point)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(done.unwrap().success());
    }
}

#[test]
fn regression_a_rename_that_fails_leaves_the_directory_it_would_have_replaced() {
    if !root_or_skip("a rename that fails with EBUSY") {
        return;
    }
    let home = Home::new(1);
    fs::create_dir(home.at("0/to")).unwrap();
    fs::write(home.at("0/to/deleted"), "").unwrap();
    let fs = home.open();
    fs.create_dir("from").unwrap();
    fs.remove_file("to/deleted").unwrap();
    let to = look(fs.union(), &fs.union().root(), "to");
    let busy = Mounted::memory(home.at("upper/from"));
    let error = fs.rename("from", "to").unwrap_err();
    assert_eq!(error.errno(), Errno::BUSY);
    drop(busy);
    let open = fs.union().open_dir(&to.inode).unwrap();
    let listed = fs
        .union()
        .read_dir(&open, 0, &mut |entry| panic!("{} is back", entry.name));
    listed.unwrap();
    assert_eq!(fs.read_dir("to").unwrap(), []);
    fs.write("to/new", "").unwrap();
    assert_eq!(fs.metadata("to").unwrap().ino, to.attr.ino);
    assert_eq!(fs.read_dir("to").unwrap().len(), 1);
    assert_eq!(fs::read_dir(home.at("work/work")).unwrap().count(), 0);
}

#[test]
fn numbers_of_several_filesystems_differ_and_are_those_of_the_listing() {
    if !root_or_skip("a layer on a filesystem of its own") {
        return;
    }
    let home = Home::new(2);
    let _memory = Mounted::memory(home.at("0"));
    for layer in ["0", "1", "upper"] {
        for index in 0..40 {
            fs::create_dir(home.at(layer).join(format!("d{layer}{index}"))).unwrap();
            fs::write(home.at(layer).join(format!("f{layer}{index}")), "").unwrap();
            fs::create_dir(home.at(layer).join(format!("m{index}"))).unwrap();
        }
    }
    let fs = home.open();
    let check = || {
        let mut numbers = HashSet::new();
        for entry in fs.read_dir("/").unwrap() {
            let attr = fs.symlink_metadata(&entry.name).unwrap();
            assert_eq!(attr.ino, entry.ino, "{:?}", entry.name);
            assert!(numbers.insert(attr.ino), "{:?}", entry.name);
        }
        numbers
    };
    let before = check();
    for entry in fs.read_dir("/").unwrap() {
        let mode = SetAttr {
            mode: Some(0o700),
            ..SetAttr::default()
        };
        fs.set_attr(&entry.name, &mode).unwrap();
    }
    assert_eq!(check(), before);
}

#[test]
fn regression_a_directory_in_two_places_is_one_inode_in_each() {
    if !root_or_skip("a directory mounted in a second place") {
        return;
    }
    let home = Home::new(1);
    fs::create_dir(home.at("upper/one")).unwrap();
    fs::create_dir(home.at("upper/two")).unwrap();
    let _second = Mounted::again(&home.at("upper/one"), home.at("upper/two"));
    let fs = home.open();
    let root = fs.union().root();
    let one = look(fs.union(), &root, "one");
    let two = look(fs.union(), &root, "two");
    assert_ne!(one.inode.number(), two.inode.number());
    let again = look(fs.union(), &root, "two");
    assert_eq!(again.inode.number(), two.inode.number());
    // These looked for the same inode again and again, and never ended.
    assert_eq!(fs.rename("two", "three").unwrap_err().errno(), Errno::BUSY);
    assert_eq!(fs.remove_dir("two").unwrap_err().errno(), Errno::BUSY);
}

#[test]
fn regression_symlinks_and_pipes_are_copied_up_with_marks_in_user_attributes() {
    let home = Home::new(1);
    std::os::unix::fs::symlink("target", home.at("0/link")).unwrap();
    let pipe = Command::new("mkfifo").arg(home.at("0/pipe")).status();
    assert!(pipe.unwrap().success());
    let descriptors = Descriptors::new(64);
    let upper = DirUpper::open(&home.at("upper"), &home.at("work"), &descriptors).unwrap();
    let lower = DirStorage::open(&home.at("0"), &descriptors).unwrap();
    let user = Dialect::Overlay(Namespace::User);
    let stack = Stack::new().upper_as(upper, user).lower_as(lower, user);
    let fs = UnionFs::from_union(Union::new(stack).unwrap());
    let times = SetAttr {
        mtime: Some(SetTime::To(Timestamp { sec: 1, nsec: 0 })),
        ..SetAttr::default()
    };
    // `user.*` belongs to files and directories alone: there is no origin.
    for name in ["link", "pipe"] {
        let root = fs.union().root();
        let entry = look(fs.union(), &root, name);
        fs.union().set_attr(&entry.inode, &times).unwrap();
        assert!(fs::symlink_metadata(home.at("upper").join(name)).is_ok());
    }
}
