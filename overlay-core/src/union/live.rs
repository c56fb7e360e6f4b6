//! A union whose branches change while it is in use.
//!
//! Owns one lock, outside all others: whoever does something with the union
//! holds it for reading, from the first look at an inode to the end; a change
//! of the branches holds it for writing. So a change is seen as a whole, and by
//! no request in its middle.

use std::ops::Deref;
use std::sync::Arc;

use parking_lot::{RwLock, RwLockReadGuard};

use super::{Options, Union};
use crate::error::Result;
use crate::stack::Stack;

/// A union whose branches may change.
///
/// ```
/// use overlay_core::union::Live;
/// use overlay_core::{MemStorage, Name, Stack, Union};
///
/// let below = MemStorage::new();
/// below.write("hello", b"world")?;
/// let live = Live::new(Union::new(Stack::new().upper(MemStorage::new()))?);
/// let name = Name::new(b"hello")?;
/// assert!(live.now().lookup(&live.now().root(), name)?.is_none());
///
/// live.change(|stack| Ok(stack.lower(below)))?;
/// assert!(live.now().lookup(&live.now().root(), name)?.is_some());
/// # Ok::<(), overlay_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Live {
    union: RwLock<Arc<Union>>,
}

/// The union as it is now; its branches do not change while this lives.
///
/// One thread must not hold two: a change that waits between them would wait
/// for ever.
#[derive(Debug)]
pub struct Now<'a>(RwLockReadGuard<'a, Arc<Union>>);

impl Deref for Now<'_> {
    type Target = Arc<Union>;

    fn deref(&self) -> &Arc<Union> {
        &self.0
    }
}

impl Live {
    /// A union that may change from now on.
    pub fn new(union: Arc<Union>) -> Live {
        Live {
            union: RwLock::new(union),
        }
    }

    /// The union as it is. Waits while it changes.
    pub fn now(&self) -> Now<'_> {
        Now(self.union.read())
    }

    /// Changes the branches: `edit` gets the stack as it is, and returns it as
    /// it is to be. Waits for all that is under way, and all that comes waits
    /// for it. Objects that show where they did, on a branch that is still
    /// there, keep their inode numbers; what is open stays open.
    ///
    /// Inodes of before mean nothing to the union after: find them by their
    /// numbers ([`Union::recall`]). Open handles go on as they are.
    ///
    /// Errors: [`Error::InUse`](crate::Error::InUse) if a file is open on a
    /// branch that is to go, or open for writing on one that is not to be
    /// written any more; what `edit` and [`Union::with_options`] answer. Then
    /// nothing has changed.
    pub fn change(&self, edit: impl FnOnce(Stack) -> Result<Stack>) -> Result<()> {
        self.change_with(|stack, options| Ok((edit(stack)?, options)))
    }

    /// As [`Live::change`], with the options that were asked for.
    pub fn change_with(
        &self,
        edit: impl FnOnce(Stack, Options) -> Result<(Stack, Options)>,
    ) -> Result<()> {
        let mut union = self.union.write();
        let (stack, options) = edit(union.stack().clone(), union.asked)?;
        let after = union.replaced_by(stack, options)?;
        let before = std::mem::replace(&mut *union, after);
        drop(union);
        // The inodes that nobody uses any more: not under the lock.
        drop(before);
        Ok(())
    }
}
