//! How mounts come up and go.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{
    Mounted, Scene, can_mount, eventually, has_fusermount, in_own_namespace, is_mounted, said,
    server, ufsmount, word,
};
use overlay_core::{Directories, MemStorage, Stack, Union};
use overlay_fuse::{Mount, MountOptions, Unmounted};
use rustix::process::{Pid, Signal, kill_process};

fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

#[test]
fn the_command_returns_when_the_mount_is_live_and_the_server_lets_go_of_the_terminal() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    // That output() returns at all shows that the server keeps no pipe open.
    let output = scene.run([scene.at("l"), scene.at("u"), scene.at("m")]);
    let mounted = Mounted {
        point: scene.at("m").canonicalize().unwrap(),
    };
    assert_eq!(fs::read(mounted.at("file")).unwrap(), b"lower\n");
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty());
    let pid = server(&scene).unwrap();
    let link = |name: &str| fs::read_link(format!("/proc/{pid}/{name}")).unwrap();
    assert_eq!(link("cwd").to_str(), Some("/"));
    for number in 0..3 {
        assert_eq!(link(&format!("fd/{number}")).to_str(), Some("/dev/null"));
    }
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let session = stat.rsplit(')').next().unwrap().split_whitespace().nth(3);
    assert_eq!(
        session,
        Some(pid.to_string().as_str()),
        "a session of its own"
    );
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("Umask:\t0000"));
}

#[test]
fn what_the_caller_has_open_is_not_kept_by_the_server() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let script = "(flock 9; \"$0\" l u m) 9>lock; flock -n lock true; test -e m/file; umount m";
    let output = in_own_namespace(&scene, script);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn sigterm_and_sigint_unmount() {
    if !can_mount() {
        return;
    }
    for number in [Signal::TERM, Signal::INT] {
        let scene = Scene::new();
        let mounted = scene.mount_all();
        signal(server(&scene).unwrap(), number);
        eventually("unmounted", || !is_mounted(&mounted.point));
        eventually("the server has ended", || server(&scene).is_none());
        assert_eq!(fs::read_dir(&mounted.point).unwrap().count(), 0);
    }
}

#[test]
fn a_signal_while_files_are_open_unmounts_lazily() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let mounted = scene.mount_all();
    let mut open = File::create(mounted.at("new")).unwrap();
    signal(server(&scene).unwrap(), Signal::TERM);
    eventually("unmounted", || !is_mounted(&mounted.point));
    open.write_all(b"still served").unwrap();
    drop(open);
    eventually("the server has ended", || server(&scene).is_none());
    assert_eq!(fs::read(scene.at("u/new")).unwrap(), b"still served");
}

#[test]
fn umount_ends_the_server_and_the_layers_can_be_mounted_again_at_once() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    for round in 0..5 {
        let mounted = scene.mount_all();
        fs::write(mounted.at(format!("round{round}")), "x").unwrap();
        let status = Command::new("umount").arg(&mounted.point).status().unwrap();
        assert!(status.success());
        assert!(!is_mounted(&mounted.point));
    }
    eventually("the servers have ended", || server(&scene).is_none());
    assert_eq!(fs::read_dir(scene.at("u")).unwrap().count(), 5);
}

#[test]
fn an_ordinary_user_mounts_changes_and_unmounts() {
    if !can_mount() || !has_fusermount() {
        return;
    }
    let scene = Scene::new();
    let user = Some(common::USER);
    for name in ["l", "l/d", "l/file", "l/d/inner", "u", "m", ""] {
        std::os::unix::fs::chown(scene.at(name), user, user).unwrap();
    }
    // With /dev/fuse as it is on desktops: for everyone.
    let script = "mount -t tmpfs none /dev; mknod -m 666 /dev/null c 1 3; \
        mknod -m 666 /dev/fuse c 10 229; \
        exec setpriv --reuid 65534 --regid 65534 --clear-groups sh -ec '\
        \"$0\" l u m; grep -q \" fuse.ufsmount .*user_id=65534\" /proc/mounts; \
        echo new > m/file; rm -r m/d; fusermount3 -u m; test -z \"$(ls m)\"' \"$0\"";
    let output = in_own_namespace(&scene, script);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(fs::read(scene.at("l/file")).unwrap(), b"lower\n");
    assert_eq!(fs::read(scene.at("u/file")).unwrap(), b"new\n");
    let attr = fs::symlink_metadata(scene.at("u/d")).unwrap();
    assert_eq!(attr.rdev(), 0, "a whiteout");
}

#[test]
fn in_the_foreground_it_ends_with_the_mount() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let mut command = ufsmount();
    command.current_dir(scene.root()).args(["-f", "l", "m"]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let point = scene.at("m").canonicalize().unwrap();
    eventually("mounted", || is_mounted(&point));
    assert!(child.try_wait().unwrap().is_none());
    assert!(
        Command::new("umount")
            .arg(&point)
            .status()
            .unwrap()
            .success()
    );
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_debug_log_tells_requests() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let mut command = ufsmount();
    command.current_dir(scene.root());
    let words = ["-f", "--debug", "--log", "log", "l", "u", "m"];
    let mut child = command.args(words).spawn().unwrap();
    let mounted = Mounted {
        point: scene.at("m").canonicalize().unwrap(),
    };
    eventually("live", || mounted.at("file").exists());
    drop(mounted);
    assert!(child.wait().unwrap().success());
    let log = fs::read_to_string(scene.at("log")).unwrap();
    assert!(log.contains("lookup"), "{log}");
}

#[test]
fn options_are_shown_in_the_table_of_mounts() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let options = "lowerdir=l,upperdir=u,noexec,nodev,noatime,subtype=other";
    let mounted = scene.mount(["some source", "m", "-o", options]);
    let table = fs::read_to_string("/proc/mounts").unwrap();
    let line = table
        .lines()
        .find(|line| line.contains(mounted.point.to_str().unwrap()))
        .unwrap();
    assert!(line.starts_with("some\\040source "), "{line}");
    assert!(
        line.contains(" fuse.other rw,nodev,noexec,noatime,"),
        "{line}"
    );
    assert!(line.contains("default_permissions,allow_other"), "{line}");
}

#[test]
fn paths_of_any_bytes_work() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let (lower, upper) = (word(b"a:b,c\\ \xff"), word(b"u,\xfe \\"));
    fs::create_dir(scene.at(&lower)).unwrap();
    fs::create_dir(scene.at(&upper)).unwrap();
    fs::write(scene.at(&lower).join("odd"), "odd").unwrap();
    let escaped = word(b"a\\:b\\,c\\\\ \xff:l");
    for words in [
        vec![escaped.clone(), upper.clone(), word(b"m")],
        vec![
            word(b"-o"),
            word(b"lowerdir=a\\:b\\,c\\\\ \xff:l,upperdir=u\\,\xfe \\\\"),
            word(b"m"),
        ],
    ] {
        let mounted = scene.mount(words);
        assert_eq!(fs::read(mounted.at("odd")).unwrap(), b"odd");
        assert_eq!(fs::read(mounted.at("file")).unwrap(), b"lower\n");
        fs::write(mounted.at("made"), "made").unwrap();
        assert_eq!(fs::read(scene.at(&upper).join("made")).unwrap(), b"made");
        drop(mounted);
    }
}

#[test]
fn a_work_directory_that_was_made_stays_for_the_next_mount() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    drop(scene.mount_all());
    assert!(scene.at("u.work").is_dir());
    drop(scene.mount_all());
}

#[test]
fn without_an_upper_or_with_ro_nothing_can_be_changed() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    fs::write(scene.at("u/top"), "top").unwrap();
    let before = scene.snapshot();
    for words in [&["l", "m"][..], &["l", "u", "m", "-oro"]] {
        let mounted = scene.mount(words);
        let error = fs::write(mounted.at("new"), "").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EROFS));
        assert_eq!(mounted.at("top").exists(), words.len() > 2);
    }
    assert_eq!(scene.snapshot(), before);
}

#[test]
fn a_union_without_an_upper_is_mounted_read_only_by_itself() {
    if !can_mount() {
        return;
    }
    let storage = MemStorage::new();
    storage.write("file", b"lower").unwrap();
    let union = Union::new(Stack::new().lower(storage)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mounted = Mount::builder(union).mount(dir.path()).unwrap();
    let flags = rustix::fs::statvfs(dir.path()).unwrap().f_flag;
    assert!(flags.contains(rustix::fs::StatVfsMountFlags::RDONLY));
    let file = dir.path().join("file");
    for error in [
        File::options().write(true).open(&file).unwrap_err(),
        fs::remove_file(&file).unwrap_err(),
        fs::create_dir(dir.path().join("new")).unwrap_err(),
    ] {
        assert_eq!(error.raw_os_error(), Some(libc::EROFS));
    }
    assert_eq!(mounted.unmount().unwrap(), Unmounted::Now);
}

#[test]
fn few_descriptors_are_enough() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    for number in 0..600 {
        let name = format!("l/d{number}");
        fs::create_dir(scene.at(&name)).unwrap();
        fs::write(scene.at(&name).join("f"), &name).unwrap();
    }
    let script = "ulimit -n 256; \"$0\" l u m; test $(find m -type f | wc -l) = 602; \
                  cat m/d*/f | wc -c; umount m";
    let output = in_own_namespace(&scene, script);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn an_embedder_unmounts_by_hand_or_by_dropping() {
    if !can_mount() {
        return;
    }
    let storage = MemStorage::new();
    storage.write("hello", b"from memory").unwrap();
    let union =
        || Union::new(Stack::new().upper(MemStorage::new()).lower(storage.clone())).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mounted = Mount::builder(union()).mount(dir.path()).unwrap();
    assert_eq!(fs::read(dir.path().join("hello")).unwrap(), b"from memory");
    fs::write(dir.path().join("new"), "x").unwrap();
    assert_eq!(mounted.unmount().unwrap(), Unmounted::Now);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

    let options = MountOptions::new().source("dropped");
    let mounted = Mount::builder(union()).options(options).mount(dir.path());
    assert!(dir.path().join("hello").exists());
    drop(mounted);
    assert!(!dir.path().join("hello").exists());

    let mounted = Mount::builder(union()).mount(dir.path()).unwrap();
    let unmounter = mounted.unmounter();
    let waiting = std::thread::spawn(move || mounted.wait());
    assert_eq!(unmounter.unmount().unwrap(), Unmounted::Now);
    waiting.join().unwrap().unwrap();
    assert_eq!(unmounter.unmount().unwrap(), Unmounted::Already);
}

#[test]
fn a_mount_under_another_mount_is_not_mistaken_for_it() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let mounted = scene.mount_all();
    let cover = Command::new("mount")
        .args(["-t", "tmpfs", "none"])
        .arg(&mounted.point)
        .status();
    assert!(cover.unwrap().success());
    signal(server(&scene).unwrap(), Signal::TERM);
    std::thread::sleep(Duration::from_millis(200));
    assert!(server(&scene).is_some(), "what is on top is not ours");
    signal(server(&scene).unwrap(), Signal::TERM);
    eventually("the second signal ends it", || server(&scene).is_none());
}

/// As an entry of fstab on a directory that is mounted already.
#[test]
fn a_mount_over_another_goes_and_leaves_that_alone() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    // Made before it, and moved onto it: older, and on top.
    let script = "mount --make-private -t tmpfs below m; touch m/below; mkdir o; \
        \"$0\" $PWD/l $PWD/u $PWD/m; test -e m/file; umount m; test -e m/below; \
        wait_for() { for try in $(seq 100); do eval \"$1\" && return; sleep 0.1; done; false; }; \
        pid() { pgrep -f -- \"--detached $PWD/l\"; }; \
        wait_for '! pid >/dev/null'; \"$0\" $PWD/l $PWD/u $PWD/m; kill $(pid); \
        wait_for 'test -e m/below'; wait_for '! pid >/dev/null'; \
        mount -t tmpfs over o; touch o/over; \"$0\" $PWD/l $PWD/u $PWD/m; \
        mount --move o m; test -e m/over; kill $(pid); sleep 0.3; pid >/dev/null; test -e m/over; \
        umount m; test -e m/file; umount m; test -e m/below; umount m; test -z \"$(ls m)\"";
    let output = in_own_namespace(&scene, script);
    assert!(output.status.success(), "{}", said(&output));
    eventually("the server has ended", || server(&scene).is_none());
}

#[test]
fn the_layers_are_free_when_an_embedder_has_unmounted() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let directories = Directories {
        lowers: vec![scene.at("l")],
        upper: Some(scene.at("u")),
        ..Directories::default()
    };
    for _ in 0..3 {
        let union = Union::new(directories.open().unwrap()).unwrap();
        let mounted = Mount::builder(union).mount(scene.at("m")).unwrap();
        let mut text = String::new();
        let mut file = File::open(scene.at("m/file")).unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "lower\n");
        drop(file);
        mounted.unmount().unwrap();
    }
}
