//! The way through a branch, directory by directory, parents first.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::Failure;
use super::failure::Done;
use crate::attr::{Attr, FileKind};
use crate::error::Result;
use crate::layer::{Node, WritableNode};
use crate::name::{Name, NameBuf};

/// A handle on an object, to look at it or to change it.
pub(super) trait Tree: Clone {
    fn child(&self, name: &Name) -> Result<Option<(Self, Attr)>>;
}

impl Tree for Arc<dyn Node> {
    fn child(&self, name: &Name) -> Result<Option<(Self, Attr)>> {
        let found = self.lookup(name)?;
        Ok(found.map(|found| (found.node, found.attr)))
    }
}

impl Tree for Arc<dyn WritableNode> {
    fn child(&self, name: &Name) -> Result<Option<(Self, Attr)>> {
        let found = self.lookup_writable(name)?;
        Ok(found.map(|found| (found.node, found.attr)))
    }
}

/// A directory, and the way to it.
pub(super) struct Dir<T> {
    parent: Option<Arc<Dir<T>>>,
    /// `None` for the root.
    name: Option<NameBuf>,
    pub node: T,
}

impl<T> Dir<T> {
    pub(super) fn is_root(&self) -> bool {
        self.name.is_none()
    }

    /// The way from the root of the branch.
    pub(super) fn path(&self) -> Vec<u8> {
        let mut names = Vec::new();
        let mut at = Some(self);
        while let Some(dir) = at {
            names.extend(dir.name.as_ref().map(|name| name.as_bytes()));
            at = dir.parent.as_deref();
        }
        names.reverse();
        names.join(&b'/')
    }

    pub(super) fn path_of(&self, name: &Name) -> Vec<u8> {
        let mut path = self.path();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name.as_bytes());
        path
    }

    /// Says where it was that something failed.
    pub(super) fn at<V>(&self, result: Result<V>) -> Done<V> {
        result.map_err(|source| Failure::At {
            path: self.path(),
            source,
        })
    }

    /// The same for an entry.
    pub(super) fn at_entry<V>(&self, name: &Name, result: Result<V>) -> Done<V> {
        result.map_err(|source| Failure::At {
            path: self.path_of(name),
            source,
        })
    }
}

impl<T> Drop for Dir<T> {
    /// Lets go of the parents one by one: a deep tree would overflow the stack.
    fn drop(&mut self) {
        let mut parent = self.parent.take();
        while let Some(mut dir) = parent.and_then(Arc::into_inner) {
            parent = dir.parent.take();
        }
    }
}

/// One entry of a listing.
pub(super) type Listed = (NameBuf, Option<FileKind>);

/// All entries, in an order that does not depend on the filesystem.
pub(super) fn list(node: &dyn Node) -> Result<Vec<Listed>> {
    let mut entries = Vec::new();
    node.entries(&mut |entry| {
        entries.push((entry.name.to_owned(), entry.kind));
        ControlFlow::Continue(())
    })?;
    entries.sort();
    Ok(entries)
}

/// Looks at a directory, and names those of its entries that are to be visited.
type Visit<'a, T> = &'a mut dyn FnMut(&Dir<T>, &mut Vec<NameBuf>) -> Done<()>;

/// Calls `visit` for the root and all directories that a call named, each
/// after its parent. A tree of any depth takes no more of the stack.
pub(super) fn walk<T: Tree>(root: T, visit: Visit<'_, T>) -> Done<()> {
    let root = Arc::new(Dir {
        parent: None,
        name: None,
        node: root,
    });
    let mut waiting = Vec::new();
    let mut below = Vec::new();
    visit(&root, &mut below)?;
    waiting.extend(below.drain(..).map(|name| (Arc::clone(&root), name)));
    while let Some((parent, name)) = waiting.pop() {
        let found = parent.at_entry(&name, parent.node.child(&name))?;
        let Some((node, attr)) = found else {
            continue;
        };
        if !attr.kind.is_dir() {
            continue;
        }
        let dir = Arc::new(Dir {
            parent: Some(parent),
            name: Some(name),
            node,
        });
        visit(&dir, &mut below)?;
        waiting.extend(below.drain(..).map(|name| (Arc::clone(&dir), name)));
    }
    Ok(())
}
