//! What both directions do to a branch, and in which order.
//!
//! First all marks of the new form are added, everywhere; then all of the old
//! one are taken away. In between a directory has some of both, and reads
//! right as a layer of container tools. Nothing here depends on what an
//! earlier run of this process knew: whatever it finds done is done.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::failure::Done;
use super::form::{Conversion, Form, Target};
use super::memory::{self, Look};
use super::walk::{Dir, Tree, list, walk};
use super::{Event, Failure, Summary, record};
use crate::attr::FileKind;
use crate::dialect::conversion::{
    AUFS_BASE, AUFS_NAME_MAX, AUFS_ORPHANS, AUFS_PSEUDO_LINKS, CONVERSION,
};
use crate::dialect::{Namespace, Opacity, WhiteoutForm};
use crate::error::{Errno, Error, Result};
use crate::layer::{
    New, NewKind, Node, Removal, RenameMode, SetXattr, Staged, WritableNode, WritableStorage,
};
use crate::name::{Name, NameBuf};

const _: () = assert!(AUFS_NAME_MAX + b".wh.".len() <= crate::name::NAME_MAX);

/// A directory that can be changed.
pub(super) type Place = Dir<Arc<dyn WritableNode>>;

pub(super) struct Work<'a> {
    pub storage: &'a Arc<dyn WritableStorage>,
    pub root: Arc<dyn WritableNode>,
    pub conversion: Conversion,
    /// How whiteouts are made, where they are no names.
    pub form: WhiteoutForm,
    /// What further whiteouts are hard links of, by what was remembered.
    pub groups: BTreeMap<u64, Arc<dyn WritableNode>>,
    /// AuFS' own file, once it was needed.
    pub base: Option<Arc<dyn WritableNode>>,
    each: &'a mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    seen: u64,
}

/// Makes everything durable that was changed.
pub(super) type Settle<'a> = &'a dyn Fn() -> Result<()>;

/// Converts a branch, or does what an earlier run left to be done.
pub(super) fn work(
    conversion: Conversion,
    storage: &Arc<dyn WritableStorage>,
    settle: Settle<'_>,
    each: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
) -> Done<Summary> {
    let devices =
        conversion.namespace == Namespace::Trusted && storage.capabilities().whiteout_device;
    let mut work = Work {
        storage,
        root: storage.root(),
        conversion,
        form: match devices {
            true => WhiteoutForm::Device,
            false => WhiteoutForm::MarkedFile,
        },
        groups: BTreeMap::new(),
        base: None,
        each,
        seen: 0,
    };
    let at_root = |source| Failure::At {
        path: Vec::new(),
        source,
    };
    work.begin().map_err(at_root)?;
    settle().map_err(at_root)?;
    let root = Arc::clone(&work.root);
    walk(Arc::clone(&root), &mut |dir, below| {
        let entries = work.list(dir)?;
        match work.conversion.to {
            Target::Overlay => work.add_overlay_marks(dir, &entries)?,
            Target::Aufs => work.add_aufs_marks(dir, &entries)?,
        }
        work.directories(dir, &entries, below)
    })?;
    walk(root, &mut |dir, below| {
        let entries = work.list(dir)?;
        match work.conversion.to {
            Target::Overlay => work.remove_aufs_marks(dir, &entries)?,
            Target::Aufs => work.remove_overlay_marks(dir, &entries)?,
        }
        if !dir.is_root() {
            dir.at(work.put_times_back(&*dir.node))?;
        }
        work.directories(dir, &entries, below)
    })?;
    settle().map_err(at_root)?;
    work.end().map_err(at_root)?;
    settle().map_err(at_root)?;
    Ok(Summary {
        objects: work.seen,
        ..Summary::default()
    })
}

impl Work<'_> {
    /// Says at the root what is under way.
    fn begin(&mut self) -> Result<()> {
        let root = Arc::clone(&self.root);
        let record = self.conversion.namespace.conversion_record();
        if root.xattr(record)?.is_none() {
            let value = record::root_value(self.conversion, &*root)?;
            root.set_xattr(record, &value, SetXattr::Any)?;
        }
        let new = New {
            kind: NewKind::Directory,
            mode: 0o700,
            owner: crate::sys::meta::process_owner(),
            xattrs: &[],
        };
        match root.create(Name::new(CONVERSION)?, &new) {
            Ok(_) => {}
            Err(error) if error.is(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        match self.conversion.to {
            Target::Overlay => self.remember_root(),
            Target::Aufs => self.make_root_entries(),
        }
    }

    /// The last steps: the branch has its new form.
    fn end(&mut self) -> Result<()> {
        let root = &self.root;
        if self.conversion.to == Target::Aufs {
            unset(&**root, self.conversion.reading().opaque_mark().0)?;
        }
        self.storage.clear_work()?;
        remove_tree(root, Name::new(CONVERSION)?)?;
        self.put_times_back(&**root)
    }

    /// Remembers what AuFS keeps at the root.
    fn remember_root(&self) -> Result<()> {
        let name = self.conversion.namespace.conversion_memory();
        if self.root.xattr(name)?.is_some() {
            return Ok(());
        }
        let mut entries = Vec::new();
        for name in [AUFS_BASE, AUFS_PSEUDO_LINKS, AUFS_ORPHANS] {
            if let Some(attr) = self.root.attr_of(Name::new(name)?)? {
                entries.push((name, Look::of(&attr)));
            }
        }
        let value = memory::root_value(&entries);
        self.root.set_xattr(name, &value, SetXattr::Any)
    }

    /// Keeps the times of a directory that is about to be changed.
    pub(super) fn keep_times(&self, node: &dyn WritableNode) -> Result<()> {
        let name = self.conversion.namespace.conversion_record();
        if node.xattr(name)?.is_some() {
            return Ok(());
        }
        let value = record::value(self.conversion, &node.attr()?);
        node.set_xattr(name, &value, SetXattr::Any)
    }

    fn put_times_back(&self, node: &dyn WritableNode) -> Result<()> {
        let name = self.conversion.namespace.conversion_record();
        let Some(value) = node.xattr(name)? else {
            return Ok(());
        };
        node.set_attr(&record::times(&value)?)?;
        node.remove_xattr(name)
    }

    fn list(&mut self, dir: &Place) -> Done<Vec<Listed>> {
        let mut entries = dir.at(list(&*dir.node))?;
        entries.retain(|(name, _)| !dir.is_root() || name.as_bytes() != CONVERSION);
        self.seen += entries.len() as u64;
        match (self.each)(Event::Progress(self.seen)) {
            ControlFlow::Continue(()) => Ok(entries),
            ControlFlow::Break(()) => Err(Failure::Stopped),
        }
    }

    /// Names the directories that are entries, to be visited.
    fn directories(&self, dir: &Place, entries: &[Listed], below: &mut Vec<NameBuf>) -> Done<()> {
        for (name, kind) in entries {
            if self.conversion.reading().reserves(name) {
                continue;
            }
            let is_dir = match kind {
                Some(kind) => kind.is_dir(),
                None => dir
                    .at_entry(name, dir.node.attr_of(name))?
                    .is_some_and(|attr| attr.kind.is_dir()),
            };
            if is_dir {
                below.push(name.clone());
            }
        }
        Ok(())
    }

    /// Whether an entry is a whiteout by itself.
    pub(super) fn hides(&self, dir: &Place, name: &Name, marked: bool) -> Result<bool> {
        match dir.node.attr_of(name)? {
            Some(attr) => self
                .conversion
                .reading()
                .entry_hides(&*dir.node, name, &attr, marked),
            None => Ok(false),
        }
    }

    /// Whether whiteouts in a directory may be files.
    pub(super) fn is_marked(&self, dir: &Place) -> Result<bool> {
        let marked = |node: &dyn Node| {
            let opacity = self.conversion.reading().opacity(node)?;
            Ok(opacity == Opacity::HoldsFileWhiteouts)
        };
        Ok(marked(&*dir.node)? && marked(&*self.root)?)
    }

    /// Makes an object, whole, with times; there may be one by now.
    pub(super) fn make(
        &self,
        dir: &dyn WritableNode,
        name: &Name,
        new: &New<'_>,
        look: Option<&Look>,
    ) -> Result<()> {
        let staged = Staged::new(self.storage, new)?;
        if let Some(look) = look {
            staged.node().set_attr(&look.times())?;
        }
        match staged.publish(dir, name, RenameMode::NoReplace, None) {
            Ok(_) => Ok(()),
            Err(error) if error.is(Errno::EXIST) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether the branch may hold attributes of other namespaces that count.
    pub(super) fn has_other_marks(&self) -> bool {
        match self.conversion.from {
            Form::Containers => true,
            Form::Aufs | Form::Overlay => false,
        }
    }

    /// Takes the attributes away for which `goes` says so.
    pub(super) fn unset_all(
        &self,
        node: &dyn WritableNode,
        goes: impl Fn(&[u8]) -> bool,
    ) -> Result<()> {
        for name in node.xattr_names()? {
            if goes(&name) {
                unset(node, &name)?;
            }
        }
        Ok(())
    }

    /// Whether this is an attribute of a namespace that counts beside ours.
    pub(super) fn is_other_mark(&self, name: &[u8]) -> bool {
        let mut others = self.conversion.namespace.other_prefixes();
        self.has_other_marks() && others.any(|prefix| name.starts_with(prefix))
    }
}

/// One entry of a directory.
pub(super) type Listed = (NameBuf, Option<FileKind>);

fn unset(node: &dyn WritableNode, name: &[u8]) -> Result<()> {
    match node.remove_xattr(name) {
        Ok(()) | Err(Error::NoAttribute) => Ok(()),
        Err(error) if error.is(Errno::NODATA) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes an entry, with all in it.
pub(super) fn remove_tree(dir: &Arc<dyn WritableNode>, name: &Name) -> Result<()> {
    let mut waiting = vec![(Arc::clone(dir), name.to_owned())];
    while let Some((dir, name)) = waiting.last() {
        let Some((node, attr)) = dir.child(name)? else {
            waiting.pop();
            continue;
        };
        if !attr.kind.is_dir() {
            dir.remove(name, Removal::NonDirectory, None)?;
            continue;
        }
        let entries = list(&*node)?;
        if entries.is_empty() {
            dir.remove(name, Removal::Directory, None)?;
            continue;
        }
        let entries = entries.into_iter();
        waiting.extend(entries.map(|(name, _)| (Arc::clone(&node), name)));
    }
    Ok(())
}
