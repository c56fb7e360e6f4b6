//! How an operation is to be done, and what a listing gives: the words that
//! system calls, layers and the union have in common.

use crate::attr::FileKind;
use crate::name::Name;

/// One entry of a directory as a branch lists it.
#[derive(Debug, Clone, Copy)]
pub struct RawEntry<'a> {
    /// The name.
    pub name: &'a Name,
    /// The kind, where the filesystem tells it (`d_type` may be unknown).
    pub kind: Option<FileKind>,
    /// The inode number within the branch (`d_ino`).
    pub ino: u64,
}

/// What a rename does with the target name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenameMode {
    /// Replace what is there, as `rename(2)`.
    Replace,
    /// `EEXIST` if something is there (`RENAME_NOREPLACE`).
    NoReplace,
    /// Swap the two, which must both be there (`RENAME_EXCHANGE`).
    Exchange,
    /// Replace, and leave a whiteout (device 0:0) at the old name in the same
    /// step (`RENAME_WHITEOUT`).
    Whiteout,
}

/// Whether setting an extended attribute may create or replace it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetXattr {
    /// Either.
    Any,
    /// `EEXIST` if it is set already (`XATTR_CREATE`).
    Create,
    /// `ENODATA` if it is not set (`XATTR_REPLACE`).
    Replace,
}

/// What a seek looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeekTo {
    /// `SEEK_DATA`
    Data,
    /// `SEEK_HOLE`
    Hole,
}
