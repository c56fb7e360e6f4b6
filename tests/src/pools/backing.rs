//! What a branch of a pool is stored on.

use std::fmt::Debug;
use std::sync::Arc;

use overlay_core::Dialect;
use overlay_core::layer::mem::MemStorage;
use overlay_core::layer::{Storage, WritableStorage};
use overlay_core::spec::{Dir, Stored};

use crate::{load, materialize};

/// Stores one branch, which is read or written by turns.
pub trait Backing: Debug + Send + Sync + Sized + 'static {
    /// Stores `root`, and says that so many bytes are available where it can.
    fn new(root: &Dir<Stored>, free: u64) -> Self;
    /// The branch, to be written.
    fn writable(&self, dialect: Dialect) -> Arc<dyn WritableStorage>;
    /// The branch, to be read.
    fn readable(&self) -> Arc<dyn Storage>;
    /// Lets go of what is open, before the branch is mounted anew.
    fn close(&self) {}
    /// What is stored.
    fn load(&self, index: usize) -> Dir<Stored>;
    /// What lies in the work area and should not.
    fn litter(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A branch in memory.
#[derive(Debug)]
pub struct Memory(Arc<MemStorage>);

impl Backing for Memory {
    fn new(root: &Dir<Stored>, free: u64) -> Memory {
        let storage = MemStorage::new();
        materialize::in_storage(&*WritableStorage::root(&*storage), root);
        storage.say_available(free);
        Memory(storage)
    }

    fn writable(&self, _dialect: Dialect) -> Arc<dyn WritableStorage> {
        Arc::clone(&self.0) as _
    }

    fn readable(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.0) as _
    }

    fn load(&self, index: usize) -> Dir<Stored> {
        load::from_storage(&*Storage::root(&*self.0), index)
    }
}
