//! What goes wrong in other union filesystems, seen with our own eyes: each
//! fault once, on a real mount. Numbers as in the list they were kept in.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use common::kernel::KernelMount;
use common::{Scene, can_mount, eventually, is_mounted};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

fn unmount(scene: &Scene, mounted: common::Mounted) {
    drop(mounted);
    eventually("unmounted", || !is_mounted(&scene.at("m")));
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
fn fault_3_layers_of_the_kernel_are_shown_rightly() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let merged = scene.at("k");
    fs::create_dir(scene.at("w")).unwrap();
    fs::write(scene.at("l/big"), vec![7; 100_000]).unwrap();
    {
        let options = "lowerdir=@/l,upperdir=@/u,workdir=@/w,redirect_dir=on,metacopy=on";
        let _kernel = KernelMount::new(&scene, options);
        fs::set_permissions(merged.join("big"), Permissions::from_mode(0o600)).unwrap();
        fs::rename(merged.join("d"), merged.join("moved")).unwrap();
    }
    let mounted = scene.mount_all();
    assert_eq!(fs::read(mounted.at("moved/inner")).unwrap(), b"inner\n");
    assert!(!mounted.at("d").exists());
    assert_eq!(fs::read(mounted.at("big")).unwrap(), vec![7; 100_000]);
    let mode = fs::metadata(mounted.at("big"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert_eq!(fs::read(mounted.at("file")).unwrap(), b"lower\n");
}

#[test]
fn fault_3_what_the_kernel_and_we_write_each_reads_back() {
    if !can_mount() {
        return;
    }
    let words = "lowerdir=@/l,upperdir=@/u,workdir=@/w,redirect_dir=on,metacopy=on";
    let change = |root: &Path| {
        fs::set_permissions(root.join("big"), Permissions::from_mode(0o600)).unwrap();
        fs::rename(root.join("d"), root.join("moved")).unwrap();
        fs::rename(root.join("big"), root.join("moved/big")).unwrap();
        fs::remove_file(root.join("file")).unwrap();
    };
    let check = |root: &Path| {
        assert_eq!(fs::read(root.join("moved/inner")).unwrap(), b"inner\n");
        assert_eq!(fs::read(root.join("moved/big")).unwrap(), vec![7; 100_000]);
        let attr = fs::metadata(root.join("moved/big")).unwrap();
        assert_eq!((attr.mode() & 0o7777, attr.len()), (0o600, 100_000));
        for gone in ["d", "big", "file"] {
            assert!(!root.join(gone).exists(), "{gone}");
        }
    };
    for ours_first in [true, false] {
        let scene = Scene::new();
        fs::create_dir(scene.at("w")).unwrap();
        fs::write(scene.at("l/big"), vec![7; 100_000]).unwrap();
        let here = words.replace('@', scene.root().to_str().unwrap());
        if ours_first {
            let mounted = scene.mount(["-o", &here, "m"]);
            change(&mounted.point);
            check(&mounted.point);
            unmount(&scene, mounted);
            check(&KernelMount::new(&scene, words).point);
        } else {
            change(&KernelMount::new(&scene, words).point);
        }
        // No data was copied: it was the mark that was read.
        let copy = fs::metadata(scene.at("u/moved/big")).unwrap();
        assert!(copy.blocks() * 512 <= 4096, "{} blocks", copy.blocks());
        let mounted = scene.mount(["-o", &here, "m"]);
        check(&mounted.point);
        let mut data = OpenOptions::new();
        let mut data = data.append(true).open(mounted.at("moved/big")).unwrap();
        data.write_all(b"x").unwrap();
        drop(data);
        unmount(&scene, mounted);
        let kernel = KernelMount::new(&scene, words);
        assert_eq!(fs::metadata(kernel.at("moved/big")).unwrap().len(), 100_001);
        assert_eq!(
            fs::read(kernel.at("moved/big")).unwrap()[..100_000],
            vec![7; 100_000]
        );
    }
}

/// We write them where no device can be made: so on a mount of our own.
#[test]
fn fault_3_our_whiteouts_that_are_marked_files_hide_on_the_kernel() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    for name in ["hl", "hu", "hm"] {
        fs::create_dir(scene.at(name)).unwrap();
    }
    let host = scene.run([scene.at("hl"), scene.at("hu"), scene.at("hm")]);
    assert!(host.status.success(), "{}", common::said(&host));
    let host = common::Mounted {
        point: scene.at("hm").canonicalize().unwrap(),
    };
    let words = "lowerdir=l,upperdir=hm/u,workdir=hm/w";
    for name in ["u", "w"] {
        fs::create_dir(host.at(name)).unwrap();
    }
    let mounted = scene.mount(["-o", words, "m"]);
    fs::remove_file(mounted.at("file")).unwrap();
    fs::remove_file(mounted.at("d/inner")).unwrap();
    fs::write(mounted.at("d/empty"), "").unwrap();
    unmount(&scene, mounted);
    for name in ["u/file", "u/d/inner"] {
        let attr = fs::symlink_metadata(host.at(name)).unwrap();
        assert!(attr.is_file(), "{name} is {:?}", attr.file_type());
    }
    let kernel = KernelMount::new(&scene, "lowerdir=@/hm/u:@/l");
    let mounted = scene.mount(["-o", words, "m"]);
    for root in [&kernel.point, &mounted.point] {
        assert!(!root.join("file").exists());
        let left: Vec<_> = fs::read_dir(root.join("d")).unwrap().collect();
        assert_eq!(left.len(), 1);
        assert!(root.join("d/empty").exists());
    }
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
    let _kernel = KernelMount::new(&scene, "lowerdir=@/top:@/l");
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
        let _kernel = KernelMount::new(&scene, &options);
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
    unmount(&scene, mounted);
    let kernel = KernelMount::new(&scene, "lowerdir=@/u:@/l");
    assert_eq!(fs::read(kernel.at(".wh.file")).unwrap(), b"x");
    assert_eq!(fs::read(kernel.at("file")).unwrap(), b"lower\n");
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
fn fault_8_with_the_index_lower_hard_links_stay_one_file() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    for name in ["w", "l/e"] {
        fs::create_dir(scene.at(name)).unwrap();
    }
    let names = ["file", "second", "d/third", "e/fourth"];
    for name in &names[1..] {
        fs::hard_link(scene.at("l/file"), scene.at("l").join(name)).unwrap();
    }
    let words = "lowerdir=@/l,upperdir=@/u,workdir=@/w,redirect_dir=on,index=on";
    let here = words.replace('@', scene.root().to_str().unwrap());
    let check = |root: &Path, names: &[&str], content: &[u8]| {
        let attrs = names
            .iter()
            .map(|name| fs::metadata(root.join(name)).unwrap());
        let shown: BTreeSet<_> = attrs.map(|attr| (attr.ino(), attr.nlink())).collect();
        assert_eq!(shown.len(), 1, "{shown:?}");
        assert_eq!(shown.first().unwrap().1, names.len() as u64);
        for name in names {
            assert_eq!(fs::read(root.join(name)).unwrap(), content, "{name}");
        }
    };
    let mounted = scene.mount(["-o", &here, "m"]);
    check(&mounted.point, &names, b"lower\n");
    fs::write(mounted.at("second"), "changed").unwrap();
    check(&mounted.point, &names, b"changed");
    fs::remove_file(mounted.at("file")).unwrap();
    check(&mounted.point, &names[1..], b"changed");
    unmount(&scene, mounted);
    let mounted = scene.mount(["-o", &here, "m"]);
    fs::write(mounted.at("e/fourth"), "again").unwrap();
    check(&mounted.point, &names[1..], b"again");
    unmount(&scene, mounted);
    check(
        &KernelMount::new(&scene, words).point,
        &names[1..],
        b"again",
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
