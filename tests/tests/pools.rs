//! Stacks with several writable branches, policies and live changes, held to
//! the model of them.
//!
//! `UFS_CASES=20000 cargo test -p overlay-tests --test pools` for more cases,
//! `UFS_SEED=...` to repeat a failure.

use overlay_core::spec::generate::{PoolCase, pools, pools_that_change};
use overlay_tests::pools::backing::{Directory, Memory};
use overlay_tests::pools::{check, fitting, on_one_filesystem};
use overlay_tests::runner::{case_count, root, run, skip};
use proptest::strategy::Strategy;

const LENGTH: usize = 20;

fn histories() -> impl Strategy<Value = PoolCase> {
    pools(1..=4, LENGTH).prop_map(fitting)
}

fn histories_with_changes() -> impl Strategy<Value = PoolCase> {
    pools_that_change(1..=4, LENGTH).prop_map(fitting)
}

#[test]
fn pools_in_memory_agree_with_the_model() {
    run(case_count(400), histories(), check::<Memory>);
}

#[test]
fn pools_in_memory_that_change_agree_with_the_model() {
    run(case_count(400), histories_with_changes(), check::<Memory>);
}

#[test]
fn pools_on_directories_agree_with_the_model() {
    if skip(root()) {
        return;
    }
    let histories = histories().prop_map(on_one_filesystem);
    run(case_count(100), histories, check::<Directory>);
}

#[test]
fn pools_on_directories_that_change_agree_with_the_model() {
    if skip(root()) {
        return;
    }
    let histories = histories_with_changes().prop_map(on_one_filesystem);
    run(case_count(100), histories, check::<Directory>);
}
