//! Owners, modes and kinds in attributes.

use std::os::unix::fs::{FileTypeExt, symlink};

use super::common::{can_mount, refused};
use super::*;

/// One of each kind in `dir`.
fn make_one_of_each(dir: &Path) {
    fs::write(dir.join("reg"), "data").unwrap();
    fs::create_dir(dir.join("dir")).unwrap();
    symlink("target", dir.join("link")).unwrap();
    for (name, kind) in [("fifo", "p"), ("char", "c 1 3"), ("block", "b 7 200")] {
        let mut mknod = Command::new("mknod");
        let status = mknod.arg(dir.join(name)).args(kind.split(' ')).status();
        assert!(status.unwrap().success());
    }
    drop(std::os::unix::net::UnixListener::bind(dir.join("sock")).unwrap());
}

const KINDS: [&str; 7] = ["reg", "dir", "link", "fifo", "char", "block", "sock"];

fn seen_in(dir: &Path) -> Vec<String> {
    let seen = |name: &&str| format!("{name} {}", seen(&dir.join(name)));
    KINDS.iter().map(seen).collect()
}

#[test]
fn owners_and_modes_in_attributes_look_as_if_they_were_the_files_own() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let plain = scene.at("plain");
    fs::create_dir(&plain).unwrap();
    for option in ["xattr_permissions=2", "xattr_permissions=1"] {
        for name in ["u", "plain"] {
            fs::remove_dir_all(scene.at(name)).unwrap();
            fs::create_dir(scene.at(name)).unwrap();
        }
        let mounted = mount(&scene, option);
        for dir in [&plain, &mounted.point] {
            make_one_of_each(dir);
            for (number, name) in (100..).zip(KINDS) {
                let path = dir.join(name);
                give(&path, number, 2 * number);
                if name != "link" {
                    chmod(&path, 0o7000 | number).unwrap();
                }
            }
            // A change of owner takes setuid away.
            give(dir.join("reg"), 5, 6);
            set_xattr(dir.join("dir"), "user.note", b"mine").unwrap();
        }
        assert_eq!(seen_in(&mounted.point), seen_in(&plain));
        assert_eq!(xattrs(mounted.at("dir")), ["user.note"]);
        assert!(xattrs(mounted.at("reg")).is_empty());
        let listed = fs::read_dir(&mounted.point).unwrap().map(Result::unwrap);
        let kinds: Vec<bool> = listed
            .filter(|entry| entry.file_name() == "fifo")
            .map(|entry| entry.file_type().unwrap().is_fifo())
            .collect();
        assert_eq!(kinds, [true]);
        drop(mounted);
        // Nothing of it is in the files, and it is there again.
        assert_eq!(owner(scene.at("u/reg")), (0, 0));
        assert_eq!(mode(scene.at("u/reg")) & 0o7700, 0o700, "{option}");
        let mounted = mount(&scene, option);
        assert_eq!(seen_in(&mounted.point), seen_in(&plain));
        assert_eq!(fs::read(mounted.at("reg")).unwrap(), b"data");
        assert_eq!(
            fs::read_link(mounted.at("link")).unwrap(),
            Path::new("target")
        );
    }
}

#[test]
fn the_attribute_is_there_with_the_object_and_has_the_form_of_the_container_tools() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let mounted = mount(&scene, "xattr_permissions=2");
    make_one_of_each(&mounted.point);
    chmod(mounted.at("reg"), 0o4711).unwrap();
    give(mounted.at("char"), 12, 13);
    let stored = |name: &str| xattr(scene.at(format!("u/{name}")), OVERRIDE).map(text);
    assert_eq!(stored(".").unwrap(), "0:0:0755:dir");
    assert_eq!(stored("reg").unwrap(), "0:0:4711:file");
    assert_eq!(stored("dir").unwrap(), "0:0:0755:dir");
    assert_eq!(stored("fifo").unwrap(), "0:0:0644:pipe");
    assert_eq!(stored("sock").unwrap(), "0:0:0755:socket");
    assert_eq!(stored("char").unwrap(), "12:13:0644:char-1-3");
    assert_eq!(stored("block").unwrap(), "0:0:0644:block-7-200");
    // A symlink carries none; nor does a whiteout.
    assert_eq!(stored("link"), Err(Errno::NODATA));
    fs::remove_file(mounted.at("file")).unwrap();
    let whiteout = fs::symlink_metadata(scene.at("u/file")).unwrap();
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
    // Devices and pipes are files that say what they are.
    assert!(fs::symlink_metadata(scene.at("u/char")).unwrap().is_file());
}

#[test]
fn a_copy_keeps_owner_and_mode_in_its_attribute() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    give(scene.at("l/file"), 5, 6);
    chmod(scene.at("l/file"), 0o4640).unwrap();
    give(scene.at("l/d"), 7, 8);
    chmod(scene.at("l/d"), 0o2700).unwrap();
    set_xattr(scene.at("l/d/inner"), "security.note", b"kept").unwrap();
    let mounted = mount(&scene, "xattr_permissions=2");
    let times = fs::metadata(mounted.at("d/inner"))
        .unwrap()
        .modified()
        .unwrap();
    set_xattr(mounted.at("file"), "user.a", b"b").unwrap();
    set_xattr(mounted.at("d/inner"), "user.a", b"b").unwrap();
    assert_eq!(
        (owner(mounted.at("file")), mode(mounted.at("file"))),
        ((5, 6), 0o4640)
    );
    assert_eq!(
        (owner(mounted.at("d")), mode(mounted.at("d"))),
        ((7, 8), 0o2700)
    );
    let copied = fs::metadata(mounted.at("d/inner")).unwrap();
    assert_eq!(copied.modified().unwrap(), times);
    assert_eq!(
        xattr(mounted.at("d/inner"), "security.note")
            .map(text)
            .unwrap(),
        "kept"
    );
    assert_eq!(xattrs(mounted.at("d/inner")), ["security.note", "user.a"]);
    // The file itself gives its reader no more than it showed.
    assert_eq!(
        (owner(scene.at("u/file")), mode(scene.at("u/file"))),
        ((0, 0), 0o600)
    );
    assert_eq!(
        xattr(scene.at("u/d"), OVERRIDE).map(text).unwrap(),
        "7:8:2700:dir"
    );
    // Moved, removed and made again it is another's.
    fs::rename(mounted.at("file"), mounted.at("d/moved")).unwrap();
    assert_eq!(owner(mounted.at("d/moved")), (5, 6));
    fs::write(mounted.at("file"), "").unwrap();
    assert_eq!(owner(mounted.at("file")), (0, 0));
}

#[test]
fn the_attribute_itself_is_hidden_and_a_union_above_may_have_its_own() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let mounted = mount(&scene, "xattr_permissions=2");
    fs::write(mounted.at("made"), "").unwrap();
    assert_eq!(xattr(mounted.at("made"), OVERRIDE), Err(Errno::NODATA));
    set_xattr(mounted.at("made"), OVERRIDE, b"1:1:777").unwrap();
    assert_eq!(
        (owner(mounted.at("made")), mode(mounted.at("made"))),
        ((0, 0), 0o644)
    );
    assert_eq!(
        xattr(mounted.at("made"), OVERRIDE).map(text).unwrap(),
        "1:1:777"
    );
    assert_eq!(xattrs(mounted.at("made")), [OVERRIDE]);
    rustix::fs::lremovexattr(mounted.at("made"), OVERRIDE).unwrap();
    assert!(xattrs(mounted.at("made")).is_empty());
    assert_eq!(
        xattr(scene.at("u/made"), OVERRIDE).map(text).unwrap(),
        "0:0:0644:file"
    );
}

#[test]
fn layers_are_read_by_the_attribute_of_their_root() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let value = |path: &str, name: &str, value: &str| {
        set_xattr(scene.at(path), name, value.as_bytes()).unwrap();
    };
    value("l/file", OVERRIDE, "5:6:4711:file");
    // Without the root's it means nothing.
    let mounted = mount(&scene, "xattr_permissions=2");
    assert_eq!(owner(mounted.at("file")), (0, 0));
    drop(mounted);
    for name in [
        OVERRIDE,
        "user.fuseoverlayfs.override_stat",
        "security.fuseoverlayfs.override_stat",
    ] {
        let root = scene.at("l");
        value("l", name, "1:2:755:dir");
        value("l/file", name, "5:6:4711:file");
        let mounted = mount(&scene, "xattr_permissions=2");
        let file = mounted.at("file");
        assert_eq!((owner(&file), mode(&file)), ((5, 6), 0o4711), "{name}");
        drop(mounted);
        rustix::fs::removexattr(&root, name).unwrap();
    }
    value("l", OVERRIDE, "1:2:755:dir");
    // Root does not believe what anybody may have written, unless told to.
    let sentence = refused(&scene.run(["l", "u", "m"]));
    assert!(
        sentence.contains("lower layer \"l\" are stored in attributes"),
        "{sentence}"
    );
    assert!(
        sentence.contains("add xattr_permissions=2 to believe them"),
        "{sentence}"
    );
    let mounted = mount(&scene, "xattr_permissions=0");
    assert_eq!(
        (owner(mounted.at("file")), mode(mounted.at("file"))),
        ((0, 0), 0o644)
    );
    drop(mounted);
    value("l/file", OVERRIDE, "nonsense");
    let mounted = mount(&scene, "xattr_permissions=2");
    assert_eq!(errno(fs::symlink_metadata(mounted.at("file"))), Errno::IO);
    assert!(fs::symlink_metadata(mounted.at("d")).is_ok());
}

#[test]
fn acls_and_modes_in_attributes_are_one_thing() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let mounted = mount(&scene, "xattr_permissions=2");
    fs::create_dir(mounted.at("dir")).unwrap();
    chmod(mounted.at("dir"), 0o700).unwrap();
    let setfacl = |words: &[&str], path: &Path| {
        let status = Command::new("setfacl").args(words).arg(path).status();
        assert!(status.expect("the package acl is installed").success());
    };
    setfacl(
        &["-d", "-m", "u:77:rwx,g::rx,o::-,m::rx"],
        &mounted.at("dir"),
    );
    fs::write(mounted.at("dir/file"), "").unwrap();
    assert_eq!(mode(mounted.at("dir/file")), 0o640);
    setfacl(&["-m", "u:77:rw,m::rw"], &mounted.at("dir/file"));
    assert_eq!(mode(mounted.at("dir/file")), 0o660);
    assert!(
        !as_user(77, 9, "tee", &[&mounted.at("dir/file")]),
        "no way into dir"
    );
    setfacl(&["-m", "u:77:x"], &mounted.at("dir"));
    chmod(mounted.at("dir/file"), 0o600).unwrap();
    assert!(
        !as_user(77, 9, "cat", &[&mounted.at("dir/file")]),
        "the mask has gone"
    );
    chmod(mounted.at("dir/file"), 0o640).unwrap();
    assert!(as_user(77, 9, "cat", &[&mounted.at("dir/file")]));
    // The ids mean nothing where the files lie.
    assert!(!xattrs(scene.at("u/dir/file")).contains(&"system.posix_acl_access".into()));
}
