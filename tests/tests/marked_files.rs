//! A writable layer whose filesystem takes no device 0:0: whiteouts are files
//! with a mark.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::cell::Cell;
use std::ffi::CString;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use overlay_core::fs::UnionFs;
use overlay_core::layer::{SetXattr, WritableStorage};
use overlay_core::spec::generate::{Case, cases, cases_configured, cases_with_redirects};
use overlay_core::spec::{Op, Rules, differences};
use overlay_core::{Errno, MemStorage, Name, Stack};
use overlay_tests::check::{Depth, check};
use overlay_tests::faulty::{Faults, FaultyStorages, Lacks, Scope};
use overlay_tests::runner::{case_count, root, run, skip};
use overlay_tests::subject::core::Core;
use overlay_tests::subject::core::storages::{InMemory, OnDirectories, Storages};
use overlay_tests::subject::kernel::Kernel;
use overlay_tests::subject::ours::supported;
use overlay_tests::trial::{Kind, On, crash_in, fault_in, survives_in};
use overlay_tests::{Subject, snapshot};

const LENGTH: usize = 25;
/// The last operation is the one that is cut, or fails.
const SHORT: usize = 6;

fn agrees(case: &Case, lacks: Lacks, storages: impl Storages + 'static) -> Result<(), String> {
    let faults = Faults::on(lacks, Scope::Changes);
    let storages = FaultyStorages::new(storages, &faults);
    let mut core = Core::new(Box::new(storages), case.writable, case.config);
    check(case, Rules::Union, &mut core, Depth::EveryOp)
}

fn histories_in_memory(lacks: Lacks) {
    let agrees = |case: &Case| agrees(case, lacks, InMemory::new(&case.layers, case.writable));
    let count = case_count(500);
    run(count, cases(1..=5, LENGTH), agrees);
    run(count, cases_with_redirects(1..=4, LENGTH), agrees);
}

#[test]
fn histories_without_devices_agree_with_the_model() {
    histories_in_memory(Lacks::Devices);
}

#[test]
fn histories_with_all_options_and_without_devices_agree_with_the_model() {
    if skip(root()) {
        return;
    }
    let configs = supported();
    let share = case_count(150).div_ceil(configs.len() as u32);
    for lacks in [Lacks::Devices, Lacks::RenameWhiteout] {
        for &config in &configs {
            run(share, cases_configured(2..=5, LENGTH, config), |case| {
                let storages = OnDirectories::with(&case.layers, case.writable, case.config);
                agrees(case, lacks, storages)
            });
        }
    }
}

#[test]
fn histories_without_rename_whiteout_agree_with_the_model() {
    histories_in_memory(Lacks::RenameWhiteout);
}

#[test]
fn histories_on_directories_without_devices_agree_with_the_model() {
    if skip(root()) {
        return;
    }
    for lacks in [Lacks::Devices, Lacks::RenameWhiteout] {
        run(
            case_count(100),
            cases_with_redirects(1..=4, LENGTH),
            |case| agrees(case, lacks, OnDirectories::new(&case.layers, case.writable)),
        );
    }
}

#[test]
fn a_crash_without_devices_loses_nothing() {
    for lacks in [Lacks::Devices, Lacks::RenameWhiteout] {
        let kind = Kind::Without(lacks);
        run(
            case_count(1500),
            cases_with_redirects(1..=4, SHORT),
            |case| crash_in(case, On::Memory, kind).map(drop),
        );
    }
}

#[test]
fn a_crash_on_directories_without_devices_loses_nothing() {
    if skip(root()) {
        return;
    }
    run(case_count(60), cases_with_redirects(1..=4, SHORT), |case| {
        crash_in(case, On::Directories, Kind::Without(Lacks::Devices)).map(drop)
    });
}

#[test]
fn a_change_that_fails_without_devices_leaves_before_or_after() {
    for lacks in [Lacks::Devices, Lacks::RenameWhiteout] {
        let kind = Kind::Without(lacks);
        run(
            case_count(1000),
            cases_with_redirects(1..=4, SHORT),
            |case| fault_in(case, On::Memory, kind, Scope::Changes, Errno::NOSPC).map(drop),
        );
        run(
            case_count(300),
            cases_with_redirects(1..=4, SHORT),
            |case| fault_in(case, On::Memory, kind, Scope::All, Errno::IO).map(drop),
        );
    }
}

#[test]
fn removing_and_renaming_without_devices_is_one_step() {
    for lacks in [Lacks::Devices, Lacks::RenameWhiteout] {
        let kind = Kind::AtomicWithout(lacks);
        let survives = |layers: &[&str], steps: &[&str]| survives_in(kind, layers, steps);
        survives(&["", "f=low"], &["rm /f: ok"]);
        survives(&["", "d/ d/f=low"], &["append /d/f +: ok", "rm /d/f: ok"]);
        survives(&["", "d/ d/f=low"], &["rm /d/f: ok", "rmdir /d: ok"]);
        survives(&["", "f=low"], &["rm /f: ok", "mkfile /f: ok"]);
        survives(&["", "f=low"], &["rm /f: ok", "mkdir /f: ok"]);
        survives(&["", "f=low"], &["mv /f /g: ok"]);
        survives(&["", "d/ d/f=low e/"], &["mv /d/f /e/g: ok"]);
        survives(&["", "f=low g=low"], &["rm /g: ok", "mv /f /g: ok"]);
        survives(
            &["", "d/ p/ p/x="],
            &[
                "rmdir /d: ok",
                "mkdir /p/e: ok",
                "mkfile /p/e/f: ok",
                "mv /p/e /d: ok",
            ],
        );
        survives(
            &["", "d/ d/old="],
            &[
                "rm /d/old: ok",
                "rmdir /d: ok",
                "mkdir /d: ok",
                "mv /d /e: ok",
            ],
        );
    }
}

#[test]
fn renaming_without_devices_takes_two_steps_where_a_whiteout_would_be_seen() {
    for lacks in [Lacks::Devices, Lacks::RenameWhiteout] {
        let survives =
            |layers: &[&str], steps: &[&str]| survives_in(Kind::Without(lacks), layers, steps);
        // Something has the new name.
        survives(&["", "f=low g=low"], &["mv /f /g: ok"]);
        survives(&["g=up", "f=low g=low"], &["open 0 /g: ok", "mv /f /g: ok"]);
        survives(
            &["", "d/ t/"],
            &[
                "rmdir /d: ok",
                "mkdir /d: ok",
                "mkfile /d/f: ok",
                "mv /d /t: ok",
            ],
        );
        // A directory that is opaque has the new name, or the old one.
        survives(&["", "f=low"], &["mkdir /o: ok", "mv /f /o/g: ok"]);
        survives(
            &["", "d/"],
            &[
                "rmdir /d: ok",
                "mkdir /o: ok",
                "mkdir /o/e: ok",
                "mv /o/e /d: ok",
            ],
        );
    }
}

/// What we wrote without devices, the kernel shows as we do.
#[test]
fn the_kernel_reads_a_layer_that_was_written_without_devices() {
    if skip(Kernel::available()) {
        return;
    }
    let whiteouts = Cell::new(0);
    run(
        case_count(150),
        cases_with_redirects(2..=4, LENGTH),
        |case| {
            let storages = Arc::new(OnDirectories::new(&case.layers, case.writable));
            let faults = Faults::on(Lacks::Devices, Scope::Changes);
            let failing = FaultyStorages::new(Arc::clone(&storages), &faults);
            let mut core = Core::new(Box::new(failing), case.writable, case.config);
            for op in case.ops.iter().filter(|op| **op != Op::Rotate) {
                core.apply(op);
            }
            let shown = core.look()?;
            drop(core);
            whiteouts.set(whiteouts.get() + marked_files(&storages.scratch().layer(0)));
            let kernel = Kernel::look_at(storages.scratch())?;
            match &differences(&shown, &kernel)[..] {
                [] => Ok(()),
                differences => Err(format!("the kernel shows: {differences:#?}")),
            }
        },
    );
    assert!(whiteouts.get() > 10, "no whiteout was ever written");
}

/// How many whiteouts that are files lie in a directory.
fn marked_files(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    let count = entries.map(|entry| {
        let path = CString::new(entry.path().into_os_string().into_encoded_bytes()).unwrap();
        let xattrs = snapshot::xattrs_of(&path).unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => marked_files(&entry.path()),
            false => usize::from(xattrs.contains_key(&b"trusted.overlay.whiteout"[..])),
        }
    });
    count.sum()
}

/// What hid nothing in a directory must not be seen when that is made opaque.
#[test]
fn a_directory_that_becomes_opaque_loses_its_whiteouts() {
    let trusted = |name: &str| format!("trusted.overlay.{name}").into_bytes();
    let (upper, lower) = (MemStorage::new(), MemStorage::new());
    lower.write("t/x", b"low").unwrap();
    for path in ["d/gone", "d/sub/gone"] {
        upper.write(path, b"").unwrap();
    }
    upper.write("d/kept", b"").unwrap();
    let root = WritableStorage::root(&*upper);
    let find = |path: &str| {
        let mut node = Arc::clone(&root);
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let name = Name::new(name.as_bytes()).unwrap();
            node = node.lookup_writable(name).unwrap().unwrap().node;
        }
        node
    };
    for path in ["", "d", "d/sub"] {
        find(path)
            .set_xattr(&trusted("opaque"), b"x", SetXattr::Any)
            .unwrap();
    }
    for path in ["d/gone", "d/sub/gone"] {
        find(path)
            .set_xattr(&trusted("whiteout"), b"", SetXattr::Any)
            .unwrap();
    }
    let stack = Stack::new().upper(upper.clone()).lower(lower);
    let union = UnionFs::new(stack).unwrap();
    assert!(!union.exists("d/gone").unwrap());
    union.rename("d", "t/d").unwrap();
    assert_eq!(
        find("t/d").xattr(&trusted("opaque")).unwrap().unwrap(),
        b"y"
    );
    assert!(!union.exists("t/d/gone").unwrap());
    assert!(!union.exists("t/d/sub/gone").unwrap());
    assert!(union.exists("t/d/kept").unwrap());
    let listed = union.read_dir("t/d").unwrap();
    let names: Vec<_> = listed
        .iter()
        .map(|entry| entry.name.to_str().unwrap())
        .collect();
    assert_eq!(names, ["kept", "sub"]);
}
