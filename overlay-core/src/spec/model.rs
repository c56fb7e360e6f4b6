//! A union that changes: the oracle.
//!
//! The state is the tree that a reader sees, and for each object in it where
//! it lies: in the writable layer (`upper`) or still below. That one bit, and
//! how many lower directories a directory merges, is nearly all that
//! distinguishes a union from a plain filesystem:
//!
//! - a change **copies up**: the object and its parents get the bit;
//! - a directory with lower parts can be renamed only where redirects are made
//!   ([`RedirectDir`]), and `EXDEV` is the answer elsewhere;
//! - a lower file with several names loses its siblings when copied up with
//!   `index=off`: until then its names share an inode number, but are objects
//!   of their own. With `index=on` they are one object, and stay so; what that
//!   takes is in [`Indexed`].
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
use super::{
    Config, Data, Dir, Id, Leaf, Meta, RedirectDir, Stored, Visible, posix, redirect, view_over,
};

mod attrs;
mod content;
mod copy_up;
mod held;
mod make;
mod metacopy;
mod mount;
mod remount;
mod remove;
mod rename;
mod settled;
mod xattrs;

use copy_up::Indexed;
use metacopy::Dataless;
use rename::REDIRECT_MAX;

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
    /// Whether `ino` is the number of the lower object that this is a copy of.
    borrowed: bool,
    /// Whether it lies in the writable layer, perhaps among others.
    upper: bool,
    /// How many directories of lower layers it merges; 0 if not a directory.
    lowers: usize,
    /// Where these lie, in what the layers below the writable one show. It
    /// stays where it is when the directory moves.
    origin: Option<Path>,
    /// Hard links in the layer that stores it; unused for directories.
    links: u64,
    /// Of an object that the index keeps in one piece.
    indexed: Option<Box<Indexed>>,
    /// Of a copy whose content has stayed below.
    dataless: Option<Box<Dataless>>,
}

#[derive(Debug, Clone)]
enum Body {
    Dir(BTreeMap<NameBuf, Key>),
    Leaf(Data),
}

/// A name in a directory, wherever that is moved.
type Spot = (Key, NameBuf);

#[derive(Debug, Clone)]
struct Held {
    key: Key,
    access: Access,
    /// Under which name it was opened.
    spot: Spot,
}

impl Body {
    fn kind(&self) -> FileKind {
        match self {
            Body::Dir(_) => FileKind::Directory,
            Body::Leaf(data) => data.kind(),
        }
    }
}

impl Model {
    /// From now on these rules count.
    pub fn follow(&mut self, rules: Rules) {
        self.rules = rules;
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
                self.remount();
                Ok(Outcome::Done)
            }
            Op::Rotate => {
                self.rotate();
                Ok(Outcome::Done)
            }
        };
        outcome.unwrap_or_else(Outcome::Failed)
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
        self.objects[key].body.kind()
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

    /// Where the object at `path` has this name; the root has none.
    fn spot(&self, path: &Path) -> Option<Spot> {
        let (name, parent) = path.0.split_last()?;
        let parent = self.walk(&Path(parent.to_vec())).ok()?;
        Some((parent, name.clone()))
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

    /// The directory that shows this object; one of them, if it has several
    /// names.
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

    /// Adds an object that is in the writable layer only.
    fn add_upper(&mut self, body: Body, meta: Meta) -> Key {
        self.numbers += 1;
        self.objects.push(Node {
            body,
            mtime: Time::Recent,
            meta,
            ino: self.numbers,
            borrowed: false,
            upper: true,
            lowers: 0,
            origin: None,
            links: 1,
            indexed: None,
            dataless: None,
        });
        self.objects.len() - 1
    }
}
