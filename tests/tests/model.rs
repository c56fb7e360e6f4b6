//! Generated histories on every subject, against the model.
//!
//! `UFS_CASES=2000 cargo test -p overlay-tests --test model` for more cases,
//! `UFS_SEED=...` to repeat a failure, `UFS_TEST_DIR=/dev/shm` for the layers
//! on another filesystem. Every check is made after every operation.

use std::collections::BTreeSet;

use overlay_core::layer::owners::Attribute;
use overlay_core::spec::generate::{cases, cases_of_redirects, cases_with_redirects};
use overlay_core::spec::{Config, Errno, Model, Op, Outcome, RedirectDir, Rules, refused};
use overlay_tests::Subject as _;
use overlay_tests::check::{Depth, check};
use overlay_tests::owned::OwnedStorages;
use overlay_tests::runner::{case_count, root, run, skip};
use overlay_tests::subject::core::Core;
use overlay_tests::subject::core::storages::{InMemory, OnDirectories};
use overlay_tests::subject::kernel::Kernel;
use overlay_tests::subject::mounted::Mounted;

const LENGTH: usize = 25;

#[test]
fn the_model_agrees_with_the_kernels_overlayfs() {
    if skip(Kernel::available()) {
        return;
    }
    // The kernel wants two layers at least.
    run(case_count(200), cases(2..=5, LENGTH), |case| {
        let mut kernel = Kernel::new(&case.layers, case.writable, case.config);
        check(case, Rules::Kernel, &mut kernel, Depth::EveryOp)
    });
}

#[test]
fn the_core_in_memory_agrees_with_the_model() {
    run(case_count(500), cases(1..=5, LENGTH), |case| {
        let storages = InMemory::new(&case.layers, case.writable);
        let mut core = Core::new(Box::new(storages), case.writable, case.config);
        check(case, Rules::Union, &mut core, Depth::EveryOp)
    });
}

#[test]
fn the_core_on_directories_agrees_with_the_model() {
    if skip(root()) {
        return;
    }
    run(case_count(200), cases(1..=5, LENGTH), |case| {
        let storages = OnDirectories::new(&case.layers, case.writable);
        let mut core = Core::new(Box::new(storages), case.writable, case.config);
        check(case, Rules::Union, &mut core, Depth::EveryOp)
    });
}

#[test]
fn the_core_with_owners_in_attributes_agrees_with_the_model() {
    if skip(root()) {
        return;
    }
    run(case_count(100), cases(1..=5, LENGTH), |case| {
        let memory = InMemory::new(&case.layers, case.writable);
        let memory = OwnedStorages::new(memory, Attribute::Containers);
        let mut core = Core::new(Box::new(memory), case.writable, case.config);
        check(case, Rules::Union, &mut core, Depth::EveryOp)?;
        let disk = OnDirectories::new(&case.layers, case.writable);
        let disk = OwnedStorages::new(disk, Attribute::Containers);
        let mut core = Core::new(Box::new(disk), case.writable, case.config);
        check(case, Rules::Union, &mut core, Depth::EveryOp)
    });
}

#[test]
fn the_mount_agrees_with_the_model() {
    if skip(Mounted::available()) {
        return;
    }
    run(case_count(200), cases(1..=5, LENGTH), |case| {
        let mut mounted = Mounted::new(&case.layers, case.writable, case.config);
        check(case, Rules::Union, &mut mounted, Depth::EveryOp)
    });
}

#[test]
fn the_model_with_redirects_agrees_with_the_kernels_overlayfs() {
    if skip(Kernel::available()) {
        return;
    }
    run(
        case_count(200),
        cases_with_redirects(2..=4, LENGTH),
        |case| {
            let mut kernel = Kernel::new(&case.layers, case.writable, case.config);
            check(case, Rules::Kernel, &mut kernel, Depth::EveryOp)
        },
    );
}

#[test]
fn redirects_that_lead_anywhere_are_followed_as_by_the_kernel() {
    if skip(Kernel::available()) {
        return;
    }
    run(case_count(200), cases_of_redirects(2..=5), |case| {
        let mut kernel = Kernel::new(&case.layers, case.writable, case.config);
        check(case, Rules::Kernel, &mut kernel, Depth::EveryOp)
    });
}

#[test]
fn redirects_that_are_not_followed_are_refused_as_by_the_kernel() {
    if skip(Kernel::available()) {
        return;
    }
    run(case_count(200), cases_of_redirects(2..=5), |case| {
        let config = Config {
            redirect_dir: RedirectDir::NoFollow,
            ..case.config
        };
        let mut kernel = Kernel::new(&case.layers, true, config);
        for path in refused(&case.layers) {
            let found = kernel.apply(&Op::Stat { path: path.clone() });
            if found != Outcome::Failed(Errno::PERM) {
                return Err(format!("stat {path}: expected EPERM, found {found}"));
            }
        }
        Ok(())
    });
}

#[test]
fn the_core_in_memory_agrees_with_the_model_with_redirects() {
    run(
        case_count(500),
        cases_with_redirects(1..=4, LENGTH),
        |case| {
            let storages = InMemory::new(&case.layers, case.writable);
            let mut core = Core::new(Box::new(storages), case.writable, case.config);
            check(case, Rules::Union, &mut core, Depth::EveryOp)
        },
    );
}

#[test]
fn the_core_on_directories_agrees_with_the_model_with_redirects() {
    if skip(root()) {
        return;
    }
    run(
        case_count(200),
        cases_with_redirects(1..=4, LENGTH),
        |case| {
            let storages = OnDirectories::new(&case.layers, case.writable);
            let mut core = Core::new(Box::new(storages), case.writable, case.config);
            check(case, Rules::Union, &mut core, Depth::EveryOp)
        },
    );
}

#[test]
fn the_mount_agrees_with_the_model_with_redirects() {
    if skip(Mounted::available()) {
        return;
    }
    run(
        case_count(200),
        cases_with_redirects(1..=4, LENGTH),
        |case| {
            let mut mounted = Mounted::new(&case.layers, case.writable, case.config);
            check(case, Rules::Union, &mut mounted, Depth::EveryOp)
        },
    );
}

fn verb(op: &Op) -> String {
    let text = format!("{op:?}");
    text.chars().take_while(|c| *c != ' ').collect()
}

/// A generator whose paths never meet anything would let every test pass.
#[test]
fn generated_histories_reach_every_operation_and_errno() {
    let reached = std::cell::RefCell::new(BTreeSet::new());
    run(10_000, cases(1..=5, LENGTH), |case| {
        let mut model = Model::new(&case.layers, case.writable, Rules::Union, case.config);
        for op in &case.ops {
            let how = match model.apply(op) {
                Outcome::Failed(errno) => Some(errno.raw_os_error()),
                Outcome::Done
                | Outcome::Bytes(_)
                | Outcome::Names(_)
                | Outcome::Entries(_)
                | Outcome::Sight(_) => None,
            };
            reached.borrow_mut().insert((verb(op), how));
        }
        Ok(())
    });
    run(500, cases_with_redirects(1..=4, LENGTH), |case| {
        let mut model = Model::new(&case.layers, case.writable, Rules::Union, case.config);
        for op in &case.ops {
            if model.apply(op) == Outcome::Done {
                reached.borrow_mut().insert((verb(op), None));
            }
        }
        Ok(())
    });
    let reached = reached.into_inner();
    let verbs: BTreeSet<&String> = reached.iter().map(|(verb, _)| verb).collect();
    for verb in verbs {
        assert!(
            reached.contains(&(verb.clone(), None)),
            "{verb} never succeeds"
        );
    }
    let expected = [
        ("Make", Errno::EXIST),
        ("Make", Errno::NOENT),
        ("Make", Errno::NOTDIR),
        ("Make", Errno::PERM),
        ("Make", Errno::ROFS),
        ("Link", Errno::PERM),
        ("Link", Errno::EXIST),
        ("Unlink", Errno::ISDIR),
        ("Unlink", Errno::ROFS),
        ("Rmdir", Errno::NOTEMPTY),
        ("Rmdir", Errno::NOTDIR),
        ("Rename", Errno::XDEV),
        ("Rename", Errno::INVAL),
        ("Rename", Errno::NOTEMPTY),
        ("Rename", Errno::ISDIR),
        ("Rename", Errno::NOTDIR),
        ("Rename", Errno::EXIST),
        ("Write", Errno::ISDIR),
        ("Write", Errno::LOOP),
        ("Write", Errno::NXIO),
        ("Write", Errno::ROFS),
        ("Chmod", Errno::OPNOTSUPP),
        ("SetXattr", Errno::EXIST),
        ("SetXattr", Errno::NODATA),
        ("SetXattr", Errno::PERM),
        ("RemoveXattr", Errno::NODATA),
        ("WriteHeld", Errno::BADF),
        ("TruncateHeld", Errno::INVAL),
    ];
    for (verb, errno) in expected {
        let found = reached.contains(&(verb.to_owned(), Some(errno.raw_os_error())));
        assert!(found, "{verb} never fails with {errno}");
    }
    assert!(reached.contains(&("Rotate".to_owned(), None)));
}
