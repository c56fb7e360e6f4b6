//! What a finding says of the kernel is true of the kernel: what it refuses,
//! and takes again after a repair.

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::{DirEntryExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use overlay_core::check::{Check, Event, Finding, Kind, Repair, Settings, Severity};
use overlay_tests::ground::Ground;
use overlay_tests::runner::skip;
use overlay_tests::subject::kernel::Kernel;
use rustix::fs::XattrFlags;

const INDEX: &str = "index=on,redirect_dir=on";
const META: &str = "metacopy=on,redirect_dir=on";
const EXPORT: &str = "index=on,nfs_export=on,redirect_dir=on";

const ACCEPT: Settings = Settings {
    redirects: overlay_core::check::Redirects::Followed,
    accept_volatile: true,
    accept_lower: true,
};

fn looked(ground: &Ground) -> Vec<Finding> {
    let looked = ground.directories().open_to_check().unwrap();
    let check = Check::looking(looked.stack(), looked.workdir(), ACCEPT).unwrap();
    findings(&check, Repair::Nothing)
}

fn repaired(ground: &Ground) -> Vec<Finding> {
    let opened = ground.directories().open_to_repair().unwrap();
    findings(&Check::new(opened.stack(), ACCEPT).unwrap(), Repair::All)
}

fn findings(check: &Check, repair: Repair) -> Vec<Finding> {
    let mut findings = Vec::new();
    check
        .run(repair, &mut |event| {
            if let Event::Found(finding) = event {
                findings.push(finding.clone());
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    findings
}

/// But for leftovers: every kernel leaves some.
fn kinds(findings: &[Finding]) -> Vec<Kind> {
    let bad = findings
        .iter()
        .filter(|finding| finding.severity() >= Severity::Warning);
    bad.map(|finding| finding.kind).collect()
}

/// A repair leaves nothing of this and nothing else.
fn is_repaired(ground: &Ground, kind: Kind) {
    assert_eq!(kinds(&looked(ground)), [kind]);
    assert_eq!(kinds(&repaired(ground)), [kind]);
    assert_eq!(kinds(&looked(ground)), []);
}

fn set(path: &Path, mark: &str, value: &[u8]) {
    let (name, flags) = (format!("trusted.overlay.{mark}"), XattrFlags::empty());
    rustix::fs::lsetxattr(path, &name[..], value, flags).unwrap();
}

fn unset(path: &Path, mark: &str) {
    rustix::fs::lremovexattr(path, &format!("trusted.overlay.{mark}")[..]).unwrap();
}

/// The entry of the index that is a file.
fn index_entry(ground: &Ground) -> PathBuf {
    let entries = fs::read_dir(ground.path("w/index")).unwrap();
    let mut files = entries
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file());
    let entry = files.next().unwrap().path();
    assert!(files.next().is_none());
    entry
}

/// A file with three names, and a copy of one of them in the index.
fn indexed() -> Ground {
    let ground = Ground::new(&["l"], &[]);
    let one = ground.write("l/one", b"lower");
    for name in ["l/two", "l/three"] {
        fs::hard_link(&one, ground.path(name)).unwrap();
    }
    ground.write("l/d/f", b"lower");
    let kernel = ground.kernel(INDEX);
    fs::write(kernel.path("one"), b"upper").unwrap();
    drop(kernel);
    assert_eq!(kinds(&looked(&ground)), []);
    ground
}

#[test]
fn a_link_count_is_right_again() {
    if skip(Kernel::available()) {
        return;
    }
    for value in [&b"many"[..], b"U-9", b"U+7"] {
        let ground = indexed();
        set(&ground.path("u/one"), "nlink", value);
        let shown = || {
            fs::metadata(ground.kernel(INDEX).path("two"))
                .unwrap()
                .nlink()
        };
        assert_ne!(shown(), 3);
        is_repaired(&ground, Kind::IndexLinkCount);
        assert_eq!(shown(), 3);
    }
}

#[test]
fn an_index_that_the_kernel_refuses_is_an_error() {
    if skip(Kernel::available()) {
        return;
    }
    // A copy that does not say of what.
    let ground = indexed();
    unset(&index_entry(&ground), "origin");
    assert!(ground.try_kernel(INDEX).is_err());
    is_repaired(&ground, Kind::IndexUnnamed);
    let kernel = ground.kernel(INDEX);
    assert_eq!(fs::read(kernel.path("two")).unwrap(), b"upper");
    drop(kernel);

    // A name that is none.
    let ground = indexed();
    let stray = ground.write("w/index/stray", b"");
    assert!(ground.try_kernel(INDEX).is_err());
    assert_eq!(kinds(&repaired(&ground)), [Kind::IndexName]);
    fs::remove_file(stray).unwrap();
    drop(ground.kernel(INDEX));
    assert_eq!(kinds(&looked(&ground)), []);

    // The index of another upper layer.
    let ground = indexed();
    fs::rename(ground.path("u"), ground.path("was")).unwrap();
    fs::create_dir(ground.path("u")).unwrap();
    assert!(ground.try_kernel(INDEX).is_err());
    assert_eq!(kinds(&repaired(&ground)), [Kind::IndexOfOther]);
    assert!(index_entry(&ground).exists());
}

#[test]
fn an_upper_layer_over_another_lower_one_is_an_error() {
    if skip(Kernel::available()) {
        return;
    }
    let ground = Ground::new(&["l"], &[]);
    ground.write("l/f", b"lower");
    drop(ground.kernel(INDEX));
    fs::rename(ground.path("l"), ground.path("was")).unwrap();
    ground.write("l/f", b"lower");
    assert!(ground.try_kernel(INDEX).is_err());
    is_repaired(&ground, Kind::LowerOther);
    drop(ground.kernel(INDEX));
}

#[test]
fn a_copy_that_lost_its_place_in_the_index_is_one_of_its_own() {
    if skip(Kernel::available()) {
        return;
    }
    let ground = indexed();
    // The same copy as another object.
    fs::rename(ground.path("u/one"), ground.path("u/other")).unwrap();
    fs::write(ground.path("u/one"), b"another").unwrap();
    let mut value = vec![0; 256];
    let origin = "trusted.overlay.origin";
    let len = rustix::fs::lgetxattr(ground.path("u/other"), origin, &mut value[..]).unwrap();
    set(&ground.path("u/one"), "origin", &value[..len]);
    fs::remove_file(ground.path("u/other")).unwrap();
    is_repaired(&ground, Kind::IndexBroken);
    let kernel = ground.kernel(INDEX);
    assert_eq!(fs::read(kernel.path("one")).unwrap(), b"another");
    assert_eq!(fs::read(kernel.path("two")).unwrap(), b"upper");
}

#[test]
fn an_entry_that_no_name_leads_to_is_what_the_kernel_removes() {
    if skip(Kernel::available()) {
        return;
    }
    let ground = indexed();
    let kernel = ground.kernel(INDEX);
    for name in ["one", "two", "three"] {
        fs::remove_file(kernel.path(name)).unwrap();
    }
    drop(kernel);
    // The kernel has removed it already: so it looks after a crash.
    let ground = indexed();
    let entry = index_entry(&ground);
    set(&entry, "nlink", b"U-1");
    fs::remove_file(ground.path("u/one")).unwrap();
    let found = looked(&ground);
    assert_eq!(found[0].kind, Kind::IndexOrphan, "{found:?}");
    repaired(&ground);
    assert!(!entry.exists());
    drop(ground.kernel(INDEX));
}

#[test]
fn marks_that_the_kernel_cannot_read_are_errors() {
    if skip(Kernel::available()) {
        return;
    }
    let ground = Ground::new(&["l"], &[]);
    ground.write("l/f", b"lower");
    ground.write("l/d/f", b"lower");
    let kernel = ground.kernel(META);
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(kernel.path("f"), mode).unwrap();
    fs::rename(kernel.path("d"), kernel.path("e")).unwrap();
    drop(kernel);
    assert_eq!(kinds(&looked(&ground)), []);

    set(&ground.path("u/f"), "metacopy", b"y");
    assert!(fs::read(ground.kernel(META).path("f")).is_err());
    is_repaired(&ground, Kind::MetacopyMalformed);
    assert_eq!(fs::read(ground.kernel(META).path("f")).unwrap(), b"lower");

    set(&ground.path("u/e"), "redirect", b"a/b");
    assert!(fs::read_dir(ground.kernel(META).path("e")).is_err());
    is_repaired(&ground, Kind::RedirectMalformed);
    assert_eq!(
        fs::read_dir(ground.kernel(META).path("e")).unwrap().count(),
        0
    );
    assert!(!ground.kernel(META).path("d").exists());

    fs::remove_file(ground.path("l/f")).unwrap();
    assert!(fs::read(ground.kernel(META).path("f")).is_err());
    assert_eq!(
        kinds(&looked(&ground)),
        // The object that it was copied from is gone as well.
        [Kind::MetacopyWithoutData, Kind::OriginStale]
    );
}

#[test]
fn a_directory_that_holds_copies_lists_right_numbers_again() {
    if skip(Kernel::available()) {
        return;
    }
    let ground = Ground::new(&["l"], &[]);
    ground.write("l/d/f", b"lower");
    let kernel = ground.kernel(INDEX);
    fs::rename(kernel.path("d/f"), kernel.path("d/g")).unwrap();
    fs::create_dir(kernel.path("new")).unwrap();
    fs::rename(kernel.path("d/g"), kernel.path("new/g")).unwrap();
    drop(kernel);
    let numbers = || {
        let kernel = ground.kernel(INDEX);
        let listed = fs::read_dir(kernel.path("new")).unwrap().next().unwrap();
        let found = fs::metadata(kernel.path("new/g")).unwrap().ino();
        (listed.unwrap().ino(), found)
    };
    let (listed, found) = numbers();
    assert_eq!(listed, found);
    unset(&ground.path("u/new"), "impure");
    let (listed, found) = numbers();
    assert_ne!(listed, found);
    is_repaired(&ground, Kind::ImpureMissing);
    let (listed, found) = numbers();
    assert_eq!(listed, found);
}

#[test]
fn what_a_volatile_mount_left_keeps_the_kernel_from_mounting() {
    if skip(Kernel::available()) {
        return;
    }
    let ground = Ground::new(&["l"], &[]);
    let kernel = ground.kernel("volatile");
    drop(kernel);
    assert!(ground.try_kernel("index=off").is_err());
    is_repaired(&ground, Kind::WorkVolatile);
    drop(ground.kernel("index=off"));
}

#[test]
fn a_stack_that_was_exported_is_in_order() {
    if skip(Kernel::available()) {
        return;
    }
    let ground = Ground::new(&["l"], &[]);
    let one = ground.write("l/one", b"lower");
    fs::hard_link(&one, ground.path("l/d-two")).unwrap();
    for path in ["l/d/f", "l/e/f/g", "l/gone/f", "l/big"] {
        ground.write(path, b"lower");
    }
    let kernel = ground.kernel(EXPORT);
    fs::write(kernel.path("one"), b"upper").unwrap();
    fs::write(kernel.path("e/f/g"), b"upper").unwrap();
    fs::rename(kernel.path("d"), kernel.path("e/moved")).unwrap();
    fs::remove_dir_all(kernel.path("gone")).unwrap();
    fs::rename(kernel.path("big"), kernel.path("e/big")).unwrap();
    fs::remove_file(kernel.path("e/big")).unwrap();
    drop(kernel);
    assert_eq!(kinds(&looked(&ground)), []);
    repaired(&ground);
    let kernel = ground.kernel(EXPORT);
    assert_eq!(fs::read(kernel.path("e/moved/f")).unwrap(), b"lower");
    assert_eq!(fs::read(kernel.path("d-two")).unwrap(), b"upper");
    assert_eq!(fs::read(kernel.path("e/f/g")).unwrap(), b"upper");
    drop(kernel);
    assert_eq!(kinds(&looked(&ground)), []);
}

#[test]
fn data_in_a_layer_that_holds_nothing_else_is_found() {
    if skip(Kernel::available()) {
        return;
    }
    let ground = Ground::new(&["l"], &["data"]);
    let file = ground.write("l/f", b"");
    fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_len(4)
        .unwrap();
    set(&file, "metacopy", b"");
    set(&file, "redirect", b"/objects/1");
    ground.write("data/objects/1", b"data");
    assert_eq!(kinds(&looked(&ground)), []);
    assert_eq!(fs::read(ground.kernel(META).path("f")).unwrap(), b"data");
    fs::remove_file(ground.path("data/objects/1")).unwrap();
    let found = looked(&ground);
    assert_eq!(kinds(&found), [Kind::MetacopyWithoutData]);
    assert!(found[0].detail.contains("/objects/1"), "{found:?}");
    assert!(fs::read(ground.kernel(META).path("f")).is_err());
}
