//! The index: copies of lower files with several hard links lie there by the
//! file handle of their original, so that all its names, copied up or not,
//! stay names of one object. With `index=on`; in the kernel's form.
//!
//! The copy's link count is that of the union's names: those it has on the
//! writable branch and those that only lower branches have. It is stored as a
//! difference to the count of the copy, or of the original, whichever changes
//! together with it: so it is right before and after each change, and a crash
//! in between. A lower name that goes is linked to the copy first.
//!
//! Source: `ovl_lookup_index`, `ovl_verify_index` in `fs/overlayfs/namei.c`,
//! `ovl_link_up` in `copy_up.c`, `ovl_nlink_start`, `ovl_set_nlink_upper` in
//! `util.c`, `ovl_get_nlink` in `inode.c`. Takes the counting lock of the
//! object (rank 4, before its links), inside the directory's.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::Union;
use super::copies::{Copies, links_of};
use super::copy_up::DataNeeded;
use super::inode::{Indexed, Inode, Link, Slot};
use super::locks::{DirHeld, DirWrite};
use super::lookup::Written;
use super::search::View;
use super::table::ObjectId;
use super::target::Target;
use crate::attr::{Attr, SetAttr};
use crate::dialect::origin::{LinkCount, Side, Stored, index_name, parse_index_name, to_value};
use crate::error::{Error, IndexFault, Result};
use crate::handle::FileHandle;
use crate::layer::{Found, Node, Removal, RenameMode, SetXattr, Staged, WritableNode};
use crate::name::Name;

/// What the index says about a name.
#[derive(Debug)]
pub(super) struct Entry {
    /// What the inode of the name has to know.
    pub indexed: Box<Indexed>,
    /// The number of the original, which all names show.
    pub number: u64,
    /// The copy, if there is one.
    pub copy: Option<Found<dyn WritableNode>>,
}

impl Indexed {
    pub(super) fn new(slot: Slot, lower_links: u64) -> Indexed {
        Indexed {
            slot,
            lower_links,
            lower_names: AtomicBool::new(false),
            counting: Mutex::new(()),
        }
    }
}

impl Union {
    /// Whether the stack can have an index; nothing changes.
    ///
    /// Errors: [`Error::Index`].
    pub(super) fn verify_index(&self, target: &Target) -> Result<()> {
        let ties = self.ties(target)?;
        if let Some(tie) = ties.root {
            tie.is_there(&*target.storage.root())?;
        }
        let workdir = target.storage.workdir()?;
        let found = match workdir {
            Some(workdir) => workdir.lookup(Name::new(INDEX)?)?,
            None => None,
        };
        match found {
            Some(index) if !index.attr.kind.is_dir() => Err(NOT_DIRECTORY),
            Some(index) => ties.index.is_there(&*index.node).map(drop),
            None => Ok(()),
        }
    }

    /// Opens the index and sees to it that it is this stack's.
    ///
    /// Errors: as [`Union::verify_index`].
    pub(super) fn open_index(&self, target: &Target) -> Result<Arc<dyn WritableNode>> {
        self.verify_index(target)?;
        let ties = self.ties(target)?;
        if let Some(tie) = ties.root {
            tie.make(&*target.storage.root())?;
        }
        let index = target.storage.index()?;
        ties.index.make(&*index)?;
        self.clear_index(target, &*index)?;
        Ok(index)
    }

    /// What says that the index is this stack's.
    fn ties(&self, target: &Target) -> Result<Ties> {
        let own = target.storage.root().handle()?.ok_or(NO_HANDLES)?;
        let root = match self.root.lower() {
            None => None,
            Some(lower) => {
                let handle = self.filesystems.handle(lower)?.ok_or(NO_HANDLES)?;
                self.filesystems.must_answer(&handle)?;
                Some(Tie {
                    mark: target.dialect.origin_mark(),
                    value: to_value(&handle, Side::Lower).ok_or(NO_HANDLES)?,
                    other: IndexFault::OtherLower,
                })
            }
        };
        let index = Tie {
            mark: target.dialect.upper_mark(),
            value: to_value(&own, Side::Upper).ok_or(NO_HANDLES)?,
            other: IndexFault::OtherUpper,
        };
        Ok(Ties { root, index })
    }

    /// Removes entries of objects without names, which a crash left.
    fn clear_index(&self, target: &Target, index: &dyn WritableNode) -> Result<()> {
        let mut names = Vec::new();
        index.entries(&mut |entry| {
            names.push(entry.name.to_owned());
            ControlFlow::Continue(())
        })?;
        for name in names {
            let Some(found) = index.lookup_writable(&name)? else {
                continue;
            };
            // Those of directories, and of what was removed, are for handles
            // that the kernel exports.
            if found.attr.kind.is_dir() || target.dialect.hides(&*found.node, &found.attr, false)? {
                continue;
            }
            let orphan = match parse_index_name(&name) {
                Stored::Known(handle, Side::Lower) => match self.filesystems.object(&handle)? {
                    None => true,
                    Some(lower) => {
                        let links = union_links(target, &*found.node, &found.attr, lower.nlink)?;
                        found.attr.nlink == 1 && links == 0
                    }
                },
                // `#...` is what the kernel was about to make.
                Stored::Known(_, Side::Upper) | Stored::Unknown | Stored::Invalid => {
                    name.as_bytes().starts_with(b"#")
                }
            };
            if orphan {
                tracing::info!(%name, "an entry of the index has lost its object");
                index.remove(&name, Removal::NonDirectory, None)?;
            }
        }
        Ok(())
    }

    /// What the index says about a non-directory that shows by its lower
    /// object alone; `None` where it has nothing to say.
    pub(super) fn index_of_lower(&self, view: &View) -> Result<Option<Entry>> {
        let (Some(copies), Some(lower)) = (self.copies.get(), &view.lower) else {
            return Ok(None);
        };
        if view.attr.nlink < 2 {
            return Ok(None);
        }
        let index = match copies {
            Copies::Plinks(plinks) => return self.plink_of_lower(plinks, view, lower),
            Copies::Index(index) => index,
        };
        let takes_marks = |target: &Target| target.dialect.takes_marks(view.attr.kind);
        if !self.upper().is_some_and(takes_marks) {
            return Ok(None);
        }
        let Some(handle) = self.filesystems.handle(&**lower)? else {
            return Ok(None);
        };
        let Some(name) = index_name(&handle) else {
            return Ok(None);
        };
        let copy = index.lookup_writable(&name)?;
        if let Some(copy) = &copy
            && copy.attr.kind != view.attr.kind
        {
            return Err(Error::Damaged("an entry of the index is of another kind"));
        }
        Ok(Some(Entry {
            indexed: Box::new(Indexed::new(Slot::Index(name), view.attr.nlink)),
            number: self.table.number_of(ObjectId::from(&view.attr)),
            copy,
        }))
    }

    /// The same for one that the writable branch stores, and that says which
    /// object it is a copy of. It is in the index if that is where its other
    /// name is.
    pub(super) fn index_of_written(
        &self,
        handle: &FileHandle,
        lower: &Attr,
        written: &Attr,
    ) -> Result<Option<Entry>> {
        let Some(Copies::Index(index)) = self.copies.get() else {
            return Ok(None);
        };
        let Some(name) = index_name(handle) else {
            return Ok(None);
        };
        let copy = index.lookup_writable(&name)?;
        let copy = copy.filter(|copy| ObjectId::from(&copy.attr) == ObjectId::from(written));
        Ok(copy.map(|copy| Entry {
            indexed: Box::new(Indexed::new(Slot::Index(name), lower.nlink)),
            number: self.table.number_of(ObjectId::from(lower)),
            copy: Some(copy),
        }))
    }

    /// Looks again for the copy of an inode without one: since the index was
    /// asked, one may have been made for an inode that died before this one.
    /// Returns whether there is a copy.
    pub(super) fn adopt_copy(&self, inode: &Arc<Inode>) -> Result<bool> {
        let (Some(target), Some(indexed), Some(copies)) =
            (self.upper(), inode.indexed(), self.copies.get())
        else {
            return Ok(inode.is_copied_up());
        };
        if inode.is_copied_up() {
            return Ok(true);
        }
        let Some(Found { node, attr }) = copies.find(&indexed.slot)? else {
            return Ok(false);
        };
        inode.set_lacks_data(target.dialect.lacks_data(&*node, &attr)?);
        self.set_copy(target, inode, ObjectId::from(&attr), node)?;
        Ok(true)
    }

    /// The attributes of a copy in the index, with the union's link count.
    pub(super) fn indexed_attr(
        &self,
        indexed: &Indexed,
        copy: &Arc<dyn WritableNode>,
    ) -> Result<Attr> {
        let target = self.target()?;
        let _counting = indexed.counting.lock();
        let attr = copy.attr()?;
        let nlink = links_of(target, indexed, &**copy, &attr)?;
        Ok(Attr { nlink, ..attr })
    }

    /// The mark of a copy that goes to the index: as many links as below.
    pub(super) fn first_count(indexed: &Indexed) -> Option<Vec<u8>> {
        let difference = indexed.lower_links as i64 - 1;
        let side = Side::Upper;
        match indexed.slot {
            Slot::Index(_) => Some(LinkCount { side, difference }.to_value()),
            // It has that many.
            Slot::Plink { .. } => None,
        }
    }

    /// Puts a staged copy into the index. All names of the inode show it from
    /// then on.
    pub(super) fn publish_in_index(
        &self,
        indexed: &Indexed,
        staged: Staged,
    ) -> Result<(Arc<dyn WritableNode>, Result<()>)> {
        match (self.copies.get(), &indexed.slot) {
            (Some(Copies::Index(index)), Slot::Index(name)) => {
                let node = staged.publish(&**index, name, RenameMode::NoReplace, None)?;
                Ok((node, self.sync_entry(&**index)))
            }
            (Some(Copies::Plinks(plinks)), &Slot::Plink { number, proof }) => {
                let node = plinks.publish(number, proof, indexed.lower_links, staged)?;
                Ok((node, self.sync_entry(plinks.directory())))
            }
            (None | Some(_), _) => Err(Error::Stale),
        }
    }

    /// Gives the copy in the index the names by which the inode is known, for
    /// one of them is being used. The index is no part of the layer: without
    /// it, what was written by a name must be there by that name. (The kernel
    /// knows which one is used, and links that up alone.)
    pub(super) fn link_up_known(&self, target: &Target, inode: &Arc<Inode>) -> Result<()> {
        let Some(indexed) = inode.indexed() else {
            return Ok(());
        };
        if !indexed.lower_names.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let links = inode.links.read().all();
        let mut failed = None;
        let mut linked = 0;
        for Link { parent, name } in &links {
            match self.link_up_known_name(target, inode, parent, name) {
                Ok(()) => linked += 1,
                Err(error) => {
                    tracing::warn!(%error, %name, "a changed file keeps a name without its copy");
                    failed = Some(error);
                }
            }
        }
        let Some(error) = failed else {
            return Ok(());
        };
        // Again at the next change.
        indexed.lower_names.store(true, Ordering::Release);
        match linked {
            0 => Err(error),
            _ => Ok(()),
        }
    }

    fn link_up_known_name(
        &self,
        target: &Target,
        inode: &Arc<Inode>,
        parent: &Arc<Inode>,
        name: &Name,
    ) -> Result<()> {
        self.writable(parent, DataNeeded::All)?;
        let held = DirWrite::lock(&[parent])?;
        // The links are not held over it: they come after the counting lock.
        let known = inode.links.read().contains(parent, name);
        match known {
            true => self.link_up(target, inode, parent, name, &held),
            false => Ok(()),
        }
    }

    /// Gives the copy in the index the name `name` in `parent`, if only lower
    /// branches have it. What is seen does not change.
    pub(super) fn link_up(
        &self,
        target: &Target,
        inode: &Arc<Inode>,
        parent: &Arc<Inode>,
        name: &Name,
        held: &impl DirHeld,
    ) -> Result<()> {
        let (Some(indexed), Some(copy)) = (inode.indexed(), inode.copy()) else {
            return Ok(());
        };
        if self.written(target, parent, name, held)? != Written::Nothing {
            return Ok(());
        }
        let dir = parent.on(target.branch).ok_or(Error::Stale)?;
        let before = dir.attr()?;
        self.make_impure_for(target, inode, &**copy, parent)?;
        {
            // The copy gets a link, the union does not.
            let _counting = self.count_by(target, indexed, copy, Side::Lower)?;
            match (self.copies.get(), &indexed.slot) {
                (Some(Copies::Plinks(plinks)), Slot::Plink { number, .. }) => {
                    plinks.give_name(*number, &**copy, &**dir, name)?;
                }
                (None | Some(_), _) => dir.link(name, &**copy, RenameMode::NoReplace)?,
            }
        }
        if let Err(error) = dir.set_attr(&SetAttr::times_of(&before)) {
            tracing::warn!(%error, "a copy-up shows in the times of its directory");
        }
        self.sync_entry(&**dir)
    }

    /// Before the links of a copy change, and the union's with them.
    pub(super) fn count_with_copy<'a>(
        &self,
        target: &Target,
        inode: &'a Inode,
    ) -> Result<Option<MutexGuard<'a, ()>>> {
        match (inode.indexed(), inode.copy()) {
            (Some(indexed), Some(copy)) => {
                self.count_by(target, indexed, copy, Side::Upper).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Stores the link count as a difference to that of `side`.
    fn count_by<'a>(
        &self,
        target: &Target,
        indexed: &'a Indexed,
        copy: &Arc<dyn WritableNode>,
        side: Side,
    ) -> Result<MutexGuard<'a, ()>> {
        let counting = indexed.counting.lock();
        match indexed.slot {
            Slot::Index(_) => {}
            // It is that of the copy.
            Slot::Plink { .. } => return Ok(counting),
        }
        let attr = copy.attr()?;
        let links = links_of(target, indexed, &**copy, &attr)?;
        let to = match side {
            Side::Upper => attr.nlink,
            Side::Lower => indexed.lower_links,
        };
        let difference = links as i64 - to as i64;
        let value = LinkCount { side, difference }.to_value();
        let mark = target.dialect.link_count_mark();
        if copy.xattr(mark)?.as_deref() != Some(&*value) {
            copy.set_xattr(mark, &value, SetXattr::Any)?;
        }
        Ok(counting)
    }

    /// After a name was lost: without any, the object leaves the index. Who
    /// has it open keeps it.
    pub(super) fn settle_index(&self, target: &Target, inode: &Inode) {
        let (Some(indexed), Some(copy), Some(copies)) =
            (inode.indexed(), inode.copy(), self.copies.get())
        else {
            return;
        };
        let _counting = indexed.counting.lock();
        let settled = copy.attr().and_then(|attr| {
            let links = links_of(target, indexed, &**copy, &attr)?;
            match (links, attr.nlink) {
                // Another thread's name was the last, and it was here.
                (_, 0) => Ok(()),
                (0, own) if own <= indexed.slot.own_links() => copies.remove(&indexed.slot, copy),
                _ => copies.hold(&indexed.slot, copy),
            }
        });
        // The name is gone: what stays in the index goes at the next mount.
        if let Err(error) = settled {
            tracing::warn!(%error, "an entry stays in the index");
        }
    }
}

/// Its name in the work directory.
const INDEX: &[u8] = b"index";

const NO_HANDLES: Error = Error::Index(IndexFault::NoHandles);
const NOT_DIRECTORY: Error = Error::Index(IndexFault::NotDirectory);

/// Marks that tie an index to its stack.
struct Ties {
    /// On the root of the writable branch: over which lower one it is used.
    root: Option<Tie>,
    /// On the index: of which branch it is.
    index: Tie,
}

/// A mark with a handle.
struct Tie {
    mark: &'static [u8],
    value: Vec<u8>,
    /// What another handle there means.
    other: IndexFault,
}

impl Tie {
    /// Whether `node` carries it; an error if it carries another.
    fn is_there(&self, node: &dyn Node) -> Result<bool> {
        match node.xattr(self.mark)? {
            Some(stored) if stored == self.value => Ok(true),
            Some(_) => Err(Error::Index(self.other)),
            None => Ok(false),
        }
    }

    fn make(&self, node: &dyn WritableNode) -> Result<()> {
        match self.is_there(node)? {
            true => Ok(()),
            false => node.set_xattr(self.mark, &self.value, SetXattr::Any),
        }
    }
}

/// How many names the union has for a copy in the index. Without a count that
/// can be read: as many as the copy.
pub(super) fn union_links(
    target: &Target,
    copy: &dyn Node,
    attr: &Attr,
    lower_links: u64,
) -> Result<u64> {
    let Some(count) = target.dialect.link_count(copy)? else {
        return Ok(attr.nlink);
    };
    let links = match count.side {
        Side::Upper => attr.nlink,
        Side::Lower => lower_links,
    };
    Ok(links.saturating_add_signed(count.difference))
}
