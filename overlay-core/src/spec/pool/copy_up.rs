//! Copying up: what cannot be changed where it is, or would be hidden there,
//! comes to a branch above. Nothing that can be seen changes, but a hard link
//! of a read-only branch breaks.

use super::*;

impl Pool {
    /// Brings the object at `path` to where it can be changed. The answer is
    /// which object is to be changed there.
    pub(super) fn bring_up(&mut self, path: &Path) -> Result<Id> {
        let home = id(&self.walk(path)?);
        let branch = self.place_change(path, home)?;
        self.bring_to(branch, path)
    }

    /// Brings the object at `path` from its home to a branch above, if that is
    /// not its home already.
    pub(super) fn bring_to(&mut self, branch: usize, path: &Path) -> Result<Id> {
        match self.walk(path)? {
            Visible::Leaf(leaf) if self.position(leaf.id) == branch => Ok(leaf.id),
            Visible::Leaf(leaf) => self.copy(branch, path, leaf),
            Visible::Dir(_) => {
                self.make_parts(branch, path)?;
                self.walk(path).map(|entry| id(&entry))
            }
        }
    }

    /// A copy of a non-directory. It shows the number of its original, but for
    /// one name of several on a read-only branch: this becomes an object of its
    /// own. (Those of a writable branch are not copied: `need_single_name`.)
    fn copy(&mut self, branch: usize, path: &Path, original: Leaf) -> Result<Id> {
        let Some((name, parent)) = path.0.split_last() else {
            return Err(Errno::ROFS);
        };
        let place = Place {
            parent: Path(parent.to_vec()),
            name: name.clone(),
        };
        self.make_parts(branch, &place.parent)?;
        let id = self.succeed(branch, &original, path);
        let copy = Leaf {
            id,
            links: 1,
            ..original
        };
        self.put(branch, &place, Stored::Leaf(copy));
        Ok(id)
    }

    /// An id for the copy of a non-directory with this path. Who holds the
    /// original open by that holds the copy now.
    pub(super) fn succeed(&mut self, branch: usize, original: &Leaf, path: &Path) -> Id {
        let id = self.fresh(branch);
        let is_whole = original.links == 1;
        if is_whole {
            self.same_number(id, original.id);
        }
        self.same_time(id, original.id);
        for held in self.held.values_mut() {
            if held.id == original.id && (is_whole || held.path == *path) {
                held.id = id;
            }
        }
        id
    }

    /// Gives a branch a part of each directory on the way to `path`, that one
    /// included. Each has the attributes that are seen.
    ///
    /// A whiteout of the branch's own in the way is replaced by a directory
    /// that hides as much.
    pub(super) fn make_parts(&mut self, branch: usize, path: &Path) -> Result<()> {
        let mut parent = Path::default();
        for name in &path.0 {
            let place = Place {
                parent: parent.clone(),
                name: name.clone(),
            };
            parent = parent.join(name);
            let shown = self.dir(&parent)?;
            let has_part = |part: &Id| part.layer == self.branches[branch].name();
            if shown.parts.iter().any(has_part) {
                continue;
            }
            let new = self.fresh(branch);
            for topmost in shown.parts.iter().take(1) {
                self.same_number(new, *topmost);
                self.same_time(new, *topmost);
            }
            let opaque = self.take(branch, &place) == Some(Stored::Whiteout);
            let part = Dir {
                parts: vec![new],
                opaque,
                redirect: None,
                entries: BTreeMap::new(),
                meta: shown.meta,
            };
            self.put(branch, &place, Stored::Dir(part));
        }
        Ok(())
    }

    /// What lies on a writable branch under several names cannot leave it: its
    /// other names would be another object.
    pub(super) fn need_single_name(&self, branch: usize, entry: &Visible) -> Result<()> {
        match entry {
            Visible::Leaf(leaf) => {
                let moves = self.is_writable(leaf.id) && self.position(leaf.id) != branch;
                match moves && leaf.links > 1 {
                    true => Err(Errno::XDEV),
                    false => Ok(()),
                }
            }
            Visible::Dir(_) => Ok(()),
        }
    }

    /// Copies up the object at `path`, if it can be, and does nothing else to
    /// it: what an operation leaves that fails, or is cut short, after its
    /// copy-up. Where the policy has no branch for it, a rename may have one:
    /// that of what it replaces.
    pub fn copy_up_at(&mut self, path: &Path) {
        let Ok(entry) = self.walk(path) else {
            return;
        };
        let home = id(&entry);
        let above = (0..self.position(home)).rev();
        let written = above.filter(|index| self.branches[*index].is_writable());
        let chosen = self.place_change(path, home).ok();
        for branch in chosen.into_iter().chain(written) {
            let mut copied = self.clone();
            if copied.bring_to(branch, path).is_ok() {
                *self = copied;
                return;
            }
        }
    }

    /// Brings the non-directory at `path` to the branch at `index` above its
    /// home, if it can go there, and does nothing else to it: as a rename or a
    /// link does for which its own branch has no room.
    pub fn lift_at(&mut self, index: usize, path: &Path) {
        let Ok(entry @ Visible::Leaf(_)) = self.walk(path) else {
            return;
        };
        let mut lifted = self.clone();
        if index < self.position(id(&entry))
            && self.branches[index].is_writable()
            && self.need_single_name(index, &entry).is_ok()
            && lifted.bring_to(index, path).is_ok()
        {
            *self = lifted;
        }
    }

    /// Gives the branch at `index` a part of the directory at `path`, if it can
    /// have one that is seen.
    pub fn make_parts_at(&mut self, index: usize, path: &Path) {
        let mut made = self.clone();
        let is_seen = |ceiling: Option<usize>| ceiling.is_none_or(|ceiling| index <= ceiling);
        if self.branches[index].is_writable()
            && self.ceiling_of(path).is_ok_and(is_seen)
            && made.make_parts(index, path).is_ok()
        {
            *self = made;
        }
    }

    fn same_number(&mut self, copy: Id, original: Id) {
        let number = self
            .shown
            .get(&original)
            .copied()
            .unwrap_or(original.number);
        self.shown.insert(copy, number);
    }

    fn same_time(&mut self, copy: Id, original: Id) {
        if let Some(time) = self.times.get(&original).copied() {
            self.times.insert(copy, time);
        }
    }
}
