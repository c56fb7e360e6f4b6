//! Hard links. Takes the parent's lock for writing.

use std::sync::Arc;

use super::copy_up::DataNeeded;
use super::inode::{Inode, Link};
use super::locks::DirWrite;
use super::lookup::Written;
use super::place::Tries;
use super::redirect::Reach;
use super::target::Target;
use super::{Entry, Union};
use crate::dialect::{Says, WhiteoutForm};
use crate::error::{Error, Result};
use crate::layer::RenameMode;
use crate::name::Name;

impl Union {
    /// Gives a non-directory another name; copies it up first.
    ///
    /// Errors: `EPERM` for a directory and for what is protected, `EEXIST`, `EROFS`, `ENOENT` if the
    /// object has no name any more. Source: `link(2)`.
    pub fn link(&self, inode: &Arc<Inode>, parent: &Arc<Inode>, name: &Name) -> Result<Entry> {
        self.with_room(|tries| {
            loop {
                if let Some(entry) = self.try_link(inode, parent, name, tries)? {
                    return Ok(entry);
                }
            }
        })
    }

    /// One attempt; `None` if something moved meanwhile.
    fn try_link(
        &self,
        inode: &Arc<Inode>,
        parent: &Arc<Inode>,
        name: &Name,
        tries: &mut Tries,
    ) -> Result<Option<Entry>> {
        // Nothing is copied up for a link that cannot be.
        if self.lookup(parent, name)?.is_some() {
            return Err(Error::Exists);
        }
        self.target()?;
        self.refuse_reserved(name)?;
        self.permit_entry(parent)?;
        self.permit_change(inode)?;
        if inode.kind().is_dir() {
            return Err(Error::NotPermitted("a directory has one name"));
        }
        let target = self.place_name(inode, (parent, name), None, tries)?;
        self.refuse_to_part(target, inode)?;
        let dir = self.part_on(target, parent)?;
        match self.chooser {
            None => drop(self.writable(inode, self.needed_to_link(target, inode)?)?),
            Some(_) => self.bring_to(target, inode, DataNeeded::All)?,
        }
        // A metacopy must not move while it is marked.
        let source = inode.link().filter(|_| inode.lacks_data());
        if source.is_none() {
            self.writable(inode, DataNeeded::All)?;
        }
        // From here on until it has its name: a file with several does not move,
        // and who moves one has counted them.
        let _staying = self.moves.stay(inode);
        let node = inode.copy().ok_or(Error::Stale)?;
        let mut locked = vec![parent];
        locked.extend(source.as_ref().map(|link| &link.parent));
        let held = DirWrite::lock(&locked)?;
        if held.is_removed(parent) {
            return Err(Error::NotFound);
        }
        match self.above_says(target, parent, name, &held)? {
            Says::Nothing if inode.home() == target.branch => {}
            Says::Nothing | Says::Hides => return Ok(None),
            Says::Shows | Says::ShowsAlone => return Err(Error::Exists),
        }
        let written = self.claim(target, parent, &**dir, name, &held)?;
        let mode = match written {
            Written::Object => return Err(Error::Exists),
            Written::Nothing if self.lower_shows(target, parent, name, &held)? => {
                return Err(Error::Exists);
            }
            Written::Nothing => RenameMode::NoReplace,
            Written::Whiteout => RenameMode::Replace,
        };
        if let Some(link) = &source {
            if !inode.links.read().contains(&link.parent, &link.name) {
                return Ok(None);
            }
            let reach = Reach::AnotherParent;
            self.mark_file(target, inode, &link.parent, &link.name, reach)?;
        }
        self.make_impure_for(target, inode, &**node, parent)?;
        let counting = self.count_with_copy(target, inode)?;
        match (written, target.whiteouts) {
            (Written::Whiteout, WhiteoutForm::Entry) => {
                self.link_in_place(target, &**dir, name, &**node)?;
            }
            (Written::Whiteout | Written::Nothing | Written::Object, _) => {
                dir.link(name, &**node, mode)?;
            }
        }
        drop(counting);
        self.add_link(inode, parent, name);
        self.touch(target, parent);
        let attr = self.attr(inode)?;
        Ok(Some(Entry {
            inode: Arc::clone(inode),
            attr,
        }))
    }

    /// What must be copied up of a file that gets another name.
    fn needed_to_link(&self, target: &Target, inode: &Arc<Inode>) -> Result<DataNeeded> {
        match inode.link() {
            Some(Link { parent, name }) => {
                self.needed_to_move(target, inode, &parent, &name, Reach::AnotherParent)
            }
            None => Ok(DataNeeded::All),
        }
    }
}
