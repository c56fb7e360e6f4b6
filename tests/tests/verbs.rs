//! The verbs of `docs/crash-safety.md`, one after the other: whatever is cut
//! or fails inside the last step of each, before or after is what is seen.

use overlay_tests::trial::survives;

#[test]
fn creating() {
    survives(&["", ""], &["mkfile /f: ok"]);
    survives(&["", "d/ d/e/"], &["mkfile /d/e/f: ok"]);
    survives(&["", "d/ d/e/"], &["mkdir /d/e/f: ok"]);
}

#[test]
fn creating_over_a_whiteout() {
    survives(&["", "f=low"], &["rm /f: ok", "mkfile /f: ok"]);
    survives(&["", "f=low"], &["rm /f: ok", "mkdir /f: ok"]);
    survives(
        &["", "d/ d/x=low"],
        &["rm /d/x: ok", "rmdir /d: ok", "mkdir /d: ok"],
    );
}

#[test]
fn copying_up() {
    survives(&["", "f=low"], &["append /f +top: ok"]);
    survives(&["", "d/ d/e/ d/e/f=low"], &["append /d/e/f +top: ok"]);
    survives(&["", "d/ d/e/ d/e/f=low"], &["chmod /d/e/f 0600: ok"]);
    survives(&["", "d/ d/l@target"], &["chown /d/l 7: ok"]);
    survives(&["", "d/ d/f=low"], &["setxattr /d/f user.a v: ok"]);
}

#[test]
fn copying_up_one_of_several_names() {
    survives(&["", "f=low g~f"], &["append /f +top: ok"]);
    survives(&["", "f=low g~f"], &["ln /f /h: ok"]);
    survives(&["", "f=low g~f"], &["mv /f /h: ok"]);
}

#[test]
fn copying_up_what_is_open_and_removed() {
    survives(
        &["", "d/ d/f=low"],
        &["open 0 /d/f: ok", "rm /d/f: ok", "chmod-held 0 0600: ok"],
    );
}

#[test]
fn regression_truncating_a_lower_file_is_one_step() {
    survives(&["", "d/ d/f=low"], &["empty /d/f: ok"]);
    survives(&["", "d/ d/f=low"], &["truncate /d/f 0: ok"]);
    survives(&["", "d/ d/f="], &["empty /d/f: ok"]);
    survives(&["", "d/ d/f=low"], &["truncate /d/f 2: ok"]);
}

#[test]
fn unlinking() {
    survives(&["f=up", ""], &["rm /f: ok"]);
    survives(&["", "f=low"], &["rm /f: ok"]);
    survives(&["f=up", "f=low"], &["rm /f: ok"]);
    survives(
        &["", "d/ d/f=low"],
        &["append /d/f +top: ok", "rm /d/f: ok"],
    );
    survives(&["f=up g~f", ""], &["open 0 /f: ok", "rm /f: ok"]);
}

#[test]
fn removing_directories() {
    survives(&["d/", ""], &["rmdir /d: ok"]);
    survives(&["", "d/"], &["rmdir /d: ok"]);
    survives(&["d/", "d/"], &["rmdir /d: ok"]);
    survives(
        &["d/ d/x- d/y- d/z-", "d/ d/x=low d/y=low"],
        &["rmdir /d: ok"],
    );
}

#[test]
fn removing_a_directory_with_stale_whiteouts() {
    survives(&["d/! d/x- d/y- d/z-", ""], &["rmdir /d: ok"]);
    survives(&["d/ d/x- d/y- d/z-", ""], &["rmdir /d: ok"]);
}

#[test]
fn renaming_a_file() {
    survives(&["f=up", ""], &["mv /f /g: ok"]);
    survives(&["", "f=low"], &["mv /f /g: ok"]);
    survives(&["", "d/ d/f=low e/ e/f=low"], &["mv /d/f /e/f: ok"]);
    survives(&["", "f=low g=low"], &["rm /g: ok", "mv /f /g: ok"]);
    survives(&["f=up g=up", "f=low"], &["open 0 /g: ok", "mv /f /g: ok"]);
}

#[test]
fn renaming_a_directory() {
    survives(&["d/ d/x=", ""], &["mv /d /e: ok"]);
    survives(&["d/! d/x= e/", "d/ e/"], &["mv /d /e: ok"]);
    survives(&["p/ p/d/ p/d/x=", "q/"], &["mv /p/d /q/d: ok"]);
}

#[test]
fn exchanging() {
    survives(&["", "f=1 g=2"], &["swap /f /g: ok"]);
    survives(&["", "d/ d/f=1 e/ e/g=2"], &["swap /d/f /e/g: ok"]);
    survives(&["d/! d/x= e/! e/y=", "d/ e/"], &["swap /d /e: ok"]);
    survives(&["d/ d/x= ", "f=low"], &["swap /d /f: ok"]);
}

#[test]
fn renaming_over_an_empty_merged_directory() {
    survives(&["e/ e/new=", "d/"], &["mv /e /d: ok"]);
    survives(&["e/ e/new= d/", "d/"], &["mv /e /d: ok"]);
    survives(&["e/ e/new= d/ d/x- d/y-", "d/ d/x=low"], &["mv /e /d: ok"]);
    survives(&["e/! e/new= d/ d/x-", "e/ d/ d/x=low"], &["mv /e /d: ok"]);
}

#[test]
fn regression_the_empty_directory_put_in_place_has_the_attributes_of_the_old() {
    survives(
        &["e/ e/new= d/ d/x-", "d/ d/x=low"],
        &[
            "setxattr /d user.a v: ok",
            "chown /d 7: ok",
            "chmod /d 2750: ok",
            "mv /e /d: ok",
        ],
    );
}

#[test]
fn renaming_a_directory_over_a_whiteout() {
    survives(
        &["e/ e/new=", "d/ d/old="],
        &["rm /d/old: ok", "rmdir /d: ok", "mv /e /d: ok"],
    );
    survives(&["e/! e/new= d-", "e/ d/ d/old="], &["mv /e /d: ok"]);
    survives(&["d- e/ e/new=", ""], &["mv /e /d: ok"]);
}

#[test]
fn linking() {
    survives(&["g=up", "f=low"], &["ln /g /h: ok"]);
    survives(&["g=up", "f=low"], &["rm /f: ok", "ln /g /f: ok"]);
    survives(&["", "d/ d/g=low f=low"], &["rm /f: ok", "ln /d/g /f: ok"]);
}
