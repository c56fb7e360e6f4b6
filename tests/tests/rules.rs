//! The rules of `docs/semantics.md`, one small history each, on every subject.
//!
//! The model tests find what nobody thought of; these say what was thought of.

use overlay_tests::scenario::{holds, holds_except_on_the_kernel, holds_read_only};

#[test]
fn directories_of_all_layers_merge() {
    holds(
        &["d/ d/a=1", "d/ d/b=2", "d/ d/c=3"],
        &["ls /d: a b c", "stat /d: 0755 0:0 nlink 1"],
    );
}

#[test]
fn a_whiteout_or_a_file_ends_the_search_for_a_directory() {
    holds(&["d/ d/top=", "d=file", "d/ d/low="], &["ls /d: top"]);
    holds(&["d/ d/top=", "d-", "d/ d/low="], &["ls /d: top"]);
    holds(&["", "d-", "d/ d/low="], &["ls /d: ENOENT"]);
}

#[test]
fn an_opaque_directory_shows_only_itself_and_above() {
    holds(&["d/ d/a=", "d/! d/b=", "d/ d/c="], &["ls /d: a b"]);
}

#[test]
fn what_was_deleted_is_not_back_when_its_directory_is_made_again() {
    let layers = ["", "d/ d/e/ d/e/x=old"];
    holds(
        &layers,
        &[
            "rm /d/e/x: ok",
            "rmdir /d/e: ok",
            "rmdir /d: ok",
            "mkdir /d: ok",
            "ls /d:",
            "mkdir /d/e: ok",
            "ls /d/e:",
            "remount: ok",
            "ls /d: e",
            "ls /d/e:",
        ],
    );
}

#[test]
fn a_file_made_over_a_deleted_directory_hides_it_after_its_own_deletion() {
    holds(
        &["", "d/ d/x=old"],
        &[
            "rm /d/x: ok",
            "rmdir /d: ok",
            "mkfile /d: ok",
            "rm /d: ok",
            "remount: ok",
            "ls /:",
        ],
    );
}

#[test]
fn a_merged_directory_is_removed_when_it_looks_empty() {
    holds(
        &["d/ d/x-", "d/ d/x=low"],
        &["ls /d:", "rmdir /d: ok", "remount: ok", "ls /:"],
    );
    holds(&["d/", "d/ d/x=low"], &["rmdir /d: ENOTEMPTY"]);
}

#[test]
fn writing_copies_up_and_leaves_the_lower_layer_alone() {
    holds(
        &["", "f=low"],
        &[
            "append /f +top: ok",
            "read /f: low+top",
            "remount: ok",
            "read /f: low+top",
        ],
    );
}

#[test]
fn a_lower_directory_cannot_be_renamed() {
    holds(&["", "d/"], &["mv /d /e: EXDEV", "ls /: d"]);
    holds(&["d/", "d/"], &["mv /d /e: EXDEV"]);
    holds(&["e/", "d/"], &["swap /e /d: EXDEV", "swap /d /e: EXDEV"]);
    // Not movable counts more than not empty.
    holds(&["e/ e/x=", "d/"], &["mv /d /e: EXDEV"]);
}

#[test]
fn a_directory_that_merges_with_nothing_can_be_renamed() {
    holds(&["d/ d/x=", ""], &["mv /d /e: ok", "ls /e: x"]);
    holds(
        &["", "d/"],
        &["rmdir /d: ok", "mkdir /d: ok", "mv /d /e: ok", "ls /: e"],
    );
}

#[test]
fn a_directory_moved_over_a_deleted_one_does_not_merge_with_it() {
    holds(
        &["e/ e/new=", "d/ d/old="],
        &[
            "rm /d/old: ok",
            "mv /e /d: ok",
            "ls /d: new",
            "remount: ok",
            "ls /d: new",
        ],
    );
}

#[test]
fn the_order_of_checks_in_a_rename() {
    holds(
        &["", "d/ d/e/ f=1 g=2"],
        &[
            "mv /none/x /f/x: ENOENT",
            "mv /f/x /none/x: ENOTDIR",
            "mv /none /f: ENOENT",
            "mv-new /f /g: EEXIST",
            "mv-new /none /g: ENOENT",
            "swap /f /none: ENOENT",
            "mv /d /d/e/x: EINVAL",
            "mv /d/e /d: ENOTEMPTY",
            "swap /d/e /d: EINVAL",
            "mv /d /f: ENOTDIR",
            "mv /f /d: EISDIR",
            "mv /d /d: ok",
        ],
    );
}

#[test]
fn each_name_of_a_lower_hard_link_is_copied_up_alone() {
    holds(
        &["", "a=x b~a"],
        &[
            "stat /a: 0644 0:0 nlink 2",
            "append /a y: ok",
            "read /a: xy",
            "read /b: x",
            "stat /a: 0644 0:0 nlink 1",
            "stat /b: 0644 0:0 nlink 2",
        ],
    );
}

#[test]
fn hard_links_in_the_writable_layer_are_one_object() {
    holds(
        &["a=x b~a", ""],
        &[
            "append /a y: ok",
            "read /b: xy",
            "mv /a /b: ok",
            "ls /: a b",
        ],
    );
    holds(
        &["", "a=x"],
        &[
            "ln /a /b: ok",
            "append /b y: ok",
            "read /a: xy",
            "stat /a: 0644 0:0 nlink 2",
        ],
    );
}

#[test]
fn a_lower_file_counts_its_hidden_names() {
    holds(
        &["b-", "a=x b~a"],
        &[
            "stat /a: 0644 0:0 nlink 2",
            "open 0 /a: ok",
            "rm /a: ok",
            "stat-held 0: 0644 0:0 nlink 2",
        ],
    );
}

#[test]
fn a_directory_links_to_its_subdirectories_until_it_is_merged() {
    holds(
        &["", "d/ d/e/ d/f/"],
        &[
            "stat /d: 0755 0:0 nlink 4",
            "chmod /d 700: ok",
            "stat /d: 0700 0:0 nlink 1",
        ],
    );
    holds(&["d/ d/e/", ""], &["stat /d: 0755 0:0 nlink 3"]);
}

#[test]
fn a_handle_sees_what_is_written_after_the_copy_up() {
    holds(
        &["", "f=low"],
        &[
            "open 0 /f: ok",
            "append /f +top: ok",
            "read-held 0: low+top",
        ],
    );
}

#[test]
fn an_unlinked_file_lives_on_while_it_is_open() {
    holds(
        &["", "f=low"],
        &[
            "open-rw 0 /f: ok",
            "rm /f: ok",
            "write-held 0 new: ok",
            "read-held 0: new",
            "stat-held 0: 0644 0:0 nlink 0",
            "ls /:",
        ],
    );
}

#[test]
fn an_unlinked_lower_file_can_still_be_changed() {
    holds_except_on_the_kernel(
        &["", "f=low"],
        &[
            "open 0 /f: ok",
            "rm /f: ok",
            "stat-held 0: 0644 0:0 nlink 1",
            "chmod-held 0 600: ok",
            "read-held 0: low",
            "stat-held 0: 0600 0:0 nlink 0",
        ],
    );
}

#[test]
fn a_new_object_gets_umask_and_the_group_of_a_setgid_directory() {
    holds(
        &["d/ e/", ""],
        &[
            "mkdir /d/plain: ok",
            "stat /d/plain: 0755 0:0 nlink 2",
            "chown /d 7: ok",
            "chmod /d 2777: ok",
            "mkdir /d/sub: ok",
            "stat /d/sub: 2755 0:7 nlink 2",
            "mkfile /d/file: ok",
            "stat /d/file: 0644 0:7 nlink 1",
        ],
    );
    // Also where a whiteout is in the way.
    holds(
        &["", "d/ d/sub/"],
        &[
            "chown /d 7: ok",
            "chmod /d 2777: ok",
            "rmdir /d/sub: ok",
            "mkdir /d/sub: ok",
            "stat /d/sub: 2755 0:7 nlink 2",
        ],
    );
}

#[test]
fn a_change_of_owner_takes_setuid_and_executable_setgid_away() {
    holds(
        &["", "f="],
        &[
            "chmod /f 6711: ok",
            "chown /f 5: ok",
            "stat /f: 0711 5:5 nlink 1",
            "chmod /f 2644: ok",
            "chown /f 6: ok",
            "stat /f: 2644 6:6 nlink 1",
        ],
    );
}

#[test]
fn a_whiteout_device_cannot_be_made_through_the_union() {
    holds(&["", "f="], &["whiteout /w: EPERM", "whiteout /f: EEXIST"]);
}

#[test]
fn attributes_of_a_nested_overlay_pass_through() {
    let set = "setxattr /d trusted.overlay.opaque y: ok";
    let get = "getxattr /d trusted.overlay.opaque: y";
    holds(
        &["", "d/ d/x="],
        &[set, get, "ls /d: x", "remount: ok", get, "ls /d: x"],
    );
}

#[test]
fn the_prefix_of_the_marks_is_no_name_of_an_attribute() {
    holds(
        &["", "f="],
        &[
            "setxattr /f trusted.overlay. v: EINVAL",
            "getxattr /f trusted.overlay.: EINVAL",
            "setxattr /f trusted.overlay v: ok",
            "setxattr /f user.overlay. v: ok",
            "getxattr /f user.overlay.: v",
        ],
    );
}

#[test]
fn user_attributes_belong_to_files_and_directories_alone() {
    holds(
        &["", "s@target"],
        &[
            "setxattr /s user.a 1: EPERM",
            "getxattr /s user.a: ENODATA",
            "setxattr /s trusted.a 1: ok",
            "chmod /s 600: EOPNOTSUPP",
        ],
    );
}

#[test]
fn aufs_names_are_ordinary_names() {
    holds(
        &["", "x=low"],
        &[
            "mkfile /.wh.x: ok",
            "remount: ok",
            "ls /: .wh.x x",
            "read /x: low",
        ],
    );
}

#[test]
fn a_stack_without_a_writable_layer_is_read_only() {
    holds_read_only(
        &["d/", "f=low d/"],
        &[
            "read /f: low",
            "append /f x: EROFS",
            "append /none x: ENOENT",
            "append /d x: EISDIR",
            "mkdir /new: EROFS",
            "mkdir /f: EEXIST",
            "ln /f /d: EEXIST",
            "ln /d /new: EROFS",
            "rm /none: EROFS",
            "rm /d: EROFS",
            "rmdir /f: EROFS",
            "mv /none /f: EROFS",
            "mv /none/x /f: ENOENT",
            "chmod /none 600: ENOENT",
            "chmod /f 600: EROFS",
            "setxattr /f user.a 1: EROFS",
        ],
    );
}
