//! Removing: a whiteout where something below would show, nothing otherwise.
//!
//! Takes the parent's lock for writing, and that of a directory that goes;
//! inside, the names of what goes.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::Union;
use super::beside::Hider;
use super::copy_up::DataNeeded;
use super::inode::{Inode, Links};
use super::locks::DirWrite;
use super::lookup::Written;
use super::place::Tries;
use super::target::Target;
use crate::dialect::WhiteoutForm;
use crate::error::{Error, Result};
use crate::layer::{Removal, RenameMode, WritableNode};
use crate::name::{Name, NameBuf};

impl Union {
    /// Removes a non-directory; who has it open keeps it. See `unlink(2)`.
    ///
    /// Errors: `ENOENT`, `EISDIR`, `EROFS`, `EPERM` for what is protected.
    pub fn unlink(&self, parent: &Arc<Inode>, name: &Name) -> Result<()> {
        self.target()?;
        let found = self.lookup(parent, name)?.ok_or(Error::NotFound)?;
        self.permit_removal(parent, &found.inode)?;
        if found.inode.kind().is_dir() {
            return Err(Error::IsDirectory);
        }
        let mut inode = found.inode;
        self.with_room(|tries| {
            loop {
                let target = self.place_change(&inode, tries)?;
                let dir = self.part_on(target, parent)?;
                if inode.indexed().is_some() {
                    // Before a lower name goes, its object counts its names.
                    self.writable_by_name(&inode, DataNeeded::Attributes)?;
                }
                let held = DirWrite::lock(&[parent])?;
                if held.is_removed(parent) {
                    return Err(Error::NotFound);
                }
                let now = self
                    .resolve(parent, name, &held)?
                    .ok_or(Error::NotFound)?
                    .inode;
                self.permit_removal(parent, &now)?;
                if now.kind().is_dir() {
                    return Err(Error::IsDirectory);
                }
                if now.indexed().is_some() && !now.is_copied_up()
                    || !self.is_placed(target, &now)?
                {
                    // It became another one: look again.
                    inode = now;
                    continue;
                }
                return self.take_name(target, parent, &**dir, name, &now, &held);
            }
        })
    }

    /// Whether the branch of `target` is where `inode` can be hidden, or taken
    /// away: its own if that can be written, or one above.
    fn is_placed(&self, target: &Target, inode: &Inode) -> Result<bool> {
        let home = inode.home();
        Ok(match inode.is_copied_up() {
            true => home == target.branch,
            false => self.depth(target.branch)? < self.depth(home)?,
        })
    }

    /// Takes the name of a non-directory away.
    fn take_name(
        &self,
        target: &Target,
        parent: &Arc<Inode>,
        dir: &dyn WritableNode,
        name: &Name,
        inode: &Arc<Inode>,
        held: &DirWrite<'_>,
    ) -> Result<()> {
        self.link_up(target, inode, parent, name, held)?;
        let copy = inode.copy().map(|node| &**node);
        let counting = self.count_with_copy(target, inode)?;
        match (self.lower_shows(target, parent, name, held)?, copy) {
            (false, _) => {
                let mut links = inode.links.write();
                dir.remove(name, Removal::NonDirectory, copy)?;
                self.drop_link(inode, &mut links, parent, name);
            }
            (true, Some(_)) if target.whiteouts == WhiteoutForm::Entry => {
                let hider = self.hide(target, dir, name)?;
                let mut links = inode.links.write();
                dir.remove(name, Removal::NonDirectory, copy)?;
                hider.keep();
                self.drop_link(inode, &mut links, parent, name);
            }
            (true, Some(_)) => {
                let whiteout = self.stage_whiteout(target, dir)?;
                let mut links = inode.links.write();
                whiteout.publish(dir, name, RenameMode::Replace, copy)?;
                self.drop_link(inode, &mut links, parent, name);
            }
            (true, None) => {
                self.make_whiteout(target, dir, name)?;
                self.drop_link(inode, &mut inode.links.write(), parent, name);
            }
        }
        drop(counting);
        self.settle_index(target, inode);
        self.touch(target, parent);
        Ok(())
    }

    /// Removes a directory that shows no entries. See `rmdir(2)`.
    ///
    /// Errors: `ENOENT`, `ENOTDIR`, `ENOTEMPTY`, `EROFS`, `EPERM` for what is
    /// protected.
    pub fn rmdir(&self, parent: &Arc<Inode>, name: &Name) -> Result<()> {
        self.target()?;
        self.with_room(|tries| {
            loop {
                if self.try_rmdir(parent, name, tries)? {
                    return Ok(());
                }
            }
        })
    }

    /// One attempt; `false` if the name became something else.
    fn try_rmdir(&self, parent: &Arc<Inode>, name: &Name, tries: &mut Tries) -> Result<bool> {
        let found = self.lookup(parent, name)?.ok_or(Error::NotFound)?;
        let inode = found.inode;
        self.permit_removal(parent, &inode)?;
        if !inode.kind().is_dir() {
            return Err(Error::NotDirectory);
        }
        if !self.looks_empty(&inode)? {
            return Err(Error::NotEmpty);
        }
        let target = self.place_change(&inode, tries)?;
        let dir = self.part_on(target, parent)?;
        let mut held = DirWrite::lock(&[parent, &inode])?;
        if held.is_removed(parent) {
            return Err(Error::NotFound);
        }
        match self.resolve(parent, name, &held)? {
            Some(now) if Arc::ptr_eq(&now.inode, &inode) => {}
            Some(_) => return Ok(false),
            None => return Err(Error::NotFound),
        }
        if !self.is_placed(target, &inode)? {
            return Ok(false);
        }
        if !self.shows_nothing(&inode, &held)? {
            return Err(Error::NotEmpty);
        }
        self.take_directory(target, parent, &**dir, name, &inode, &held)?;
        held.set_removed(&inode);
        self.drop_link(&inode, &mut inode.links.write(), parent, name);
        self.touch(target, parent);
        Ok(true)
    }

    fn take_directory(
        &self,
        target: &Target,
        parent: &Arc<Inode>,
        dir: &dyn WritableNode,
        name: &Name,
        inode: &Arc<Inode>,
        held: &DirWrite<'_>,
    ) -> Result<()> {
        let hides = self.lower_shows(target, parent, name, held)?;
        match inode.on(target.branch) {
            None => {
                self.make_whiteout(target, dir, name)?;
            }
            Some(copy) if target.whiteouts == WhiteoutForm::Entry => {
                let hider = match hides {
                    true => Some(self.hide(target, dir, name)?),
                    false => None,
                };
                self.take_away(target, dir, name, copy)?;
                hider.into_iter().for_each(Hider::keep);
            }
            // In one step: the copy with its whiteouts goes to the work area.
            Some(copy) if hides => {
                let whiteout = self.stage_whiteout(target, dir)?;
                whiteout.publish(dir, name, RenameMode::Exchange, Some(&**copy))?;
            }
            // Its lower part lies elsewhere (a redirect): the whiteouts hide
            // it until the directory goes, so they go together.
            Some(copy) if self.must_go_whole(target, inode) && self.stores_anything(&**copy)? => {
                let swapped = self.put_empty(target, dir, name, copy, None)?;
                let gone = dir.remove(name, Removal::Directory, Some(&*swapped.empty));
                swapped.settle(dir, name, gone)?;
            }
            Some(copy) => {
                self.clear_whiteouts(target, inode, held)?;
                dir.remove(name, Removal::Directory, Some(&**copy))?;
            }
        }
        Ok(())
    }

    /// Whether what a directory that shows nothing stores must go together
    /// with it: until then whiteouts hide something, or there may be more than
    /// whiteouts.
    fn must_go_whole(&self, target: &Target, inode: &Inode) -> bool {
        inode.parts().len() > 1 || target.dialect.has_private_entries()
    }

    /// Removes the whiteouts that the writable part of a directory stores.
    /// Only for a directory that shows nothing and has nothing below it.
    fn clear_whiteouts(
        &self,
        target: &Target,
        inode: &Arc<Inode>,
        held: &DirWrite<'_>,
    ) -> Result<()> {
        let Some(copy) = inode.on(target.branch) else {
            return Ok(());
        };
        for name in stored_names(&**copy)? {
            if self.written(target, inode, &name, held)? == Written::Whiteout {
                copy.remove(&name, Removal::NonDirectory, None)?;
            }
        }
        Ok(())
    }

    /// Whether the writable part of a directory stores anything, marks
    /// included.
    pub(super) fn stores_anything(&self, copy: &dyn WritableNode) -> Result<bool> {
        let mut any = false;
        copy.entries(&mut |_| {
            any = true;
            ControlFlow::Break(())
        })?;
        Ok(any)
    }

    /// Takes `name` from an object's names. Its node goes on with another
    /// known name; without one it is held by a descriptor.
    ///
    /// The other name may be moving, or going too, under locks of directories
    /// that are not held here. So whoever takes, moves or gives an object's
    /// names has them locked from the change on the branch until this is
    /// done: a node never means a name that has gone on to another object.
    pub(super) fn drop_link(
        &self,
        inode: &Inode,
        links: &mut Links,
        parent: &Arc<Inode>,
        name: &Name,
    ) {
        if inode.is_split() {
            self.table.forget_split(parent, name);
        }
        links.remove(parent, name);
        if links.first().is_none() {
            // Its number may come again, by this name too.
            self.table.trails().forget(inode.number());
        }
        // A copy in the index goes by its name there: `settle_index`.
        if let Some(next) = links.first()
            && inode.indexed().is_none()
            && let Some(node) = inode.copy()
            && let Some(dir) = next.parent.on(inode.home())
            && let Err(error) = node.relocate(&**dir, &next.name)
        {
            tracing::debug!(%error, "an object stays held by its descriptor");
        }
    }
}

pub(super) fn stored_names(directory: &dyn WritableNode) -> Result<Vec<NameBuf>> {
    let mut names = Vec::new();
    directory.entries(&mut |entry| {
        names.push(entry.name.to_owned());
        ControlFlow::Continue(())
    })?;
    Ok(names)
}
