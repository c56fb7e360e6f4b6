//! Notes for people: one line each.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use overlay_core::convert::{Note, Summary};

use crate::cli::shown;

/// An object of a branch, as a path of the host.
pub(super) fn path(branch: &Path, path: &[u8]) -> String {
    match path {
        [] => shown(branch),
        path => shown(&branch.join(OsStr::from_bytes(path))),
    }
}

pub(super) fn note(branch: &Path, note: &Note) -> String {
    let kind = note.kind;
    let (effect, meaning) = (kind.effect().name(), kind.meaning());
    let path = path(branch, &note.path);
    let detail = match &*note.detail {
        "" => String::new(),
        detail => format!(" ({detail})"),
    };
    match kind.advice() {
        "" => format!("{effect}: {path}: {meaning}{detail}"),
        advice => format!("{effect}: {path}: {meaning}{detail}; {advice}"),
    }
}

/// The last line.
pub(super) fn summary(summary: &Summary, dry_run: bool) -> String {
    let counted = |count: u64, one: &str, more: &str| match count {
        1 => format!("1 {one}"),
        count => format!("{count} {more}"),
    };
    let objects = counted(summary.objects, "object", "objects");
    if summary.resumed {
        return match dry_run {
            true => "half-way: ufs convert BRANCH does the rest".to_owned(),
            false => format!("{objects} seen: what was begun is finished"),
        };
    }
    let whiteouts = counted(summary.whiteouts, "whiteout", "whiteouts");
    let opaque = counted(summary.opaque, "opaque directory", "opaque directories");
    let done = match (summary.refused, dry_run) {
        (1.., _) => "not converted",
        (0, true) => "to be converted",
        (0, false) => "converted",
    };
    let mut line = format!("{objects} seen: {whiteouts}, {opaque} {done}");
    if summary.dropped > 0 {
        line += &format!("; {} dropped", summary.dropped);
    }
    if summary.refused > 0 {
        line += &format!("; {} in the way", summary.refused);
    }
    line
}
