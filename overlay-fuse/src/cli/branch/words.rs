//! Words of a remount as the server reads them: it knows no working directory
//! of whoever asks, so directories are made absolute.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::super::escape::options_in;
use super::super::plan::aufs::{BranchWord, Change, Permission, Word, read};
use super::super::{Failure, shown};

/// `branch`, as it stands on a command line, behind the word `before`.
pub(super) fn word(before: &str, branch: &OsString) -> Result<OsString, Failure> {
    let bytes = branch.as_bytes();
    // The permission has no slash, so the last `=` behind the last slash is it.
    let slash = bytes.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    let equals = bytes.iter().rposition(|byte| *byte == b'=');
    let (path, permission) = match equals.filter(|at| *at > slash || slash == 0) {
        Some(at) if !Path::new(branch).exists() => (&bytes[..at], &bytes[at..]),
        Some(_) | None => (bytes, &[][..]),
    };
    let path = Path::new(OsStr::from_bytes(path));
    let mut word = before.as_bytes().to_vec();
    word.extend(escaped(&real(path)?));
    word.extend(permission);
    Ok(OsString::from_vec(word))
}

/// The same for several.
pub(super) fn words(before: &str, branches: &[OsString]) -> Result<Vec<OsString>, Failure> {
    branches.iter().map(|branch| word(before, branch)).collect()
}

/// The options of a remount in `list`.
pub(super) fn absolute(list: &OsStr) -> Result<OsString, Failure> {
    let mut out = Vec::new();
    for option in options_in(list) {
        let words = read(&option).map_err(|error| Failure::Usage(error.to_string()))?;
        for word in words {
            out.push(match word {
                Word::Branches(branches) => {
                    let branches = branches.iter().map(written);
                    let branches: Vec<_> = branches.collect::<Result<_, _>>()?;
                    [&b"br:"[..], &branches.join(&b':')].concat()
                }
                Word::Change(change) => changed(&change)?,
                Word::Setting(_) | Word::Anyway(_) => option.as_bytes().to_vec(),
            });
        }
    }
    Ok(OsString::from_vec(out.join(&b',')))
}

fn changed(change: &Change) -> Result<Vec<u8>, Failure> {
    let (before, branch) = match change {
        Change::Add(at, branch) => (format!("add:{at}:"), written(branch)?),
        Change::Append(branch) => ("append:".to_owned(), written(branch)?),
        Change::Prepend(branch) => ("prepend:".to_owned(), written(branch)?),
        Change::Delete(path) => ("del:".to_owned(), escaped(&real(path)?)),
        Change::Modify(path, permission) => ("mod:".to_owned(), permitted(path, Some(permission))?),
    };
    Ok([before.into_bytes(), branch].concat())
}

fn written(branch: &BranchWord) -> Result<Vec<u8>, Failure> {
    permitted(&branch.path, branch.permission.as_ref())
}

fn permitted(path: &Path, permission: Option<&Permission>) -> Result<Vec<u8>, Failure> {
    let mut out = escaped(&real(path)?);
    if let Some(permission) = permission {
        out.extend(format!("={permission}").into_bytes());
    }
    Ok(out)
}

/// A branch that goes may be gone from the host.
fn real(path: &Path) -> Result<PathBuf, Failure> {
    let real = fs::canonicalize(path).or_else(|_| std::path::absolute(path));
    real.map_err(|error| Failure::Task(format!("{} cannot be found ({error})", shown(path))))
}

fn escaped(path: &Path) -> Vec<u8> {
    let mut out = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        if matches!(byte, b'\\' | b',' | b':' | b'=') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn directories_become_absolute_and_all_else_stays() {
        let here = std::env::current_dir().unwrap();
        let here = here.to_str().unwrap();
        for (list, expected) in [
            ("append:no,create=mfs", "append:HERE/no,create=mfs"),
            ("add:2:/a\\,b=ro+wh,sum", "add:2:/a\\,b=ro+wh,sum"),
            ("del:no,mod:/b=rw+nolwh", "del:HERE/no,mod:/b=rw+nolwh"),
            ("br=/x:y=rw,noxino", "br:/x:HERE/y=rw,noxino"),
            ("prepend=z,xino=w", "prepend:HERE/z,xino=w"),
        ] {
            let list = absolute(list.as_ref()).unwrap();
            assert_eq!(list.to_str().unwrap(), expected.replace("HERE", here));
        }
        assert!(matches!(
            absolute("bogus".as_ref()),
            Err(Failure::Usage(why)) if why.contains("bogus")
        ));
    }

    #[test]
    fn a_permission_follows_the_last_equals_sign_of_a_name() {
        for (branch, expected) in [
            ("/a=b/c", "append:/a\\=b/c"),
            ("/a=b/c=ro+wh", "append:/a\\=b/c=ro+wh"),
            ("/x:y,z=rw", "append:/x\\:y\\,z=rw"),
        ] {
            assert_eq!(word("append:", &branch.into()).unwrap(), expected);
        }
    }
}
