//! What goes wrong in other union filesystems, seen with our own eyes: each
//! fault once, on a real mount. Numbers as in the list they were kept in.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use common::{Scene, can_mount, eventually, is_mounted};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use rustix::mount::{MountFlags, UnmountFlags, mount};

fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

fn unmount(scene: &Scene, mounted: common::Mounted) {
    drop(mounted);
    eventually("unmounted", || !is_mounted(&scene.at("m")));
}

/// What the kernel's overlayfs shows over the same layers; unmounted on drop.
struct KernelMount<'a>(&'a Path);

impl KernelMount<'_> {
    fn new<'a>(scene: &Scene, point: &'a Path, options: &str) -> KernelMount<'a> {
        fs::create_dir_all(point).unwrap();
        let dir = scene.root().to_str().unwrap();
        let options = std::ffi::CString::new(options.replace("@", dir)).unwrap();
        mount(
            "overlay",
            point,
            "overlay",
            MountFlags::empty(),
            Some(&*options),
        )
        .unwrap();
        KernelMount(point)
    }
}

impl Drop for KernelMount<'_> {
    fn drop(&mut self) {
        rustix::mount::unmount(self.0, UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn fault_1_a_file_open_for_reading_does_not_lead_a_later_write_into_the_lower() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let mounted = scene.mount_all();
    let mut reader = File::open(mounted.at("file")).unwrap();
    let mut seen = String::new();
    reader.read_to_string(&mut seen).unwrap();
    let mut writer = OpenOptions::new()
        .append(true)
        .open(mounted.at("file"))
        .unwrap();
    writer.write_all(b"more\n").unwrap();
    assert_eq!(fs::read(scene.at("l/file")).unwrap(), b"lower\n");
    assert_eq!(fs::read(scene.at("u/file")).unwrap(), b"lower\nmore\n");
    // And the reader sees it: databases depend on that.
    reader.rewind().unwrap();
    seen.clear();
    reader.read_to_string(&mut seen).unwrap();
    assert_eq!(seen, "lower\nmore\n");
}

#[test]
fn fault_2_removed_content_is_not_back_below_a_directory_that_was_made_again() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    fs::create_dir_all(scene.at("l/b/p/old")).unwrap();
    fs::write(scene.at("l/b/p/old/file"), "old").unwrap();
    let mounted = scene.mount_all();
    fs::remove_dir_all(mounted.at("b")).unwrap();
    fs::create_dir_all(mounted.at("b/p/q")).unwrap();
    unmount(&scene, mounted);
    let mounted = scene.mount_all();
    let names: Vec<_> = fs::read_dir(mounted.at("b/p"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["q"]);
}

#[test]
fn fault_3_layers_of_the_kernel_are_shown_rightly_or_refused_and_never_wrongly() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let merged = scene.at("k");
    fs::create_dir(scene.at("w")).unwrap();
    fs::write(scene.at("l/big"), vec![7; 100_000]).unwrap();
    {
        let options = "lowerdir=@/l,upperdir=@/u,workdir=@/w,redirect_dir=on,metacopy=on";
        let _kernel = KernelMount::new(&scene, &merged, options);
        fs::set_permissions(merged.join("big"), Permissions::from_mode(0o600)).unwrap();
        fs::rename(merged.join("d"), merged.join("moved")).unwrap();
    }
    let mounted = scene.mount_all();
    assert_eq!(fs::read(mounted.at("moved/inner")).unwrap(), b"inner\n");
    assert!(!mounted.at("d").exists());
    // Not followed yet, so there is no right answer but an error.
    let error = fs::symlink_metadata(mounted.at("big")).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
    assert_eq!(fs::read(mounted.at("file")).unwrap(), b"lower\n");
}

#[test]
fn fault_3_whiteouts_that_are_marked_files_hide() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    // As an unprivileged writer leaves a layer (kernels read it from 6.7).
    fs::create_dir_all(scene.at("top/d")).unwrap();
    for path in ["top", "top/d"] {
        set_xattr(&scene.at(path), "trusted.overlay.opaque", b"x");
    }
    for path in ["top/file", "top/d/inner"] {
        fs::write(scene.at(path), "").unwrap();
        set_xattr(&scene.at(path), "trusted.overlay.whiteout", b"y");
    }
    fs::write(scene.at("top/d/empty"), "").unwrap();
    let list = |root: &Path| {
        let mut names: Vec<_> = ["", "d"]
            .iter()
            .flat_map(|dir| fs::read_dir(root.join(dir)).unwrap())
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    let lowers = format!("{}:{}", scene.at("top").display(), scene.at("l").display());
    let mounted = scene.mount([lowers.as_ref(), scene.at("u").as_path(), &scene.at("m")]);
    assert_eq!(list(&mounted.point), ["d", "empty"]);
    assert!(!mounted.at("file").exists() && !mounted.at("d/inner").exists());
    let merged = scene.at("k");
    let _kernel = KernelMount::new(&scene, &merged, "lowerdir=@/top:@/l");
    assert_eq!(list(&merged), list(&mounted.point));
}

#[test]
fn fault_4_copy_up_keeps_the_times_of_symlinks_and_the_modes_of_directories() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    symlink("target", scene.at("l/link")).unwrap();
    let then = Timespec {
        tv_sec: 1_000_000_000,
        tv_nsec: 123_456_789,
    };
    let times = Timestamps {
        last_access: then,
        last_modification: then,
    };
    let nofollow = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(CWD, scene.at("l/link"), &times, nofollow).unwrap();
    fs::set_permissions(scene.at("l/d"), Permissions::from_mode(0o555)).unwrap();
    let mounted = scene.mount_all();
    std::os::unix::fs::lchown(mounted.at("link"), Some(1), Some(1)).unwrap();
    fs::write(mounted.at("d/new"), "x").unwrap();
    for path in [mounted.at("link"), scene.at("u/link")] {
        let attr = fs::symlink_metadata(path).unwrap();
        assert_eq!(
            (attr.mtime(), attr.mtime_nsec()),
            (then.tv_sec, then.tv_nsec)
        );
    }
    for path in [mounted.at("d"), scene.at("u/d")] {
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o7777, 0o555);
    }
}

#[test]
fn fault_4_a_lower_directory_is_renamed_and_stays_so() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    fs::create_dir(scene.at("w")).unwrap();
    let (l, u, w) = (scene.at("l"), scene.at("u"), scene.at("w"));
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        l.display(),
        u.display(),
        w.display()
    );
    let words = ["-o", &options, "m"];
    let mounted = scene.mount(words);
    fs::rename(mounted.at("d"), mounted.at("e")).unwrap();
    fs::create_dir(mounted.at("new")).unwrap();
    fs::rename(mounted.at("e"), mounted.at("new/f")).unwrap();
    fs::create_dir(mounted.at("d")).unwrap();
    let check = |root: &Path| {
        assert_eq!(fs::read(root.join("new/f/inner")).unwrap(), b"inner\n");
        assert!(!root.join("e").exists());
        assert_eq!(fs::read_dir(root.join("d")).unwrap().count(), 0);
    };
    check(&mounted.point);
    unmount(&scene, mounted);
    {
        let kernel = scene.at("k");
        let _kernel = KernelMount::new(&scene, &kernel, &options);
        check(&kernel);
    }
    let mounted = scene.mount(words);
    check(&mounted.point);
}

#[test]
fn fault_4_without_redirects_a_lower_directory_says_so_and_mv_copies() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let mounted = scene.mount(["-o", "redirect_dir=off", "l", "u", "m"]);
    let refused = fs::rename(mounted.at("d"), mounted.at("e")).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::CrossesDevices);
    let moved = Command::new("mv")
        .args([mounted.at("d"), mounted.at("e")])
        .status();
    assert!(moved.unwrap().success());
    assert_eq!(fs::read(mounted.at("e/inner")).unwrap(), b"inner\n");
    assert!(!mounted.at("d").exists());
}

#[test]
fn fault_5_a_name_of_aufs_is_an_ordinary_name_after_a_remount_too() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let mounted = scene.mount_all();
    fs::write(mounted.at(".wh.file"), "x").unwrap();
    fs::write(mounted.at(".wh..wh..opq"), "x").unwrap();
    unmount(&scene, mounted);
    let mounted = scene.mount_all();
    assert_eq!(fs::read(mounted.at(".wh.file")).unwrap(), b"x");
    assert_eq!(fs::read(mounted.at("file")).unwrap(), b"lower\n");
    assert_eq!(fs::read(mounted.at("d/inner")).unwrap(), b"inner\n");
}

#[test]
fn fault_7_a_large_tree_is_walked_with_256_descriptors() {
    if !can_mount() {
        return;
    }
    const DIRECTORIES: usize = 2000;
    let scene = Scene::new();
    for directory in 0..DIRECTORIES {
        let directory = scene.at(format!("l/d/{}/{directory}", directory % 50));
        fs::create_dir_all(&directory).unwrap();
        for name in ["a", "b", "c"] {
            File::create(directory.join(name)).unwrap();
        }
    }
    let script = "ulimit -n 256; exec \"$0\" l u m";
    let started = Command::new("sh")
        .args(["-ec", script, env!("CARGO_BIN_EXE_ufsmount")])
        .current_dir(scene.root())
        .status();
    assert!(started.unwrap().success());
    let mounted = common::Mounted {
        point: scene.at("m").canonicalize().unwrap(),
    };
    let mut files = 0;
    let mut waiting = vec![mounted.at("d")];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match fs::symlink_metadata(&path).unwrap().is_dir() {
                true => waiting.push(path),
                false => files += 1,
            }
        }
    }
    assert_eq!(files, DIRECTORIES * 3 + 1);
    // Again, and with a change in the deepest ones.
    for directory in 0..DIRECTORIES {
        let path = mounted.at(format!("d/{}/{directory}/a", directory % 50));
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }
}

#[test]
fn fault_8_a_hard_link_of_a_lower_counts_the_names_that_nobody_looked_at() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    for name in ["l/second", "l/d/third"] {
        fs::hard_link(scene.at("l/file"), scene.at(name)).unwrap();
    }
    let mounted = scene.mount_all();
    assert_eq!(fs::metadata(mounted.at("file")).unwrap().nlink(), 3);
    // Names made in the union are one object on disk.
    fs::write(mounted.at("new"), "x").unwrap();
    fs::hard_link(mounted.at("new"), mounted.at("d/new")).unwrap();
    let (one, other) = (scene.at("u/new"), scene.at("u/d/new"));
    assert_eq!(
        fs::metadata(one).unwrap().ino(),
        fs::metadata(other).unwrap().ino()
    );
}

#[test]
fn a_device_that_would_be_a_whiteout_cannot_be_made() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let mounted = scene.mount_all();
    let made = rustix::fs::mknodat(
        CWD,
        mounted.at("x"),
        FileType::CharacterDevice,
        Mode::from_raw_mode(0o600),
        0,
    );
    assert_eq!(made, Err(rustix::io::Errno::PERM));
}
