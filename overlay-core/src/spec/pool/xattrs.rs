//! Extended attributes; see [`Model`](crate::spec::Model) for what is said of
//! names. Marks of a branch are no attributes.

use super::edit::{kind, meta};
use super::*;
use crate::spec::op::Presence;
use crate::spec::{Namespace, posix};

impl Pool {
    pub(super) fn set_xattr(
        &mut self,
        path: &Path,
        name: &[u8],
        value: &[u8],
        how: Presence,
    ) -> Result<Outcome> {
        let entry = self.walk(path)?;
        self.need_writable()?;
        posix::need_xattrs(kind(&entry), name)?;
        need_name(name)?;
        // The kernel copies up before it asks whether the attribute is there.
        let id = self.bring_up(path)?;
        posix::need_presence(how, meta(&entry).xattrs.contains_key(name))?;
        self.change_meta(id, |meta| {
            meta.xattrs.insert(name.to_vec(), value.to_vec());
        });
        Ok(Outcome::Done)
    }

    pub(super) fn remove_xattr(&mut self, path: &Path, name: &[u8]) -> Result<Outcome> {
        let entry = self.walk(path)?;
        self.need_writable()?;
        posix::need_xattrs(kind(&entry), name)?;
        need_name(name)?;
        if !meta(&entry).xattrs.contains_key(name) {
            return Err(Errno::NODATA);
        }
        let id = self.bring_up(path)?;
        self.change_meta(id, |meta| {
            meta.xattrs.remove(name);
        });
        Ok(Outcome::Done)
    }

    pub(super) fn xattr(&self, path: &Path, name: &[u8]) -> Result<Outcome> {
        let entry = self.walk(path)?;
        need_name(name)?;
        let value = meta(&entry).xattrs.get(name).ok_or(Errno::NODATA)?;
        Ok(Outcome::Bytes(value.clone()))
    }

    pub(super) fn xattr_names(&self, path: &Path) -> Result<Outcome> {
        let entry = self.walk(path)?;
        let names = meta(&entry).xattrs.keys().cloned();
        Ok(Outcome::Names(names.collect()))
    }
}

/// A prefix of overlayfs' own attributes, and nothing more, is no name.
fn need_name(name: &[u8]) -> Result<()> {
    match name == Namespace::default().prefix() {
        true => Err(Errno::INVAL),
        false => Ok(()),
    }
}
