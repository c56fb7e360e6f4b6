//! The rules for redirects of `docs/semantics.md`, one small history each, on
//! every subject, with `redirect_dir=on`.

use overlay_tests::scenario::holds_with_redirects;

#[test]
fn a_lower_directory_is_renamed_with_all_that_is_in_it() {
    let (mut steps, ls) = (
        vec!["mv /d /e: ok"],
        ["ls /: e", "ls /e: s x", "ls /e/s: y"],
    );
    steps.extend(ls);
    steps.push("remount: ok");
    steps.extend(ls);
    steps.extend([
        "rm /e/x: ok",
        "mv /e /d: ok",
        "ls /d: s",
        "read /d/s/y: low",
    ]);
    for layers in [
        ["", "d/ d/x= d/s/ d/s/y=low"],
        ["d/ d/x=", "d/ d/s/ d/s/y=low"],
    ] {
        holds_with_redirects(&layers, &steps);
    }
}

#[test]
fn a_renamed_directory_may_be_renamed_again_and_moved_anywhere() {
    holds_with_redirects(
        &["", "a/ a/x= b/ b/y="],
        &[
            "mv /a /b/a: ok",
            "mv /b /c: ok",
            "ls /c: a y",
            "ls /c/a: x",
            "mv /c/a /c/d: ok",
            "mkdir /n: ok",
            "mv /c/d /n/a: ok",
            "mv /n /c/n: ok",
            "remount: ok",
            "ls /: c",
            "ls /c/n/a: x",
            "mv /c/n/a /a: ok",
            "ls /a: x",
        ],
    );
}

#[test]
fn a_renamed_directory_takes_the_place_of_an_empty_one() {
    holds_with_redirects(
        &["", "a/ a/x= b/ b/old="],
        &[
            "mv /a /b: ENOTEMPTY",
            "rm /b/old: ok",
            "mv /a /b: ok",
            "ls /b: x",
            "mkdir /a: ok",
            "ls /a:",
            "remount: ok",
            "ls /a:",
            "ls /b: x",
        ],
    );
}

#[test]
fn lower_directories_are_swapped() {
    holds_with_redirects(
        &["", "a/ a/c/ a/c/x= b/ b/y= f=file"],
        &[
            "swap /a/c /b: ok",
            "ls /a/c: y",
            "ls /b: x",
            "swap /b /f: ok",
            "read /b: file",
            "remount: ok",
            "ls /f: x",
            "ls /a/c: y",
            "swap /f /a/c: ok",
            "ls /f: y",
        ],
    );
}

#[test]
fn renamed_directories_stay_whole_when_their_layer_becomes_a_lower_one() {
    holds_with_redirects(
        &["", "a/ a/x= a/s/ a/s/deep="],
        &[
            "mv /a /b: ok",
            "rotate: ok",
            "mkfile /b/y: ok",
            "mkdir /d: ok",
            "mv /b/s /d/s: ok",
            "mv /b /d/b: ok",
            "rotate: ok",
            "ls /d: b s",
            "mv /d/s /d/b/s: ok",
            "mv /d /e: ok",
            "rotate: ok",
            "ls /: e",
            "ls /e/b: s x y",
            "ls /e/b/s: deep",
        ],
    );
}

#[test]
fn a_redirect_is_limited_to_256_bytes_and_in_the_same_directory_it_is_a_name() {
    // With `/a/` in front: 256 and 257 bytes.
    let (fits, too_long) = ("n".repeat(253), "n".repeat(254));
    let lower = format!("a/ a/{fits}/ a/{fits}/x=");
    let steps = [format!("mv /a/{fits} /d: ok"), "ls /d: x".into()];
    holds_with_redirects(&["", &lower], &steps.each_ref().map(|step| &**step));
    let lower = format!("a/ a/{too_long}/ a/{too_long}/x= e/");
    let steps = [
        format!("mv /a/{too_long} /d: EXDEV"),
        format!("swap /a/{too_long} /e: EXDEV"),
        format!("mv /a/{too_long} /a/d: ok"),
        // Its lower part is where it was.
        "mv /a/d /d: EXDEV".into(),
        "ls /a/d: x".into(),
        "rotate: ok".into(),
        "mv /a/d /d: ok".into(),
        "ls /d: x".into(),
    ];
    holds_with_redirects(&["", &lower], &steps.each_ref().map(|step| &**step));
}

#[test]
fn a_redirect_counts_and_not_the_name() {
    holds_with_redirects(
        &["d/>e d/top= e-", "d/ d/own= e/ e/other="],
        &["ls /d: other top"],
    );
    holds_with_redirects(
        &[
            "p/ p/d/>/a/e a/ a/e-",
            "p/ p/d/ p/d/own= a/ a/e/ a/e/other=",
        ],
        &["ls /p/d: other"],
    );
    // Where it leads nowhere, or to a file, nothing merges.
    holds_with_redirects(&["d/>e d/top=", "d/ d/own="], &["ls /d: top"]);
    holds_with_redirects(&["d/>e d/top= e-", "d/ e=file"], &["ls /d: top"]);
}

#[test]
fn redirects_and_opaque_directories_count_on_the_way_of_a_redirect() {
    let top = "d/>/a/b a/ a/b-";
    holds_with_redirects(
        &[
            top,
            "a/>x x- a/b/ a/b/one=",
            "x/ x/b/ x/b/two= a/ a/b/ a/b/no=",
        ],
        &["ls /d: one two"],
    );
    holds_with_redirects(
        &[top, "a/! a/b/ a/b/one=", "a/ a/b/ a/b/no="],
        &["ls /d: one"],
    );
    holds_with_redirects(
        &[top, "a/! a/b/>/c a/b/one= c-", "a/ c/ c/two="],
        &["ls /d: one two"],
    );
    holds_with_redirects(&[top, "a/ a/b-", "a/ a/b/ a/b/no="], &["ls /d:"]);
    holds_with_redirects(&[top, "a=file", "a/ a/b/ a/b/no="], &["ls /d:"]);
}
