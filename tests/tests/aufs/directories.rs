//! Branches that are directories of the host, and the work area inside.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use overlay_core::Directories;
use overlay_core::dialect::aufs::Aufs;
use overlay_core::fs::UnionFs;
use overlay_core::stack::directories::{LayerFormat, SetupError};
use overlay_tests::runner::{root, skip};
use tempfile::TempDir;

use crate::seen;

fn scene() -> (TempDir, Directories) {
    let dir = tempfile::tempdir().unwrap();
    for path in ["u", "l/d"] {
        fs::create_dir_all(dir.path().join(path)).unwrap();
    }
    fs::write(dir.path().join("l/f"), "1").unwrap();
    fs::write(dir.path().join("l/d/x"), "1").unwrap();
    let directories = Directories {
        lowers: vec![dir.path().join("l")],
        upper: Some(dir.path().join("u")),
        format: LayerFormat::Aufs(Aufs::default()),
        ..Directories::default()
    };
    (dir, directories)
}

#[test]
fn the_work_area_of_a_branch_of_aufs_lies_inside_and_is_cleared_by_a_mount() {
    if skip(root()) {
        return;
    }
    let (dir, directories) = scene();
    let at = |path: &str| dir.path().join(path);
    drop(directories.open_undoable().unwrap());
    assert_eq!(
        fs::read_dir(at("u")).unwrap().count(),
        0,
        "all is taken back"
    );
    let union = UnionFs::new(directories.open().unwrap()).unwrap();
    union.remove_dir_all("d").unwrap();
    union.create_dir("d").unwrap();
    union.remove_file("f").unwrap();
    let orphans = at("u/.wh..wh.orph");
    assert_eq!(
        fs::metadata(&orphans).unwrap().permissions().mode() & 0o7777,
        0o700
    );
    assert_eq!(fs::read_dir(orphans.join("work")).unwrap().count(), 0);
    let ino = |path: &str| fs::metadata(at(path)).unwrap().ino();
    assert_eq!(ino("u/.wh.f"), ino("u/.wh..wh.aufs"));
    assert_eq!(ino("u/d/.wh..wh..opq"), ino("u/.wh..wh.aufs"));
    let in_use = directories.open().unwrap_err();
    assert!(matches!(in_use, SetupError::InUse { .. }), "{in_use}");
    drop(union);
    fs::create_dir_all(orphans.join("work/#0/deep")).unwrap();
    let union = UnionFs::new(directories.open().unwrap()).unwrap();
    assert_eq!(fs::read_dir(orphans.join("work")).unwrap().count(), 0);
    assert_eq!(seen(&union), "d/");
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        2,
        "nothing beside"
    );
}

#[test]
fn a_work_area_that_leads_elsewhere_is_refused() {
    if skip(root()) {
        return;
    }
    let (dir, directories) = scene();
    let elsewhere = dir.path().join("elsewhere");
    fs::create_dir_all(elsewhere.join("work/kept")).unwrap();
    symlink(&elsewhere, dir.path().join("u/.wh..wh.orph")).unwrap();
    directories.open().unwrap_err();
    assert!(elsewhere.join("work/kept").exists());
}

#[test]
fn a_branch_of_aufs_takes_a_work_directory_beside_it_too() {
    if skip(root()) {
        return;
    }
    let (dir, directories) = scene();
    let work = dir.path().join("w");
    fs::create_dir(&work).unwrap();
    let directories = Directories {
        work: Some(work.clone()),
        ..directories
    };
    let union = UnionFs::new(directories.open().unwrap()).unwrap();
    union.write("f", "2").unwrap();
    assert!(work.join("work").exists());
    assert!(!dir.path().join("u/.wh..wh.orph/work").exists());
}
