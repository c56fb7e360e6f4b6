//! Inode numbers over copy-up, rename and remount, as the kernel's overlayfs
//! keeps them, and whoever wrote the stack.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirEntryExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use overlay_core::fs::UnionFs;
use overlay_core::union::{Options, RedirectDir};
use overlay_core::{Name, SetAttr};
use overlay_tests::ground::Ground;
use overlay_tests::runner::{root, skip};
use overlay_tests::subject::kernel::Kernel;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

const KERNEL: &str = "redirect_dir=on,index=off,metacopy=off,xino=auto";

fn on() -> Options {
    Options {
        redirect_dir: RedirectDir::On,
        ..Options::default()
    }
}

fn ground() -> Ground {
    let ground = Ground::new(&["top", "base"], &[]);
    ground.write("top/d/top", b"");
    ground.write("base/d/base", b"");
    ground.write("base/d/moved", b"");
    ground.write("base/d/inner/deep", b"");
    ground.write("base/e/other", b"");
    fs::hard_link(ground.path("base/e/other"), ground.path("base/e/linked")).unwrap();
    symlink("nowhere", ground.path("base/e/link")).unwrap();
    ground
}

/// Numbers by path, as `stat` shows them; listings have to show the same.
fn ours(fs: &UnionFs) -> BTreeMap<String, u64> {
    let mut numbers = BTreeMap::new();
    let mut waiting = vec![String::new()];
    while let Some(dir) = waiting.pop() {
        for entry in fs.read_dir(format!("/{dir}")).unwrap() {
            let path = format!("{dir}/{}", entry.name.display());
            let attr = fs.symlink_metadata(&path).unwrap();
            assert_eq!(entry.ino, attr.ino, "{path}");
            if attr.kind.is_dir() {
                waiting.push(path.clone());
            }
            assert!(numbers.insert(path, attr.ino).is_none());
        }
    }
    numbers
}

fn kernels(root: &Path) -> BTreeMap<String, u64> {
    let mut numbers = BTreeMap::new();
    let mut waiting = vec![String::new()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(root.join(dir.trim_start_matches('/'))).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{dir}/{}", entry.file_name().display());
            let meta = fs::symlink_metadata(entry.path()).unwrap();
            assert_eq!(entry.ino(), meta.ino(), "{path}");
            if meta.is_dir() {
                waiting.push(path.clone());
            }
            assert!(numbers.insert(path, meta.ino()).is_none());
        }
    }
    numbers
}

fn chmod(fs: &UnionFs, path: &str) {
    let set = SetAttr {
        mode: Some(0o700),
        ..SetAttr::default()
    };
    fs.set_attr(path, &set).unwrap();
}

fn change(fs: &UnionFs) {
    chmod(fs, "d/base");
    chmod(fs, "d/top");
    chmod(fs, "e/other");
    chmod(fs, "d/inner/deep");
    fs.rename("d/moved", "e/there").unwrap();
    fs.rename("d/inner", "e/inner").unwrap();
    fs.rename("e/link", "link").unwrap();
    fs.rename("d", "renamed").unwrap();
    fs.write("new", b"").unwrap();
    fs.create_dir("n").unwrap();
    fs.hard_link("e/there", "n/there").unwrap();
}

#[test]
fn numbers_stay_over_copy_up_rename_and_remount() {
    if skip(root()) {
        return;
    }
    let ground = ground();
    let fs = ground.ours(on());
    let before = ours(&fs);
    change(&fs);
    let after = ours(&fs);
    for (old, new) in [
        ("/d", "/renamed"),
        ("/d/base", "/renamed/base"),
        ("/d/moved", "/e/there"),
        ("/d/moved", "/n/there"),
        ("/d/inner/deep", "/e/inner/deep"),
        ("/e/link", "/link"),
        ("/e", "/e"),
    ] {
        assert_eq!(before[old], after[new], "{old}");
    }
    assert_ne!(before["/e/other"], after["/e/other"], "the link is broken");
    drop(fs);
    assert_eq!(ours(&ground.ours(on())), after);
}

#[test]
fn the_kernel_shows_the_numbers_that_we_show() {
    if skip(Kernel::available()) {
        return;
    }
    let ground = ground();
    let fs = ground.ours(on());
    change(&fs);
    let shown = ours(&fs);
    drop(fs);
    assert_eq!(kernels(&ground.kernel(KERNEL).path("")), shown);
}

#[test]
fn we_show_the_numbers_that_the_kernel_shows() {
    if skip(Kernel::available()) {
        return;
    }
    let ground = ground();
    let shown = {
        let kernel = ground.kernel(KERNEL);
        let at = |path: &str| kernel.path(path);
        for path in ["d/base", "e/other", "d/inner/deep"] {
            fs::set_permissions(at(path), fs::Permissions::from_mode(0o700)).unwrap();
        }
        fs::rename(at("d/moved"), at("e/there")).unwrap();
        fs::rename(at("d/inner"), at("e/inner")).unwrap();
        fs::rename(at("d"), at("renamed")).unwrap();
        fs::create_dir(at("n")).unwrap();
        fs::hard_link(at("e/there"), at("n/there")).unwrap();
        fs::write(at("new"), b"").unwrap();
        kernels(&at(""))
    };
    let fs = ground.ours(on());
    assert_eq!(ours(&fs), shown);
    // Listed first, before anything was looked up.
    let listed = ground.path("m");
    drop(fs);
    let fs = ground.ours(on());
    let entries = fs.read_dir("n").unwrap();
    assert_eq!(entries[0].ino, shown["/n/there"], "{}", listed.display());
}

/// `open_by_handle_at(2)` is not for everybody.
#[test]
fn without_privileges_a_copy_keeps_its_number_where_it_keeps_its_name() {
    if skip(root()) {
        return;
    }
    let ground = ground();
    let fs = ground.ours(on());
    chmod(&fs, "d/base");
    let shown = ours(&fs);
    drop(fs);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut sets = capabilities(None).unwrap();
            sets.effective.remove(CapabilitySet::DAC_READ_SEARCH);
            set_capabilities(None, sets).unwrap();
            assert_eq!(ours(&ground.ours(on())), shown);
        });
    });
}

fn name(name: &str) -> &Name {
    Name::new(name.as_bytes()).unwrap()
}

/// Of two uppers that say they are copies of one file, one has its number.
#[test]
fn two_copies_of_one_file_are_two_files() {
    if skip(root()) {
        return;
    }
    let ground = ground();
    let fs = ground.ours(on());
    chmod(&fs, "d/base");
    drop(fs);
    let origin = "trusted.overlay.origin";
    let mut value = [0; 256];
    let len = rustix::fs::lgetxattr(ground.path("u/d/base"), origin, &mut value[..]).unwrap();
    let other = ground.write("u/d/other", b"other");
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::lsetxattr(&other, origin, &value[..len], flags).unwrap();
    // And the original comes to light again.
    ground.write("u/d/third", b"");
    fs::rename(ground.path("u/d/base"), ground.path("u/d/copy")).unwrap();
    let fs = ground.ours(on());
    let mut numbers = Vec::new();
    let union = fs.union();
    let dir = union.lookup(&union.root(), name("d")).unwrap().unwrap();
    for called in ["base", "copy", "other", "third"] {
        let entry = union.lookup(&dir.inode, name(called)).unwrap().unwrap();
        // As the kernel does with what it knows.
        union.pin(&entry.inode);
        numbers.push(entry.attr.ino);
    }
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 4);
    fs.write("d/base", b"base").unwrap();
    assert_eq!(fs.read("d/other").unwrap(), b"other");
    assert_eq!(fs.read("d/copy").unwrap(), b"");
}
