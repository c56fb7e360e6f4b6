//! One object of the union: where its parts lie, and by which names it is
//! reached. Owns no descriptor: nodes of the layers find their objects again.

use std::sync::{Arc, OnceLock, Weak};

use parking_lot::{Mutex, RwLock};

use super::table::Table;
use crate::attr::FileKind;
use crate::dialect::Redirect;
use crate::layer::{Node, WritableNode};
use crate::name::{Name, NameBuf};
use crate::stack::BranchId;

/// One object of the union.
#[derive(Debug)]
pub struct Inode {
    number: u64,
    /// The number to show until the object is copied up, where it is not
    /// `number`: see [`Inode::number`].
    pub(super) shared_number: Option<u64>,
    /// The copy on a writable branch. Set once, read without a lock.
    pub(super) writable: OnceLock<Arc<dyn WritableNode>>,
    /// The names by which the union reaches it. Leaf lock.
    pub(super) links: RwLock<Links>,
    /// Held while the object is copied up, also over the copying of data.
    /// Rank 1: taken before any directory lock.
    pub(super) copy_up: Mutex<()>,
    pub(super) body: Body,
    table: Weak<Table>,
}

/// What differs between directories and the rest.
#[derive(Debug)]
pub(super) enum Body {
    Directory(Box<Directory>),
    Other {
        kind: FileKind,
        /// The object on a read-only branch that shows, if it did.
        lower: Option<Arc<dyn Node>>,
    },
}

/// The state of a directory.
#[derive(Debug)]
pub(super) struct Directory {
    /// The directories of read-only branches that merge here, top first.
    pub lowers: Box<[LowerDir]>,
    /// Where its copy says that they lie, if not by its name. Leaf lock;
    /// changes under the parent's lock, together with the copy's mark.
    pub redirect: Mutex<Option<Redirect>>,
    /// Protects the entries: readers look up and list, writers change.
    /// Rank 3; several are taken in the order of inode numbers.
    pub state: RwLock<DirState>,
}

/// What the lock of a directory protects, besides what lies on disk.
#[derive(Debug, Default)]
pub(super) struct DirState {
    /// It was removed: nothing can be made in it any more.
    pub removed: bool,
}

/// A directory of one read-only branch.
#[derive(Debug, Clone)]
pub(super) struct LowerDir {
    pub branch: BranchId,
    pub node: Arc<dyn Node>,
    /// Whether it may hold whiteouts that are regular files.
    pub file_whiteouts: bool,
}

/// One name of an object.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub parent: Arc<Inode>,
    pub name: NameBuf,
}

impl Link {
    pub fn is(&self, parent: &Arc<Inode>, name: &Name) -> bool {
        Arc::ptr_eq(&self.parent, parent) && *self.name == *name
    }
}

/// The known names of an object: one for almost all, so more cost a box.
#[derive(Debug, Default)]
pub(super) struct Links {
    first: Option<Link>,
    #[allow(clippy::box_collection)] // 8 bytes in each of a million inodes, not 24
    more: Option<Box<Vec<Link>>>,
}

impl Links {
    pub fn one(link: Link) -> Links {
        Links {
            first: Some(link),
            more: None,
        }
    }

    /// The name that is used for the object.
    pub fn first(&self) -> Option<&Link> {
        self.first.as_ref()
    }

    pub fn contains(&self, parent: &Arc<Inode>, name: &Name) -> bool {
        let more = self.more.iter().flat_map(|more| more.iter());
        self.first
            .iter()
            .chain(more)
            .any(|link| link.is(parent, name))
    }

    pub fn add(&mut self, link: Link) {
        if self.contains(&link.parent, &link.name) {
            return;
        }
        match self.first {
            None => self.first = Some(link),
            Some(_) => self.more.get_or_insert_default().push(link),
        }
    }

    /// The object moved from one name to another.
    pub fn replace(&mut self, from: (&Arc<Inode>, &Name), to: Link) {
        let more = self.more.iter_mut().flat_map(|more| more.iter_mut());
        let moved = self
            .first
            .iter_mut()
            .chain(more)
            .find(|link| link.is(from.0, from.1));
        match moved {
            Some(link) => *link = to,
            None => self.add(to),
        }
    }

    /// Removes a name.
    pub fn remove(&mut self, parent: &Arc<Inode>, name: &Name) {
        if self.first.as_ref().is_some_and(|l| l.is(parent, name)) {
            self.first = self.more.as_mut().and_then(|more| more.pop());
        } else if let Some(more) = &mut self.more {
            more.retain(|link| !link.is(parent, name));
        }
    }

    fn into_parents(self) -> Vec<Arc<Inode>> {
        let more = self.more.into_iter().flat_map(|more| more.into_iter());
        self.first
            .into_iter()
            .chain(more)
            .map(|link| link.parent)
            .collect()
    }
}

impl Inode {
    pub(super) fn new(
        number: u64,
        shared_number: Option<u64>,
        body: Body,
        writable: Option<Arc<dyn WritableNode>>,
        link: Option<Link>,
        table: &Arc<Table>,
    ) -> Inode {
        Inode {
            number,
            shared_number,
            writable: writable.map_or_else(OnceLock::new, OnceLock::from),
            links: RwLock::new(link.map_or_else(Links::default, Links::one)),
            copy_up: Mutex::new(()),
            body,
            table: Arc::downgrade(table),
        }
    }

    /// The number that names this inode while it is known: unique among all
    /// known inodes, constant over copy-up. The root's is 1.
    ///
    /// `Attr::ino` is the same, except for a lower file with several hard
    /// links: there each name is an inode of its own (writing to one breaks
    /// the link, as on the kernel without `index`), while `Attr::ino` shows
    /// the shared lower number until the link is broken.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What it is; never changes.
    pub fn kind(&self) -> FileKind {
        match &self.body {
            Body::Directory(_) => FileKind::Directory,
            Body::Other { kind, .. } => *kind,
        }
    }

    /// Whether it lies on a writable branch, by creation or copy-up.
    pub fn is_copied_up(&self) -> bool {
        self.writable.get().is_some()
    }

    /// The number that `stat(2)` shows.
    pub(super) fn shown_number(&self) -> u64 {
        match self.shared_number {
            Some(shared) if self.writable.get().is_none() => shared,
            Some(_) | None => self.number,
        }
    }

    /// The directory's state; `None` for anything else.
    pub(super) fn directory(&self) -> Option<&Directory> {
        match &self.body {
            Body::Directory(directory) => Some(directory),
            Body::Other { .. } => None,
        }
    }

    /// The topmost part on a read-only branch.
    pub(super) fn lower(&self) -> Option<&Arc<dyn Node>> {
        match &self.body {
            Body::Directory(directory) => directory.lowers.first().map(|lower| &lower.node),
            Body::Other { lower, .. } => lower.as_ref(),
        }
    }

    /// The part that shows: the copy if there is one.
    pub(super) fn node(&self) -> &dyn Node {
        match (self.writable.get(), self.lower()) {
            (Some(node), _) => &**node,
            (None, Some(node)) => &**node,
            (None, None) => unreachable!("an inode is made from at least one part"),
        }
    }

    /// The name and the parent that are used for it; `None` for the root and
    /// for what has no name (any more).
    pub(super) fn link(&self) -> Option<Link> {
        self.links.read().first().cloned()
    }
}

impl Inode {
    /// Takes a dying inode out of the table, once, and returns its parents.
    fn retire(&mut self) -> Vec<Arc<Inode>> {
        // The table is gone only when the whole union is.
        if let Some(table) = std::mem::take(&mut self.table).upgrade() {
            table.forget(self);
        }
        std::mem::take(self.links.get_mut()).into_parents()
    }
}

impl Drop for Inode {
    fn drop(&mut self) {
        // With a loop: the parent may be dying too, and trees are deeper than
        // a thread's stack.
        let mut parents = self.retire();
        while let Some(parent) = parents.pop() {
            if let Some(mut inode) = Arc::into_inner(parent) {
                parents.extend(inode.retire());
            }
        }
    }
}
