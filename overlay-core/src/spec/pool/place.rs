//! On which branch something is made, changed or removed: what the policies
//! say, and what overrides them.

use super::*;

use super::edit::stored_dir;
use super::policy::Candidate;

impl Pool {
    /// The branch for a new object at `place`.
    pub(super) fn place_new(&mut self, place: &Place, kind: FileKind) -> Result<usize> {
        let candidates = self.candidates(Some(&self.dir(&place.parent)?));
        let choice = self.policies.create.choose(&candidates, self.turn);
        // Directories go where the next file will.
        self.turn += usize::from(!kind.is_dir());
        self.constrain(choice.ok_or(Errno::ROFS)?, place)
    }

    /// The branch on which an object at `path` is changed that shows from
    /// `home`: there, or where the policy wants its copy.
    pub(super) fn place_change(&self, path: &Path, home: Id) -> Result<usize> {
        if self.is_writable(home) {
            return Ok(self.position(home));
        }
        // The root lies on all branches, so there is nowhere to copy it to.
        let (_, parent) = path.0.split_last().ok_or(Errno::ROFS)?;
        let parent = self.dir(&Path(parent.to_vec()))?;
        self.place_copy(Some(&parent), home)
    }

    /// The branch for a copy of an object of `home` in this directory, `None`
    /// for one whose name is gone.
    pub(super) fn place_copy(&self, parent: Option<&Dir<Visible>>, home: Id) -> Result<usize> {
        let candidates = self.candidates(parent);
        let choice = self
            .policies
            .copy_up
            .choose(&candidates, self.position(home));
        choice.ok_or(Errno::ROFS)
    }

    fn candidates(&self, parent: Option<&Dir<Visible>>) -> Vec<Candidate> {
        let has_parent = |branch: &Branch| {
            parent.is_some_and(|dir| dir.parts.iter().any(|part| part.layer == branch.name()))
        };
        let branches = self.branches.iter().enumerate();
        branches
            .map(|(index, branch)| Candidate {
                index,
                is_writable: branch.is_writable(),
                has_parent: has_parent(branch),
                free: branch.free,
            })
            .collect()
    }

    /// A choice stands at or above the ceiling; any other goes there, or to the
    /// nearest branch above that can be written.
    pub(super) fn constrain(&self, choice: usize, place: &Place) -> Result<usize> {
        match self.ceiling(place)? {
            Some(ceiling) if ceiling < choice => {
                let up_to_it = (0..=ceiling).rev();
                let mut writable = up_to_it.filter(|index| self.branches[*index].is_writable());
                writable.next().ok_or(Errno::ROFS)
            }
            Some(_) | None => Ok(choice),
        }
    }

    /// The topmost branch of which something hides `place` on all branches
    /// below it: a whiteout of the name, or, on the way down to its directory,
    ///
    /// - a whiteout of a directory or an opaque part of it, which end what
    ///   merges with its parts above;
    /// - a non-directory, which does the same. It lies hidden below a part, and
    ///   the branch directly above it is the last where another part would
    ///   merge with that.
    fn ceiling(&self, place: &Place) -> Result<Option<usize>> {
        let own = self.parts(&place.parent)?.into_iter();
        let whiteouts = own
            .filter(|(_, part)| part.entries.get(&place.name) == Some(&Stored::Whiteout))
            .map(|(index, _)| index);
        Ok(self
            .ceiling_of(&place.parent)?
            .into_iter()
            .chain(whiteouts)
            .min())
    }

    /// The same of what hides a directory's parts.
    pub(super) fn ceiling_of(&self, dir: &Path) -> Result<Option<usize>> {
        let mut found = Vec::new();
        let mut parent = Path::default();
        for name in &dir.0 {
            for (index, part) in self.parts(&parent)? {
                match part.entries.get(name) {
                    Some(Stored::Whiteout) => found.push(index),
                    Some(Stored::Dir(dir)) if dir.opaque => found.push(index),
                    // On the top branch it would be seen, and no directory.
                    Some(Stored::Leaf(_) | Stored::Metacopy(_)) => {
                        found.push(index.saturating_sub(1));
                    }
                    Some(Stored::Dir(_)) | None => {}
                }
            }
            parent = parent.join(name);
        }
        Ok(found.into_iter().min())
    }

    /// The parts of the directory at `path` with their branches, top first.
    fn parts(&self, path: &Path) -> Result<Vec<(usize, Dir<Stored>)>> {
        let shown = self.dir(path)?.parts;
        let layers = self.layers().into_iter().enumerate();
        let parts = layers.filter_map(|(index, root)| {
            let stored = stored_dir(&root, path)?;
            let is_shown = stored.parts.iter().all(|part| shown.contains(part));
            is_shown.then(|| (index, stored.clone()))
        });
        Ok(parts.collect())
    }
}
