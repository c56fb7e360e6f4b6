//! A union filesystem as a library.

pub mod attr;
pub mod dialect;
pub mod error;
pub mod fs;
pub mod layer;
pub mod name;
mod policy;
pub mod spec;
pub mod stack;
pub mod sys;
pub mod union;

pub use attr::{Attr, FileKind, Owner, SetAttr, SetTime, StatFs, Timestamp};
pub use dialect::{Dialect, Namespace};
pub use error::{Errno, Error, Result};
pub use layer::mem::MemStorage;
pub use name::{Name, NameBuf};
pub use stack::directories::{Directories, SetupError};
pub use stack::{Branch, BranchId, Stack, Store};
pub use union::{Caller, Union};
