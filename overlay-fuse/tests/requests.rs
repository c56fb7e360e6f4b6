//! What requests do on a real mount: privileges at open(O_TRUNC), times,
//! sizes, listings, panics.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use common::{Scene, can_mount};
use rustix::fs::{CWD, Mode, OFlags, Timespec, Timestamps, XattrFlags};

/// Cuts the file to size zero by open(O_TRUNC), as root or as the user.
fn truncate_as(uid: u32, path: &Path) {
    let id = uid.to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
    command.args(["sh", "-c", ": > \"$0\""]).arg(path);
    assert!(command.status().unwrap().success());
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

/// A file of the user with `mode`, in the layer `layer`.
fn file_with_mode(scene: &Scene, layer: &str, name: &str, mode: u32) {
    let path = scene.at(layer).join(name);
    fs::write(&path, "content").unwrap();
    chown(&path, Some(common::USER), Some(common::USER)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Mode before, and what the kernel makes of it when the user truncates.
const MODES: [(u32, u32); 6] = [
    (0o4755, 0o0755),
    (0o6755, 0o0755),
    (0o2755, 0o0755),
    (0o2644, 0o2644),
    (0o6644, 0o2644),
    (0o0644, 0o0644),
];

#[test]
fn a_copy_up_by_opening_alone_shows_in_the_attributes_at_once() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    fs::hard_link(scene.at("l/file"), scene.at("l/other")).unwrap();
    let mounted = scene.mount_all();
    let attr = |name: &str| fs::metadata(mounted.at(name)).unwrap();
    let before = attr("file");
    assert_eq!((before.nlink(), attr("other").nlink()), (2, 2));
    let open = File::options().write(true).open(mounted.at("file"));
    // As on the kernel's overlayfs without index: the copy has one link.
    assert_eq!((attr("file").nlink(), attr("other").nlink()), (1, 2));
    let times = |attr: &fs::Metadata| (attr.ctime(), attr.ctime_nsec());
    assert!(times(&attr("file")) > times(&before));
    drop(open);
}

#[test]
fn open_with_truncation_takes_setuid_and_setgid_from_users_and_not_from_root() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    for layer in ["l", "u"] {
        for (before, _) in MODES {
            file_with_mode(&scene, layer, &format!("{layer}-user-{before:o}"), before);
            file_with_mode(&scene, layer, &format!("{layer}-root-{before:o}"), before);
        }
    }
    let mounted = scene.mount_all();
    for layer in ["l", "u"] {
        for (before, after) in MODES {
            for (who, uid, expected) in [("user", common::USER, after), ("root", 0, before)] {
                let path = mounted.at(format!("{layer}-{who}-{before:o}"));
                assert_eq!(mode(&path), before);
                truncate_as(uid, &path);
                assert_eq!(fs::metadata(&path).unwrap().len(), 0);
                assert_eq!(mode(&path), expected, "{}", path.display());
            }
        }
    }
}

#[test]
fn the_kernels_own_overlay_does_the_same_with_these_modes() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    for (before, _) in MODES {
        file_with_mode(&scene, "l", &format!("{before:o}"), before);
    }
    fs::create_dir(scene.at("w")).unwrap();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        scene.at("l").display(),
        scene.at("u").display(),
        scene.at("w").display()
    );
    let point = scene.at("m").canonicalize().unwrap();
    let status = Command::new("mount")
        .args(["-t", "overlay", "none", "-o", &options])
        .arg(&point)
        .status();
    if !status.unwrap().success() {
        common::skipped("no overlay in this kernel");
        return;
    }
    let mounted = common::Mounted { point };
    for (before, after) in MODES {
        let path = mounted.at(format!("{before:o}"));
        truncate_as(common::USER, &path);
        assert_eq!(mode(&path), after);
    }
}

#[test]
fn open_with_truncation_takes_file_capabilities_from_everyone() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    // VFS_CAP_REVISION_2 with CAP_NET_RAW; see <linux/capability.h>.
    let mut capability = [0u8; 20];
    capability[3] = 2;
    capability[5] = 0x20;
    for layer in ["l", "u"] {
        let name = format!("{layer}-file");
        file_with_mode(&scene, layer, &name, 0o755);
        let path = scene.at(layer).join(&name);
        let flags = XattrFlags::empty();
        rustix::fs::setxattr(&path, "security.capability", &capability, flags).unwrap();
    }
    let mounted = scene.mount_all();
    for name in ["l-file", "u-file"] {
        let path = mounted.at(name);
        let mut buffer = [0u8; 64];
        let len = rustix::fs::getxattr(&path, "security.capability", &mut buffer[..]).unwrap();
        assert_eq!(len, 20);
        truncate_as(0, &path);
        let gone = rustix::fs::getxattr(&path, "security.capability", &mut buffer[..]);
        assert_eq!(gone, Err(rustix::io::Errno::NODATA), "{name}");
    }
}

#[test]
fn writes_of_users_take_setuid_away() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    file_with_mode(&scene, "l", "f", 0o4755);
    let mounted = scene.mount_all();
    let id = common::USER.to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
    command
        .args(["sh", "-c", "echo x >> \"$0\""])
        .arg(mounted.at("f"));
    assert!(command.status().unwrap().success());
    assert_eq!(mode(&mounted.at("f")), 0o755);
}

#[test]
fn times_before_1970_are_kept_to_the_nanosecond() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let mounted = scene.mount_all();
    let time = Timespec {
        tv_sec: -2,
        tv_nsec: 300_000_000,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    let path = mounted.at("file");
    rustix::fs::utimensat(CWD, &path, &times, rustix::fs::AtFlags::empty()).unwrap();
    for path in [path, scene.at("u/file")] {
        let attr = fs::metadata(path).unwrap();
        assert_eq!((attr.mtime(), attr.mtime_nsec()), (-2, 300_000_000));
    }
}

#[test]
fn the_earliest_and_the_latest_time_do_no_harm() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let mounted = scene.mount_all();
    for (tv_sec, tv_nsec) in [
        (i64::MIN, 1),
        (i64::MIN, 0),
        (i64::MAX, 999_999_999),
        (0, 0),
    ] {
        let time = Timespec { tv_sec, tv_nsec };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        let path = mounted.at("file");
        // What the filesystem below makes of it is its own.
        rustix::fs::utimensat(CWD, &path, &times, rustix::fs::AtFlags::empty()).unwrap();
        fs::metadata(&path).unwrap();
    }
    assert_eq!(fs::metadata(mounted.at("file")).unwrap().mtime(), 0);
}

#[test]
fn statfs_shows_the_upper_filesystem() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let mounted = scene.mount_all();
    let ours = rustix::fs::statvfs(&mounted.point).unwrap();
    let below = rustix::fs::statvfs(scene.at("u")).unwrap();
    assert_eq!(ours.f_frsize, below.f_frsize);
    assert_eq!(ours.f_blocks, below.f_blocks);
    assert_eq!(ours.f_files, below.f_files);
    assert_eq!(ours.f_namemax, 255);
}

#[test]
fn large_reads_and_writes_arrive_whole() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let content: Vec<u8> = (0..5_000_003u32).map(|n| (n / 7) as u8).collect();
    fs::write(scene.at("l/large"), &content).unwrap();
    let mounted = scene.mount_all();
    assert!(fs::read(mounted.at("large")).unwrap() == content);
    fs::write(mounted.at("copy"), &content).unwrap();
    assert!(fs::read(scene.at("u/copy")).unwrap() == content);
    let file = File::options()
        .read(true)
        .write(true)
        .open(mounted.at("large"))
        .unwrap();
    file.write_all_at(b"changed", 4_000_000).unwrap();
    file.sync_all().unwrap();
    let mut buffer = [0; 9];
    file.read_exact_at(&mut buffer, 3_999_999).unwrap();
    assert_eq!(&buffer[1..8], b"changed");
    assert!(fs::read(scene.at("l/large")).unwrap() == content);
}

#[test]
fn attributes_are_probed_for_their_size() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let mounted = scene.mount_all();
    let path = mounted.at("file");
    let flags = XattrFlags::empty();
    rustix::fs::setxattr(&path, "user.note", b"twelve bytes", flags).unwrap();
    let get = |room: &mut [u8]| rustix::fs::getxattr(&path, "user.note", room);
    let size = || rustix::fs::getxattr_query(&path, "user.note");
    assert_eq!(size(), Ok(12));
    assert_eq!(get(&mut [0; 5]), Err(rustix::io::Errno::RANGE));
    assert_eq!(get(&mut [0; 12]), Ok(12));
    let mut names = [0u8; 64];
    let len = rustix::fs::listxattr(&path, &mut names[..]).unwrap();
    assert_eq!(&names[..len], b"user.note\0");
    let replaced = rustix::fs::setxattr(&path, "user.note", b"x", XattrFlags::CREATE);
    assert_eq!(replaced, Err(rustix::io::Errno::EXIST));
    rustix::fs::removexattr(&path, "user.note").unwrap();
    assert_eq!(size(), Err(rustix::io::Errno::NODATA));
}

#[test]
fn locks_are_the_kernels() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let mounted = scene.mount_all();
    let (one, two) = (
        File::open(mounted.at("file")),
        File::open(mounted.at("file")),
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    one.try_lock().unwrap();
    assert!(two.try_lock().is_err());
    drop(one);
    two.try_lock().unwrap();
}

#[test]
fn a_missing_name_is_remembered_until_it_is_made() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let mounted = scene.mount_all();
    for name in ["new", "link", "dir", "renamed"] {
        assert!(!mounted.at(name).exists());
        assert!(!mounted.at(name).exists());
    }
    fs::write(mounted.at("new"), "x").unwrap();
    fs::hard_link(mounted.at("new"), mounted.at("link")).unwrap();
    fs::create_dir(mounted.at("dir")).unwrap();
    fs::rename(mounted.at("file"), mounted.at("renamed")).unwrap();
    for name in ["new", "link", "dir", "renamed"] {
        assert!(mounted.at(name).exists());
    }
    assert!(!mounted.at("file").exists());
}

#[test]
fn hard_links_of_a_lower_show_one_number_until_they_are_written() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    fs::hard_link(scene.at("l/file"), scene.at("l/other")).unwrap();
    let mounted = scene.mount_all();
    let ino = |name: &str| fs::metadata(mounted.at(name)).unwrap().ino();
    // Listed first, so that the entries come by READDIRPLUS.
    assert_eq!(fs::read_dir(&mounted.point).unwrap().count(), 3);
    assert_eq!(ino("file"), ino("other"));
    fs::write(mounted.at("file"), "broken").unwrap();
    assert_eq!(fs::read(mounted.at("other")).unwrap(), b"lower\n");
    assert_ne!(ino("file"), ino("other"));
}

mod listing {
    use super::*;
    use rustix::fs::{Dir, Mode, OFlags};

    fn open(path: &Path) -> Dir {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Dir::new(rustix::fs::open(path, flags, Mode::empty()).unwrap()).unwrap()
    }

    /// Each name with the offset that comes after it.
    fn rest(dir: &mut Dir) -> Vec<(String, i64)> {
        std::iter::from_fn(|| dir.read())
            .map(|entry| {
                let entry = entry.unwrap();
                (
                    entry.file_name().to_str().unwrap().to_owned(),
                    entry.offset(),
                )
            })
            .collect()
    }

    fn names(entries: &[(String, i64)]) -> BTreeSet<String> {
        let set: BTreeSet<String> = entries.iter().map(|(name, _)| name.clone()).collect();
        assert_eq!(set.len(), entries.len(), "a name is listed twice");
        set
    }

    /// 10,000 entries, odd numbers in the lower and even ones in the upper.
    fn large(scene: &Scene) -> BTreeSet<String> {
        for layer in ["l", "u"] {
            fs::create_dir(scene.at(layer).join("large")).unwrap();
        }
        let mut all = BTreeSet::from([".".to_owned(), "..".to_owned()]);
        for number in 0..10_000 {
            let layer = if number % 2 == 1 { "l" } else { "u" };
            let name = format!("entry-{number}");
            File::create(scene.at(layer).join("large").join(&name)).unwrap();
            all.insert(name);
        }
        all
    }

    #[test]
    fn ten_thousand_entries_are_listed_once_each_while_others_come_and_go() {
        if !can_mount() {
            return;
        }
        let scene = Scene::new();
        let mut all = large(&scene);
        let mounted = scene.mount_all();
        let path = mounted.at("large");
        let mut dir = open(&path);
        let mut seen = Vec::new();
        for _ in 0..3_000 {
            let entry = dir.read().unwrap().unwrap();
            seen.push((
                entry.file_name().to_str().unwrap().to_owned(),
                entry.offset(),
            ));
        }
        let gone: Vec<String> = (0..10_000)
            .step_by(50)
            .map(|n| format!("entry-{n}"))
            .collect();
        for name in &gone {
            fs::remove_file(path.join(name)).unwrap();
        }
        for number in 0..200 {
            File::create(path.join(format!("late-{number}"))).unwrap();
        }
        seen.extend(rest(&mut dir));
        let listed = names(&seen);
        for name in all.iter().filter(|name| !gone.contains(name)) {
            assert!(listed.contains(name), "{name} was there all the time");
        }
        for name in &gone {
            all.remove(name);
        }
        all.extend((0..200).map(|number| format!("late-{number}")));
        dir.rewind();
        assert_eq!(names(&rest(&mut dir)), all, "rewinddir sees the present");
        assert_eq!(names(&rest(&mut open(&path))), all);
    }

    #[test]
    fn any_position_can_be_returned_to_while_entries_come_and_go() {
        if !can_mount() {
            return;
        }
        let scene = Scene::new();
        large(&scene);
        let mounted = scene.mount_all();
        let path = mounted.at("large");
        let mut dir = open(&path);
        let entries = rest(&mut dir);
        for (round, index) in [9_998, 3, 5_000, 700, 1, 10_000].into_iter().enumerate() {
            File::create(path.join(format!("late-{round}"))).unwrap();
            let (_, offset) = &entries[index];
            dir.seek(*offset).unwrap();
            let next: Vec<String> = rest(&mut dir).into_iter().map(|(name, _)| name).collect();
            let expected: Vec<String> = entries[index + 1..]
                .iter()
                .map(|(n, _)| n.clone())
                .collect();
            assert_eq!(next, expected, "from position {index}");
        }
    }

    #[test]
    fn a_listing_tells_numbers_and_kinds_as_stat_does() {
        if !can_mount() {
            return;
        }
        let scene = Scene::new();
        fs::create_dir(scene.at("u/d")).unwrap();
        std::os::unix::fs::symlink("file", scene.at("u/link")).unwrap();
        let mounted = scene.mount_all();
        for path in [mounted.point.clone(), mounted.at("d")] {
            // The first listing comes with attributes, the second without.
            for _ in 0..2 {
                let mut dir = open(&path);
                let mut listed = BTreeMap::new();
                while let Some(entry) = dir.read() {
                    let entry = entry.unwrap();
                    listed.insert(
                        entry.file_name().to_owned(),
                        (entry.ino(), entry.file_type()),
                    );
                }
                for (name, (ino, kind)) in &listed {
                    let name = name.to_str().unwrap();
                    if name == ".." && path == mounted.point {
                        // The kernel shows the parent of the mount point.
                        continue;
                    }
                    let attr = fs::symlink_metadata(path.join(name)).unwrap();
                    assert_eq!(*ino, attr.ino(), "{name}");
                    assert_eq!(*kind, rustix::fs::FileType::from_raw_mode(attr.mode()));
                }
            }
        }
    }
}

mod panics {
    use std::ops::ControlFlow;
    use std::sync::Arc;

    use overlay_core::layer::{Access, Found, Node, OpenFile, RawEntry, Storage};
    use overlay_core::{
        Attr, Error, FileHandle, FileKind, Name, Protection, Result, Stack, StatFs, Timestamp,
        Union,
    };
    use overlay_fuse::Mount;

    use super::*;

    /// A layer that panics when it is asked for `boom`.
    #[derive(Debug)]
    struct Bomb;

    impl Storage for Bomb {
        fn root(&self) -> Arc<dyn Node> {
            Arc::new(Bomb)
        }
        fn attr_of_handle(&self, _: &FileHandle) -> Result<Option<Attr>> {
            Ok(None)
        }
    }

    impl Node for Bomb {
        fn attr(&self) -> Result<Attr> {
            let time = Timestamp::now();
            Ok(Attr {
                kind: FileKind::Directory,
                mode: 0o755,
                nlink: 2,
                uid: 0,
                gid: 0,
                rdev: 0,
                size: 0,
                blocks: 0,
                blksize: 4096,
                atime: time,
                mtime: time,
                ctime: time,
                ino: 7,
                dev: 7,
                protection: Protection::NONE,
            })
        }
        fn attr_of(&self, name: &Name) -> Result<Option<Attr>> {
            assert_ne!(name.as_bytes(), b"boom", "on purpose");
            Ok(None)
        }
        fn lookup(&self, name: &Name) -> Result<Option<Found<dyn Node>>> {
            assert_ne!(name.as_bytes(), b"boom", "on purpose");
            Ok(None)
        }
        fn entries(&self, _: &mut dyn FnMut(RawEntry<'_>) -> ControlFlow<()>) -> Result<()> {
            Ok(())
        }
        fn open(&self, _: Access) -> Result<Arc<dyn OpenFile>> {
            Err(Error::IsDirectory)
        }
        fn link_target(&self) -> Result<Vec<u8>> {
            Err(Error::Invalid("no symlink"))
        }
        fn xattr(&self, _: &[u8]) -> Result<Option<Vec<u8>>> {
            Ok(None)
        }
        fn xattr_names(&self) -> Result<Vec<Vec<u8>>> {
            Ok(Vec::new())
        }
        fn stat_fs(&self) -> Result<StatFs> {
            Ok(StatFs::default())
        }
        fn handle(&self) -> Result<Option<FileHandle>> {
            Ok(None)
        }
    }

    #[test]
    fn a_panic_inside_a_request_answers_eio_and_the_mount_lives_on() {
        if !can_mount() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let union = Union::new(Stack::new().lower(Arc::new(Bomb))).unwrap();
        let mounted = Mount::builder(union).mount(dir.path()).unwrap();
        // More often than there are threads.
        for _ in 0..20 {
            let error = fs::metadata(dir.path().join("boom")).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EIO));
        }
        let error = fs::metadata(dir.path().join("other")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        mounted.unmount().unwrap();
    }
}

#[test]
fn regression_a_running_program_is_not_truncated_by_opening_it_for_reading() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    common::install("/bin/sleep", &scene.at("l/program"));
    let whole = fs::read(scene.at("l/program")).unwrap();
    let mounted = scene.mount_all();
    let path = mounted.at("program");
    let mut running = Command::new(&path).arg("60").spawn().unwrap();
    let cut = || {
        let flags = OFlags::RDONLY | OFlags::TRUNC;
        rustix::fs::open(&path, flags, Mode::empty()).map(drop)
    };
    assert_eq!(cut(), Err(rustix::io::Errno::TXTBSY));
    assert_eq!(fs::read(&path).unwrap(), whole);
    assert!(running.try_wait().unwrap().is_none(), "it has died");
    running.kill().unwrap();
    running.wait().unwrap();
    common::eventually("it has ended", || cut().is_ok());
    assert_eq!(fs::read(&path).unwrap(), b"");
    assert_eq!(fs::read(scene.at("l/program")).unwrap(), whole);
}

#[test]
fn what_is_damaged_is_listed_with_its_neighbours_and_fails_alone() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    // Over content below, and beside; first and last in any order of names.
    for name in ["l/a", "u/a", "u/m", "u/z"] {
        fs::create_dir(scene.at(name)).unwrap();
    }
    let damage = |name: &str, mark: &str, value: &[u8]| {
        rustix::fs::setxattr(scene.at(name), mark, value, XattrFlags::empty()).unwrap();
    };
    for (value, mark) in [
        (&b"."[..], "trusted.overlay.redirect"),
        (b"", "trusted.overlay.redirect"),
        (b"a/b", "trusted.overlay.redirect"),
        (b"/", "trusted.overlay.redirect"),
        (b"junk", "user.containers.override_stat"),
    ] {
        for name in ["u/a", "u/m", "u/z"] {
            damage(name, mark, value);
        }
        let mounted = match mark.starts_with("user") {
            true => scene.mount_with("xattr_permissions=2"),
            false => scene.mount_all(),
        };
        // With attributes and without.
        for flag in ["-1", "-l"] {
            let listed = Command::new("ls").arg(flag).arg(&mounted.point).output();
            let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
            for name in ["d", "file"] {
                assert!(listed.contains(name), "{mark}={value:?}: {listed}");
            }
        }
        let mut entries = fs::read_dir(&mounted.point).unwrap();
        assert_eq!(entries.by_ref().map(Result::unwrap).count(), 5);
        assert!(fs::metadata(mounted.at("m")).is_err());
        assert_eq!(fs::read(mounted.at("file")).unwrap(), b"lower\n");
        drop(mounted);
        for name in ["u/a", "u/m", "u/z"] {
            rustix::fs::removexattr(scene.at(name), mark).unwrap();
        }
    }
}
