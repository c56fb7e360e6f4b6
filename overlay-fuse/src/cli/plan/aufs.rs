//! The words of an aufs mount as values: `br:/rw=rw:/ro=ro+wh,udba=reval`.
//!
//! Reads and answers; opens nothing, and mounts nothing: `docs/aufs.md` says of
//! every option what becomes of it. What is refused by name is refused here. The rules are those of `aufs(5)` and `fs/aufs/opts.c`, with
//! two exceptions.
//!
//! - What aufs ignores with a line in the kernel's log is an error: an unknown
//!   permission or attribute, one that does not fit, an option that it has
//!   kept for old scripts.
//! - aufs has no escapes: no path may hold a comma, a colon or `=`. Here a
//!   backslash takes away their meaning, and its own, as in all lists.
//!
//! ```
//! use overlay_fuse::cli::aufs::{AufsMount, MountAccess, read};
//!
//! let words = read("br:/rw:/base=ro+wh,create=mfs:60,append:/more".as_ref())?;
//! let mount = AufsMount::new(words, MountAccess::ReadWrite)?;
//! let branches: Vec<_> = mount.branches.iter().map(|b| b.written()).collect();
//! assert_eq!(branches, ["/rw=rw", "/base=ro+wh", "/more=ro"]);
//! assert_eq!(mount.create.to_string(), "mfs:60");
//! # Ok::<(), overlay_fuse::cli::UsageError>(())
//! ```

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use overlay_core::policy::{CopyUpPolicy, CreatePolicy};

use super::super::escape::options_in;
use super::UsageError;
use super::options::Given;

mod branch;
mod mount;
mod permission;
mod rows;
mod table;

#[cfg(test)]
mod tests;

pub use branch::{BranchWord, Change};
pub use mount::{AufsMount, Branch, MountAccess};
pub use permission::{ATTRIBUTES, Access, Attribute, AttributeRow, Fits, Permission};
pub use rows::OPTIONS;
use table::Meaning;
pub use table::{Here, OptionRow};

/// One option of an aufs mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// `br:` and its other names: branches, top first, below those given
    /// before.
    Branches(Vec<BranchWord>),
    /// A change of the branches.
    Change(Change),
    /// Anything else.
    Setting(Setting),
    /// A word that says how it is in any case.
    Anyway(&'static str),
}

/// An option that is no branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    /// `create=`
    Create(CreatePolicy),
    /// `cpup=`
    CopyUp(CopyUpPolicy),
    /// `xino=PATH`; `None` for `noxino`.
    Xino(Option<PathBuf>),
    /// `plink`, `noplink`
    PseudoLinks(Switch),
    /// `udba=`
    Udba(Udba),
    /// `diropq=`
    Opaque(Opaque),
    /// `dirwh=`: a removed directory with so many whiteouts or more is cleared
    /// later.
    DirWh(u32),
    /// `shwh`, `noshwh`
    ShowWhiteouts(Switch),
    /// `sum`, `wsum`, `nosum`
    Sum(Sum),
    /// `acl`, `noacl`
    Acl(Switch),
    /// `rdcache=`, in seconds.
    RdCache(u32),
    /// `warn_perm`, `nowarn_perm`
    WarnPerm(Switch),
    /// `verbose`, `noverbose`
    Verbose(Switch),
}

/// Whether something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// It is.
    On,
    /// It is not.
    Off,
}

/// When changes of a branch by others are seen ("users' direct branch
/// access").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Udba {
    /// Never.
    None,
    /// When a name is looked up.
    #[default]
    Reval,
    /// When they happen.
    Notify,
}

/// Which new directories are opaque.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Opaque {
    /// All.
    Always,
    /// Those that take the place of a whiteout.
    #[default]
    Whiteouted,
}

/// Whose sizes `statfs(2)` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sum {
    /// The first branch's.
    #[default]
    First,
    /// The sum of all branches.
    All,
    /// The sum of the writable ones.
    Writable,
}

/// Whether one of the options in the value of an `-o` names branches: then it is
/// a mount by aufs' words.
pub fn names_branches(list: &OsStr) -> bool {
    let words = options_in(list);
    words.iter().any(|word| {
        let (name, value) = halves(word);
        value.is_some() && table::names_branches(name)
    })
}

/// Whether an option is one of aufs, and not one that `mount(8)` or an overlay has,
/// too, and so may come with a remount that is about the mount alone.
pub(super) fn is_about_branches(word: &OsStr) -> bool {
    let name = halves(word).0;
    let settled = [&b"udba"[..], b"noacl"].contains(&name);
    is_own(word) && (settled || super::options::find(name).is_none())
}

/// Whether an option is known, of whatever mount.
pub(super) fn is_known(word: &OsStr) -> bool {
    is_own(word) || super::options::find(halves(word).0).is_some()
}

/// Whether an option is one of aufs.
pub(super) fn is_own(word: &OsStr) -> bool {
    let (name, value) = halves(word);
    table::knows(name, value.is_some())
}

/// The option, if it is one of aufs; others are those of any mount.
pub(super) fn read_own(word: &OsStr) -> Option<Result<Word, UsageError>> {
    let (name, value) = halves(word);
    table::knows(name, value.is_some()).then(|| read_word(word))
}

/// The name, and what follows the first `=` or `:`.
fn halves(word: &OsStr) -> (&[u8], Option<&OsStr>) {
    let bytes = word.as_bytes();
    match bytes.iter().position(|byte| matches!(byte, b'=' | b':')) {
        Some(end) => (&bytes[..end], Some(OsStr::from_bytes(&bytes[end + 1..]))),
        None => (bytes, None),
    }
}

/// The options in the value of one `-o`, in their order.
///
/// Fails with a sentence that says what to write instead.
pub fn read(list: &OsStr) -> Result<Vec<Word>, UsageError> {
    let words = options_in(list);
    // Between two commas, or at the end of a list.
    let words = words.iter().filter(|word| !word.is_empty());
    words.map(|word| read_word(word)).collect()
}

/// One option. The name ends at the first `=` or, for what names branches,
/// `:`.
fn read_word(word: &OsStr) -> Result<Word, UsageError> {
    let (name, value) = halves(word);
    let unknown = || UsageError::Unknown(word.to_owned());
    let row = table::find(name, value.is_some()).ok_or_else(unknown)?;
    let colon = value.is_some() && word.as_bytes().get(name.len()) == Some(&b':');
    match (&row.meaning, value) {
        (Meaning::Branches(_), _) => {}
        _ if colon => return Err(unknown()),
        _ => {}
    }
    match (&row.meaning, value) {
        (Meaning::Word(setting), None) => Ok(Word::Setting(setting())),
        (Meaning::Anyway, None) => Ok(Word::Anyway(row.name())),
        (Meaning::Word(_) | Meaning::Anyway, Some(_)) => Err(UsageError::Value(word.to_owned())),
        (Meaning::Refused, _) => Err(UsageError::Unsupported(word.to_owned(), row.here.why())),
        (Meaning::Branches(_) | Meaning::Value(_), None) => {
            Err(UsageError::NoValue(row.name(), row.value))
        }
        (Meaning::Branches(read), Some(value)) => {
            not_empty(row, value)?;
            read(&Given::new(row.name(), word, value))
        }
        (Meaning::Value(read), Some(value)) => {
            not_empty(row, value)?;
            read(&Given::new(row.name(), word, value)).map(Word::Setting)
        }
    }
}

fn not_empty(row: &OptionRow, value: &OsStr) -> Result<(), UsageError> {
    match value.is_empty() {
        true => Err(UsageError::NoValue(row.name(), row.value)),
        false => Ok(()),
    }
}
