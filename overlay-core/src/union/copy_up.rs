//! Copy-up: an object of a read-only branch is copied to the writable one
//! before it changes.
//!
//! The copy is staged in the work area with data, owner, attributes, mode and
//! times, made durable (see `union/sync.rs`), and published by one rename: at every instant a
//! reader, or a crash, sees the old whole or the new whole. Parents are
//! copied first, each on its own, so no directory lock is held over data.
//!
//! Takes the inode's copy-up lock, and inside it the parent's lock for the
//! moment of publishing. Source: `fs/overlayfs/copy_up.c`.

use std::sync::Arc;

use super::Union;
use super::create::publish_mode;
use super::inode::{Body, Inode};
use super::locks::{CopyUpGuard, DirWrite};
use super::lookup::Written;
use super::origin::LowerLinks;
use super::part::{Copy, Object, Part};
use super::table::ObjectId;
use super::target::Target;
use crate::attr::{Attr, FileKind, SetAttr};
use crate::dialect::{Dialect, WhiteoutForm};
use crate::error::{Errno, Error, Result};
use crate::layer::{Access, New, NewKind, Node, SetXattr, Staged, WritableNode, copy_data};
use crate::sys;

/// How much of a regular file a copy-up must bring along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DataNeeded {
    /// All of it.
    All,
    /// None, if the copy may leave it below (`metacopy`); else all.
    Attributes,
    /// Nothing: the file is to be cut to size zero, and the copy is published
    /// cut, so that a failure or a crash never shows an empty file whose
    /// truncation did not happen.
    Nothing,
}

/// Whether a copy-up has cut the file, too, as [`DataNeeded::Nothing`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    Yes,
    /// No: it was not asked to, the copy was there before, or lies in the
    /// index.
    No,
}

impl Cut {
    /// For a copy that was made, or got its data, by this call.
    fn by(data: DataNeeded) -> Cut {
        match data {
            DataNeeded::Nothing => Cut::Yes,
            DataNeeded::All | DataNeeded::Attributes => Cut::No,
        }
    }
}

/// Mode of a staged regular file while its data is copied: nobody else may
/// look, and an unprivileged server must be able to write.
const STAGED_MODE: u32 = 0o600;

impl Union {
    /// Copies `inode` up unless that has happened, and returns the copy.
    /// No directory lock may be held.
    pub(super) fn writable<'a>(
        &self,
        inode: &'a Arc<Inode>,
        data: DataNeeded,
    ) -> Result<&'a Arc<dyn WritableNode>> {
        self.copied(inode, data).map(|(node, _)| node)
    }

    /// As [`Union::writable`], for a caller who knows the name that is used,
    /// and gives it to a copy in the index itself.
    pub(super) fn writable_by_name<'a>(
        &self,
        inode: &'a Arc<Inode>,
        data: DataNeeded,
    ) -> Result<&'a Arc<dyn WritableNode>> {
        self.copied_by_name(inode, data).map(|(node, _)| node)
    }

    /// As [`Union::writable`], and says whether this call has cut the file.
    pub(super) fn copied<'a>(
        &self,
        inode: &'a Arc<Inode>,
        data: DataNeeded,
    ) -> Result<(&'a Arc<dyn WritableNode>, Cut)> {
        if inode.indexed().is_none() {
            return self.copied_by_name(inode, data);
        }
        // All names show a copy in the index at once, and linking it up may
        // fail: it is cut after that, by the caller.
        let needed = match data {
            DataNeeded::Nothing => DataNeeded::All,
            DataNeeded::All | DataNeeded::Attributes => data,
        };
        let copied = self.copied_by_name(inode, needed)?;
        self.link_up_known(self.target()?, inode)?;
        Ok(copied)
    }

    fn copied_by_name<'a>(
        &self,
        inode: &'a Arc<Inode>,
        data: DataNeeded,
    ) -> Result<(&'a Arc<dyn WritableNode>, Cut)> {
        if let Some(node) = inode.copy()
            && !inode.lacks_data()
        {
            return Ok((node, Cut::No));
        }
        self.with_room(|tries| {
            let target = self.place_change(inode, tries)?;
            self.copied_to(target, inode, data)
        })
    }

    /// As [`Union::copied`], to a branch that was chosen.
    fn copied_to<'a>(
        &self,
        target: &Target,
        inode: &'a Arc<Inode>,
        data: DataNeeded,
    ) -> Result<(&'a Arc<dyn WritableNode>, Cut)> {
        // As the kernel (`ovl_copy_up_flags`): also if it could stay below.
        self.require_data(inode)?;
        if inode.kind().is_dir() {
            return Ok((self.part_on(target, inode)?, Cut::No));
        }
        let mut cut = Cut::No;
        while !inode.is_copied_up() {
            // A copy in the index needs no parents.
            if let Some(link) = inode.link().filter(|_| inode.indexed().is_none()) {
                self.part_on(target, &link.parent)?;
            }
            if let Some(done) = self.copy_up(target, inode, data)? {
                cut = done;
            }
        }
        if self.bring_data(target, inode, data)? {
            cut = Cut::by(data);
        }
        Ok((inode.copy().ok_or(Error::Stale)?, cut))
    }

    /// Copies a non-directory up; `None` if it has moved to where its
    /// directory is not copied up.
    fn copy_up(
        &self,
        target: &Target,
        inode: &Arc<Inode>,
        data: DataNeeded,
    ) -> Result<Option<Cut>> {
        let _copying = CopyUpGuard::lock(inode);
        if inode.is_copied_up() || self.adopt_copy(inode)? {
            return Ok(Some(Cut::No));
        }
        let attr = inode.node().attr()?;
        let leaves_data = self.leaves_data(&attr, data);
        let staged = self.stage_copy(target, inode, &attr, data)?;
        if leaves_data {
            // Before the copy shows: nobody may take its hole for the data.
            inode.set_lacks_data(true);
        }
        if !self.publish_copy(target, inode, staged)? {
            return Ok(None);
        }
        inode.set_lacks_data(leaves_data);
        Ok(Some(Cut::by(data)))
    }

    /// Copies a directory to a branch where it is not: nothing that is seen
    /// changes. The one above it is there, or else nothing is done.
    pub(super) fn add_part(&self, target: &Target, directory: &Arc<Inode>) -> Result<()> {
        let _copying = CopyUpGuard::lock(directory);
        if directory.on(target.branch).is_some() {
            return Ok(());
        }
        let attr = directory.node().attr()?;
        let staged = self.stage_copy(target, directory, &attr, DataNeeded::All)?;
        self.publish_copy(target, directory, staged).map(drop)
    }

    /// Moves a non-directory from the branch where it was written to a higher
    /// one: by its present name it is a copy there, and the original is hidden
    /// by it. Nothing if it is there.
    ///
    /// Errors: `EXDEV` if it has several names, which would part.
    pub(super) fn lift(&self, target: &Target, inode: &Arc<Inode>) -> Result<()> {
        while inode.home() != target.branch {
            let link = inode.link().ok_or(Error::NotFound)?;
            self.part_on(target, &link.parent)?;
            let _copying = CopyUpGuard::lock(inode);
            if inode.home() == target.branch {
                break;
            }
            // Nothing is written to the original from here on.
            let _moving = self.moves.begin(inode);
            let attr = inode.node().attr()?;
            if attr.nlink > 1 {
                return Err(Error::CrossDevice);
            }
            let staged = self.stage_copy(target, inode, &attr, DataNeeded::All)?;
            self.publish_copy(target, inode, staged)?;
        }
        Ok(())
    }

    /// `EXDEV` for what [`Union::lift`] would not move, before anything is
    /// copied for it.
    pub(super) fn refuse_to_part(&self, target: &Target, inode: &Inode) -> Result<()> {
        let leaves = inode.is_copied_up() && inode.home() != target.branch;
        let moves = self.chooser.is_some() && leaves && !inode.kind().is_dir();
        if moves && inode.node().attr()?.nlink > 1 {
            return Err(Error::CrossDevice);
        }
        Ok(())
    }

    /// Sees to it that `inode` lies on the branch of `target`.
    pub(super) fn bring_to(
        &self,
        target: &Target,
        inode: &Arc<Inode>,
        data: DataNeeded,
    ) -> Result<()> {
        match self.chooser {
            None => self.writable_by_name(inode, data).map(drop),
            Some(_) if inode.kind().is_dir() => self.part_on(target, inode).map(drop),
            Some(_) => {
                self.copied_to(target, inode, data)?;
                self.lift(target, inode)
            }
        }
    }

    /// Makes a whole copy of `inode`, or one that leaves its data below, in
    /// the work area.
    fn stage_copy(
        &self,
        target: &Target,
        inode: &Inode,
        attr: &Attr,
        data: DataNeeded,
    ) -> Result<Staged> {
        let lower = inode.node();
        if lower.hides_owner(attr)? {
            let why = "the owner has no id in this user namespace, and would be lost";
            return Err(Error::system("copy-up", why, Errno::OVERFLOW));
        }
        let leaves_data = self.leaves_data(attr, data);
        let link_target;
        let kind = match attr.kind {
            FileKind::Regular => NewKind::Regular,
            FileKind::Directory => NewKind::Directory,
            FileKind::Symlink => {
                link_target = lower.link_target()?;
                NewKind::Symlink(&link_target)
            }
            FileKind::Fifo => NewKind::Fifo,
            FileKind::Socket => NewKind::Socket,
            FileKind::CharDevice => NewKind::CharDevice(attr.rdev),
            FileKind::BlockDevice => NewKind::BlockDevice(attr.rdev),
        };
        let regular = attr.kind == FileKind::Regular;
        let mut marks = Vec::new();
        let links = match inode.indexed() {
            Some(_) => LowerLinks::Keep,
            None => LowerLinks::Break,
        };
        let origin = self.origin_value(target, lower, attr, links)?;
        let count = inode.indexed().and_then(Union::first_count);
        if let Some(count) = &count {
            marks.push((target.dialect.link_count_mark(), count.as_slice()));
        }
        if let Some(origin) = &origin {
            marks.push((target.dialect.origin_mark(), origin.as_slice()));
        }
        if leaves_data {
            marks.push(target.dialect.metacopy_mark());
        }
        if matches!(attr.kind, FileKind::Regular | FileKind::Directory) {
            marks.extend(target.dialect.protection_mark(self.protection(inode)?));
        }
        let new = New {
            kind,
            mode: if regular { STAGED_MODE } else { attr.mode },
            owner: sys::meta::process_owner(),
            xattrs: &marks,
        };
        let staged = Staged::new(&target.storage, &new)?;
        let copy = staged.node();
        // Data first: writing drops capabilities and setuid bits.
        let cut = regular && data == DataNeeded::Nothing;
        let with_data = regular && attr.size > 0 && !cut && !leaves_data;
        let file = match with_data || cut {
            true => Some(copy.open(Access::Write)?),
            false => None,
        };
        if let (Some(file), true) = (&file, with_data) {
            copy_data(&*self.open_data(inode)?, &**file, attr.size)?;
        }
        if leaves_data {
            copy.set_attr(&SetAttr {
                size: Some(attr.size),
                ..SetAttr::default()
            })?;
        }
        if (attr.uid, attr.gid) != (new.owner.uid, new.owner.gid) {
            copy.set_attr(&SetAttr {
                uid: Some(attr.uid),
                gid: Some(attr.gid),
                ..SetAttr::default()
            })?;
        }
        self.copy_xattrs(target, self.dialect_of_shown(inode), lower, &**copy)?;
        copy.set_attr(&SetAttr {
            mode: (attr.kind != FileKind::Symlink).then_some(attr.mode),
            ..SetAttr::times_of(attr)
        })?;
        if let (Some(file), true) = (&file, cut) {
            // Last: it changes the time, and perhaps the mode.
            file.set_len(0)?;
        }
        let data = file.as_deref().filter(|_| with_data);
        self.sync_copy(&**copy, attr.kind, data)?;
        Ok(staged)
    }

    /// Copies the attributes of `lower` but for those of the dialects: that
    /// of its own branch is `dialect`.
    pub(super) fn copy_xattrs(
        &self,
        target: &Target,
        dialect: Dialect,
        lower: &dyn Node,
        copy: &dyn WritableNode,
    ) -> Result<()> {
        for name in lower.xattr_names()? {
            // The dialects' own attributes speak of their branch alone.
            if target.dialect.shown_xattr(&name).is_none() || dialect.shown_xattr(&name).is_none() {
                continue;
            }
            let Some(value) = lower.xattr(&name)? else {
                continue;
            };
            match copy.set_xattr(&name, &value, SetXattr::Any) {
                Ok(()) => {}
                // As the kernel: what the upper filesystem cannot store is
                // left behind, unless permissions depend on it.
                Err(error) if error.is(Errno::OPNOTSUPP) && !is_security(&name) => {
                    tracing::debug!(%error, name = %name.escape_ascii(), "attribute not copied up");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes the copy visible at the inode's name; without one (the object
    /// was removed meanwhile) the copy stays nameless. `false`, and the copy is
    /// gone, if the object has moved to a directory that is not there on the
    /// branch.
    fn publish_copy(&self, target: &Target, inode: &Arc<Inode>, staged: Staged) -> Result<bool> {
        // Asked while it can still fail: once the copy is visible, the inode
        // must know it.
        let id = ObjectId::from(&staged.node().attr()?);
        if let Some(indexed) = inode.indexed() {
            let (node, durable) = self.publish_in_index(indexed, staged)?;
            self.set_copy(target, inode, id, node)?;
            return durable.map(|()| true);
        }
        loop {
            let Some(link) = inode.link() else {
                let node = staged.keep()?;
                return self.set_copy(target, inode, id, node).map(|()| true);
            };
            let held = DirWrite::lock(&[&link.parent])?;
            let unmoved = inode
                .links
                .read()
                .first()
                .is_some_and(|now| now.is(&link.parent, &link.name));
            if !unmoved {
                continue;
            }
            let Some(parent) = link.parent.on(target.branch) else {
                return Ok(false);
            };
            let before = parent.attr()?;
            self.make_impure_for(target, inode, &**staged.node(), &link.parent)?;
            let written = match self.chooser {
                // What shows on a branch below is not hidden on the top one.
                None => Written::Nothing,
                Some(_) => self.written(target, &link.parent, &link.name, &held)?,
            };
            if written == Written::Whiteout {
                // What it hides stays hidden.
                self.make_opaque(target, &**staged.node())?;
            }
            let mode = publish_mode(target, written, inode.kind());
            let node = staged.publish(&**parent, &link.name, mode, None)?;
            if (written, target.whiteouts) == (Written::Whiteout, WhiteoutForm::Entry) {
                self.take_the_place(target, &**parent, &link.name, &node)?;
            }
            // A failure is told once the inode knows its copy.
            let durable = self.sync_entry(&**parent);
            self.set_copy(target, inode, id, node)?;
            self.table.forget_split(&link.parent, &link.name);
            // Making the copy is no change of the directory that anybody saw.
            // The copy is visible: only a time is wrong if this fails.
            if let Err(error) = parent.set_attr(&SetAttr::times_of(&before)) {
                tracing::warn!(%error, "a copy-up shows in the times of its directory");
            }
            drop(held);
            return durable.map(|()| true);
        }
    }

    /// From now on `inode` has the copy `node` on a branch.
    pub(super) fn set_copy(
        &self,
        target: &Target,
        inode: &Arc<Inode>,
        id: ObjectId,
        node: Arc<dyn WritableNode>,
    ) -> Result<()> {
        if inode.is_split() && inode.node().attr().is_ok_and(|was| was.nlink > 1) {
            // It is not one of several names any more.
            inode.show_number(self.table.own_number(id));
        }
        self.table.give_on(target.branch, id, inode);
        match &inode.body {
            Body::Other(other) => {
                let branch = target.branch;
                // A look-up may have found a copy in the index already.
                if other.copy.get().is_none_or(|copy| copy.branch != branch) {
                    other.copy.set(Copy { branch, node });
                }
            }
            Body::Directory(directory) => {
                let parts = directory.parts();
                let depth = self.depth(target.branch)?;
                let mut position = 0;
                for part in parts.iter() {
                    position += usize::from(self.depth(part.branch)? < depth);
                }
                let part = Part {
                    branch: target.branch,
                    node: Object::Writable(node),
                    id,
                    file_whiteouts: false,
                };
                directory.parts.set(parts.with(position, part));
            }
        }
        Ok(())
    }
}

/// Attributes that decide who may do what: never left behind.
fn is_security(name: &[u8]) -> bool {
    name.starts_with(b"security.") || name.starts_with(b"system.posix_acl_")
}
