//! The branches as a check goes through them.

use std::sync::Arc;

use crate::attr::Attr;
use crate::dialect::{Dialect, Opacity};
use crate::error::{Error, Result};
use crate::handle::FileHandle;
use crate::layer::{Found, Node, SetXattr, WritableNode};
use crate::name::Name;
use crate::stack::{BranchId, Stack, Store};

/// An object of a branch, and how to change it where that is possible.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub node: Arc<dyn Node>,
    writable: Option<Arc<dyn WritableNode>>,
}

impl Object {
    pub(super) fn read_only(node: Arc<dyn Node>) -> Object {
        Object {
            node,
            writable: None,
        }
    }

    pub(super) fn writable(node: Arc<dyn WritableNode>) -> Object {
        Object {
            node: Arc::clone(&node) as Arc<dyn Node>,
            writable: Some(node),
        }
    }

    pub(super) fn lookup(&self, name: &Name) -> Result<Option<(Object, Attr)>> {
        Ok(match &self.writable {
            Some(writable) => writable
                .lookup_writable(name)?
                .map(|Found { node, attr }| (Object::writable(node), attr)),
            None => self
                .node
                .lookup(name)?
                .map(|Found { node, attr }| (Object::read_only(node), attr)),
        })
    }

    /// For changes; `EROFS` for one that is only read.
    pub(super) fn change(&self) -> Result<&dyn WritableNode> {
        self.writable.as_deref().ok_or(Error::ReadOnly)
    }

    pub(super) fn set(&self, mark: &[u8], value: &[u8]) -> Result<()> {
        self.change()?.set_xattr(mark, value, SetXattr::Any)
    }

    /// Takes a mark away; it may be gone by another name of the same object.
    pub(super) fn unset(&self, mark: &[u8]) -> Result<()> {
        match self.change()?.remove_xattr(mark) {
            Ok(()) | Err(Error::NoAttribute) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// One branch.
#[derive(Debug)]
pub(super) struct Layer {
    pub id: BranchId,
    pub dialect: Dialect,
    pub root: Object,
    /// Whether its root says that whiteouts may be files.
    pub marked: bool,
    /// Whether its root says that the branches below show nothing.
    pub alone: bool,
    store: Store,
}

/// All branches, top first.
#[derive(Debug)]
pub(super) struct Layers {
    /// Those that show something.
    pub shown: Vec<Layer>,
    /// Those that hold data alone.
    pub data: Vec<Layer>,
}

impl Layers {
    pub(super) fn of(stack: &Stack) -> Result<Layers> {
        let mut layers = Layers {
            shown: Vec::new(),
            data: Vec::new(),
        };
        for (depth, branch) in stack.branches().iter().enumerate() {
            let root = match &branch.storage {
                Store::ReadOnly(storage) => Object::read_only(storage.root()),
                Store::Writable(storage) if depth == 0 => Object::writable(storage.root()),
                Store::Writable(_) => {
                    return Err(Error::Unsupported("only the top branch can be writable"));
                }
            };
            let opacity = branch.dialect.root_opacity(&*root.node)?;
            let layer = Layer {
                id: branch.id,
                dialect: branch.dialect,
                root,
                marked: opacity == Opacity::HoldsFileWhiteouts,
                alone: opacity == Opacity::Opaque,
                store: branch.storage.clone(),
            };
            match branch.data_only {
                true => layers.data.push(layer),
                false => layers.shown.push(layer),
            }
        }
        Ok(layers)
    }

    /// Whether nothing that shows lies below the branch at `depth`.
    pub(super) fn is_lowest(&self, depth: usize) -> bool {
        depth + 1 >= self.shown.len() || self.hides_below(depth)
    }

    /// Whether the branch at `depth` shows nothing of those below.
    pub(super) fn hides_below(&self, depth: usize) -> bool {
        self.shown.get(depth).is_some_and(|layer| layer.alone)
    }

    /// What a handle of a lower layer's object leads to; `None` if it is
    /// gone. Below the branch at `depth`.
    pub(super) fn below_by_handle(
        &self,
        depth: usize,
        handle: &FileHandle,
    ) -> Result<Option<Attr>> {
        let below = self.shown.iter().skip(depth + 1).chain(&self.data);
        for layer in below {
            if let Some(attr) = layer.by_handle(handle)? {
                return Ok(Some(attr));
            }
        }
        Ok(None)
    }
}

impl Layer {
    /// What a handle leads to on the filesystem of this branch.
    pub(super) fn by_handle(&self, handle: &FileHandle) -> Result<Option<Attr>> {
        match &self.store {
            Store::ReadOnly(storage) => storage.attr_of_handle(handle),
            Store::Writable(storage) => storage.attr_of_handle(handle),
        }
    }
}
