//! What a core subject stands on: layers in memory, or in directories.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use overlay_core::Stack;
use overlay_core::layer::dir::{Descriptors, DirStorage, DirUpper};
use overlay_core::layer::mem::MemStorage;
use overlay_core::layer::{Storage, WritableStorage};
use overlay_core::spec::{Dir, Stored};

use crate::scratch::Scratch;
use crate::{load, materialize};

/// How a core subject reaches the storage that it stands on.
pub trait Storages: fmt::Debug + Send + Sync {
    /// The stack as it is mounted, each time anew.
    fn stack(&self) -> Stack;
    /// Puts an empty layer on top, to be written; does nothing if the stack is
    /// read-only.
    fn rotate(&mut self);
    /// See [`Subject::stored`](crate::Subject::stored).
    fn stored(&self) -> Vec<Dir<Stored>>;
    /// See [`Subject::litter`](crate::Subject::litter).
    fn litter(&self) -> Vec<String>;
}

impl<S: Storages> Storages for Arc<S> {
    /// Only where nobody shares them.
    fn rotate(&mut self) {
        let storages = Arc::get_mut(self).expect("storages that are shared do not rotate");
        storages.rotate();
    }

    fn stack(&self) -> Stack {
        S::stack(self)
    }

    fn stored(&self) -> Vec<Dir<Stored>> {
        S::stored(self)
    }

    fn litter(&self) -> Vec<String> {
        S::litter(self)
    }
}

/// Nothing: of a subject that shares another's mount.
#[derive(Debug)]
pub(super) struct Elsewhere;

impl Storages for Elsewhere {
    fn stack(&self) -> Stack {
        unreachable!("only the first process on a mount remounts")
    }

    fn rotate(&mut self) {
        unreachable!("only the first process on a mount remounts")
    }

    fn stored(&self) -> Vec<Dir<Stored>> {
        unreachable!("only the first process on a mount is asked")
    }

    fn litter(&self) -> Vec<String> {
        unreachable!("only the first process on a mount is asked")
    }
}

/// Layers in memory.
#[derive(Debug)]
pub struct InMemory {
    layers: Vec<Arc<MemStorage>>,
    writable: bool,
}

impl InMemory {
    /// Stores `layers`, given top first.
    pub fn new(layers: &[Dir<Stored>], writable: bool) -> InMemory {
        let store = |layer: &Dir<Stored>| {
            let storage = MemStorage::new();
            materialize::in_storage(&*WritableStorage::root(&*storage), layer);
            storage
        };
        InMemory {
            layers: layers.iter().map(store).collect(),
            writable,
        }
    }
}

impl Storages for InMemory {
    fn stack(&self) -> Stack {
        let mut layers = self.layers.iter().cloned();
        let stack = match (self.writable, layers.len()) {
            (true, 1..) => Stack::new().upper(layers.next().unwrap()),
            (true | false, _) => Stack::new(),
        };
        layers.fold(stack, |stack, layer| stack.lower(layer))
    }

    fn rotate(&mut self) {
        if let (true, Some(below)) = (self.writable, self.layers.first()) {
            let below = load::from_storage(&*Storage::root(&**below), 1);
            let storage = MemStorage::new();
            let root = WritableStorage::root(&*storage);
            materialize::in_storage(&*root, &materialize::empty(below));
            self.layers.insert(0, storage);
        }
    }

    fn stored(&self) -> Vec<Dir<Stored>> {
        let layers = self.layers.iter().enumerate();
        layers
            .map(|(index, layer)| load::from_storage(&*Storage::root(&**layer), index))
            .collect()
    }

    /// A work area in memory has no names that could be left behind.
    fn litter(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Layers in directories of the host.
#[derive(Debug)]
pub struct OnDirectories {
    scratch: Scratch,
    writable: bool,
}

impl OnDirectories {
    /// Stores `layers`, given top first.
    pub fn new(layers: &[Dir<Stored>], writable: bool) -> OnDirectories {
        OnDirectories {
            scratch: Scratch::new(layers),
            writable,
        }
    }

    /// Where they lie.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }
}

impl Storages for OnDirectories {
    fn stack(&self) -> Stack {
        let lowers = usize::from(self.writable)..self.scratch.layers();
        stack_in(self.scratch.path(), self.writable, lowers)
    }

    fn rotate(&mut self) {
        if self.writable {
            self.scratch.rotate();
        }
    }

    fn stored(&self) -> Vec<Dir<Stored>> {
        self.scratch.load()
    }

    fn litter(&self) -> Vec<String> {
        match self.writable {
            true => self.scratch.litter(),
            false => Vec::new(),
        }
    }
}

/// The stack that lies in `home` as a [`Scratch`] lays it out.
pub fn stack_in(home: &Path, writable: bool, lowers: Range<usize>) -> Stack {
    let budget = Descriptors::new(16);
    let stack = match writable {
        true => {
            let upper = DirUpper::open(&home.join("0"), &home.join("work"), &budget);
            Stack::new().upper(upper.unwrap())
        }
        false => Stack::new(),
    };
    lowers.fold(stack, |stack, index| {
        let lower = DirStorage::open(&home.join(index.to_string()), &budget);
        stack.lower(lower.unwrap())
    })
}
