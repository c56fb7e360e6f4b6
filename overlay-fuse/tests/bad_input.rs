//! Bad input: exit status 1 or 32, one sentence that names the thing and says what
//! to do, and nothing on disk has changed.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use common::{
    OPEN_DEVICE, Scene, can_mount, has_fusermount, in_own_namespace, is_mounted, refused,
};

/// Runs the command with `words` (separated by blanks) and expects a refusal
/// that has all of `parts`, with nothing changed.
fn refuses(scene: &Scene, words: &str, parts: &[&str]) {
    let before = scene.snapshot();
    let sentence = refused(&scene.run(words.split_whitespace()));
    for part in parts {
        assert!(
            sentence.contains(part),
            "{words}: {part:?} not in {sentence}"
        );
    }
    assert_eq!(scene.snapshot(), before, "{words}: something has changed");
    assert!(
        !is_mounted(&scene.at("m").canonicalize().unwrap()),
        "{words}"
    );
}

#[test]
fn a_missing_layer_is_refused() {
    let scene = Scene::new();
    refuses(
        &scene,
        "no u m",
        &["lower layer", "\"no\"", "does not exist", "create"],
    );
    refuses(
        &scene,
        "l:no u m",
        &["lower layer", "\"no\"", "does not exist"],
    );
    refuses(
        &scene,
        "l no m",
        &["upper layer", "\"no\"", "does not exist"],
    );
    refuses(
        &scene,
        "l u m -o workdir=no",
        &["work directory", "\"no\"", "does not exist"],
    );
}

#[test]
fn a_file_where_a_directory_is_expected_is_refused() {
    let scene = Scene::new();
    fs::write(scene.at("f"), "").unwrap();
    refuses(
        &scene,
        "f u m",
        &["lower layer", "\"f\"", "is not a directory"],
    );
    refuses(
        &scene,
        "l f m",
        &["upper layer", "\"f\"", "is not a directory"],
    );
    refuses(
        &scene,
        "l u m -o workdir=f",
        &["work directory", "\"f\"", "is not a directory"],
    );
    refuses(
        &scene,
        "l u f",
        &["mount point", "\"f\"", "is not a directory"],
    );
    fs::write(scene.at("u.work"), "").unwrap();
    refuses(
        &scene,
        "l u m",
        &["work directory", "u.work", "is not a directory"],
    );
}

#[test]
fn overlapping_directories_are_refused() {
    let scene = Scene::new();
    fs::create_dir(scene.at("u/w")).unwrap();
    fs::create_dir(scene.at("w")).unwrap();
    symlink("l", scene.at("alias")).unwrap();
    refuses(
        &scene,
        "l l/d m",
        &["upper layer \"l/d\" lies inside lower layer \"l\"", "move"],
    );
    refuses(
        &scene,
        "alias l/d m",
        &["lies inside lower layer \"alias\""],
    );
    refuses(
        &scene,
        "l u m -o workdir=l/d",
        &["work directory \"l/d\" lies inside"],
    );
    refuses(
        &scene,
        "l u m -o workdir=u/w",
        &["work directory \"u/w\" lies inside upper layer"],
    );
    refuses(&scene, "l u m -o workdir=u", &["are the same directory"]);
    refuses(
        &scene,
        "l:alias u m",
        &["are the same directory", "two different ones"],
    );
    refuses(&scene, "l l m", &["are the same directory"]);
    refuses(
        &scene,
        "l:l/d u m",
        &["lower layer \"l/d\" lies inside lower layer \"l\""],
    );
}

#[test]
fn overlaps_through_bind_mounts_are_seen() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    fs::create_dir(scene.at("bind")).unwrap();
    let before = scene.snapshot();
    let script = "mount --bind l/d bind; exec \"$0\" l:bind m";
    let sentence = refused(&in_own_namespace(&scene, script));
    assert!(
        sentence.contains("lower layer \"bind\" lies inside lower layer \"l\""),
        "{sentence}"
    );
    fs::remove_file(scene.at("program")).unwrap();
    assert_eq!(scene.snapshot(), before);
}

#[test]
fn a_work_directory_on_another_filesystem_is_refused() {
    let scene = Scene::new();
    let other = tempfile::tempdir_in("/dev/shm").unwrap();
    if fs::metadata(other.path()).unwrap().dev() == fs::metadata(scene.root()).unwrap().dev() {
        common::skipped("/dev/shm is no other filesystem here");
        return;
    }
    let words = format!("l u m -o workdir={}", other.path().display());
    refuses(
        &scene,
        &words,
        &["not on the filesystem of upper layer \"u\"", "workdir="],
    );
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0);
}

#[test]
fn an_upper_that_is_the_root_of_a_mount_is_refused_with_a_way_out() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let before = scene.snapshot();
    for words in ["l u m", "l u m -o workdir=u/w", "l u m -o workdir=d"] {
        let script = format!("mount -t tmpfs none u; mkdir u/w d; exec \"$0\" {words}");
        let sentence = refused(&in_own_namespace(&scene, &script));
        // A work directory in the upper layer would be shown by the union.
        let part = match words.contains("u/w") {
            true => "work directory \"u/w\" lies inside upper layer \"u\"",
            false => "upper layer \"u\" is the root of a mount",
        };
        assert!(sentence.contains(part), "{sentence}");
        fs::remove_dir(scene.at("d")).unwrap();
    }
    fs::remove_file(scene.at("program")).unwrap();
    assert_eq!(scene.snapshot(), before);
    let script = "mount -t tmpfs none u; mkdir u/upper; \"$0\" l u/upper m; umount m";
    let output = in_own_namespace(&scene, script);
    assert!(output.status.success(), "{}", common::said(&output));
}

#[test]
fn more_layers_than_descriptors_are_refused() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let names: Vec<String> = (0..70).map(|number| format!("l{number}")).collect();
    for name in &names {
        fs::create_dir(scene.at(name)).unwrap();
    }
    common::program_for_users(&scene);
    let before = scene.snapshot();
    // At every number of descriptors something else is the one too many.
    for limit in (72..).step_by(3) {
        let words = format!("{} u m", names.join(":"));
        let script = format!("ulimit -n {limit}; \"$0\" {words} && umount m");
        let output = in_own_namespace(&scene, &script);
        if output.status.success() {
            assert!(limit > 100);
            break;
        }
        let sentence = refused(&output);
        let part = "may open no more files: raise the limit (ulimit -n)";
        assert!(sentence.contains(part), "{limit}: {sentence}");
        assert!(scene.snapshot() == before, "{limit}: something has changed");
    }
}

#[test]
fn an_upper_in_use_is_refused() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    fs::create_dir(scene.at("m2")).unwrap();
    fs::create_dir(scene.at("u2")).unwrap();
    let mounted = scene.mount_all();
    let before = scene.snapshot();
    for words in [
        &["l", "u", "m2"][..],
        &["l", "u2", "m2", "-oworkdir=u.work"],
    ] {
        let sentence = refused(&scene.run(words));
        assert!(
            sentence.contains(
                "in use by another mount, or by ufs check or convert: unmount that first"
            ),
            "{sentence}"
        );
    }
    assert_eq!(scene.snapshot(), before);
    drop(mounted);
}

/// `cp -r` of the lower layer: the same upper over another one, whose work
/// directory would be made.
#[test]
fn where_an_upper_is_in_use_no_work_directory_is_made() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    for name in ["l2", "m2", "w"] {
        fs::create_dir(scene.at(name)).unwrap();
    }
    let mounted = scene.mount(["-olowerdir=l,upperdir=u,workdir=w", "m"]);
    let before = scene.snapshot();
    let sentence = refused(&scene.run(["l2", "u", "m2"]));
    assert!(sentence.contains("is in use by"), "{sentence}");
    assert_eq!(scene.snapshot(), before);
    drop(mounted);
}

#[test]
fn what_is_in_the_place_of_the_work_area_is_named() {
    if !can_mount() {
        return;
    }
    for kind in ["touch", "ln -s /tmp", "mkfifo"] {
        let scene = Scene::new();
        fs::create_dir(scene.at("w")).unwrap();
        let made = format!("{kind} w/work");
        let mut made_by = std::process::Command::new("sh");
        let made_by = made_by.args(["-ec", &made]).current_dir(scene.root());
        assert!(made_by.status().unwrap().success());
        refuses(
            &scene,
            "l u m -o workdir=w",
            &["\"w/work\" is not a directory", "move it away"],
        );
    }
}

#[test]
fn a_filesystem_without_room_is_said() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    fs::create_dir(scene.at("full")).unwrap();
    // With the root, room for what is there and for nothing else.
    for (made, words) in [
        ("mkdir full/u full/w", " -o workdir=full/w"),
        ("mkdir full/u; : > full/f", ""),
    ] {
        let script = format!(
            "mount -t tmpfs -o nr_inodes=3 none full; {made}; exec \"$0\" l full/u m{words}"
        );
        let sentence = refused(&in_own_namespace(&scene, &script));
        let part = "no room for anything in work directory";
        assert!(sentence.contains(part), "{words}: {sentence}");
        assert!(sentence.contains("make room"), "{sentence}");
    }
}

#[test]
fn an_owner_attribute_that_means_nothing_is_named_with_its_layer() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let (name, flags) = (
        "user.containers.override_stat",
        rustix::fs::XattrFlags::empty(),
    );
    for (layer, what) in [("l", "lower layer \"l\""), ("u", "upper layer \"u\"")] {
        rustix::fs::lsetxattr(scene.at(layer), name, b"foo", flags).unwrap();
        refuses(
            &scene,
            "l u m -o xattr_permissions=2",
            &[what, name, "UID:GID:MODE", "xattr_permissions=0"],
        );
        drop(scene.mount(["l", "u", "m", "-oxattr_permissions=0"]));
        fs::remove_dir_all(scene.at("u.work")).unwrap();
        rustix::fs::lremovexattr(scene.at(layer), name).unwrap();
    }
}

#[test]
fn an_upper_in_use_by_the_kernels_overlay_is_refused() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    for name in ["w", "k", "u,2"] {
        fs::create_dir(scene.at(name)).unwrap();
    }
    for (upper, given) in [("u", "u"), ("u,2", "u\\,2")] {
        let script = format!(
            "mount -t overlay none k -o 'lowerdir=l,upperdir={given},workdir=w'; \
             exec \"$0\" l '{upper}' m"
        );
        let output = in_own_namespace(&scene, &script);
        let sentence = refused(&output);
        assert!(
            sentence.contains("in use by the overlay mounted at"),
            "{sentence}"
        );
        assert!(!scene.at(format!("{upper}.work")).exists());
    }
}

#[test]
fn a_mount_point_that_cannot_be_is_refused() {
    let scene = Scene::new();
    refuses(
        &scene,
        "l u no",
        &["mount point", "\"no\"", "does not exist"],
    );
    refuses(
        &scene,
        "l u l/d",
        &["mount point \"l/d\" lies inside lower layer \"l\""],
    );
    refuses(
        &scene,
        "l u l",
        &["mount point \"l\" and lower layer \"l\" are the same"],
    );
    refuses(
        &scene,
        "l u u",
        &["mount point \"u\" and upper layer \"u\" are the same"],
    );
}

#[test]
fn a_union_is_not_mounted_over_another() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let mounted = scene.mount(["l", "m"]);
    fs::create_dir(scene.at("l2")).unwrap();
    let sentence = refused(&scene.run(["l2", "u", "m"]));
    let part = "a union is mounted at mount point \"m\" already: unmount it";
    assert!(sentence.contains(part), "{sentence}");
    assert!(!scene.at("u.work").exists());
    drop(mounted);
}

#[test]
fn a_mount_that_is_refused_late_leaves_the_work_directory_alone() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    fs::create_dir_all(scene.at("u.work/work")).unwrap();
    // As every mount leaves it.
    fs::set_permissions(scene.at("u.work/work"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(scene.at("u.work/work/mine"), "x").unwrap();
    let before = scene.snapshot();
    let name = format!("fsname={}", "x".repeat(5000));
    refused(&scene.run(["-o", &name, "l", "u", "m"]));
    assert_eq!(scene.snapshot(), before);
}

#[test]
fn a_mount_that_has_lost_its_server_is_named_as_such() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let mounted = scene.mount_all();
    let pid = rustix::process::Pid::from_raw(common::server(&scene).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    common::eventually("dead", || {
        fs::metadata(&mounted.point).is_err_and(|e| e.raw_os_error() == Some(libc::ENOTCONN))
    });
    let sentence = refused(&scene.run(["l", "u", "m"]));
    assert!(sentence.contains("mount point \"m\" is a mount whose server is gone: unmount it"));
    drop(mounted);
    // The locks died with the server.
    drop(scene.mount_all());
}

#[test]
fn bad_words_are_refused() {
    let scene = Scene::new();
    refuses(&scene, "", &["are needed", "MOUNTPOINT"]);
    refuses(&scene, "m", &["are needed"]);
    refuses(&scene, "l u m x", &["one path too many"]);
    refuses(&scene, "--bogus l u m", &["--bogus", "--help"]);
    refuses(
        &scene,
        "l u m -o bogus",
        &["option \"bogus\" is not known", "leave it out"],
    );
    refuses(
        &scene,
        "l u m -o bogus=1",
        &["option \"bogus=1\" is not known"],
    );
    refuses(
        &scene,
        "l u m -o verity=on",
        &["\"verity=on\" is not supported"],
    );
    refuses(
        &scene,
        "l u m -o allow_root",
        &["\"allow_root\" is not supported"],
    );
    refuses(&scene, "l u m -o upperdir=u", &["given twice"]);
    refuses(&scene, "l m -o workdir=w", &["without an upper layer"]);
    refuses(&scene, "l:::u m", &["empty entry"]);
    refuses(&scene, "l u m -o upperdir=", &["upperdir has no value"]);
    refuses(&scene, "l u m --log", &["--log", "--help"]);
}

#[test]
fn help_and_version_are_no_errors() {
    let scene = Scene::new();
    for word in ["--help", "--version"] {
        let output = scene.run([word]);
        assert!(output.status.success());
        assert!(output.stderr.is_empty() && !output.stdout.is_empty());
    }
    let help = String::from_utf8(scene.run(["--help"]).stdout).unwrap();
    for option in ["lowerdir=", "br:BRANCH", "create=POLICY", "udba="] {
        assert!(help.contains(option), "{option} is not in {help}");
    }
}

#[test]
fn no_device_is_said() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let script = "mount -t tmpfs none /dev; mknod -m 666 /dev/null c 1 3; exec \"$0\" l u m";
    let sentence = refused(&in_own_namespace(&scene, script));
    assert!(
        sentence.contains("/dev/fuse is missing: load"),
        "{sentence}"
    );
    assert!(!scene.at("u.work").exists());
}

#[test]
fn an_empty_dev_is_said() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let script = "mount -t tmpfs none /dev; exec \"$0\" l u m";
    let sentence = refused(&in_own_namespace(&scene, script));
    assert!(
        sentence.contains("/dev/null cannot be opened"),
        "{sentence}"
    );
    assert!(
        sentence.contains("mknod -m 666 /dev/null c 1 3"),
        "{sentence}"
    );
}

const AS_USER: &str = "exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$0\" ";

#[test]
fn an_ordinary_user_without_fusermount3_is_told_so() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    give_away(&scene, "u");
    let script = format!(
        "{OPEN_DEVICE} for f in fusermount3 fusermount; do f=$(command -v $f) && \
         mount --bind /dev/null $(readlink -f $f); done; {AS_USER} l u m -o workdir=w"
    );
    fs::create_dir(scene.at("w")).unwrap();
    give_away(&scene, "w");
    let sentence = refused(&in_own_namespace(&scene, &script));
    assert!(
        sentence.contains("install the package fuse3, or run as root"),
        "{sentence}"
    );
    assert_eq!(fs::read_dir(scene.at("w")).unwrap().count(), 0);
}

#[test]
fn an_ordinary_user_who_may_not_open_the_device_is_told_so() {
    if !can_mount() || !has_fusermount() {
        return;
    }
    let scene = Scene::new();
    for name in ["u", "m"] {
        give_away(&scene, name);
    }
    fs::create_dir(scene.at("w")).unwrap();
    give_away(&scene, "w");
    let script = format!("{OPEN_DEVICE} chmod 600 /dev/fuse; {AS_USER} l u m -o workdir=w");
    let sentence = refused(&in_own_namespace(&scene, &script));
    assert!(
        sentence.contains("/dev/fuse may not be opened by this user"),
        "{sentence}"
    );
    assert_eq!(fs::read_dir(scene.at("w")).unwrap().count(), 0);
}

#[test]
fn what_an_ordinary_user_may_not_read_or_write_is_named() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    fs::set_permissions(scene.at("l"), fs::Permissions::from_mode(0o700)).unwrap();
    let as_user = |words: &str| refused(&in_own_namespace(&scene, &format!("{AS_USER} {words}")));
    let sentence = as_user("l u m");
    assert!(
        sentence.contains("lower layer \"l\" cannot be read: grant"),
        "{sentence}"
    );
    fs::set_permissions(scene.at("l"), fs::Permissions::from_mode(0o755)).unwrap();
    let sentence = as_user("l u m");
    assert!(
        sentence.contains("upper layer \"u\" cannot be written: grant"),
        "{sentence}"
    );
    give_away(&scene, "u");
    let sentence = as_user("l u m");
    assert!(sentence.contains("work directory") && sentence.contains("cannot be written"));
}

#[test]
fn an_ordinary_user_may_not_ask_for_what_is_roots() {
    if !can_mount() || !has_fusermount() {
        return;
    }
    let scene = Scene::new();
    fs::create_dir(scene.at("w")).unwrap();
    for name in ["u", "m", "w"] {
        give_away(&scene, name);
    }
    for (option, part) in [
        ("suid", "option suid is not permitted to an ordinary user"),
        ("allow_other", "user_allow_other to /etc/fuse.conf"),
        ("index=on", "option index=on needs root"),
        (
            "nodiratime",
            "fusermount3 does not know the option nodiratime: leave it out",
        ),
    ] {
        let script = format!(
            "{OPEN_DEVICE} : > no; mount --bind no /etc/fuse.conf 2>/dev/null || true; rm no; \
             {AS_USER} l u m -o workdir=w,{option}"
        );
        let output = in_own_namespace(&scene, &script);
        let sentence = refused(&output);
        assert!(sentence.contains(part), "{sentence}");
        assert_eq!(output.status.code(), Some(1), "{sentence}");
        assert_eq!(fs::read_dir(scene.at("w")).unwrap().count(), 0);
    }
}

/// What each says, and the exit status: 1 for an option that is not for this
/// user. All before anything is mounted or written.
#[test]
fn an_index_that_cannot_be_is_refused_with_advice() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    for name in ["l2", "u2", "u2.work"] {
        fs::create_dir(scene.at(name)).unwrap();
    }
    drop(scene.mount(["l", "u", "m", "-oindex=on"]));
    symlink("/tmp", scene.at("u2.work/index")).unwrap();
    refuses(
        &scene,
        "l2 u m -o index=on",
        &[
            "upper layer \"u\" was used with index=on over another lower layer: name the lower",
            "leave index=on out",
            "ufs check --repair --accept-lower",
        ],
    );
    refuses(
        &scene,
        "l2 u m -o nfs_export=on",
        &["leave nfs_export=on out"],
    );
    refuses(
        &scene,
        "l u2 m -o index=on",
        &["\"u2.work/index\" is not a directory", "move it away"],
    );
    fs::remove_file(scene.at("u2.work/index")).unwrap();
    refuses(
        &scene,
        "l u2 m -o index=on,workdir=u.work",
        &["work directory \"u.work\" holds the index of another upper layer than \"u2\""],
    );
    let script = "exec unshare --user --map-root-user --mount \"$0\" l u2 m -o";
    for option in ["index=on", "nfs_export=on"] {
        let before = scene.snapshot();
        let output = in_own_namespace(&scene, &format!("{script} {option}"));
        fs::remove_file(scene.at("program")).unwrap();
        let sentence = refused(&output);
        let part = format!("the option {option} needs root of the first user namespace");
        assert!(sentence.contains(&part), "{sentence}");
        assert!(sentence.contains("leave it out"), "{sentence}");
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(scene.snapshot(), before);
    }
}

#[test]
fn an_ordinary_user_may_not_mount_over_what_is_not_theirs() {
    if !can_mount() || !has_fusermount() {
        return;
    }
    let scene = Scene::new();
    let script = format!("{OPEN_DEVICE} {AS_USER} l m");
    let sentence = refused(&in_own_namespace(&scene, &script));
    assert!(
        sentence.contains("/m\" cannot be written by this user: name a directory"),
        "{sentence}"
    );
}

#[test]
fn an_upper_filesystem_without_attributes_is_refused() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    fs::create_dir(scene.at("r")).unwrap();
    let script = "mount -t ramfs none r; mkdir r/u r/w; set +e; \"$0\" l r/u m -o workdir=r/w; \
                  status=$?; ls r r/w; exit $status";
    let output = in_own_namespace(&scene, script);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "r:\nu\nw\n\nr/w:\n"
    );
    let sentence = common::said(&output);
    assert_eq!(output.status.code(), Some(32), "{sentence}");
    assert!(
        sentence.contains("stores no extended attributes"),
        "{sentence}"
    );
}

#[test]
fn a_read_only_filesystem_takes_no_upper() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let script = "mount --bind u u; mount -o remount,ro,bind u; exec \"$0\" l u m -o workdir=u";
    let sentence = refused(&in_own_namespace(&scene, script));
    assert!(
        sentence.contains("upper layer \"u\"") && sentence.contains("read-only"),
        "{sentence}"
    );
}

fn give_away(scene: &Scene, name: &str) {
    let user = Some(common::USER);
    std::os::unix::fs::chown(scene.at(name), user, user).unwrap();
}
