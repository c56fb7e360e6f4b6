//! `ufs demo` works as root and as a user, says what stands in its way, and
//! leaves nothing.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use common::{can_mount, eventually, has_fusermount, install, said};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

fn demo(place: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ufs"));
    command.arg("demo").env("TMPDIR", place);
    command
}

/// A place for the demonstration that everyone may use.
fn place() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
    place
}

fn is_empty(place: &TempDir) -> bool {
    fs::read_dir(place.path()).unwrap().next().is_none()
}

fn shows_all(output: &Output) {
    assert!(output.status.success(), "{}", said(output));
    let text = String::from_utf8_lossy(&output.stdout);
    for part in [
        "copied up",
        "whiteout: hides",
        "opaque: hides",
        "as before",
        "umount merged",
    ] {
        assert!(text.contains(part), "{part:?} not in {text}");
    }
    assert!(!text.contains('\x1b'), "colours are for terminals");
}

#[test]
fn it_shows_copy_up_whiteouts_and_opaque_directories_and_leaves_nothing() {
    if !can_mount() {
        return;
    }
    let place = place();
    shows_all(&demo(place.path()).output().unwrap());
    assert!(is_empty(&place));
}

#[test]
fn it_works_for_ordinary_users() {
    if !can_mount() || !has_fusermount() {
        return;
    }
    let place = place();
    let program = tempfile::tempdir().unwrap();
    fs::set_permissions(program.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = program.path().join("ufs");
    install(env!("CARGO_BIN_EXE_ufs"), &program);
    let script = "mount -t tmpfs none /dev; mknod -m 666 /dev/null c 1 3; \
        mknod -m 666 /dev/fuse c 10 229; \
        exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$0\" demo";
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-ec", script])
        .arg(&program)
        .env("TMPDIR", place.path())
        .output()
        .unwrap();
    shows_all(&output);
    assert!(is_empty(&place));
}

#[test]
fn without_fuse_it_says_so() {
    if !can_mount() {
        return;
    }
    let place = place();
    let script = "mount -t tmpfs none /dev; mknod -m 666 /dev/null c 1 3; exec \"$0\" demo";
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-ec", script])
        .arg(env!("CARGO_BIN_EXE_ufs"))
        .env("TMPDIR", place.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).starts_with("ufs: /dev/fuse is missing: load"),
        "{}",
        said(&output)
    );
    assert!(is_empty(&place));
}

#[test]
fn without_a_place_it_says_which_variable_to_set() {
    if !can_mount() {
        return;
    }
    let output = demo(Path::new("/proc")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let sentence = said(&output);
    assert!(sentence.contains("set TMPDIR"), "{sentence}");
    assert_eq!(sentence.lines().count(), 1, "{sentence}");
}

#[test]
fn interrupted_it_leaves_nothing() {
    if !can_mount() {
        return;
    }
    let place = place();
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    // So full that the demonstration has to wait for its reader.
    rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
    rustix::io::write(&writer, &[b'-'; 3000]).unwrap();
    let mut child = demo(place.path())
        .stdout(writer)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    eventually("it is under way", || !is_empty(&place));
    std::thread::sleep(std::time::Duration::from_millis(300));
    let pid = Pid::from_raw(child.id() as i32).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let mut text = String::new();
    // Reading lets it go on to the next look at the signal.
    File::from(reader).read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(!text.contains("umount merged"), "{text}");
    assert!(is_empty(&place));
}

#[test]
fn a_reader_who_has_seen_enough_is_no_error() {
    if !can_mount() {
        return;
    }
    let place = place();
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    drop(reader);
    let status = demo(place.path()).stdout(writer).status().unwrap();
    assert!(status.success());
    assert!(is_empty(&place));
}
