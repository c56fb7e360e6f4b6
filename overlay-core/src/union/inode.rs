//! One object of the union: where its parts lie, and by which names it is
//! reached. Owns no descriptor: nodes of the layers find their objects again.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};

use super::origin::Impure;
use super::part::{Copy, Latest, Part, Parts};
use super::protection::Protected;
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
    /// The number to show; for almost all it is `number`: see
    /// [`Inode::number`].
    shown_number: AtomicU64,
    generation: u32,
    /// What may not be done to it.
    pub(super) protected: Protected,
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
    Other(Other),
}

/// What is not a directory.
#[derive(Debug)]
pub(super) struct Other {
    pub kind: FileKind,
    /// What lies on a writable branch, by creation or copy-up. Changes under
    /// the copy-up lock, and is read without.
    pub copy: Latest<Copy>,
    /// The topmost object on a read-only branch, if it shows or its data does.
    pub lower: Option<Lower>,
    /// Where the data lies that what shows lacks, if not on `lower`.
    pub data: Option<Box<DataBelow>>,
    /// What shows (the copy, else `lower`) has attributes alone: a metacopy.
    /// Changes under the copy-up lock.
    pub lacks_data: AtomicBool,
    /// Set where the object is, or will be, in the index when copied up.
    pub indexed: Option<Box<Indexed>>,
}

/// A non-directory of a read-only branch.
#[derive(Debug, Clone)]
pub(super) struct Lower {
    pub branch: BranchId,
    pub node: Arc<dyn Node>,
}

impl Deref for Lower {
    type Target = dyn Node;

    fn deref(&self) -> &dyn Node {
        &*self.node
    }
}

/// A lower file with several names that stays one object.
#[derive(Debug)]
pub(super) struct Indexed {
    /// Where its copy lies, once there is one.
    pub slot: Slot,
    /// Links of the original, which never change; 0 for a pseudo-link that is
    /// there, for nobody asks.
    pub lower_links: u64,
    /// Whether there are known names that only lower branches have.
    pub lower_names: AtomicBool,
    /// Held while the links of the copy change, together with the stored
    /// count. Rank 4, before `Inode::links`.
    pub counting: Mutex<()>,
}

/// Where the copy of a lower file with several names lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Slot {
    /// In the index, by this name.
    Index(NameBuf),
    /// Among the pseudo-links, by the number of the original.
    Plink {
        number: u64,
        /// Which original it is: see [`proof_of`](crate::dialect::plinks::proof_of).
        proof: u64,
    },
}

/// Where the data of a metacopy lies.
#[derive(Debug, Clone)]
pub(super) enum DataBelow {
    Node(Arc<dyn Node>),
    /// On a data-only branch, at this path; looked for when it is needed.
    Path(VecDeque<NameBuf>),
}

/// The state of a directory.
#[derive(Debug)]
pub(super) struct Directory {
    /// The directories that merge here. Another one, on a writable branch,
    /// comes under the copy-up lock and changes nothing that is seen; all are
    /// read without.
    pub parts: Latest<Parts>,
    /// Where its copy says that they lie, if not by its name. Leaf lock;
    /// changes under the parent's lock, together with the copy's mark.
    pub redirect: Mutex<Option<Redirect>>,
    /// Whether copies that say where they come from may be in it.
    pub impure: Impure,
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

    /// All known names.
    pub fn all(&self) -> Vec<Link> {
        let more = self.more.iter().flat_map(|more| more.iter());
        self.first.iter().chain(more).cloned().collect()
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

const NO_PARTS: &str = "an inode is made from at least one part";

impl Directory {
    /// The directories that merge here.
    pub fn parts(&self) -> &Parts {
        self.parts
            .get()
            .unwrap_or_else(|| unreachable!("{NO_PARTS}"))
    }
}

impl Inode {
    pub(super) fn new(
        number: u64,
        shown_number: u64,
        body: Body,
        protected: Protected,
        link: Option<Link>,
        table: &Arc<Table>,
    ) -> Inode {
        Inode {
            number,
            shown_number: AtomicU64::new(shown_number),
            generation: table.trails().generation(number),
            protected,
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
    /// the shared lower number, and that of the copy once the link is broken.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Tells this object from others that had its number before.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// What it is; never changes.
    pub fn kind(&self) -> FileKind {
        match &self.body {
            Body::Directory(_) => FileKind::Directory,
            Body::Other(other) => other.kind,
        }
    }

    /// Whether what shows lies on a writable branch, by creation or copy-up;
    /// of a directory, its topmost part.
    pub fn is_copied_up(&self) -> bool {
        self.copy().is_some()
    }

    /// What shows, for writing, if it lies on a writable branch.
    pub(super) fn copy(&self) -> Option<&Arc<dyn WritableNode>> {
        match &self.body {
            Body::Directory(directory) => directory.parts().first()?.node.writable(),
            Body::Other(other) => other.copy.get().map(|copy| &copy.node),
        }
    }

    /// Where this directory can be written on a branch, if it lies there.
    pub(super) fn on(&self, branch: BranchId) -> Option<&Arc<dyn WritableNode>> {
        self.directory()?.parts().on(branch)
    }

    /// The directories that merge here; none for anything else.
    pub(super) fn parts(&self) -> &[Part] {
        match &self.body {
            Body::Directory(directory) => directory.parts(),
            Body::Other(_) => &[],
        }
    }

    /// The branch of what shows.
    pub(super) fn home(&self) -> BranchId {
        let home = match &self.body {
            Body::Directory(directory) => directory.parts().first().map(|part| part.branch),
            Body::Other(other) => {
                let copy = other.copy.get().map(|copy| copy.branch);
                copy.or(other.lower.as_ref().map(|lower| lower.branch))
            }
        };
        home.unwrap_or_else(|| unreachable!("{NO_PARTS}"))
    }

    /// The branches that it lies on, that of what shows first. Not of its data
    /// alone.
    pub(super) fn branches(&self) -> Vec<BranchId> {
        match &self.body {
            Body::Directory(directory) => {
                let parts = directory.parts().iter();
                parts.map(|part| part.branch).collect()
            }
            Body::Other(other) => {
                let copy = other.copy.get().map(|copy| copy.branch);
                let lower = other.lower.as_ref().map(|lower| lower.branch);
                copy.into_iter().chain(lower).collect()
            }
        }
    }

    /// The number that `stat(2)` shows.
    pub(super) fn shown_number(&self) -> u64 {
        self.shown_number.load(Ordering::Relaxed)
    }

    /// From now on `stat(2)` shows `number`.
    pub(super) fn show_number(&self, number: u64) {
        self.shown_number.store(number, Ordering::Relaxed);
    }

    /// Whether this is one name of a lower file with several.
    pub(super) fn is_split(&self) -> bool {
        self.shown_number() != self.number
    }

    /// The directory's state; `None` for anything else.
    pub(super) fn directory(&self) -> Option<&Directory> {
        match &self.body {
            Body::Directory(directory) => Some(directory),
            Body::Other(_) => None,
        }
    }

    /// The topmost part on a read-only branch.
    pub(super) fn lower(&self) -> Option<&dyn Node> {
        match &self.body {
            Body::Directory(directory) => directory.parts().lower().map(|part| &*part.node),
            Body::Other(other) => other.lower.as_ref().map(|lower| &*lower.node),
        }
    }

    /// What shows: of a directory the topmost part.
    pub(super) fn node(&self) -> &dyn Node {
        let node: Option<&dyn Node> = match &self.body {
            Body::Directory(directory) => directory.parts().first().map(|part| &*part.node),
            Body::Other(other) => match (other.copy.get(), &other.lower) {
                (Some(copy), _) => Some(&*copy.node),
                (None, Some(lower)) => Some(&*lower.node),
                (None, None) => None,
            },
        };
        node.unwrap_or_else(|| unreachable!("{NO_PARTS}"))
    }

    /// Whether what shows has attributes alone, and its data lies below.
    pub(super) fn lacks_data(&self) -> bool {
        match &self.body {
            Body::Directory(_) => false,
            Body::Other(other) => other.lacks_data.load(Ordering::Acquire),
        }
    }

    /// From now on what shows has, or lacks, its data. Under the copy-up lock.
    pub(super) fn set_lacks_data(&self, lacks: bool) {
        if let Body::Other(other) = &self.body {
            other.lacks_data.store(lacks, Ordering::Release);
        }
    }

    /// The writable branch that the data lies on, by creation or copy-up.
    pub(super) fn home_of_copied_data(&self) -> Option<BranchId> {
        match &self.body {
            Body::Other(other) if !self.lacks_data() => other.copy.get().map(|copy| copy.branch),
            Body::Other(_) | Body::Directory(_) => None,
        }
    }

    /// What it has to do with the index.
    pub(super) fn indexed(&self) -> Option<&Indexed> {
        match &self.body {
            Body::Directory(_) => None,
            Body::Other(other) => other.indexed.as_deref(),
        }
    }

    /// Whether it has a name: the root has none, nor has what was removed.
    pub(super) fn has_name(&self) -> bool {
        self.links.read().first().is_some()
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
