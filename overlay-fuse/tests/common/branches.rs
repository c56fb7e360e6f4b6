//! Stacks of branches by aufs' words, and `ufs branch`, in a scene.
#![allow(dead_code)]

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use super::commands::ufs;
use super::{Mounted, Scene, said};

/// Directories `names`, and a mount point.
pub fn scene(names: &[&str]) -> Scene {
    let scene = Scene::new();
    for name in names {
        fs::create_dir_all(scene.at(name)).unwrap();
    }
    scene
}

pub fn mount(scene: &Scene, options: &str) -> Mounted {
    scene.mount(["-o", options, "m"])
}

pub fn branch(scene: &Scene, words: &[&str]) -> Output {
    ufs(scene, "branch", words)
}

pub fn change(scene: &Scene, words: &[&str]) {
    let output = branch(scene, words);
    assert!(output.status.success(), "{words:?}: {}", said(&output));
}

pub fn refused(scene: &Scene, words: &[&str]) -> String {
    let output = branch(scene, words);
    assert!(!output.status.success(), "{words:?}");
    said(&output)
}

pub fn read(path: PathBuf) -> Option<String> {
    fs::read_to_string(path).ok()
}
