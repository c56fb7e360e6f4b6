//! Suites that others wrote: `pjdfstest` and `fsx`, both from crates.io.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Scene, can_mount, skipped};
use rustix::mount::{MountFlags, UnmountFlags, mount};

/// A program of `cargo install`, wherever that puts them.
fn program(name: &str) -> Option<PathBuf> {
    let home = |variable: &str, below: &str| {
        std::env::var_os(variable).map(|home| PathBuf::from(home).join(below))
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(home("CARGO_HOME", "bin"))
        .chain(home("HOME", ".cargo/bin"))
        .map(|directory| directory.join(name))
        .find(|program| program.is_file());
    if found.is_none() {
        skipped(&format!("{name} is missing: cargo install {name}"));
    }
    found
}

/// The tests that pass at `point`.
fn passing(pjdfstest: &Path, scene: &Scene, point: &Path) -> BTreeSet<String> {
    fs::set_permissions(point, Permissions::from_mode(0o755)).unwrap();
    let output = Command::new(pjdfstest)
        .arg("-c")
        .arg(scene.at("pjdfstest.toml"))
        .arg("-p")
        .arg(point)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.strip_suffix(" ok"))
        .map(|name| name.trim().to_owned())
        .collect()
}

/// Two users that exist everywhere.
const SETTINGS: &str = "\
[features]
posix_fallocate = {}
rename_ctime = {}
utimensat = {}
utime_now = {}
[settings]
naptime = 0.01
allow_remount = false
[dummy_auth]
entries = [[\"nobody\", \"nogroup\"], [\"daemon\", \"daemon\"]]
";

#[test]
fn what_passes_of_pjdfstest_on_the_kernels_overlayfs_passes_here() {
    if !can_mount() {
        return;
    }
    let Some(pjdfstest) = program("pjdfstest") else {
        return;
    };
    let scene = Scene::new();
    fs::write(scene.at("pjdfstest.toml"), SETTINGS).unwrap();
    for name in ["kl", "ku", "kw", "k"] {
        fs::create_dir(scene.at(name)).unwrap();
    }
    let kernel = scene.at("k");
    let root = scene.root().display();
    let options = format!("lowerdir={root}/kl,upperdir={root}/ku,workdir={root}/kw");
    let options = std::ffi::CString::new(options).unwrap();
    mount(
        "overlay",
        &kernel,
        "overlay",
        MountFlags::empty(),
        Some(&*options),
    )
    .unwrap();
    let expected = passing(&pjdfstest, &scene, &kernel);
    rustix::mount::unmount(&kernel, UnmountFlags::DETACH).unwrap();

    let mounted = scene.mount_all();
    let found = passing(&pjdfstest, &scene, &mounted.point);
    // As many as the suite has for a root user; fewer means it did not run.
    assert!(expected.len() > 300, "only {} ran", expected.len());
    let missing: Vec<_> = expected.difference(&found).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn four_fsx_at_once_on_lower_files_find_no_mismatch() {
    if !can_mount() {
        return;
    }
    let Some(fsx) = program("fsx") else {
        return;
    };
    let operations = std::env::var("UFS_FSX_OPERATIONS").unwrap_or("3000".into());
    let scene = Scene::new();
    for file in 0..4 {
        fs::write(scene.at(format!("l/f{file}")), vec![file; 200_000]).unwrap();
    }
    fs::create_dir(scene.at("artifacts")).unwrap();
    let mounted = scene.mount_all();
    let running: Vec<_> = (0..4)
        .map(|file| {
            Command::new(&fsx)
                .args(["-q", "-N", &operations, "-S", &file.to_string(), "-P"])
                .arg(scene.at("artifacts"))
                .arg(mounted.at(format!("f{file}")))
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in running {
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
