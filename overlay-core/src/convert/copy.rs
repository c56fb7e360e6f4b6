//! A copy of a branch as it is, to be converted then.
//!
//! In the order of copy-up: data, owner, attributes, mode, times. Data is
//! shared where the filesystem can, holes stay holes, and hard links within
//! the branch stay hard links.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::failure::Done;
use super::walk::list;
use super::{Event, Failure};
use crate::attr::{Attr, FileKind, SetAttr};
use crate::error::{Errno, Error, Result};
use crate::layer::{Access, New, NewKind, Node, RenameMode, SetXattr, WritableNode, copy_data};
use crate::name::{Name, NameBuf};
use crate::sys;

/// Nobody else looks into what is being made.
const MODE: u32 = 0o700;

/// A directory that is being copied: what is still to be done in it, and its
/// way from the root.
struct Open {
    from: Arc<dyn Node>,
    to: Arc<dyn WritableNode>,
    left: Vec<NameBuf>,
    path: Vec<u8>,
}

/// An object, and its copy.
type Pair = (Arc<dyn Node>, Arc<dyn WritableNode>);

pub(super) struct Copy<'a> {
    /// First names of what has several.
    linked: BTreeMap<(u64, u64), Arc<dyn WritableNode>>,
    each: &'a mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    copied: u64,
}

impl Copy<'_> {
    /// Copies all that is below `from` into `to`, and the attributes of the
    /// root but for its times.
    pub(super) fn all(
        from: &Arc<dyn Node>,
        to: &Arc<dyn WritableNode>,
        each: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Done<()> {
        let mut copy = Copy {
            linked: BTreeMap::new(),
            each,
            copied: 0,
        };
        let mut open = vec![copy.open(Arc::clone(from), Arc::clone(to), Vec::new())?];
        while let Some(dir) = open.last_mut() {
            let Some(name) = dir.left.pop() else {
                let failed = |source| Failure::At {
                    path: dir.path.clone(),
                    source,
                };
                let attr = dir.from.attr().map_err(failed)?;
                attributes(&*dir.from, &attr, &*dir.to).map_err(failed)?;
                open.pop();
                continue;
            };
            let path = match dir.path.is_empty() {
                true => name.as_bytes().to_vec(),
                false => [&dir.path, &b"/"[..], name.as_bytes()].concat(),
            };
            let copied = copy.entry(&*dir.from, &*dir.to, &name);
            let below = copied.map_err(|source| Failure::At {
                path: path.clone(),
                source,
            })?;
            copy.copied += 1;
            if (copy.each)(Event::Progress(copy.copied)).is_break() {
                return Err(Failure::Stopped);
            }
            if let Some((from, to)) = below {
                open.push(copy.open(from, to, path)?);
            }
        }
        Ok(())
    }

    fn open(&self, from: Arc<dyn Node>, to: Arc<dyn WritableNode>, path: Vec<u8>) -> Done<Open> {
        let left = list(&*from).map_err(|source| Failure::At {
            path: path.clone(),
            source,
        })?;
        Ok(Open {
            from,
            to,
            left: left.into_iter().map(|(name, _)| name).collect(),
            path,
        })
    }

    /// Copies one entry; a directory is returned, to be filled and finished.
    fn entry(
        &mut self,
        from: &dyn Node,
        to: &dyn WritableNode,
        name: &Name,
    ) -> Result<Option<Pair>> {
        let found = from.lookup(name)?.ok_or(Error::NotFound)?;
        let (node, attr) = (found.node, found.attr);
        let id = (attr.dev, attr.ino);
        if let Some(first) = self.linked.get(&id) {
            to.link(name, &**first, RenameMode::NoReplace)?;
            return Ok(None);
        }
        let target;
        let kind = match attr.kind {
            FileKind::Regular => NewKind::Regular,
            FileKind::Directory => NewKind::Directory,
            FileKind::Symlink => {
                target = node.link_target()?;
                NewKind::Symlink(&target)
            }
            FileKind::Fifo => NewKind::Fifo,
            FileKind::Socket => NewKind::Socket,
            FileKind::CharDevice => NewKind::CharDevice(attr.rdev),
            FileKind::BlockDevice => NewKind::BlockDevice(attr.rdev),
        };
        let new = New {
            kind,
            mode: MODE,
            owner: sys::meta::process_owner(),
            xattrs: &[],
        };
        let copy = to.create(name, &new)?.node;
        if attr.kind.is_dir() {
            return Ok(Some((node, copy)));
        }
        if attr.kind == FileKind::Regular && attr.size > 0 {
            let (from, to) = (node.open(Access::Read)?, copy.open(Access::Write)?);
            copy_data(&*from, &*to, attr.size)?;
        }
        attributes(&*node, &attr, &*copy)?;
        if attr.nlink > 1 {
            self.linked.insert(id, copy);
        }
        Ok(None)
    }
}

/// Owner, attributes, mode and times.
fn attributes(from: &dyn Node, attr: &Attr, to: &dyn WritableNode) -> Result<()> {
    if from.hides_owner(attr)? {
        let why = "the owner has no id in this user namespace, and would be lost";
        return Err(Error::system("copy", why, Errno::OVERFLOW));
    }
    let there = to.attr()?;
    if (there.uid, there.gid) != (attr.uid, attr.gid) {
        to.set_attr(&SetAttr {
            uid: Some(attr.uid),
            gid: Some(attr.gid),
            ..SetAttr::default()
        })?;
    }
    for name in from.xattr_names()? {
        if let Some(value) = from.xattr(&name)? {
            to.set_xattr(&name, &value, SetXattr::Any)?;
        }
    }
    to.set_attr(&SetAttr {
        mode: (attr.kind != FileKind::Symlink).then_some(attr.mode),
        ..SetAttr::times_of(attr)
    })
}
