//! Crashes and failures in stacks with several writable branches: what is seen
//! afterwards is the state before the operation or the one after it.
//!
//! `UFS_CASES=20000` for more, `UFS_SEED` to repeat a failure.

use std::cell::Cell;

use overlay_core::Errno;
use overlay_core::spec::generate::{PoolCase, pools};
use overlay_core::spec::pool::Permission::{self, Ro, RoWh, Rw};
use overlay_core::spec::pool::{CopyUp, Create, Marks, Policies};
use overlay_tests::faulty::{Lacks, Scope};
use overlay_tests::pools::aim::{SORTS, aimed};
use overlay_tests::pools::backing::{Directory, Memory};
use overlay_tests::pools::trial::{End, Failure, case_of, crash, crash_on, fault, survives};
use overlay_tests::pools::{fitting, on_one_filesystem};
use overlay_tests::runner::{case_count, root, run, skip};
use proptest::prelude::any;
use proptest::strategy::Strategy;

/// Of the history before the operation that goes wrong.
const LENGTH: usize = 5;

fn histories() -> impl Strategy<Value = PoolCase> {
    let histories = pools(1..=4, LENGTH).prop_map(fitting);
    let aims = (histories, 0..SORTS, any::<usize>());
    aims.prop_map(|(case, die, dice)| aimed(mostly_written(case), die, dice))
}

/// With every other branch that is not written one that is: failures are about
/// those.
fn mostly_written(mut case: PoolCase) -> PoolCase {
    let branches = case.branches.iter_mut();
    let read_only = branches.filter(|branch| branch.permission == Permission::RoWh);
    for branch in read_only.step_by(2) {
        branch.permission = Permission::Rw;
    }
    case
}

/// Runs trials, and says of how many steps.
fn trials(
    count: u32,
    histories: impl Strategy<Value = PoolCase>,
    trial: impl Fn(&PoolCase) -> Result<u64, String>,
) {
    let steps = Cell::new(0);
    run(case_count(count), histories, |case| {
        steps.set(steps.get() + trial(case)?);
        Ok(())
    });
    println!("{} steps went wrong", steps.get());
}

#[test]
fn a_crash_of_a_pool_in_memory_leaves_before_or_after() {
    trials(250, histories(), |case| crash::<Memory>(case, End::Crash));
}

#[test]
fn a_branch_of_a_pool_that_goes_away_leaves_before_or_after() {
    trials(150, histories(), |case| {
        crash::<Memory>(case, End::BranchGone)
    });
}

#[test]
fn a_change_of_a_pool_that_is_done_and_told_to_have_failed_leaves_before_or_after() {
    for lacks in [Lacks::Nothing, Lacks::RenameWhiteout] {
        trials(100, histories(), |case| {
            crash_on::<Memory>(case, End::Lost(Errno::IO), lacks)
        });
    }
}

#[test]
fn a_crash_of_a_pool_on_directories_leaves_before_or_after() {
    if skip(root()) {
        return;
    }
    let histories = histories().prop_map(on_one_filesystem);
    trials(20, histories, |case| crash::<Directory>(case, End::Crash));
}

#[test]
fn a_change_that_fails_in_a_pool_leaves_before_or_after() {
    for errno in [Errno::NOSPC, Errno::IO] {
        trials(80, histories(), |case| {
            fault::<Memory>(case, Failure::Once(Scope::Changes, errno))
        });
    }
}

#[test]
fn a_branch_of_a_pool_that_becomes_full_leaves_before_or_after() {
    for errno in [Errno::NOSPC, Errno::DQUOT] {
        trials(80, histories(), |case| {
            fault::<Memory>(case, Failure::Full(errno))
        });
    }
}

#[test]
fn a_look_that_fails_in_a_pool_leaves_union_and_storage_in_agreement() {
    trials(50, histories(), |case| {
        fault::<Memory>(case, Failure::Once(Scope::All, Errno::IO))
    });
}

#[test]
fn a_change_that_fails_in_a_pool_on_directories_leaves_before_or_after() {
    if skip(root()) {
        return;
    }
    for failure in [
        Failure::Once(Scope::Changes, Errno::IO),
        Failure::Full(Errno::NOSPC),
    ] {
        let histories = histories().prop_map(on_one_filesystem);
        trials(10, histories, |case| fault::<Directory>(case, failure));
    }
}

const TDP: Policies = Policies {
    create: Create::TopDownParent,
    copy_up: CopyUp::TopDownParent,
};
const BUP: Policies = Policies {
    copy_up: CopyUp::BottomUpParent,
    ..TDP
};
const BU: Policies = Policies {
    copy_up: CopyUp::BottomUp,
    ..TDP
};
const FF: Policies = Policies {
    create: Create::FirstFound,
    ..TDP
};

#[test]
fn making_directories_on_another_branch_is_never_seen() {
    let branches = [(Rw, ""), (Ro, "d/ d/e/ d/e/f=1"), (Rw, "")];
    for step in [
        "mkdir /d/e/g: ok",
        "mkfile /d/e/g: ok",
        "ln /d/e/f /d/g: ok",
    ] {
        survives(&branches, FF, &[step]);
    }
    // In the place of a whiteout it is opaque.
    let branches = [(RoWh, "d/ d/f=2"), (Rw, "d-"), (Ro, "d/ d/g=1")];
    survives(&branches, FF, &["mkfile /d/g: ok"]);
    survives(&branches, FF, &["mkdir /d/g: ok"]);
}

#[test]
fn a_copy_on_another_branch_is_one_step() {
    let branches = [(Rw, ""), (Rw, "d/"), (Ro, "d/ d/f=1 d/l@f")];
    for policies in [TDP, BUP, BU] {
        survives(&branches, policies, &["append /d/f x: ok"]);
    }
    for step in [
        "empty /d/f: ok",
        "setxattr /d user.a b: ok",
        "mv /d/f /d/g: ok",
        "swap /d/f /d/l: ok",
    ] {
        survives(&branches, TDP, &[step]);
    }
}

#[test]
fn removing_what_lies_on_several_branches_is_one_step() {
    let files = [(Rw, ""), (Rw, "f=2"), (Rw, "f=1"), (Ro, "f=0")];
    survives(&files, TDP, &["rm /f: ok"]);
    survives(&files[2..], TDP, &["rm /f: ok"]);
    // The whiteout goes where the copy would.
    let below = [(Rw, ""), (Rw, "d/"), (Ro, "d/ d/f=1")];
    for policies in [TDP, BUP, BU] {
        survives(&below, policies, &["rm /d/f: ok"]);
    }
    let directories = [
        (Rw, ""),
        (Rw, "d/ d/x-"),
        (Rw, "d/ d/y-"),
        (RoWh, "d/ d/x=1 d/y=1"),
    ];
    survives(&directories, TDP, &["rmdir /d: ok"]);
    survives(&directories[..3], TDP, &["rmdir /d: ok"]);
    survives(&[(Rw, ""), (Ro, "d/"), (Rw, "d/")], TDP, &["rmdir /d: ok"]);
}

#[test]
fn making_over_a_whiteout_of_a_lower_branch_is_one_step() {
    let branches = [(Rw, ""), (Rw, "d-"), (Rw, "d/ d/x=1")];
    for step in ["mkdir /d: ok", "mkfile /d: ok"] {
        survives(&branches, FF, &[step]);
        survives(&branches[1..], TDP, &[step]);
    }
}

#[test]
fn a_rename_that_brings_a_file_to_a_higher_branch_is_one_step() {
    let branches = [
        (Rw, "e/ e/g=2"),
        (Rw, "d/ d/f=1 d/g=1"),
        (Ro, "d/ d/f=0 e/ e/g=0"),
    ];
    for step in [
        "mv /d/f /e/g: ok",
        "mv /d/g /e/g: ok",
        "swap /d/f /e/g: ok",
        "mv /e/g /d/f: ok",
        "mv /d/f /d/h: ok",
    ] {
        survives(&branches, TDP, &["open-rw 0 /d/f: ok", step]);
    }
    // Above a whiteout that would hide it.
    let branches = [(Rw, ""), (Rw, "e/ e/g-"), (Rw, "f=1 e/ e/g=1")];
    survives(&branches, TDP, &["mv /f /e/g: ok"]);
    survives(&branches, TDP, &["ln /f /e/g: ok"]);
}

#[test]
fn renaming_a_directory_of_a_lower_branch_is_one_step() {
    let branches = [(Rw, ""), (Rw, "d/ d/x=1 e-"), (RoWh, "d- e/ e/y=0")];
    survives(&branches, TDP, &["mv /d /e: ok"]);
    survives(&branches, TDP, &["mv /d /g: ok"]);
    let branches = [(Rw, ""), (Rw, "d/! d/x=1 e/! e/y-"), (Ro, "d/ e/ e/y=0")];
    survives(&branches, TDP, &["mv /d /e: ok"]);
    survives(&branches, TDP, &["swap /d /e: ok"]);
}

#[test]
fn regression_what_cannot_leave_a_full_branch_says_that_it_is_full() {
    // Not that it would have to go to another (`EXDEV`).
    let branches = [(Rw, "e/"), (Rw, "d/ f=1 g~f")];
    survives(&branches, BUP, &["mv /d /e/d: ok"]);
    survives(&branches, BUP, &["mv /f /e/f: ok"]);
    survives(&branches, BUP, &["ln /f /e/f: ok"]);
}

/// Demands it of the last of `steps` that an answer which gets lost in it shows
/// nothing but the states before and after, on branches of AuFS and, where
/// their filesystem lacks something, of overlayfs.
fn survives_lost_answers(branches: &[(Permission, &str)], steps: &[&str]) {
    for (marks, lacks) in [
        (&[Marks::Aufs][..], Lacks::Nothing),
        (&[Marks::AufsAlwaysOpaque], Lacks::Nothing),
        (&[Marks::Overlay], Lacks::Nothing),
        (&[Marks::Overlay], Lacks::RenameWhiteout),
    ] {
        let case = case_of(branches, marks, TDP, steps);
        let fail = |message| -> u64 { panic!("{lacks:?}\n{case}{message}") };
        let end = End::Lost(Errno::IO);
        let lost = crash_on::<Memory>(&case, end, lacks).unwrap_or_else(fail);
        assert!(lost > 0, "{case}nothing was changed");
        if !skip(root()) {
            crash_on::<Directory>(&case, end, lacks).unwrap_or_else(fail);
        }
    }
}

#[test]
fn regression_a_whiteout_stays_where_what_it_stood_beside_is_gone() {
    // The answer to the step that took it away is lost.
    let branches = [(Rw, "f=2 d/"), (Rw, ""), (RoWh, "f=1 d/ d/x=1")];
    for step in ["rm /f: ok", "mv /f /g: ok"] {
        survives_lost_answers(&branches, &[step]);
    }
    let branches = [(Rw, "d/ d/x-"), (Rw, ""), (RoWh, "d/ d/x=1")];
    survives_lost_answers(&branches, &["rmdir /d: ok"]);
}

#[test]
fn regression_what_came_to_the_place_of_a_whiteout_that_is_gone_stays() {
    let branches = [(Rw, "f=2 g-"), (Rw, ""), (RoWh, "g=1")];
    for step in [
        "mv /f /g: ok",
        "ln /f /g: ok",
        "mkdir /g: ok",
        "mkfile /g: ok",
    ] {
        survives_lost_answers(&branches, &[step]);
    }
}

#[test]
fn regression_a_directory_that_has_replaced_one_with_whiteouts_stays() {
    let branches = [(Rw, "d/ d/f=2 e/ e/w-"), (Rw, ""), (RoWh, "e/ e/w=1")];
    survives_lost_answers(&branches, &["mv /d /e: ok"]);
    // It leaves a whiteout itself.
    let branches = [
        (Rw, "d/! d/f=2 e/ e/w-"),
        (Rw, ""),
        (RoWh, "d/ d/y=1 e/ e/w=1"),
    ];
    survives_lost_answers(&branches, &["mv /d /e: ok"]);
}

#[test]
fn regression_a_trade_of_places_that_was_done_removes_nothing() {
    // Without RENAME_WHITEOUT: with a whiteout, with what is replaced.
    let branches = [(Rw, "f=2 g=3"), (Rw, ""), (RoWh, "f=1 g=1")];
    survives_lost_answers(&branches, &["mv /f /h: ok"]);
    survives_lost_answers(&branches, &["mv /f /g: ok"]);
}
