//! Copy-up: an object of a read-only branch is copied to the writable one
//! before it changes.
//!
//! The copy is staged in the work area with data, owner, attributes, mode and
//! times, made durable, and published by one rename: at every instant a
//! reader, or a crash, sees the old whole or the new whole. Parents are
//! copied first, each on its own, so no directory lock is held over data.
//!
//! Takes the inode's copy-up lock, and inside it the parent's lock for the
//! moment of publishing. Source: `fs/overlayfs/copy_up.c`.

use std::sync::Arc;

use super::Union;
use super::copy_data::copy_data;
use super::inode::Inode;
use super::locks::{CopyUpGuard, DirWrite};
use super::table::ObjectId;
use crate::attr::{FileKind, SetAttr};
use crate::error::{Errno, Error, Result};
use crate::layer::{
    Access, New, NewKind, Node, RenameMode, SetXattr, Staged, SyncWhat, WritableNode,
};
use crate::policy::Target;
use crate::sys;

/// How much of a regular file a copy-up must bring along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DataNeeded {
    /// All of it.
    All,
    /// Nothing: the file is to be cut to size zero, and the copy is published
    /// cut, so that a failure or a crash never shows an empty file whose
    /// truncation did not happen.
    Nothing,
}

/// Whether a call of [`Union::copied`] made the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copied {
    /// Yes; with [`DataNeeded::Nothing`] the file has been cut.
    Now,
    /// It was there before.
    Before,
}

/// Mode of a staged regular file while its data is copied: nobody else may
/// look, and an unprivileged server must be able to write.
const STAGED_MODE: u32 = 0o600;

impl Union {
    /// The writable branch, or `EROFS`.
    pub(super) fn target(&self) -> Result<&Target> {
        self.target.as_ref().ok_or(Error::ReadOnly)
    }

    /// Copies `inode` up unless that has happened, and returns the copy.
    /// No directory lock may be held.
    pub(super) fn writable<'a>(
        &self,
        inode: &'a Arc<Inode>,
        data: DataNeeded,
    ) -> Result<&'a Arc<dyn WritableNode>> {
        self.copied(inode, data).map(|(node, _)| node)
    }

    /// As [`Union::writable`], and says whether this call made the copy.
    pub(super) fn copied<'a>(
        &self,
        inode: &'a Arc<Inode>,
        data: DataNeeded,
    ) -> Result<(&'a Arc<dyn WritableNode>, Copied)> {
        if let Some(node) = inode.writable.get() {
            return Ok((node, Copied::Before));
        }
        let target = self.target()?;
        // Parents first, from the top, without recursion: trees are deep.
        let mut missing = Vec::new();
        let mut above = inode.link();
        while let Some(link) = above {
            if link.parent.is_copied_up() {
                break;
            }
            above = link.parent.link();
            missing.push(link.parent);
        }
        for parent in missing.iter().rev() {
            self.copy_up(target, parent, DataNeeded::All)?;
        }
        let copied = self.copy_up(target, inode, data)?;
        let node = inode.writable.get().ok_or(Error::Stale)?;
        Ok((node, copied))
    }

    fn copy_up(&self, target: &Target, inode: &Arc<Inode>, data: DataNeeded) -> Result<Copied> {
        let _copying = CopyUpGuard::lock(inode);
        if inode.is_copied_up() {
            return Ok(Copied::Before);
        }
        let lower = inode.lower().ok_or(Error::Stale)?;
        let staged = self.stage_copy(target, &**lower, data)?;
        self.publish_copy(inode, staged)?;
        Ok(Copied::Now)
    }

    /// Makes a whole copy of `lower` in the work area.
    fn stage_copy(&self, target: &Target, lower: &dyn Node, data: DataNeeded) -> Result<Staged> {
        let attr = lower.attr()?;
        let link_target;
        let kind = match attr.kind {
            FileKind::Regular => NewKind::Regular,
            FileKind::Directory => NewKind::Directory,
            FileKind::Symlink => {
                link_target = lower.link_target()?;
                NewKind::Symlink(&link_target)
            }
            FileKind::Fifo => NewKind::Fifo,
            FileKind::Socket => NewKind::Socket,
            FileKind::CharDevice => NewKind::CharDevice(attr.rdev),
            FileKind::BlockDevice => NewKind::BlockDevice(attr.rdev),
        };
        let regular = attr.kind == FileKind::Regular;
        let new = New {
            kind,
            mode: if regular { STAGED_MODE } else { attr.mode },
            owner: sys::meta::process_owner(),
            xattrs: &[],
        };
        let staged = Staged::new(&target.storage, &new)?;
        let copy = staged.node();
        // Data first: writing drops capabilities and setuid bits.
        let cut = regular && data == DataNeeded::Nothing;
        let with_data = regular && attr.size > 0 && !cut;
        let file = match with_data || cut {
            true => Some(copy.open(Access::Write)?),
            false => None,
        };
        if let (Some(file), true) = (&file, with_data) {
            copy_data(&*lower.open(Access::Read)?, &**file, attr.size)?;
        }
        if (attr.uid, attr.gid) != (new.owner.uid, new.owner.gid) {
            copy.set_attr(&SetAttr {
                uid: Some(attr.uid),
                gid: Some(attr.gid),
                ..SetAttr::default()
            })?;
        }
        self.copy_xattrs(target, lower, &**copy)?;
        copy.set_attr(&SetAttr {
            mode: (attr.kind != FileKind::Symlink).then_some(attr.mode),
            ..SetAttr::times_of(&attr)
        })?;
        match &file {
            // Last: it changes the time, and perhaps the mode.
            Some(file) if cut => file.set_len(0)?,
            Some(file) => file.sync(SyncWhat::All)?,
            None => {}
        }
        Ok(staged)
    }

    /// Copies the attributes of `lower` but for the dialect's own.
    pub(super) fn copy_xattrs(
        &self,
        target: &Target,
        lower: &dyn Node,
        copy: &dyn WritableNode,
    ) -> Result<()> {
        for name in lower.xattr_names()? {
            // The dialect's own attributes speak of their branch alone.
            if target.dialect.shown_xattr(&name).is_none() {
                continue;
            }
            let Some(value) = lower.xattr(&name)? else {
                continue;
            };
            match copy.set_xattr(&name, &value, SetXattr::Any) {
                Ok(()) => {}
                // As the kernel: what the upper filesystem cannot store is
                // left behind, unless permissions depend on it.
                Err(error) if error.is(Errno::OPNOTSUPP) && !is_security(&name) => {
                    tracing::debug!(%error, name = %name.escape_ascii(), "attribute not copied up");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes the copy visible at the inode's name; without one (the object
    /// was removed meanwhile) the copy stays nameless.
    fn publish_copy(&self, inode: &Arc<Inode>, staged: Staged) -> Result<()> {
        // Asked while it can still fail: once the copy is visible, the inode
        // must know it.
        let id = ObjectId::from(&staged.node().attr()?);
        loop {
            let Some(link) = inode.link() else {
                let node = staged.keep()?;
                return self.set_copy(inode, id, node);
            };
            let held = DirWrite::lock(&[&link.parent])?;
            let unmoved = inode
                .links
                .read()
                .first()
                .is_some_and(|now| now.is(&link.parent, &link.name));
            if !unmoved {
                continue;
            }
            let parent = link.parent.writable.get().ok_or(Error::Stale)?;
            let before = parent.attr()?;
            let node = staged.publish(&**parent, &link.name, RenameMode::NoReplace, None)?;
            self.set_copy(inode, id, node)?;
            self.table.forget_split(&link.parent, &link.name);
            // Making the copy is no change of the directory that anybody saw.
            // The copy is visible: only a time is wrong if this fails.
            if let Err(error) = parent.set_attr(&SetAttr::times_of(&before)) {
                tracing::warn!(%error, "a copy-up shows in the times of its directory");
            }
            drop(held);
            return Ok(());
        }
    }

    /// From now on `inode` is its copy `node`.
    fn set_copy(
        &self,
        inode: &Arc<Inode>,
        id: ObjectId,
        node: Arc<dyn WritableNode>,
    ) -> Result<()> {
        self.table.give(id, inode.number());
        inode
            .writable
            .set(node)
            .map_err(|_| Error::Damaged("an inode was copied up twice"))
    }
}

/// Attributes that decide who may do what: never left behind.
fn is_security(name: &[u8]) -> bool {
    name.starts_with(b"security.") || name.starts_with(b"system.posix_acl_")
}
