//! Making new objects, whole from their first visible moment.
//!
//! Takes the parent's lock for writing.

use std::sync::Arc;

use super::acl;
use super::copy_up::DataNeeded;
use super::inode::Inode;
use super::locks::{DirHeld, DirWrite};
use super::lookup::Written;
use super::open::Handle;
use super::{Caller, Entry, Union};
use crate::attr::{Owner, SetAttr};
use crate::error::{Error, Result};
use crate::layer::{Access, New, NewKind, OpenFile, RenameMode, Staged, WritableNode};
use crate::name::Name;
use crate::policy::Target;

/// What an unprivileged process needs to open its own file for writing.
const OWNER_RW: u32 = 0o600;
const SETGID: u32 = 0o2000;

/// Owner, mode and attributes of a new object, all inheritance done.
struct Heritage {
    owner: Owner,
    mode: u32,
    xattrs: Vec<(&'static [u8], Vec<u8>)>,
}

impl Union {
    /// Makes a new object `name` in `parent` with the permission bits `mode`
    /// (masked by the caller's umask, or by the directory's default ACL).
    ///
    /// Errors: `EEXIST`, `EROFS`, `ENOENT` in a removed directory, `EPERM`
    /// for the device that would be a whiteout. Source: `mknod(2)`,
    /// `mkdir(2)`, `symlink(2)`; `ovl_create_object` in `fs/overlayfs/dir.c`.
    pub fn create(
        &self,
        parent: &Arc<Inode>,
        name: &Name,
        kind: NewKind<'_>,
        mode: u32,
        caller: &Caller,
    ) -> Result<Entry> {
        self.create_then(parent, name, kind, mode, caller, false)
            .map(|(entry, _)| entry)
    }

    /// Makes an empty regular file and opens it for reading and writing,
    /// whatever its mode. Errors as [`Union::create`].
    pub fn create_file(
        &self,
        parent: &Arc<Inode>,
        name: &Name,
        mode: u32,
        caller: &Caller,
    ) -> Result<(Entry, Handle)> {
        let (entry, file) = self.create_then(parent, name, NewKind::Regular, mode, caller, true)?;
        let file = match file {
            Some(file) => file,
            None => entry.inode.node().open(Access::Write)?,
        };
        let handle = Handle::new(&entry.inode, file, true);
        Ok((entry, handle))
    }

    fn create_then(
        &self,
        parent: &Arc<Inode>,
        name: &Name,
        kind: NewKind<'_>,
        mode: u32,
        caller: &Caller,
        open: bool,
    ) -> Result<(Entry, Option<Arc<dyn OpenFile>>)> {
        let would_hide = kind == NewKind::CharDevice(0);
        // Nothing is copied up for an object that cannot be.
        if (would_hide || !parent.is_copied_up()) && self.lookup(parent, name)?.is_some() {
            return Err(Error::Exists);
        }
        let target = self.target()?;
        if would_hide {
            return Err(Error::NotPermitted("this device would be a whiteout"));
        }
        let dir = self.writable(parent, DataNeeded::All)?;
        let held = DirWrite::lock(&[parent])?;
        if held.is_removed(parent) {
            return Err(Error::NotFound);
        }
        let written = self.written(parent, name, &held)?;
        if written == Written::Object
            || written == Written::Nothing && self.lower_shows(parent, name, &held)?
        {
            return Err(Error::Exists);
        }
        let heritage = self.inherit(target, parent, &**dir, kind, mode, caller, &held)?;
        let xattrs: Vec<(&[u8], &[u8])> = heritage
            .xattrs
            .iter()
            .map(|(name, value)| (*name, value.as_slice()))
            .collect();
        let new = New {
            kind,
            mode: heritage.mode,
            owner: heritage.owner,
            xattrs: &xattrs,
        };
        let file = match (open, written) {
            (false, Written::Nothing | Written::Object) => {
                dir.create(name, &new)?;
                None
            }
            (true, Written::Nothing | Written::Object) if new.mode & OWNER_RW == OWNER_RW => {
                Some(dir.create(name, &new)?.node.open(Access::Write)?)
            }
            (_, written) => stage_and_publish(target, &**dir, name, &new, written, open)?,
        };
        let entry = self.resolve(parent, name, &held)?.ok_or(Error::Stale)?;
        Ok((entry, file))
    }

    #[allow(clippy::too_many_arguments)]
    fn inherit(
        &self,
        target: &Target,
        parent: &Arc<Inode>,
        dir: &dyn WritableNode,
        kind: NewKind<'_>,
        mode: u32,
        caller: &Caller,
        held: &impl DirHeld,
    ) -> Result<Heritage> {
        debug_assert!(held.holds(parent));
        let above = dir.attr()?;
        let is_dir = kind == NewKind::Directory;
        let mut heritage = Heritage {
            owner: caller.owner,
            mode: mode & !caller.umask & 0o7777,
            xattrs: Vec::new(),
        };
        if !matches!(kind, NewKind::Symlink(_))
            && let Some(default) = dir.xattr(acl::DEFAULT)?
        {
            let inherited = acl::inherit(&default, mode & 0o7777)?;
            heritage.mode = inherited.mode;
            if let Some(access) = inherited.access {
                heritage.xattrs.push((acl::ACCESS, access));
            }
            if is_dir {
                heritage.xattrs.push((acl::DEFAULT, default));
            }
        }
        if above.mode & SETGID != 0 {
            heritage.owner.gid = above.gid;
            if is_dir {
                heritage.mode |= SETGID;
            }
        }
        // Opaque from the first moment wherever anything could lie below:
        // what was removed must not come back inside it.
        let merges = parent.directory().is_some_and(|d| !d.lowers.is_empty());
        if is_dir && merges {
            let (name, value) = target.dialect.opaque_mark();
            heritage.xattrs.push((name, value.to_vec()));
        }
        Ok(heritage)
    }
}

/// Makes `new` in the work area, opens it if asked, and moves it to `name`.
fn stage_and_publish(
    target: &Target,
    dir: &dyn WritableNode,
    name: &Name,
    new: &New<'_>,
    written: Written,
    open: bool,
) -> Result<Option<Arc<dyn OpenFile>>> {
    let writable_first = New {
        mode: new.mode | OWNER_RW,
        ..*new
    };
    let staged = Staged::new(&target.storage, if open { &writable_first } else { new })?;
    let mut file = None;
    if open {
        file = Some(staged.node().open(Access::Write)?);
        if new.mode != writable_first.mode {
            staged.node().set_attr(&SetAttr {
                mode: Some(new.mode),
                ..SetAttr::default()
            })?;
        }
    }
    let mode = match (written, new.kind) {
        (Written::Nothing | Written::Object, _) => RenameMode::NoReplace,
        // A directory cannot replace a device, but trade places with it.
        (Written::Whiteout, NewKind::Directory) => RenameMode::Exchange,
        (Written::Whiteout, _) => RenameMode::Replace,
    };
    staged.publish(dir, name, mode, None)?;
    Ok(file)
}
