//! What is left of a branch that was taken out of a mounted stack: nothing, in
//! whatever way it was known before.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirEntryExt, FileExt, MetadataExt};
use std::path::PathBuf;
use std::process::Command;

use common::branches::{change, mount, read, scene};
use common::{Mounted, Scene, can_mount, eventually, said};
use rustix::fs::{Mode, OFlags};

/// Holds a name without opening what has it.
fn hold(mounted: &Mounted, path: &str) -> OwnedFd {
    rustix::fs::open(mounted.at(path), OFlags::PATH, Mode::empty()).unwrap()
}

/// Where the descriptor leads, as the server sees it.
fn by_descriptor(fd: &impl AsRawFd) -> std::io::Result<File> {
    File::open(descriptor(fd))
}

fn descriptor(fd: &impl AsRawFd) -> PathBuf {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into()
}

/// Who holds what went with its branch does not come to what has its inode
/// number by now, be it on the branch of another name or of the same one.
#[test]
fn what_went_with_its_branch_is_nothing_else_later() {
    if !can_mount() {
        return;
    }
    let scene = scene(&["a", "b/d", "b/same", "c"]);
    for path in ["b/f", "b/d/in", "b/g", "b/same/in"] {
        fs::write(scene.at(path), path).unwrap();
    }
    let mounted = mount(&scene, "br:a=rw:b=ro+wh,udba=none");
    let numbers = ["f", "d", "g", "same"].map(|name| fs::metadata(mounted.at(name)).unwrap().ino());
    let held = ["f", "d", "g", "same"].map(|name| hold(&mounted, name));
    change(&scene, &["remove", "m", "b"]);
    // The same inodes of the filesystem, as those of other objects.
    for (from, to) in [("f", "y"), ("d", "e"), ("g", "g"), ("same", "same")] {
        fs::rename(scene.at("b").join(from), scene.at("c").join(to)).unwrap();
    }
    change(&scene, &["append", "m", "c"]);
    for round in 0..2 {
        for (name, number) in ["y", "e", "g", "same"].iter().zip(numbers) {
            let now = fs::metadata(mounted.at(name)).unwrap();
            assert_ne!(now.ino(), number, "{name}");
            for entry in fs::read_dir(&mounted.point).unwrap() {
                let entry = entry.unwrap();
                if entry.file_name().as_encoded_bytes() == name.as_bytes() {
                    assert_eq!(entry.ino(), now.ino());
                }
            }
        }
        for (fd, name) in held.iter().zip(["f", "d", "g", "same"]) {
            let error = by_descriptor(fd).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ENOENT), "{name} {round}");
        }
        assert_eq!(read(mounted.at("y")).unwrap(), "b/f");
        assert_eq!(read(mounted.at("e/in")).unwrap(), "b/d/in");
        // And over another change.
        change(&scene, &["append", "m", "b"]);
        change(&scene, &["remove", "m", "b"]);
    }
}

/// Names of one file are one object, whichever is met first.
#[test]
fn what_has_several_names_is_found_by_any_after_a_change() {
    if !can_mount() {
        return;
    }
    let scene = scene(&["a", "c"]);
    let mounted = mount(&scene, "br:a=rw,udba=none");
    fs::write(mounted.at("one"), "content").unwrap();
    fs::hard_link(mounted.at("one"), mounted.at("two")).unwrap();
    let number = fs::metadata(mounted.at("one")).unwrap().ino();
    let held = hold(&mounted, "one");
    change(&scene, &["append", "m", "c"]);
    assert_eq!(fs::metadata(mounted.at("two")).unwrap().ino(), number);
    assert_eq!(
        by_descriptor(&held).unwrap().metadata().unwrap().ino(),
        number
    );
    assert_eq!(fs::metadata(mounted.at("one")).unwrap().ino(), number);
}

/// A mounted filesystem, which goes if the test fails.
struct Disk(PathBuf);

impl Disk {
    fn mount(scene: &Scene) -> Disk {
        run(scene, &["mount", "-t", "tmpfs", "disk", "disk"]);
        Disk(scene.at("disk"))
    }

    /// Nobody may use it.
    fn take_out(self, scene: &Scene) {
        // Of a branch that is only read the server has a mount of its own, which
        // an unmount leaves alone.
        let device = fs::metadata(&self.0).unwrap().dev();
        assert_eq!(held_by_servers(device), [""; 0]);
        run(scene, &["umount", "disk"]);
        std::mem::forget(self);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let detached = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(detached.unwrap().success());
    }
}

/// What servers hold on a filesystem.
fn held_by_servers(device: u64) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let processes = processes.map(|process| process.path());
    let serves = |process: &PathBuf| {
        read(process.join("cmdline")).is_some_and(|words| words.contains("ufsmount"))
    };
    let held = processes.filter(serves).flat_map(|process| {
        let open = fs::read_dir(process.join("fd")).into_iter().flatten();
        open.flatten().map(|descriptor| descriptor.path())
    });
    let on_it = |path: &PathBuf| fs::metadata(path).is_ok_and(|attr| attr.dev() == device);
    let named = |path: PathBuf| fs::read_link(path).unwrap().display().to_string();
    held.filter(on_it).map(named).collect()
}

fn run(scene: &Scene, words: &[&str]) {
    let mut command = Command::new(words[0]);
    let output = command
        .args(&words[1..])
        .current_dir(scene.root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{words:?}: {}", said(&output));
}

/// A disk can be taken out when its branch is.
#[test]
fn a_branch_that_was_removed_is_not_in_use() {
    if !can_mount() {
        return;
    }
    let scene = scene(&["a", "disk"]);
    let disk = Disk::mount(&scene);
    let mounted = mount(&scene, "br:disk=rw:a=rw,udba=none");
    for name in ["1", "2"] {
        fs::create_dir(mounted.at(name)).unwrap();
        fs::write(mounted.at(name).join("f"), "").unwrap();
    }
    change(&scene, &["remove", "m", "disk"]);
    disk.take_out(&scene);
    assert_eq!(fs::read_dir(&mounted.point).unwrap().count(), 0);
    fs::write(mounted.at("f"), "").unwrap();
    assert!(scene.at("a/f").exists());
}

/// To whoever has it open it is a directory that was removed.
#[test]
fn a_directory_that_is_open_does_not_hold_the_branch_that_it_was_on() {
    if !can_mount() {
        return;
    }
    let scene = scene(&["a/both", "disk"]);
    for (access, udba) in [("ro+wh", "none"), ("ro+wh", "notify"), ("rw", "none")] {
        let disk = Disk::mount(&scene);
        for path in ["only", "only/sub", "both", "held"] {
            fs::create_dir(scene.at("disk").join(path)).unwrap();
        }
        fs::write(scene.at("disk/both/f"), "").unwrap();
        let mounted = mount(&scene, &format!("br:a=rw:disk={access},udba={udba}"));
        fs::write(mounted.at("both/mine"), "mine").unwrap();
        let open = |path: &str| File::open(mounted.at(path)).unwrap();
        let number = |file: &File| file.metadata().unwrap().ino();
        let directories = ["only", "only/sub", "both", ""].map(open);
        let numbers = directories.each_ref().map(number);
        // In a directory that was on both.
        let mine = open("both/mine");
        let held = hold(&mounted, "held");
        change(&scene, &["remove", "m", "disk"]);
        disk.take_out(&scene);
        assert_eq!(directories.each_ref().map(number), numbers);
        for gone in &directories[..2] {
            assert_eq!(fs::read_dir(descriptor(gone)).unwrap().count(), 0);
            assert!(gone.metadata().unwrap().is_dir());
        }
        assert!(by_descriptor(&held).is_err());
        assert_eq!(std::io::read_to_string(&mine).unwrap(), "mine");
        assert_eq!(
            fs::read_dir(descriptor(&directories[2])).unwrap().count(),
            1
        );
        fs::remove_file(mounted.at("both/mine")).unwrap();
        // Over another change, too.
        fs::create_dir(scene.at("more")).unwrap();
        change(&scene, &["append", "m", "more"]);
        assert_eq!(directories.each_ref().map(number), numbers);
        fs::remove_dir(scene.at("more")).unwrap();
    }
}

/// Whether somebody is told of changes in a directory.
fn is_watched(path: PathBuf) -> bool {
    let number = fs::metadata(path).unwrap().ino();
    let wanted = format!("fanotify ino:{number:x} ");
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let open = processes.filter_map(|process| fs::read_dir(process.path().join("fdinfo")).ok());
    let told = open.flatten().flatten();
    let told = told.filter_map(|descriptor| read(descriptor.path()));
    told.into_iter().any(|told| told.contains(&wanted))
}

#[test]
fn a_branch_that_was_removed_is_not_watched() {
    if !can_mount() {
        return;
    }
    let scene = scene(&["a/d", "b/d/e", "b/x"]);
    let mounted = mount(&scene, "br:a=rw:b=ro+wh,udba=notify");
    let look = || {
        for path in ["d/e/f", "x/f"] {
            assert!(!mounted.at(path).exists());
        }
    };
    look();
    let watched = |paths: &[&str]| -> Vec<bool> {
        let paths = paths.iter();
        paths.map(|path| is_watched(scene.at(*path))).collect()
    };
    assert_eq!(
        watched(&["a", "a/d", "b", "b/d", "b/d/e", "b/x"]),
        [true; 6]
    );
    // Some of it was not asked for between two changes.
    fs::create_dir(scene.at("c")).unwrap();
    change(&scene, &["append", "m", "c"]);
    change(&scene, &["remove", "m", "b"]);
    assert_eq!(watched(&["b", "b/d", "b/d/e", "b/x"]), [false; 4]);
    look();
    fs::write(scene.at("c/new"), "").unwrap();
    eventually("it is seen", || mounted.at("new").exists());
    assert_eq!(watched(&["a", "a/d"]), [true; 2]);
}

/// Its name and number are those of the file below from then on.
#[test]
fn what_the_kernel_knew_of_a_copy_that_went_is_not_taken_for_the_original() {
    if !can_mount() {
        return;
    }
    let scene = scene(&["a", "b", "c"]);
    fs::write(scene.at("b/f"), "old").unwrap();
    let mounted = mount(&scene, "br:c=rw:a=rw:b=ro,udba=none,create=tdp,cpup=bu");
    let file = File::options().write(true).open(mounted.at("f")).unwrap();
    file.write_all_at(b"new", 0).unwrap();
    drop(file);
    let number = fs::metadata(mounted.at("f")).unwrap().ino();
    assert_eq!(read(mounted.at("f")).unwrap(), "new");
    assert_eq!(read(scene.at("a/f")).unwrap(), "new");
    // Else the kernel forgets it.
    let _held = hold(&mounted, "f");
    change(&scene, &["remove", "m", "a"]);
    assert_eq!(read(mounted.at("f")).unwrap(), "old");
    assert_eq!(fs::metadata(mounted.at("f")).unwrap().ino(), number);
}
