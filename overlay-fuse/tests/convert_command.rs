//! `ufs convert` on the command line: what it says, when it refuses, and what
//! it leaves.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::process::Output;

use common::commands::{code, is_root, refused_by, shown, ufs};
use common::{Scene, can_mount, in_own_namespace, refused as mount_refused, said, word};
use overlay_core::convert::{Effect, Kind};
use rustix::fs::XattrFlags;
use serde_json::Value;

fn convert(scene: &Scene, words: &[&str]) -> Output {
    ufs(scene, "convert", words)
}

fn refused(output: &Output, status: i32) -> String {
    refused_by("convert", output, status)
}

/// A branch `u` of AuFS with a whiteout and an opaque directory.
fn aufs() -> Scene {
    let scene = Scene::new();
    fs::create_dir(scene.at("u/d")).unwrap();
    for name in ["u/.wh.gone", "u/d/.wh..wh..opq", "u/d/file"] {
        fs::write(scene.at(name), "").unwrap();
    }
    scene
}

const TO_OVERLAY: [&str; 4] = ["--from", "aufs", "--to", "overlay"];
const TO_AUFS: [&str; 4] = ["--from", "overlay", "--to", "aufs"];

fn with<'a>(forms: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [forms, more].concat()
}

#[test]
fn a_branch_is_converted_and_back() {
    if !is_root() {
        return;
    }
    let scene = aufs();
    let before = scene.snapshot();
    let output = convert(&scene, &with(&TO_OVERLAY, &["u"]));
    assert_eq!(code(&output), 0, "{}", said(&output));
    let text = shown(&output);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(
        text.contains("1 whiteout, 1 opaque directory converted"),
        "{text}"
    );
    let whiteout = fs::symlink_metadata(scene.at("u/gone")).unwrap();
    assert!(whiteout.file_type().is_char_device());
    assert!(!scene.at("u/d/.wh..wh..opq").exists());
    let output = convert(&scene, &with(&TO_AUFS, &["-v", "u"]));
    assert_eq!(code(&output), 0, "{}", said(&output));
    let text = shown(&output);
    assert!(text.contains("converted: u/gone: a whiteout\n"), "{text}");
    assert_eq!(scene.snapshot(), before);
    let output = convert(&scene, &with(&TO_OVERLAY, &["-q", "u"]));
    assert_eq!((code(&output), shown(&output)), (0, String::new()));
}

#[test]
fn a_dry_run_tells_and_changes_nothing() {
    let scene = aufs();
    fs::write(scene.at("u/d/.wh.useless"), "").unwrap();
    let before = scene.snapshot();
    let output = convert(&scene, &with(&TO_OVERLAY, &["-n", "u"]));
    assert_eq!(code(&output), 0, "{}", said(&output));
    let text = shown(&output);
    assert!(text.starts_with("dropped: u/d/.wh.useless: "), "{text}");
    assert!(text.contains("to be converted; 1 dropped"), "{text}");
    assert_eq!(text.lines().count(), 2, "{text}");
    assert_eq!(scene.snapshot(), before);
}

#[test]
fn what_cannot_be_expressed_is_listed_with_what_to_do() {
    let scene = aufs();
    let path = scene.root().join(word(b"u/.wh.\xff\x1b"));
    fs::create_dir(path).unwrap();
    fs::create_dir(scene.at("u/.wh..wh.plnk")).unwrap();
    fs::write(scene.at("u/.wh..wh.plnk/1.2"), "").unwrap();
    let before = scene.snapshot();
    for more in [&["u"][..], &["-n", "u"], &["--copy-to", "copy", "u"]] {
        let output = convert(&scene, &with(&TO_OVERLAY, more));
        assert_eq!(code(&output), 4, "{}", said(&output));
        let text = shown(&output);
        assert!(text.contains("refused: u/.wh..wh.plnk: "), "{text}");
        assert!(text.contains("auplink"), "{text}");
        assert!(text.contains(r"refused: u/.wh.\xff\x1b: "), "{text}");
        assert!(text.contains("2 in the way"), "{text}");
    }
    let quiet = refused(&convert(&scene, &with(&TO_OVERLAY, &["-q", "u"])), 4);
    assert!(quiet.contains("holds 2 things"), "{quiet}");
    let output = convert(&scene, &with(&TO_OVERLAY, &["--json", "u"]));
    let lines: Vec<Value> = shown(&output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (last, notes) = lines.split_last().unwrap();
    assert_eq!(last["summary"]["refused"], 2);
    let of = |kind: &str| notes.iter().find(|note| note["kind"] == kind).unwrap();
    assert_eq!(of("pseudo-links")["effect"], "refused");
    assert_eq!(of("whiteout-directory")["path_escaped"], r".wh.\xff\x1b");
    assert!(of("pseudo-links")["advice"].is_string());
    assert_eq!(scene.snapshot(), before, "nor a copy");
}

#[test]
fn a_copy_is_converted_instead() {
    if !is_root() {
        return;
    }
    let scene = aufs();
    let output = convert(&scene, &with(&TO_OVERLAY, &["--copy-to", "copy", "u"]));
    assert_eq!(code(&output), 0, "{}", said(&output));
    assert!(scene.at("u/.wh.gone").exists() && !scene.at("u/gone").exists());
    let whiteout = fs::symlink_metadata(scene.at("copy/gone")).unwrap();
    assert!(whiteout.file_type().is_char_device());
    let again = convert(&scene, &with(&TO_OVERLAY, &["--copy-to", "copy", "u"]));
    assert!(refused(&again, 8).contains("is not empty"));
}

#[test]
fn what_was_interrupted_is_not_mounted_and_is_finished_without_further_words() {
    if !is_root() {
        return;
    }
    let scene = aufs();
    let (record, flags) = ("trusted.overlay.ufs.convert", XattrFlags::empty());
    rustix::fs::setxattr(scene.at("u"), record, b"aufs overlay 0.0 0.0", flags).unwrap();
    fs::create_dir(scene.at("u/.wh..wh.convert")).unwrap();
    let mount = mount_refused(&scene.run(["l", "u", "m"]));
    assert!(mount.contains("run ufs convert \"u\" again"), "{mount}");
    let other = refused(&convert(&scene, &with(&TO_AUFS, &["u"])), 8);
    assert!(
        other.contains("half-way through ufs convert --from aufs --to overlay"),
        "{other}"
    );
    let output = convert(&scene, &["u"]);
    assert_eq!(code(&output), 0, "{}", said(&output));
    assert!(shown(&output).contains("what was begun is finished"));
    assert!(scene.at("u/gone").symlink_metadata().is_ok());
    assert!(!scene.at("u/.wh..wh.convert").exists());
}

#[test]
fn words_that_mean_nothing_are_refused() {
    let scene = aufs();
    let before = scene.snapshot();
    for (words, why) in [
        (&["u"][..], "say --from and --to"),
        (&["--from", "aufs", "u"], "--to"),
        (
            &["--from", "aufs", "--to", "aufs", "u"],
            "that form already",
        ),
        (
            &["--from", "aufs", "--to", "containers", "u"],
            "name aufs or overlay",
        ),
        (&["--from", "ext4", "--to", "aufs", "u"], "invalid value"),
        (&["--from", "aufs", "--to", "overlay"], "required"),
    ] {
        let said = refused(&convert(&scene, words), 16);
        assert!(said.contains(why), "{words:?}: {said}");
    }
    for (branch, why) in [
        ("no", "does not exist"),
        ("u/.wh.gone", "is not a directory"),
    ] {
        let said = refused(&convert(&scene, &with(&TO_OVERLAY, &[branch])), 8);
        assert!(said.contains(why), "{said}");
    }
    assert_eq!(scene.snapshot(), before);
}

#[test]
fn a_branch_of_a_mounted_union_is_refused() {
    if !can_mount() {
        return;
    }
    let scene = aufs();
    let mounted = scene.mount(["l", "u", "m"]);
    let said_so = refused(&convert(&scene, &with(&TO_OVERLAY, &["u"])), 8);
    assert!(said_so.contains("in use"), "{said_so}");
    let said_so = refused(&convert(&scene, &with(&TO_OVERLAY, &["m"])), 8);
    assert!(said_so.contains("not a branch"), "{said_so}");
    drop(mounted);
    let ufs = env!("CARGO_BIN_EXE_ufs");
    let script = format!(
        "mount -t overlay -o lowerdir=l:u overlay m; {ufs} convert --from aufs --to overlay u"
    );
    let output = in_own_namespace(&scene, &script);
    assert_eq!(code(&output), 8, "{}", said(&output));
    assert!(said(&output).contains("in use by the overlay mounted at"));
    assert!(scene.at("u/.wh.gone").exists());
}

#[test]
fn the_manual_explains_every_note_under_its_effect() {
    let manual = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/man/ufs-convert.1");
    let manual = fs::read_to_string(manual).unwrap();
    for kind in Kind::ALL {
        let head = match kind.effect() {
            Effect::Refuses => ".Sy refused\n",
            Effect::Drops => ".Sy dropped\n",
            Effect::Converts => ".Sy converted :\n",
        };
        let section = manual.split(head).nth(1).unwrap();
        let section = section.split(".Pp\n").next().unwrap();
        let words = section.split([' ', '\n']);
        let listed = words.into_iter().any(|word| word == kind.name());
        assert!(listed, "{} is not under {head}", kind.name());
    }
}
