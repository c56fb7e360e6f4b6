//! The commands of `ufs` on the command line, in a scene.
#![allow(dead_code)]

use std::process::{Command, Output};

use super::{Scene, said, skipped};

/// `ufs COMMAND WORDS...`, in the scene's directory.
pub fn ufs(scene: &Scene, command: &str, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ufs"))
        .arg(command)
        .args(words)
        .current_dir(scene.root())
        .output()
        .unwrap()
}

pub fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

pub fn shown(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Exit status and the one sentence, which `ufs COMMAND` says.
pub fn refused_by(command: &str, output: &Output, status: i32) -> String {
    let said = said(output);
    assert_eq!(code(output), status, "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with(&format!("ufs {command}: ")), "{said}");
    assert!(output.stdout.is_empty());
    said
}

/// Marks and devices are root's.
pub fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skipped("needs root");
    }
    root
}
