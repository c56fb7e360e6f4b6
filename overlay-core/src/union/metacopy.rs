//! Files whose data lies on a branch below: a change of attributes copies
//! those alone, the data follows at the first write.
//!
//! The copy has its full size, as a hole, and a mark; without the mark it has
//! its data. Source: `ovl_need_meta_copy_up` and `ovl_copy_up_meta_inode_data`
//! in `fs/overlayfs/copy_up.c`. Data is brought under the copy-up lock.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Union;
use super::copy_up::DataNeeded;
use super::inode::{Body, DataBelow, Inode, Other};
use super::locks::CopyUpGuard;
use super::options::Metacopy;
use super::target::Target;
use crate::attr::{Attr, FileKind, SetAttr};
use crate::error::{Error, Result};
use crate::layer::{Access, Found, Node, OpenFile, SetXattr, WritableNode, copy_data};
use crate::name::NameBuf;

/// File capabilities: dropped by the kernel whenever a file is written.
const CAPABILITIES: &[u8] = b"security.capability";

impl Inode {
    fn other(&self) -> Option<&Other> {
        match &self.body {
            Body::Directory(_) => None,
            Body::Other(other) => Some(other),
        }
    }

    /// Keeps the data of a metacopy where it is, while its attributes change:
    /// bringing the data restores them as they were.
    pub(super) fn hold_data(&self) -> Option<CopyUpGuard<'_>> {
        self.lacks_data().then(|| CopyUpGuard::lock(self))
    }

    /// The blocks that the data takes, where `attr` of a metacopy has none.
    pub(super) fn blocks(&self, attr: &Attr) -> u64 {
        if !self.lacks_data() {
            return attr.blocks;
        }
        let below = match self.other().map(|other| (&other.data, &other.lower)) {
            Some((Some(data), _)) => match &**data {
                DataBelow::Node(node) => node.attr().ok(),
                DataBelow::Path(_) => None,
            },
            Some((None, Some(lower))) => lower.attr().ok(),
            Some((None, None)) | None => None,
        };
        // Not looked for yet, as the kernel does: what a file without holes has.
        let unit = u64::from(attr.blksize).max(512);
        let whole = || attr.size.div_ceil(unit).saturating_mul(unit / 512);
        below.map_or_else(whole, |below| below.blocks)
    }
}

impl Union {
    /// Opens the data that shows, for reading.
    pub(super) fn open_data(&self, inode: &Inode) -> Result<Arc<dyn OpenFile>> {
        let node = inode.node();
        // One without a size was cut, and a crash kept its mark from going.
        match inode.lacks_data() && node.attr()?.size > 0 {
            true => self.open_data_below(inode),
            false => node.open(Access::Read),
        }
    }

    /// Opens the data that what shows lacks.
    pub(super) fn open_data_below(&self, inode: &Inode) -> Result<Arc<dyn OpenFile>> {
        let other = inode.other().ok_or(Error::IsDirectory)?;
        match (&other.data, &other.lower) {
            (Some(data), _) => match &**data {
                DataBelow::Node(node) => node.open(Access::Read),
                DataBelow::Path(path) => self.find_data(path)?.open(Access::Read),
            },
            (None, Some(lower)) => lower.open(Access::Read),
            (None, None) => Err(Error::Damaged("the data of a metacopy file is missing")),
        }
    }

    /// `ENOENT` if what shows lacks its data, and the data-only branches do not
    /// have it. Nothing else is left to be looked for.
    pub(super) fn require_data(&self, inode: &Inode) -> Result<()> {
        match inode.other().and_then(|other| other.data.as_deref()) {
            Some(DataBelow::Path(path)) if inode.lacks_data() => self.find_data(path).map(drop),
            Some(DataBelow::Path(_) | DataBelow::Node(_)) | None => Ok(()),
        }
    }

    /// The regular file at `path` on the topmost data-only branch that has it;
    /// `ENOENT` if none has. Source: `ovl_lookup_data_layers`.
    fn find_data(&self, path: &VecDeque<NameBuf>) -> Result<Arc<dyn Node>> {
        'branches: for root in &self.data_roots {
            let mut here = Arc::clone(root);
            let mut kind = FileKind::Directory;
            for name in path {
                match (kind, here.lookup(name)?) {
                    (FileKind::Directory, Some(Found { node, attr })) => {
                        here = node;
                        kind = attr.kind;
                    }
                    _ => continue 'branches,
                }
            }
            if kind == FileKind::Regular {
                return Ok(here);
            }
        }
        Err(Error::NotFound)
    }

    /// Whether a copy-up for a change of attributes leaves the data below.
    pub(super) fn leaves_data(&self, attr: &Attr, needed: DataNeeded) -> bool {
        needed == DataNeeded::Attributes
            && self.options.metacopy == Metacopy::On
            && attr.kind == FileKind::Regular
            && attr.size > 0
    }

    /// Gives a copy its data, or cuts it; returns whether there was a need.
    /// Until its mark goes, the data below counts: a crash loses nothing.
    pub(super) fn bring_data(
        &self,
        target: &Target,
        inode: &Inode,
        needed: DataNeeded,
    ) -> Result<bool> {
        if needed == DataNeeded::Attributes || !inode.lacks_data() {
            return Ok(false);
        }
        let _copying = CopyUpGuard::lock(inode);
        let copy = inode.copy().ok_or(Error::Stale)?;
        if !inode.lacks_data() {
            return Ok(false);
        }
        if !target.dialect.lacks_data(&**copy, &copy.attr()?)? {
            // It was brought for an inode that died since; see `refresh`.
            inode.set_lacks_data(false);
            return Ok(false);
        }
        match needed {
            // The size is the copy's own, and zero needs no data: the file is
            // cut from this moment on.
            DataNeeded::Nothing => cut(target, &**copy)?,
            DataNeeded::All | DataNeeded::Attributes => {
                self.fill(&**copy, &*self.open_data_below(inode)?)?;
                copy.remove_xattr(target.dialect.metacopy_mark().0)?;
            }
        }
        inode.set_lacks_data(false);
        // That the mark is gone, where such a thing has to be durable.
        self.sync_copy(&**copy, FileKind::Regular, None)?;
        Ok(true)
    }

    /// Looks again at what was found before `inode` was made: its data may
    /// have been brought meanwhile, for an inode that died before this one.
    pub(super) fn refresh_data(&self, inode: &Inode) -> Result<()> {
        let (Some(target), Some(copy)) = (self.upper(), inode.copy()) else {
            return Ok(());
        };
        if inode.lacks_data() && !target.dialect.lacks_data(&**copy, &copy.attr()?)? {
            inode.set_lacks_data(false);
        }
        Ok(())
    }

    /// Copies `data` into `copy`, and leaves its attributes as they are.
    fn fill(&self, copy: &dyn WritableNode, data: &dyn OpenFile) -> Result<()> {
        let before = copy.attr()?;
        let capabilities = copy.xattr(CAPABILITIES)?;
        let file = copy.open(Access::Write)?;
        let copied = copy_data(data, &*file, before.size);
        if copied.is_err() {
            // The copy stays without data: it need not keep a part's blocks.
            let hole = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
            if let Err(error) = file.allocate(hole as u32, 0, before.size) {
                tracing::debug!(%error, "a part of the data stays");
            }
        }
        let restored = restore(copy, &before, capabilities);
        copied.and(restored)?;
        self.sync_copy(copy, FileKind::Regular, Some(&*file))
    }
}

/// What writing to a copy may have changed: setuid and setgid, capabilities,
/// and times.
fn restore(copy: &dyn WritableNode, before: &Attr, capabilities: Option<Vec<u8>>) -> Result<()> {
    if let Some(capabilities) = capabilities {
        copy.set_xattr(CAPABILITIES, &capabilities, SetXattr::Any)?;
    }
    copy.set_attr(&SetAttr {
        mode: Some(before.mode),
        ..SetAttr::times_of(before)
    })
}

/// Makes a copy without data an empty file, or leaves it as it was.
fn cut(target: &Target, copy: &dyn WritableNode) -> Result<()> {
    let before = copy.attr()?;
    let capabilities = copy.xattr(CAPABILITIES)?;
    let file = copy.open(Access::Write)?;
    file.set_len(0)?;
    let unmarked = copy.remove_xattr(target.dialect.metacopy_mark().0);
    if unmarked.is_err() {
        let restored = file.set_len(before.size);
        if let Err(error) = restored.and_then(|()| restore(copy, &before, capabilities)) {
            tracing::warn!(%error, "a file was cut although that failed");
        }
    }
    unmarked
}
