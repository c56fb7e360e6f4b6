//! Durability through the command: the mark of a volatile mount, which we and
//! the kernel's overlayfs both heed, and what is said once data was lost.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Scene, can_mount, eventually, in_own_namespace, refused, said, server, skipped};

const MARKER: &str = "w/work/incompat/volatile";

fn scene() -> Scene {
    let scene = Scene::new();
    fs::create_dir(scene.at("w")).unwrap();
    scene
}

/// Mounts, changes something, unmounts.
fn once(scene: &Scene, options: &str) {
    let options = format!("lowerdir=l,upperdir=u,workdir=w,{options}");
    let mounted = scene.mount(["-o", &options, "m"]);
    fs::write(mounted.at("file"), "changed").unwrap();
    let umount = Command::new("umount").arg(&mounted.point).status();
    assert!(umount.unwrap().success());
}

#[test]
fn a_volatile_mount_is_not_mounted_again_until_its_mark_is_removed() {
    if !can_mount() {
        return;
    }
    for volatile in ["volatile", "fsync=volatile"] {
        let scene = scene();
        once(&scene, volatile);
        let before = scene.snapshot();
        for options in ["volatile", "fsync=auto", "fsync=0"] {
            let options = format!("lowerdir=l,upperdir=u,workdir=w,{options}");
            let sentence = refused(&scene.run(["-o", &options, "m"]));
            for part in ["volatile", "throw", "remove", MARKER] {
                assert!(sentence.contains(part), "{part:?} not in {sentence}");
            }
            assert_eq!(scene.snapshot(), before);
        }
        fs::remove_dir_all(scene.at(MARKER)).unwrap();
        once(&scene, "fsync=auto");
        assert!(!scene.at("w/work/incompat").exists());
    }
}

#[test]
fn fsync_0_leaves_no_mark_and_a_read_only_mount_neither() {
    if !can_mount() {
        return;
    }
    let scene = scene();
    once(&scene, "fsync=0");
    assert!(!scene.at("w/work/incompat").exists());
    let before = scene.snapshot();
    drop(scene.mount(["-o", "lowerdir=l,upperdir=u,workdir=w,ro,volatile", "m"]));
    drop(scene.mount(["l", "m", "-o", "volatile"]));
    assert_eq!(scene.snapshot(), before);
}

#[test]
fn the_kernel_refuses_our_mark_and_we_the_kernels() {
    if !can_mount() {
        return;
    }
    let options = "lowerdir=l,upperdir=u,workdir=w";
    let ours = format!(
        "\"$0\" -o {options},volatile m; umount m; test -f {MARKER}/dirty; \
         ! mount -t overlay overlay -o {options} m 2>/dev/null; rm -r {MARKER}; \
         mount -t overlay overlay -o {options} m; umount m"
    );
    let output = in_own_namespace(&scene(), &ours);
    assert!(output.status.success(), "{}", said(&output));
    let scene = scene();
    let kernels = format!(
        "mount -t overlay overlay -o {options},volatile m; umount m; \
         test -f {MARKER}/dirty; exec \"$0\" -o {options} m"
    );
    let sentence = refused(&in_own_namespace(&scene, &kernels));
    assert!(sentence.contains(MARKER), "{sentence}");
    assert!(scene.at(MARKER).join("dirty").exists());
}

#[test]
fn an_unknown_feature_in_the_work_directory_is_refused() {
    if !can_mount() {
        return;
    }
    let scene = scene();
    fs::create_dir_all(scene.at("w/work/incompat/time-travel")).unwrap();
    let before = scene.snapshot();
    let words = ["-o", "lowerdir=l,upperdir=u,workdir=w", "m"];
    let sentence = refused(&scene.run(words));
    assert!(sentence.contains("incompat/time-travel"), "{sentence}");
    assert_eq!(scene.snapshot(), before);
}

/// An ext4 on a disk that ends before the filesystem does: what is written to
/// it is lost when it is written back.
const SMALL_DISK: &str = "mkdir s d; mount -t tmpfs -o size=16m none s; truncate -s 100m s/disk; \
    mkfs.ext4 -q -O ^has_journal s/disk; mount -o loop s/disk d; mkdir d/u d/w; \
    options=lowerdir=l,upperdir=d/u,workdir=d/w,volatile; \
    trap 'umount -l m d s' EXIT";

/// `sync FILE` is fsync(2), and `sync -f` syncfs(2).
const LOSE: &str = "synced() { sync $1 2>/dev/null && echo $1 synced || echo $1 failed; }; \
    echo b > m/b; echo a > m/a; synced m/b; synced m; \
    head -c 40M /dev/urandom > m/a; ! sync -f d 2>/dev/null; \
    synced m/a; synced m/a; synced m/b; synced m; synced m/file; cat m/b";

#[test]
fn data_that_was_lost_is_reported_for_ever_as_by_the_kernel() {
    if !can_mount() {
        return;
    }
    if !Path::new("/dev/loop-control").exists() {
        skipped("there are no loop devices");
        return;
    }
    let run = |mount: &str| {
        let scene = Scene::new();
        let script = format!("{SMALL_DISK}; {mount}; {LOSE}");
        let output = in_own_namespace(&scene, &script);
        eventually("the server has ended", || server(&scene).is_none());
        assert!(output.status.success(), "{mount}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let ours = run("\"$0\" -o $options m");
    assert_eq!(
        ours,
        "m/b synced\nm synced\nm/a failed\nm/a failed\nm/b failed\nm failed\nm/file failed\nb\n"
    );
    assert_eq!(ours, run("mount -t overlay overlay -o $options m"));
    // Without `volatile` an error is the business of the file that has it.
    let auto = run("\"$0\" -o ${options%,volatile} m");
    assert!(auto.contains("m/a failed\n") && auto.ends_with("m synced\nm/file synced\nb\n"));
}
