//! Branches as they are written, and changes of them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use overlay_core::stack::mounts::unescape_option as unescape;

use super::super::super::escape::split;
use super::super::UsageError;
use super::super::options::Given;
use super::Permission;

/// `DIR` or `DIR=PERMISSION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BranchWord {
    /// The directory, without its escapes.
    pub path: PathBuf,
    /// What was said of it; see [`AufsMount`](super::AufsMount) for what it is
    /// otherwise.
    pub permission: Option<Permission>,
}

/// A change of the branches, at the mount or later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// `add:INDEX:BRANCH`: the branch at this place is, with all below it, one
    /// further down then.
    Add(usize, BranchWord),
    /// `append:BRANCH`
    Append(BranchWord),
    /// `prepend:BRANCH`
    Prepend(BranchWord),
    /// `del:DIR`
    Delete(PathBuf),
    /// `mod:DIR=PERMISSION`
    Modify(PathBuf, Permission),
}

impl BranchWord {
    /// Reads one entry of a list, still escaped.
    pub(super) fn read(given: &Given<'_>, part: &OsStr) -> Result<BranchWord, UsageError> {
        let halves = split(part, b'=');
        let (path, permission) = match halves.as_slice() {
            [path] => (path, None),
            [path, permission] => (path, Some(permission)),
            _ => return Err(given.wrong(equals(part))),
        };
        if path.is_empty() {
            return Err(given.wrong("a branch has no directory: write DIR or DIR=PERMISSION"));
        }
        let permission = match permission {
            Some(text) => {
                let text = text.to_string_lossy();
                let read = Permission::read(&text);
                Some(read.map_err(|why| given.wrong(why))?)
            }
            None => None,
        };
        Ok(BranchWord {
            path: unescape(path).into(),
            permission,
        })
    }
}

fn equals(part: &OsStr) -> String {
    let part = part.display();
    format!(r"the branch {part} has two '=': write '\=' for one that belongs to its directory")
}

/// `DIR=PERMISSION` with the escapes that [`read`](super::read) takes away.
pub(super) fn written(path: &Path, permission: &Permission) -> OsString {
    let mut out = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        if matches!(byte, b'\\' | b',' | b':' | b'=') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.extend(format!("={permission}").into_bytes());
    OsString::from_vec(out)
}

/// `BRANCH[:BRANCH...]`
pub(super) fn list(given: &Given<'_>) -> Result<Vec<BranchWord>, UsageError> {
    let parts = split(given.list(), b':');
    let read = |part: &OsString| BranchWord::read(given, part);
    parts.iter().map(read).collect()
}

/// `BRANCH` alone.
pub(super) fn one(given: &Given<'_>) -> Result<BranchWord, UsageError> {
    match split(given.list(), b':').as_slice() {
        [part] => BranchWord::read(given, part),
        _ => Err(given.wrong(
            r"it takes one branch: repeat the option for more, or write '\:' for a ':' in a directory",
        )),
    }
}

/// `INDEX:BRANCH`
pub(super) fn indexed(given: &Given<'_>) -> Result<Change, UsageError> {
    const FORM: &str = "write INDEX:DIR[=PERMISSION], with 0 for the top";
    match split(given.list(), b':').as_slice() {
        [index, part] => {
            let index = index.to_str().filter(|text| is_decimal(text));
            let index = index.and_then(|text| text.parse().ok());
            let index = index.ok_or_else(|| given.wrong(FORM))?;
            Ok(Change::Add(index, BranchWord::read(given, part)?))
        }
        _ => Err(given.wrong(FORM)),
    }
}

/// `DIR` without a permission.
pub(super) fn directory(given: &Given<'_>) -> Result<Change, UsageError> {
    let BranchWord { path, permission } = one(given)?;
    match permission {
        None => Ok(Change::Delete(path)),
        Some(_) => Err(given.wrong("a branch is removed by its directory alone: leave '=' out")),
    }
}

/// `DIR=PERMISSION`
pub(super) fn modified(given: &Given<'_>) -> Result<Change, UsageError> {
    let BranchWord { path, permission } = one(given)?;
    let missing = || given.wrong("it needs the new permission: write DIR=rw, DIR=ro or DIR=rr");
    Ok(Change::Modify(path, permission.ok_or_else(missing)?))
}

/// `parse` takes a sign too.
pub(super) fn is_decimal(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}
