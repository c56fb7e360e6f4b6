//! `ufs check` on the command line: what it says, when it refuses, and the
//! exit codes of `fsck(8)`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output, Stdio};

use common::commands::{code, is_root, refused_by, shown, ufs};
use common::{Scene, USER, can_mount, in_own_namespace, install, said, word};
use rustix::fs::{FileType, Mode, XattrFlags};
use serde_json::Value;

fn check(scene: &Scene, words: &[&str]) -> Output {
    ufs(scene, "check", words)
}

fn refused(output: &Output, status: i32) -> String {
    refused_by("check", output, status)
}

fn mark(scene: &Scene, path: &str, name: &str, value: &[u8]) {
    let (path, flags) = (scene.at(path), XattrFlags::empty());
    rustix::fs::lsetxattr(&path, name, value, flags).unwrap();
}

/// An upper layer with a dangling redirect and a whiteout over nothing.
fn faulty() -> Scene {
    let scene = Scene::new();
    fs::create_dir(scene.at("u/d")).unwrap();
    mark(&scene, "u/d", "trusted.overlay.redirect", b"gone");
    let whiteout = scene.at("u/nothing");
    let (kind, mode) = (FileType::CharacterDevice, Mode::empty());
    rustix::fs::mknodat(rustix::fs::CWD, &whiteout, kind, mode, 0).unwrap();
    scene
}

#[test]
fn a_stack_in_order_is_left_as_it_is() {
    let scene = Scene::new();
    let before = scene.snapshot();
    for words in [
        &["l", "u"][..],
        &["-n", "l", "u"],
        &["-o", "lowerdir=l,upperdir=u"],
        &["-o", "lowerdir=l,upperdir=u,noatime,nodev", "source", "m"],
        &["l:u"],
    ] {
        let output = check(&scene, words);
        assert_eq!(code(&output), 0, "{words:?}: {}", said(&output));
        let text = shown(&output);
        assert!(text.contains("0 errors, 0 warnings"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    let output = check(&scene, &["--repair", "l", "u"]);
    assert_eq!(code(&output), 0, "{}", said(&output));
    assert_eq!(scene.snapshot(), before, "not even a work directory");
}

#[test]
fn faults_are_told_repaired_when_asked_and_then_gone() {
    if !is_root() {
        return;
    }
    let scene = faulty();
    let before = scene.snapshot();
    let output = check(&scene, &["l", "u"]);
    assert_eq!(code(&output), 4, "{}", said(&output));
    let text = shown(&output);
    assert!(
        text.starts_with("error: u/d: its redirect leads to"),
        "{text}"
    );
    assert!(text.contains("--repair removes the redirect"), "{text}");
    assert!(!text.contains("u/nothing"), "leftovers are for -v: {text}");
    assert!(text.contains("1 error, 0 warnings, 1 leftover"), "{text}");
    let text = shown(&check(&scene, &["-v", "l", "u"]));
    assert!(text.contains("leftover: u/nothing: "), "{text}");
    assert_eq!(scene.snapshot(), before);

    let output = check(&scene, &["--repair", "-v", "l", "u"]);
    assert_eq!(code(&output), 1, "{}", said(&output));
    let text = shown(&output);
    assert_eq!(text.matches("; repaired: ").count(), 2, "{text}");
    assert!(!scene.at("u/nothing").exists());
    assert!(!scene.at("u.work").exists(), "no work directory is left");
    assert_eq!(code(&check(&scene, &["l", "u"])), 0);
    assert_eq!(code(&check(&scene, &["--repair", "l", "u"])), 0);
}

#[test]
fn for_programs_each_finding_is_a_line_of_json() {
    if !is_root() {
        return;
    }
    let scene = faulty();
    fs::create_dir(scene.root().join(word(b"u/\xff"))).unwrap();
    let path = scene.root().join(word(b"u/\xff"));
    let (name, flags) = ("trusted.overlay.redirect", XattrFlags::empty());
    rustix::fs::lsetxattr(&path, name, b"/a//b", flags).unwrap();
    let output = check(&scene, &["--json", "l", "u"]);
    assert_eq!(code(&output), 4);
    let text = shown(&output);
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (last, findings) = lines.split_last().unwrap();
    assert_eq!(last["summary"]["errors"], 2);
    assert_eq!(last["summary"]["leftovers"], 1);
    assert_eq!(last["summary"]["exit"], 4);
    let of = |kind: &str| findings.iter().find(|line| line["kind"] == kind).unwrap();
    let dangling = of("redirect-dangling");
    assert_eq!(dangling["severity"], "error");
    assert_eq!(dangling["layer"], "upper");
    assert_eq!(dangling["directory"], "u");
    assert_eq!(dangling["path"], "d");
    assert_eq!(dangling["detail"], "gone");
    assert_eq!(dangling["outcome"], "left");
    assert!(dangling["repair"].is_string() && dangling["meaning"].is_string());
    assert!(dangling.get("path_escaped").is_none());
    assert_eq!(of("redirect-malformed")["path_escaped"], "\\xff");
    assert_eq!(of("whiteout-over-nothing")["severity"], "leftover");
    let output = check(&scene, &["--json", "--repair", "l", "u"]);
    assert_eq!(code(&output), 1);
    assert_eq!(shown(&output).matches(r#""outcome":"repaired""#).count(), 3);
}

#[test]
fn a_mounted_stack_is_refused() {
    if !can_mount() {
        return;
    }
    let scene = faulty();
    let mounted = scene.mount_all();
    for words in [&["l", "u"][..], &["--repair", "l", "u"]] {
        let sentence = refused(&check(&scene, words), 8);
        assert!(sentence.contains("in use by another mount"), "{sentence}");
    }
    let point = check(&scene, &["-o", "lowerdir=l", "m"]);
    let sentence = refused(&point, 8);
    assert!(sentence.contains("a union is mounted at"), "{sentence}");
    drop(mounted);
    assert_eq!(code(&check(&scene, &["l", "u"])), 4);
}

#[test]
fn a_stack_that_is_being_checked_cannot_be_mounted() {
    if !is_root() {
        return;
    }
    let scene = faulty();
    let directories = overlay_core::Directories {
        lowers: vec![scene.at("l")],
        upper: Some(scene.at("u")),
        ..overlay_core::Directories::default()
    };
    let looked = directories.open_to_check().unwrap();
    let error = directories.open().unwrap_err().to_string();
    assert!(error.contains("in use by another mount"), "{error}");
    drop(looked);
    drop(directories.open().unwrap());
}

#[test]
fn a_stack_that_the_kernel_has_mounted_is_refused() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    fs::create_dir(scene.at("w")).unwrap();
    install(env!("CARGO_BIN_EXE_ufs"), &scene.at("ufs"));
    let script = "mount -t overlay -o lowerdir=l,upperdir=u,workdir=w none m
        ./ufs check l u w && exit 1; test $? = 8
        ./ufs check -o lowerdir=l,upperdir=u,workdir=w && exit 1; test $? = 8
        umount m; ./ufs check l u w";
    let output = in_own_namespace(&scene, script);
    assert!(output.status.success(), "{}", said(&output));
    let said = said(&output);
    assert_eq!(
        said.matches("is in use by the overlay mounted at").count(),
        2,
        "{said}"
    );
}

#[test]
fn words_without_a_meaning_are_refused_as_usage() {
    let scene = Scene::new();
    fs::create_dir(scene.at("w")).unwrap();
    for (words, part) in [
        (&[][..], "layers are needed"),
        (&["--bogus", "l"], "--bogus"),
        (&["-n", "--repair", "l", "u"], "cannot be used with"),
        (&["l", "u", "w", "x"], "one path too many"),
        (&["--repair", "l"], "without an upper layer"),
        (
            &["--repair", "-o", "lowerdir=l,upperdir=u,ro"],
            "leave ro or --repair out",
        ),
        (&["--accept-lower", "l", "u"], "are for --repair"),
        (&["-o", "lowerdir=l,workdir=w"], "without an upper layer"),
        (&["-o", "lowerdir=l,bogus"], "is not known"),
        (&["-o", "br:u=rw:l=ro"], "with layer_format=aufs"),
        (
            &["-o", "lowerdir=l,userxattr,redirect_dir=on", "m"],
            "userxattr",
        ),
    ] {
        let sentence = refused(&check(&scene, words), 16);
        assert!(sentence.contains(part), "{words:?}: {sentence}");
    }
    // Not a question of words: the directories are not what they should be.
    let sentence = refused(&check(&scene, &["l", "u", "m"]), 8);
    assert!(
        sentence.contains("has not been a work directory yet"),
        "{sentence}"
    );
    let sentence = refused(&check(&scene, &["l", "missing"]), 8);
    assert!(sentence.contains("does not exist"), "{sentence}");
    assert!(check(&scene, &["--help"]).status.success());
}

#[test]
fn what_a_volatile_mount_left_has_to_be_accepted() {
    if !is_root() {
        return;
    }
    let scene = Scene::new();
    let dirty = scene.at("u.work/work/incompat/volatile/dirty");
    fs::create_dir_all(&dirty).unwrap();
    let output = check(&scene, &["--repair", "l", "u"]);
    assert_eq!(code(&output), 4, "{}", said(&output));
    let text = shown(&output);
    assert!(text.contains("a volatile mount left this note"), "{text}");
    let part = "if it is known to be whole, use --repair --accept-volatile";
    assert!(text.contains(part), "{text}");
    assert!(dirty.exists());
    let output = check(&scene, &["--repair", "--accept-volatile", "l", "u"]);
    assert_eq!(code(&output), 1, "{}", said(&output));
    assert!(!scene.at("u.work/work/incompat").exists());
    assert_eq!(code(&check(&scene, &["l", "u"])), 0);
}

#[test]
fn over_another_lower_layer_a_repair_has_to_be_asked_for_by_name() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    fs::create_dir(scene.at("l2")).unwrap();
    drop(scene.mount(["l", "u", "m", "-oindex=on"]));
    let output = check(&scene, &["--repair", "l2", "u"]);
    assert_eq!(code(&output), 4, "{}", said(&output));
    let part = "not repaired: name the lower layers that it was used with, or, if these are right, \
                use --repair --accept-lower";
    assert!(shown(&output).contains(part), "{}", shown(&output));
    let output = check(&scene, &["--json", "l2", "u"]);
    assert!(
        shown(&output).contains("--repair --accept-lower\""),
        "{}",
        shown(&output)
    );
    let words = ["--repair", "--accept-lower", "l2", "u"];
    assert_eq!(code(&check(&scene, &words)), 1);
}

#[test]
fn what_is_in_the_place_of_the_work_area_is_a_finding() {
    if !is_root() {
        return;
    }
    let scene = Scene::new();
    fs::create_dir(scene.at("w")).unwrap();
    fs::write(scene.at("w/work"), "").unwrap();
    let output = check(&scene, &["l", "u", "w"]);
    assert_eq!(code(&output), 4, "{}", said(&output));
    let text = shown(&output);
    assert!(
        text.starts_with("error: w/work: it is not a directory, so no mount"),
        "{text}"
    );
    let sentence = refused(&check(&scene, &["--repair", "l", "u", "w"]), 8);
    assert!(
        sentence.contains("\"w/work\" is not a directory") && sentence.contains("move it away"),
        "{sentence}"
    );
}

#[test]
fn redirects_that_the_mount_refuses_are_warnings() {
    if !is_root() {
        return;
    }
    let scene = Scene::new();
    fs::create_dir(scene.at("u/moved")).unwrap();
    mark(&scene, "u/moved", "trusted.overlay.redirect", b"/d");
    fs::write(scene.at("u/d"), "covers the old name").unwrap();
    assert_eq!(code(&check(&scene, &["l", "u"])), 0);
    let words = ["-o", "lowerdir=l,upperdir=u,redirect_dir=nofollow"];
    let output = check(&scene, &words);
    assert_eq!(code(&output), 4);
    assert!(shown(&output).contains("warning: u/moved: "));
}

/// As an ordinary user, for root can read everything.
fn as_user(scene: &Scene, words: &[&str]) -> Output {
    install(env!("CARGO_BIN_EXE_ufs"), &scene.at("ufs"));
    let id = USER.to_string();
    Command::new("setpriv")
        .args(["--reuid", &id, "--regid", &id, "--clear-groups"])
        .arg(scene.at("ufs"))
        .arg("check")
        .args(words)
        .current_dir(scene.root())
        .output()
        .unwrap()
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_is_checked() {
    if !is_root() {
        return;
    }
    let scene = Scene::new();
    fs::create_dir(scene.at("u/closed")).unwrap();
    fs::set_permissions(
        scene.at("u/closed"),
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )
    .unwrap();
    fs::create_dir(scene.at("u/open")).unwrap();
    mark(&scene, "u/open", "user.overlay.opaque", b"z");
    let output = as_user(&scene, &["l", "u"]);
    assert_eq!(code(&output), 4 | 8, "{}", said(&output));
    let text = shown(&output);
    assert!(
        text.contains("error: u/closed: it could not be read"),
        "{text}"
    );
    assert!(text.contains("warning: u/open: its opaque mark"), "{text}");
}

#[test]
fn an_ordinary_user_repairs_what_is_theirs() {
    if !is_root() {
        return;
    }
    let scene = Scene::new();
    for path in ["u", "u/open"] {
        let path = scene.at(path);
        if !path.exists() {
            fs::create_dir(&path).unwrap();
        }
        std::os::unix::fs::chown(&path, Some(USER), Some(USER)).unwrap();
    }
    fs::create_dir(scene.at("w")).unwrap();
    std::os::unix::fs::chown(scene.at("w"), Some(USER), Some(USER)).unwrap();
    mark(&scene, "u/open", "user.overlay.opaque", b"z");
    let words = ["--repair", "-o", "lowerdir=l,upperdir=u,workdir=w"];
    let output = as_user(&scene, &words);
    assert_eq!(code(&output), 1, "{}", said(&output));
    assert!(fs::read_dir(scene.at("w")).unwrap().next().is_none());
    assert_eq!(code(&as_user(&scene, &words)), 0);
}

#[test]
fn a_reader_who_has_seen_enough_ends_a_check() {
    if !is_root() {
        return;
    }
    let scene = faulty();
    let run = |words: &[&str]| {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        drop(reader);
        Command::new(env!("CARGO_BIN_EXE_ufs"))
            .arg("check")
            .args(words)
            .current_dir(scene.root())
            .stdout(writer)
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .code()
            .unwrap()
    };
    assert_eq!(run(&["l", "u"]), 4 | 32);
    // A repair goes on: half of one helps nobody.
    assert_eq!(run(&["--repair", "l", "u"]), 1 | 32);
    assert_eq!(code(&check(&scene, &["l", "u"])), 0);
}

#[test]
fn a_name_that_would_harm_a_terminal_is_escaped() {
    if !is_root() {
        return;
    }
    let scene = Scene::new();
    let path = scene.root().join(word(b"u/\x1b[31m\n"));
    assert_eq!(path.as_os_str().as_bytes().last(), Some(&b'\n'));
    fs::create_dir(&path).unwrap();
    let (name, flags) = ("trusted.overlay.redirect", XattrFlags::empty());
    rustix::fs::lsetxattr(&path, name, b"gone", flags).unwrap();
    let text = shown(&check(&scene, &["l", "u"]));
    assert!(text.contains(r"u/\x1b[31m\n: "), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
}

#[test]
fn the_manual_lists_every_finding_under_its_severity() {
    let manual = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/man/ufs-check.1");
    let manual = fs::read_to_string(manual).unwrap();
    for kind in overlay_core::check::Kind::ALL {
        let head = format!(".It Sy {}\n", kind.severity().name());
        let section = manual.split(&head).nth(1).unwrap();
        let section = section.split(".It").next().unwrap();
        let listed = section.contains(&format!(".Li {} ", kind.name()));
        assert!(listed, "{} is not under {head}", kind.name());
    }
}
