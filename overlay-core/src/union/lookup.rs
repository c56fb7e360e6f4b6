//! What a name shows: the branches probed from the top, until a whiteout, an
//! opaque directory or a non-directory ends the search.
//!
//! Takes the directory's lock for reading, so an answer never mixes the
//! states before and after a change of that directory.

use std::sync::Arc;

use super::inode::{Body, Directory, Inode, Link, LowerDir};
use super::locks::{DirHeld, DirRead};
use super::table::ObjectId;
use super::{Entry, Union};
use crate::attr::Attr;
use crate::dialect::{Dialect, Opacity};
use crate::error::{Error, Result};
use crate::layer::{Found, Node, WritableNode};
use crate::name::Name;

/// What the writable branch itself stores at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Nothing,
    Whiteout,
    Object,
}

/// A name as a union directory shows it, before an inode is made of it.
struct View {
    /// Of the topmost object.
    attr: Attr,
    writable: Option<Arc<dyn WritableNode>>,
    lower: Option<Arc<dyn Node>>,
    /// All parts of a directory on read-only branches, top first.
    lowers: Vec<LowerDir>,
    /// Attributes of the topmost part on a read-only branch.
    lower_attr: Option<Attr>,
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
        let Some(view) = self.view(parent, name)? else {
            return Ok(None);
        };
        let attr = view.attr;
        let inode = self.inode_of(parent, name, view);
        let attr = inode.shown(attr);
        Ok(Some(Entry { inode, attr }))
    }

    fn view(&self, parent: &Arc<Inode>, name: &Name) -> Result<Option<View>> {
        let directory = parent.directory().ok_or(Error::NotDirectory)?;
        let mut view = None;
        if let (Some(target), Some(node)) = (&self.target, parent.writable.get())
            && let Some(Found { node, attr }) = node.lookup_writable(name)?
        {
            // File whiteouts are for writers that cannot make devices: where
            // one was left by such a writer, it counts.
            if target.dialect.is_whiteout(&attr)
                || self.is_marked_file(target.dialect, parent, &*node, &attr)?
            {
                return Ok(None);
            }
            let opacity = match attr.kind.is_dir() && !directory.lowers.is_empty() {
                true => target.dialect.opacity(&*node)?,
                false => Opacity::Transparent,
            };
            if self.has_lowers() || !attr.kind.is_dir() {
                refuse_pointer(target.dialect, &*node, &attr)?;
            }
            let ends =
                !attr.kind.is_dir() || directory.lowers.is_empty() || opacity == Opacity::Opaque;
            let found = View {
                attr,
                writable: Some(node),
                lower: None,
                lowers: Vec::new(),
                lower_attr: None,
            };
            if ends {
                return Ok(Some(found));
            }
            view = Some(found);
        }
        self.view_lowers(directory, name, view)
    }

    /// Continues a search on the read-only branches.
    fn view_lowers(
        &self,
        directory: &Directory,
        name: &Name,
        mut view: Option<View>,
    ) -> Result<Option<View>> {
        for (depth, lower) in directory.lowers.iter().enumerate() {
            let Some(Found { node, attr }) = lower.node.lookup(name)? else {
                continue;
            };
            let dialect = self.dialect_of(lower);
            if self.is_whiteout_in(lower, dialect, &*node, &attr)? {
                break;
            }
            let shows = view.is_none() || attr.kind.is_dir();
            // Nothing lies below the bottom that a directory could be merged
            // with; a file without its data would show zeros all the same.
            if shows && !(attr.kind.is_dir() && self.is_bottom(lower.branch)) {
                refuse_pointer(dialect, &*node, &attr)?;
            }
            if !attr.kind.is_dir() {
                // Under a directory it stays hidden, and ends the search.
                return Ok(view.or(Some(View {
                    attr,
                    writable: None,
                    lower: Some(node),
                    lowers: Vec::new(),
                    lower_attr: Some(attr),
                })));
            }
            let last = depth + 1 == directory.lowers.len();
            let opacity = if last && !self.may_hold_file_whiteouts(lower) {
                Opacity::Transparent
            } else {
                dialect.opacity(&*node)?
            };
            let view = view.get_or_insert_with(|| View {
                attr,
                writable: None,
                lower: None,
                lowers: Vec::new(),
                lower_attr: None,
            });
            view.lower_attr.get_or_insert(attr);
            view.lowers.push(LowerDir {
                branch: lower.branch,
                node,
                file_whiteouts: opacity == Opacity::HoldsFileWhiteouts,
            });
            if opacity == Opacity::Opaque {
                break;
            }
        }
        Ok(view)
    }

    /// Whether an object in a part of a directory hides its name.
    pub(super) fn is_whiteout_in(
        &self,
        part: &LowerDir,
        dialect: Dialect,
        node: &dyn Node,
        attr: &Attr,
    ) -> Result<bool> {
        Ok(dialect.is_whiteout(attr)
            || part.file_whiteouts
                && dialect.may_be_file_whiteout(attr)
                && dialect.is_file_whiteout(node)?)
    }

    /// The same on the writable branch.
    fn is_marked_file(
        &self,
        dialect: Dialect,
        parent: &Inode,
        node: &dyn Node,
        attr: &Attr,
    ) -> Result<bool> {
        Ok(self.writable_file_whiteouts
            && dialect.may_be_file_whiteout(attr)
            && dialect.is_file_whiteout(node)?
            && dialect.opacity(parent.node())? == Opacity::HoldsFileWhiteouts)
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
        if target.dialect.is_whiteout(&attr) {
            return Ok(Written::Whiteout);
        }
        if self.writable_file_whiteouts
            && target.dialect.may_be_file_whiteout(&attr)
            && let Some(found) = node.lookup(name)?
            && self.is_marked_file(target.dialect, parent, &*found.node, &attr)?
        {
            return Ok(Written::Whiteout);
        }
        Ok(Written::Object)
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
            let mut hides = dialect.is_whiteout(&attr);
            if lower.file_whiteouts
                && dialect.may_be_file_whiteout(&attr)
                && let Some(found) = lower.node.lookup(name)?
            {
                hides |= dialect.is_file_whiteout(&*found.node)?;
            }
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

/// `EPERM` for what shows something that lies elsewhere on the branches below
/// (as the kernel without `metacopy`): better than zeros for its data, or an
/// empty directory.
fn refuse_pointer(dialect: Dialect, node: &dyn Node, attr: &Attr) -> Result<()> {
    if !dialect.points_below(node, attr)? {
        return Ok(());
    }
    // What an opaque directory points to is hidden by it.
    if attr.kind.is_dir() && dialect.opacity(node)? == Opacity::Opaque {
        return Ok(());
    }
    Err(Error::NotPermitted(
        "redirects and metacopy files are not followed yet",
    ))
}
