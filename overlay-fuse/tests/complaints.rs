//! What users of union filesystems suffer from, each complaint once, on a
//! real mount, and where it can answer beside the kernel's overlayfs. The
//! list is `docs/complaints.md`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirEntryExt, MetadataExt, PermissionsExt, lchown};
use std::path::Path;
use std::process::Command;

use common::kernel::KernelMount;
use common::{
    Mounted, OPEN_DEVICE, Scene, USER, can_mount, eventually, has_fusermount, is_mounted, refused,
    said, server,
};
use rustix::process::{Pid, Signal, kill_process};

/// A stack with a work directory of its own, so that the kernel can take it.
const LAYERS: &str = "lowerdir=@/l,upperdir=@/u,workdir=@/w,redirect_dir=on";

fn scene() -> Scene {
    let scene = Scene::new();
    fs::create_dir(scene.at("w")).unwrap();
    scene
}

fn mount(scene: &Scene, more: &str) -> Mounted {
    let words = format!("{LAYERS}{more}").replace('@', scene.root().to_str().unwrap());
    scene.mount(["-o", &words, "m"])
}

fn unmount(scene: &Scene, mounted: Mounted) {
    drop(mounted);
    eventually("unmounted", || !is_mounted(&scene.at("m")));
}

/// Everything below `root` by its path: kind, mode, owner, links, content.
fn tree(root: &Path) -> BTreeMap<OsString, (u32, u32, u32, u64, Vec<u8>)> {
    fn walk(root: &Path, dir: &Path, all: &mut BTreeMap<OsString, (u32, u32, u32, u64, Vec<u8>)>) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let attr = fs::symlink_metadata(&path).unwrap();
            let (content, links) = match attr.file_type() {
                kind if kind.is_file() => (fs::read(&path).unwrap(), attr.nlink()),
                kind if kind.is_symlink() => {
                    let target = fs::read_link(&path).unwrap();
                    (target.into_os_string().into_encoded_bytes(), attr.nlink())
                }
                _ => (Vec::new(), 0),
            };
            let sight = (attr.mode(), attr.uid(), attr.gid(), links, content);
            all.insert(path.strip_prefix(root).unwrap().into(), sight);
            if attr.is_dir() {
                walk(root, &path, all);
            }
        }
    }
    let mut all = BTreeMap::new();
    walk(root, root, &mut all);
    all
}

/// Does the same here and on the kernel's overlayfs, each on a stack of its
/// own with `more` options; both answers.
fn on_both<T>(more: &str, prepare: fn(&Scene), steps: impl Fn(&Path) -> T) -> [T; 2] {
    let ground = scene();
    prepare(&ground);
    let kernel = KernelMount::new(&ground, &format!("{LAYERS}{more}"));
    let theirs = steps(&kernel.point);
    drop(kernel);
    let ground = scene();
    prepare(&ground);
    let mounted = mount(&ground, more);
    [steps(&mounted.point), theirs]
}

#[test]
fn complaint_removed_files_return() {
    if !can_mount() {
        return;
    }
    let scene = scene();
    for path in ["l/a/b/c/old", "l/d/e/old"] {
        fs::create_dir_all(scene.at(path).parent().unwrap()).unwrap();
        fs::write(scene.at(path), "old").unwrap();
    }
    let mounted = mount(&scene, "");
    fs::remove_file(mounted.at("file")).unwrap();
    fs::remove_dir_all(mounted.at("a")).unwrap();
    fs::create_dir_all(mounted.at("a/b/c")).unwrap();
    fs::remove_dir_all(mounted.at("d")).unwrap();
    fs::create_dir(mounted.at("new")).unwrap();
    fs::create_dir(mounted.at("new/e")).unwrap();
    fs::rename(mounted.at("new"), mounted.at("d")).unwrap();
    let shown = tree(&mounted.point);
    let names: Vec<_> = shown.keys().collect();
    assert_eq!(names, ["a", "a/b", "a/b/c", "d", "d/e"]);
    unmount(&scene, mounted);
    let mounted = mount(&scene, "");
    assert_eq!(tree(&mounted.point), shown);
    unmount(&scene, mounted);
    let kernel = KernelMount::new(&scene, LAYERS);
    assert_eq!(tree(&kernel.point), shown);
}

#[test]
fn complaint_the_kernel_cannot_read_the_upper() {
    if !can_mount() {
        return;
    }
    for more in ["", ",metacopy=on", ",index=on", ",metacopy=on,index=on"] {
        let scene = scene();
        fs::write(scene.at("l/big"), vec![7; 100_000]).unwrap();
        fs::hard_link(scene.at("l/big"), scene.at("l/d/big")).unwrap();
        fs::create_dir_all(scene.at("l/x/y")).unwrap();
        fs::write(scene.at("l/x/y/z"), "z").unwrap();
        let mounted = mount(&scene, more);
        fs::set_permissions(mounted.at("big"), Permissions::from_mode(0o600)).unwrap();
        lchown(mounted.at("x/y/z"), Some(7), Some(7)).unwrap();
        fs::rename(mounted.at("x"), mounted.at("moved")).unwrap();
        fs::rename(mounted.at("moved/y"), mounted.at("d/y")).unwrap();
        fs::remove_file(mounted.at("file")).unwrap();
        fs::create_dir(mounted.at("file")).unwrap();
        std::os::unix::fs::symlink("d/y", mounted.at("link")).unwrap();
        fs::rename(mounted.at("d/big"), mounted.at("file/big")).unwrap();
        let shown = tree(&mounted.point);
        unmount(&scene, mounted);
        let kernel = KernelMount::new(&scene, &format!("{LAYERS}{more}"));
        assert_eq!(tree(&kernel.point), shown, "{more}");
        // And back.
        fs::write(kernel.at("moved/back"), "back").unwrap();
        fs::rename(kernel.at("d/y"), kernel.at("y")).unwrap();
        let theirs = tree(&kernel.point);
        drop(kernel);
        let mounted = mount(&scene, more);
        assert_eq!(tree(&mounted.point), theirs, "{more}");
    }
}

/// `rustup` moves a toolchain aside and the new one in its place; `npm` does
/// so with packages, again and again, and back where something fails.
#[test]
fn complaint_renaming_a_directory_says_exdev() {
    if !can_mount() {
        return;
    }
    let scene = scene();
    for name in ["bin/cargo", "lib/core/rlib", "lib/std/rlib"] {
        let path = scene.at("l/toolchains/stable").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    let mut expected = Vec::new();
    for round in 0..4 {
        let mounted = mount(&scene, "");
        let (stable, aside) = (mounted.at("toolchains/stable"), mounted.at("tmp/old"));
        fs::create_dir_all(mounted.at("tmp/new/bin")).unwrap();
        fs::write(mounted.at("tmp/new/bin/cargo"), format!("{round}")).unwrap();
        // Aside, back (as after a failure), aside again, and the new one in.
        fs::rename(&stable, &aside).unwrap();
        fs::rename(&aside, &stable).unwrap();
        for part in ["lib/core", "lib"] {
            fs::rename(stable.join(part), stable.join("part")).unwrap();
            fs::rename(stable.join("part"), stable.join(part)).unwrap();
        }
        fs::rename(&stable, &aside).unwrap();
        fs::rename(mounted.at("tmp/new"), &stable).unwrap();
        fs::rename(aside.join("lib"), stable.join("lib")).unwrap();
        fs::remove_dir_all(mounted.at("tmp")).unwrap();
        let shown = tree(&mounted.at("toolchains"));
        let names: Vec<_> = shown.keys().cloned().collect();
        if round == 0 {
            expected = names;
            assert_eq!(expected.len(), 8, "{expected:?}");
        } else {
            assert_eq!(names, expected);
        }
        unmount(&scene, mounted);
        let kernel = KernelMount::new(&scene, LAYERS);
        assert_eq!(tree(&kernel.at("toolchains")), shown);
    }
}

/// In `u`: bytes allocated to files.
fn allocated(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    let each = entries.map(|entry| match entry.file_type().unwrap().is_dir() {
        true => allocated(&entry.path()),
        false => entry.metadata().unwrap().blocks() * 512,
    });
    each.sum()
}

#[test]
fn complaint_chown_doubles_the_data() {
    if !can_mount() {
        return;
    }
    const FILES: u64 = 64;
    let prepare = |scene: &Scene| {
        // 16 MiB of what no filesystem compresses.
        let random = "for f in $(seq 64); do head -c 262144 /dev/urandom > l/d/$f; done";
        let mut made = Command::new("sh");
        let made = made.args(["-ec", random]).current_dir(scene.root());
        assert!(made.status().unwrap().success());
    };
    let scene = scene();
    prepare(&scene);
    let mounted = mount(&scene, ",metacopy=on");
    let mut changed = Command::new("chown");
    let changed = changed.args(["-R", "1234:4321"]);
    assert!(changed.arg(&mounted.point).status().unwrap().success());
    let shown = tree(&mounted.point);
    assert!(
        shown
            .values()
            .all(|sight| (sight.1, sight.2) == (1234, 4321))
    );
    unmount(&scene, mounted);
    // An empty file takes a block for its attributes at most.
    let most = (FILES + 2) * 4096;
    let found = allocated(&scene.at("u"));
    assert!(found <= most, "{found} bytes, and {most} for attributes");
    let kernel = KernelMount::new(&scene, &format!("{LAYERS},metacopy=on"));
    assert_eq!(tree(&kernel.point), shown);
}

#[test]
fn complaint_link_counts_are_wrong() {
    if !can_mount() {
        return;
    }
    let prepare = |scene: &Scene| {
        for name in ["l/second", "l/d/third"] {
            fs::hard_link(scene.at("l/file"), scene.at(name)).unwrap();
        }
    };
    let steps = |root: &Path| {
        let mut counts = Vec::new();
        let mut note = |name: &str| counts.push(fs::metadata(root.join(name)).unwrap().nlink());
        note("file");
        fs::write(root.join("second"), "new").unwrap();
        note("file");
        note("second");
        note("d/third");
        fs::hard_link(root.join("d/third"), root.join("fourth")).unwrap();
        note("fourth");
        note("file");
        fs::remove_file(root.join("file")).unwrap();
        note("second");
        note("fourth");
        fs::write(root.join("x"), "x").unwrap();
        fs::rename(root.join("x"), root.join("second")).unwrap();
        note("d/third");
        note("second");
        counts
    };
    for more in ["", ",index=on"] {
        let [ours, theirs] = on_both(more, prepare, steps);
        assert_eq!(ours, theirs, "{more}");
    }
    let [ours, _] = on_both(",index=on", prepare, steps);
    assert_eq!(ours, [3, 3, 3, 3, 4, 4, 3, 3, 2, 1]);
}

#[test]
fn complaint_numbers_differ_between_readdir_and_stat() {
    if !can_mount() {
        return;
    }
    fn check(dir: &Path) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let attr = fs::symlink_metadata(entry.path()).unwrap();
            assert_eq!(entry.ino(), attr.ino(), "{:?}", entry.path());
            if attr.is_dir() {
                check(&entry.path());
            }
        }
    }
    let scene = scene();
    fs::create_dir_all(scene.at("u/d")).unwrap();
    fs::write(scene.at("u/d/upper"), "x").unwrap();
    let mounted = mount(&scene, "");
    check(&mounted.point);
    let number = |mounted: &Mounted, name: &str| fs::metadata(mounted.at(name)).unwrap().ino();
    let before = [number(&mounted, "file"), number(&mounted, "d/inner")];
    let mut file = OpenOptions::new()
        .append(true)
        .open(mounted.at("file"))
        .unwrap();
    file.write_all(b"x").unwrap();
    drop(file);
    fs::rename(mounted.at("d/inner"), mounted.at("inner")).unwrap();
    check(&mounted.point);
    assert_eq!(
        [number(&mounted, "file"), number(&mounted, "inner")],
        before
    );
    unmount(&scene, mounted);
    let mounted = mount(&scene, "");
    check(&mounted.point);
    assert_eq!(
        [number(&mounted, "file"), number(&mounted, "inner")],
        before
    );
}

#[test]
fn complaint_directories_without_write_permission_cannot_be_copied_up() {
    if !can_mount() {
        return;
    }
    let prepare = |scene: &Scene| {
        fs::create_dir(scene.at("l/d/e")).unwrap();
        fs::write(scene.at("l/d/e/f"), "f").unwrap();
        for dir in ["l/d/e", "l/d"] {
            fs::set_permissions(scene.at(dir), Permissions::from_mode(0o555)).unwrap();
        }
    };
    let [ours, theirs] = on_both("", prepare, |root| {
        fs::write(root.join("d/e/new"), "new").unwrap();
        fs::write(root.join("d/e/f"), "changed").unwrap();
        fs::remove_file(root.join("d/inner")).unwrap();
        tree(root)
    });
    assert_eq!(ours, theirs);
}

/// Root of a user namespace has no more rights on the host than who made it.
#[test]
fn complaint_directories_without_write_permission_in_a_user_namespace() {
    if !can_mount() {
        return;
    }
    let scene = read_only_directory();
    let script = "exec unshare --user --map-root-user --mount sh -ec \"$1\" \"$0\"";
    let steps = "echo changed > m/d/inner; cat m/d/inner; chmod 600 m/d/inner; touch m/d/new
                 stat -c %a m/d m/d/inner; rm m/d/inner; ls m/d";
    assert_eq!(
        as_ordinary_user(&scene, script, steps, "umount"),
        "changed\n555\n600\nnew\n"
    );
    let mode = fs::metadata(scene.at("u/d")).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o555);
}

/// A server without such rights can neither move a copy of such a directory
/// into its place, nor add to it: that is said, and harms nothing.
#[test]
fn complaint_directories_without_write_permission_and_an_ordinary_user() {
    if !can_mount() || !has_fusermount() {
        return;
    }
    let scene = read_only_directory();
    let steps = "! echo changed 2>/dev/null >> m/d/inner; cat m/d/inner
                 ! touch m/d/new 2>/dev/null; ! rm -f m/d/inner 2>/dev/null
                 stat -c %a m/d; ls w/work u; echo changed > m/file; cat m/file";
    let script = "exec sh -ec \"$1\" \"$0\"";
    assert_eq!(
        as_ordinary_user(&scene, script, steps, "fusermount3 -u"),
        "inner\n555\nu:\n\nw/work:\nchanged\n"
    );
}

/// All an ordinary user's, and `d` without write permission.
fn read_only_directory() -> Scene {
    let scene = scene();
    for name in ["l/d/inner", "l/d", "l/file", "l", "u", "w", "m"] {
        lchown(scene.at(name), Some(USER), Some(USER)).unwrap();
    }
    fs::set_permissions(scene.at("l/d"), Permissions::from_mode(0o555)).unwrap();
    scene
}

/// What `steps` on a mount say, done by an ordinary user in the environment
/// that `script` makes.
fn as_ordinary_user(scene: &Scene, script: &str, steps: &str, umount: &str) -> String {
    let program = common::program_for_users(scene);
    let steps =
        format!("\"$0\" -o lowerdir=l,upperdir=u,workdir=w m; trap '{umount} m' EXIT; {steps}");
    let outer = format!(
        "{OPEN_DEVICE} exec setpriv --reuid {USER} --regid {USER} --clear-groups \
         sh -ec \"$1\" \"$0\" \"$2\""
    );
    let inner = script;
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-ec", &outer])
        .arg(program)
        .args([inner, &steps])
        .current_dir(scene.root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn complaint_a_copy_up_changes_the_time_of_its_directory() {
    if !can_mount() {
        return;
    }
    let [ours, theirs] = on_both(
        "",
        |_| {},
        |root| {
            let time = |name: &str| {
                let attr = fs::metadata(root.join(name)).unwrap();
                (attr.mtime(), attr.mtime_nsec())
            };
            let before = [time("."), time("d")];
            fs::write(root.join("d/inner"), "changed").unwrap();
            fs::set_permissions(root.join("file"), Permissions::from_mode(0o600)).unwrap();
            let copied = [time("."), time("d")] == before;
            fs::write(root.join("d/new"), "new").unwrap();
            (copied, time("d") > before[1])
        },
    );
    assert_eq!(ours, (true, true));
    assert_eq!(ours, theirs);
}

/// A dead server leaves a mount that says so; it goes by the usual command,
/// and nothing that was written is lost.
#[test]
fn complaint_a_killed_server_leaves_a_mount_that_cannot_be_used_again() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let mounted = scene.mount_all();
    fs::write(mounted.at("file"), "written").unwrap();
    fs::rename(mounted.at("d"), mounted.at("moved")).unwrap();
    let mut open = File::create(mounted.at("open")).unwrap();
    open.write_all(b"open").unwrap();
    open.sync_all().unwrap();
    let pid = Pid::from_raw(server(&scene).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    eventually("its end is seen", || {
        fs::metadata(mounted.at("file")).is_err_and(|error| error.kind() == ErrorKind::NotConnected)
    });
    assert!(
        open.write_all(b"more")
            .and_then(|()| open.sync_all())
            .is_err()
    );
    let again = refused(&scene.run([scene.at("l"), scene.at("u"), scene.at("m")]));
    assert!(again.contains("umount"), "{again}");
    drop(open);
    let gone = Command::new("umount").arg(&mounted.point).status();
    assert!(gone.unwrap().success());
    let mounted = scene.mount_all();
    assert_eq!(fs::read(mounted.at("file")).unwrap(), b"written");
    // What passes the server reaches the layer without it.
    let written: &[u8] = match common::passes_through() {
        true => b"openmore",
        false => b"open",
    };
    assert_eq!(fs::read(mounted.at("open")).unwrap(), written);
    assert_eq!(fs::read(mounted.at("moved/inner")).unwrap(), b"inner\n");
    assert!(!mounted.at("d").exists());
}

#[test]
fn complaint_a_mount_point_that_is_a_layer_hangs() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    for point in ["l", "l/d", "u"] {
        let before = scene.snapshot();
        let sentence = refused(&scene.run(["l", "u", point]));
        assert!(sentence.contains("mount point"), "{sentence}");
        assert_eq!(scene.snapshot(), before);
        assert!(!is_mounted(&scene.at(point)));
    }
}
