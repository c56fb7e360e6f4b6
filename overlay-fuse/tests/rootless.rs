//! Without the powers of root: as root of a user namespace, with one id and
//! with a range of them, and as an ordinary user through `fusermount3`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::path::Path;
use std::process::{Command, Output, Stdio};

mod common;

use common::{OPEN_DEVICE, Scene, can_mount, has_fusermount, said};

fn give(path: impl AsRef<Path>, uid: u32, gid: u32) {
    lchown(path, Some(uid), Some(gid)).unwrap();
}

fn chmod(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn owner(path: impl AsRef<Path>) -> (u32, u32) {
    let attr = fs::symlink_metadata(path).unwrap();
    (attr.uid(), attr.gid())
}

fn is_whiteout(path: impl AsRef<Path>) -> bool {
    let attr = fs::symlink_metadata(path).unwrap();
    attr.file_type().is_char_device() && attr.rdev() == 0
}

/// Gives all of a scene to `uid`, as far as it is not somebody else's.
fn give_all(dir: &Path, uid: u32) {
    give(dir, uid, uid);
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => give_all(&entry.path(), uid),
            false => give(entry.path(), uid, uid),
        }
    }
}

/// What scripts say of a command: its name and how it ended.
const TELL: &str = "tell() { name=$1; shift; if \"$@\" 2>$name.err; then echo $name works; \
                    else echo $name: $(sed 's/.*: //' $name.err); fi; }; ";

/// Runs `script` as root of a fresh user namespace with a mount namespace of
/// its own, where `$0` is the command and the scene the current directory.
/// `maps` are the lines of its `uid_map` and `gid_map`.
fn in_user_namespace(scene: &Scene, maps: &str, script: &str) -> Output {
    let program = common::program_for_users(scene);
    // Waits for the maps, becomes root there, and has capabilities anew.
    let wait = "read go; exec setpriv --reuid 0 --regid 0 --clear-groups sh -ec \"$1\" \"$0\"";
    // In the outer namespace, for device nodes are root's.
    let outer = format!(
        "{OPEN_DEVICE} exec unshare --user --mount --keep-caps sh -ec \"$2\" \"$0\" \"$1\""
    );
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-ec", &outer])
        .arg(program)
        .args([script, wait])
        .current_dir(scene.root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Nobody forks on the way, so the number stays.
    let ours = fs::read_link("/proc/self/ns/user").unwrap();
    let theirs = format!("/proc/{}/ns/user", child.id());
    common::eventually("a user namespace", || {
        fs::read_link(&theirs).is_ok_and(|theirs| theirs != ours)
    });
    for map in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{}/{map}", child.id()), maps).unwrap();
    }
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    child.wait_with_output().unwrap()
}

/// The lines that a script said, if it went well.
fn lines(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{}", said(output));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn root_of_a_user_namespace_with_one_id_mounts_changes_and_mounts_again() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    fs::create_dir(scene.at("l/foreign")).unwrap();
    fs::write(scene.at("l/foreign/file"), "theirs").unwrap();
    for name in ["l/foreign", "l/foreign/file"] {
        give(scene.at(name), 1000, 1000);
    }
    let script = format!(
        "{TELL} mount() {{ \"$0\" -o lowerdir=l,upperdir=u,workdir=w m; }}; mkdir w; mount
        echo changed > m/file; rm m/d/inner; mv m/file m/d/moved
        mkdir m/new; echo x > m/new/y; mkfifo m/new/fifo; ln -s y m/new/link
        tell foreign chmod 600 m/foreign/file
        cat m/foreign/file; echo
        umount m; mount
        cat m/d/moved m/new/y; readlink m/new/link; ls m m/d
        test $(stat -c %u m/new/y) = 0
        umount m"
    );
    let said = lines(&in_user_namespace(&scene, "0 0 1", &script));
    assert_eq!(
        said,
        [
            "foreign: Value too large for defined data type",
            "theirs",
            "changed",
            "x",
            "y",
            "m:",
            "d",
            "foreign",
            "new",
            "",
            "m/d:",
            "moved"
        ]
    );
    assert!(is_whiteout(scene.at("u/file")) && is_whiteout(scene.at("u/d/inner")));
    assert!(
        !scene.at("u/foreign").exists(),
        "no copy that changed hands"
    );
    assert_eq!(fs::read(scene.at("l/file")).unwrap(), b"lower\n");
}

/// Maps ids 0 to 65535 of a namespace to 100000 and up.
const RANGE: &str = "0 100000 65536";

#[test]
fn with_a_range_of_ids_owners_are_kept_and_those_without_an_id_are_refused() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let make = |name: &str, uid: u32, gid: u32| {
        fs::write(scene.at(format!("l/{name}")), name).unwrap();
        give(scene.at(format!("l/{name}")), uid, gid);
    };
    make("own", 100_000, 100_000);
    make("other", 100_005, 100_006);
    // Its ids show as 65534 and are 65534.
    make("nobody", 165_534, 165_534);
    // These show as 65534 for want of an id.
    make("foreign", 7, 7);
    make("foreign-group", 100_005, 7);
    make("secret", 7, 7);
    chmod(scene.at("l/secret"), 0o600);
    for name in ["l", "u", "m", "l/d", "l/d/inner"] {
        give(scene.at(name), 100_000, 100_000);
    }
    chmod(scene.root(), 0o777);
    let script = format!(
        "{TELL} mkdir w; \"$0\" -o lowerdir=l,upperdir=u,workdir=w m
        for name in own other nobody foreign foreign-group secret; do
            tell $name chmod 640 m/$name; done
        chown 33:34 m/own; mkdir m/made; chown 5 m/made; rm m/secret
        stat -c '%n %u:%g' m/own m/other m/nobody m/foreign m/made
        umount m"
    );
    let overflow = ": Value too large for defined data type";
    assert_eq!(
        lines(&in_user_namespace(&scene, RANGE, &script)),
        [
            "own works".to_owned(),
            "other works".to_owned(),
            "nobody works".to_owned(),
            format!("foreign{overflow}"),
            format!("foreign-group{overflow}"),
            format!("secret{overflow}"),
            "m/own 33:34".to_owned(),
            "m/other 5:6".to_owned(),
            "m/nobody 65534:65534".to_owned(),
            "m/foreign 65534:65534".to_owned(),
            "m/made 5:0".to_owned(),
        ]
    );
    assert_eq!(owner(scene.at("u/own")), (100_033, 100_034));
    assert_eq!(owner(scene.at("u/other")), (100_005, 100_006));
    assert_eq!(owner(scene.at("u/nobody")), (165_534, 165_534));
    for name in ["foreign", "foreign-group"] {
        assert!(!scene.at(format!("u/{name}")).exists(), "{name}");
    }
    assert!(is_whiteout(scene.at("u/secret")));
}

#[test]
fn squashing_lets_a_user_namespace_copy_what_has_no_owner_there() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    give(scene.at("l/file"), 7, 7);
    for name in ["u", "m"] {
        give(scene.at(name), 100_000, 100_000);
    }
    chmod(scene.root(), 0o777);
    let script = "mkdir w; \"$0\" -o lowerdir=l,upperdir=u,workdir=w,squash_to_root m
        chmod 600 m/file; chown 5:5 m/file; stat -c '%u:%g %a' m/file; umount m";
    let said = lines(&in_user_namespace(&scene, RANGE, script));
    assert_eq!(said, ["0:0 600"]);
    // As far as it could be stored, the last owner asked for.
    assert_eq!(owner(scene.at("u/file")), (100_005, 100_005));
}

#[test]
fn owners_in_attributes_need_no_right_to_give_files_away() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    for name in ["u", "m"] {
        give(scene.at(name), 100_000, 100_000);
    }
    chmod(scene.root(), 0o777);
    // Without CAP_CHOWN and CAP_FOWNER the server can give nothing away.
    let script = "mkdir w
        setpriv --inh-caps=-chown,-fowner --bounding-set=-chown,-fowner \
            \"$0\" -o lowerdir=l,upperdir=u,workdir=w,xattr_permissions=2 m
        echo x > m/made; chown 5:6 m/made; chmod 4711 m/made; mkfifo m/pipe; chown 7 m/pipe
        ln -s x m/link; chown -h 8:9 m/link
        stat -c '%n %u:%g %a %F' m/made m/pipe m/link
        umount m; \"$0\" -o lowerdir=u:l m; stat -c '%n %u:%g %a %F' m/made m/pipe; umount m";
    let said = lines(&in_user_namespace(&scene, RANGE, script));
    assert_eq!(
        said,
        [
            "m/made 5:6 4711 regular file",
            "m/pipe 7:0 644 fifo",
            // It carries no attribute; its owner stays the server's.
            "m/link 0:0 777 symbolic link",
            // Without the option, by the mark of the layer's root.
            "m/made 5:6 4711 regular file",
            "m/pipe 7:0 644 fifo",
        ]
    );
    assert_eq!(owner(scene.at("u/made")), (100_000, 100_000));
}

/// A script for an ordinary user, where `$0` is the command.
fn as_ordinary_user(scene: &Scene, script: &str) -> Output {
    let script = script.replace('\'', "'\\''");
    let script = format!(
        "{OPEN_DEVICE} exec setpriv --reuid 65534 --regid 65534 --clear-groups \
         sh -ec '{script}' \"$0\""
    );
    common::in_own_namespace(scene, &script)
}

#[test]
fn an_ordinary_user_changes_their_own_files_and_nobody_elses_change_hands() {
    if !can_mount() || !has_fusermount() {
        return;
    }
    let scene = Scene::new();
    give_all(scene.root(), common::USER);
    fs::write(scene.at("l/roots"), "roots").unwrap();
    fs::write(scene.at("l/secret"), "secret").unwrap();
    chmod(scene.at("l/secret"), 0o600);
    fs::write(scene.at("l/writable"), "for all").unwrap();
    chmod(scene.at("l/writable"), 0o666);
    let script = format!(
        "{TELL} mount() {{ \"$0\" l u m; }}; mount
        echo changed >> m/file; mv m/file m/d/moved; rm m/d/inner; rm m/roots
        mkdir m/new; ln m/d/moved m/new/linked; chmod 000 m/new; chmod 700 m/new
        echo > m/mine; chmod 000 m/mine
        tell writable sh -c 'echo x 2>/dev/null >> m/writable || {{ echo : refused >&2; exit 1; }}'
        ls m; stat -c '%n %u %a' m/secret m/mine
        fusermount3 -u m; mount
        cat m/d/moved; stat -c %h m/new/linked; stat -c '%n %u %a' m/mine; ls m
        fusermount3 -u m"
    );
    assert_eq!(
        lines(&as_ordinary_user(&scene, &script)),
        [
            "writable: refused",
            "d",
            "mine",
            "new",
            "secret",
            "writable",
            "m/secret 0 600",
            "m/mine 65534 0",
            "lower",
            "changed",
            "2",
            "m/mine 65534 0",
            "d",
            "mine",
            "new",
            "secret",
            "writable",
        ]
    );
    assert!(
        is_whiteout(scene.at("u/roots")),
        "mknod needs no right for it"
    );
    assert!(
        !scene.at("u/writable").exists(),
        "no copy that changed hands"
    );
    assert_eq!(fs::read(scene.at("l/writable")).unwrap(), b"for all");
}

#[test]
fn an_ordinary_user_with_squashed_owners_changes_files_of_others() {
    if !can_mount() || !has_fusermount() {
        return;
    }
    let scene = Scene::new();
    give_all(scene.root(), common::USER);
    fs::write(scene.at("l/roots"), "roots").unwrap();
    chmod(scene.at("l/roots"), 0o644);
    let script = "\"$0\" l u m -o squash_to_uid=65534,squash_to_gid=65534
        echo more >> m/roots; stat -c '%u:%g %a' m/roots; cat m/roots; fusermount3 -u m";
    let said = lines(&as_ordinary_user(&scene, script));
    assert_eq!(said, ["65534:65534 644", "rootsmore"]);
    assert_eq!(owner(scene.at("u/roots")), (common::USER, common::USER));
}

#[test]
fn access_times_of_an_ordinary_users_own_layers_stay() {
    if !can_mount() || !has_fusermount() {
        return;
    }
    let scene = Scene::new();
    give_all(scene.root(), common::USER);
    let times = |name: &str| {
        let attr = fs::symlink_metadata(scene.at(name)).unwrap();
        (attr.atime(), attr.atime_nsec())
    };
    let old = rustix::fs::Timespec {
        tv_sec: 1_000,
        tv_nsec: 1,
    };
    let set = rustix::fs::Timestamps {
        last_access: old,
        last_modification: old,
    };
    for name in ["l/file", "l/d", "l"] {
        let none = rustix::fs::AtFlags::empty();
        rustix::fs::utimensat(rustix::fs::CWD, scene.at(name), &set, none).unwrap();
    }
    let script = "\"$0\" l u m; cat m/file; ls m m/d > /dev/null; fusermount3 -u m";
    assert_eq!(lines(&as_ordinary_user(&scene, script)), ["lower"]);
    for name in ["l/file", "l/d", "l"] {
        assert_eq!(times(name), (1_000, 1), "{name}");
    }
}

#[test]
fn what_an_ordinary_user_may_not_ask_for_is_refused_by_name() {
    if !can_mount() || !has_fusermount() {
        return;
    }
    let scene = Scene::new();
    give_all(scene.root(), common::USER);
    for (option, part) in [
        ("allow_other", "user_allow_other to /etc/fuse.conf"),
        (
            "xattr_permissions=1",
            "use xattr_permissions=2 with a new upper layer, or run as root",
        ),
    ] {
        // As where nobody has changed it.
        let script = format!(
            ": > no; mount --bind no /etc/fuse.conf 2>/dev/null || true; rm no; {OPEN_DEVICE} \
             exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$0\" l u m -o {option}"
        );
        let sentence = common::refused(&common::in_own_namespace(&scene, &script));
        assert!(sentence.contains(part), "{sentence}");
        assert!(!scene.at("u.work").exists(), "{option} left something");
    }
}
