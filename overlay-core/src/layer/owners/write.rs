//! What can be changed through a node with an owner of its own.

use super::node::{Owned, below};
use crate::attr::SetAttr;
use crate::error::{Error, Result};
use crate::layer::{Found, New, Removal, RenameMode, SetXattr, WritableNode, acl};
use crate::name::Name;

impl WritableNode for Owned<dyn WritableNode> {
    fn lookup_writable(&self, name: &Name) -> Result<Option<Found<dyn WritableNode>>> {
        let Some(found) = self.inner.lookup_writable(name)? else {
            return Ok(None);
        };
        let (node, attr) = Owned::found(&self.shared, found)?;
        Ok(Some(Found { node, attr }))
    }

    fn create(&self, name: &Name, new: &New<'_>) -> Result<Found<dyn WritableNode>> {
        self.shared.make(new, |new| self.inner.create(name, new))
    }

    fn link(&self, name: &Name, node: &dyn WritableNode, mode: RenameMode) -> Result<()> {
        self.inner.link(name, below(node), mode)
    }

    fn remove(&self, name: &Name, what: Removal, node: Option<&dyn WritableNode>) -> Result<()> {
        self.inner.remove(name, what, node.map(below))
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
        let (moved, displaced) = (moved.map(below), displaced.map(below));
        self.inner
            .rename(name, below(to), to_name, mode, moved, displaced)
    }

    fn relocate(&self, dir: &dyn WritableNode, name: &Name) -> Result<()> {
        self.inner.relocate(below(dir), name)
    }

    fn set_attr(&self, set: &SetAttr) -> Result<()> {
        self.change(set)
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], how: SetXattr) -> Result<()> {
        match self.attribute {
            Some(attribute) if name == acl::ACCESS => self.set_access_acl(attribute, value),
            Some(_) if name == acl::DEFAULT => self.set_default_acl(value),
            Some(_) | None => {
                let stored = self.stored_name(name)?;
                self.inner.set_xattr(&stored, value, how)
            }
        }
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<()> {
        let stored = self.stored_name(name)?;
        match self.inner.remove_xattr(&stored) {
            // As with the kernel's: there is one anyway, the mode.
            Err(Error::NoAttribute) if name == acl::ACCESS || name == acl::DEFAULT => Ok(()),
            outcome => outcome,
        }
    }

    fn sync(&self) -> Result<()> {
        self.inner.sync()
    }
}
