//! Which branch takes new objects and copies.
//!
//! In an overlay stack there is no choice: the one writable branch, on top.
//! The question is asked here all the same, so that several writable branches
//! and the policies of aufs have their place.

use std::sync::Arc;

use crate::dialect::{Dialect, WhiteoutForm};
use crate::error::{Error, Result};
use crate::layer::{New, WritableStorage};
use crate::stack::{Stack, Store};

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
