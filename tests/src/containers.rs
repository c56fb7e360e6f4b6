//! Layers as container tools write them, from layers in the specification's
//! words, and back: so that all that is tested with overlayfs' marks can be
//! tested with theirs.

use std::collections::BTreeMap;
use std::sync::Arc;

use overlay_core::attr::FileKind;
use overlay_core::name::NameBuf;
use overlay_core::spec::{Data, Dir, Id, Leaf, Meta, Stored};
use overlay_core::{Dialect, Namespace, Stack, Store};

use crate::subject::core::storages::Storages;

const OPAQUE: &str = ".wh..wh..opq";
const OPAQUE_ATTRIBUTE: &[u8] = b"user.fuseoverlayfs.opaque";

/// A layer with the same meaning, in marks of several kinds by turns.
pub fn encode(layer: &Dir<Stored>) -> Dir<Stored> {
    Encoder { turn: 0 }.directory(layer)
}

/// What the marks of a layer mean. Overlayfs' own are known already.
pub fn decode(mut dir: Dir<Stored>) -> Dir<Stored> {
    let attribute = dir.meta.xattrs.remove(OPAQUE_ATTRIBUTE);
    let by_name = dir.entries.remove(&name(OPAQUE)).is_some();
    dir.opaque |= by_name || attribute.is_some_and(|value| value == b"y");
    let mut hidden = Vec::new();
    let mut entries = BTreeMap::new();
    for (name, entry) in dir.entries {
        match name.as_bytes().strip_prefix(b".wh.") {
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
            Stored::Dir(dir) => {
                dir.opaque = true;
                dir.redirect = None;
            }
            Stored::Leaf(_) | Stored::Metacopy(_) | Stored::Whiteout => {}
        }
    }
    Dir { entries, ..dir }
}

struct Encoder {
    turn: u64,
}

impl Encoder {
    fn turn(&mut self, of: u64) -> u64 {
        self.turn += 1;
        self.turn % of
    }

    fn directory(&mut self, dir: &Dir<Stored>) -> Dir<Stored> {
        let mut new = Dir {
            entries: BTreeMap::new(),
            ..dir.clone()
        };
        for (entry, stored) in &dir.entries {
            match stored {
                Stored::Leaf(_) | Stored::Metacopy(_) => {
                    new.entries.insert(entry.clone(), stored.clone());
                }
                Stored::Whiteout => {
                    let (name, mark) = self.whiteout(entry);
                    new.entries.insert(name, mark);
                }
                Stored::Dir(below) => {
                    let mut below = self.directory(below);
                    if below.opaque {
                        self.make_opaque(&mut below, entry, &mut new);
                    }
                    new.entries.insert(entry.clone(), Stored::Dir(below));
                }
            }
        }
        new
    }

    /// A whiteout of `hidden`, and its name.
    fn whiteout(&mut self, hidden: &NameBuf) -> (NameBuf, Stored) {
        match hider_of(hidden) {
            Some(hider) if self.turn(4) != 0 => (hider, self.object()),
            Some(_) | None => (hidden.clone(), Stored::Whiteout),
        }
    }

    /// Marks `dir`, which will be `name` in `parent`.
    fn make_opaque(&mut self, dir: &mut Dir<Stored>, name: &NameBuf, parent: &mut Dir<Stored>) {
        let turn = self.turn(4);
        match (turn, hider_of(name)) {
            (0, _) => return,
            (1, Some(hider)) => {
                let mark = self.object();
                parent.entries.insert(hider, mark);
            }
            (2, _) => {
                let attribute = (OPAQUE_ATTRIBUTE.to_vec(), b"y".to_vec());
                dir.meta.xattrs.extend([attribute]);
            }
            _ => {
                let mark = self.object();
                dir.entries.insert(self::name(OPAQUE), mark);
            }
        }
        dir.opaque = false;
    }

    /// Any object but a directory, which would count in its parent's links.
    fn object(&mut self) -> Stored {
        let data = match self.turn(4) {
            0 => Data::Symlink(b"anywhere".to_vec()),
            1 => Data::Special {
                kind: FileKind::CharDevice,
                rdev: 0,
            },
            2 => Data::File(b"content".to_vec()),
            _ => Data::File(Vec::new()),
        };
        Stored::Leaf(Leaf {
            // Nobody sees it, and no other has its number with more links.
            id: Id {
                layer: 0,
                number: u64::MAX,
            },
            links: 1,
            data,
            meta: Meta::new(0),
        })
    }
}

fn name(text: &str) -> NameBuf {
    NameBuf::new(text).unwrap()
}

fn hider_of(name: &NameBuf) -> Option<NameBuf> {
    NameBuf::new([b".wh.", name.as_bytes()].concat()).ok()
}

/// Storages whose layers were encoded. The writable one is written, and read,
/// in the dialect `upper`.
#[derive(Debug)]
pub struct Encoded<S> {
    inner: S,
    upper: Dialect,
}

impl<S: Storages> Encoded<S> {
    /// `make` stores the layers given, of which the first is written if it
    /// is said so; `upper` is how that is read.
    pub fn new(
        layers: &[Dir<Stored>],
        writable: bool,
        upper: Dialect,
        make: impl FnOnce(&[Dir<Stored>], bool) -> S,
    ) -> Encoded<S> {
        let encoded = layers.iter().enumerate().map(|(index, layer)| {
            match writable && index == 0 && upper == Dialect::default() {
                true => layer.clone(),
                false => encode(layer),
            }
        });
        let encoded: Vec<_> = encoded.collect();
        Encoded {
            inner: make(&encoded, writable),
            upper,
        }
    }
}

impl<S: Storages> Storages for Encoded<S> {
    fn stack(&self) -> Stack {
        let inner = self.inner.stack();
        let branches = inner.branches().iter();
        branches.fold(Stack::new(), |stack, branch| match &branch.storage {
            Store::ReadOnly(storage) => {
                let dialect = Dialect::Containers(Namespace::Trusted);
                stack.lower_as(Arc::clone(storage), dialect)
            }
            Store::Writable(storage) => stack.upper_as(Arc::clone(storage), self.upper),
        })
    }

    fn rotate(&mut self) {
        self.inner.rotate();
    }

    fn stored(&self) -> Vec<Dir<Stored>> {
        self.inner.stored().into_iter().map(decode).collect()
    }

    fn litter(&self) -> Vec<String> {
        self.inner.litter()
    }

    fn on_one_filesystem(&self) -> bool {
        self.inner.on_one_filesystem()
    }
}
