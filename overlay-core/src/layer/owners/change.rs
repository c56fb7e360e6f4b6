//! Changing owner, mode and ACL of an object that says them in an attribute.

use super::make::real_mode;
use super::node::Owned;
use super::xattr::CAPABILITY;
use super::{Attribute, is_refused};
use crate::attr::{Attr, FileKind, SetAttr};
use crate::error::{Errno, Error, Result};
use crate::layer::{SetXattr, WritableNode, acl};

const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;
const GROUP_EXEC: u32 = 0o010;

impl Owned<dyn WritableNode> {
    pub(super) fn change(&self, set: &SetAttr) -> Result<()> {
        match self.attribute {
            Some(attribute) => self.change_carrying(attribute, set),
            None => self.change_as_permitted(set),
        }
    }

    /// An owner that may not be given stays as it is, if it need not be kept.
    fn change_as_permitted(&self, set: &SetAttr) -> Result<()> {
        let loose = self.shared.loose();
        let rest = SetAttr {
            uid: set.uid.filter(|_| !loose.users()),
            gid: set.gid.filter(|_| !loose.groups()),
            ..*set
        };
        match self.inner.set_attr(set) {
            Err(error) if is_refused(&error) && rest != *set => {
                tracing::debug!(%error, "an owner that cannot be given");
                self.inner.set_attr(&rest)
            }
            outcome => outcome,
        }
    }

    fn change_carrying(&self, attribute: Attribute, set: &SetAttr) -> Result<()> {
        if set.mode.is_some() && self.kind == FileKind::Symlink {
            return Err(Error::Unsupported("a symlink has no mode to change"));
        }
        if set.size.is_some() {
            self.require_size()?;
            self.inner.set_attr(&SetAttr {
                size: set.size,
                ..SetAttr::default()
            })?;
        }
        if set.uid.is_some() || set.gid.is_some() || set.mode.is_some() {
            self.rewrite(attribute, |now| {
                let next = changed(now, set);
                if set.mode.is_some() {
                    self.let_acl_follow(next.mode)?;
                }
                Ok(next)
            })?;
            let owner_changed = set.uid.is_some() || set.gid.is_some();
            if owner_changed && !self.kind.is_dir() {
                self.forget(CAPABILITY)?;
            }
        }
        if set.atime.is_some() || set.mtime.is_some() {
            self.inner.set_attr(&SetAttr {
                atime: set.atime,
                mtime: set.mtime,
                ..SetAttr::default()
            })?;
        }
        Ok(())
    }

    fn require_size(&self) -> Result<()> {
        match self.kind {
            FileKind::Regular => Ok(()),
            FileKind::Directory => Err(Error::IsDirectory),
            FileKind::Symlink
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::CharDevice
            | FileKind::BlockDevice => Err(Error::Invalid("only a regular file has a size to set")),
        }
    }

    /// Sets an access ACL: the mode follows it, and one that says no more than
    /// a mode can is not kept.
    pub(super) fn set_access_acl(&self, attribute: Attribute, value: &[u8]) -> Result<()> {
        if self.kind == FileKind::Symlink {
            return Err(Error::Unsupported("a symlink has no ACL"));
        }
        let access = acl::access(value)?;
        let stored = self.stored_name(acl::ACCESS)?;
        self.rewrite(attribute, |now| {
            match access.extended {
                true => self.inner.set_xattr(&stored, value, SetXattr::Any)?,
                false => self.forget(acl::ACCESS)?,
            }
            Ok(Attr {
                mode: now.mode & !0o777 | access.bits,
                ..now
            })
        })
    }

    /// Sets a default ACL, which only a directory has.
    pub(super) fn set_default_acl(&self, value: &[u8]) -> Result<()> {
        match self.kind {
            FileKind::Directory => {}
            FileKind::Symlink => return Err(Error::Unsupported("a symlink has no ACL")),
            FileKind::Regular
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::CharDevice
            | FileKind::BlockDevice => return Err(Error::Errno(Errno::ACCESS)),
        }
        acl::check(value)?;
        let stored = self.stored_name(acl::DEFAULT)?;
        self.inner.set_xattr(&stored, value, SetXattr::Any)
    }

    /// Writes the attribute anew: what `next` makes of what it says now.
    ///
    /// The object's own mode is taken back first and given last, so that at no
    /// moment it gives more than the attribute says.
    fn rewrite(&self, attribute: Attribute, next: impl FnOnce(Attr) -> Result<Attr>) -> Result<()> {
        let real = self.inner.attr()?;
        let _alone = self.shared.stripe(&real);
        // Anew: it may have changed before we were alone.
        let real = self.inner.attr()?;
        let next = next(attribute.read(&*self.inner, real)?)?;
        let mode = real_mode(&next, self.shared.own);
        if real.mode & mode != real.mode {
            self.set_real_mode(real.mode & mode)?;
        }
        self.inner
            .set_xattr(attribute.name(), &attribute.value(&next), SetXattr::Any)?;
        if real.mode & mode != mode {
            self.set_real_mode(mode)?;
        }
        Ok(())
    }

    fn set_real_mode(&self, mode: u32) -> Result<()> {
        if self.kind == FileKind::Symlink {
            return Ok(());
        }
        self.inner.set_attr(&SetAttr {
            mode: Some(mode),
            ..SetAttr::default()
        })
    }

    /// The mode was set to `mode`.
    fn let_acl_follow(&self, mode: u32) -> Result<()> {
        let stored = self.stored_name(acl::ACCESS)?;
        let Some(mut acl) = self.inner.xattr(&stored)? else {
            return Ok(());
        };
        acl::follow_mode(&mut acl, mode);
        self.inner.set_xattr(&stored, &acl, SetXattr::Any)
    }

    /// Removes an attribute that may be set.
    fn forget(&self, shown: &[u8]) -> Result<()> {
        match self.inner.remove_xattr(&self.stored_name(shown)?) {
            Ok(()) | Err(Error::NoAttribute) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// `now` with owner and mode as `set` says. As on Linux, a change of owner
/// takes setuid away, and setgid where the group may execute, from everything
/// but directories, unless the mode is said too (`chown(2)`).
fn changed(now: Attr, set: &SetAttr) -> Attr {
    let mut mode = now.mode;
    if (set.uid.is_some() || set.gid.is_some()) && !now.kind.is_dir() {
        mode &= !SETUID;
        if mode & GROUP_EXEC != 0 {
            mode &= !SETGID;
        }
    }
    Attr {
        uid: set.uid.unwrap_or(now.uid),
        gid: set.gid.unwrap_or(now.gid),
        mode: set.mode.map_or(mode, |mode| mode & 0o7777),
        ..now
    }
}
