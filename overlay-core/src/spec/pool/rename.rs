//! `renameat2`.

use super::edit::kind;
use super::*;
use crate::spec::op::Rename;
use crate::spec::posix;

impl Pool {
    pub(super) fn rename(&mut self, from: &Place, to: &Place, how: Rename) -> Result<Outcome> {
        let moved = self.child(from)?;
        let target = self.child(to)?;
        self.need_writable()?;
        let moved = moved.ok_or(Errno::NOENT)?;
        match (how, &target) {
            (Rename::NoReplace, Some(_)) => return Err(Errno::EXIST),
            (Rename::Exchange, None) => return Err(Errno::NOENT),
            (Rename::Replace | Rename::NoReplace | Rename::Exchange, _) => {}
        }
        if from.parent != to.parent && is_in(&to.parent, &from.path()) {
            return Err(Errno::INVAL);
        }
        if from.parent != to.parent && target.is_some() && is_in(&from.parent, &to.path()) {
            return Err(match how {
                Rename::Exchange => Errno::INVAL,
                Rename::Replace | Rename::NoReplace => Errno::NOTEMPTY,
            });
        }
        // Two names of one object: nothing happens. On a read-only branch they
        // would be two as soon as one of them is copied up.
        let is_one = target.as_ref().map(id) == Some(id(&moved)) && self.is_writable(id(&moved));
        if from == to || is_one {
            return Ok(Outcome::Done);
        }
        match (how, target) {
            (Rename::Exchange, Some(target)) => self.exchange((from, &moved), (to, &target))?,
            (Rename::Replace | Rename::NoReplace | Rename::Exchange, target) => {
                self.replace((from, &moved), (to, target.as_ref()))?;
            }
        }
        self.follow(&from.path(), &to.path(), how);
        Ok(Outcome::Done)
    }

    fn replace(
        &mut self,
        (from, moved): (&Place, &Visible),
        (to, target): (&Place, Option<&Visible>),
    ) -> Result<()> {
        posix::need_same_sort(kind(moved), target.map(kind))?;
        self.need_one_part(moved)?;
        if let Some(Visible::Dir(dir)) = target
            && !dir.entries.is_empty()
        {
            return Err(Errno::NOTEMPTY);
        }
        let branch = self.place_rename((from, moved), target.map(|target| (to, target)))?;
        let branch = self.constrain(branch, to)?;
        self.need_movable(branch, moved)?;
        self.bring_to(branch, &from.path())?;
        self.make_parts(branch, &to.parent)?;
        let Some(mut entry) = self.take(branch, from) else {
            unreachable!("it has come to this branch");
        };
        self.hide(branch, from)?;
        let was_hidden = self.stored(branch, to) == Some(&Stored::Whiteout);
        self.clear(branch, to);
        self.hide_below(&mut entry, branch, to, was_hidden)?;
        self.put(branch, to, entry);
        self.touch(branch, &from.parent)?;
        self.touch(branch, &to.parent)
    }

    fn exchange(
        &mut self,
        (from, moved): (&Place, &Visible),
        (to, target): (&Place, &Visible),
    ) -> Result<()> {
        self.need_one_part(moved)?;
        self.need_one_part(target)?;
        // Neither is the one that is replaced.
        let one = self.place_rename((from, moved), Some((to, target)))?;
        let other = self.place_rename((to, target), Some((from, moved)))?;
        let branch = one.min(other);
        self.need_movable(branch, moved)?;
        self.need_movable(branch, target)?;
        self.bring_to(branch, &from.path())?;
        self.bring_to(branch, &to.path())?;
        let (Some(mut one), Some(mut other)) = (self.take(branch, from), self.take(branch, to))
        else {
            unreachable!("both have come to this branch");
        };
        self.hide_below(&mut one, branch, to, false)?;
        self.hide_below(&mut other, branch, from, false)?;
        self.put(branch, to, one);
        self.put(branch, from, other);
        self.touch(branch, &from.parent)?;
        self.touch(branch, &to.parent)
    }

    /// The branch for what moves: where the higher of the two could be changed.
    /// What is replaced there hides what it has hidden.
    fn place_rename(
        &self,
        moved: (&Place, &Visible),
        target: Option<(&Place, &Visible)>,
    ) -> Result<usize> {
        let depth = |(_, entry): &(&Place, &Visible)| self.position(id(entry));
        // On the same branch what moves.
        let both = std::iter::once(moved).chain(target);
        let (place, higher) = both.min_by_key(depth).unwrap_or(moved);
        self.place_change(&place.path(), id(higher))
    }

    /// A directory stays where its other parts are, and where it cannot be
    /// written: nothing could say that they have moved.
    fn need_one_part(&self, moved: &Visible) -> Result<()> {
        match moved {
            Visible::Leaf(_) => Ok(()),
            Visible::Dir(dir) if dir.parts.len() > 1 => Err(Errno::XDEV),
            Visible::Dir(_) if !self.is_writable(id(moved)) => Err(Errno::XDEV),
            Visible::Dir(_) => Ok(()),
        }
    }

    /// Whether it can be moved on this branch, which is its home or lies above.
    fn need_movable(&self, branch: usize, moved: &Visible) -> Result<()> {
        match moved {
            Visible::Dir(_) if self.position(id(moved)) != branch => Err(Errno::XDEV),
            Visible::Dir(_) | Visible::Leaf(_) => self.need_single_name(branch, moved),
        }
    }

    /// Makes a directory opaque before it moves to where something lies below,
    /// or has been hidden. (The branch itself stores nothing there by now.)
    fn hide_below(
        &self,
        entry: &mut Stored,
        branch: usize,
        place: &Place,
        was_hidden: bool,
    ) -> Result<()> {
        let hides = was_hidden || self.child(place)?.is_some();
        let opaque = self.comes_opaque(branch, &place.parent, hides)?;
        match entry {
            Stored::Dir(dir) => dir.opaque |= opaque,
            Stored::Leaf(_) | Stored::Metacopy(_) | Stored::Whiteout => {}
        }
        Ok(())
    }
}

/// Whether `path` is `top` or lies in it.
fn is_in(path: &Path, top: &Path) -> bool {
    path.0.starts_with(&top.0)
}
