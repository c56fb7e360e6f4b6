//! A union filesystem as a library: several trees shown as one, with the rules
//! and the marks on disk of OverlayFS.
//!
//! To use it, start at [`fs`], which has the manners of `std::fs`, or at
//! [`Directories`], which opens a stack from host paths with all its checks.
//!
//! To read it, go from the bottom up; a module uses only those before it:
//!
//! | module | what it is about |
//! |---|---|
//! | [`name`], [`attr`], [`error`], [`how`], [`handle`] | the words: names are bytes, errors have one errno |
//! | [`sys`] | system calls, one a function; the only unsafe code |
//! | [`layer`] | what one branch stores: objects and how they change, on disk ([`layer::dir`]) or in memory ([`layer::mem`]) |
//! | [`watch`] | being told what others change in directories |
//! | [`dialect`] | how whiteouts and opaque directories look on a branch |
//! | [`stack`], [`policy`] | the branches, top first, and which one takes changes |
//! | [`check`] | a stack that nobody uses looked over, and repaired |
//! | [`convert`] | a branch that nobody uses rewritten in the other dialect |
//! | [`union`] | the engine: lookup, listing, copy-up, rename, one verb a file |
//! | [`fs`] | paths and files over it |
//!
//! Beside them stands [`spec`], the semantics as pure functions: the page to
//! read first for what a union is, and the oracle of the tests. The engine
//! does not know it.

pub mod attr;
pub mod check;
pub mod convert;
pub mod dialect;
pub mod error;
pub mod fs;
pub mod handle;
pub mod how;
pub mod layer;
pub mod name;
pub mod policy;
pub mod spec;
pub mod stack;
pub mod sys;
pub mod union;
pub mod watch;

pub use attr::{Attr, FileKind, Owner, Protection, SetAttr, SetTime, StatFs, Timestamp};
pub use dialect::{Dialect, Namespace};
pub use error::{Errno, Error, IndexFault, Result};
pub use handle::FileHandle;
pub use layer::mem::MemStorage;
pub use name::{Name, NameBuf};
pub use stack::directories::{Directories, SetupError};
pub use stack::{Branch, BranchId, Stack, Store};
pub use union::{Caller, Union};
