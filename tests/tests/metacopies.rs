//! The rules for metacopies and data-only layers of `docs/semantics.md`, one
//! small history each, with `metacopy=on`.

use overlay_core::spec::{Config, RedirectDir, Rules, Switch};
use overlay_tests::check::{Depth, check};
use overlay_tests::runner::skip;
use overlay_tests::scenario::{case, holds_with};
use overlay_tests::subject::kernel::Kernel;

fn on() -> Config {
    Config {
        redirect_dir: RedirectDir::On,
        metacopy: Switch::On,
        ..Config::default()
    }
}

fn over_data(layers: usize) -> Config {
    Config {
        data_only: layers,
        ..on()
    }
}

#[test]
fn a_copy_without_content_shows_that_of_the_file_below() {
    holds_with(
        on(),
        &["", "f=low"],
        &[
            "chmod /f 600: ok",
            "read /f: low",
            "remount: ok",
            "read /f: low",
            "stat /f: 0600 0:0 nlink 1",
            "append /f +top: ok",
            "remount: ok",
            "read /f: low+top",
        ],
    );
}

/// The times are compared: on the kernel content that comes late counts as a
/// change of it.
#[test]
fn opening_a_copy_without_content_for_writing_copies_it_up() {
    let steps = |touch| {
        [
            touch,
            "open-rw 0 /f: ok",
            "read /f: low",
            "write-held 0 new: ok",
            "read /f: new",
        ]
    };
    for touch in ["chmod /f 600: ok", "mv /f /g: ok", "remount: ok"] {
        let steps = steps(touch).map(|step| match touch.starts_with("mv") {
            true => step.replace(" /f:", " /g:"),
            false => step.to_owned(),
        });
        let steps = steps.each_ref().map(|step| &**step);
        holds_with(on(), &["", "f=low"], &steps);
    }
}

#[test]
fn the_topmost_metacopy_has_the_attributes_and_the_first_whole_file_the_content() {
    holds_with(
        on(),
        &["", "f%", "f%", "f=low", "f=lower"],
        &["read /f: low", "chmod /f 600: ok", "read /f: low"],
    );
    holds_with(
        on(),
        &["", "f%e e-", "e=low f=no"],
        &["read /f: low", "ls /: f"],
    );
    holds_with(
        on(),
        &["", "d/ d/f%/a/e a/ a/e-", "a/ a/e%/g g-", "g=low a/ a/e=no"],
        &["read /d/f: low", "ls /a:"],
    );
    // Also where directories on the way were moved, or hide what is below.
    holds_with(
        on(),
        &["", "f%/d/g", "d/>e e- d/g%", "e/ e/g=low d/ d/g=no"],
        &["read /f: low"],
    );
    holds_with(
        on(),
        &["", "d/! d/f%/g", "g=low d/ d/f=no"],
        &["read /d/f: low"],
    );
}

#[test]
fn without_content_below_a_metacopy_is_listed_and_cannot_be_looked_up() {
    if skip(Kernel::available()) {
        return;
    }
    let low = "d/ d/f=hidden g=no";
    for layers in [
        &["d/ d/f%"][..],
        &["d/ d/f%", "d/ d/f-", low],
        &["d/ d/f%", "d/ d/f/", low],
        &["d/ d/f%", "d/ d/f@x", low],
        &["d/ d/f%", "d/ d/f%"],
        &["d/! d/f%", low],
        &["d/ d/f%h", low],
        &["d/ d/f%/g/f", low],
    ] {
        // The kernel wants two.
        let layers = [layers, &[""]].concat();
        let case = case(&layers, &["stat /d/f: EIO"]);
        let mut kernel = Kernel::new(&case.layers, true, on());
        for op in &case.ops {
            let found = overlay_tests::Subject::apply(&mut kernel, op);
            let expected = overlay_core::spec::Outcome::Failed(overlay_core::Errno::IO);
            assert_eq!(found, expected, "{case}");
        }
    }
}

#[test]
fn a_renamed_or_linked_file_keeps_its_content_below() {
    holds_with(
        on(),
        &["", "d/ d/f=low d/g=other"],
        &[
            "mv /d/f /d/e: ok",
            "mv /d/e /e: ok",
            "ln /e /h: ok",
            "mkfile /d/f: ok",
            "mv /d /k: ok",
            "read /e: low",
            "remount: ok",
            "read /h: low",
            "read /k/f:",
            "rotate: ok",
            "chmod /e 600: ok",
            "mv /e /k/x: ok",
            "read /k/x: low",
            "append /k/x +top: ok",
            "read /h: low",
        ],
    );
}

#[test]
fn a_redirect_of_a_file_is_limited_too_on_the_kernel() {
    if skip(Kernel::available()) {
        return;
    }
    // With `/a/` in front: 257 bytes.
    let long = "n".repeat(254);
    let lower = format!("a/ a/{long}=low e/");
    let steps = [
        format!("mv /a/{long} /f: EXDEV"),
        format!("ln /a/{long} /f: EXDEV"),
        format!("mv /a/{long} /a/f: ok"),
        "mv /a/f /f: EXDEV".into(),
        "append /a/f +top: ok".into(),
        "mv /a/f /f: ok".into(),
        "read /f: low+top".into(),
    ];
    let mut case = case(&["", &lower], &steps.each_ref().map(|step| &**step));
    case.config = on();
    let mut kernel = Kernel::new(&case.layers, true, on());
    check(&case, Rules::Kernel, &mut kernel, Depth::EveryOp)
        .unwrap_or_else(|message| panic!("{case}{message}"));
}

#[test]
fn only_absolute_redirects_lead_into_data_only_layers() {
    holds_with(
        over_data(2),
        &["", "f%/x", "x=one", "x=two y=two"],
        &[
            "ls /: f",
            "read /f: one",
            "chmod /f 600: ok",
            "read /f: one",
        ],
    );
    holds_with(
        over_data(1),
        &["", "f%/p/q d/ d/g%/q", "p/ p/q=deep q=data"],
        &[
            "read /f: deep",
            "mv /d /e: ok",
            "mv /f /e/f: ok",
            "remount: ok",
            "read /e/f: deep",
            "read /e/g: data",
            "append /e/g +top: ok",
            "read /e/g: data+top",
        ],
    );
    // What the other layers have counts first.
    holds_with(
        over_data(1),
        &["", "f%/x x-", "x=shown", "x=data"],
        &["read /f: shown", "ls /: f"],
    );
}
