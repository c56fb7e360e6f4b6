//! In place of another mount program: as container engines call it, through
//! `mount(8)` and `/etc/fstab`, and how it goes.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use common::{
    Mounted, Scene, can_mount, eventually, in_own_namespace, is_mounted, said, server, skipped,
};
use rustix::process::{Pid, Signal, kill_process};

fn umount(point: &Path) {
    let status = Command::new("umount").arg(point).status();
    assert!(status.unwrap().success());
}

#[test]
fn relative_layers_through_symlinks_are_those_of_the_current_directory() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    // As containers/storage lays it out: short names, each a symlink.
    for (id, content) in [("one", "1"), ("two", "2")] {
        let diff = scene.at(id).join("diff");
        fs::create_dir_all(&diff).unwrap();
        fs::write(diff.join(id), content).unwrap();
        symlink(
            format!("../{id}/diff"),
            scene.at("l").join(id.to_uppercase()),
        )
        .unwrap();
    }
    for name in ["three", "three/diff", "three/work"] {
        fs::create_dir(scene.at(name)).unwrap();
    }
    let options = "lowerdir=l/ONE:l/TWO,upperdir=three/diff,workdir=three/work,,volatile";
    let mounted = scene.mount(["-o", options, scene.at("m").to_str().unwrap()]);
    assert_eq!(fs::read(mounted.at("one")).unwrap(), b"1");
    assert_eq!(fs::read(mounted.at("two")).unwrap(), b"2");
    fs::write(mounted.at("three"), "3").unwrap();
    umount(&mounted.point);
    assert_eq!(fs::read(scene.at("three/diff/three")).unwrap(), b"3");
}

#[test]
fn options_may_come_in_several_lists() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let words = [
        "-o",
        "lowerdir+=l",
        "-onoexec,fsname=here",
        "m",
        "-o",
        "upperdir=u",
    ];
    let mounted = scene.mount(words);
    fs::write(mounted.at("new"), "").unwrap();
    let table = fs::read_to_string("/proc/mounts").unwrap();
    let shown = format!("here {} fuse.ufsmount rw,noexec,", mounted.point.display());
    assert!(table.contains(&shown), "{table}");
}

/// With `drop_privileges` it mounts itself, and hands the device over.
#[test]
fn mount_fuse3_is_told_that_it_has_to_leave_the_mounting_to_us() {
    if !can_mount() || !has_mount_fuse() {
        return;
    }
    let scene = Scene::new();
    let script = "mount -t fuse.ufsmount x m -o lowerdir=$PWD/l,drop_privileges 2>&1 || echo $?; \
        umount m";
    let told = in_namespace_with_the_command_installed(&scene, script);
    assert!(
        told.contains("leave drop_privileges out, or use setuid=USER"),
        "{told}"
    );
    assert_eq!(told.lines().last(), Some("1"), "{told}");
}

#[test]
fn the_status_says_whether_the_words_were_wrong_or_the_mount_failed() {
    let scene = Scene::new();
    for (words, status) in [
        (&["--help"][..], 0),
        (&["-V"], 0),
        (&["--version"], 0),
        (&["l"], 1),
        (&["--bogus"], 1),
        (&["l", "u", "m", "-o", "bogus"], 1),
        (&["l", "u", "m", "-o", "userxattr,redirect_dir=on"], 1),
        (&["l", "u", "m", "-o", "userxattr,metacopy=on"], 1),
        (&["l", "u", "m", "-o", "nfs_export=on,metacopy=on"], 1),
        (&["x", "/dev/fd/3", "-o", "lowerdir=l"], 1),
        (&["no", "u", "m"], 32),
        (&["-f", "l", "u", "no"], 32),
    ] {
        let output = scene.run(words);
        assert_eq!(
            output.status.code(),
            Some(status),
            "{words:?}: {}",
            said(&output)
        );
        let expected = match status {
            0 => (false, true),
            _ => (true, false),
        };
        assert_eq!(
            expected,
            (output.stdout.is_empty(), output.stderr.is_empty())
        );
    }
    let version = String::from_utf8(scene.run(["--version"]).stdout).unwrap();
    assert_eq!(version, format!("ufsmount {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_refused_mount_makes_no_log() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    for words in [
        &["no", "u", "m"][..],
        &["l", "u", "no"],
        &["-f", "l", "u", "no"],
    ] {
        let before = scene.snapshot();
        common::refused(&scene.run(words.iter().chain(&["--log", "log"])));
        assert_eq!(scene.snapshot(), before);
    }
    fs::write(scene.at("log"), "from before\n").unwrap();
    common::refused(&scene.run(["no", "u", "m", "--log", "log"]));
    assert_eq!(fs::read(scene.at("log")).unwrap(), b"from before\n");
    drop(scene.mount(["l", "u", "m", "--log", "log"]));
    assert!(
        fs::read(scene.at("log"))
            .unwrap()
            .starts_with(b"from before\n")
    );
}

/// `mount(8)` finds the command in the usual places only, whatever `PATH` is.
const INSTALLED: &str = "mount -t tmpfs none /usr/local/bin; \
    install -m 755 \"$0\" /usr/local/bin/ufsmount; trap 'umount -l m 2>/dev/null || true' EXIT; \
    line() { grep \" $PWD/m \" /proc/mounts; };";

fn has_mount_fuse() -> bool {
    let found = ["/sbin/mount.fuse3", "/sbin/mount.fuse"];
    let found = found.iter().any(|path| Path::new(path).exists());
    if !found {
        skipped("mount.fuse3 is not installed");
    }
    found
}

fn in_namespace_with_the_command_installed(scene: &Scene, script: &str) -> String {
    let output = in_own_namespace(scene, &format!("{INSTALLED} {script}"));
    eventually("the servers have ended", || server(scene).is_none());
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn mount8_mounts_by_type_and_by_source() {
    if !can_mount() || !has_mount_fuse() {
        return;
    }
    let options = "lowerdir=$PWD/l,upperdir=$PWD/u,nosuid";
    for (how, shown) in [
        ("-t fuse.ufsmount 'the source' m", "the\\040source"),
        ("-t fuse 'ufsmount#the source' m", "the\\040source"),
        ("-t fuse.ufsmount -o fsname=name none m", "name"),
    ] {
        let scene = Scene::new();
        let script = format!("mount {how} -o {options}; line; echo new > m/file; umount m");
        let line = in_namespace_with_the_command_installed(&scene, &script);
        assert!(line.starts_with(&format!("{shown} ")), "{line}");
        assert!(
            line.contains(" fuse.ufsmount rw,nosuid,relatime,"),
            "{line}"
        );
        assert_eq!(fs::read(scene.at("u/file")).unwrap(), b"new\n");
    }
}

#[test]
fn mount8_mounts_branches_and_changes_them_by_remount() {
    if !can_mount() || !has_mount_fuse() {
        return;
    }
    let scene = Scene::new();
    fs::create_dir(scene.at("more")).unwrap();
    fs::write(scene.at("more/new"), "").unwrap();
    let script = "mount -t fuse.ufsmount none m -o br:$PWD/u=rw:$PWD/l=ro+wh,create=mfs,nosuid; \
        line; ls m; mount -o remount,append:$PWD/more=ro+wh,del:$PWD/l m; ls m; \
        mount -o remount,del:$PWD/nowhere m 2>&1 || echo $?; line; umount m";
    let told = in_namespace_with_the_command_installed(&scene, script);
    let lines: Vec<&str> = told.lines().collect();
    assert!(
        lines[0].starts_with("none ") && lines[0].contains("nosuid"),
        "{told}"
    );
    assert_eq!(lines[1..4], ["d", "file", "new"], "{told}");
    assert!(lines[4].contains("is no branch"), "{told}");
    assert_eq!(lines[lines.len() - 2], "32", "{told}");
    assert_eq!(lines.last(), lines.first(), "{told}");
}

#[test]
fn a_failure_reaches_the_caller_of_mount8_with_its_status() {
    if !can_mount() || !has_mount_fuse() {
        return;
    }
    let scene = Scene::new();
    let script = "status() { mount -t fuse.ufsmount none m -o $1 2>&1 || echo $?; }; \
        status lowerdir=$PWD/no; status lowerdir=$PWD/l,bogus";
    let told = in_namespace_with_the_command_installed(&scene, script);
    let lines: Vec<&str> = told.lines().collect();
    assert!(
        lines[0].contains("does not exist") && lines[1] == "32",
        "{told}"
    );
    assert!(lines[2].contains("bogus") && lines[3] == "1", "{told}");
}

#[test]
fn a_line_in_fstab_is_enough() {
    if !can_mount() || !has_mount_fuse() {
        return;
    }
    let scene = Scene::new();
    let script = "echo \"union $PWD/m fuse.ufsmount lowerdir=$PWD/l,upperdir=$PWD/u,noauto,nofail,\
        _netdev,users,x-systemd.requires=/,comment=ours 0 0\" > fstab; \
        mount -T fstab $PWD/m; line; rm m/file; umount m";
    let line = in_namespace_with_the_command_installed(&scene, script);
    // What `users` brings along (mount(8)).
    let shown = "fuse.ufsmount rw,nosuid,nodev,noexec,relatime,";
    assert!(line.starts_with("union ") && line.contains(shown), "{line}");
    assert!(!fs::symlink_metadata(scene.at("u/file")).unwrap().is_file());
}

#[test]
fn mount_fuse3_may_start_it_as_another_user() {
    if !can_mount() || !has_mount_fuse() || !common::has_fusermount() {
        return;
    }
    let scene = Scene::new();
    for name in ["l", "l/d", "l/file", "l/d/inner", "u", "m", ""] {
        std::os::unix::fs::chown(scene.at(name), Some(common::USER), Some(common::USER)).unwrap();
    }
    let script = "grep -v '^someone:' /etc/passwd > passwd; \
        echo \"someone:x:65534:65534::$PWD:/bin/sh\" >> passwd; mount --bind passwd /etc/passwd; \
        mount -t tmpfs none d; mknod -m 666 d/fuse c 10 229; mount --bind d/fuse /dev/fuse; \
        options=lowerdir=$PWD/l,upperdir=$PWD/u,setuid=someone; \
        mount -t fuse.ufsmount none m -o $options 2>&1 || echo $?; \
        mount -t fuse.ufsmount none m -o $options,nosuid,nodev; line; umount m";
    fs::create_dir(scene.at("d")).unwrap();
    let told = in_namespace_with_the_command_installed(&scene, script);
    let lines: Vec<&str> = told.lines().collect();
    // mount.fuse3 adds `dev` and `suid` where the contrary is not given.
    assert!(
        lines[0].contains("is not permitted to an ordinary user: write no"),
        "{told}"
    );
    assert!(lines[2].contains("user_id=65534"), "{told}");
}

#[test]
fn every_way_of_unmounting_ends_the_server() {
    if !can_mount() || !common::has_fusermount() {
        return;
    }
    for command in [
        &["umount"][..],
        &["umount", "-l"],
        &["fusermount3", "-u"],
        &["fusermount3", "-uz"],
    ] {
        let scene = Scene::new();
        let mounted = scene.mount_all();
        let (program, words) = command.split_first().unwrap();
        let status = Command::new(program)
            .args(words)
            .arg(&mounted.point)
            .status();
        assert!(status.unwrap().success(), "{command:?}");
        assert!(!is_mounted(&mounted.point), "{command:?}");
        eventually("the server has ended", || server(&scene).is_none());
    }
}

fn terminate(scene: &Scene) {
    let server = Pid::from_raw(server(scene).unwrap()).unwrap();
    kill_process(server, Signal::TERM).unwrap();
}

#[test]
fn a_signal_unmounts_also_where_a_directory_above_was_renamed() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    fs::create_dir_all(scene.at("above/point")).unwrap();
    let output = scene.run([scene.at("l"), scene.at("u"), scene.at("above/point")]);
    assert!(output.status.success(), "{}", said(&output));
    fs::rename(scene.at("above"), scene.at("renamed")).unwrap();
    let mounted = Mounted {
        point: scene.at("renamed/point").canonicalize().unwrap(),
    };
    assert!(mounted.at("file").exists());
    // A directory of the old name is not it.
    fs::create_dir_all(scene.at("above/point")).unwrap();
    terminate(&scene);
    eventually("unmounted", || !is_mounted(&mounted.point));
    eventually("the server has ended", || server(&scene).is_none());
}

#[test]
fn a_signal_unmounts_also_where_the_mount_was_moved() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    fs::create_dir(scene.at("other")).unwrap();
    let script = "\"$0\" $PWD/l $PWD/u $PWD/m; mount --move m other; cat other/file; \
        kill $(pgrep -f -- \"--detached $PWD/l\"); \
        for try in $(seq 100); do grep -q \" $PWD/other \" /proc/mounts || exit 0; sleep 0.1; done; \
        umount -l other; exit 1";
    let output = in_own_namespace(&scene, script);
    assert!(output.status.success(), "{}", said(&output));
    eventually("the server has ended", || server(&scene).is_none());
}
