//! What several workloads do with the small files.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::super::workload::Stage;

/// Files of one pass, where a pass is repeated.
pub(super) const SOME: usize = 2_000;

/// Bytes of a file that a workload makes.
pub(super) const SMALL: usize = 1_024;

/// Passes until the time for one measurement is over; the operations of all.
pub(super) fn for_a_while(
    stage: &Stage<'_>,
    pass: &dyn Fn() -> io::Result<u64>,
) -> io::Result<u64> {
    let start = Instant::now();
    let mut operations = 0;
    while start.elapsed() < stage.scale.at_least {
        stage.interrupt.check()?;
        operations += pass()?;
    }
    Ok(operations)
}

/// Makes `count` files of 1 KiB in `directory`.
pub(super) fn make_files(directory: &Path, count: usize) -> io::Result<u64> {
    let content = [b'x'; SMALL];
    for number in 0..count {
        File::create_new(directory.join(format!("new{number}")))?.write_all(&content)?;
    }
    Ok(count as u64)
}

/// Lower files to be copied up, from all directories: their paths in the
/// mount.
pub(super) fn to_copy_up(stage: &Stage<'_>) -> io::Result<Vec<PathBuf>> {
    let files = stage.some_files(stage.scale.copy_ups);
    let files: Vec<PathBuf> = files.into_iter().map(|file| stage.path(file)).collect();
    // Known to the kernel, as to a program that has just looked for them.
    for file in &files {
        fs::symlink_metadata(file)?;
    }
    Ok(files)
}
