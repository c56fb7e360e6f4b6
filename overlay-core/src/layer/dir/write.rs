//! What can be changed through a node of a directory branch.

use std::sync::Arc;

use super::DirNode;
use crate::attr::SetAttr;
use crate::error::Result;
use crate::layer::{Found, New, Removal, RenameMode, SetXattr, WritableNode};
use crate::name::Name;
use crate::sys;

impl WritableNode for DirNode {
    fn lookup_writable(&self, name: &Name) -> Result<Option<Found<dyn WritableNode>>> {
        self.branch().writer()?;
        let Some((node, attr)) = self.find(name)? else {
            return Ok(None);
        };
        Ok(Some(Found { node, attr }))
    }

    fn create(&self, name: &Name, new: &New<'_>) -> Result<Found<dyn WritableNode>> {
        let (node, attr) = self.make(name, new)?;
        Ok(Found { node, attr })
    }

    fn link(&self, name: &Name, node: &dyn WritableNode, mode: RenameMode) -> Result<()> {
        let node = self.sibling(node)?;
        self.add_name(name, node, mode)
    }

    fn remove(&self, name: &Name, what: Removal, node: Option<&dyn WritableNode>) -> Result<()> {
        let node = node.map(|node| self.sibling(node)).transpose()?;
        self.take_away(name, what, node)
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
        let to = self.sibling(to)?;
        let moved = moved.map(|node| self.sibling(node)).transpose()?;
        let displaced = displaced.map(|node| self.sibling(node)).transpose()?;
        self.shift(name, to, to_name, mode, moved, displaced)
    }

    fn relocate(&self, dir: &dyn WritableNode, name: &Name) -> Result<()> {
        self.is_now_at(self.sibling(dir)?, name)
    }

    fn set_attr(&self, set: &SetAttr) -> Result<()> {
        self.change(set)
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], how: SetXattr) -> Result<()> {
        self.branch().writer()?;
        self.object(|object| sys::xattr::set(object, name, value, how))
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<()> {
        self.branch().writer()?;
        self.object(|object| sys::xattr::remove(object, name))
    }

    fn sync(&self) -> Result<()> {
        self.make_durable()
    }
}

/// A node is shared between threads, and there may be a million of them.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Arc<DirNode>>();
    assert!(size_of::<DirNode>() <= 80);
};
