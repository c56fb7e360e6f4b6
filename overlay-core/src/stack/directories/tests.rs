#![allow(clippy::unwrap_used)]

use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

fn tree(names: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in names {
        fs::create_dir_all(dir.path().join(name)).unwrap();
    }
    dir
}

fn refused(directories: &Directories) -> String {
    directories.check().err().unwrap().to_string()
}

#[test]
fn a_sound_stack_passes_and_nothing_is_made() {
    let dir = tree(&["l1", "l2", "u", "m"]);
    let at = |name: &str| dir.path().join(name);
    let directories = Directories {
        lowers: vec![at("l1"), at("l2")],
        upper: Some(at("u")),
        mount_point: Some(at("m")),
        ..Directories::default()
    };
    assert!(directories.check().is_ok());
    assert!(!at("u.work").exists());
}

#[test]
fn overlapping_directories_are_refused_through_symlinks_too() {
    let dir = tree(&["l/inner", "u", "w"]);
    let at = |name: &str| dir.path().join(name);
    symlink(at("l"), at("alias")).unwrap();
    let with = |lowers: &[&str], upper: &str, work: &str| Directories {
        lowers: lowers.iter().map(|name| at(name)).collect(),
        upper: Some(at(upper)),
        work: Some(at(work)),
        ..Directories::default()
    };
    assert!(refused(&with(&["alias"], "l/inner", "w")).contains("lies inside lower layer"));
    assert!(refused(&with(&["l", "alias"], "u", "w")).contains("same directory"));
    assert!(refused(&with(&["l"], "u", "u")).contains("same directory"));
    assert!(refused(&with(&["l"], "u", "l/inner")).contains("work directory"));
    assert!(refused(&with(&["l", "l/inner"], "u", "w")).contains("lies inside"));
}

#[test]
fn a_mount_point_inside_a_layer_is_refused_and_a_layer_below_it_is_not() {
    let dir = tree(&["l/m", "m/l"]);
    let at = |name: &str| dir.path().join(name);
    let with = |lower: &str, point: &str| Directories {
        lowers: vec![at(lower)],
        mount_point: Some(at(point)),
        ..Directories::default()
    };
    assert!(refused(&with("l", "l/m")).contains("mount point"));
    assert!(refused(&with("l", "l")).contains("same directory"));
    assert!(with("m/l", "m").check().is_ok());
    assert!(with("l", "/proc").check().is_ok(), "it can be covered");
}

#[test]
fn what_is_missing_or_not_a_directory_is_named() {
    let dir = tree(&["l"]);
    let at = |name: &str| dir.path().join(name);
    fs::write(at("file"), "").unwrap();
    let with = |lower: &str| Directories {
        lowers: vec![at(lower)],
        ..Directories::default()
    };
    let missing = refused(&with("no"));
    assert!(missing.contains("lower layer") && missing.contains("does not exist"));
    assert!(missing.contains("/no\""), "{missing}");
    assert!(refused(&with("file")).contains("is not a directory"));
    assert!(refused(&Directories::default()).contains("no lower layer"));
}

#[test]
fn a_work_directory_on_another_filesystem_is_refused() {
    let dir = tree(&["l", "u"]);
    let shm = Path::new("/dev/shm");
    let other = fs::metadata(shm).is_ok_and(|attr| {
        use std::os::unix::fs::MetadataExt;
        attr.dev() != fs::metadata(dir.path()).unwrap().dev()
    });
    if !other {
        eprintln!("SKIPPED: /dev/shm is not another filesystem here");
        assert!(std::env::var_os("CI").is_none(), "nothing may skip in CI");
        return;
    }
    let directories = Directories {
        lowers: vec![dir.path().join("l")],
        upper: Some(dir.path().join("u")),
        work: Some(shm.to_owned()),
        ..Directories::default()
    };
    assert!(refused(&directories).contains("not on the filesystem of upper layer"));
}
