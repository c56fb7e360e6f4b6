//! What all verbs do to stored trees.

use super::*;
use crate::spec::Data;

/// Which object shows here: of a merged directory its topmost part.
pub(super) fn id(entry: &Visible) -> Id {
    match entry {
        // There is a branch at least, so the root has a part, and below it
        // directories are seen because of theirs.
        Visible::Dir(dir) => dir.parts[0],
        Visible::Leaf(leaf) => leaf.id,
    }
}

pub(super) fn kind(entry: &Visible) -> FileKind {
    match entry {
        Visible::Dir(_) => FileKind::Directory,
        Visible::Leaf(leaf) => leaf.data.kind(),
    }
}

pub(super) fn meta(entry: &Visible) -> &Meta {
    match entry {
        Visible::Dir(dir) => &dir.meta,
        Visible::Leaf(leaf) => &leaf.meta,
    }
}

/// The directory at `path` of a branch, seen or not.
pub(super) fn stored_dir<'a>(root: &'a Dir<Stored>, path: &Path) -> Option<&'a Dir<Stored>> {
    path.0
        .iter()
        .try_fold(root, |dir, name| match dir.entries.get(name) {
            Some(Stored::Dir(dir)) => Some(dir),
            Some(Stored::Leaf(_) | Stored::Metacopy(_) | Stored::Whiteout) | None => None,
        })
}

fn find_leaf(dir: &Dir<Stored>, id: Id) -> Option<&Leaf> {
    dir.entries.values().find_map(|entry| match entry {
        Stored::Dir(dir) => find_leaf(dir, id),
        Stored::Leaf(leaf) => (leaf.id == id).then_some(leaf),
        Stored::Metacopy(_) | Stored::Whiteout => None,
    })
}

fn each_leaf(dir: &mut Dir<Stored>, each: &mut dyn FnMut(&mut Leaf)) {
    for entry in dir.entries.values_mut() {
        match entry {
            Stored::Dir(dir) => each_leaf(dir, each),
            Stored::Leaf(leaf) => each(leaf),
            Stored::Metacopy(_) | Stored::Whiteout => {}
        }
    }
}

fn each_dir(dir: &mut Dir<Stored>, each: &mut dyn FnMut(&mut Dir<Stored>)) {
    each(dir);
    for entry in dir.entries.values_mut() {
        match entry {
            Stored::Dir(dir) => each_dir(dir, each),
            Stored::Leaf(_) | Stored::Metacopy(_) | Stored::Whiteout => {}
        }
    }
}

impl Pool {
    /// An id for something new on a branch.
    pub(super) fn fresh(&mut self, branch: usize) -> Id {
        Id {
            layer: self.branches[branch].name(),
            number: self.number(),
        }
    }

    /// The part of the directory at `path` on a branch that has one.
    fn part(&mut self, branch: usize, path: &Path) -> &mut Dir<Stored> {
        let mut dir = &mut self.branches[branch].root;
        for name in &path.0 {
            dir = match dir.entries.get_mut(name) {
                Some(Stored::Dir(dir)) => dir,
                Some(Stored::Leaf(_) | Stored::Metacopy(_) | Stored::Whiteout) | None => {
                    unreachable!("callers have made the part, or seen it")
                }
            };
        }
        dir
    }

    /// What a branch stores at `place`.
    pub(super) fn stored(&self, branch: usize, place: &Place) -> Option<&Stored> {
        let dir = stored_dir(&self.branches[branch].root, &place.parent)?;
        dir.entries.get(&place.name)
    }

    /// Stores `entry` at `place` of a branch.
    pub(super) fn put(&mut self, branch: usize, place: &Place, entry: Stored) {
        let part = self.part(branch, &place.parent);
        part.entries.insert(place.name.clone(), entry);
    }

    /// Takes away what a branch stores at `place`.
    pub(super) fn take(&mut self, branch: usize, place: &Place) -> Option<Stored> {
        self.part(branch, &place.parent).entries.remove(&place.name)
    }

    /// Takes away what a branch stores at `place`, for good: an object has one
    /// name less. (What is left in a directory that looks empty are marks.)
    pub(super) fn clear(&mut self, branch: usize, place: &Place) {
        match self.take(branch, place) {
            Some(Stored::Leaf(leaf)) => {
                let links = leaf.links.saturating_sub(1);
                if links == 0 {
                    self.nameless.push(leaf.clone());
                }
                self.change_leaf(leaf.id, |leaf| leaf.links = links);
            }
            Some(Stored::Dir(_) | Stored::Metacopy(_) | Stored::Whiteout) | None => {}
        }
    }

    /// Leaves a whiteout where branches below show a name that is gone.
    pub(super) fn hide(&mut self, branch: usize, place: &Place) -> Result<()> {
        if self.child(place)?.is_some() {
            self.put(branch, place, Stored::Whiteout);
        }
        Ok(())
    }

    /// Notes that the entries of a directory have changed on a branch. What
    /// shows is the time of its topmost part, so that is set, too, if it can be
    /// written.
    pub(super) fn touch(&mut self, branch: usize, path: &Path) -> Result<()> {
        let parts = self.dir(path)?.parts;
        let name = self.branches[branch].name();
        let topmost = parts.iter().take(1).filter(|part| self.is_writable(**part));
        let own = parts.iter().filter(|part| part.layer == name);
        for part in topmost.chain(own).copied().collect::<Vec<_>>() {
            self.times.insert(part, Time::Recent);
        }
        Ok(())
    }

    /// Changes a non-directory under all its names.
    pub(super) fn change_leaf(&mut self, id: Id, change: impl Fn(&mut Leaf)) {
        let mut each = |leaf: &mut Leaf| {
            if leaf.id == id {
                change(leaf);
            }
        };
        for branch in &mut self.branches {
            each_leaf(&mut branch.root, &mut each);
        }
        self.nameless.iter_mut().for_each(each);
    }

    /// Changes the attributes of an object of any kind.
    pub(super) fn change_meta(&mut self, id: Id, change: impl Fn(&mut Meta)) {
        self.change_leaf(id, |leaf| change(&mut leaf.meta));
        for branch in &mut self.branches {
            each_dir(&mut branch.root, &mut |dir| {
                if dir.parts.contains(&id) {
                    change(&mut dir.meta);
                }
            });
        }
    }

    /// Changes the content of a regular file.
    pub(super) fn change_bytes(&mut self, id: Id, change: impl Fn(&mut Vec<u8>)) {
        self.change_leaf(id, |leaf| match &mut leaf.data {
            Data::File(bytes) => change(bytes),
            Data::Symlink(_) | Data::Special { .. } => {}
        });
    }

    /// A non-directory that is stored somewhere, seen or not.
    pub(super) fn leaf(&self, id: Id) -> Option<&Leaf> {
        let mut branches = self.branches.iter();
        let named = branches.find_map(|branch| find_leaf(&branch.root, id));
        named.or_else(|| self.nameless.iter().find(|leaf| leaf.id == id))
    }
}
