//! The same as fuse-overlayfs, where it keeps what it is told.

use super::common::can_mount;
use super::*;

/// Debian's fuse-overlayfs; says aloud if it is missing.
fn has_peer() -> bool {
    let found = Command::new("fuse-overlayfs")
        .arg("--version")
        .output()
        .is_ok();
    if !found {
        common::skipped("fuse-overlayfs is not installed");
    }
    found
}

fn mount_peer(scene: &Scene, options: &str) -> Mounted {
    let layers = format!("lowerdir=l,upperdir=u,workdir=w,{options}");
    let mut command = Command::new("fuse-overlayfs");
    command.current_dir(scene.root()).args(["-o", &layers, "m"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", common::said(&output));
    Mounted {
        point: scene.at("m").canonicalize().unwrap(),
    }
}

/// Files and directories: the kinds of which it keeps owners.
fn make_for_peer(dir: &Path) {
    fs::write(dir.join("reg"), "").unwrap();
    give(dir.join("reg"), 5, 6);
    chmod(dir.join("reg"), 0o4751).unwrap();
    fs::create_dir(dir.join("sub")).unwrap();
    give(dir.join("sub"), 7, 8);
    chmod(dir.join("sub"), 0o2710).unwrap();
    fs::write(dir.join("sub/deep"), "").unwrap();
    give(dir.join("sub/deep"), 9, 10);
}

#[test]
fn what_fuse_overlayfs_wrote_is_read_the_same_and_the_other_way_round() {
    if !can_mount() || !has_peer() {
        return;
    }
    let names = ["reg", "sub", "sub/deep", "file", "d"];
    let look = |mounted: &Mounted| -> Vec<String> {
        names.iter().map(|name| seen(&mounted.at(name))).collect()
    };
    type Mount = fn(&Scene, &str) -> Mounted;
    let ours: Mount = |scene, options| mount(scene, &format!("workdir=w,{options}"));
    let theirs: Mount = mount_peer;
    for (options, writer, reader) in [
        ("xattr_permissions=1", ours, theirs),
        ("xattr_permissions=1", theirs, ours),
        ("xattr_permissions=2", theirs, ours),
    ] {
        let scene = Scene::new();
        fs::create_dir(scene.at("w")).unwrap();
        let mounted = writer(&scene, options);
        make_for_peer(&mounted.point);
        let written = look(&mounted);
        drop(mounted);
        let mounted = reader(&scene, options);
        assert_eq!(look(&mounted), written, "{options}");
        // And what the reader changes, the writer reads.
        chmod(mounted.at("reg"), 0o604).unwrap();
        let written = look(&mounted);
        drop(mounted);
        let mounted = writer(&scene, options);
        assert_eq!(look(&mounted), written, "{options}");
    }
    // In an upper layer versions up to 1.10 know their own attribute only; in
    // a lower one they read ours.
    let scene = Scene::new();
    let mounted = mount(&scene, "xattr_permissions=2");
    make_for_peer(&mounted.point);
    let written = look(&mounted);
    drop(mounted);
    let layers = format!(
        "lowerdir={}:{}",
        scene.at("u").display(),
        scene.at("l").display()
    );
    let mut command = Command::new("fuse-overlayfs");
    let output = command
        .args(["-o", &layers])
        .arg(scene.at("m"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", common::said(&output));
    let mounted = Mounted {
        point: scene.at("m").canonicalize().unwrap(),
    };
    assert_eq!(look(&mounted), written);
}

#[test]
fn ids_are_mapped_in_the_direction_of_fuse_overlayfs() {
    if !can_mount() || !has_peer() {
        return;
    }
    let scene = Scene::new();
    fs::create_dir(scene.at("w")).unwrap();
    give(scene.at("l/file"), 5, 1000);
    give(scene.at("l/d"), 0, 9);
    for options in [
        "uidmapping=0:1000:1:5:100:10,gidmapping=1000:7:1",
        "uidmapping=:0:1000:1,gidmapping=:9:0:1",
        "squash_to_root,squash_to_uid=44,uidmapping=0:1:1",
    ] {
        let look = |mounted: &Mounted| ["file", "d"].map(|name| owner(mounted.at(name)));
        let theirs = look(&mount_peer(&scene, options));
        let ours = look(&mount(&scene, &format!("workdir=w,{options}")));
        assert_eq!(ours, theirs, "{options}");
    }
}
