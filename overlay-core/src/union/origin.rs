//! Where copies come from: a copy says by a file handle which lower object it
//! is a copy of, so that it shows that one's number after a remount and a
//! rename too. Its directory says that such copies may be in it.
//!
//! Source: `ovl_set_origin`, `ovl_get_origin_fh` in `fs/overlayfs/copy_up.c`,
//! `ovl_check_origin` in `namei.c`, `ovl_set_impure` in `util.c`. Takes no
//! lock; the caller holds the directory's.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use super::Union;
use super::copies::Copies;
use super::index::Entry;
use super::inode::{Directory, Inode};
use super::options::{Index, Metacopy, Options, RedirectDir, Xino};
use super::table::ObjectId;
use super::target::Target;
use crate::attr::{Attr, FileKind};
use crate::dialect::origin::{self, Side, Stored};
use crate::error::{Errno, Error, IndexFault, Result};
use crate::handle::{FileHandle, Identity};
use crate::layer::{Node, SetXattr, Storage, WritableNode};
use crate::name::Name;
use crate::stack::{Stack, Store};

/// The filesystems of the read-only branches, as handles name them.
#[derive(Debug)]
pub(super) struct Filesystems {
    /// A branch of each, to ask for the object of a handle.
    asked: HashMap<[u8; 16], Arc<dyn Storage>>,
    /// Whether the process may ask at all.
    answers: AtomicBool,
}

impl Filesystems {
    /// Those of `stack`. Two filesystems with one identity (a snapshot beside
    /// its original) could be taken for each other: their handles do not count.
    /// Nor do those of one without, unless the options already forbid to make
    /// it anew between mounts. Source: `ovl_lower_uuid_ok` in
    /// `fs/overlayfs/super.c`.
    pub fn of(stack: &Stack, options: &Options) -> Result<Filesystems> {
        // The device of each identity, where that counts.
        let mut devices: HashMap<[u8; 16], Option<u64>> = HashMap::new();
        let mut asked = HashMap::new();
        let mut ambiguous = Vec::new();
        for branch in stack.branches() {
            let Store::ReadOnly(storage) = &branch.storage else {
                continue;
            };
            let root = storage.root();
            let Some(FileHandle { uuid, .. }) = root.handle()? else {
                continue;
            };
            let dev = match storage.identity() {
                Identity::Unique => None,
                Identity::Missing if !forbids_other_layers(options) => continue,
                Identity::Missing | Identity::OfDevice => Some(root.attr()?.dev),
            };
            if *devices.entry(uuid).or_insert(dev) != dev {
                ambiguous.push(uuid);
            }
            let storage = Arc::clone(storage);
            asked.entry(uuid).or_insert(storage);
        }
        asked.retain(|uuid, _| !ambiguous.contains(uuid));
        Ok(Filesystems {
            asked,
            answers: AtomicBool::new(true),
        })
    }

    /// The handle of a lower object, if it can be told from all others.
    pub fn handle(&self, lower: &dyn Node) -> Result<Option<FileHandle>> {
        let handle = lower.handle()?;
        Ok(handle.filter(|handle| self.asked.contains_key(&handle.uuid)))
    }

    /// The object of a handle, for a process that may ask.
    pub fn object(&self, handle: &FileHandle) -> Result<Option<Attr>> {
        match self.attr(handle)? {
            Answer::Is(attr) => Ok(attr),
            Answer::Refused => Err(Error::Index(IndexFault::NotPermitted)),
        }
    }

    /// An error if nobody may ask for the object of `handle`.
    pub fn must_answer(&self, handle: &FileHandle) -> Result<()> {
        self.object(handle).map(drop)
    }

    /// The object of a handle, or that nobody may ask.
    fn attr(&self, handle: &FileHandle) -> Result<Answer> {
        let Some(storage) = self.asked.get(&handle.uuid) else {
            return Ok(Answer::Is(None));
        };
        if !self.answers.load(Ordering::Relaxed) {
            return Ok(Answer::Refused);
        }
        match storage.attr_of_handle(handle) {
            Ok(attr) => Ok(Answer::Is(attr)),
            Err(error) if error.is(Errno::PERM) => {
                tracing::debug!(%error, "origins are looked for by their paths");
                self.answers.store(false, Ordering::Relaxed);
                Ok(Answer::Refused)
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether the lower layers must be the same at each mount: what is stored in
/// the writable one refers to them. Source: `ovl_allow_offline_changes`.
fn forbids_other_layers(options: &Options) -> bool {
    options.index == Index::On
        || options.metacopy == Metacopy::On
        || options.redirect_dir == RedirectDir::On
        || options.xino == Xino::On
}

/// What a copy-up does to the hard links of a lower file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LowerLinks {
    Break,
    /// By the index.
    Keep,
}

/// What comes of asking for the object of a handle.
enum Answer {
    Is(Option<Attr>),
    /// The process may not ask.
    Refused,
}

/// Whether a directory says that copies with an origin may be in it; read
/// once, for nobody else writes the branch.
#[derive(Debug, Default)]
pub(super) struct Impure(AtomicU8);

const UNKNOWN: u8 = 0;
const PURE: u8 = 1;
const IMPURE: u8 = 2;

impl Impure {
    fn get(&self, read: impl FnOnce() -> Result<bool>) -> Result<bool> {
        match self.0.load(Ordering::Acquire) {
            UNKNOWN => {}
            known => return Ok(known == IMPURE),
        }
        let impure = read()?;
        let value = if impure { IMPURE } else { PURE };
        // A mark that was set meanwhile stays.
        let order = Ordering::AcqRel;
        match self
            .0
            .compare_exchange(UNKNOWN, value, order, Ordering::Acquire)
        {
            Ok(_) => Ok(impure),
            Err(known) => Ok(known == IMPURE),
        }
    }

    fn set(&self) {
        self.0.store(IMPURE, Ordering::Release);
    }
}

impl Union {
    /// The value that says that a copy is one of `lower`; empty if that cannot
    /// be told, `None` for a copy that has parted from its original.
    pub(super) fn origin_value(
        &self,
        target: &Target,
        lower: &dyn Node,
        attr: &Attr,
        links: LowerLinks,
    ) -> Result<Option<Vec<u8>>> {
        if self.upper().is_none() {
            return Ok(None);
        }
        // One name of several is written: it is another object from now on.
        if !attr.kind.is_dir() && attr.nlink > 1 && links == LowerLinks::Break {
            return Ok(None);
        }
        if !target.dialect.takes_marks(attr.kind) {
            return Ok(None);
        }
        // Stored also where it does not count now: with other options it may.
        let handle = lower.handle()?;
        let value = handle.and_then(|handle| origin::to_value(&handle, Side::Lower));
        Ok(Some(value.unwrap_or_default()))
    }

    /// Whether the copy of a directory may hold copies with an origin.
    fn is_impure(&self, directory: &Directory, target: &Target, node: &dyn Node) -> Result<bool> {
        directory.impure.get(|| target.dialect.is_impure(node))
    }

    /// Notes that copies with an origin may be in `to`, before `moving` is, if
    /// it has one, or is one that merges with its origin.
    pub(super) fn make_impure_for(
        &self,
        target: &Target,
        moving: &Inode,
        copy: &dyn WritableNode,
        to: &Inode,
    ) -> Result<()> {
        let (Some(_), Some(directory), Some(node)) = (self.upper(), to.directory(), to.copy())
        else {
            return Ok(());
        };
        if !target.dialect.takes_marks(FileKind::Directory)
            || self.is_impure(directory, target, &**node)?
        {
            return Ok(());
        }
        let merges = moving.kind().is_dir() && moving.lower().is_some();
        if !merges && target.dialect.origin(copy)?.is_none() {
            return Ok(());
        }
        let (name, value) = target.dialect.impure_mark();
        node.set_xattr(name, value, SetXattr::Any)?;
        directory.impure.set();
        Ok(())
    }

    /// The number of an object that the writable branch stores as `name` in
    /// `parent`: that of its origin, if it has one. Not for directories.
    pub(super) fn number_of_written(
        &self,
        parent: &Inode,
        name: &Name,
        node: &dyn Node,
        attr: &Attr,
    ) -> Result<u64> {
        let id = ObjectId::from(attr);
        if let Some(number) = self.table.given(id) {
            return Ok(number);
        }
        let origin = self.origin_of(parent, name, node, attr)?;
        let number = match origin {
            None => return Ok(self.table.number_of_shown(id)),
            Some((handle, lower)) => self.number_of_copy(&handle, &lower, attr)?,
        };
        self.table.give(id, number);
        Ok(number)
    }

    fn number_of_copy(&self, handle: &FileHandle, lower: &Attr, attr: &Attr) -> Result<u64> {
        // Names of a lower object with several are copied one by one, if not
        // by the index.
        if lower.nlink == 1 {
            return Ok(self.table.number_of(ObjectId::from(lower)));
        }
        Ok(match self.index_of_written(handle, lower, attr)? {
            Some(entry) => entry.number,
            None => self.table.number_of(ObjectId::from(attr)),
        })
    }

    /// What the index says about an object that the writable branch stores as
    /// `name` in `parent`.
    pub(super) fn entry_of_written(
        &self,
        parent: &Inode,
        name: &Name,
        node: &dyn Node,
        attr: &Attr,
    ) -> Result<Option<Entry>> {
        match self.copies.get() {
            None => return Ok(None),
            Some(Copies::Plinks(plinks)) => return self.plink_of_written(plinks, attr),
            // One link is its name, so none lies in the index.
            Some(Copies::Index(_)) if attr.nlink < 2 => return Ok(None),
            Some(Copies::Index(_)) => {}
        }
        match self.origin_of(parent, name, node, attr)? {
            Some((handle, lower)) => self.index_of_written(&handle, &lower, attr),
            None => Ok(None),
        }
    }

    /// Whether listing `parent` means to ask each written entry for its origin.
    pub(super) fn may_hold_origins(&self, parent: &Inode) -> Result<bool> {
        match (self.upper(), parent.directory(), parent.copy()) {
            (Some(target), Some(directory), Some(node)) if self.has_lowers() => {
                self.is_impure(directory, target, &**node)
            }
            _ => Ok(false),
        }
    }

    /// The lower object that `node` is a copy of.
    fn origin_of(
        &self,
        parent: &Inode,
        name: &Name,
        node: &dyn Node,
        attr: &Attr,
    ) -> Result<Option<(FileHandle, Attr)>> {
        let Some(target) = self.upper() else {
            return Ok(None);
        };
        if !self.may_hold_origins(parent)? {
            return Ok(None);
        }
        let Some(Stored::Known(handle, Side::Lower)) = target.dialect.origin(node)? else {
            return Ok(None);
        };
        let lower = match self.filesystems.attr(&handle)? {
            Answer::Is(lower) => lower,
            Answer::Refused => self.origin_by_path(parent, name, &handle)?,
        };
        // A regular file may stand for anything else: its owners' attribute
        // says what it is, which a handle does not lead to.
        let lower =
            lower.filter(|lower| lower.kind == attr.kind || lower.kind == FileKind::Regular);
        Ok(lower.map(|lower| (handle, lower)))
    }

    /// The origin, if it has the name that its copy has now.
    fn origin_by_path(
        &self,
        parent: &Inode,
        name: &Name,
        handle: &FileHandle,
    ) -> Result<Option<Attr>> {
        let parts = parent.parts().iter();
        for lower in parts.filter(|part| part.node.writable().is_none()) {
            if let Some(found) = lower.node.lookup(name)? {
                let same = self.filesystems.handle(&*found.node)?.as_ref() == Some(handle);
                return Ok(same.then_some(found.attr));
            }
        }
        Ok(None)
    }
}
