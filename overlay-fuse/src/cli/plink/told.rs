//! Pseudo-links as they are told: to people, and to programs.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use overlay_core::union::plinks::{Flushed, Listed, Standing};
use serde_json::{Map, Value, json};

use crate::cli::shown;

fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Whole => "whole",
        Standing::Unfinished => "unfinished",
        Standing::OfAufs => "of-aufs",
        Standing::Damaged => "damaged",
    }
}

fn meaning(standing: Standing) -> &'static str {
    match standing {
        Standing::Whole => "",
        Standing::Unfinished => "; half made or half removed: the next mount takes it away",
        Standing::OfAufs => "; AuFS made it, and must flush it (auplink): it means nothing here",
        Standing::Damaged => {
            "; the branch is a copy, in which it means nothing: its entries can be removed"
        }
    }
}

fn counted(count: u64, one: &str, more: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        count => format!("{count} {more}"),
    }
}

/// A line for people.
pub(super) fn line(branch: &Path, plink: &Listed) -> String {
    let name = plink.plink.name();
    let size = match &plink.attr {
        Some(attr) => counted(attr.size, "byte", "bytes"),
        None => "gone".to_owned(),
    };
    let below = match plink.below {
        0 => String::new(),
        count => format!(", {} only below", counted(count, "name", "names")),
    };
    let names = plink.names.iter();
    let names: Vec<_> = names
        .map(|name| shown(Path::new(OsStr::from_bytes(name))))
        .collect();
    let names = match names.is_empty() {
        true => "no name here".to_owned(),
        false => names.join(", "),
    };
    let branch = shown(branch);
    let meaning = meaning(plink.standing);
    format!("{branch}: {name}: {size}{below}: {names}{meaning}")
}

/// One JSON object. A name that is not UTF-8 is there with replacement
/// characters, and all names are as `names_escaped` too then, with `\xNN` for
/// every byte that is not printable ASCII.
pub(super) fn json(branch: &Path, plink: &Listed) -> String {
    let mut line = Map::new();
    let mut put = |name: &str, value: Value| {
        line.insert(name.to_owned(), value);
    };
    put("branch", json!(branch.to_string_lossy()));
    put("name", json!(plink.plink.name().to_string()));
    put("number", json!(plink.plink.number));
    put("copy", json!(plink.plink.copy));
    put("standing", json!(word(plink.standing)));
    put("size", json!(plink.attr.map(|attr| attr.size)));
    put("below", json!(plink.below));
    let lossy = |name: &Vec<u8>| String::from_utf8_lossy(name).into_owned();
    let names: Vec<_> = plink.names.iter().map(lossy).collect();
    put("names", json!(names));
    if plink
        .names
        .iter()
        .any(|name| std::str::from_utf8(name).is_err())
    {
        let escaped = plink
            .names
            .iter()
            .map(|name| name.escape_ascii().to_string());
        put("names_escaped", json!(escaped.collect::<Vec<_>>()));
    }
    Value::Object(line).to_string()
}

/// What came of a flush.
pub(super) fn flushed(branch: &Path, flushed: &Flushed) -> Vec<String> {
    let names = counted(flushed.names, "name was", "names were");
    let plinks = counted(flushed.plinks, "pseudo-link", "pseudo-links");
    let branch = shown(branch);
    let mut lines = vec![format!("{branch}: {names} linked, {plinks} removed")];
    for plink in &flushed.kept {
        let name = plink.name();
        lines.push(format!(
            "{branch}: {name} is left: no name that shows is its original's; name all branches \
             below, in their order, or, if its other names are hidden or gone, say --all"
        ));
    }
    if flushed.others > 0 {
        let others = counted(flushed.others, "entry is", "entries are");
        lines.push(format!(
            "{branch}: {others} left that means nothing here; see ufs plink list"
        ));
    }
    lines
}
