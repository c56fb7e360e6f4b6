//! Renaming: copy up first, then lock, look again, and move in one step.
//!
//! A directory that has content on read-only branches gets a redirect before
//! it moves, or is `EXDEV` with `redirect_dir=off`; then `mv(1)` copies.
//!
//! Takes the topology lock for directories between parents, then the locks of
//! both parents and of a directory that is replaced.
//! Source: `ovl_rename` in `fs/overlayfs/dir.c`, `rename(2)`.

use std::sync::Arc;

use parking_lot::RwLockWriteGuard;

use super::copy_up::DataNeeded;
use super::inode::{Inode, Link, Links};
use super::locks::{DirRead, DirWrite, TopologyGuard};
use super::lookup::Written;
use super::place::Tries;
use super::redirect::Reach;
use super::step::{Move, Names, Step, leaves_whiteouts};
use super::target::Target;
use super::{Entry, Union};
use crate::dialect::{Says, WhiteoutForm};
use crate::error::{Error, Result};
use crate::layer::{RenameMode, WritableNode};
use crate::name::Name;

/// A directory of the union and a name in it.
pub(super) type Place<'a> = (&'a Arc<Inode>, &'a Name);

impl Union {
    /// Renames as `renameat2(2)`.
    ///
    /// Errors: `ENOENT`, `EEXIST` with [`RenameMode::NoReplace`], `EISDIR`,
    /// `ENOTDIR`, `ENOTEMPTY`, `EINVAL` for a directory into itself and for
    /// [`RenameMode::Whiteout`], `EROFS`, `EPERM` for what is protected; `EXDEV` for a directory with lower
    /// content where no redirect can be made.
    pub fn rename(&self, from: Place<'_>, to: Place<'_>, mode: RenameMode) -> Result<()> {
        if mode == RenameMode::Whiteout {
            return Err(Error::Invalid("a whiteout is not for users to make"));
        }
        self.target()?;
        self.with_room(|tries| {
            while !self.try_rename(from, to, mode, tries)? {}
            Ok(())
        })
    }

    /// One attempt; `false` if the names changed their meaning meanwhile.
    fn try_rename(
        &self,
        from: Place<'_>,
        to: Place<'_>,
        mode: RenameMode,
        tries: &mut Tries,
    ) -> Result<bool> {
        let source = self.lookup(from.0, from.1)?.ok_or(Error::NotFound)?.inode;
        let displaced = self.lookup(to.0, to.1)?.map(|entry| entry.inode);
        self.check(&source, displaced.as_ref(), from, to, mode)?;
        self.refuse_reserved(to.1)?;
        if displaced
            .as_ref()
            .is_some_and(|there| Arc::ptr_eq(there, &source))
        {
            // Two names of one object: nothing to do (POSIX).
            return Ok(true);
        }
        self.refuse_merged(&source)?;
        if let Some(there) = &displaced {
            match mode {
                RenameMode::Exchange => {
                    self.refuse_merged(there)?;
                    self.check_reach(there, to.1, reach(from, to))?;
                }
                RenameMode::Replace | RenameMode::NoReplace | RenameMode::Whiteout => {
                    if there.kind().is_dir() && !self.looks_empty(there)? {
                        return Err(Error::NotEmpty);
                    }
                }
            }
        }
        self.check_reach(&source, from.1, reach(from, to))?;
        let target = self.place_rename(&source, displaced.as_deref(), from, to, mode, tries)?;
        let trades = mode == RenameMode::Exchange
            || !leaves_whiteouts(target) && displaced.is_some() && self.uncovers(target, from)?;
        if let (true, Some(there)) = (trades, &displaced) {
            let needed = self.needed_to_move(target, there, to.0, to.1, reach(from, to))?;
            self.bring_to(target, there, needed)?;
        }
        let needed = self.needed_to_move(target, &source, from.0, from.1, reach(from, to))?;
        self.bring_to(target, &source, needed)?;
        if let Some(there) = displaced.as_ref().filter(|there| there.indexed().is_some()) {
            // Before a lower name goes, its object counts its names.
            self.writable_by_name(there, DataNeeded::Attributes)?;
        }
        self.part_on(target, from.0)?;
        self.part_on(target, to.0)?;

        let crossing = !Arc::ptr_eq(from.0, to.0);
        let moves_directory = source.kind().is_dir()
            || mode == RenameMode::Exchange
                && displaced
                    .as_ref()
                    .is_some_and(|there| there.kind().is_dir());
        let _topology = (crossing && moves_directory).then(|| TopologyGuard::lock(&self.topology));
        if crossing {
            check_loops(&source, displaced.as_ref(), from.0, to.0, mode)?;
        }
        let mut directories = vec![from.0, to.0];
        if let Some(there) = &displaced
            && there.kind().is_dir()
        {
            directories.push(there);
        }
        let marks_inside =
            target.may_hold_marked_files() || target.whiteouts == WhiteoutForm::Entry;
        if source.kind().is_dir() && marks_inside {
            // It may become opaque: see `make_opaque`.
            directories.push(&source);
        }
        let mut held = DirWrite::lock(&directories)?;
        if held.is_removed(from.0) || held.is_removed(to.0) {
            return Err(Error::NotFound);
        }
        if mode != RenameMode::Exchange
            && !leaves_whiteouts(target)
            && displaced
                .as_ref()
                .is_some_and(|there| node_on(target, there).is_none())
            && self.lower_shows(target, from.0, from.1, &held)?
        {
            return Ok(false);
        }
        let is_still = |place: Place<'_>, inode: Option<&Arc<Inode>>| -> Result<bool> {
            let now = self.resolve(place.0, place.1, &held)?;
            Ok(same(now.as_ref(), inode))
        };
        if !is_still(from, Some(&source))? || !is_still(to, displaced.as_ref())? {
            return Ok(false);
        }
        let mut moving = vec![&*source];
        if mode == RenameMode::Exchange {
            moving.extend(displaced.as_deref());
        }
        if !self.is_still_placed(target, &moving, to, &held)? {
            return Ok(false);
        }
        match mode {
            RenameMode::Exchange => {
                let there = displaced.as_ref().ok_or(Error::NotFound)?;
                self.exchange(target, from, to, &source, there, &held)?;
            }
            RenameMode::Replace | RenameMode::NoReplace | RenameMode::Whiteout => {
                self.replace(target, from, to, &source, displaced.as_ref(), &mut held)?;
            }
        }
        self.touch(target, from.0);
        self.touch(target, to.0);
        Ok(true)
    }

    /// The branch on which a rename is done.
    ///
    /// Errors: `EXDEV` for a directory that would have to go to another one.
    fn place_rename(
        &self,
        source: &Inode,
        displaced: Option<&Inode>,
        from: Place<'_>,
        to: Place<'_>,
        mode: RenameMode,
        tries: &mut Tries,
    ) -> Result<&Target> {
        if self.chooser.is_none() {
            return self.target();
        }
        let mut target = self.place_name(source, to, displaced, tries)?;
        let mut moving = vec![source];
        if let (RenameMode::Exchange, Some(there)) = (mode, displaced) {
            let other = self.place_name(there, from, Some(source), tries)?;
            target = self.higher(target, other)?;
            moving.push(there);
        }
        for inode in moving {
            if inode.kind().is_dir() && !is_whole_on(target, inode) {
                return Err(Error::CrossDevice);
            }
            self.refuse_to_part(target, inode)?;
        }
        Ok(target)
    }

    /// Whether a rename can be done on the branch that was chosen for it,
    /// before the directories were locked.
    fn is_still_placed(
        &self,
        target: &Target,
        moving: &[&Inode],
        to: Place<'_>,
        held: &DirWrite<'_>,
    ) -> Result<bool> {
        if self.chooser.is_none() {
            return Ok(true);
        }
        let above = self.above_says(target, to.0, to.1, held)?;
        let mut moving = moving.iter();
        Ok(moving.all(|inode| is_whole_on(target, inode)) && above == Says::Nothing)
    }

    /// Whether a name that goes would show something below; a guess, for the
    /// directory is let go again.
    fn uncovers(&self, target: &Target, place: Place<'_>) -> Result<bool> {
        let held = DirRead::lock(place.0)?;
        self.lower_shows(target, place.0, place.1, &held)
    }

    /// What `rename(2)` refuses before it looks at branches.
    fn check(
        &self,
        source: &Arc<Inode>,
        displaced: Option<&Arc<Inode>>,
        from: Place<'_>,
        to: Place<'_>,
        mode: RenameMode,
    ) -> Result<()> {
        match (mode, displaced) {
            (RenameMode::NoReplace, Some(_)) => return Err(Error::Exists),
            (RenameMode::Exchange, None) => return Err(Error::NotFound),
            _ => {}
        }
        check_loops(source, displaced, from.0, to.0, mode)?;
        if displaced.is_some_and(|there| Arc::ptr_eq(there, source)) {
            // Two names of one object: nothing is done.
            return Ok(());
        }
        self.permit_removal(from.0, source)?;
        match displaced {
            Some(there) => self.permit_removal(to.0, there)?,
            None => self.permit_entry(to.0)?,
        }
        match (mode, displaced) {
            (RenameMode::Exchange, _) | (_, None) => Ok(()),
            (_, Some(there)) => match (source.kind().is_dir(), there.kind().is_dir()) {
                (true, false) => Err(Error::NotDirectory),
                (false, true) => Err(Error::IsDirectory),
                (true, true) | (false, false) => Ok(()),
            },
        }
    }

    fn replace(
        &self,
        target: &Target,
        from: Place<'_>,
        to: Place<'_>,
        source: &Arc<Inode>,
        displaced: Option<&Arc<Inode>>,
        held: &mut DirWrite<'_>,
    ) -> Result<()> {
        self.link_up(target, source, from.0, from.1, held)?;
        if let Some(there) = displaced {
            self.link_up(target, there, to.0, to.1, held)?;
        }
        let (from_dir, to_dir) = (directory(target, from.0)?, directory(target, to.0)?);
        let node = copy(source)?;
        let displaced_dir = displaced.filter(|there| there.kind().is_dir());
        let displaced_copy = displaced.and_then(|there| node_on(target, there));
        if let Some(there) = displaced_dir
            && !self.shows_nothing(there, held)?
        {
            return Err(Error::NotEmpty);
        }
        self.mark_for_move(target, source, from, to, held)?;
        self.make_impure_for(target, source, node, to.0)?;
        let uncovers = self.lower_shows(target, from.0, from.1, held)?;
        self.settle(target, to_dir, to.1)?;
        let names = Names {
            is_dir: source.kind().is_dir(),
            over_whiteout: self.written(target, to.0, to.1, held)? == Written::Whiteout,
            displaces: displaced.is_some(),
            uncovers,
        };
        let step = self.choose_step(target, from_dir, names)?;
        // At the old name it must not merge with what lies there.
        let trades = step == Step::ExchangeAndHide;
        let swapped = match displaced_copy {
            Some(old) if displaced_dir.is_some() && (trades || self.stores_anything(&**old)?) => {
                let shield = self.shield(target, to, to_dir, held)?;
                Some(self.put_empty(target, to_dir, to.1, old, shield)?)
            }
            Some(_) | None => None,
        };
        let over = match &swapped {
            Some(swapped) => Some(&*swapped.empty),
            None => displaced_copy.map(|node| &**node),
        };
        let change = Move {
            from: (from_dir, from.1),
            to: (to_dir, to.1),
            node,
            over,
        };
        // The names change together with the branch: see `Union::drop_link`.
        let moved = match displaced {
            None => {
                let mut links = source.links.write();
                self.take_step(target, step, change)
                    .map(|()| links.replace(from, link_to(to)))
            }
            Some(there) => {
                let _counting = self.count_with_copy(target, there)?;
                let (mut links, mut there_links) = write_both(source, there);
                self.take_step(target, step, change).map(|()| {
                    links.replace(from, link_to(to));
                    self.drop_link(there, &mut there_links, to.0, to.1);
                    held.set_removed(there);
                })
            }
        };
        match swapped {
            Some(swapped) => swapped.settle(to_dir, to.1, moved)?,
            None => moved?,
        }
        if let Some(there) = displaced {
            self.settle_index(target, there);
        }
        Ok(())
    }

    fn exchange(
        &self,
        target: &Target,
        from: Place<'_>,
        to: Place<'_>,
        source: &Arc<Inode>,
        there: &Arc<Inode>,
        held: &DirWrite<'_>,
    ) -> Result<()> {
        self.link_up(target, source, from.0, from.1, held)?;
        self.link_up(target, there, to.0, to.1, held)?;
        self.mark_for_move(target, source, from, to, held)?;
        self.mark_for_move(target, there, to, from, held)?;
        self.make_impure_for(target, source, copy(source)?, to.0)?;
        self.make_impure_for(target, there, copy(there)?, from.0)?;
        let (from_dir, to_dir) = (directory(target, from.0)?, directory(target, to.0)?);
        self.settle(target, from_dir, from.1)?;
        self.settle(target, to_dir, to.1)?;
        let (source_node, there_node) = (copy(source)?, copy(there)?);
        // Together: see `Union::drop_link`.
        let (mut source_links, mut there_links) = write_both(source, there);
        from_dir.rename(
            from.1,
            to_dir,
            to.1,
            RenameMode::Exchange,
            Some(source_node),
            Some(there_node),
        )?;
        source_links.replace(from, link_to(to));
        there_links.replace(to, link_to(from));
        Ok(())
    }
}

fn reach(from: Place<'_>, to: Place<'_>) -> Reach {
    Reach::of(from.0, to.0)
}

fn same(entry: Option<&Entry>, inode: Option<&Arc<Inode>>) -> bool {
    match (entry, inode) {
        (Some(entry), Some(inode)) => Arc::ptr_eq(&entry.inode, inode),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn copy(inode: &Arc<Inode>) -> Result<&dyn WritableNode> {
    inode.copy().map(|node| &**node).ok_or(Error::Stale)
}

/// A directory on the branch of `target`.
fn directory<'a>(target: &Target, inode: &'a Inode) -> Result<&'a dyn WritableNode> {
    inode
        .on(target.branch)
        .map(|node| &**node)
        .ok_or(Error::Stale)
}

/// What an inode has on the branch of `target`.
fn node_on<'a>(target: &Target, inode: &'a Inode) -> Option<&'a Arc<dyn WritableNode>> {
    match inode.kind().is_dir() {
        true => inode.on(target.branch),
        false => inode.copy().filter(|_| inode.home() == target.branch),
    }
}

/// Whether the branch of `target` has all that an inode is made of above what
/// is hidden: of a directory, its only part.
fn is_whole_on(target: &Target, inode: &Inode) -> bool {
    inode.home() == target.branch && inode.parts().len() <= 1
}

/// A directory may not come to lie inside itself. Under the topology lock for
/// directories between parents, so that nothing moves above meanwhile.
fn check_loops(
    source: &Arc<Inode>,
    displaced: Option<&Arc<Inode>>,
    from: &Arc<Inode>,
    to: &Arc<Inode>,
    mode: RenameMode,
) -> Result<()> {
    if source.kind().is_dir() && is_above(source, to) {
        return Err(Error::Invalid("a directory cannot be moved into itself"));
    }
    if let Some(there) = displaced
        && there.kind().is_dir()
        && is_above(there, from)
    {
        return Err(match mode {
            RenameMode::Exchange => Error::Invalid("a directory cannot be moved into itself"),
            RenameMode::Replace | RenameMode::NoReplace | RenameMode::Whiteout => Error::NotEmpty,
        });
    }
    Ok(())
}

/// Whether `above` is `below` or one of the directories it lies in.
fn is_above(above: &Arc<Inode>, below: &Arc<Inode>) -> bool {
    let mut at = Arc::clone(below);
    loop {
        if Arc::ptr_eq(&at, above) {
            return true;
        }
        match at.link() {
            Some(link) => at = link.parent,
            None => return false,
        }
    }
}

fn link_to(place: Place<'_>) -> Link {
    Link {
        parent: Arc::clone(place.0),
        name: place.1.to_owned(),
    }
}

/// The names of two inodes, which differ, locked in the order of their
/// numbers.
fn write_both<'a>(
    one: &'a Inode,
    other: &'a Inode,
) -> (RwLockWriteGuard<'a, Links>, RwLockWriteGuard<'a, Links>) {
    if one.number() < other.number() {
        let first = one.links.write();
        (first, other.links.write())
    } else {
        let first = other.links.write();
        (one.links.write(), first)
    }
}
