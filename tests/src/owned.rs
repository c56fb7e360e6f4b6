//! Storages whose writable branch keeps owners, modes and kinds in an
//! attribute: for whoever looks at them through it, nothing is different.

use std::sync::Arc;

use overlay_core::layer::Storage;
use overlay_core::layer::owners::{self, Attribute, Owners};
use overlay_core::spec::{Dir, Stored};
use overlay_core::{Stack, Store};
use parking_lot::Mutex;

use crate::load;
use crate::subject::core::storages::Storages;

/// Wraps the writable branch of what `inner` holds.
#[derive(Debug)]
pub struct OwnedStorages<S> {
    inner: S,
    attribute: Attribute,
    /// The stack in use: what lies on disk is read through it, for a branch
    /// cannot be opened twice.
    current: Mutex<Stack>,
}

impl<S: Storages> OwnedStorages<S> {
    /// Owners in `attribute`.
    pub fn new(inner: S, attribute: Attribute) -> OwnedStorages<S> {
        OwnedStorages {
            inner,
            attribute,
            current: Mutex::new(Stack::new()),
        }
    }
}

impl<S: Storages> Storages for OwnedStorages<S> {
    fn stack(&self) -> Stack {
        // Closed before it is opened anew.
        *self.current.lock() = Stack::new();
        let inner = self.inner.stack();
        let branches = inner.branches().iter();
        let stack = branches.fold(Stack::new(), |stack, branch| match &branch.storage {
            Store::ReadOnly(storage) => {
                let storage: Arc<dyn Storage> = Arc::clone(storage);
                stack.lower_as(storage, branch.dialect)
            }
            Store::Writable(storage) => {
                let owners = Owners::In(self.attribute);
                let storage = owners::writable(Arc::clone(storage), owners);
                stack.upper_as(storage, branch.dialect)
            }
        });
        *self.current.lock() = stack.clone();
        stack
    }

    fn rotate(&mut self) {
        unreachable!("only histories without rotation are run on these");
    }

    fn stored(&self) -> Vec<Dir<Stored>> {
        let stack = self.current.lock().clone();
        let branches = stack.branches().iter().enumerate();
        branches
            .map(|(index, branch)| load::from_storage(&*branch.storage.root(), index))
            .collect()
    }

    fn litter(&self) -> Vec<String> {
        self.inner.litter()
    }
}
