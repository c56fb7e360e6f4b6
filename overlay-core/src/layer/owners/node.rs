//! Nodes that show other owners than their objects have.

use std::any::Any;
use std::fmt;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::file::OwnedFile;
use super::{Attribute, Owners, Shared};
use crate::attr::{Attr, FileKind, StatFs};
use crate::error::{Error, Result};
use crate::handle::FileHandle;
use crate::layer::{Access, Found, Node, OpenFile, RawEntry, WritableNode};
use crate::name::Name;

/// A node of the storage below, readable or writable, with its owner.
pub(super) struct Owned<N: ?Sized> {
    pub(super) inner: Arc<N>,
    pub(super) shared: Arc<Shared>,
    /// What it shows as.
    pub(super) kind: FileKind,
    /// The attribute that it can carry.
    pub(super) attribute: Option<Attribute>,
}

impl<N: Node + ?Sized> Owned<N> {
    /// A node that shows as `kind`, around one that is a `real`.
    pub(super) fn new(
        inner: Arc<N>,
        shared: &Arc<Shared>,
        real: FileKind,
        kind: FileKind,
    ) -> Arc<Owned<N>> {
        Arc::new(Owned {
            inner,
            shared: Arc::clone(shared),
            kind,
            attribute: shared.attribute_for(real),
        })
    }

    /// What was found below, with its owner.
    pub(super) fn found(shared: &Arc<Shared>, found: Found<N>) -> Result<(Arc<Owned<N>>, Attr)> {
        let attr = shared.shown(&*found.node, found.attr)?;
        let node = Owned::new(found.node, shared, found.attr.kind, attr.kind);
        Ok((node, attr))
    }
}

/// The node of the storage below.
pub(super) fn below(node: &dyn WritableNode) -> &dyn WritableNode {
    let any: &dyn Any = node;
    match any.downcast_ref::<Owned<dyn WritableNode>>() {
        Some(owned) => &*owned.inner,
        None => node,
    }
}

impl<N: Node + ?Sized + 'static> Node for Owned<N> {
    fn attr(&self) -> Result<Attr> {
        self.shared.shown(&*self.inner, self.inner.attr()?)
    }

    fn attr_of(&self, name: &Name) -> Result<Option<Attr>> {
        let Some(attr) = self.inner.attr_of(name)? else {
            return Ok(None);
        };
        match self.shared.attribute_on(&attr) {
            Some(attribute) => {
                let found = self.inner.lookup(name)?;
                let shown = |found: Found<dyn Node>| attribute.read(&*found.node, found.attr);
                found.map(shown).transpose()
            }
            None => Ok(Some(attr)),
        }
    }

    fn lookup(&self, name: &Name) -> Result<Option<Found<dyn Node>>> {
        let Some(found) = self.inner.lookup(name)? else {
            return Ok(None);
        };
        let (node, attr) = Owned::found(&self.shared, found)?;
        Ok(Some(Found { node, attr }))
    }

    fn entries(&self, each: &mut dyn FnMut(RawEntry<'_>) -> ControlFlow<()>) -> Result<()> {
        self.inner.entries(&mut |entry| {
            let kind = match (self.shared.owners, entry.kind) {
                // It may stand for something else.
                (Owners::In(_), Some(FileKind::Regular)) => None,
                (Owners::In(_) | Owners::WherePermitted(_), kind) => kind,
            };
            each(RawEntry { kind, ..entry })
        })
    }

    fn open(&self, access: Access) -> Result<Arc<dyn OpenFile>> {
        match self.kind {
            FileKind::Regular => {}
            FileKind::Directory => return Err(Error::IsDirectory),
            FileKind::Symlink
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::CharDevice
            | FileKind::BlockDevice => return Err(Error::Invalid("not a regular file")),
        }
        let file = self.inner.open(access)?;
        Ok(match self.attribute {
            Some(attribute) => OwnedFile::wrap(file, attribute),
            None => file,
        })
    }

    fn link_target(&self) -> Result<Vec<u8>> {
        self.inner.link_target()
    }

    fn xattr(&self, name: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.stored_name(name) {
            Ok(stored) => self.inner.xattr(&stored),
            // Nothing can have been stored under a name that cannot be.
            Err(_) => Ok(None),
        }
    }

    fn xattr_names(&self) -> Result<Vec<Vec<u8>>> {
        let stored = self.inner.xattr_names()?;
        let shown = stored.iter().filter_map(|name| self.shown_name(name));
        Ok(shown.map(<[u8]>::to_vec).collect())
    }

    fn stat_fs(&self) -> Result<StatFs> {
        self.inner.stat_fs()
    }

    fn handle(&self) -> Result<Option<FileHandle>> {
        self.inner.handle()
    }

    fn descriptor(&self) -> Result<Option<OwnedFd>> {
        self.inner.descriptor()
    }

    fn hides_owner(&self, _: &Attr) -> Result<bool> {
        if let Some(attribute) = self.attribute
            && self.inner.xattr(attribute.name())?.is_some()
        {
            return Ok(false);
        }
        let attr = self.inner.attr()?;
        match self.shared.owners {
            Owners::In(_) => self.inner.hides_owner(&attr),
            Owners::WherePermitted(loose) => {
                let own = self.shared.own;
                // What need not be kept is as good as the process' own.
                self.inner.hides_owner(&Attr {
                    uid: if loose.users() { own.uid } else { attr.uid },
                    gid: if loose.groups() { own.gid } else { attr.gid },
                    ..attr
                })
            }
        }
    }
}

impl<N: fmt::Debug + ?Sized> fmt::Debug for Owned<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Owned");
        out.field("inner", &&*self.inner).field("kind", &self.kind);
        out.finish_non_exhaustive()
    }
}
