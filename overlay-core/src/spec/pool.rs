//! A union of several branches that can be written, and that come and go: the
//! oracle for policies and live changes.
//!
//! The state is what the branches store, and nothing else can be seen: a reader
//! sees [`view`] of it. So every verb is an edit of stored trees, which has to
//! say on which branch it is made, what hides what, and which whiteout is left
//! there. ([`Model`](super::Model) goes the other way: its state is what is
//! seen, of stacks with one writable layer on top and all options. Where both
//! can say something they have to say the same; that is a test.)
//!
//! Every object has a **home**: the branch that stores what shows; of a merged
//! directory its topmost part's. From there three questions decide all:
//!
//! - Where is it changed? At home, or if that is read-only on the branch that
//!   the copy-up policy says (`copy_up`).
//! - Where is something new made? The create policy says it (`policy`), unless
//!   it would be hidden there (`place`).
//! - What is left behind? A whiteout, where a branch below would show the name
//!   again (`remove`).
//!
//! Redirects, metacopies and the index are not for pools: branches that are
//! given to one have none.
//!
//! Beside the trees stand three small things that they cannot say: times that
//! only a clock knows, which object a copy is of (for its inode number), and
//! what is held open.

use std::collections::BTreeMap;

use crate::attr::FileKind;

use super::op::{Access, Errno, Op, Outcome, Slot};
use super::path::{Path, Place};
use super::seen::{self, Seen, Sight, Time};
use super::{Dir, Id, Leaf, Meta, Stored, Visible, view};

mod attrs;
mod branch;
mod content;
mod copy_up;
mod edit;
mod held;
mod link;
mod live;
mod make;
mod place;
mod policy;
mod remove;
mod rename;
mod xattrs;

pub use branch::{Branch, Marks, Permission, laid_bare};
pub use live::Change;
pub use policy::{CopyUp, Create, Policies};

use edit::id;
use held::Held;

type Result<T> = std::result::Result<T, Errno>;

/// A mounted union of branches, as an ideal one behaves.
#[derive(Debug, Clone)]
pub struct Pool {
    /// Top first; never none. The layer in all ids of a branch is its name,
    /// which stays, not its place.
    branches: Vec<Branch>,
    policies: Policies,
    /// Of the round-robin policy: files made so far.
    turn: usize,
    held: BTreeMap<Slot, Held>,
    /// What is unlinked may still be held.
    nameless: Vec<Leaf>,
    /// Of objects whose `meta.mtime` is not the whole truth.
    times: BTreeMap<Id, Time>,
    /// Inode numbers of objects that do not show the number of their id.
    shown: BTreeMap<Id, u64>,
    /// Numbers given so far, to branches, objects and inodes: no two are the
    /// same.
    numbers: u64,
}

impl Pool {
    /// Mounts `branches`, top first: one at least.
    pub fn new(branches: &[Branch], policies: Policies) -> Pool {
        let mut pool = Pool {
            branches: Vec::new(),
            policies,
            turn: 0,
            held: BTreeMap::new(),
            nameless: Vec::new(),
            times: BTreeMap::new(),
            shown: BTreeMap::new(),
            numbers: 0,
        };
        for branch in branches {
            let branch = pool.named(branch);
            pool.branches.push(branch);
        }
        pool
    }

    /// Does `op`. A failed operation leaves what is seen as it was.
    pub fn apply(&mut self, op: &Op) -> Outcome {
        let outcome = match op {
            Op::Make {
                at,
                object,
                mode,
                umask,
            } => self.make(at, object, *mode, *umask),
            Op::Create {
                slot,
                at,
                mode,
                umask,
            } => self.create(*slot, at, *mode, *umask),
            Op::Link { from, to } => self.link(from, to),
            Op::Unlink { at } => self.unlink(at),
            Op::Rmdir { at } => self.rmdir(at),
            Op::Rename { from, to, how } => self.rename(from, to, *how),
            Op::Write { path, offset, data } => self.write(path, *offset, data),
            Op::Append { path, data } => self.append(path, data),
            Op::Empty { path } => self.empty(path),
            Op::Truncate { path, len } => self.truncate(path, *len),
            Op::Allocate { path, offset, len } => self.allocate(path, *offset, *len),
            Op::Punch { path, offset, len } => self.punch(path, *offset, *len),
            Op::Read { path } => self.read(path),
            Op::ReadDir { path } => self.read_dir(path),
            Op::ReadLink { path } => self.read_link(path),
            Op::Stat { path } => self.stat(path),
            Op::Chmod { path, mode } => self.chmod(path, *mode),
            Op::Chown { path, uid, gid } => self.chown(path, *uid, *gid),
            Op::SetMtime { path, mtime } => self.set_mtime(path, *mtime),
            Op::SetXattr {
                path,
                name,
                value,
                how,
            } => self.set_xattr(path, name, value, *how),
            Op::RemoveXattr { path, name } => self.remove_xattr(path, name),
            Op::GetXattr { path, name } => self.xattr(path, name),
            Op::ListXattrs { path } => self.xattr_names(path),
            Op::Open { slot, path, access } => self.open(*slot, path, *access),
            Op::ReadHeld { slot } => self.read_held(*slot),
            Op::WriteHeld { slot, offset, data } => self.write_held(*slot, *offset, data),
            Op::StatHeld { slot } => self.stat_held(*slot),
            Op::TruncateHeld { slot, len } => self.truncate_held(*slot, *len),
            Op::ChmodHeld { slot, mode } => self.chmod_held(*slot, *mode),
            Op::Close { slot } => self.close(*slot),
            Op::Remount => self.remount(),
            // Which of several written branches would be the one? Live changes
            // say it.
            Op::Rotate => Err(Errno::NOSYS),
        };
        outcome.unwrap_or_else(Outcome::Failed)
    }

    fn remount(&mut self) -> Result<Outcome> {
        self.held.clear();
        self.nameless.clear();
        self.turn = 0;
        Ok(Outcome::Done)
    }

    /// The branches as they are now, top first.
    pub fn branches(&self) -> &[Branch] {
        &self.branches
    }

    /// Branches as readers take them: without marks where nobody looks for
    /// them.
    fn layers(&self) -> Vec<Dir<Stored>> {
        self.branches.iter().map(Branch::as_read).collect()
    }

    /// What a reader sees now.
    pub fn view(&self) -> Dir<Visible> {
        view(&self.layers())
    }

    /// The object at `path`; symlinks are not followed.
    fn walk(&self, path: &Path) -> Result<Visible> {
        let mut at = Visible::Dir(self.view());
        for name in &path.0 {
            let Visible::Dir(mut dir) = at else {
                return Err(Errno::NOTDIR);
            };
            at = dir.entries.remove(name).ok_or(Errno::NOENT)?;
        }
        Ok(at)
    }

    /// The directory at `path`.
    fn dir(&self, path: &Path) -> Result<Dir<Visible>> {
        match self.walk(path)? {
            Visible::Dir(dir) => Ok(dir),
            Visible::Leaf(_) => Err(Errno::NOTDIR),
        }
    }

    /// What shows at `place`, in a directory that is there.
    fn child(&self, place: &Place) -> Result<Option<Visible>> {
        Ok(self.dir(&place.parent)?.entries.remove(&place.name))
    }

    fn need_writable(&self) -> Result<()> {
        match self.branches.iter().any(Branch::is_writable) {
            true => Ok(()),
            false => Err(Errno::ROFS),
        }
    }

    /// Where in the stack the branch of an object lies; 0 is the top.
    fn position(&self, id: Id) -> usize {
        let mut branches = self.branches.iter();
        let found = branches.position(|branch| branch.name() == id.layer);
        found.expect("a branch is taken away only with all its ids")
    }

    /// Whether an object can be changed where it is stored.
    fn is_writable(&self, id: Id) -> bool {
        self.branches[self.position(id)].is_writable()
    }

    /// The whole tree as a reader sees it now.
    pub fn look(&self) -> Seen {
        self.look_into(self.view())
    }

    /// All that a branch stores, marks included, as [`laid_bare`] has it.
    pub fn look_at_branch(&self, index: usize) -> Seen {
        self.look_into(laid_bare(&self.branches[index].root))
    }

    /// What shows at `path`, by where it is stored: of a merged directory its
    /// topmost part.
    pub fn home(&self, path: &Path) -> Option<Id> {
        self.walk(path).ok().map(|entry| id(&entry))
    }

    fn look_into(&self, root: Dir<Visible>) -> Seen {
        let mut seen = Seen::new();
        let mut todo = vec![(Path::default(), Visible::Dir(root))];
        while let Some((path, entry)) = todo.pop() {
            seen.insert(path.clone(), self.sight(&entry));
            if let Visible::Dir(dir) = entry {
                let below = dir.entries.into_iter();
                todo.extend(below.map(|(name, entry)| (path.join(&name), entry)));
            }
        }
        seen
    }

    /// What one look at an object tells.
    fn sight(&self, entry: &Visible) -> Sight {
        let id = id(entry);
        let ino = self.shown.get(&id).copied().unwrap_or(id.number);
        let sight = match entry {
            Visible::Dir(dir) => {
                Sight::new(&dir.meta, FileKind::Directory, seen::dir_links(dir), ino)
            }
            Visible::Leaf(leaf) => {
                Sight::new(&leaf.meta, leaf.data.kind(), leaf.links, ino).with_data(&leaf.data)
            }
        };
        let mtime = self.times.get(&id).copied().unwrap_or(sight.mtime);
        Sight { mtime, ..sight }
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }
}
