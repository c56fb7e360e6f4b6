//! A writable branch of AuFS on branches of AuFS.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use overlay_core::dialect::aufs::{Aufs, Diropq, WhiteoutFiles};
use overlay_core::spec::Rules;
use overlay_core::spec::generate::{Case, cases};
use overlay_core::{Dialect, Errno};
use overlay_tests::aufs::{AUFS, Asked, Branches, decode, encode, fitting};
use overlay_tests::check::{Depth, check};
use overlay_tests::faulty::Scope;
use overlay_tests::runner::{case_count, root, run, skip};
use overlay_tests::subject::core::Core;
use overlay_tests::subject::core::storages::{InMemory, OnDirectories, Storages};
use overlay_tests::trial::{Kind, On, crash_in, fault_in};
use proptest::strategy::Strategy;

const LENGTH: usize = 25;

/// AuFS with everything unlike its defaults.
const OTHERWISE: Dialect = Dialect::Aufs(Aufs {
    opaque: Diropq::Always,
    whiteouts: WhiteoutFiles::Separate,
});

fn agrees<S: Storages + 'static>(
    case: &Case,
    dialect: Dialect,
    make: impl FnOnce(&[overlay_core::spec::Dir<overlay_core::spec::Stored>], bool) -> S,
) -> Result<(), String> {
    let storages = Branches::new(&case.layers, case.writable, dialect, Asked::Finished, make);
    let mut core = Core::new(Box::new(storages), case.writable, case.config);
    check(case, Rules::Union, &mut core, Depth::EveryOp)
}

#[test]
fn layers_are_encoded_for_aufs_without_loss() {
    run(500, cases(1..=3, 0).prop_map(fitting), |case| {
        for layer in &case.layers {
            if decode(encode(layer)) != *layer {
                return Err(format!("{layer}became\n{}", decode(encode(layer))));
            }
        }
        Ok(())
    });
}

#[test]
fn histories_on_branches_of_aufs_agree_with_the_model() {
    for dialect in [AUFS, OTHERWISE] {
        let histories = cases(1..=5, LENGTH).prop_map(fitting);
        run(case_count(400), histories, |case| {
            agrees(case, dialect, InMemory::new)
        });
    }
}

#[test]
fn histories_on_branches_of_aufs_on_directories_agree_with_the_model() {
    if skip(root()) {
        return;
    }
    for dialect in [AUFS, OTHERWISE] {
        let histories = cases(1..=4, LENGTH).prop_map(fitting);
        run(case_count(60), histories, |case| {
            agrees(case, dialect, OnDirectories::foreign)
        });
    }
}

#[test]
fn a_crash_in_a_branch_of_aufs_leaves_before_or_after() {
    run(
        case_count(1500),
        cases(1..=3, 6).prop_map(fitting),
        |case| crash_in(case, On::Memory, Kind::Aufs).map(drop),
    );
}

#[test]
fn a_change_that_fails_in_a_branch_of_aufs_leaves_before_or_after() {
    run(
        case_count(1000),
        cases(1..=3, 6).prop_map(fitting),
        |case| fault_in(case, On::Memory, Kind::Aufs, Scope::Changes, Errno::NOSPC).map(drop),
    );
}
