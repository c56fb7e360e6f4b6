//! `ufs plink` on the command line: what it says, when it refuses, and what it
//! leaves.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Output;

use common::branches::mount;
use common::commands::{code, refused_by, shown, ufs};
use common::{Scene, can_mount, said};
use overlay_core::dialect::aufs::Aufs;
use overlay_core::fs::UnionFs;
use overlay_core::stack::directories::LayerFormat;
use overlay_core::union::{Options, Plinks};
use overlay_core::{Directories, Union};
use serde_json::Value;

fn plink(scene: &Scene, words: &[&str]) -> Output {
    ufs(scene, "plink", words)
}

fn refused(output: &Output, status: i32) -> String {
    refused_by("plink", output, status)
}

/// `l/file` has another name `l/d/link`.
fn scene() -> Scene {
    let scene = Scene::new();
    fs::hard_link(scene.at("l/file"), scene.at("l/d/link")).unwrap();
    scene
}

fn union(scene: &Scene) -> UnionFs {
    let directories = Directories {
        lowers: vec![scene.at("l")],
        upper: Some(scene.at("u")),
        format: LayerFormat::Aufs(Aufs::default()),
        ..Directories::default()
    };
    let options = Options {
        plinks: Plinks::Keep,
        ..Options::default()
    };
    let stack = directories.open().unwrap();
    UnionFs::from_union(Union::with_options(stack, options).unwrap())
}

/// A pseudo-link of `l/file` in the branch `u`.
fn linked() -> Scene {
    let scene = scene();
    union(&scene).write("file", "upper\n").unwrap();
    scene
}

fn entries(scene: &Scene) -> usize {
    fs::read_dir(scene.at("u/.wh..wh.plnk")).unwrap().count()
}

#[test]
fn pseudo_links_are_listed_with_their_names() {
    let scene = linked();
    let output = plink(&scene, &["list", "u"]);
    assert_eq!(code(&output), 0, "{}", said(&output));
    let text = shown(&output);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("6 bytes, 1 name only below: file"), "{text}");
    let output = plink(&scene, &["list", "--json", "u"]);
    let line: Value = serde_json::from_str(&shown(&output)).unwrap();
    let copy = fs::metadata(scene.at("u/file")).unwrap().ino();
    let number = fs::metadata(scene.at("l/file")).unwrap().ino();
    assert_eq!(line["name"], format!("{number}.{copy}"));
    assert_eq!(line["number"], number);
    assert_eq!(line["copy"], copy);
    assert_eq!(line["standing"], "whole");
    assert_eq!(line["size"], 6);
    assert_eq!(line["below"], 1);
    assert_eq!(line["names"], serde_json::json!(["file"]));
    let output = plink(&scene, &["list", "l"]);
    assert_eq!((code(&output), shown(&output).as_str()), (0, ""));
}

#[test]
fn a_flush_makes_hard_links() {
    let scene = linked();
    let output = plink(&scene, &["flush", "u", "l=ro+wh"]);
    assert_eq!(code(&output), 0, "{}", said(&output));
    assert!(shown(&output).contains("1 name was linked, 1 pseudo-link removed"));
    let attr = |path: &str| {
        let metadata = fs::metadata(scene.at(path)).unwrap();
        (metadata.ino(), metadata.nlink())
    };
    assert_eq!(attr("u/file"), attr("u/d/link"));
    assert_eq!(attr("u/file").1, 2);
    assert_eq!(entries(&scene), 0);
    let output = plink(&scene, &["flush", "-q", "u", "l"]);
    assert_eq!((code(&output), shown(&output).as_str()), (0, ""));
}

#[test]
fn a_flush_without_the_original_leaves_the_pseudo_link() {
    let scene = linked();
    fs::create_dir(scene.at("other")).unwrap();
    let before = entries(&scene);
    let output = plink(&scene, &["flush", "u", "other"]);
    assert_eq!(code(&output), 4, "{}", said(&output));
    assert!(shown(&output).contains("no name that shows is its original's"));
    assert_eq!(entries(&scene), before);
    let output = plink(&scene, &["flush", "--all", "u", "other"]);
    assert_eq!(code(&output), 0, "{}", said(&output));
    assert_eq!(entries(&scene), 0);
}

#[test]
fn what_means_nothing_is_told_and_left() {
    let scene = linked();
    fs::hard_link(scene.at("u/file"), scene.at("u/.wh..wh.plnk/1.2")).unwrap();
    fs::write(scene.at("u/.wh..wh.plnk/strange"), "").unwrap();
    let output = plink(&scene, &["list", "u"]);
    assert!(shown(&output).contains("the branch is a copy"));
    let output = plink(&scene, &["flush", "u", "l"]);
    assert_eq!(code(&output), 4, "{}", said(&output));
    assert!(shown(&output).contains("2 entries are left"));
    assert_eq!(entries(&scene), 2);
}

#[test]
fn a_branch_in_use_is_refused() {
    let scene = linked();
    let in_use = union(&scene);
    let before = entries(&scene);
    refused(&plink(&scene, &["flush", "u", "l"]), 8);
    refused(&plink(&scene, &["list", "u"]), 8);
    assert_eq!(entries(&scene), before);
    drop(in_use);
    assert_eq!(code(&plink(&scene, &["flush", "u", "l"])), 0);
}

#[test]
fn words_without_a_meaning_are_refused() {
    let scene = linked();
    let said = refused(&plink(&scene, &["flush", "u"]), 16);
    assert!(said.contains("<LOWER>"), "{said}");
    refused(&plink(&scene, &["flush", "u=ro", "l"]), 16);
    refused(&plink(&scene, &["flush", "u", "l=rw"]), 16);
    refused(&plink(&scene, &["flush", "u", "l=so"]), 16);
    refused(&plink(&scene, &["list"]), 16);
    refused(&plink(&scene, &["list", "missing"]), 8);
}

/// `plink` is on unless it is said otherwise, as in AuFS.
#[test]
fn names_of_a_lower_file_stay_together_in_a_mounted_stack() {
    if !can_mount() {
        return;
    }
    let scene = scene();
    // One that nobody asks for before the next mount.
    fs::hard_link(scene.at("l/file"), scene.at("l/third")).unwrap();
    let number = |path: &str| fs::metadata(scene.at("m").join(path)).unwrap().ino();
    let content = |path: &str| fs::read_to_string(scene.at("m").join(path)).unwrap();
    let mounted = mount(&scene, "br:u=rw:l=ro,udba=none");
    let before = number("file");
    assert_eq!(number("d/link"), before);
    let mut reads = fs::File::open(mounted.at("d/link")).unwrap();
    fs::write(mounted.at("file"), "upper\n").unwrap();
    let together = || {
        assert_eq!((number("file"), number("d/link")), (before, before));
        assert_eq!(content("d/link"), content("file"));
        let links = fs::metadata(scene.at("m/d/link")).unwrap().nlink();
        assert_eq!(links, 3);
    };
    together();
    assert_eq!(std::io::read_to_string(&mut reads).unwrap(), "upper\n");
    drop((reads, mounted));
    assert!(!scene.at("u/third").exists());
    assert_eq!(fs::read_to_string(scene.at("l/file")).unwrap(), "lower\n");
    assert_eq!(shown(&plink(&scene, &["list", "u"])).lines().count(), 1);

    // After a remount too, and by the other name.
    let mounted = mount(&scene, "br:u=rw:l=ro");
    assert_eq!(
        (content("third").as_str(), number("third")),
        ("upper\n", before)
    );
    together();
    fs::write(mounted.at("third"), "again\n").unwrap();
    assert_eq!(content("file"), "again\n");
    together();
    drop(mounted);

    // Hard links are what is left.
    let flushed = plink(&scene, &["flush", "u", "l=ro"]);
    assert!(flushed.status.success(), "{}", said(&flushed));
    assert_eq!(
        (entries(&scene), shown(&plink(&scene, &["list", "u"]))),
        (0, String::new())
    );
    let branch = |path: &str| fs::metadata(scene.at("u").join(path)).unwrap().ino();
    assert_eq!(branch("file"), branch("third"));
    for options in ["br:u=rw:l=ro", "br:u=rw:l=ro,noplink"] {
        let _mounted = mount(&scene, options);
        assert_eq!(content("third"), "again\n");
        assert_eq!(number("third"), number("file"));
    }
}

#[test]
fn names_of_a_lower_file_part_with_noplink() {
    if !can_mount() {
        return;
    }
    let scene = scene();
    let mounted = mount(&scene, "br:u=rw:l=ro,noplink");
    fs::write(mounted.at("file"), "upper\n").unwrap();
    assert_eq!(fs::read_to_string(mounted.at("d/link")).unwrap(), "lower\n");
    assert_eq!(entries(&scene), 0);
}
