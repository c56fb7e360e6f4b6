//! A handle on an object in memory.

use std::any::Any;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use super::acl;
use super::file::MemFile;
use super::pages::{MAX, PAGE};
use super::tree::{Body, Inode, Tree};
use super::{FOREIGN, PLENTY, Shared};
use crate::attr::{Attr, FileKind, SetAttr, SetTime, StatFs, Timestamp};
use crate::error::{Error, Result};
use crate::handle::FileHandle;
use crate::layer::{
    Access, Found, New, Node, OpenFile, RawEntry, Removal, RenameMode, SetXattr, WritableNode,
};
use crate::name::Name;

/// Through which of the two traits a storage is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Face {
    ReadOnly,
    Writable,
}

/// A handle on an object in memory: its number. So it follows any rename.
pub struct MemNode {
    pub(super) shared: Arc<Shared>,
    pub(super) ino: u64,
    face: Face,
}

impl MemNode {
    pub(super) fn new(
        shared: &Arc<Shared>,
        tree: &Tree,
        ino: u64,
        face: Face,
    ) -> Result<Arc<MemNode>> {
        tree.get(ino)?.handles.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(MemNode {
            shared: Arc::clone(shared),
            ino,
            face,
        }))
    }

    /// The number behind a node of the storage `shared`; else `EXDEV`.
    pub(super) fn number_in(node: &dyn WritableNode, shared: &Arc<Shared>) -> Result<u64> {
        let any: &dyn Any = node;
        any.downcast_ref::<MemNode>()
            .filter(|node| Arc::ptr_eq(&node.shared, shared))
            .map(|node| node.ino)
            .ok_or(FOREIGN)
    }

    fn number(&self, node: &dyn WritableNode) -> Result<u64> {
        MemNode::number_in(node, &self.shared)
    }

    fn find(&self, name: &Name) -> Result<Option<(Arc<MemNode>, Attr)>> {
        let tree = self.shared.tree.read();
        let Some(ino) = tree.child(self.ino, name)? else {
            return Ok(None);
        };
        let attr = tree.attr(ino, self.shared.dev)?;
        let node = MemNode::new(&self.shared, &tree, ino, self.face)?;
        Ok(Some((node, attr)))
    }

    fn changing(&self) -> Result<parking_lot::RwLockWriteGuard<'_, Tree>> {
        match self.face {
            Face::Writable => Ok(self.shared.tree.write()),
            Face::ReadOnly => Err(Error::ReadOnly),
        }
    }
}

/// Takes the tree's lock: so no node is dropped by whoever holds it.
impl Drop for MemNode {
    fn drop(&mut self) {
        let last = {
            let tree = self.shared.tree.read();
            let count = tree.get(self.ino).map(|inode| {
                let before = inode.handles.fetch_sub(1, Ordering::Release);
                before == 1 && inode.nlink == 0
            });
            count.unwrap_or(false)
        };
        if last {
            self.shared.tree.write().let_go(self.ino);
        }
    }
}

impl Node for MemNode {
    fn attr(&self) -> Result<Attr> {
        self.shared.tree.read().attr(self.ino, self.shared.dev)
    }

    fn attr_of(&self, name: &Name) -> Result<Option<Attr>> {
        let tree = self.shared.tree.read();
        match tree.child(self.ino, name)? {
            Some(ino) => tree.attr(ino, self.shared.dev).map(Some),
            None => Ok(None),
        }
    }

    fn lookup(&self, name: &Name) -> Result<Option<Found<dyn Node>>> {
        let Some((node, attr)) = self.find(name)? else {
            return Ok(None);
        };
        Ok(Some(Found { node, attr }))
    }

    fn entries(&self, each: &mut dyn FnMut(RawEntry<'_>) -> ControlFlow<()>) -> Result<()> {
        // A copy: `each` may call back into the storage.
        let mut listing = Vec::new();
        {
            let tree = self.shared.tree.read();
            for (name, ino) in tree.entries(self.ino)? {
                listing.push((name.clone(), tree.get(*ino)?.kind(), *ino));
            }
        }
        for (name, kind, ino) in &listing {
            let entry = RawEntry {
                name,
                kind: Some(*kind),
                ino: *ino,
            };
            if each(entry).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn open(&self, access: Access) -> Result<Arc<dyn OpenFile>> {
        if access == Access::Write && self.face == Face::ReadOnly {
            return Err(Error::ReadOnly);
        }
        let tree = self.shared.tree.read();
        tree.file(self.ino)?;
        let node = MemNode::new(&self.shared, &tree, self.ino, self.face)?;
        Ok(Arc::new(MemFile::new(node, access)))
    }

    fn link_target(&self) -> Result<Vec<u8>> {
        match &self.shared.tree.read().get(self.ino)?.body {
            Body::Symlink(target) => Ok(target.clone()),
            Body::File(_)
            | Body::Directory { .. }
            | Body::Fifo
            | Body::Socket
            | Body::CharDevice(_)
            | Body::BlockDevice(_) => Err(Error::Invalid("not a symlink")),
        }
    }

    fn xattr(&self, name: &[u8]) -> Result<Option<Vec<u8>>> {
        let tree = self.shared.tree.read();
        Ok(tree.get(self.ino)?.xattrs.get(name).cloned())
    }

    fn xattr_names(&self) -> Result<Vec<Vec<u8>>> {
        let tree = self.shared.tree.read();
        Ok(tree.get(self.ino)?.xattrs.keys().cloned().collect())
    }

    fn stat_fs(&self) -> Result<StatFs> {
        Ok(StatFs {
            bsize: PAGE as u32,
            frsize: PAGE as u32,
            blocks: PLENTY,
            bfree: PLENTY,
            bavail: self.shared.available.load(Ordering::Relaxed),
            files: PLENTY,
            ffree: PLENTY,
            namelen: crate::name::NAME_MAX as u32,
        })
    }

    fn handle(&self) -> Result<Option<FileHandle>> {
        Ok(Some(handle(&self.shared, self.ino)))
    }
}

/// Numbers are used once, so they are handles; the storage's own is its uuid.
pub(super) fn handle(shared: &Shared, ino: u64) -> FileHandle {
    FileHandle {
        uuid: u128::from(shared.dev).to_le_bytes(),
        kind: 1,
        bytes: ino.to_le_bytes().to_vec(),
    }
}

impl WritableNode for MemNode {
    fn lookup_writable(&self, name: &Name) -> Result<Option<Found<dyn WritableNode>>> {
        if self.face == Face::ReadOnly {
            return Err(Error::ReadOnly);
        }
        let Some((node, attr)) = self.find(name)? else {
            return Ok(None);
        };
        Ok(Some(Found { node, attr }))
    }

    fn create(&self, name: &Name, new: &New<'_>) -> Result<Found<dyn WritableNode>> {
        let mut tree = self.changing()?;
        let ino = tree.create(self.ino, name, new)?;
        let attr = tree.attr(ino, self.shared.dev)?;
        let node = MemNode::new(&self.shared, &tree, ino, self.face)?;
        Ok(Found { node, attr })
    }

    fn link(&self, name: &Name, node: &dyn WritableNode, mode: RenameMode) -> Result<()> {
        let ino = self.number(node)?;
        self.changing()?.link(self.ino, name, ino, mode)
    }

    fn remove(&self, name: &Name, what: Removal, node: Option<&dyn WritableNode>) -> Result<()> {
        node.map(|node| self.number(node)).transpose()?;
        self.changing()?.remove(self.ino, name, what)
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
        let to = self.number(to)?;
        for node in [moved, displaced].into_iter().flatten() {
            self.number(node)?;
        }
        self.changing()?.rename(self.ino, name, to, to_name, mode)
    }

    fn relocate(&self, dir: &dyn WritableNode, _name: &Name) -> Result<()> {
        // A number leads to the object whatever its names are.
        self.number(dir).map(|_| ())
    }

    fn set_attr(&self, set: &SetAttr) -> Result<()> {
        let mut tree = self.changing()?;
        if let Some(size) = set.size {
            set_len(&mut tree, self.ino, size)?;
        }
        let inode = tree.get_mut(self.ino)?;
        if set.uid.is_some() || set.gid.is_some() {
            inode.owner.uid = set.uid.unwrap_or(inode.owner.uid);
            inode.owner.gid = set.gid.unwrap_or(inode.owner.gid);
            drop_privileges(inode);
        }
        if let Some(mode) = set.mode {
            match inode.kind() {
                FileKind::Symlink => {
                    return Err(Error::Unsupported("a symlink has no mode of its own"));
                }
                FileKind::Regular
                | FileKind::Directory
                | FileKind::Fifo
                | FileKind::Socket
                | FileKind::CharDevice
                | FileKind::BlockDevice => {
                    inode.mode = mode & 0o7777;
                    acl::follow_mode(inode);
                }
            }
        }
        let now = Timestamp::now();
        let at = |time| match time {
            SetTime::Now => now,
            SetTime::To(time) => time,
        };
        inode.atime = set.atime.map_or(inode.atime, at);
        inode.mtime = set.mtime.map_or(inode.mtime, at);
        if *set != SetAttr::default() {
            inode.ctime = now;
        }
        Ok(())
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], how: SetXattr) -> Result<()> {
        let mut tree = self.changing()?;
        set_xattr(&mut tree, self.ino, name, value, how)?;
        tree.get_mut(self.ino)?.ctime = Timestamp::now();
        Ok(())
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<()> {
        let mut tree = self.changing()?;
        let inode = tree.get_mut(self.ino)?;
        match inode.xattrs.remove(name) {
            Some(_) => {}
            // To have no ACL but the mode is to have none: `vfs_remove_acl`.
            None if matches!(name, acl::ACCESS | acl::DEFAULT) => {}
            None => return Err(Error::NoAttribute),
        }
        inode.ctime = Timestamp::now();
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }
}

/// What `chown(2)` takes from a program that is not a directory: the setuid
/// bit, the setgid bit if the group may execute, and capabilities.
fn drop_privileges(inode: &mut Inode) {
    if inode.kind().is_dir() {
        return;
    }
    inode.mode &= !0o4000;
    if inode.mode & 0o010 != 0 {
        inode.mode &= !0o2000;
    }
    inode.xattrs.remove(b"security.capability".as_slice());
}

pub(super) fn set_len(tree: &mut Tree, ino: u64, len: u64) -> Result<()> {
    if len > MAX {
        return Err(Error::Errno(Errno::FBIG));
    }
    tree.file_mut(ino)?.set_len(len);
    tree.get_mut(ino)?.modified();
    Ok(())
}

/// Limits and namespaces as `xattr(7)` and `fs/xattr.c` have them.
pub(super) fn set_xattr(
    tree: &mut Tree,
    ino: u64,
    name: &[u8],
    value: &[u8],
    how: SetXattr,
) -> Result<()> {
    const NAME_MAX: usize = 255;
    const VALUE_MAX: usize = 64 * 1024;
    let inode = tree.get_mut(ino)?;
    let is_user = name.starts_with(b"user.");
    let known = is_user
        || name.starts_with(b"trusted.")
        || name.starts_with(b"security.")
        || matches!(
            name,
            b"system.posix_acl_access" | b"system.posix_acl_default"
        );
    if name.len() > NAME_MAX {
        return Err(Error::Errno(Errno::RANGE));
    }
    if value.len() > VALUE_MAX {
        return Err(Error::Errno(Errno::TOOBIG));
    }
    if !known {
        return Err(Error::Unsupported("no such namespace of attributes"));
    }
    if is_user && !matches!(inode.body, Body::File(_) | Body::Directory { .. }) {
        return Err(Error::NotPermitted("user attributes on a special file"));
    }
    match name {
        acl::ACCESS => return acl::set_access(inode, value),
        acl::DEFAULT => return acl::set_default(inode, value),
        _ => {}
    }
    match (how, inode.xattrs.contains_key(name)) {
        (SetXattr::Create, true) => Err(Error::Exists),
        (SetXattr::Replace, false) => Err(Error::NoAttribute),
        (SetXattr::Any, _) | (SetXattr::Create, false) | (SetXattr::Replace, true) => {
            inode.xattrs.insert(name.to_vec(), value.to_vec());
            Ok(())
        }
    }
}

impl fmt::Debug for MemNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemNode")
            .field("ino", &self.ino)
            .finish_non_exhaustive()
    }
}
