//! What a name shows, as an inode: a known one, or a new one made of what the
//! search found.
//!
//! Takes the directory's lock for reading, so an answer never mixes the
//! states before and after a change of that directory.

use std::sync::Arc;

use super::inode::{Body, Directory, Inode, Link};
use super::locks::{DirHeld, DirRead};
use super::search::View;
use super::table::ObjectId;
use super::{Entry, Union};
use crate::error::{Error, Result};
use crate::name::Name;

/// What the writable branch itself stores at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Nothing,
    Whiteout,
    Object,
}

impl Union {
    /// What `name` shows in the directory `parent`; `None` if nothing.
    ///
    /// Errors: `ENOTDIR`, `ENOENT` where `parent` itself was removed, and
    /// what the branches answer.
    pub fn lookup(&self, parent: &Arc<Inode>, name: &Name) -> Result<Option<Entry>> {
        let held = DirRead::lock(parent)?;
        if held.is_removed() {
            return Err(Error::NotFound);
        }
        self.resolve(parent, name, &held)
    }

    /// As [`Union::lookup`], under a lock that is held already.
    pub(super) fn resolve(
        &self,
        parent: &Arc<Inode>,
        name: &Name,
        held: &impl DirHeld,
    ) -> Result<Option<Entry>> {
        debug_assert!(held.holds(parent));
        let Some(view) = self.search(parent, name)? else {
            return Ok(None);
        };
        let attr = view.attr;
        let inode = self.inode_of(parent, name, view);
        let attr = inode.shown(attr);
        Ok(Some(Entry { inode, attr }))
    }

    /// What the writable branch stores at `name` in `parent`.
    pub(super) fn written(
        &self,
        parent: &Arc<Inode>,
        name: &Name,
        held: &impl DirHeld,
    ) -> Result<Written> {
        debug_assert!(held.holds(parent));
        let (Some(target), Some(node)) = (&self.target, parent.writable.get()) else {
            return Ok(Written::Nothing);
        };
        let Some(attr) = node.attr_of(name)? else {
            return Ok(Written::Nothing);
        };
        let marked = self.may_hold_marked_files(target.dialect, &**node)?;
        match target.dialect.entry_hides(&**node, name, &attr, marked)? {
            true => Ok(Written::Whiteout),
            false => Ok(Written::Object),
        }
    }

    /// Whether `name` would show something if the writable branch stored
    /// nothing there: then a removal needs a whiteout.
    pub(super) fn lower_shows(
        &self,
        parent: &Arc<Inode>,
        name: &Name,
        held: &impl DirHeld,
    ) -> Result<bool> {
        debug_assert!(held.holds(parent));
        let directory = parent.directory().ok_or(Error::NotDirectory)?;
        for lower in &directory.lowers {
            let Some(attr) = lower.node.attr_of(name)? else {
                continue;
            };
            let dialect = self.dialect_of(lower);
            let hides = dialect.entry_hides(&*lower.node, name, &attr, lower.file_whiteouts)?;
            return Ok(!hides);
        }
        Ok(false)
    }

    /// The inode of what was found: the known one, or a new one.
    fn inode_of(&self, parent: &Arc<Inode>, name: &Name, view: View) -> Arc<Inode> {
        if view.attr.kind.is_dir() {
            self.directory_inode(parent, name, view)
        } else {
            self.file_inode(parent, name, view)
        }
    }

    /// A directory's number is that of its topmost part on a read-only
    /// branch: so it does not change when the directory is copied up.
    fn directory_inode(&self, parent: &Arc<Inode>, name: &Name, view: View) -> Arc<Inode> {
        let id = ObjectId::from(view.lower_attr.as_ref().unwrap_or(&view.attr));
        let mut number = self.table.number_of(id);
        if let Some(known) = self.table.get(number) {
            if known.links.read().contains(parent, name) {
                return known;
            }
            // Two places that show one directory of a branch: only a damaged
            // stack, or one with mounts inside, has that. They stay apart.
            number = self.table.split_number(parent, name);
            match self.table.get(number) {
                Some(known) if known.links.read().contains(parent, name) => return known,
                // It was moved or removed: the name means another one now.
                Some(_) => {
                    self.table.forget_split(parent, name);
                    number = self.table.split_number(parent, name);
                }
                None => {}
            }
        }
        let link = Link {
            parent: Arc::clone(parent),
            name: name.to_owned(),
        };
        let body = Body::Directory(Box::new(Directory {
            lowers: view.lowers.into_boxed_slice(),
            redirect: parking_lot::Mutex::new(view.redirect),
            state: parking_lot::RwLock::default(),
        }));
        self.table.enter(Inode::new(
            number,
            None,
            body,
            view.writable,
            Some(link),
            &self.table,
        ))
    }

    fn file_inode(&self, parent: &Arc<Inode>, name: &Name, view: View) -> Arc<Inode> {
        let own = self.table.number_of(ObjectId::from(&view.attr));
        // Each name of a lower file with several is an object of its own:
        // writing to one breaks the link, and the kernel's requests name the
        // inode, not the name that was used.
        let split = view.writable.is_none() && view.attr.nlink > 1 && self.target.is_some();
        let (number, shared) = if split {
            (self.table.split_number(parent, name), Some(own))
        } else {
            (own, None)
        };
        let inode = self.table.get(number).unwrap_or_else(|| {
            let body = Body::Other {
                kind: view.attr.kind,
                lower: view.lower,
            };
            let link = Link {
                parent: Arc::clone(parent),
                name: name.to_owned(),
            };
            self.table.enter(Inode::new(
                number,
                shared,
                body,
                view.writable,
                Some(link),
                &self.table,
            ))
        });
        if split {
            self.table.confirm_split(parent, name, number);
        }
        self.add_link(&inode, parent, name);
        inode
    }

    /// Notes that `inode` is reached by this name too.
    pub(super) fn add_link(&self, inode: &Inode, parent: &Arc<Inode>, name: &Name) {
        if inode.links.read().contains(parent, name) {
            return;
        }
        let mut links = inode.links.write();
        // An object whose known names were all removed lives on by its
        // descriptor: here is a name for it again.
        if links.first().is_none()
            && let (Some(node), Some(dir)) = (inode.writable.get(), parent.writable.get())
            && let Err(error) = node.relocate(&**dir, name)
        {
            tracing::debug!(%error, "an object stays held by its descriptor");
        }
        links.add(Link {
            parent: Arc::clone(parent),
            name: name.to_owned(),
        });
    }
}
