//! Branches as AuFS writes them, from layers in the specification's words, and
//! back: so that all that is tested with overlayfs' marks can be tested with
//! these.

use std::collections::BTreeMap;
use std::sync::Arc;

use overlay_core::attr::FileKind;
use overlay_core::dialect::aufs::{Aufs, Diropq};
use overlay_core::name::NameBuf;
use overlay_core::spec::generate::Case;
use overlay_core::spec::{
    Config, Copied, Data, Dir, Id, Index, Leaf, Meta, Object, Op, Stored, Switch,
};
use overlay_core::union::{self, Options, Plinks};
use overlay_core::{Dialect, Stack, Store};

use crate::subject::core::storages::Storages;
use crate::subject::ours;

const OPAQUE: &[u8] = b".wh..wh..opq";
/// The longest name of a branch of AuFS, in bytes.
const NAME_MAX: usize = 242;

/// The dialect with what AuFS does by default.
pub const AUFS: Dialect = Dialect::Aufs(Aufs {
    opaque: Diropq::Whiteouted,
    whiteouts: overlay_core::dialect::aufs::WhiteoutFiles::Linked,
});

/// What a configuration asks of a union whose writable branch is one of AuFS:
/// its pseudo-links are what the index is to overlayfs.
pub fn options(config: Config) -> Options {
    Options {
        index: union::Index::Off,
        plinks: match config.index {
            Switch::On => Plinks::Keep,
            Switch::Off => Plinks::Break,
        },
        ..ours::options(config)
    }
}

/// A layer with the same meaning, in marks of AuFS.
pub fn encode(layer: &Dir<Stored>) -> Dir<Stored> {
    let mut new = Dir {
        entries: BTreeMap::new(),
        opaque: false,
        ..layer.clone()
    };
    for (name, entry) in &layer.entries {
        let (name, entry) = match entry {
            Stored::Leaf(_) | Stored::Metacopy(_) => (name.clone(), entry.clone()),
            Stored::Dir(below) => (name.clone(), Stored::Dir(encode(below))),
            Stored::Whiteout => (hider_of(name), mark()),
        };
        new.entries.insert(name, entry);
    }
    if layer.opaque {
        new.entries.insert(NameBuf::new(OPAQUE).unwrap(), mark());
    }
    new
}

/// What the marks of a layer mean.
pub fn decode(mut dir: Dir<Stored>) -> Dir<Stored> {
    let opaque = dir.entries.remove(&NameBuf::new(OPAQUE).unwrap());
    dir.opaque |= opaque.is_some();
    let (mut hidden, mut entries) = (Vec::new(), BTreeMap::new());
    for (name, entry) in dir.entries {
        match name.as_bytes().strip_prefix(b".wh.") {
            Some(own) if own.starts_with(b".wh.") => {}
            Some(victim) => hidden.push(NameBuf::new(victim).unwrap()),
            None => {
                let entry = match entry {
                    Stored::Dir(below) => Stored::Dir(decode(below)),
                    Stored::Leaf(_) | Stored::Metacopy(_) | Stored::Whiteout => entry,
                };
                entries.insert(name, entry);
            }
        }
    }
    for name in hidden {
        match entries.entry(name).or_insert(Stored::Whiteout) {
            Stored::Dir(dir) => dir.opaque = true,
            Stored::Leaf(_) | Stored::Metacopy(_) | Stored::Whiteout => {}
        }
    }
    Dir { entries, ..dir }
}

fn hider_of(name: &NameBuf) -> NameBuf {
    NameBuf::new([b".wh.", name.as_bytes()].concat()).unwrap()
}

/// Any whiteout, or the mark of an opaque directory.
fn mark() -> Stored {
    Stored::Leaf(Leaf {
        // Nobody sees it, and no other has its number with more links.
        id: Id {
            layer: 0,
            number: u64::MAX,
        },
        links: 1,
        data: Data::File(Vec::new()),
        meta: Meta::new(0),
    })
}

/// What is left on a writable branch that has no pseudo-links: names of
/// temporaries, and what is in the private directories.
pub fn temporaries(root: &Dir<Stored>) -> Vec<String> {
    let mut found = Vec::new();
    temporaries_in(root, "", &mut found);
    found
}

fn temporaries_in(dir: &Dir<Stored>, at: &str, out: &mut Vec<String>) {
    const PRIVATE: [&[u8]; 3] = [b".wh..wh.aufs", b".wh..wh.plnk", b".wh..wh.orph"];
    for (name, entry) in &dir.entries {
        let path = format!("{at}/{}", name.as_bytes().escape_ascii());
        let bytes = name.as_bytes();
        let known = bytes == OPAQUE || at.is_empty() && PRIVATE.contains(&bytes);
        let is_private = bytes.starts_with(b".wh..wh.");
        if is_private && !known {
            out.push(path.clone());
        }
        match entry {
            Stored::Dir(below) if is_private => {
                let names = below.entries.keys();
                out.extend(names.map(|name| format!("{path}/{}", name.as_bytes().escape_ascii())));
            }
            Stored::Dir(below) => temporaries_in(below, &path, out),
            Stored::Leaf(_) | Stored::Metacopy(_) | Stored::Whiteout => {}
        }
    }
}

/// Other objects than directories that stand beside their whiteouts.
pub fn besides(root: &Dir<Stored>) -> Vec<String> {
    let mut found = Vec::new();
    beside(root, "", &mut found);
    found
}

fn beside(dir: &Dir<Stored>, at: &str, out: &mut Vec<String>) {
    for (name, entry) in &dir.entries {
        let path = format!("{at}/{}", name.as_bytes().escape_ascii());
        match entry {
            Stored::Dir(below) => beside(below, &path, out),
            Stored::Leaf(_) | Stored::Metacopy(_) | Stored::Whiteout
                if name.as_bytes().len() <= NAME_MAX
                    && dir.entries.contains_key(&hider_of(name)) =>
            {
                out.push(format!("{path} beside its whiteout"));
            }
            Stored::Leaf(_) | Stored::Metacopy(_) | Stored::Whiteout => {}
        }
    }
}

/// The numbers in the name of a pseudo-link, and whether it is the entry.
fn plink(name: &NameBuf) -> Option<((u64, u64), bool)> {
    let text = std::str::from_utf8(name.as_bytes()).ok()?;
    let words: Vec<_> = text.split('.').collect();
    let key = (words[0].parse().ok()?, words.get(1)?.parse().ok()?);
    Some((key, words.len() == 2))
}

fn plink_dir(top: &Dir<Stored>) -> Option<&Dir<Stored>> {
    match top.entries.get(&NameBuf::new(b".wh..wh.plnk").unwrap()) {
        Some(Stored::Dir(dir)) => Some(dir),
        Some(_) | None => None,
    }
}

/// The pseudo-links of the top layer, as the specification has an index.
fn plinks_in(layers: &[Dir<Stored>]) -> Index {
    let mut originals = BTreeMap::new();
    for (index, layer) in layers.iter().enumerate().skip(1) {
        each_leaf(layer, &mut |id| {
            // On a filesystem of its own, and on the one of all.
            originals.insert((index as u64) << 33 | id.number, id);
            originals.insert(id.number, id);
        });
    }
    let mut index = Index::new();
    let plinks = layers.first().and_then(plink_dir);
    for (name, stored) in plinks.iter().flat_map(|dir| &dir.entries) {
        let (Some(((number, _), true)), Stored::Leaf(leaf)) = (plink(name), stored) else {
            continue;
        };
        let id = originals[&number];
        let stored = stored.clone();
        let links = leaf.links - 2;
        index.insert(id, Copied { stored, links });
    }
    index
}

fn each_leaf(dir: &Dir<Stored>, each: &mut dyn FnMut(Id)) {
    for entry in dir.entries.values() {
        match entry {
            Stored::Dir(dir) => each_leaf(dir, each),
            Stored::Leaf(leaf) => each(leaf.id),
            Stored::Metacopy(_) | Stored::Whiteout => {}
        }
    }
}

/// Links of pseudo-links without their entry.
fn unfinished(top: &Dir<Stored>) -> Vec<String> {
    let names = plink_dir(top)
        .into_iter()
        .flat_map(|dir| dir.entries.keys());
    let called: Vec<_> = names.filter_map(plink).collect();
    let lost = called
        .iter()
        .filter(|(key, _)| !called.contains(&(*key, true)));
    lost.map(|(key, _)| format!("a link of {key:?} without its entry"))
        .collect()
}

/// A case that means on branches of AuFS what it means on those of overlayfs:
/// without names that are too long or reserved, devices 0:0, and attributes
/// that would be marks.
pub fn fitting(mut case: Case) -> Case {
    case.layers = case.layers.into_iter().map(fitting_layer).collect();
    case.layers.iter_mut().for_each(recount);
    case.ops.retain(fits);
    case
}

/// Whether an operation means there what it means on branches of overlayfs.
pub fn fits(op: &Op) -> bool {
    let whiteout = Object::Special(FileKind::CharDevice, 0);
    let device = matches!(op, Op::Make { object, .. } if *object == whiteout);
    let text = op.to_string();
    let unfit = [".wh.", "trusted.overlay.", "<nx255>"];
    !device && !unfit.iter().any(|word| text.contains(word))
}

/// The same for one layer.
pub fn fitting_layer(layer: Dir<Stored>) -> Dir<Stored> {
    let entries = layer.entries.into_iter().map(|(name, entry)| {
        let bytes = name.as_bytes();
        let bytes = bytes.strip_prefix(b".").unwrap_or(bytes);
        let name = NameBuf::new(&bytes[..bytes.len().min(NAME_MAX)]).unwrap();
        let entry = match entry {
            Stored::Dir(below) => Stored::Dir(fitting_layer(below)),
            Stored::Leaf(mut leaf) => {
                leaf.meta = fitting_meta(leaf.meta);
                Stored::Leaf(leaf)
            }
            Stored::Metacopy(_) | Stored::Whiteout => entry,
        };
        (name, entry)
    });
    Dir {
        entries: entries.collect(),
        meta: fitting_meta(layer.meta),
        redirect: None,
        ..layer
    }
}

/// Names may have become one.
fn recount(layer: &mut Dir<Stored>) {
    fn each(dir: &mut Dir<Stored>, leaf: &mut dyn FnMut(&mut Leaf)) {
        for entry in dir.entries.values_mut() {
            match entry {
                Stored::Dir(dir) => each(dir, leaf),
                Stored::Leaf(found) => leaf(found),
                Stored::Metacopy(_) | Stored::Whiteout => {}
            }
        }
    }
    let mut links = BTreeMap::new();
    each(layer, &mut |leaf| *links.entry(leaf.id).or_insert(0) += 1);
    each(layer, &mut |leaf| leaf.links = links[&leaf.id]);
}

fn fitting_meta(mut meta: Meta) -> Meta {
    meta.xattrs
        .retain(|name, _| !name.starts_with(b"trusted.overlay."));
    meta
}

/// What a layer is asked beside what it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Whether an object stands beside its whiteout: none does, once a change
    /// has come to its end.
    Finished,
    /// Whether a link of a pseudo-link has lost its entry, which no mount leaves
    /// so; else a crash may leave anything.
    Anything,
}

/// Storages whose layers were encoded, and are read and written so.
#[derive(Debug)]
pub struct Branches<S> {
    inner: S,
    dialect: Dialect,
    asked: Asked,
}

impl<S: Storages> Branches<S> {
    /// `make` stores the layers given, of which the first is written if it
    /// is said so.
    pub fn new(
        layers: &[Dir<Stored>],
        writable: bool,
        dialect: Dialect,
        asked: Asked,
        make: impl FnOnce(&[Dir<Stored>], bool) -> S,
    ) -> Branches<S> {
        let encoded: Vec<_> = layers.iter().map(encode).collect();
        Branches {
            inner: make(&encoded, writable),
            dialect,
            asked,
        }
    }

    /// The same branches, read by another dialect.
    pub fn read_as(&self, dialect: Dialect) -> Branches<S>
    where
        S: Clone,
    {
        Branches {
            inner: self.inner.clone(),
            dialect,
            asked: Asked::Anything,
        }
    }
}

impl<S: Storages> Storages for Branches<S> {
    fn stack(&self) -> Stack {
        let inner = self.inner.stack();
        let branches = inner.branches().iter();
        branches.fold(Stack::new(), |stack, branch| match &branch.storage {
            Store::ReadOnly(storage) => stack.lower_as(Arc::clone(storage), self.dialect),
            Store::Writable(storage) => stack.upper_as(Arc::clone(storage), self.dialect),
        })
    }

    fn rotate(&mut self) {
        self.inner.rotate();
    }

    fn index(&self) -> Index {
        plinks_in(&self.inner.stored())
    }

    fn stored(&self) -> Vec<Dir<Stored>> {
        self.inner.stored().into_iter().map(decode).collect()
    }

    fn litter(&self) -> Vec<String> {
        let mut litter = self.inner.litter();
        match (self.asked, self.inner.stored().first()) {
            (Asked::Finished, Some(top)) => beside(top, "", &mut litter),
            (Asked::Anything, Some(top)) => litter.extend(unfinished(top)),
            (Asked::Finished | Asked::Anything, None) => {}
        }
        litter
    }

    fn on_one_filesystem(&self) -> bool {
        self.inner.on_one_filesystem()
    }

    /// AuFS keeps them in files outside of its branches.
    fn keeps_numbers(&self) -> bool {
        false
    }
}
