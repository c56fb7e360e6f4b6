//! Renames of directories over stacks of up to five lower layers, the written
//! one becoming a lower one between the steps.
//!
//! `UFS_CASES=2000 cargo test -p overlay-tests --test renames` for more cases,
//! `UFS_SEED=...` to repeat a failure.

use std::cell::Cell;

use overlay_core::spec::generate::cases_of_renames;
use overlay_core::spec::{Config, Model, Op, Outcome, RedirectDir, Rules, Switch};
use overlay_tests::check::{Depth, check};
use overlay_tests::runner::{case_count, root, run, skip};
use overlay_tests::subject::core::Core;
use overlay_tests::subject::core::storages::{InMemory, OnDirectories};
use overlay_tests::subject::kernel::Kernel;
use overlay_tests::subject::mounted::Mounted;
use overlay_tests::subject::travelling::{Side, Travelling};

const MIDDLE: usize = 5;
const LENGTH: usize = 30;

fn on() -> Config {
    Config {
        redirect_dir: RedirectDir::On,
        ..Config::default()
    }
}

/// A generator whose renames all fail would show nothing.
#[test]
fn generated_renames_move_directories_that_merge() {
    let (renames, moved) = (Cell::new(0), Cell::new(0));
    run(500, cases_of_renames(MIDDLE, LENGTH, on()), |case| {
        let mut model = Model::new(&case.layers, true, Rules::Union, case.config);
        for op in &case.ops {
            let Op::Rename { from, to, .. } = op else {
                model.apply(op);
                continue;
            };
            // A link count of 1: it merges.
            let merges = model
                .look()
                .get(&from.path())
                .is_some_and(|sight| sight.kind.is_dir() && sight.nlink == 1);
            renames.set(renames.get() + 1);
            if model.apply(op) == Outcome::Done && merges && from != to {
                moved.set(moved.get() + 1);
            }
        }
        Ok(())
    });
    let share = moved.get() * 1000 / renames.get();
    assert!(
        share >= 25,
        "{share} of 1000 renames move a directory that merges"
    );
}

#[test]
fn renames_agree_with_the_kernels_overlayfs() {
    if skip(Kernel::available()) {
        return;
    }
    for metacopy in [Switch::Off, Switch::On] {
        let config = Config { metacopy, ..on() };
        run(
            case_count(100),
            cases_of_renames(MIDDLE, LENGTH, config),
            |case| {
                let mut kernel = Kernel::new(&case.layers, true, case.config);
                check(case, Rules::Kernel, &mut kernel, Depth::EveryOp)
            },
        );
    }
}

#[test]
fn renames_in_memory_agree_with_the_model() {
    run(
        case_count(500),
        cases_of_renames(MIDDLE, LENGTH, on()),
        |case| {
            let storages = InMemory::with(&case.layers, true, case.config);
            let mut core = Core::new(Box::new(storages), true, case.config);
            check(case, Rules::Union, &mut core, Depth::EveryOp)
        },
    );
}

#[test]
fn renames_on_directories_agree_with_the_model() {
    if skip(root()) {
        return;
    }
    run(
        case_count(100),
        cases_of_renames(MIDDLE, LENGTH, on()),
        |case| {
            let storages = OnDirectories::with(&case.layers, true, case.config);
            let mut core = Core::new(Box::new(storages), true, case.config);
            check(case, Rules::Union, &mut core, Depth::EveryOp)
        },
    );
}

#[test]
fn renames_on_the_mount_agree_with_the_model() {
    if skip(Mounted::available()) {
        return;
    }
    run(
        case_count(80),
        cases_of_renames(MIDDLE, LENGTH, on()),
        |case| {
            let mut mounted = Mounted::new(&case.layers, true, case.config);
            check(case, Rules::Union, &mut mounted, Depth::EveryOp)
        },
    );
}

#[test]
fn renames_go_on_where_another_side_left_off() {
    if skip(Kernel::available()) || skip(Mounted::available()) {
        return;
    }
    let route = [Side::Kernel, Side::Mounted, Side::Core];
    run(
        case_count(80),
        cases_of_renames(MIDDLE, LENGTH, on()),
        |case| {
            let mut travelling = Travelling::new(&case.layers, true, case.config, &route);
            check(case, Rules::Union, &mut travelling, Depth::EveryOp)
        },
    );
}
