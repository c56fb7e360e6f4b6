//! Generated histories, crashes and faults, held to the model.

use std::sync::Arc;

use crate::OTHERWISE;
use overlay_core::spec::generate::{Case, cases, cases_of_renames, cases_of_travels};
use overlay_core::spec::{Config, Dir, Model, Op, Rules, Stored};
use overlay_core::{Dialect, Errno, Namespace};
use overlay_tests::Subject;
use overlay_tests::aufs::{AUFS, Asked, Branches, decode, encode, fitting};
use overlay_tests::check::{Depth, check, same};
use overlay_tests::faulty::Scope;
use overlay_tests::runner::{case_count, root, run, skip};
use overlay_tests::subject::core::Core;
use overlay_tests::subject::core::storages::{InMemory, OnDirectories, Storages};
use overlay_tests::trial::{Kind, On, crash_in, fault_in};
use proptest::strategy::Strategy;

const LENGTH: usize = 25;

fn agrees<S: Storages + 'static>(
    case: &Case,
    dialect: Dialect,
    make: impl FnOnce(&[Dir<Stored>], bool) -> S,
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

/// What is written becomes a lower branch now and then.
#[test]
fn histories_on_branches_of_aufs_that_rotate_agree_with_the_model() {
    let config = Config::default();
    for dialect in [AUFS, OTHERWISE] {
        let travels = cases_of_travels(1..=4, LENGTH, config, 1).prop_map(fitting);
        run(case_count(200), travels, |case| {
            agrees(case, dialect, InMemory::new)
        });
        let renames = cases_of_renames(3, LENGTH, config).prop_map(fitting);
        run(case_count(200), renames, |case| {
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

#[test]
fn a_look_that_fails_in_a_branch_of_aufs_leaves_union_and_storage_in_agreement() {
    run(case_count(500), cases(1..=3, 6).prop_map(fitting), |case| {
        fault_in(case, On::Memory, Kind::Aufs, Scope::All, Errno::IO).map(drop)
    });
}

#[test]
fn a_crash_in_a_branch_of_aufs_on_directories_leaves_before_or_after() {
    if skip(root()) {
        return;
    }
    run(case_count(60), cases(1..=3, 6).prop_map(fitting), |case| {
        crash_in(case, On::Directories, Kind::Aufs).map(drop)
    });
}

/// In a branch that was written, and as container tools read it.
#[test]
fn a_branch_of_aufs_is_a_layer_of_containers() {
    let containers = Dialect::Containers(Namespace::Trusted);
    let histories = cases(2..=4, LENGTH).prop_map(fitting);
    run(case_count(200), histories, |case| {
        let (layers, writable) = (&case.layers, case.writable);
        let make = |layers: &[Dir<Stored>], writable| Arc::new(InMemory::new(layers, writable));
        let branches = Branches::new(layers, writable, AUFS, Asked::Finished, make);
        let read = branches.read_as(containers);
        let mut core = Core::new(Box::new(branches), writable, case.config);
        let mut model = Model::new(layers, writable, Rules::Union, case.config);
        for op in &case.ops {
            core.apply(op);
            model.apply(op);
        }
        drop(core);
        model.apply(&Op::Remount);
        let shown = Core::new(Box::new(read), writable, case.config).look()?;
        same("container tools see something else", &model.look(), &shown)
    });
}

#[test]
fn a_crash_or_a_failure_in_renames_of_aufs_leaves_before_or_after() {
    let config = Config::default();
    let renames = cases_of_renames(3, 6, config).prop_map(fitting);
    run(case_count(600), renames, |case| {
        let scope = Scope::Changes;
        crash_in(case, On::Memory, Kind::Aufs)?;
        fault_in(case, On::Memory, Kind::Aufs, scope, Errno::NOSPC).map(drop)
    });
}
