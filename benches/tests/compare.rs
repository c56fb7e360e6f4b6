//! The comparison of mounts still works: run on layers of a handful of files,
//! ours and the kernel's alone.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Mutex;

use serde_json::Value;

/// `false`, and said aloud, where nothing can be mounted.
fn can_mount() -> bool {
    let why = match Path::new("/dev/fuse").exists() {
        _ if !rustix::process::geteuid().is_root() => "only root can mount",
        false => "/dev/fuse is missing",
        true => return true,
    };
    eprintln!("SKIPPED: {why}");
    assert!(std::env::var_os("CI").is_none(), "nothing may skip in CI");
    false
}

/// One at a time: dropping caches is for the whole machine, and what another
/// has just made known would be unknown again.
static ALONE: Mutex<()> = Mutex::new(());

fn compare(words: &[&str]) -> Output {
    let _alone = ALONE.lock();
    let mut command = Command::new(env!("CARGO_BIN_EXE_compare"));
    let words = command
        .args(["--size", "tiny", "--rounds", "1"])
        .args(words);
    words.output().unwrap()
}

/// What went wrong is in the test's output.
fn succeeds(output: &Output) -> String {
    let (said, told) = (&output.stdout, &output.stderr);
    let told = String::from_utf8_lossy(told);
    assert!(output.status.success(), "{}: {told}", output.status);
    String::from_utf8_lossy(said).into_owned()
}

#[test]
fn every_workload_runs_on_ours_and_on_the_kernels() {
    if !can_mount() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let in_home = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let (svg, json) = (in_home("picture.svg"), in_home("numbers.json"));
    for variant in ["8", "big-dir"] {
        let dir = in_home("");
        let output = compare(&[
            "--variant",
            variant,
            "--peers",
            "kernel,ufsmount,ufsmount-volatile",
            "--no-counts",
            "--dir",
            &dir,
            "--svg",
            &svg,
            "--json",
            &json,
        ]);
        let table = succeeds(&output);
        let numbers: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
        for row in numbers["rows"].as_array().unwrap() {
            let name = row["name"].as_str().unwrap();
            assert!(table.contains(&format!("| {name} |")), "{table}");
            for peer in ["kernel", "ufsmount"] {
                let rates = row["cells"][peer]["rates"].as_array().unwrap();
                assert_eq!(rates.len(), 1, "{name} on {peer}");
                assert!(rates[0].as_f64().unwrap() > 0.0, "{name} on {peer}");
            }
        }
        assert!(fs::read_to_string(&svg).unwrap().starts_with("<svg"));
        let left: Vec<_> = fs::read_dir(home.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .filter(|name| name.to_string_lossy().starts_with("compare-"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn what_is_known_to_the_kernel_costs_no_request() {
    if !can_mount() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let json = home.path().join("numbers.json");
    let output = compare(&[
        "--only",
        "stat-1,missing,create-1",
        "--peers",
        "ufsmount",
        "--dir",
        home.path().to_str().unwrap(),
        "--json",
        json.to_str().unwrap(),
    ]);
    succeeds(&output);
    if String::from_utf8_lossy(&output.stderr).contains("requests are not counted") {
        eprintln!("SKIPPED: the kernel has no tracepoint for requests");
        return;
    }
    let numbers: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    let requests = |row: usize| &numbers["rows"][row]["cells"]["ufsmount"]["requests"];
    for row in [0, 1] {
        assert!(requests(row)["LOOKUP"].is_null(), "{numbers}");
        assert!(requests(row)["GETATTR"].is_null(), "{numbers}");
    }
    assert_eq!(requests(2)["CREATE"].as_f64(), Some(1.0), "{numbers}");
}

#[test]
fn a_workload_or_a_peer_that_does_not_exist_is_refused_by_name() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    for words in [["--only", "wlak"], ["--peers", "kernle"]] {
        let output = compare(&words);
        assert_eq!(output.status.code(), Some(2));
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains(words[1]), "{told}");
    }
}
