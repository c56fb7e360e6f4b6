//! Attributes as the union shows and changes them. Takes no lock of its own;
//! changes copy up first.

use std::os::fd::AsFd;
use std::sync::Arc;

use super::Union;
use super::beside::hidden_directories;
use super::copy_up::{Cut, DataNeeded};
use super::inode::{Body, Inode};
use super::options::Size;
use super::table::ROOT;
use crate::attr::{Attr, FileKind, Protection, SetAttr, StatFs};
use crate::error::{Error, Result};
use crate::stack::{Branch, BranchId};
use crate::watch::Watcher;

impl Inode {
    /// What the union shows of `attr`, the attributes of the part on top.
    pub(super) fn shown(&self, attr: Attr) -> Attr {
        let merged = match &self.body {
            Body::Directory(directory) => directory.parts().len() > 1,
            Body::Other(_) => false,
        };
        Attr {
            ino: self.shown_number(),
            // Counting the subdirectories of a merged directory means listing
            // it; 1 is the old sign for "not known" (as the kernel's).
            nlink: if merged { 1 } else { attr.nlink },
            blocks: self.blocks(&attr),
            dev: 0,
            protection: Protection::NONE,
            ..attr
        }
    }
}

impl Union {
    /// The attributes of `inode`.
    pub fn attr(&self, inode: &Arc<Inode>) -> Result<Attr> {
        let attr = match (inode.indexed(), inode.copy()) {
            (Some(indexed), Some(copy)) => self.indexed_attr(indexed, copy)?,
            _ => inode.node().attr()?,
        };
        let mut shown = inode.shown(attr);
        if inode.number() == ROOT && shown.nlink > 1 {
            shown.nlink = shown.nlink.saturating_sub(self.hidden_in_root()?);
        }
        Ok(shown)
    }

    /// Subdirectories of the root that are the dialect's own. For one branch
    /// alone: of a root that merges they are not counted.
    fn hidden_in_root(&self) -> Result<u64> {
        let Some(top) = self.root.parts().first() else {
            return Ok(0);
        };
        match self.target_on(top.branch) {
            Ok(target) => Ok(target.base.directories()),
            // Nobody changes it, and a root may be long.
            Err(_) => match self.hidden_in_root.get() {
                Some(count) => Ok(*count),
                None => {
                    let dialect = self.stack.dialect(top.branch);
                    let count = hidden_directories(dialect, &*top.node)?;
                    Ok(*self.hidden_in_root.get_or_init(|| count))
                }
            },
        }
    }

    /// Changes attributes and returns the new ones; copies up first, without
    /// data where the file is cut to size zero.
    ///
    /// Errors: `EROFS`; `EISDIR` and `EINVAL` for the size of what is not a
    /// regular file; `EPERM` for what is immutable or append-only.
    pub fn set_attr(&self, inode: &Arc<Inode>, set: &SetAttr) -> Result<Attr> {
        if set.size.is_some() {
            match inode.kind() {
                FileKind::Regular => {}
                FileKind::Directory => return Err(Error::IsDirectory),
                FileKind::Symlink
                | FileKind::Fifo
                | FileKind::Socket
                | FileKind::CharDevice
                | FileKind::BlockDevice => {
                    return Err(Error::Invalid("only a regular file has a size to set"));
                }
            }
        }
        self.target()?;
        self.permit_attr(inode, set)?;
        let data = match set.size {
            Some(0) => DataNeeded::Nothing,
            Some(_) => DataNeeded::All,
            None => DataNeeded::Attributes,
        };
        let cut = self.copied(inode, data)?.1;
        let mut rest = *set;
        if cut == Cut::Yes {
            rest.size = None;
        }
        if rest != SetAttr::default() {
            let _unchanging = inode.hold_data();
            let _staying = self.moves.stay(inode);
            inode.copy().ok_or(Error::Stale)?.set_attr(&rest)?;
        }
        self.attr(inode)
    }

    /// From now on `watcher` tells what others change in a directory, under its
    /// number; `false` if it cannot tell all of it.
    pub fn watch(&self, inode: &Arc<Inode>, watcher: &Watcher) -> Result<bool> {
        let mut whole = true;
        for part in inode.parts() {
            if let Some(directory) = part.node.descriptor()? {
                whole &= watcher.add(directory.as_fd(), inode.number())?;
            }
        }
        Ok(whole)
    }

    /// Ends [`Union::watch`] for what lies on branches that the union `after`,
    /// which has taken the place of this one, does not have.
    pub fn unwatch_gone(&self, after: &Union, watcher: &Watcher) -> Result<()> {
        let goes = |branch: BranchId| after.stack.branch(branch).is_none();
        if !self.stack.branches().iter().any(|branch| goes(branch.id)) {
            return Ok(());
        }
        for number in watcher.numbers() {
            let inode = match self.known(number) {
                Some(inode) => Some(inode),
                None => self.recall(number)?.map(|entry| entry.inode),
            };
            let parts = inode.iter().flat_map(|inode| inode.parts());
            for part in parts.filter(|part| goes(part.branch)) {
                // One that others removed has no mark any more.
                match part.node.descriptor() {
                    Ok(Some(directory)) => watcher.remove(directory.as_fd())?,
                    Ok(None) | Err(Error::NotFound) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Ends [`Union::watch`].
    pub fn unwatch(&self, inode: &Arc<Inode>, watcher: &Watcher) -> Result<()> {
        for part in inode.parts() {
            if let Some(directory) = part.node.descriptor()? {
                watcher.remove(directory.as_fd())?;
            }
        }
        Ok(())
    }

    /// The target of a symlink; `EINVAL` for anything else.
    pub fn read_link(&self, inode: &Arc<Inode>) -> Result<Vec<u8>> {
        inode.node().link_target()
    }

    /// The state of the filesystem below, as [`Options::size`](super::Options)
    /// says.
    pub fn stat_fs(&self) -> Result<StatFs> {
        let branches = self.stack.branches().iter();
        let branches = branches.filter(|branch| !branch.data_only);
        let is_written = |branch: &&Branch| branch.storage.is_writable();
        let counted: Vec<&Branch> = match self.options.size {
            Size::Top => branches.take(1).collect(),
            Size::All => branches.collect(),
            Size::AllWritten => branches.filter(is_written).collect(),
            Size::Written => {
                let written = self.stack.branches().iter().find(is_written);
                written
                    .or(self.stack.branches().first())
                    .into_iter()
                    .collect()
            }
        };
        let mut sum: Option<StatFs> = None;
        let mut devices = Vec::new();
        for branch in counted {
            let root = branch.storage.root();
            let device = root.attr()?.dev;
            if devices.contains(&device) {
                continue;
            }
            devices.push(device);
            let stat = root.stat_fs()?;
            sum = Some(sum.map_or(stat, |sum| added(sum, &stat)));
        }
        let stat = sum.ok_or(Error::Invalid("a union needs a branch"))?;
        let targets = self.targets.iter();
        let longest = targets.map(|target| target.dialect.name_max() as u32).min();
        Ok(StatFs {
            namelen: longest.map_or(stat.namelen, |longest| stat.namelen.min(longest)),
            ..stat
        })
    }
}

/// Two filesystems as one, in blocks of the first.
fn added(sum: StatFs, other: &StatFs) -> StatFs {
    let unit = u64::from(sum.frsize).max(1);
    let blocks = |count: u64| count.saturating_mul(u64::from(other.frsize)) / unit;
    StatFs {
        blocks: sum.blocks.saturating_add(blocks(other.blocks)),
        bfree: sum.bfree.saturating_add(blocks(other.bfree)),
        bavail: sum.bavail.saturating_add(blocks(other.bavail)),
        files: sum.files.saturating_add(other.files),
        ffree: sum.ffree.saturating_add(other.ffree),
        namelen: sum.namelen.min(other.namelen),
        ..sum
    }
}
