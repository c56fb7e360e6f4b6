//! Every verb on what `metacopy=on` and `index=on` copy up in a way of their
//! own, cut and failing at each of its steps: what is seen is the state before
//! or after it, link counts included.

use overlay_core::spec::{Config, RedirectDir, Switch};
use overlay_tests::trial::survives_with;

fn redirects() -> Config {
    Config {
        redirect_dir: RedirectDir::On,
        ..Config::default()
    }
}

fn metacopy() -> Config {
    Config {
        metacopy: Switch::On,
        ..redirects()
    }
}

fn index() -> Config {
    Config {
        index: Switch::On,
        ..redirects()
    }
}

fn both() -> Config {
    Config {
        index: Switch::On,
        ..metacopy()
    }
}

/// `steps` on one lower file in a directory.
fn on_a_lower_file(steps: &[&str]) {
    survives_with(metacopy(), &["", "d/ d/f=low e/ e/g=other"], steps);
    survives_with(metacopy(), &["d/ e/", "", "d/ d/f=low e/ e/g=other"], steps);
}

/// `last` on a metacopy that a change of attributes has just made.
fn on_a_metacopy(last: &str) {
    for change in [
        "chmod /d/f 0600: ok",
        "chown /d/f 7: ok",
        "setxattr /d/f user.a v: ok",
    ] {
        on_a_lower_file(&[change, last]);
    }
    // Those that the writable layer holds from another time.
    survives_with(metacopy(), &["d/ d/f%", "d/ d/f=low e/ e/g=other"], &[last]);
    survives_with(
        metacopy(),
        &["d/ d/f%/x/y", "x/ x/y=low d/ e/ e/g=other"],
        &[last],
    );
}

#[test]
fn metacopy_changing_attributes() {
    on_a_lower_file(&["chmod /d/f 0600: ok"]);
    on_a_lower_file(&["chown /d/f 7: ok"]);
    on_a_lower_file(&["setxattr /d/f user.a v: ok"]);
    on_a_metacopy("chmod /d/f 0640: ok");
    on_a_metacopy("setxattr /d/f user.b w: ok");
}

#[test]
fn metacopy_bringing_data() {
    on_a_metacopy("append /d/f +top: ok");
    on_a_metacopy("truncate /d/f 2: ok");
    on_a_metacopy("truncate /d/f 9000: ok");
    on_a_metacopy("open-rw 0 /d/f: ok");
    on_a_lower_file(&[
        "open 0 /d/f: ok",
        "chmod /d/f 4711: ok",
        "append /d/f +top: ok",
    ]);
}

#[test]
fn metacopy_cutting_all_data() {
    on_a_metacopy("truncate /d/f 0: ok");
    on_a_metacopy("empty /d/f: ok");
}

#[test]
fn metacopy_moving() {
    on_a_metacopy("mv /d/f /d/h: ok");
    on_a_metacopy("mv /d/f /e/h: ok");
    on_a_metacopy("mv /d/f /e/g: ok");
    on_a_metacopy("swap /d/f /e/g: ok");
    on_a_metacopy("mv /d /h: ok");
}

#[test]
fn metacopy_linking_and_removing() {
    on_a_metacopy("ln /d/f /e/h: ok");
    on_a_metacopy("rm /d/f: ok");
    on_a_lower_file(&["chmod /d/f 0600: ok", "ln /d/f /h: ok", "rm /d/f: ok"]);
    on_a_lower_file(&["chmod /d/f 0600: ok", "ln /d/f /h: ok", "append /h x: ok"]);
    on_a_lower_file(&["chmod /d/f 0600: ok", "mv /d/f /h: ok", "append /h x: ok"]);
}

/// `last` on a lower object with two names: when nothing was changed yet,
/// after a copy-up by the one or the other, and when each has its own copy.
fn on_lower_links(last: &str) {
    let histories: [&[&str]; 5] = [
        &[],
        &["append /d/a x: ok"],
        &["append /e/b x: ok"],
        &["chmod /d/a 600: ok"],
        &["append /d/a x: ok", "chmod /e/b 600: ok"],
    ];
    let layers = ["", "d/ d/a=low e/ e/b~d/a e/c=other"];
    for before in histories {
        survives_with(index(), &layers, &[before, &[last]].concat());
    }
    survives_with(both(), &layers, &["chmod /d/a 600: ok", last]);
    let held = ["open 0 /d/a: ok", "append /e/b x: ok", last];
    survives_with(index(), &layers, &held);
    survives_with(
        index(),
        &["", "e/", "d/ d/a=low e/ e/b~d/a e/c=other f~d/a"],
        &[last],
    );
}

#[test]
fn index_copying_up_and_writing() {
    on_lower_links("append /d/a y: ok");
    on_lower_links("truncate /d/a 1: ok");
    on_lower_links("truncate /d/a 0: ok");
    on_lower_links("empty /d/a: ok");
    on_lower_links("chmod /d/a 640: ok");
    on_lower_links("chown /d/a 7: ok");
    on_lower_links("setxattr /d/a user.a v: ok");
}

#[test]
fn index_linking_and_removing() {
    on_lower_links("ln /d/a /e/h: ok");
    on_lower_links("rm /d/a: ok");
    for config in [index(), both()] {
        let layers = ["", "d/ d/a=low e/ e/b~d/a"];
        survives_with(config, &layers, &["rm /d/a: ok", "rm /e/b: ok"]);
        let steps = ["append /d/a x: ok", "rm /e/b: ok", "rm /d/a: ok"];
        survives_with(config, &layers, &steps);
        let steps = ["open 0 /d/a: ok", "rm /e/b: ok", "rm /d/a: ok"];
        survives_with(config, &layers, &steps);
        let steps = ["ln /d/a /h: ok", "rm /d/a: ok", "rm /h: ok"];
        survives_with(config, &layers, &steps);
    }
}

#[test]
fn index_moving() {
    on_lower_links("mv /d/a /h: ok");
    on_lower_links("mv /d/a /e/h: ok");
    on_lower_links("mv /d/a /e/c: ok");
    on_lower_links("mv /e/c /d/a: ok");
    on_lower_links("mv /d /h: ok");
    // One object by both names: nothing happens, but for a copy-up.
    for config in [index(), both()] {
        let layers = ["", "d/ d/a=low e/ e/b~d/a"];
        let steps = ["mkfile /new: ok", "mv /new /d/a: ok", "mv /e/b /h: ok"];
        survives_with(config, &layers, &steps);
    }
}

#[test]
fn index_exchanging() {
    on_lower_links("swap /d/a /e/c: ok");
    on_lower_links("swap /e/b /d: ok");
}

#[test]
fn index_of_symlinks() {
    for last in [
        "chown /a 5: ok",
        "rm /a: ok",
        "mv /a /h: ok",
        "ln /a /h: ok",
    ] {
        survives_with(index(), &["", "a@x b~a"], &[last]);
        survives_with(index(), &["", "a@x b~a"], &["chown /b 5: ok", last]);
    }
}
