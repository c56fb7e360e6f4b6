//! Which branch takes new objects and copies.
//!
//! In an overlay stack there is no choice: the one writable branch, on top.
//! `target` answers for it, and asks nobody.
//!
//! Where several branches are writable, a [`Chooser`] decides by the policies
//! of aufs and mergerfs. They stand in one table ([`CREATE`], [`COPY_UP`]),
//! which the parser and the documentation share. Nothing here looks at a disk:
//! a policy asks [`Candidate`]s, and only what it needs, since each question is
//! a system call to somebody. What overrides all of them is [`constrain`].
//!
//! No mount uses a chooser yet.
//!
//! Locks: the last look at the free space, a leaf; never held while a
//! candidate is asked.
//!
//! ```
//! use overlay_core::policy::CreatePolicy;
//! let policy: CreatePolicy = "mfsrr:10M:60".parse()?;
//! assert_eq!(policy.to_string(), "mfsrr:10485760:60");
//! let error = "mspmfs".parse::<CreatePolicy>().unwrap_err();
//! assert!(error.to_string().contains("write epmfs"));
//! # Ok::<(), overlay_core::policy::PolicyError>(())
//! ```

use std::sync::Arc;

use crate::dialect::{Dialect, WhiteoutForm};
use crate::error::{Error, Result};
use crate::layer::{New, WritableStorage};
use crate::stack::{Stack, Store};

mod candidate;
mod choose;
mod constrain;
mod copy_up;
mod create;
mod look;
mod table;
mod words;

#[cfg(test)]
mod tests;

pub use candidate::{Candidate, Place, Space};
pub use choose::Chooser;
pub use constrain::constrain;
pub use table::{
    Arguments, COPY_UP, CREATE, CopyUpRow, CopyUpRule, CreateRow, CreateRule, REFUSED, Refused,
    WhenFull,
};
pub use words::{CopyUpPolicy, CreatePolicy, PolicyError, SECONDS, SECONDS_MAX};

/// The branch that takes what is written.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Where it is stored.
    pub storage: Arc<dyn WritableStorage>,
    /// How marks are encoded there.
    pub dialect: Dialect,
    /// What a whiteout is there: the dialect and the filesystem have a say.
    pub whiteouts: WhiteoutForm,
}

impl Target {
    /// The object that hides a name.
    pub fn whiteout(&self) -> New<'static> {
        self.dialect.whiteout(self.whiteouts)
    }
}

/// The branch that new objects and copies go to; `None` for a read-only stack.
///
/// Fails with `EOPNOTSUPP` for a writable branch that is not on top.
pub(crate) fn target(stack: &Stack) -> Result<Option<Target>> {
    let mut target = None;
    for (depth, branch) in stack.branches().iter().enumerate() {
        match &branch.storage {
            Store::ReadOnly(_) => {}
            Store::Writable(storage) if depth == 0 => {
                target = Some(Target {
                    storage: Arc::clone(storage),
                    dialect: branch.dialect,
                    whiteouts: branch.dialect.whiteout_form(storage.capabilities()),
                });
            }
            Store::Writable(_) => {
                return Err(Error::Unsupported("only the top branch can be writable"));
            }
        }
    }
    Ok(target)
}
