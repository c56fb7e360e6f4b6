//! A directory that is only read.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::sync::Arc;

use overlay_core::Errno;
use overlay_core::layer::dir::{Descriptors, DirStorage};
use overlay_core::layer::{Access, Node, Storage, WritableStorage};
use overlay_tests::conformance::*;

fn lower(dirs: &Dirs) -> Arc<dyn Node> {
    let budget = Descriptors::new(16);
    DirStorage::open(&dirs.outside(), &budget).unwrap().root()
}

fn node(dir: &dyn Node, called: &str) -> Arc<dyn Node> {
    dir.lookup(name(called)).unwrap().unwrap().node
}

#[test]
fn a_lower_must_be_a_directory_that_is_there() {
    let dirs = Dirs::new();
    let budget = Descriptors::new(16);
    let missing = DirStorage::open(&dirs.outside().join("none"), &budget);
    assert_eq!(errno(missing), Errno::NOENT);
    fs::write(dirs.outside().join("file"), b"").unwrap();
    let file = DirStorage::open(&dirs.outside().join("file"), &budget);
    assert_eq!(errno(file), Errno::NOTDIR);
}

#[test]
fn a_lower_is_never_opened_for_writing() {
    let dirs = Dirs::new();
    fs::write(dirs.outside().join("file"), b"x").unwrap();
    let file = node(&*lower(&dirs), "file");
    assert_eq!(errno(file.open(Access::Write)), Errno::ROFS);
    let memory = overlay_core::layer::mem::MemStorage::new();
    memory.write("file", b"x").unwrap();
    let file = node(&*Storage::root(&*memory), "file");
    assert_eq!(errno(file.open(Access::Write)), Errno::ROFS);
}

#[test]
fn reading_a_lower_changes_no_access_time() {
    let dirs = Dirs::new();
    let inner = dirs.outside().join("dir");
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("file"), b"content").unwrap();
    std::os::unix::fs::symlink("target", inner.join("link")).unwrap();
    // Long before the times of change: relatime would renew them.
    let old = fs::FileTimes::new().set_accessed(std::time::UNIX_EPOCH);
    for path in [&inner, &inner.join("file"), &dirs.outside()] {
        fs::File::open(path).unwrap().set_times(old).unwrap();
    }
    let atime = |path: &std::path::Path| {
        let meta = fs::symlink_metadata(path).unwrap();
        (meta.atime(), meta.atime_nsec())
    };
    let link_before = atime(&inner.join("link"));
    std::thread::sleep(std::time::Duration::from_millis(20));
    let root = lower(&dirs);
    assert_eq!(names(&*root).len(), 1);
    let dir = node(&*root, "dir");
    assert_eq!(names(&*dir).len(), 2);
    assert_eq!(read(&*node(&*dir, "file")), b"content");
    for path in [&inner, &inner.join("file"), &dirs.outside()] {
        assert_eq!(atime(path), (0, 0), "{}", path.display());
    }
    if root_or_skip("the atime of a symlink: only a private mount can spare it") {
        assert_eq!(node(&*dir, "link").link_target().unwrap(), b"target");
        assert_eq!(atime(&inner.join("link")), link_before);
    }
}

#[test]
fn the_kernel_too_refuses_to_write_to_a_lower() {
    if !root_or_skip("private mounts") {
        return;
    }
    let dirs = Dirs::new();
    fs::write(dirs.outside().join("file"), b"x").unwrap();
    let open = node(&*lower(&dirs), "file").open(Access::Read).unwrap();
    let fd = open.fd().unwrap();
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd));
    let refused = fs::OpenOptions::new().write(true).open(path).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(Errno::ROFS.raw_os_error()));
    assert_eq!(rustix::fs::fchmod(fd, 0o600.into()), Err(Errno::ROFS));
}

#[test]
fn what_is_mounted_inside_a_lower_does_not_shine_through() {
    if !root_or_skip("mounts") {
        return;
    }
    let dirs = Dirs::new();
    let inner = dirs.outside().join("inner");
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("below"), b"").unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "none"])
        .arg(&inner)
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        skipped("no tmpfs can be mounted here");
        return;
    }
    let listed = node(&*lower(&dirs), "inner");
    let seen = names(&*listed);
    assert!(
        Command::new("umount")
            .arg(&inner)
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(seen, [name("below").to_owned()]);
}

#[test]
fn a_lower_outlives_the_mount_it_was_opened_from() {
    if !root_or_skip("mounts") {
        return;
    }
    let dirs = Dirs::new();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "none"])
        .arg(dirs.outside())
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        skipped("no tmpfs can be mounted here");
        return;
    }
    fs::write(dirs.outside().join("file"), b"still").unwrap();
    let root = lower(&dirs);
    assert!(
        Command::new("umount")
            .arg(dirs.outside())
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(read(&*node(&*root, "file")), b"still");
}

#[test]
fn data_goes_from_a_lower_into_the_upper_within_the_kernel() {
    let dirs = Dirs::new();
    fs::write(dirs.outside().join("file"), vec![5; 1 << 20]).unwrap();
    let from = node(&*lower(&dirs), "file").open(Access::Read).unwrap();
    let storage = dirs.open(16);
    let root = WritableStorage::root(&*storage);
    let to = write(&*root, "copy", b"");
    let open = to.open(Access::Write).unwrap();
    if !open.reflink(&*from).unwrap() {
        let (from, to) = (from.fd().unwrap(), open.fd().unwrap());
        let (mut at, mut to_at) = (0, 0);
        let copied =
            rustix::fs::copy_file_range(from, Some(&mut at), to, Some(&mut to_at), 1 << 20);
        assert_eq!(copied, Ok(1 << 20));
    }
    assert_eq!(read(&*to), vec![5; 1 << 20]);
}

#[test]
fn a_read_only_face_shows_all_that_the_writable_one_made() {
    let dirs = Dirs::new();
    let storage = dirs.open(16);
    let root = WritableStorage::root(&*storage);
    for (number, kind) in KINDS.into_iter().enumerate() {
        make(&*root, &format!("object-{number}"), kind);
    }
    let lower = DirStorage::open(&dirs.upper(), &Descriptors::new(16))
        .unwrap()
        .root();
    assert_eq!(names(&*lower), names(&*root));
    for called in names(&*root) {
        assert_eq!(
            lower.attr_of(&called).unwrap(),
            root.attr_of(&called).unwrap()
        );
    }
}
