//! Layers as a container engine lays them out, mounted by the command.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

mod common;

use common::{Mounted, Scene, can_mount, refused};

/// `HOME/ID/{diff,link}` and `HOME/l/LINK`, as `containers/storage` makes them
/// for a layer.
fn layer(home: &Path, id: &str, files: &[&str]) {
    let diff = home.join(id).join("diff");
    fs::create_dir_all(&diff).unwrap();
    for file in files {
        let path = diff.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, id).unwrap();
    }
    let link = format!("LINK{id}");
    fs::write(home.join(id).join("link"), &link).unwrap();
    fs::create_dir_all(home.join("l")).unwrap();
    symlink(format!("../{id}/diff"), home.join("l").join(link)).unwrap();
}

/// Two layers: the upper one takes `etc/old` and all of `opt` away.
fn storage(scene: &Scene, mount_program: &str) {
    let home = scene.root();
    layer(home, "base", &["etc/old", "etc/kept", "opt/x"]);
    layer(home, "patch", &["etc/.wh.old", "opt/.wh..wh..opq", "opt/y"]);
    fs::write(home.join(".has-mount-program"), mount_program).unwrap();
}

const LOWERS: &str = "lowerdir=l/LINKpatch:l/LINKbase";

fn names(mounted: &Mounted, dir: &str) -> Vec<String> {
    let entries = fs::read_dir(mounted.at(dir)).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn layers_of_an_engine_with_a_mount_program_are_read_as_it_writes_them() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    storage(&scene, "true");
    // As the engine calls it: from its home, with a writable layer on top.
    let options = format!("{LOWERS},upperdir=u");
    let mounted = scene.mount(["-o", &options, "m"]);
    assert_eq!(names(&mounted, "etc"), ["kept"]);
    assert_eq!(names(&mounted, "opt"), ["y"]);
    let gone = fs::read(mounted.at("etc/old")).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    fs::write(mounted.at("etc/old"), "new").unwrap();
    fs::write(mounted.at("etc/.wh.kept"), "a name like others").unwrap();
    assert_eq!(names(&mounted, "etc"), [".wh.kept", "kept", "old"]);
    drop(mounted);
    let mounted = scene.mount(["-o", &options, "m"]);
    assert_eq!(names(&mounted, "etc"), [".wh.kept", "kept", "old"]);
}

#[test]
fn layers_of_an_engine_without_a_mount_program_are_overlayfs_own() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    storage(&scene, "false");
    let mounted = scene.mount(["-o", LOWERS, "m"]);
    assert_eq!(names(&mounted, "etc"), [".wh.old", "kept", "old"]);
    assert_eq!(names(&mounted, "opt"), [".wh..wh..opq", "x", "y"]);
}

#[test]
fn the_format_that_is_asked_for_counts() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    storage(&scene, "true");
    let overlay = format!("{LOWERS},layer_format=overlay");
    let mounted = scene.mount(["-o", &overlay, "m"]);
    assert_eq!(names(&mounted, "etc"), [".wh.old", "kept", "old"]);
    drop(mounted);
    // Layers that lie anywhere, and the upper one too.
    let options = "lowerdir=l,upperdir=u,layer_format=containers";
    let scene = Scene::new();
    fs::write(scene.at("u/.wh.file"), "").unwrap();
    let mounted = scene.mount(["-o", options, "m"]);
    assert_eq!(names(&mounted, "."), ["d"]);
    let refusal = fs::write(mounted.at(".wh.d"), "").unwrap_err();
    assert_eq!(refusal.kind(), ErrorKind::PermissionDenied);
    fs::create_dir(mounted.at("file")).unwrap();
    assert_eq!(names(&mounted, "."), ["d", "file"]);
}

#[test]
fn a_format_that_there_is_not_is_refused() {
    let scene = Scene::new();
    let said = refused(&scene.run(["-o", "layer_format=unionfs", "l", "m"]));
    let words = "write auto, overlay, containers or aufs";
    assert!(said.contains(words), "{said}");
}

#[test]
fn an_upper_layer_is_written_as_aufs_does() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    for (path, content) in [("l/.wh.old", ""), ("l/gone", "1"), ("l/kept", "1")] {
        fs::write(scene.at(path), content).unwrap();
    }
    let options = "lowerdir=l,upperdir=u,layer_format=aufs";
    let mounted = scene.mount(["-o", options, "m"]);
    assert_eq!(names(&mounted, "."), ["d", "file", "gone", "kept"]);
    fs::remove_file(mounted.at("gone")).unwrap();
    fs::write(mounted.at("kept"), "2").unwrap();
    fs::rename(mounted.at("file"), mounted.at("moved")).unwrap();
    fs::remove_dir_all(mounted.at("d")).unwrap();
    fs::create_dir(mounted.at("d")).unwrap();
    let refusal = fs::write(mounted.at(".wh.kept"), "").unwrap_err();
    assert_eq!(refusal.kind(), ErrorKind::PermissionDenied);
    let (longest, longer) = ("n".repeat(242), "n".repeat(243));
    fs::write(mounted.at(&longest), "").unwrap();
    let refusal = fs::write(mounted.at(&longer), "").unwrap_err();
    assert_eq!(refusal.kind(), ErrorKind::InvalidFilename);
    let stat = rustix::fs::statvfs(mounted.at(".")).unwrap();
    assert_eq!(stat.f_namemax, 242);
    let shown = ["d", "kept", "moved", &longest];
    assert_eq!(names(&mounted, "."), shown);
    drop(mounted);
    let stored = |dir: &str| {
        let entries = fs::read_dir(scene.at(dir)).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let own = [
        ".wh..wh.aufs",
        ".wh..wh.orph",
        ".wh..wh.plnk",
        ".wh.file",
        ".wh.gone",
    ];
    assert_eq!(stored("u"), [&own[..], &shown].concat());
    assert_eq!(stored("u/d"), [".wh..wh..opq"]);
    let link = fs::metadata(scene.at("u/.wh.gone")).unwrap();
    let base = fs::metadata(scene.at("u/.wh..wh.aufs")).unwrap();
    assert_eq!((link.ino(), link.nlink()), (base.ino(), 4));
    assert!(!scene.at("u.work").exists());
    let mounted = scene.mount(["-o", options, "m"]);
    assert_eq!(names(&mounted, "."), shown);
}

#[test]
fn what_aufs_has_no_marks_for_is_refused_by_name() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    for option in [
        "redirect_dir=on",
        "metacopy=on",
        "index=on",
        "nfs_export=on",
    ] {
        let options = format!("lowerdir=l,upperdir=u,layer_format=aufs,{option}");
        let said = refused(&scene.run(["-o", &options, "m"]));
        assert!(
            said.contains(option) && said.contains("leave it out"),
            "{said}"
        );
    }
    // Nothing of it stays.
    assert_eq!(fs::read_dir(scene.at("u")).unwrap().count(), 0);
}
