//! Runs many generated cases; a failing one is shrunk and printed.

use std::env;
use std::fmt::{Debug, Display};
use std::time::{SystemTime, UNIX_EPOCH};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

/// How many cases to run: `UFS_CASES`, or `default`.
pub fn case_count(default: u32) -> u32 {
    match env::var("UFS_CASES") {
        Ok(text) => text.parse().expect("UFS_CASES is a number"),
        Err(env::VarError::NotPresent) => default,
        Err(error) => panic!("UFS_CASES: {error}"),
    }
}

/// Whether `reason` is one not to run; it is said aloud.
pub fn skip(reason: Result<(), String>) -> bool {
    match reason {
        Ok(()) => false,
        Err(reason) => {
            skipped(&reason);
            true
        }
    }
}

/// Says aloud that something did not run; where `CI` is set that is a failure.
pub fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
    assert!(env::var_os("CI").is_none(), "nothing may skip in CI: {why}");
}

/// Layers with whiteouts and foreign owners can be written to a disk by root
/// alone.
pub fn root() -> Result<(), String> {
    if rustix::process::geteuid().is_root() {
        Ok(())
    } else {
        Err("writing layers to a disk (mknod, chown, trusted.*) needs root".into())
    }
}

/// Runs `count` cases. The seed is a new one each time, printed when a case
/// fails; `UFS_SEED` repeats a run.
pub fn run<C: Debug + Display>(
    count: u32,
    cases: impl Strategy<Value = C>,
    test: impl Fn(&C) -> Result<(), String>,
) {
    let seed = match env::var("UFS_SEED") {
        Ok(text) => text.parse().expect("UFS_SEED is a number"),
        Err(_) => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_nanos() as u64,
    };
    let config = Config {
        cases: count,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        max_shrink_iters: 20_000,
        // Milliseconds: the smallest case found in a minute is small enough.
        max_shrink_time: 60_000,
        ..Config::default()
    };
    let outcome =
        TestRunner::new(config).run(&cases, |case| test(&case).map_err(TestCaseError::fail));
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, case)) => {
            panic!("UFS_SEED={seed}\n{case}{}\n", reason.message())
        }
        Err(TestError::Abort(reason)) => panic!("UFS_SEED={seed}: {}", reason.message()),
    }
}
