//! Hard links. Takes the parent's lock for writing.

use std::sync::Arc;

use super::copy_up::DataNeeded;
use super::inode::Inode;
use super::locks::DirWrite;
use super::lookup::Written;
use super::{Entry, Union};
use crate::error::{Error, Result};
use crate::layer::RenameMode;
use crate::name::Name;

impl Union {
    /// Gives a non-directory another name; copies it up first.
    ///
    /// Errors: `EPERM` for a directory, `EEXIST`, `EROFS`, `ENOENT` if the
    /// object has no name any more. Source: `link(2)`.
    pub fn link(&self, inode: &Arc<Inode>, parent: &Arc<Inode>, name: &Name) -> Result<Entry> {
        // Nothing is copied up for a link that cannot be.
        if self.lookup(parent, name)?.is_some() {
            return Err(Error::Exists);
        }
        self.target()?;
        if inode.kind().is_dir() {
            return Err(Error::NotPermitted("a directory has one name"));
        }
        let node = self.writable(inode, DataNeeded::All)?;
        let dir = self.writable(parent, DataNeeded::All)?;
        let held = DirWrite::lock(&[parent])?;
        if held.is_removed(parent) {
            return Err(Error::NotFound);
        }
        let mode = match self.written(parent, name, &held)? {
            Written::Object => return Err(Error::Exists),
            Written::Nothing if self.lower_shows(parent, name, &held)? => {
                return Err(Error::Exists);
            }
            Written::Nothing => RenameMode::NoReplace,
            Written::Whiteout => RenameMode::Replace,
        };
        dir.link(name, &**node, mode)?;
        self.add_link(inode, parent, name);
        let attr = self.attr(inode)?;
        Ok(Entry {
            inode: Arc::clone(inode),
            attr,
        })
    }
}
