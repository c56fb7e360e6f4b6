//! Storages whose nodes have owners of their own.

use std::sync::Arc;

use super::node::{Owned, below};
use super::{Owners, Shared};
use crate::attr::{Attr, FileKind};
use crate::error::Result;
use crate::handle::{FileHandle, Identity};
use crate::layer::{
    Capabilities, Discard, Found, New, Node, RenameMode, SetXattr, Storage, WritableNode,
    WritableStorage,
};
use crate::name::Name;

/// A branch that is only read.
#[derive(Debug)]
pub(super) struct OwnedStorage {
    inner: Arc<dyn Storage>,
    shared: Arc<Shared>,
}

impl OwnedStorage {
    pub(super) fn new(inner: Arc<dyn Storage>, shared: Arc<Shared>) -> OwnedStorage {
        OwnedStorage { inner, shared }
    }
}

impl Storage for OwnedStorage {
    fn root(&self) -> Arc<dyn Node> {
        let kind = FileKind::Directory;
        Owned::new(self.inner.root(), &self.shared, kind, kind)
    }

    /// Asked for what an object is, and not whose.
    fn attr_of_handle(&self, handle: &FileHandle) -> Result<Option<Attr>> {
        self.inner.attr_of_handle(handle)
    }

    fn identity(&self) -> Identity {
        self.inner.identity()
    }
}

/// A branch that is written.
#[derive(Debug)]
pub(super) struct OwnedUpper {
    inner: Arc<dyn WritableStorage>,
    shared: Arc<Shared>,
}

impl OwnedUpper {
    pub(super) fn new(inner: Arc<dyn WritableStorage>, shared: Arc<Shared>) -> OwnedUpper {
        OwnedUpper { inner, shared }
    }

    /// The root's attribute says what the tree below uses: to whoever mounts
    /// it as a lower layer, and to the container tools.
    fn mark_root(&self) -> Result<()> {
        let Owners::In(attribute) = self.shared.owners else {
            return Ok(());
        };
        let root = self.inner.root();
        if root.xattr(attribute.name())?.is_some() {
            return Ok(());
        }
        let value = attribute.value(&root.attr()?);
        root.set_xattr(attribute.name(), &value, SetXattr::Any)
    }
}

impl WritableStorage for OwnedUpper {
    fn root(&self) -> Arc<dyn WritableNode> {
        let kind = FileKind::Directory;
        Owned::new(self.inner.root(), &self.shared, kind, kind)
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn stage(&self, new: &New<'_>) -> Result<Arc<dyn WritableNode>> {
        let made = self.shared.make(new, |new| {
            let node = self.inner.stage(new)?;
            let attr = node.attr()?;
            Ok(Found { node, attr })
        })?;
        Ok(made.node)
    }

    fn publish(
        &self,
        staged: &dyn WritableNode,
        dir: &dyn WritableNode,
        name: &Name,
        mode: RenameMode,
        displaced: Option<&dyn WritableNode>,
    ) -> Result<Option<Arc<dyn WritableNode>>> {
        let below_displaced = displaced.map(below);
        let out = self
            .inner
            .publish(below(staged), below(dir), name, mode, below_displaced)?;
        let Some(node) = out else {
            return Ok(None);
        };
        let attr = node.attr()?;
        let (node, _) = Owned::found(&self.shared, Found { node, attr })?;
        Ok(Some(node))
    }

    fn withdraw(&self, dir: &dyn WritableNode, name: &Name, node: &dyn WritableNode) -> Result<()> {
        self.inner.withdraw(below(dir), name, below(node))
    }

    fn discard(&self, staged: &dyn WritableNode, keep: Discard) -> Result<()> {
        self.inner.discard(below(staged), keep)
    }

    /// Also marks the root: it is called once nothing about a mount can fail
    /// any more, and before the first change.
    fn clear_work(&self) -> Result<()> {
        self.inner.clear_work()?;
        self.mark_root()
    }

    fn index(&self) -> Result<Arc<dyn WritableNode>> {
        let kind = FileKind::Directory;
        Ok(Owned::new(self.inner.index()?, &self.shared, kind, kind))
    }

    fn workdir(&self) -> Result<Option<Arc<dyn WritableNode>>> {
        let kind = FileKind::Directory;
        let workdir = self.inner.workdir()?;
        Ok(workdir.map(|node| Owned::new(node, &self.shared, kind, kind) as Arc<dyn WritableNode>))
    }

    fn attr_of_handle(&self, handle: &FileHandle) -> Result<Option<Attr>> {
        self.inner.attr_of_handle(handle)
    }

    fn mark_volatile(&self) -> Result<()> {
        self.inner.mark_volatile()
    }
}
