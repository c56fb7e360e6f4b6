//! The semantics of a union, as pure functions over trees in memory.
//!
//! Start with [`stack`]: it says in one screen what a reader sees when one
//! layer is put on top of what lies below. [`view`] does it for all layers.
//! Nothing here reads a disk, takes a lock or knows how marks are encoded, and
//! the engine never imports this module: two independent answers are compared.
//!
//! - `spec` itself: what layers store, what a reader sees.
//! - [`Redirect`], [`Metacopy`], [`Index`]: what lies elsewhere.
//! - [`Model`]: a union that changes: every [`Op`] with its [`Outcome`].
//! - [`Pool`]: the same for several branches that can be written, and that come
//!   and go.
//! - [`Seen`]: what can be compared, path by path.
//! - `generate` (feature `proptest`): random layers and operations.
//!
//! ```
//! use overlay_core::spec::{Dir, Meta, Stored, view};
//! use overlay_core::NameBuf;
//!
//! let a = NameBuf::new(*b"a")?;
//! let file = Stored::file(1, b"lower".to_vec());
//! let lower = Dir::new(2, [(a.clone(), file)]);
//! let upper = Dir::new(3, [(a.clone(), Stored::Whiteout)]);
//!
//! assert!(view(&[lower.clone()]).entries.contains_key(&a));
//! assert!(!view(&[upper, lower]).entries.contains_key(&a));
//! # Ok::<(), overlay_core::Error>(())
//! ```

use std::collections::{BTreeMap, BTreeSet};

use crate::attr::{FileKind, Timestamp};
use crate::name::NameBuf;

mod config;
#[cfg(feature = "proptest")]
pub mod generate;
mod index;
mod metacopy;
mod model;
mod op;
mod path;
pub mod pool;
mod posix;
mod redirect;
mod seen;
mod show;

pub use config::{Config, Namespace, RedirectDir, Switch, Xino};
pub use index::{Copied, Index, indexed};
pub use metacopy::{Metacopy, broken, metacopies, repaired, rests_on, sized};
pub use model::{Model, Rules};
pub use op::{Access, Errno, Object, Op, Outcome, Presence, Rename, Slot, Umask};
pub use path::{Path, Place};
pub use pool::Pool;
pub use redirect::{Redirect, refused};
pub use seen::{Difference, Seen, Sight, Time, differences, look};

/// What a layer stores under a name: a layer can hide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// A directory, which may hide everything below it.
    Dir(Dir<Stored>),
    /// Anything that is not a directory.
    Leaf(Leaf),
    /// A regular file whose content lies below.
    Metacopy(Metacopy),
    /// Hides the name. It has no attributes: nobody ever sees it.
    Whiteout,
}

/// What a reader sees under a name: a view cannot hide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visible {
    /// A directory.
    Dir(Dir<Visible>),
    /// Anything that is not a directory.
    Leaf(Leaf),
}

/// A directory of a layer (`Dir<Stored>`) or of a view (`Dir<Visible>`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dir<Entry> {
    /// The directories that it is made of, top first: one in a layer, several
    /// in a view that merges them.
    pub parts: Vec<Id>,
    /// Hides all that lies below; never in a view.
    pub opaque: bool,
    /// Where its lower part lies, if not under its own name; never in a view,
    /// and never together with `opaque`.
    pub redirect: Option<Redirect>,
    /// What it holds.
    pub entries: BTreeMap<NameBuf, Entry>,
    /// Attributes: of a merged directory the topmost part's.
    pub meta: Meta,
}

/// Anything that is not a directory: it is seen whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Which object this is: two names with the same id are hard links.
    pub id: Id,
    /// How many names the object has in its layer, hidden ones included.
    pub links: u64,
    /// What it is.
    pub data: Data,
    /// Attributes.
    pub meta: Meta,
}

/// What a non-directory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// A regular file with this content.
    File(Vec<u8>),
    /// A symlink to this target.
    Symlink(Vec<u8>),
    /// A device node, a named pipe or a socket.
    Special {
        /// Which of them.
        kind: FileKind,
        /// The device number; 0 for pipes and sockets.
        rdev: u64,
    },
}

impl Data {
    /// The kind as `stat(2)` shows it.
    pub fn kind(&self) -> FileKind {
        match self {
            Data::File(_) => FileKind::Regular,
            Data::Symlink(_) => FileKind::Symlink,
            Data::Special { kind, .. } => *kind,
        }
    }

    /// The size as `stat(2)` shows it.
    pub fn size(&self) -> u64 {
        match self {
            Data::File(bytes) | Data::Symlink(bytes) => bytes.len() as u64,
            Data::Special { .. } => 0,
        }
    }
}

/// Names an object within a whole stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// The layer that stores it; 0 is the top.
    pub layer: usize,
    /// Unique within the layer.
    pub number: u64,
}

/// The attributes that a union has to preserve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of content.
    pub mtime: Timestamp,
    /// Extended attributes, without those that mark layers.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Where redirects of a layer may lead.
#[derive(Debug, Clone, Copy)]
pub struct Reach<'a> {
    /// All that the layers below show.
    pub root: &'a Dir<Visible>,
    /// The data-only layers, for the content of files alone.
    pub data: &'a [Dir<Stored>],
}

/// What a reader sees when `layer` is stacked on `below`.
///
/// This function is the semantics; the rest of the crate is an optimisation.
/// It is used from the bottom layer up, so `below` is already what everything
/// further down shows. That decides the case dir / file / dir: the file has
/// replaced the lowest directory before the top one is looked at.
///
/// `below` is what lies where the search goes on: under the same name, or
/// where a redirect leads ([`Redirect`]).
pub fn stack(layer: Option<&Stored>, below: Option<&Visible>, reach: Reach<'_>) -> Option<Visible> {
    match layer {
        None => below.cloned(),
        Some(Stored::Whiteout) => None,
        Some(Stored::Leaf(leaf)) => Some(Visible::Leaf(leaf.clone())),
        Some(Stored::Metacopy(copy)) => copy.over(below, reach).map(Visible::Leaf),
        Some(Stored::Dir(dir)) => Some(Visible::Dir(match below {
            Some(Visible::Dir(below)) if !dir.opaque => merge(dir, below, reach),
            Some(Visible::Dir(_) | Visible::Leaf(_)) | None => merge(dir, &Dir::nothing(), reach),
        })),
    }
}

/// A directory on top of a directory: every name of either, stacked.
fn merge(dir: &Dir<Stored>, below: &Dir<Visible>, reach: Reach<'_>) -> Dir<Visible> {
    let names: BTreeSet<&NameBuf> = dir.entries.keys().chain(below.entries.keys()).collect();
    let seen = |name: &NameBuf| match dir.entries.get(name) {
        None => below.entries.get(name).cloned(),
        Some(stored) => stack(Some(stored), stored.search(name, below, reach), reach),
    };
    Dir {
        parts: dir.parts.iter().chain(&below.parts).copied().collect(),
        opaque: false,
        redirect: None,
        entries: names
            .into_iter()
            .filter_map(|name| Some((name.clone(), seen(name)?)))
            .collect(),
        meta: dir.meta.clone(),
    }
}

/// What a reader sees of `layers`, given by their roots, top first.
///
/// Roots always merge: a mark on a root would have nothing to hide. Redirects
/// and metacopies are followed; [`refused`] and [`metacopies`] say what is
/// seen where they are not.
pub fn view(layers: &[Dir<Stored>]) -> Dir<Visible> {
    view_over(layers, 0)
}

/// The same where the lowest `data` of the layers are data-only.
pub fn view_over(layers: &[Dir<Stored>], data: usize) -> Dir<Visible> {
    let (shown, data) = layers.split_at(layers.len() - data);
    let bottom_up = shown.iter().rev();
    bottom_up.fold(Dir::nothing(), |below, layer| {
        let root = &below;
        merge(layer, &below, Reach { root, data })
    })
}

impl Dir<Visible> {
    /// What lies below the lowest layer.
    fn nothing() -> Dir<Visible> {
        Dir {
            parts: Vec::new(),
            opaque: false,
            redirect: None,
            entries: BTreeMap::new(),
            meta: Meta::new(0o755),
        }
    }
}

impl Dir<Stored> {
    /// A directory with usual attributes; `number` is unique in its layer.
    pub fn new(number: u64, entries: impl IntoIterator<Item = (NameBuf, Stored)>) -> Dir<Stored> {
        Dir {
            parts: vec![Id { layer: 0, number }],
            opaque: false,
            redirect: None,
            entries: entries.into_iter().collect(),
            meta: Meta::new(0o755),
        }
    }
}

impl Stored {
    /// What lies below this entry of a directory that merges with `below`.
    fn search<'a>(
        &self,
        name: &NameBuf,
        below: &'a Dir<Visible>,
        reach: Reach<'a>,
    ) -> Option<&'a Visible> {
        let redirect = match self {
            Stored::Dir(dir) => dir.redirect.as_ref(),
            Stored::Metacopy(copy) => copy.redirect.as_ref(),
            Stored::Leaf(_) | Stored::Whiteout => None,
        };
        match redirect {
            None => below.entries.get(name),
            Some(redirect) => redirect.follow(below, reach.root),
        }
    }

    /// A file with usual attributes; `number` is unique in its layer.
    pub fn file(number: u64, content: Vec<u8>) -> Stored {
        Stored::Leaf(Leaf {
            id: Id { layer: 0, number },
            links: 1,
            data: Data::File(content),
            meta: Meta::new(0o644),
        })
    }
}

impl Meta {
    /// Root's, without extended attributes, last changed in 1970.
    pub fn new(mode: u32) -> Meta {
        Meta {
            mode,
            uid: 0,
            gid: 0,
            mtime: Timestamp::default(),
            xattrs: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests;
