//! File handles of a mount: what `name_to_handle_at(2)` gives,
//! `open_by_handle_at(2)` takes, also when the kernel has forgotten the file.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use common::{Scene, can_mount, eventually};
use overlay_core::sys::{Object, handle};

type Handle = (u8, Vec<u8>);

fn handle_of(path: &Path) -> Handle {
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::NOFOLLOW;
    let fd = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).unwrap();
    handle::of(Object::Held(fd.as_fd())).unwrap().unwrap()
}

/// The number and the content of the file with this handle.
fn open(mount: &File, (kind, bytes): &Handle) -> Option<(u64, String)> {
    let fd = handle::open(mount.as_fd(), *kind, bytes).unwrap()?;
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd));
    let meta = fs::metadata(&path).unwrap();
    let mut content = String::new();
    if meta.is_file() {
        File::open(&path)
            .unwrap()
            .read_to_string(&mut content)
            .unwrap();
    }
    Some((meta.ino(), content))
}

/// The kernel forgets what nobody uses, and tells the server.
fn forget() {
    for _ in 0..2 {
        fs::write("/proc/sys/vm/drop_caches", "2").unwrap();
    }
}

fn scene() -> Scene {
    let scene = Scene::new();
    fs::create_dir_all(scene.at("l/deep/er")).unwrap();
    fs::write(scene.at("l/deep/er/lower"), "lower").unwrap();
    fs::write(scene.at("l/deep/er/changed"), "old").unwrap();
    fs::hard_link(scene.at("l/deep/er/lower"), scene.at("l/linked")).unwrap();
    scene
}

#[test]
fn with_nfs_export_handles_survive_what_the_kernel_forgets() {
    if !can_mount() {
        return;
    }
    let scene = scene();
    let mounted = scene.mount_with("nfs_export=on");
    let mount = File::open(&mounted.point).unwrap();
    fs::write(mounted.at("new"), "new").unwrap();
    let number = |path: &str| fs::metadata(mounted.at(path)).unwrap().ino();
    let handles: Vec<_> = [
        ("deep/er/lower", "lower"),
        ("deep/er/changed", "now"),
        ("linked", "lower"),
        ("new", "new"),
        ("deep/er", ""),
    ]
    .into_iter()
    .map(|(path, content)| {
        let handle = handle_of(&mounted.at(path));
        (number(path), handle, content)
    })
    .collect();
    let gone = handle_of(&mounted.at("file"));
    forget();
    fs::write(mounted.at("deep/er/changed"), "now").unwrap();
    fs::rename(mounted.at("deep/er"), mounted.at("moved")).unwrap();
    fs::remove_file(mounted.at("file")).unwrap();
    forget();
    for (number, handle, content) in &handles {
        let (found, read) = open(&mount, handle).expect("a good handle");
        assert_eq!((found, read.as_str()), (*number, *content));
    }
    assert!(open(&mount, &gone).is_none(), "the file was removed");
    assert_eq!(handles[0].1, handles[2].1, "hard links are one file");
}

#[test]
fn a_handle_of_a_removed_file_never_leads_to_a_new_one() {
    if !can_mount() {
        return;
    }
    let scene = scene();
    for options in ["nfs_export=on", "nfs_export=off"] {
        let mounted = scene.mount_with(options);
        let mount = File::open(&mounted.point).unwrap();
        let mut reused = 0;
        for round in 0..50 {
            let path = mounted.at("same");
            fs::write(&path, "first").unwrap();
            let handle = handle_of(&path);
            let before = fs::metadata(&path).unwrap().ino();
            fs::remove_file(&path).unwrap();
            fs::write(&path, "second").unwrap();
            reused += u32::from(fs::metadata(&path).unwrap().ino() == before);
            // The kernel holds the old one until its RELEASE was answered.
            eventually("the removed file leads nowhere", || {
                let found = open(&mount, &handle);
                let content = found.map(|(_, content)| content);
                assert_ne!(
                    content.as_deref(),
                    Some("second"),
                    "{options}, round {round}"
                );
                content.is_none()
            });
            fs::remove_file(&path).unwrap();
        }
        eprintln!("{options}: {reused} of 50 numbers were used again");
    }
}

#[test]
fn without_nfs_export_a_handle_is_good_while_the_file_is_known() {
    if !can_mount() {
        return;
    }
    let scene = scene();
    let mounted = scene.mount_with("nfs_export=off");
    let mount = File::open(&mounted.point).unwrap();
    let path = mounted.at("deep/er/changed");
    let _known = File::open(&path).unwrap();
    let handle = handle_of(&path);
    let number = fs::metadata(&path).unwrap().ino();
    assert_eq!(open(&mount, &handle), Some((number, "old".to_owned())));
}
