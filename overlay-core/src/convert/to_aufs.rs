//! From OverlayFS' marks to `.wh.` names.

use std::sync::Arc;

use super::failure::Done;
use super::memory::{self, Look};
use super::record;
use super::walk::Tree;
use super::work::{Listed, Place, Work};
use crate::dialect::conversion::{AUFS_BASE, AUFS_ORPHANS, AUFS_PSEUDO_LINKS, opaque_entry};
use crate::dialect::{Meaning, Opacity};
use crate::error::{Errno, Error, Result};
use crate::layer::{New, NewKind, Node, Removal, RenameMode, WritableNode};
use crate::name::Name;

/// The mode of AuFS' own file and so of its whiteouts; `WH_MASK` in its
/// `whout.c`.
const BASE_MODE: u32 = 0o444;

/// The mode of AuFS' own directories.
const DIRECTORY_MODE: u32 = 0o700;

impl Work<'_> {
    /// Makes what AuFS keeps at the root: as it was once, or as AuFS does.
    pub(super) fn make_root_entries(&self) -> Result<()> {
        let record = self.conversion.namespace.conversion_record();
        let record = self.root.xattr(record)?;
        let remembered = record.as_deref().and_then(record::memory);
        for (name, kind, mode) in [
            (AUFS_BASE, NewKind::Regular, BASE_MODE),
            (AUFS_PSEUDO_LINKS, NewKind::Directory, DIRECTORY_MODE),
            (AUFS_ORPHANS, NewKind::Directory, DIRECTORY_MODE),
        ] {
            let look = match remembered.and_then(|value| memory::in_root_value(value, name)) {
                Some(None) => continue,
                Some(look) => look,
                None => None,
            };
            self.make_entry(&*self.root, Name::new(name)?, kind, mode, look)?;
        }
        Ok(())
    }

    /// Makes one of AuFS' own entries, unless it is there.
    fn make_entry(
        &self,
        dir: &dyn WritableNode,
        name: &Name,
        kind: NewKind<'static>,
        mode: u32,
        look: Option<Look>,
    ) -> Result<()> {
        if dir.attr_of(name)?.is_some() {
            return Ok(());
        }
        let new = New {
            kind,
            mode: look.map_or(mode, |look| look.mode),
            owner: look.map_or_else(crate::sys::meta::process_owner, |look| look.owner),
            xattrs: &[],
        };
        self.make(dir, name, &new, look.as_ref())
    }

    /// Says by names what this directory says, and what it says of its
    /// subdirectories.
    pub(super) fn add_aufs_marks(&mut self, dir: &Place, entries: &[Listed]) -> Done<()> {
        let reading = self.conversion.reading();
        let opacity = dir.at(reading.opacity(&*dir.node))?;
        if opacity == Opacity::Opaque && !dir.is_root() {
            dir.at(self.make_opaque_entry(&dir.node))?;
        }
        let marked = dir.at(self.is_marked(dir))?;
        for (name, _) in entries {
            let done = match reading.meaning(name) {
                Meaning::Private => Ok(()),
                Meaning::Entry => self.whiteout_by_name(dir, name, marked),
                // What has an object here hides by that, and merges not.
                Meaning::Hides(victim) => match dir.at_entry(victim, dir.node.child(victim))? {
                    Some((child, attr)) if attr.kind.is_dir() => self.make_opaque_entry(&child),
                    Some(_) | None => Ok(()),
                },
            };
            dir.at_entry(name, done)?;
        }
        Ok(())
    }

    fn make_opaque_entry(&mut self, node: &Arc<dyn WritableNode>) -> Result<()> {
        let look = self.remembered(&**node)?;
        self.make_mark(node, opaque_entry(), look)
    }

    /// Makes `.wh.NAME` beside a whiteout.
    fn whiteout_by_name(&mut self, dir: &Place, name: &Name, marked: bool) -> Result<()> {
        if !self.hides(dir, name, marked)? {
            return Ok(());
        }
        let Some((whiteout, _)) = dir.node.child(name)? else {
            return Ok(());
        };
        let too_long = Error::Invalid("a name that is too long for a whiteout of AuFS");
        let hider = self.conversion.reading().hider_of(name).ok_or(too_long)?;
        let look = self.remembered(&*whiteout)?;
        self.make_mark(&dir.node, &hider, look)
    }

    fn remembered(&self, node: &dyn Node) -> Result<Option<Look>> {
        let memory = node.xattr(self.conversion.namespace.conversion_memory())?;
        Ok(memory.and_then(|value| Look::parse(&value)))
    }

    /// An entry that is a mark: as it was once, or a hard link of AuFS' own.
    fn make_mark(
        &mut self,
        dir: &Arc<dyn WritableNode>,
        name: &Name,
        look: Option<Look>,
    ) -> Result<()> {
        if dir.attr_of(name)?.is_none() {
            self.keep_times(&**dir)?;
            let linked = match look {
                Some(look) => match self.groups.get(&look.group) {
                    Some(first) => link(dir, name, &**first)?,
                    None => false,
                },
                None => {
                    let base = self.base()?;
                    link(dir, name, &*base)?
                }
            };
            if !linked {
                self.make_entry(&**dir, name, NewKind::Regular, BASE_MODE, look)?;
            }
        }
        if let Some(Look { group: 1.., .. }) = look
            && let Some((node, _)) = dir.child(name)?
        {
            let group = look.map_or(0, |look| look.group);
            self.groups.entry(group).or_insert(node);
        }
        Ok(())
    }

    /// AuFS' own file, made if it is missing.
    fn base(&mut self) -> Result<Arc<dyn WritableNode>> {
        if let Some(base) = &self.base {
            return Ok(Arc::clone(base));
        }
        let name = Name::new(AUFS_BASE)?;
        self.make_entry(&*self.root, name, NewKind::Regular, BASE_MODE, None)?;
        let found = self.root.lookup_writable(name)?;
        let base = found.ok_or(Error::Stale)?.node;
        self.base = Some(Arc::clone(&base));
        Ok(base)
    }

    /// Takes away OverlayFS' whiteouts and attributes.
    pub(super) fn remove_overlay_marks(&mut self, dir: &Place, entries: &[Listed]) -> Done<()> {
        let reading = self.conversion.reading();
        let marked = dir.at(self.is_marked(dir))?;
        for (name, _) in entries {
            let done = match reading.meaning(name) {
                Meaning::Private => Ok(()),
                Meaning::Hides(victim) => self.remove_whiteout_beside(dir, name, victim, marked),
                Meaning::Entry => self.remove_mark_or_marks(dir, name, marked),
            };
            dir.at_entry(name, done)?;
        }
        // Last: whiteouts may be whiteouts only because of it.
        dir.at(self.unset_overlay_marks(&*dir.node, dir.is_root()))
    }

    /// In AuFS' eyes it would hide the object beside it.
    fn remove_whiteout_beside(
        &self,
        dir: &Place,
        name: &Name,
        victim: &Name,
        marked: bool,
    ) -> Result<()> {
        if dir.node.attr_of(victim)?.is_none() || self.hides(dir, victim, marked)? {
            return Ok(());
        }
        self.keep_times(&*dir.node)?;
        dir.node.remove(name, Removal::NonDirectory, None)
    }

    /// Removes a whiteout, or the marks of any other object that is not
    /// visited by itself.
    fn remove_mark_or_marks(&self, dir: &Place, name: &Name, marked: bool) -> Result<()> {
        if self.hides(dir, name, marked)? {
            self.keep_times(&*dir.node)?;
            return dir.node.remove(name, Removal::NonDirectory, None);
        }
        match dir.node.child(name)? {
            Some((node, attr)) if !attr.kind.is_dir() => self.unset_overlay_marks(&*node, false),
            Some(_) | None => Ok(()),
        }
    }

    fn unset_overlay_marks(&self, node: &dyn WritableNode, is_root: bool) -> Result<()> {
        let namespace = self.conversion.namespace;
        let opaque = self.conversion.reading().opaque_mark().0;
        self.unset_all(node, |name| {
            let kept = name == namespace.conversion_record() || is_root && name == opaque;
            !kept && (name.starts_with(namespace.prefix()) || self.is_other_mark(name))
        })
    }
}

/// Gives an object another name; `false` if it has as many as it can have.
fn link(dir: &Arc<dyn WritableNode>, name: &Name, node: &dyn WritableNode) -> Result<bool> {
    match dir.link(name, node, RenameMode::NoReplace) {
        Ok(()) => Ok(true),
        Err(error) if error.is(Errno::EXIST) => Ok(true),
        Err(error) if error.is(Errno::MLINK) => Ok(false),
        Err(error) => Err(error),
    }
}
