//! Where a change goes: the branch that takes it, and the way to it there.
//!
//! In an overlay stack that is the branch on top, and nothing is asked.
//! Elsewhere the policies choose ([`crate::policy`]), after what hides the
//! place on the branches below was looked for. A branch without room is left
//! for the next where the policy allows it. Takes no lock: who then locks the
//! directories looks again.

use std::sync::Arc;
use std::time::Instant;

use super::Union;
use super::inode::Inode;
use super::locks::DirHeld;
use super::part::Part;
use super::target::Target;
use crate::attr::{FileKind, SetAttr, SetTime, Timestamp};
use crate::dialect::{DirectoryMarks, Opacity, Says};
use crate::error::{Errno, Error, Result};
use crate::layer::WritableNode;
use crate::name::Name;
use crate::policy::{Candidate, Chooser, Place, Space};
use crate::stack::{Branch, BranchId};

/// The branches that had no room for one request.
#[derive(Debug, Default)]
pub(super) struct Tries {
    failed: Vec<BranchId>,
    /// What the first of them answered.
    first: Option<Error>,
    /// Which one is tried.
    current: Option<BranchId>,
}

impl Tries {
    /// Whether another branch may have the room that this one lacked.
    fn goes_on(&mut self, error: &Error) -> bool {
        let full = error.is(Errno::NOSPC) || error.is(Errno::DQUOT);
        match self.current.take() {
            Some(branch) if full && !self.failed.contains(&branch) => {
                self.failed.push(branch);
                self.first.get_or_insert_with(|| error.clone());
                true
            }
            Some(_) | None => false,
        }
    }
}

/// A branch of the stack, as a policy sees it.
struct Choice<'a> {
    branch: &'a Branch,
    /// The target, unless nothing that is written there would be seen.
    target: Option<&'a Target>,
    /// The directory of what is to be placed.
    parent: Option<&'a Inode>,
}

impl Choice<'_> {
    fn part(&self) -> Option<&Part> {
        let mut parts = self.parent?.parts().iter();
        parts.find(|part| part.branch == self.branch.id)
    }
}

impl Candidate for Choice<'_> {
    fn id(&self) -> BranchId {
        self.branch.id
    }

    fn is_writable(&self) -> bool {
        self.target.is_some()
    }

    fn has_parent(&self) -> Result<bool> {
        Ok(self.part().is_some())
    }

    fn parent_modified(&self) -> Result<Timestamp> {
        let part = self.part().ok_or(Error::Stale)?;
        Ok(part.node.attr()?.mtime)
    }

    fn space(&self) -> Result<Space> {
        Ok(Space::from(&self.branch.storage.root().stat_fs()?))
    }
}

impl Union {
    /// Does what `attempt` does, again as long as it fails for want of room
    /// on a branch and there is another.
    pub(super) fn with_room<T>(
        &self,
        mut attempt: impl FnMut(&mut Tries) -> Result<T>,
    ) -> Result<T> {
        let mut tries = Tries::default();
        loop {
            match attempt(&mut tries) {
                Err(error) if tries.goes_on(&error) => {
                    tracing::debug!(%error, "a branch has no room: on to the next");
                }
                // What cannot leave the branch that is full has no next.
                Err(Error::CrossDevice) => {
                    return Err(tries.first.take().unwrap_or(Error::CrossDevice));
                }
                outcome => return outcome,
            }
        }
    }

    /// The branch for a new object `name` in `parent`; `EROFS` if none can be
    /// written.
    pub(super) fn place_new(
        &self,
        parent: &Arc<Inode>,
        name: &Name,
        kind: FileKind,
        tries: &mut Tries,
    ) -> Result<&Target> {
        self.place(tries, |chooser, tries| {
            let place = Place {
                kind,
                ceiling: self.ceiling(parent, name)?,
                failed: &tries.failed,
                now: Instant::now(),
            };
            chooser.create(&self.choices(Some(parent)), &place)
        })
    }

    /// The branch where `inode` is changed: its own if that can be written,
    /// else the one that takes its copy.
    pub(super) fn place_change(&self, inode: &Inode, tries: &mut Tries) -> Result<&Target> {
        self.place(tries, |chooser, tries| {
            let home = inode.home();
            if inode.is_copied_up() {
                return Ok(Some(home));
            }
            let link = inode.link();
            let parent = link.as_ref().map(|link| &*link.parent);
            chooser.copy_up(&self.choices(parent), home, &tries.failed)
        })
    }

    /// The branch where `inode` gets the name `name` in `parent`, in the place
    /// of `replaced` if that has it.
    pub(super) fn place_name(
        &self,
        inode: &Inode,
        (parent, name): (&Arc<Inode>, &Name),
        replaced: Option<&Inode>,
        tries: &mut Tries,
    ) -> Result<&Target> {
        self.place(tries, |chooser, tries| {
            let place = Place {
                kind: inode.kind(),
                ceiling: self.ceiling(parent, name)?,
                failed: &tries.failed,
                now: Instant::now(),
            };
            let source = inode.home();
            let over = match replaced.map(Inode::home) {
                Some(home) if self.depth(home)? < self.depth(source)? => Some(home),
                Some(_) | None => None,
            };
            let link = inode.link();
            let own = link.as_ref().map(|link| &*link.parent);
            let choices = self.choices(if over.is_some() { Some(parent) } else { own });
            chooser.rename(&choices, source, over, &place)
        })
    }

    fn place(
        &self,
        tries: &mut Tries,
        choose: impl FnOnce(&Chooser, &Tries) -> Result<Option<BranchId>>,
    ) -> Result<&Target> {
        let Some(chooser) = &self.chooser else {
            return self.target();
        };
        // Before anything is looked for.
        self.target()?;
        match choose(chooser, tries)? {
            Some(branch) => {
                tries.current = Some(branch);
                self.target_on(branch)
            }
            None => Err(tries.first.take().unwrap_or(Error::ReadOnly)),
        }
    }

    /// The higher of two branches.
    pub(super) fn higher<'a>(&self, one: &'a Target, other: &'a Target) -> Result<&'a Target> {
        match self.depth(one.branch)? <= self.depth(other.branch)? {
            true => Ok(one),
            false => Ok(other),
        }
    }

    /// All branches, top first, for something that lies in `parent`.
    fn choices<'a>(&'a self, parent: Option<&'a Inode>) -> Vec<Choice<'a>> {
        let shows = |id| self.root.parts().iter().any(|part| part.branch == id);
        let branches = self.stack.branches().iter();
        let choice = |branch: &'a Branch| Choice {
            branch,
            target: self
                .target_on(branch.id)
                .ok()
                .filter(|target| shows(target.branch)),
            parent,
        };
        branches.map(choice).collect()
    }

    /// The topmost branch with a mark that hides, on the branches below it,
    /// what would get the name `name` in `parent`: a whiteout of the name or
    /// of a directory above, or such a directory as an opaque one. Where it is
    /// a non-directory that hides, the branch above it.
    fn ceiling(&self, parent: &Arc<Inode>, name: &Name) -> Result<Option<BranchId>> {
        let mut ceiling: Option<usize> = None;
        let mut directory = Arc::clone(parent);
        let mut name = name.to_owned();
        loop {
            if let Some(depth) = self.floor(&directory, &name)? {
                ceiling = Some(ceiling.map_or(depth, |other| other.min(depth)));
            }
            let Some(link) = directory.link() else {
                break;
            };
            (directory, name) = (link.parent, link.name);
        }
        let branch = ceiling.and_then(|depth| self.stack.branches().get(depth));
        Ok(branch.map(|branch| branch.id))
    }

    /// How deep what has a name in a directory may lie to be seen, as far as
    /// the entries of that name have a say.
    fn floor(&self, directory: &Inode, name: &Name) -> Result<Option<usize>> {
        let mut merges = false;
        for part in directory.parts() {
            let depth = self.depth(part.branch)?;
            let reading = self.reading_of(part);
            let found = part.node.entry(name)?;
            let marked = self.part_holds_marked_files(part)?;
            let seen = found.as_ref().map(|(node, attr)| (&**node, attr));
            match reading.says(&*part.node, name, seen, marked)? {
                Says::Nothing => continue,
                Says::Hides | Says::ShowsAlone => return Ok(Some(depth)),
                Says::Shows => {}
            }
            let Some((node, attr)) = found else {
                continue;
            };
            if !attr.kind.is_dir() {
                // Under a directory it is hidden, and ends what merges.
                return Ok(Some(if merges {
                    depth.saturating_sub(1)
                } else {
                    depth
                }));
            }
            let DirectoryMarks { opacity, redirect } = reading.directory_marks(&*node)?;
            if opacity == Opacity::Opaque || redirect.is_some() {
                return Ok(Some(depth));
            }
            merges = true;
        }
        Ok(None)
    }

    /// What the branches above that of `target` say about a name that is to be
    /// made there: what was looked for before the directory was locked.
    pub(super) fn above_says(
        &self,
        target: &Target,
        parent: &Arc<Inode>,
        name: &Name,
        held: &impl DirHeld,
    ) -> Result<Says> {
        debug_assert!(held.holds(parent));
        let own = self.depth(target.branch)?;
        for part in parent.parts() {
            if self.depth(part.branch)? >= own {
                break;
            }
            match self.part_says(part, name)? {
                Says::Nothing => {}
                says @ (Says::Hides | Says::Shows | Says::ShowsAlone) => return Ok(says),
            }
        }
        Ok(Says::Nothing)
    }

    /// After the entries of `directory` changed on the branch of `target`: the
    /// times that show are those of its topmost part. Of one that cannot be
    /// written they stay.
    pub(super) fn touch(&self, target: &Target, directory: &Inode) {
        let Some(top) = directory.parts().first() else {
            return;
        };
        if let (Some(node), true) = (top.node.writable(), top.branch != target.branch) {
            let now = SetAttr {
                mtime: Some(SetTime::Now),
                ..SetAttr::default()
            };
            // The entry has changed: only a time is wrong if this fails.
            if let Err(error) = node.set_attr(&now) {
                tracing::warn!(%error, "a change does not show in the times of its directory");
            }
        }
    }

    /// Where `directory` can be written on the branch of `target`: it and the
    /// directories above are copied there if they are missing. No directory
    /// lock may be held.
    pub(super) fn part_on<'a>(
        &self,
        target: &Target,
        directory: &'a Arc<Inode>,
    ) -> Result<&'a Arc<dyn WritableNode>> {
        loop {
            if let Some(node) = directory.on(target.branch) {
                return Ok(node);
            }
            directory.directory().ok_or(Error::NotDirectory)?;
            // From the top, without recursion: trees are deep.
            let mut missing = vec![Arc::clone(directory)];
            let mut above = directory.link().ok_or(Error::NotFound)?.parent;
            while above.on(target.branch).is_none() {
                let next = above.link().ok_or(Error::NotFound)?.parent;
                missing.push(std::mem::replace(&mut above, next));
            }
            for directory in missing.iter().rev() {
                self.add_part(target, directory)?;
            }
        }
    }
}
