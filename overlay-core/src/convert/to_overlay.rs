//! From `.wh.` names to OverlayFS' marks.

use super::failure::Done;
use super::memory::Look;
use super::survey::is_plain;
use super::walk::Tree;
use super::work::{Listed, Place, Work, remove_tree};
use crate::attr::Attr;
use crate::dialect::conversion::{AUFS_BASE, AUFS_PSEUDO_LINKS, opaque_entry};
use crate::dialect::{Meaning, Opacity, WhiteoutForm};
use crate::error::{Error, Result};
use crate::layer::{New, Removal, SetXattr, WritableNode};
use crate::name::Name;

impl Work<'_> {
    /// Says in OverlayFS' words what this directory says, and what it says of
    /// its subdirectories by names.
    pub(super) fn add_overlay_marks(&mut self, dir: &Place, entries: &[Listed]) -> Done<()> {
        let reading = self.conversion.reading();
        let opaque = dir.at(reading.opacity(&*dir.node))? == Opacity::Opaque;
        if opaque {
            dir.at(self.mark_opaque(&*dir.node))?;
        }
        for (name, _) in entries {
            let Meaning::Hides(victim) = reading.meaning(name) else {
                continue;
            };
            let found = dir.at_entry(victim, dir.node.child(victim))?;
            let done = match found {
                Some((child, attr)) if attr.kind.is_dir() => self.mark_opaque(&*child),
                Some(_) => Ok(()),
                None if opaque => Ok(()),
                None => self.make_whiteout(dir, name, victim),
            };
            dir.at_entry(victim, done)?;
        }
        Ok(())
    }

    fn mark_opaque(&self, node: &dyn WritableNode) -> Result<()> {
        let (name, yes) = self.conversion.reading().opaque_mark();
        if node.xattr(name)?.as_deref() == Some(yes) {
            return Ok(());
        }
        if let Some(attr) = node.attr_of(opaque_entry())?
            && let Some(look) = self.own_look(&attr)?
        {
            let memory = self.conversion.namespace.conversion_memory();
            node.set_xattr(memory, &look.to_value(), SetXattr::Any)?;
        }
        node.set_xattr(name, yes, SetXattr::Any)
    }

    /// How an entry of AuFS looks, if it is none of the hard links of AuFS'
    /// own file.
    fn own_look(&self, attr: &Attr) -> Result<Option<Look>> {
        let base = self.root.attr_of(Name::new(AUFS_BASE)?)?;
        let is_base = base.is_some_and(|base| base.ino == attr.ino);
        Ok((is_plain(attr) && !is_base).then(|| Look::of(attr)))
    }

    fn make_whiteout(&self, dir: &Place, hider: &Name, victim: &Name) -> Result<()> {
        let reading = self.conversion.reading();
        let Some(attr) = dir.node.attr_of(hider)? else {
            return Ok(());
        };
        self.keep_times(&*dir.node)?;
        match self.form {
            // Overlay's marks hide the object by its own name.
            WhiteoutForm::Device | WhiteoutForm::Entry => {}
            WhiteoutForm::MarkedFile => {
                self.mark_file_whiteouts(&*self.root)?;
                self.mark_file_whiteouts(&*dir.node)?;
            }
        }
        let plain = reading.whiteout(self.form);
        let value = self.own_look(&attr)?.map(Look::to_value);
        let memory = self.conversion.namespace.conversion_memory();
        let mut xattrs = plain.xattrs.to_vec();
        xattrs.extend(value.as_deref().map(|value| (memory, value)));
        let new = New {
            xattrs: &xattrs,
            ..plain
        };
        self.make(&*dir.node, victim, &new, None)
    }

    fn mark_file_whiteouts(&self, node: &dyn WritableNode) -> Result<()> {
        let (name, value) = self.conversion.reading().file_whiteouts_mark();
        match node.xattr(name)? {
            Some(there) if there == value => Ok(()),
            Some(_) | None => node.set_xattr(name, value, SetXattr::Any),
        }
    }

    /// Takes away all `.wh.` names, and what is left without a use.
    pub(super) fn remove_aufs_marks(&mut self, dir: &Place, entries: &[Listed]) -> Done<()> {
        let reading = self.conversion.reading();
        let opaque = dir.at(reading.opacity(&*dir.node))? == Opacity::Opaque;
        for (name, _) in entries {
            let done = match reading.meaning(name) {
                Meaning::Entry if opaque => self.remove_useless_whiteout(dir, name),
                Meaning::Entry => Ok(()),
                Meaning::Hides(_) => self
                    .keep_times(&*dir.node)
                    .and_then(|()| dir.node.remove(name, Removal::NonDirectory, None)),
                Meaning::Private => self.remove_private(dir, name),
            };
            dir.at_entry(name, done)?;
            if reading.meaning(name) == Meaning::Entry && self.has_other_marks() {
                dir.at_entry(name, self.unset_other_marks(dir, name))?;
            }
        }
        if dir.is_root() && self.has_other_marks() {
            dir.at(self.unset_all(&*dir.node, |name| self.is_other_mark(name)))?;
        }
        Ok(())
    }

    /// The kernel would list a whiteout in a directory that merges with
    /// nothing.
    fn remove_useless_whiteout(&self, dir: &Place, name: &Name) -> Result<()> {
        if !self.hides(dir, name, false)? {
            return Ok(());
        }
        self.keep_times(&*dir.node)?;
        dir.node.remove(name, Removal::NonDirectory, None)
    }

    fn remove_private(&self, dir: &Place, name: &Name) -> Result<()> {
        self.keep_times(&*dir.node)?;
        if dir.is_root() && name.as_bytes() == AUFS_PSEUDO_LINKS {
            // Only if it is empty, as it was before anything was changed.
            return match dir.node.remove(name, Removal::Directory, None) {
                Err(Error::NotDirectory) => dir.node.remove(name, Removal::NonDirectory, None),
                outcome => outcome,
            };
        }
        remove_tree(&dir.node, name)
    }

    fn unset_other_marks(&self, dir: &Place, name: &Name) -> Result<()> {
        match dir.node.child(name)? {
            // A directory has the mark that counts by now.
            Some((node, _)) => self.unset_all(&*node, |name| self.is_other_mark(name)),
            None => Ok(()),
        }
    }
}
