//! Changes of the branches beside the rest of the world: mounts inside the
//! union, working directories, other users of the branches, long lists.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use common::branches::{branch, change, mount, read, refused, scene};
use common::commands::refused_by;
use common::{Scene, can_mount, eventually, said};

/// The kernel takes a name back with all that is mounted there.
#[test]
fn what_is_mounted_inside_stays_and_the_kernel_asks_again_all_the_same() {
    if !can_mount() {
        return;
    }
    let scene = scene(&["a", "b/d/point", "c/d/sub"]);
    for path in ["b/old", "b/d/old", "c/new", "c/d/new", "c/d/sub/new"] {
        fs::write(scene.at(path), path).unwrap();
    }
    let mounted = mount(&scene, "br:a=rw:b=ro+wh,udba=none");
    let inside = mounted.at("d/point");
    let tmpfs = Command::new("mount")
        .args(["-t", "tmpfs", "inside"])
        .arg(&inside)
        .status();
    assert!(tmpfs.unwrap().success());
    fs::write(inside.join("file"), "kept").unwrap();
    let seen = |path: &str| read(mounted.at(path));
    let number = |path: &str| fs::metadata(mounted.at(path)).unwrap().ino();
    let numbers = (number("d"), number("old"), number("d/old"));
    for _ in 0..3 {
        assert_eq!(
            (seen("new"), seen("d/new"), seen("d/sub/new")),
            (None, None, None)
        );
        change(&scene, &["append", "m", "c"]);
        assert_eq!(read(inside.join("file")).unwrap(), "kept");
        assert_eq!(seen("new").unwrap(), "c/new");
        assert_eq!(seen("d/new").unwrap(), "c/d/new");
        assert_eq!(seen("d/sub/new").unwrap(), "c/d/sub/new");
        change(&scene, &["remove", "m", "c"]);
        assert_eq!(read(inside.join("file")).unwrap(), "kept");
        assert_eq!(seen("d/old").unwrap(), "b/d/old");
    }
    assert_eq!(numbers, (number("d"), number("old"), number("d/old")));
}

#[test]
fn who_stands_in_a_branch_that_goes_stands_in_a_directory_that_was_removed() {
    if !can_mount() {
        return;
    }
    let scene = scene(&["a", "b/both", "c/both", "c/only"]);
    fs::write(scene.at("c/both/f"), "").unwrap();
    let mounted = mount(&scene, "br:a=rw:b=ro+wh:c=ro+wh,udba=none");
    let stand = |path: &str, script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("read go; {script}")]);
        command.current_dir(mounted.at(path));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(Stdio::piped()).spawn().unwrap()
    };
    let both = stand("both", "ls; echo x > made; ls");
    let only = stand("only", "ls; mkdir made 2>&1; cat f 2>&1");
    change(&scene, &["remove", "m", "c"]);
    let output = |mut child: std::process::Child| {
        child.stdin.take().unwrap().write_all(b"\n").unwrap();
        let output = child.wait_with_output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(output(both), "made\n");
    let told = output(only);
    assert_eq!(told.matches("No such file").count(), 2, "{told}");
    assert!(scene.at("a/both/made").exists());
    assert!(!mounted.at("only").exists());
}

#[test]
fn a_file_that_was_just_closed_keeps_no_branch() {
    if !can_mount() {
        return;
    }
    let scene = scene(&["a", "b"]);
    for at in 0..50 {
        fs::write(scene.at(format!("b/{at}")), "content").unwrap();
    }
    let mounted = mount(&scene, "br:a=rw,udba=none");
    for _ in 0..10 {
        change(&scene, &["append", "m", "b"]);
        let files: Vec<File> = (0..50)
            .map(|at| File::open(mounted.at(at.to_string())).unwrap())
            .collect();
        drop(files);
        change(&scene, &["remove", "m", "b"]);
    }
}

#[test]
fn a_branch_that_is_written_later_is_written_as_aufs_does() {
    if !can_mount() {
        return;
    }
    let scene = scene(&["a", "b", "c"]);
    for name in ["one", "two", "three"] {
        fs::write(scene.at(format!("c/{name}")), "").unwrap();
    }
    let mounted = mount(&scene, "br:a=rw:b=ro+wh:c,udba=none");
    change(&scene, &["change", "m", "mod:b=rw,del:a"]);
    fs::remove_file(mounted.at("one")).unwrap();
    let links = |path: &str| fs::symlink_metadata(scene.at(path)).unwrap().nlink();
    assert_eq!((links("b/.wh.one"), links("b/.wh..wh.aufs")), (2, 2));
    let told = refused(&scene, &["change", "m", "mod:b=ro,mod:b=rw+nolwh"]);
    assert!(told.contains("in another change"), "{told}");
    change(&scene, &["mode", "m", "b=ro+wh"]);
    assert!(!mounted.at("one").exists());
    change(&scene, &["mode", "m", "b=rw+nolwh"]);
    fs::remove_file(mounted.at("two")).unwrap();
    assert_eq!(links("b/.wh.two"), 1);
    drop(mounted);
    let mounted = mount(&scene, "br:b=rw:c");
    assert!(!mounted.at("one").exists() && mounted.at("three").exists());
}

#[test]
fn a_mount_that_is_read_only_gets_no_branch_that_is_written() {
    if !can_mount() {
        return;
    }
    let scene = scene(&["a", "b", "c"]);
    for options in ["br:a=rw:b,ro", "br:a=ro:b=ro+wh"] {
        let mounted = mount(&scene, options);
        for words in [&["prepend", "m", "c=rw"][..], &["mode", "m", "b=rw"]] {
            let told = refused(&scene, words);
            assert!(told.contains("the mount is read-only"), "{told}");
        }
        change(&scene, &["prepend", "m", "c"]);
        change(&scene, &["mode", "m", "c=ro+wh"]);
        drop(mounted);
        for name in ["a", "b", "c"] {
            assert_eq!(fs::read_dir(scene.at(name)).unwrap().count(), 0, "{name}");
        }
    }
}

/// `b` hides one name of `c` as AuFS does, and one as overlayfs does.
fn scene_with_marks_of_both() -> Scene {
    let scene = scene(&["a", "b", "c"]);
    for name in ["by_name", "by_device"] {
        fs::write(scene.at(format!("c/{name}")), "").unwrap();
    }
    fs::write(scene.at("b/.wh.by_name"), "").unwrap();
    let device = Command::new("mknod")
        .arg(scene.at("b/by_device"))
        .args(["c", "0", "0"])
        .status();
    assert!(device.unwrap().success());
    scene
}

#[test]
fn whose_marks_count_can_be_said_of_a_branch() {
    if !can_mount() {
        return;
    }
    let scene = scene_with_marks_of_both();
    for (form, by_name, by_device) in [
        ("", false, false),
        ("+overlay", true, false),
        // A device is one like others.
        ("+aufs", false, true),
    ] {
        let mounted = mount(&scene, &format!("br:a=rw:b=ro+wh{form}:c"));
        let seen = (
            fs::symlink_metadata(mounted.at("by_name")).is_ok(),
            fs::symlink_metadata(mounted.at("by_device")).is_ok(),
        );
        assert_eq!(seen, (by_name, by_device), "{form:?}");
    }
    let _mounted = mount(&scene, "br:a=rw:c");
    change(&scene, &["add", "m", "1", "b=ro+wh+overlay"]);
    assert!(scene.at("m/by_name").exists() && !scene.at("m/by_device").exists());
    let told = refused(&scene, &["mode", "m", "b=ro+wh+aufs"]);
    assert!(told.contains("remove it, and add it again"), "{told}");
}

/// What hides by a device would show, with the device, if it were written as
/// AuFS does.
#[test]
fn a_branch_that_was_said_to_have_other_marks_is_not_written() {
    if !can_mount() {
        return;
    }
    let scene = scene_with_marks_of_both();
    let permission = || {
        let list = String::from_utf8(branch(&scene, &["list", "m"]).stdout).unwrap();
        let line = list.lines().find(|line| line.ends_with("/b")).unwrap();
        line.to_owned()
    };
    let mounted = mount(&scene, "br:a=rw:b=ro+wh+overlay:c,udba=none");
    let seen =
        || ["by_name", "by_device"].map(|name| fs::symlink_metadata(mounted.at(name)).is_ok());
    for _ in 0..2 {
        assert_eq!(seen(), [true, false]);
        let told = refused(&scene, &["mode", "m", "b=rw"]);
        assert!(told.contains("/b has marks of overlay"), "{told}");
        assert!(told.contains("ufs convert"), "{told}");
        assert_eq!(seen(), [true, false]);
        // Not said again it is still so, and is told.
        change(&scene, &["mode", "m", "b=ro+wh"]);
        assert!(permission().contains("ro+wh+overlay"), "{}", permission());
    }
    // Those of AuFS are written on.
    drop(mounted);
    fs::remove_file(scene.at("b/by_device")).unwrap();
    let mounted = mount(&scene, "br:a=rw:b=ro+wh+aufs:c,udba=none");
    change(&scene, &["mode", "m", "b=rw"]);
    assert!(!mounted.at("by_name").exists() && mounted.at("by_device").exists());
}

#[test]
fn what_is_damaged_in_the_root_of_a_branch_is_told_with_the_branch() {
    if !can_mount() {
        return;
    }
    let scene = scene(&["a", "b", "c"]);
    for (name, is_directory) in [
        (".wh..wh.aufs", true),
        (".wh..wh.plnk", false),
        (".wh..wh.orph", false),
    ] {
        let strange = scene.at("b").join(name);
        match is_directory {
            true => fs::create_dir(&strange).unwrap(),
            false => fs::write(&strange, "").unwrap(),
        }
        // As it was said.
        let branch = |told: &str| told.contains("\"b\"") || told.contains("/b");
        let names = |told: &str| branch(told) && told.contains(name);
        let output = scene.run(["-o", "br:b=rw:c", "m"]);
        assert!(!output.status.success(), "{name}");
        assert!(names(&said(&output)), "{}", said(&output));
        let mounted = mount(&scene, "br:a=rw:c=ro");
        let told = refused(&scene, &["prepend", "m", "b=rw"]);
        assert!(names(&told), "{told}");
        change(&scene, &["append", "m", "b"]);
        let told = refused(&scene, &["mode", "m", "b=rw"]);
        assert!(names(&told), "{told}");
        drop(mounted);
        match is_directory {
            true => fs::remove_dir(&strange).unwrap(),
            false => fs::remove_file(&strange).unwrap(),
        }
        assert_eq!(fs::read_dir(scene.at("b")).unwrap().count(), 0);
    }
    // One that was written before is looked at again.
    let _mounted = mount(&scene, "br:a=rw:b=rw");
    change(&scene, &["mode", "m", "b=ro"]);
    fs::remove_dir(scene.at("b/.wh..wh.plnk")).unwrap();
    fs::write(scene.at("b/.wh..wh.plnk"), "").unwrap();
    let told = refused(&scene, &["mode", "m", "b=rw"]);
    assert!(
        told.contains("/b") && told.contains(".wh..wh.plnk"),
        "{told}"
    );
}

#[test]
fn a_branch_of_a_mount_that_is_read_only_is_told_to_be_so() {
    if !can_mount() {
        return;
    }
    let scene = scene(&["a", "b"]);
    let told = || {
        let list = branch(&scene, &["list", "--json", "m"]).stdout;
        let list: serde_json::Value = serde_json::from_slice(&list).unwrap();
        let branches = list["branches"].as_array().unwrap().clone();
        let permission = |branch: &serde_json::Value| branch["permission"].to_string();
        branches
            .iter()
            .map(permission)
            .collect::<Vec<_>>()
            .join(" ")
    };
    for (options, permissions) in [
        ("br:a=rw:b,ro", r#""ro+wh" "ro""#),
        ("br:a=rw+nolwh:b=rr+wh,ro", r#""ro+wh" "rr+wh""#),
        ("br:a=rw:b", r#""rw" "ro""#),
    ] {
        let _mounted = mount(&scene, options);
        assert_eq!(told(), permissions, "{options}");
    }
    let _mounted = scene.mount_with("ro");
    assert_eq!(told(), r#""ro" "ro""#);
}

#[test]
fn lists_of_any_length_are_told_and_no_request_is_cut() {
    if !can_mount() {
        return;
    }
    const BRANCHES: usize = 150;
    let scene = scene(&["a"]);
    let long = "x".repeat(150);
    let names: Vec<String> = (0..BRANCHES).map(|at| format!("{at}{long}")).collect();
    for name in &names {
        fs::create_dir(scene.at(name)).unwrap();
        fs::write(scene.at(name).join(&name[..8]), "").unwrap();
    }
    let mounted = mount(&scene, "br:a=rw");
    let append = |names: &[String]| {
        let mut words = vec!["append", "m"];
        words.extend(names.iter().map(String::as_str));
        branch(&scene, &words)
    };
    let output = append(&names);
    assert!(said(&output).contains("in several"), "{}", said(&output));
    assert_eq!(fs::read_dir(&mounted.point).unwrap().count(), 0);
    for some in names.chunks(50) {
        let output = append(some);
        assert!(output.status.success(), "{}", said(&output));
    }
    assert_eq!(fs::read_dir(&mounted.point).unwrap().count(), BRANCHES);
    let list = branch(&scene, &["list", "--json", "m"]).stdout;
    let list: serde_json::Value = serde_json::from_slice(&list).unwrap();
    let branches = list["branches"].as_array().unwrap();
    assert_eq!(branches.len(), BRANCHES + 1);
    for (at, branch) in branches.iter().enumerate() {
        assert_eq!(branch["index"], at);
        let expected = match at {
            0 => ("rw", scene.at("a")),
            _ => ("ro", scene.at(&names[at - 1])),
        };
        assert_eq!(branch["permission"], expected.0);
        assert_eq!(branch["directory"], expected.1.to_str().unwrap());
    }
}

#[test]
fn the_words_of_a_remount_are_those_of_whoever_says_them() {
    if !can_mount() {
        return;
    }
    let scene = scene(&["a", "b", "b,1"]);
    fs::write(scene.at("b/f"), "b").unwrap();
    fs::write(scene.at("b,1/f"), "b,1").unwrap();
    let mounted = mount(&scene, "br:a=rw,udba=none");
    assert_eq!(read(mounted.at("f")), None);
    let remount = |words: &str| scene.run(["-o", words, "m"]);
    let output = remount("remount,rw,append:b=ro+wh,create=rr");
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(read(mounted.at("f")).unwrap(), "b");
    let output = remount(r"remount,add:1:b\,1=ro,del:b");
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(read(mounted.at("f")).unwrap(), "b,1");
    for (words, told) in [
        ("remount,del:b", "is no branch"),
        ("remount,append:nowhere", "does not exist"),
        ("remount,append:b=wr", "is no permission"),
        ("remount,append:b,shwh", "cannot be changed while mounted"),
        ("remount,append:m", "mount point"),
        ("remount,create=nonsense", "create=nonsense"),
        ("remount,create=tdp,bogus", "bogus"),
        ("remount,create=tdp,ro", "two remounts"),
        ("remount,udba=notify", "cannot be changed while mounted"),
        ("remount,noacl", "cannot be changed while mounted"),
    ] {
        let output = remount(words);
        assert!(!output.status.success(), "{words}");
        assert!(said(&output).contains(told), "{words}: {}", said(&output));
    }
    let list = String::from_utf8(branch(&scene, &["list", "m"]).stdout).unwrap();
    assert_eq!(list.lines().count(), 2, "{list}");
    let output = remount("remount,create=tdp");
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn words_without_a_meaning_are_no_failure_of_the_mount() {
    if !can_mount() {
        return;
    }
    let scene = scene(&["a", "b"]);
    let mounted = mount(&scene, "br:a=rw,udba=none");
    for (words, status) in [
        (&["append", "m", "b=wr"][..], 1),
        (&["mode", "m", "a"], 1),
        (&["add", "m", "x", "b"], 1),
        (&["change", "m", "create=nonsense"], 1),
        (&["change", "m", "bogus"], 1),
        (&["append", "m", "nowhere"], 32),
        (&["remove", "m", "b"], 32),
    ] {
        let said = refused_by("branch", &branch(&scene, words), status);
        assert!(!said.contains("::"), "{said}");
    }
    drop(mounted);
}

#[test]
fn what_others_change_in_a_branch_that_came_later_is_followed() {
    if !can_mount() {
        return;
    }
    let scene = scene(&["a", "b/d", "c/d"]);
    fs::write(scene.at("b/d/f"), "").unwrap();
    let mounted = mount(&scene, "br:a=rw:b=ro+wh,udba=notify");
    assert!(mounted.at("d/f").exists() && !mounted.at("d/new").exists());
    change(&scene, &["append", "m", "c"]);
    assert!(!mounted.at("d/new").exists() && !mounted.at("top").exists());
    fs::write(scene.at("c/d/new"), "").unwrap();
    fs::write(scene.at("c/top"), "").unwrap();
    eventually("both are seen", || {
        mounted.at("d/new").exists() && mounted.at("top").exists()
    });
}

#[test]
fn an_opaque_mark_of_others_is_followed() {
    if !can_mount() {
        return;
    }
    let scene = scene(&["a", "b/d", "c/d"]);
    fs::write(scene.at("c/d/low"), "").unwrap();
    let mounted = mount(&scene, "br:a=rw:b=ro+wh:c=ro+wh,udba=notify");
    for _ in 0..3 {
        assert!(mounted.at("d/low").exists());
        fs::write(scene.at("b/d/.wh..wh..opq"), "").unwrap();
        eventually("it is hidden", || !mounted.at("d/low").exists());
        fs::remove_file(scene.at("b/d/.wh..wh..opq")).unwrap();
        eventually("it shows again", || mounted.at("d/low").exists());
    }
}

/// Names that were two objects when the branch was not the only writable one.
#[test]
fn lower_hard_links_are_there_when_a_branch_becomes_the_only_writable_one() {
    if !can_mount() {
        return;
    }
    for words in [["mode", "m", "b2=ro+wh"].as_slice(), &["remove", "m", "b2"]] {
        let scene = scene(&["b1", "b2", "lo"]);
        fs::write(scene.at("lo/f"), "1").unwrap();
        fs::hard_link(scene.at("lo/f"), scene.at("lo/g")).unwrap();
        let mounted = mount(&scene, "br:b1=rw:b2=rw:lo=ro+wh");
        let held = rustix::fs::open(
            mounted.at("f"),
            rustix::fs::OFlags::PATH,
            rustix::fs::Mode::empty(),
        );
        let held = held.unwrap();
        let before = rustix::fs::fstat(&held).unwrap().st_ino;
        change(&scene, words);
        assert_eq!(rustix::fs::fstat(&held).unwrap().st_ino, before);
        for name in ["f", "g"] {
            assert_eq!(read(mounted.at(name)).as_deref(), Some("1"));
        }
        // They part, as without pseudo-links.
        fs::write(mounted.at("f"), "two").unwrap();
        assert_eq!(rustix::fs::fstat(&held).unwrap().st_size, 3);
        assert_eq!(read(mounted.at("g")).as_deref(), Some("1"));
    }
}

#[test]
fn names_that_cannot_be_looked_up_do_not_keep_a_branch_from_coming() {
    if !can_mount() {
        return;
    }
    let scene = scene(&["b1", "lo", "new"]);
    fs::write(scene.at("lo/f"), "1").unwrap();
    fs::hard_link(scene.at("lo/f"), scene.at("lo/g")).unwrap();
    // Longer than AuFS takes.
    fs::write(scene.at("lo").join("a".repeat(250)), "").unwrap();
    let mounted = mount(&scene, "br:b1=rw:lo=ro+wh");
    fs::write(mounted.at("f"), "2").unwrap();
    change(&scene, &["prepend", "m", "new=rw"]);
    assert_eq!(read(mounted.at("g")).as_deref(), Some("2"));
}
