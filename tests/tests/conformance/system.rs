//! System calls that stand in for each other, by the kernel's age: the newer
//! and the older way must agree.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};

use overlay_core::layer::{RenameMode, SetXattr};
use overlay_core::sys::{self, At, Object};
use overlay_core::{Errno, SetTime, Timestamp};
use overlay_tests::conformance::*;
use rustix::fs::OFlags;

fn held(path: &std::path::Path) -> OwnedFd {
    sys::open::path(path, OFlags::PATH | OFlags::NOFOLLOW).unwrap()
}

#[test]
fn both_ways_to_read_an_attribute_agree() {
    let dirs = Dirs::new();
    let dir = held(&dirs.upper());
    fs::write(dirs.upper().join("file"), b"").unwrap();
    fs::create_dir(dirs.upper().join("dir")).unwrap();
    symlink("file", dirs.upper().join("link")).unwrap();
    let long = vec![b'v'; 3000];
    for called in ["file", "dir", "link"] {
        let at = At::new(dir.as_fd(), name(called));
        let fd = held(&dirs.upper().join(called));
        for object in [Object::Entry(at), Object::Held(fd.as_fd())] {
            assert_eq!(sys::xattr::get(object, b"user.none").unwrap(), None);
        }
        let newer = sys::xattr::get_entry(at, b"user.none");
        if newer.as_ref().is_err_and(|error| error.is(Errno::NOSYS)) {
            eprintln!("SKIPPED: no getxattrat before Linux 6.13");
            return;
        }
        assert_eq!(newer.unwrap(), None);
        if called == "link" {
            continue;
        }
        for value in [&b""[..], b"short", &long] {
            let attribute = b"user.value";
            sys::xattr::set(Object::Entry(at), attribute, value, SetXattr::Any).unwrap();
            let expected = Some(value.to_vec());
            assert_eq!(
                sys::xattr::get(Object::Entry(at), attribute).unwrap(),
                expected
            );
            assert_eq!(
                sys::xattr::get(Object::Held(fd.as_fd()), attribute).unwrap(),
                expected
            );
            assert_eq!(sys::xattr::get_entry(at, attribute).unwrap(), expected);
            if called == "dir" {
                let read = sys::xattr::get_directory(fd.as_fd(), attribute);
                assert_eq!(read.unwrap(), expected);
            }
        }
    }
    let missing = At::new(dir.as_fd(), name("missing"));
    assert_eq!(
        errno(sys::xattr::get_entry(missing, b"user.a")),
        Errno::NOENT
    );
    assert_eq!(
        errno(sys::xattr::get(Object::Entry(missing), b"user.a")),
        Errno::NOENT
    );
}

#[test]
fn both_ways_to_change_a_mode_agree() {
    let dirs = Dirs::new();
    let dir = held(&dirs.upper());
    fs::write(dirs.upper().join("file"), b"").unwrap();
    symlink("file", dirs.upper().join("link")).unwrap();
    let mode = || {
        fs::metadata(dirs.upper().join("file"))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777
    };
    let set_held = |called: &str, mode| {
        let fd = held(&dirs.upper().join(called));
        sys::meta::set_mode_held(fd.as_fd(), mode)
    };
    let set_entry = |called, mode| sys::meta::set_mode_of(At::new(dir.as_fd(), name(called)), mode);
    set_held("file", 0o640).unwrap();
    assert_eq!(mode(), 0o640);
    assert_eq!(errno(set_held("link", 0o777)), Errno::OPNOTSUPP);
    match set_entry("file", 0o604) {
        Err(error) if error.is(Errno::NOSYS) => {
            eprintln!("SKIPPED: no fchmodat2 before Linux 6.6");
            return;
        }
        outcome => outcome.unwrap(),
    }
    assert_eq!(mode(), 0o604);
    assert_eq!(errno(set_entry("link", 0o777)), Errno::OPNOTSUPP);
    assert_eq!(mode(), 0o604);
}

#[test]
fn a_failed_call_says_which_and_on_what() {
    let dirs = Dirs::new();
    let dir = held(&dirs.upper());
    let at = At::new(dir.as_fd(), name("file"));
    fs::write(dirs.upper().join("file"), b"").unwrap();
    fs::write(dirs.upper().join("other"), b"").unwrap();
    let other = At::new(dir.as_fd(), name("other"));
    let error = sys::rename::rename(at, other, RenameMode::NoReplace).unwrap_err();
    let said = error.to_string();
    assert!(said.starts_with("renameat2(dir "), "{said}");
    assert!(
        said.contains("/'file' -> dir ") && said.contains("/'other'"),
        "{said}"
    );
    let missing = Object::Entry(At::new(dir.as_fd(), name("missing")));
    assert_eq!(
        sys::stat::attr(missing).unwrap_err(),
        overlay_core::Error::NotFound
    );
}

#[test]
fn times_of_a_held_symlink_are_its_own() {
    let dirs = Dirs::new();
    fs::write(dirs.upper().join("file"), b"").unwrap();
    symlink("file", dirs.upper().join("link")).unwrap();
    let (link, file) = (
        held(&dirs.upper().join("link")),
        held(&dirs.upper().join("file")),
    );
    let before = sys::stat::attr(Object::Held(file.as_fd())).unwrap();
    let then = Some(SetTime::To(Timestamp { sec: 5, nsec: 6 }));
    sys::meta::set_times(Object::Held(link.as_fd()), then, then).unwrap();
    let attr = sys::stat::attr(Object::Held(link.as_fd())).unwrap();
    assert_eq!(attr.mtime, Timestamp { sec: 5, nsec: 6 });
    assert_eq!(sys::stat::attr(Object::Held(file.as_fd())).unwrap(), before);
}
