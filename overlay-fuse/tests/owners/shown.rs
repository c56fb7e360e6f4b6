//! What is shown of directories and attributes, and for how long.

use std::time::Duration;

use super::common::{can_mount, refused};
use super::*;

#[test]
fn static_nlink_shows_one_link_of_each_directory_and_all_of_files() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    fs::create_dir(scene.at("l/d/sub")).unwrap();
    fs::hard_link(scene.at("l/file"), scene.at("l/other")).unwrap();
    let links = |mounted: &Mounted, name: &str| fs::metadata(mounted.at(name)).unwrap().nlink();
    let mounted = mount(&scene, "rw");
    assert_eq!(links(&mounted, "d"), 3);
    drop(mounted);
    let mounted = mount(&scene, "static_nlink");
    assert_eq!(links(&mounted, "d"), 1);
    assert_eq!(links(&mounted, "file"), 2);
}

#[test]
fn noacl_shows_no_acls_and_none_is_inherited() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let set = Command::new("setfacl")
        .args(["-d", "-m", "u:77:rwx,o::-"])
        .arg(scene.at("l/d"))
        .status();
    assert!(set.unwrap().success());
    let names = ["system.posix_acl_access", "system.posix_acl_default"];
    let mounted = mount(&scene, "noacl");
    for name in names {
        assert_eq!(xattr(mounted.at("d"), name), Err(Errno::OPNOTSUPP));
        let set = set_xattr(mounted.at("d"), name, &[2, 0, 0, 0]);
        assert_eq!(set, Err(Errno::OPNOTSUPP));
    }
    assert!(xattrs(mounted.at("d")).is_empty());
    set_xattr(mounted.at("d"), "user.note", b"other attributes work").unwrap();
    let script = "umask 022; : > \"$0/made\"";
    let made = Command::new("sh")
        .args(["-c", script])
        .arg(mounted.at("d"))
        .status();
    assert!(made.unwrap().success());
    assert_eq!(
        mode(mounted.at("d/made")),
        0o644,
        "the umask counts, not the ACL"
    );
    drop(mounted);
    // The copy has kept the ACL.
    assert!(xattrs(scene.at("u/d")).contains(&names[1].to_owned()));
    let mounted = mount(&scene, "rw");
    assert!(xattr(mounted.at("d"), names[1]).is_ok());
}

#[test]
fn noxattrs_shows_no_attributes_and_loses_none() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    set_xattr(scene.at("l/file"), "user.note", b"kept").unwrap();
    let mounted = mount(&scene, "noxattrs=1");
    let file = mounted.at("file");
    assert_eq!(xattr(&file, "user.note"), Err(Errno::OPNOTSUPP));
    assert_eq!(set_xattr(&file, "user.note", b""), Err(Errno::OPNOTSUPP));
    let removed = rustix::fs::lremovexattr(&file, "user.note");
    assert_eq!(removed, Err(Errno::OPNOTSUPP));
    let listed = rustix::fs::llistxattr(&file, &mut [0_u8; 64]);
    assert_eq!(listed, Err(Errno::OPNOTSUPP));
    chmod(&file, 0o600).unwrap();
    fs::write(&file, "works").unwrap();
    assert_eq!(
        xattr(scene.at("u/file"), "user.note").map(text).unwrap(),
        "kept"
    );
    drop(mounted);
    let mounted = mount(&scene, "noxattrs=0");
    assert!(xattr(mounted.at("file"), "user.note").is_ok());
}

#[test]
fn timeout_says_how_long_the_kernel_remembers() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let mode_behind = |mounted: &Mounted, mode: u32| {
        let before = fs::metadata(mounted.at("file")).unwrap().mode();
        chmod(scene.at("l/file"), mode).unwrap();
        assert_ne!(before & 0o777, mode);
        fs::metadata(mounted.at("file")).unwrap().mode() & 0o777
    };
    let mounted = mount(&scene, "timeout=3600");
    assert_eq!(mode_behind(&mounted, 0o600), 0o644);
    drop(mounted);
    let mounted = mount(&scene, "timeout=0");
    assert_eq!(mode_behind(&mounted, 0o640), 0o640);
    // Missing names and contents are not remembered either.
    assert!(!mounted.at("late").exists());
    assert_eq!(fs::read(mounted.at("file")).unwrap(), b"lower\n");
    fs::write(scene.at("l/late"), "").unwrap();
    fs::write(scene.at("l/file"), "LOWER\n").unwrap();
    assert!(mounted.at("late").exists());
    assert_eq!(fs::read(mounted.at("file")).unwrap(), b"LOWER\n");
    drop(mounted);
    let mounted = mount(&scene, "timeout=0.3");
    assert_eq!(mode_behind(&mounted, 0o604), 0o640);
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(mode(mounted.at("file")), 0o604);
}

#[test]
fn a_context_without_selinux_is_refused_with_the_reason() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let kinds = fs::read_to_string("/proc/filesystems").unwrap();
    if kinds.contains("selinuxfs") {
        return common::skipped("SELinux runs here");
    }
    let option = "context=\"system_u:object_r:container_file_t:s0:c1,c2\",ro";
    let sentence = refused(&scene.run(["l", "u", "m", "-o", option]));
    assert!(
        sentence.contains("this kernel has no SELinux"),
        "{sentence}"
    );
    assert!(!common::is_mounted(&scene.at("m")));
}
