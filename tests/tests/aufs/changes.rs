//! Changes in several steps, cut and failed at each of them: in memory and on
//! directories.

use overlay_tests::trial::{Kind, survives_in};

fn survives(layers: &[&str], step: &str) {
    survives_in(Kind::Aufs, layers, &[step]);
}

#[test]
fn removing_from_a_branch_of_aufs_is_one_step() {
    survives(&["f=2", "f=1"], "rm /f: ok");
    survives(&["", "f=1"], "rm /f: ok");
    survives(&["f=2", ""], "rm /f: ok");
    survives(&["d/ d/x-", "d/ d/x=1"], "rmdir /d: ok");
    survives(&["d/! d/x-", "d/ d/x=1"], "rmdir /d: ok");
    survives(&["d/ d/x-", ""], "rmdir /d: ok");
    survives(&["", "d/"], "rmdir /d: ok");
}

#[test]
fn making_over_a_whiteout_of_aufs_is_one_step() {
    for step in ["mkfile /f: ok", "mkdir /f: ok", "ln /g /f: ok"] {
        survives(&["f- g=2", "f/ f/x=1"], step);
    }
}

#[test]
fn renaming_in_a_branch_of_aufs_is_one_step() {
    let files = ["f=2", "f=1 g=1"];
    survives(&files, "mv /f /h: ok");
    survives(&files, "mv /f /g: ok");
    survives(&["f=2 g=2", "f=1 g=1"], "mv /f /g: ok");
    survives(&["f=2 g-", "f=1 g=1"], "mv /f /g: ok");
    survives(&["f=2 g=2", "f=1"], "swap /f /g: ok");
}

#[test]
fn renaming_directories_in_a_branch_of_aufs_is_one_step() {
    survives(&["d/! d/y=2", "d/ d/x=1"], "mv /d /e: ok");
    survives(&["d/! d/y=2 e-", "d/ e/ e/x=1"], "mv /d /e: ok");
    survives(&["d/ d/y=2 e-", "e/ e/x=1"], "mv /d /e: ok");
    survives(&["d/ d/y=2", "e/"], "mv /d /e: ok");
    survives(&["d/! d/y=2 e/ e/x-", "d/ e/ e/x=1"], "mv /d /e: ok");
    survives(&["d/ d/y=2 e/! e/x-", ""], "mv /d /e: ok");
    survives(
        &["d/! d/y=2 e/! e/z=2", "d/ d/x=1 e/ e/x=1"],
        "swap /d /e: ok",
    );
    survives(&["d/ d/y=2 f=2", "f/ f/x=1"], "swap /d /f: ok");
}
