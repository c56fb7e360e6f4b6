//! Extended attributes, with the dialect's own hidden and those of a union
//! stacked on this one escaped. Takes no lock; changes copy up first.

use std::borrow::Cow;
use std::sync::Arc;

use super::Union;
use super::copy_up::DataNeeded;
use super::inode::Inode;
use crate::dialect::Dialect;
use crate::error::{Error, Result};
use crate::layer::SetXattr;

impl Union {
    /// The dialect whose attributes the union keeps to itself: that of the
    /// top branch.
    fn own_dialect(&self) -> Dialect {
        self.stack
            .branches()
            .first()
            .map_or_else(Dialect::default, |top| top.dialect)
    }

    /// `EINVAL` for a prefix of the dialect that is followed by nothing. Source:
    /// `xattr_resolve_name` in `fs/xattr.c`.
    fn refuse_prefix(&self, name: &[u8]) -> Result<()> {
        match self.own_dialect().is_prefix(name) {
            true => Err(Error::Invalid("a prefix is no name of an attribute")),
            false => Ok(()),
        }
    }

    /// The dialect of the branch whose attributes an inode shows.
    pub(super) fn dialect_of_shown(&self, inode: &Inode) -> Dialect {
        self.stack.dialect(inode.home())
    }

    /// The value of the attribute `name`, e.g. `b"user.note"`; `ENODATA` if
    /// it is not set, `EINVAL` for a mere prefix of the union's own.
    pub fn xattr(&self, inode: &Arc<Inode>, name: &[u8]) -> Result<Vec<u8>> {
        self.refuse_prefix(name)?;
        let stored = self.own_dialect().stored_xattr(name);
        let stored = stored.ok_or(Error::NoAttribute)?;
        if self.dialect_of_shown(inode).shown_xattr(&stored).is_none() {
            return Err(Error::NoAttribute);
        }
        inode.node().xattr(&stored)?.ok_or(Error::NoAttribute)
    }

    /// The names of the attributes.
    pub fn xattr_names(&self, inode: &Arc<Inode>) -> Result<Vec<Vec<u8>>> {
        let (dialect, branch) = (self.own_dialect(), self.dialect_of_shown(inode));
        let stored = inode.node().xattr_names()?;
        Ok(stored
            .iter()
            .filter(|name| branch.shown_xattr(name).is_some())
            .filter_map(|name| dialect.shown_xattr(name))
            .map(Cow::into_owned)
            .collect())
    }

    /// Sets an attribute; copies up first.
    ///
    /// Errors: `EROFS`, `EEXIST` and `ENODATA` by `how`, `EOPNOTSUPP`,
    /// `EPERM` for what is immutable or append-only.
    pub fn set_xattr(
        &self,
        inode: &Arc<Inode>,
        name: &[u8],
        value: &[u8],
        how: SetXattr,
    ) -> Result<()> {
        self.target()?;
        self.permit_change(inode)?;
        self.refuse_prefix(name)?;
        let stored = self.own_dialect().stored_xattr(name);
        let stored = stored.ok_or(Error::Unsupported("the attribute's name is too long"))?;
        self.writable(inode, DataNeeded::Attributes)?;
        let _unchanging = inode.hold_data();
        let _staying = self.moves.stay(inode);
        let node = inode.copy().ok_or(Error::Stale)?;
        node.set_xattr(&stored, value, how)
    }

    /// Removes an attribute; copies up first. `ENODATA` if it is not set, and
    /// then nothing is copied.
    pub fn remove_xattr(&self, inode: &Arc<Inode>, name: &[u8]) -> Result<()> {
        self.target()?;
        self.permit_change(inode)?;
        self.refuse_prefix(name)?;
        let stored = self.own_dialect().stored_xattr(name);
        let stored = stored.ok_or(Error::NoAttribute)?;
        if !inode.is_copied_up() && inode.node().xattr(&stored)?.is_none() {
            return Err(Error::NoAttribute);
        }
        self.writable(inode, DataNeeded::Attributes)?;
        let _unchanging = inode.hold_data();
        let _staying = self.moves.stay(inode);
        let node = inode.copy().ok_or(Error::Stale)?;
        node.remove_xattr(&stored)
    }
}
