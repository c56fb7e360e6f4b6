//! Extended attributes. `user.*` exists on files and directories only;
//! `trusted.overlay.*` is an ordinary name here: a union stores it escaped.

use super::*;
use crate::spec::config::Namespace;
use crate::spec::op::Presence;

impl Model {
    pub(super) fn set_xattr(
        &mut self,
        path: &Path,
        name: &[u8],
        value: &[u8],
        how: Presence,
    ) -> Result<Outcome> {
        let key = self.walk(path)?;
        self.need_writable()?;
        posix::need_xattrs(self.kind(key), name)?;
        self.need_name(name)?;
        // The kernel copies up before it asks whether the attribute is there.
        self.copy_up_object(path, key);
        let xattrs = &mut self.objects[key].meta.xattrs;
        posix::need_presence(how, xattrs.contains_key(name))?;
        xattrs.insert(name.to_vec(), value.to_vec());
        Ok(Outcome::Done)
    }

    pub(super) fn remove_xattr(&mut self, path: &Path, name: &[u8]) -> Result<Outcome> {
        let key = self.walk(path)?;
        self.need_writable()?;
        posix::need_xattrs(self.kind(key), name)?;
        self.need_name(name)?;
        if !self.objects[key].meta.xattrs.contains_key(name) {
            return Err(Errno::NODATA);
        }
        self.copy_up_object(path, key);
        self.objects[key].meta.xattrs.remove(name);
        Ok(Outcome::Done)
    }

    /// A prefix of overlayfs' own attributes, and nothing more, is no name.
    fn need_name(&self, name: &[u8]) -> Result<()> {
        let prefix: &[u8] = match self.config.namespace {
            Namespace::Trusted => b"trusted.overlay.",
            Namespace::User => b"user.overlay.",
        };
        match name == prefix {
            true => Err(Errno::INVAL),
            false => Ok(()),
        }
    }

    pub(super) fn xattr(&self, path: &Path, name: &[u8]) -> Result<Outcome> {
        let key = self.walk(path)?;
        self.need_name(name)?;
        let xattrs = &self.objects[key].meta.xattrs;
        let value = xattrs.get(name).ok_or(Errno::NODATA)?;
        Ok(Outcome::Bytes(value.clone()))
    }

    pub(super) fn xattr_names(&self, path: &Path) -> Result<Outcome> {
        let xattrs = &self.objects[self.walk(path)?].meta.xattrs;
        Ok(Outcome::Names(xattrs.keys().cloned().collect()))
    }

    /// If the index has a copy already, the name need not be copied up.
    fn copy_up_object(&mut self, path: &Path, key: Key) {
        if !self.objects[key].upper {
            self.copy_up_path(path, key);
        }
    }
}
