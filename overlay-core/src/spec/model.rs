//! A union that changes: the oracle.
//!
//! The state is the tree that a reader sees, and for each object in it where
//! it lies: in the writable layer (`upper`) or still below. That one bit, and
//! how many lower directories a directory merges, is all that distinguishes a
//! union from a plain filesystem:
//!
//! - a change **copies up**: the object and its parents get the bit;
//! - a directory with lower parts can be renamed only where redirects are made
//!   ([`RedirectDir`]), and `EXDEV` is the answer elsewhere;
//! - a lower file with several names loses its siblings when copied up (as
//!   with `index=off`): until then its names share an inode number, but are
//!   objects of their own.
//!
//! Deleting needs no whiteouts here: the tree simply has no such entry. That
//! whiteouts on the disk amount to the same is what the model tests check.
//!
//! The order of checks is the kernel's (`fs/namei.c`, then `fs/overlayfs`),
//! because only one errno can be returned when several apply.

use std::collections::BTreeMap;

use crate::attr::FileKind;
use crate::name::{Name, NameBuf};

use super::op::{Access, Errno, Op, Outcome, Rename, Slot};
use super::path::{Path, Place};
use super::seen::{Seen, Sight, Time};
use super::{Data, Dir, Id, Leaf, Meta, Stored, Visible, redirect, view};

mod attrs;
mod content;
mod held;
mod make;
mod remove;
mod rename;
mod rotate;
mod xattrs;

type Result<T> = std::result::Result<T, Errno>;

/// Whose answer counts where the kernel's overlayfs fails for reasons of its
/// own; see the list in `docs/semantics.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// The union's: the answer of a filesystem without layers.
    Union,
    /// The kernel's.
    Kernel,
}

/// The options that change what a union does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Config {
    /// `redirect_dir`
    pub redirect_dir: RedirectDir,
}

/// Whether directories with a lower part can be renamed. Redirects that are
/// there already are followed in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RedirectDir {
    /// They cannot: `EXDEV`.
    #[default]
    Off,
    /// They can: a redirect says where the lower part lies.
    On,
}

/// A mounted union, as an ideal one behaves.
#[derive(Debug, Clone)]
pub struct Model {
    /// Never shrinks: what is unlinked may still be held.
    objects: Vec<Node>,
    held: BTreeMap<Slot, Held>,
    writable: bool,
    rules: Rules,
    config: Config,
    /// Inode numbers given so far.
    numbers: u64,
}

/// An index into [`Model::objects`]; the root's is 0.
type Key = usize;
const ROOT: Key = 0;

#[derive(Debug, Clone)]
struct Node {
    body: Body,
    meta: Meta,
    /// Takes the place of `meta.mtime`.
    mtime: Time,
    ino: u64,
    /// Whether it lies in the writable layer, perhaps among others.
    upper: bool,
    /// How many directories of lower layers it merges; 0 if not a directory.
    lowers: usize,
    /// Where these lie, in what the layers below the writable one show. It
    /// stays where it is when the directory moves.
    origin: Option<Path>,
    /// Hard links in the layer that stores it; unused for directories.
    links: u64,
}

#[derive(Debug, Clone)]
enum Body {
    Dir(BTreeMap<NameBuf, Key>),
    Leaf(Data),
}

#[derive(Debug, Clone, Copy)]
struct Held {
    key: Key,
    access: Access,
}

/// What is known of a stack while it becomes a model.
struct Known {
    /// The objects of leaves with several names.
    leaves: BTreeMap<Id, Key>,
    /// Where the lower directories lie in what the lower layers show.
    origins: BTreeMap<Id, Path>,
}

impl Model {
    /// Mounts `layers`, top first; the top one is written if `writable`.
    pub fn new(layers: &[Dir<Stored>], writable: bool, rules: Rules, config: Config) -> Model {
        let mut model = Model {
            objects: Vec::new(),
            held: BTreeMap::new(),
            writable,
            rules,
            config,
            numbers: 0,
        };
        let lowers = layers.iter().skip(usize::from(writable)).cloned();
        let mut known = Known {
            leaves: BTreeMap::new(),
            origins: redirect::places(&view(&lowers.collect::<Vec<_>>())),
        };
        model.add_dir(&view(layers), &mut known);
        model
    }

    /// Does `op`. A failed operation leaves the tree as it was.
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
            Op::Remount => {
                self.held.clear();
                Ok(Outcome::Done)
            }
            Op::Rotate => {
                self.rotate();
                Ok(Outcome::Done)
            }
        };
        outcome.unwrap_or_else(Outcome::Failed)
    }

    /// Whether what `op` does is settled by these rules.
    ///
    /// The kernel fails to copy up a file that has been unlinked (`EEXIST`: it
    /// finds its own whiteout in the way); such an operation is left out when
    /// the kernel is the subject. So is a rename of a lower directory onto
    /// another where the kernel fails too late to leave no trace.
    pub fn settled(&self, op: &Op) -> bool {
        let unlinked_lower =
            |held: &Held| !self.objects[held.key].upper && self.parent_of(held.key).is_none();
        if self.rules == Rules::Union {
            return true;
        }
        if let Op::ChmodHeld { slot, .. } = op {
            return !self.held.get(slot).is_some_and(unlinked_lower);
        }
        if let Op::Rename { from, to, how } = op {
            return *how == Rename::Exchange || !self.fails_late(from, to);
        }
        true
    }

    /// Copies up the object at `path` and does nothing else to it: what an
    /// operation leaves that fails, or is cut short, after its copy-up.
    pub fn copy_up_at(&mut self, path: &Path) {
        if let (true, Ok(key)) = (self.writable, self.walk(path)) {
            self.copy_up(key);
        }
    }

    /// The same for what is held open in `slot`.
    pub fn copy_up_held(&mut self, slot: Slot) {
        if let (true, Some(held)) = (self.writable, self.held.get(&slot).copied()) {
            self.copy_up(held.key);
        }
    }

    /// The whole tree as a reader sees it now.
    pub fn look(&self) -> Seen {
        let mut seen = Seen::new();
        let mut todo = vec![(Path::default(), ROOT)];
        while let Some((path, key)) = todo.pop() {
            if let Body::Dir(entries) = &self.objects[key].body {
                todo.extend(entries.iter().map(|(name, key)| (path.join(name), *key)));
            }
            seen.insert(path, self.sight(key));
        }
        seen
    }

    /// What one look at an object tells.
    fn sight(&self, key: Key) -> Sight {
        let node = &self.objects[key];
        let sight = Sight {
            mtime: node.mtime,
            ..Sight::new(&node.meta, self.kind(key), self.nlink(key), node.ino)
        };
        match &node.body {
            Body::Dir(_) => sight,
            Body::Leaf(data) => sight.with_data(data),
        }
    }

    fn kind(&self, key: Key) -> FileKind {
        match &self.objects[key].body {
            Body::Dir(_) => FileKind::Directory,
            Body::Leaf(data) => data.kind(),
        }
    }

    /// A merged directory does not count its subdirectories.
    fn nlink(&self, key: Key) -> u64 {
        let node = &self.objects[key];
        match &node.body {
            Body::Leaf(_) => node.links,
            Body::Dir(_) if usize::from(node.upper) + node.lowers > 1 => 1,
            Body::Dir(entries) => {
                let subdirs = entries.values().filter(|key| self.kind(**key).is_dir());
                2 + subdirs.count() as u64
            }
        }
    }

    /// The object at `path`; symlinks are not followed.
    fn walk(&self, path: &Path) -> Result<Key> {
        let mut key = ROOT;
        for name in &path.0 {
            key = self.child(key, name)?.ok_or(Errno::NOENT)?;
        }
        Ok(key)
    }

    /// The directory of `place`.
    fn walk_to_parent(&self, place: &Place) -> Result<Key> {
        let parent = self.walk(&place.parent)?;
        self.entries(parent).map(|_| parent)
    }

    fn child(&self, dir: Key, name: &Name) -> Result<Option<Key>> {
        Ok(self.entries(dir)?.get(name).copied())
    }

    fn entries(&self, key: Key) -> Result<&BTreeMap<NameBuf, Key>> {
        match &self.objects[key].body {
            Body::Dir(entries) => Ok(entries),
            Body::Leaf(_) => Err(Errno::NOTDIR),
        }
    }

    /// Changes what `dir` holds, and with it its modification time.
    fn change_entries(&mut self, dir: Key, change: impl FnOnce(&mut BTreeMap<NameBuf, Key>)) {
        let node = &mut self.objects[dir];
        match &mut node.body {
            Body::Dir(entries) => change(entries),
            Body::Leaf(_) => unreachable!("callers come from `entries`, which checked it"),
        }
        node.mtime = Time::Recent;
    }

    /// The directory that shows this object. Objects with several names are
    /// in the writable layer, where nobody asks.
    fn parent_of(&self, wanted: Key) -> Option<Key> {
        let mut todo = vec![ROOT];
        while let Some(dir) = todo.pop() {
            if let Body::Dir(entries) = &self.objects[dir].body {
                if entries.values().any(|key| *key == wanted) {
                    return Some(dir);
                }
                todo.extend(entries.values());
            }
        }
        None
    }

    fn need_writable(&self) -> Result<()> {
        if self.writable {
            Ok(())
        } else {
            Err(Errno::ROFS)
        }
    }

    /// Puts the object and its parents into the writable layer. Nothing that
    /// can be seen changes, but a lower hard link breaks and a directory
    /// becomes a merged one.
    fn copy_up(&mut self, key: Key) {
        if self.objects[key].upper {
            return;
        }
        let parent = self.parent_of(key);
        if let Some(parent) = parent {
            self.copy_up(parent);
        }
        let fresh = self.numbers + 1;
        let node = &mut self.objects[key];
        node.upper = true;
        if node.lowers == 0 {
            if node.links > 1 {
                node.ino = fresh;
                self.numbers = fresh;
            }
            node.links = u64::from(parent.is_some());
        }
    }

    /// Adds an object that is in the writable layer only.
    fn add_upper(&mut self, body: Body, meta: Meta) -> Key {
        self.numbers += 1;
        self.objects.push(Node {
            body,
            mtime: Time::Recent,
            meta,
            ino: self.numbers,
            upper: true,
            lowers: 0,
            origin: None,
            links: 1,
        });
        self.objects.len() - 1
    }

    /// Adds a directory of the view, with all that is in it.
    fn add_dir(&mut self, dir: &Dir<Visible>, known: &mut Known) -> Key {
        let uppers = dir.parts.iter().filter(|id| self.is_upper(**id)).count();
        let topmost_lower = dir.parts.get(uppers);
        self.numbers += 1;
        let key = self.objects.len();
        self.objects.push(Node {
            body: Body::Dir(BTreeMap::new()),
            mtime: Time::At(dir.meta.mtime),
            meta: dir.meta.clone(),
            ino: self.numbers,
            upper: uppers > 0,
            lowers: dir.parts.len() - uppers,
            origin: topmost_lower.and_then(|id| known.origins.get(id).cloned()),
            links: 0,
        });
        let mut entries = BTreeMap::new();
        for (name, entry) in &dir.entries {
            let child = match entry {
                Visible::Dir(dir) => self.add_dir(dir, known),
                Visible::Leaf(leaf) => self.add_leaf(leaf, known),
            };
            entries.insert(name.clone(), child);
        }
        self.objects[key].body = Body::Dir(entries);
        key
    }

    /// Names of one upper object are one object; names of one lower object
    /// only share its number.
    fn add_leaf(&mut self, leaf: &Leaf, known: &mut Known) -> Key {
        let upper = self.is_upper(leaf.id);
        let same = known.leaves.get(&leaf.id).copied();
        if let (Some(key), true) = (same, upper) {
            return key;
        }
        let ino = match same {
            Some(key) => self.objects[key].ino,
            None => {
                self.numbers += 1;
                self.numbers
            }
        };
        let key = self.objects.len();
        self.objects.push(Node {
            body: Body::Leaf(leaf.data.clone()),
            mtime: Time::At(leaf.meta.mtime),
            meta: leaf.meta.clone(),
            ino,
            upper,
            lowers: 0,
            origin: None,
            links: leaf.links,
        });
        known.leaves.insert(leaf.id, key);
        key
    }

    fn is_upper(&self, id: Id) -> bool {
        self.writable && id.layer == 0
    }
}
