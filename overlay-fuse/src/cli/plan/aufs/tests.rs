#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::table::Meaning;
use super::*;
use crate::cli::plan::aufs::mount::Xino;

mod branches;
mod page;
mod settings;

fn words(list: &str) -> Vec<Word> {
    read(list.as_ref()).unwrap_or_else(|error| panic!("{list}: {error}"))
}

fn refusal(list: &str) -> String {
    let read = read(list.as_ref());
    read.map(|words| panic!("{list}: {words:?}"))
        .unwrap_or_else(|error: UsageError| error.to_string())
}

fn mount(list: &str) -> AufsMount {
    let mount = AufsMount::new(words(list), MountAccess::ReadWrite);
    mount.unwrap_or_else(|error| panic!("{list}: {error}"))
}

fn branches(mount: &AufsMount) -> Vec<OsString> {
    mount.branches.iter().map(Branch::written).collect()
}
