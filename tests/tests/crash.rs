//! A crash between any two changes of the storage shows, after a remount,
//! the state before the operation or the one after it, and nothing else.
//!
//! `UFS_CASES=20000` for more, `UFS_SEED` to repeat a failure.

use std::cell::Cell;

use overlay_core::spec::generate::{cases, cases_configured};
use overlay_tests::runner::{case_count, root, run, skip};
use overlay_tests::subject::ours::changing_what_is_copied;
use overlay_tests::trial::{On, crash, places};

/// The last operation is the one that is cut.
const LENGTH: usize = 6;

#[test]
fn a_crash_in_memory_leaves_before_or_after() {
    let cuts = Cell::new(0);
    run(case_count(3000), cases(1..=4, LENGTH), |case| {
        cuts.set(cuts.get() + crash(case, On::Memory)?);
        Ok(())
    });
    println!("{} cuts", cuts.get());
}

#[test]
fn a_crash_on_directories_leaves_before_or_after() {
    if skip(root()) {
        return;
    }
    run(case_count(150), cases(1..=4, LENGTH), |case| {
        crash(case, On::Directories).map(drop)
    });
}

#[test]
fn a_crash_with_metacopy_and_the_index_leaves_before_or_after() {
    for config in changing_what_is_copied() {
        for on in places() {
            let count = if on == On::Memory { 1000 } else { 100 };
            run(
                case_count(count),
                cases_configured(1..=4, LENGTH, config),
                |case| crash(case, on).map(drop),
            );
        }
    }
}
