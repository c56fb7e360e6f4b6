//! What a core subject stands on: layers in memory, or in directories.

use std::fmt;
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::Arc;

use overlay_core::Stack;
use overlay_core::layer::dir::{Descriptors, DirStorage, DirUpper};
use overlay_core::layer::mem::MemStorage;
use overlay_core::layer::{RawEntry, Removal, Storage, WritableNode, WritableStorage};
use overlay_core::spec::{Config, Dir, Index, Stored, Switch};

use crate::load::Layer;
use crate::scratch::Scratch;
use crate::subject::ours;
use crate::{index, load, materialize};

/// How a core subject reaches the storage that it stands on.
pub trait Storages: fmt::Debug + Send + Sync {
    /// The stack as it is mounted, each time anew.
    fn stack(&self) -> Stack;
    /// Puts an empty layer on top, to be written; does nothing if the stack is
    /// read-only.
    fn rotate(&mut self);
    /// See [`Subject::stored`](crate::Subject::stored).
    fn stored(&self) -> Vec<Dir<Stored>>;
    /// See [`Subject::index`](crate::Subject::index).
    fn index(&self) -> Index {
        Index::new()
    }
    /// See [`Subject::litter`](crate::Subject::litter).
    fn litter(&self) -> Vec<String>;
    /// Whether all layers, also those to come, lie on one filesystem.
    fn on_one_filesystem(&self) -> bool {
        true
    }
    /// Whether the layers say which numbers their objects have.
    fn keeps_numbers(&self) -> bool {
        true
    }
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

    fn index(&self) -> Index {
        S::index(self)
    }

    fn litter(&self) -> Vec<String> {
        S::litter(self)
    }

    fn on_one_filesystem(&self) -> bool {
        S::on_one_filesystem(self)
    }

    fn keeps_numbers(&self) -> bool {
        S::keeps_numbers(self)
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
    config: Config,
}

impl InMemory {
    /// Stores `layers`, given top first.
    pub fn new(layers: &[Dir<Stored>], writable: bool) -> InMemory {
        InMemory::with(layers, writable, Config::default())
    }

    /// The same as a mount with these options wants it.
    pub fn with(layers: &[Dir<Stored>], writable: bool, config: Config) -> InMemory {
        let namespace = config.namespace;
        let store = |layer: &Dir<Stored>| {
            let storage = MemStorage::new();
            let root = WritableStorage::root(&*storage);
            materialize::in_storage_as(&*root, layer, namespace);
            storage
        };
        InMemory {
            layers: layers.iter().map(store).collect(),
            writable,
            config,
        }
    }

    /// The storages, top first.
    pub fn layers(&self) -> &[Arc<MemStorage>] {
        &self.layers
    }
}

impl Storages for InMemory {
    fn stack(&self) -> Stack {
        let dialect = ours::dialect(self.config);
        let shown = self.layers.len() - self.config.data_only;
        let mut stack = Stack::new();
        for (index, layer) in self.layers.iter().cloned().enumerate() {
            stack = match index {
                0 if self.writable => stack.upper_as(layer, dialect),
                _ if index >= shown => stack.data_only(layer),
                _ => stack.lower_as(layer, dialect),
            };
        }
        stack
    }

    fn rotate(&mut self) {
        if let (true, Some(below)) = (self.writable, self.layers.first()) {
            let namespace = self.config.namespace;
            let layer = Layer {
                index: 1,
                namespace,
            };
            empty(&*WritableStorage::index(&**below).unwrap());
            let below = load::from_storage(&*Storage::root(&**below), layer);
            let storage = MemStorage::new();
            let root = WritableStorage::root(&*storage);
            materialize::in_storage_as(&*root, &materialize::empty(below), namespace);
            self.layers.insert(0, storage);
        }
    }

    fn stored(&self) -> Vec<Dir<Stored>> {
        let namespace = self.config.namespace;
        let load = |(index, layer): (usize, &Arc<MemStorage>)| {
            load::from_storage(&*Storage::root(&**layer), Layer { index, namespace })
        };
        self.layers.iter().enumerate().map(load).collect()
    }

    fn index(&self) -> Index {
        let lowers = self.layers.iter().skip(1);
        let lowers: Vec<_> = lowers.map(|layer| Storage::root(&**layer)).collect();
        match (self.config.index, self.layers.first()) {
            (Switch::On, Some(top)) if self.writable => {
                let dir = WritableStorage::index(&**top).unwrap();
                index::from_storage(&*dir, &lowers, self.config.namespace)
            }
            (Switch::On | Switch::Off, _) => Index::new(),
        }
    }

    /// A work area in memory has no names that could be left behind.
    fn litter(&self) -> Vec<String> {
        Vec::new()
    }

    fn on_one_filesystem(&self) -> bool {
        false
    }
}

/// An index belongs to its layer, as long as that is written.
fn empty(index: &dyn WritableNode) {
    let mut names = Vec::new();
    let mut each = |entry: RawEntry<'_>| {
        names.push(entry.name.to_owned());
        ControlFlow::Continue(())
    };
    index.entries(&mut each).unwrap();
    for name in names {
        index.remove(&name, Removal::NonDirectory, None).unwrap();
    }
}

/// Layers in directories of the host.
#[derive(Debug)]
pub struct OnDirectories {
    scratch: Scratch,
    writable: bool,
    config: Config,
}

impl OnDirectories {
    /// Stores `layers`, given top first.
    pub fn new(layers: &[Dir<Stored>], writable: bool) -> OnDirectories {
        OnDirectories::with(layers, writable, Config::default())
    }

    /// The same for layers that no overlayfs has written.
    pub fn foreign(layers: &[Dir<Stored>], writable: bool) -> OnDirectories {
        OnDirectories::over(Scratch::foreign(layers), writable, Config::default())
    }

    /// The same as a mount with these options wants it.
    pub fn with(layers: &[Dir<Stored>], writable: bool, config: Config) -> OnDirectories {
        OnDirectories::over(Scratch::with(layers, config), writable, config)
    }

    /// What lies in `scratch` already.
    pub fn over(scratch: Scratch, writable: bool, config: Config) -> OnDirectories {
        OnDirectories {
            scratch,
            writable,
            config,
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
        stack_as(self.scratch.path(), self.writable, lowers, self.config)
    }

    fn rotate(&mut self) {
        if self.writable {
            self.scratch.rotate();
        }
    }

    fn stored(&self) -> Vec<Dir<Stored>> {
        self.scratch.load()
    }

    fn index(&self) -> Index {
        match self.config.index {
            Switch::On => self.scratch.index(),
            Switch::Off => Index::new(),
        }
    }

    fn on_one_filesystem(&self) -> bool {
        self.scratch.on_one_filesystem()
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
    stack_as(home, writable, lowers, Config::default())
}

/// The same as a mount with these options wants it.
pub fn stack_as(home: &Path, writable: bool, lowers: Range<usize>, config: Config) -> Stack {
    let budget = Descriptors::new(16);
    let dialect = ours::dialect(config);
    let shown = lowers.end - config.data_only;
    let mut stack = Stack::new();
    if writable {
        let upper = DirUpper::open(&home.join("0"), &home.join("work"), &budget);
        stack = stack.upper_as(upper.unwrap(), dialect);
    }
    for index in lowers {
        let lower = DirStorage::open(&home.join(index.to_string()), &budget).unwrap();
        stack = match index < shown {
            true => stack.lower_as(lower, dialect),
            false => stack.data_only(lower),
        };
    }
    stack
}
