//! What a name shows, as an inode: a known one, or a new one made of what the
//! search found.
//!
//! Takes the directory's lock for reading, so an answer never mixes the
//! states before and after a change of that directory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::inode::{Body, Directory, Inode, Link, Other};
use super::locks::{DirHeld, DirRead};
use super::origin::Impure;
use super::part::{Copy, Latest, Part, Parts};
use super::protection::Protected;
use super::search::View;
use super::table::ObjectId;
use super::target::Target;
use super::trail::Met;
use super::{Entry, Others, Union, index};
use crate::attr::Protection;
use crate::dialect::{Says, WhiteoutForm};
use crate::error::{Error, Result};
use crate::name::Name;
use crate::stack::BranchId;

/// How a new inode gets into the table.
#[derive(Debug, Clone, Copy)]
enum Entering {
    /// Unless another thread was faster.
    IfNew,
    /// In place of one that is not what is there any more.
    InPlace,
}

/// What a writable branch itself stores at a name.
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
        let inode = self.inode_of(parent, name, view)?;
        let attr = match inode.indexed() {
            // What was found may not be what shows: the copy in the index.
            Some(_) => self.attr(&inode)?,
            None => inode.shown(attr),
        };
        Ok(Some(Entry { inode, attr }))
    }

    /// What the branch of `target` stores at `name` in `parent`.
    pub(super) fn written(
        &self,
        target: &Target,
        parent: &Arc<Inode>,
        name: &Name,
        held: &impl DirHeld,
    ) -> Result<Written> {
        debug_assert!(held.holds(parent));
        let Some(node) = parent.on(target.branch) else {
            return Ok(Written::Nothing);
        };
        let Some(attr) = node.attr_of(name)? else {
            return match (target.whiteouts, target.dialect.hider_of(name)) {
                (WhiteoutForm::Entry, Some(hider)) if node.attr_of(&hider)?.is_some() => {
                    Ok(Written::Whiteout)
                }
                (WhiteoutForm::Entry | WhiteoutForm::Device | WhiteoutForm::MarkedFile, _) => {
                    Ok(Written::Nothing)
                }
            };
        };
        let marked = target.dialect.may_be_file_whiteout(&attr)
            && self.may_hold_marked_files(target.branch, &**node)?;
        match target.dialect.entry_hides(&**node, name, &attr, marked)? {
            true => Ok(Written::Whiteout),
            false => Ok(Written::Object),
        }
    }

    /// Whether `name` would show something if the branch of `target` and those
    /// above stored nothing there: then a removal needs a whiteout.
    pub(super) fn lower_shows(
        &self,
        target: &Target,
        parent: &Arc<Inode>,
        name: &Name,
        held: &impl DirHeld,
    ) -> Result<bool> {
        debug_assert!(held.holds(parent));
        let own = self.depth(target.branch)?;
        for part in parent.parts() {
            if self.depth(part.branch)? <= own {
                continue;
            }
            match self.part_says(part, name)? {
                Says::Nothing => {}
                Says::Hides => return Ok(false),
                Says::Shows | Says::ShowsAlone => return Ok(true),
            }
        }
        Ok(false)
    }

    /// What one part of a directory says about a name in it.
    pub(super) fn part_says(&self, part: &Part, name: &Name) -> Result<Says> {
        let marked = self.part_holds_marked_files(part)?;
        self.reading_of(part).says_of(&*part.node, name, marked)
    }

    /// The inode of what was found: the known one, or a new one.
    fn inode_of(&self, parent: &Arc<Inode>, name: &Name, view: View) -> Result<Arc<Inode>> {
        if view.attr.kind.is_dir() {
            Ok(self.directory_inode(parent, name, view))
        } else {
            self.file_inode(parent, name, view)
        }
    }

    /// A directory's number is that of its topmost part on a read-only
    /// branch: so it does not change when the directory is copied up.
    fn directory_inode(&self, parent: &Arc<Inode>, name: &Name, view: View) -> Arc<Inode> {
        let id = ObjectId::from(view.lower_attr.as_ref().unwrap_or(&view.attr));
        // One that has become known by another part keeps its number.
        let mut given = view.parts.iter();
        let given = match self.table.is_handed_over() || self.chooser.is_some() {
            true => given.find_map(|part| self.table.given(part.id)),
            false => None,
        };
        let number = given.unwrap_or_else(|| self.table.number_of_shown(id));
        let mut number = self.unmistaken(number, id, (parent, name), &view, None);
        if let Some(known) = self.table.get(number) {
            if known.links.read().contains(parent, name) {
                self.refresh_parts(&known, view.parts);
                return known;
            }
            // Two places that show one directory of a branch: only a damaged
            // stack, or one with mounts inside, has that. They stay apart.
            number = self.table.split_number(parent, name);
            match self.table.get(number) {
                Some(known) if known.links.read().contains(parent, name) => {
                    self.refresh_parts(&known, view.parts);
                    return known;
                }
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
        let top = view.parts.first().and_then(|part| part.node.writable());
        let protected = Protected::of(view.attr.protection, top.map(|node| &**node));
        let body = Body::Directory(Box::new(Directory {
            parts: Latest::new(Parts::new(view.parts)),
            redirect: parking_lot::Mutex::new(view.redirect),
            impure: Impure::default(),
            state: parking_lot::RwLock::default(),
        }));
        self.table.enter(Inode::new(
            number,
            number,
            body,
            protected,
            Some(link),
            &self.table,
        ))
    }

    /// `number`, unless that is remembered for another object than `id`, which
    /// was found at a place.
    fn unmistaken(
        &self,
        number: u64,
        id: ObjectId,
        place: (&Inode, &Name),
        view: &View,
        copy: Option<BranchId>,
    ) -> u64 {
        match self.is_mistaken(number, place, view, copy) {
            true => self.table.another_number(id, number),
            false => number,
        }
    }

    fn is_mistaken(
        &self,
        number: u64,
        (parent, name): (&Inode, &Name),
        view: &View,
        copy: Option<BranchId>,
    ) -> bool {
        if !self.table.is_handed_over() {
            return false;
        }
        let branches: Vec<_> = view.branches().into_iter().chain(copy).collect();
        let met = Met {
            parent,
            name,
            kind: view.attr.kind,
            has_more_names: !view.attr.kind.is_dir() && view.attr.nlink > 1,
            branches: &branches,
        };
        self.table.is_of_another(number, &met)
    }

    /// Notes what a directory is made of now, where others may have changed
    /// that. The lock of its parent is held, under which we do so ourselves.
    fn refresh_parts(&self, known: &Inode, parts: Vec<Part>) {
        match self.options.others {
            Others::KeepAway => return,
            Others::Write => {}
        }
        let same = |(one, other): (&Part, &Part)| (one.branch, one.id) == (other.branch, other.id);
        if let Some(directory) = known.directory() {
            let before = directory.parts();
            if before.len() != parts.len() || !before.iter().zip(&parts).all(same) {
                directory.parts.set(Parts::new(parts));
            }
        }
    }

    /// Whether an inode is of what a look-up found, as far as others may have
    /// changed that: they removed a copy, or made one, or moved the object away
    /// from the name that the inode goes by.
    fn is_current(&self, known: &Inode, parent: &Arc<Inode>, name: &Name, view: &View) -> bool {
        match self.options.others {
            Others::KeepAway => return true,
            Others::Write => {}
        }
        if known.home() != view.branch {
            return false;
        }
        match known.link() {
            Some(link) if !link.is(parent, name) => known
                .node()
                .attr()
                .is_ok_and(|attr| ObjectId::from(&attr) == ObjectId::from(&view.attr)),
            Some(_) | None => true,
        }
    }

    fn file_inode(&self, parent: &Arc<Inode>, name: &Name, mut view: View) -> Result<Arc<Inode>> {
        let entry = match &view.copy {
            Some(node) => self.entry_of_written(parent, name, &**node, &view.attr)?,
            None => self.index_of_lower(&view)?,
        };
        if let Some(entry) = entry {
            return self.indexed_inode(parent, name, view, entry);
        }
        let own = match &view.copy {
            Some(node) => self.number_of_written(parent, name, &**node, &view.attr)?,
            None => self.table.number_of_shown(ObjectId::from(&view.attr)),
        };
        // Each name of a lower file with several is an object of its own:
        // writing to one breaks the link, and the kernel's requests name the
        // inode, not the name that was used.
        let mut split = view.copy.is_none() && view.attr.nlink > 1 && !self.is_read_only();
        let mut shown = split.then_some(own);
        let own = match split {
            true => own,
            false => {
                let id = ObjectId::from(&view.attr);
                self.unmistaken(own, id, (parent, name), &view, None)
            }
        };
        if !split && self.is_taken(own, parent, name, &view)? {
            (split, shown) = (true, None);
        }
        let mut number = match split {
            true => self.table.split_number(parent, name),
            false => own,
        };
        if split && self.is_mistaken(number, (parent, name), &view, None) {
            self.table.forget_split(parent, name);
            number = self.table.split_number(parent, name);
        }
        let known = self.table.get(number);
        let entering = match known {
            Some(_) => Entering::InPlace,
            None => Entering::IfNew,
        };
        let inode = match known {
            Some(known) if self.is_current(&known, parent, name, &view) => known,
            Some(_) | None => {
                let branch = view.branch;
                let copy = view.copy.take().map(|node| Copy { branch, node });
                let other = Other {
                    kind: view.attr.kind,
                    copy: copy.map_or_else(Latest::none, Latest::new),
                    lacks_data: AtomicBool::new(view.lacks_data),
                    lower: view.lower.take(),
                    data: view.data.take().map(Box::new),
                    indexed: None,
                };
                let given = || self.table.shown(ObjectId::from(&view.attr), number);
                let shown = shown.or_else(given).unwrap_or(number);
                let numbers = (number, shown);
                let protection = view.attr.protection;
                let place = (parent, name);
                let made = self.new_file(numbers, other, protection, place, entering);
                self.refresh_data(&made)?;
                made
            }
        };
        if split {
            self.table.confirm_split(parent, name, number);
        }
        self.add_link(&inode, parent, name);
        Ok(inode)
    }

    /// One object for all names of a lower file with several: its copy in the
    /// index, or the lower file itself.
    fn indexed_inode(
        &self,
        parent: &Arc<Inode>,
        name: &Name,
        view: View,
        entry: index::Entry,
    ) -> Result<Arc<Inode>> {
        let copy = entry.copy.as_ref();
        let id = ObjectId::from(copy.map_or(&view.attr, |copy| &copy.attr));
        // Of a copy, unless it had to take another one.
        let number = copy.and_then(|_| self.table.given(id));
        let number = number.unwrap_or(entry.number);
        let branch = self.upper().filter(|_| copy.is_some());
        let branch = branch.map(|upper| upper.branch);
        let number = self.unmistaken(number, id, (parent, name), &view, branch);
        let only_below = view.copy.is_none();
        if let Some(copy) = &entry.copy {
            self.table.give(ObjectId::from(&copy.attr), number);
        }
        let inode = match self.table.get(number) {
            Some(known) => known,
            None => {
                let mut attr = view.attr;
                let mut lacks_data = view.lacks_data;
                let mut copy = Latest::none();
                if let (Some(found), Some(upper)) = (entry.copy, self.upper()) {
                    attr = found.attr;
                    lacks_data = upper.dialect.lacks_data(&*found.node, &attr)?;
                    let (branch, node) = (upper.branch, found.node);
                    copy = Latest::new(Copy { branch, node });
                }
                let other = Other {
                    copy,
                    kind: view.attr.kind,
                    lacks_data: AtomicBool::new(lacks_data),
                    lower: view.lower,
                    data: view.data.map(Box::new),
                    indexed: Some(entry.indexed),
                };
                let numbers = (number, number);
                let (place, entering) = ((parent, name), Entering::IfNew);
                let made = self.new_file(numbers, other, attr.protection, place, entering);
                self.refresh_data(&made)?;
                self.adopt_copy(&made)?;
                made
            }
        };
        self.add_link(&inode, parent, name);
        if let (true, Some(indexed)) = (only_below, inode.indexed()) {
            indexed.lower_names.store(true, Ordering::Release);
        }
        Ok(inode)
    }

    fn new_file(
        &self,
        (number, shown): (u64, u64),
        other: Other,
        protection: Protection,
        (parent, name): (&Arc<Inode>, &Name),
        entering: Entering,
    ) -> Arc<Inode> {
        let link = Link {
            parent: Arc::clone(parent),
            name: name.to_owned(),
        };
        let copy = other.copy.get().map(|copy| &*copy.node);
        let protected = Protected::of(protection, copy);
        let inode = Inode::new(
            number,
            shown,
            Body::Other(other),
            protected,
            Some(link),
            &self.table,
        );
        match entering {
            Entering::IfNew => self.table.enter(inode),
            Entering::InPlace => self.table.replace(inode),
        }
    }

    /// Whether `number` is that of another object: one that says it is a copy
    /// of what shows here too. Only damaged stacks have that.
    fn is_taken(&self, number: u64, parent: &Arc<Inode>, name: &Name, view: &View) -> Result<bool> {
        let Some(known) = self.table.get(number) else {
            return Ok(false);
        };
        if known.links.read().contains(parent, name) {
            return Ok(false);
        }
        let part = match (&view.copy, known.copy()) {
            (Some(_), Some(node)) => node.attr(),
            (None, None) => known.node().attr(),
            (Some(_), None) | (None, Some(_)) => return Ok(true),
        };
        match part {
            Ok(part) => Ok(ObjectId::from(&part) != ObjectId::from(&view.attr)),
            // Somebody else moved it, perhaps to here.
            Err(Error::NotFound) if self.options.others == Others::Write => Ok(false),
            Err(error) => Err(error),
        }
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
            && inode.indexed().is_none()
            && let Some(node) = inode.copy()
            && let Some(dir) = parent.on(inode.home())
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
