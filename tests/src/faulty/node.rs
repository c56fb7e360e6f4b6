//! Nodes that fail on demand.

use std::any::Any;
use std::ops::ControlFlow;
use std::sync::Arc;

use overlay_core::error::Result;
use overlay_core::layer::{
    Access, Found, New, Node, OpenFile, RawEntry, Removal, RenameMode, SetXattr, WritableNode,
};
use overlay_core::name::Name;
use overlay_core::{Attr, FileHandle, SetAttr, StatFs};

use super::Faults;
use super::file::FaultyFile;

#[derive(Debug)]
pub(super) struct FaultyNode {
    inner: Arc<dyn WritableNode>,
    faults: Arc<Faults>,
}

impl FaultyNode {
    pub(super) fn wrap(
        inner: Arc<dyn WritableNode>,
        faults: &Arc<Faults>,
    ) -> Arc<dyn WritableNode> {
        Arc::new(FaultyNode {
            inner,
            faults: Arc::clone(faults),
        })
    }

    fn wrap_found(&self, found: Found<dyn WritableNode>) -> Found<dyn WritableNode> {
        Found {
            node: FaultyNode::wrap(found.node, &self.faults),
            attr: found.attr,
        }
    }
}

/// The node of the storage below.
pub(super) fn below(node: &dyn WritableNode) -> &dyn WritableNode {
    let any: &dyn Any = node;
    match any.downcast_ref::<FaultyNode>() {
        Some(faulty) => &*faulty.inner,
        None => node,
    }
}

impl Node for FaultyNode {
    fn attr(&self) -> Result<Attr> {
        self.faults.look("attr")?;
        self.inner.attr()
    }

    fn attr_of(&self, name: &Name) -> Result<Option<Attr>> {
        self.faults.look("attr_of")?;
        self.inner.attr_of(name)
    }

    fn lookup(&self, name: &Name) -> Result<Option<Found<dyn Node>>> {
        self.faults.look("lookup")?;
        self.inner.lookup(name)
    }

    fn entries(&self, each: &mut dyn FnMut(RawEntry<'_>) -> ControlFlow<()>) -> Result<()> {
        self.faults.look("entries")?;
        self.inner.entries(each)
    }

    fn open(&self, access: Access) -> Result<Arc<dyn OpenFile>> {
        self.faults.look("open")?;
        Ok(FaultyFile::wrap(self.inner.open(access)?, &self.faults))
    }

    fn link_target(&self) -> Result<Vec<u8>> {
        self.faults.look("link_target")?;
        self.inner.link_target()
    }

    fn xattr(&self, name: &[u8]) -> Result<Option<Vec<u8>>> {
        self.faults.look("xattr")?;
        self.inner.xattr(name)
    }

    fn xattr_names(&self) -> Result<Vec<Vec<u8>>> {
        self.faults.look("xattr_names")?;
        self.inner.xattr_names()
    }

    fn stat_fs(&self) -> Result<StatFs> {
        self.faults.look("stat_fs")?;
        self.inner.stat_fs()
    }

    fn handle(&self) -> Result<Option<FileHandle>> {
        self.faults.look("handle")?;
        self.inner.handle()
    }
}

impl WritableNode for FaultyNode {
    fn lookup_writable(&self, name: &Name) -> Result<Option<Found<dyn WritableNode>>> {
        self.faults.look("lookup_writable")?;
        let found = self.inner.lookup_writable(name)?;
        Ok(found.map(|found| self.wrap_found(found)))
    }

    fn create(&self, name: &Name, new: &New<'_>) -> Result<Found<dyn WritableNode>> {
        self.faults.permit(new)?;
        self.faults.add("create")?;
        let found = self.inner.create(name, new)?;
        self.faults.told(Ok(self.wrap_found(found)))
    }

    fn link(&self, name: &Name, node: &dyn WritableNode, mode: RenameMode) -> Result<()> {
        self.faults.add("link")?;
        self.faults.told(self.inner.link(name, below(node), mode))
    }

    fn remove(&self, name: &Name, what: Removal, node: Option<&dyn WritableNode>) -> Result<()> {
        self.faults.change("remove")?;
        self.faults
            .told(self.inner.remove(name, what, node.map(below)))
    }

    fn rename(
        &self,
        name: &Name,
        to: &dyn WritableNode,
        to_name: &Name,
        mode: RenameMode,
        moved: Option<&dyn WritableNode>,
        displaced: Option<&dyn WritableNode>,
    ) -> Result<()> {
        self.faults.permit_rename(mode)?;
        self.faults.name("rename", mode)?;
        let (moved, displaced) = (moved.map(below), displaced.map(below));
        let answer = self
            .inner
            .rename(name, below(to), to_name, mode, moved, displaced);
        self.faults.told(answer)
    }

    fn relocate(&self, dir: &dyn WritableNode, name: &Name) -> Result<()> {
        self.faults.look("relocate")?;
        self.inner.relocate(below(dir), name)
    }

    fn set_attr(&self, set: &SetAttr) -> Result<()> {
        self.faults.change("set_attr")?;
        self.faults.told(self.inner.set_attr(set))
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], how: SetXattr) -> Result<()> {
        self.faults.add("set_xattr")?;
        self.faults.told(self.inner.set_xattr(name, value, how))
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<()> {
        self.faults.change("remove_xattr")?;
        self.faults.told(self.inner.remove_xattr(name))
    }

    fn sync(&self) -> Result<()> {
        self.faults.change("sync")?;
        self.faults.told(self.inner.sync())
    }
}
