//! A step that fails (no space, a bad disk) leaves the state before the
//! operation or the one after it; the union and the storage agree, nothing is
//! left in the work area, and trying again works.
//!
//! `UFS_CASES=20000` for more, `UFS_SEED` to repeat a failure.

use overlay_core::Errno;
use overlay_core::spec::generate::{cases, cases_configured};
use overlay_tests::faulty::Scope;
use overlay_tests::runner::{case_count, root, run, skip};
use overlay_tests::subject::ours::changing_what_is_copied;
use overlay_tests::trial::{On, fault, places};

/// The last operation is the one with the fault.
const LENGTH: usize = 6;

#[test]
fn a_change_that_fails_in_memory_leaves_before_or_after() {
    run(case_count(3000), cases(1..=4, LENGTH), |case| {
        fault(case, On::Memory, Scope::Changes, Errno::NOSPC).map(drop)
    });
}

#[test]
fn a_change_that_fails_on_directories_leaves_before_or_after() {
    if skip(root()) {
        return;
    }
    run(case_count(100), cases(1..=4, LENGTH), |case| {
        fault(case, On::Directories, Scope::Changes, Errno::DQUOT).map(drop)
    });
}

#[test]
fn a_look_that_fails_in_memory_leaves_union_and_storage_in_agreement() {
    run(case_count(1000), cases(1..=4, LENGTH), |case| {
        fault(case, On::Memory, Scope::All, Errno::IO).map(drop)
    });
}

#[test]
fn a_step_that_fails_with_metacopy_and_the_index_leaves_before_or_after() {
    for config in changing_what_is_copied() {
        for on in places() {
            let count = if on == On::Memory { 500 } else { 50 };
            for (scope, errno) in [(Scope::Changes, Errno::NOSPC), (Scope::All, Errno::IO)] {
                run(
                    case_count(count),
                    cases_configured(1..=4, LENGTH, config),
                    |case| fault(case, on, scope, errno).map(drop),
                );
            }
        }
    }
}
