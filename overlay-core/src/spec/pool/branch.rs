//! A branch: what it stores, and what may be done to it.

use std::collections::BTreeMap;
use std::fmt;

use crate::attr::FileKind;

use super::*;
use crate::spec::Data;

/// A branch of a [`Pool`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// What it stores.
    pub root: Dir<Stored>,
    /// What may be done to it.
    pub permission: Permission,
    /// How it keeps its marks.
    pub marks: Marks,
    /// Bytes available, which policies compare; they never get fewer.
    pub free: u64,
}

/// What may be done to a branch, by the words of aufs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// `rw`: it is written. Its marks count.
    Rw,
    /// `ro+wh`: it is not written. Its marks count.
    RoWh,
    /// `ro`: it is not written, and nobody looks for marks of aufs: those that
    /// are there neither hide anything nor are seen. Overlayfs' count always.
    Ro,
}

/// How a branch keeps its marks, as far as it can be told from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marks {
    /// As overlayfs.
    Overlay,
    /// As aufs.
    Aufs,
    /// As aufs with `diropq=always`: each new directory is opaque.
    AufsAlwaysOpaque,
}

impl Branch {
    /// The name of the branch: the layer in all its ids.
    pub(super) fn name(&self) -> usize {
        // A directory of a branch has one part.
        self.root.parts[0].layer
    }

    pub(super) fn is_writable(&self) -> bool {
        self.permission == Permission::Rw
    }

    /// What readers take for stored.
    pub(super) fn as_read(&self) -> Dir<Stored> {
        match (self.permission, self.marks) {
            (Permission::Rw | Permission::RoWh, _) | (_, Marks::Overlay) => self.root.clone(),
            (Permission::Ro, Marks::Aufs | Marks::AufsAlwaysOpaque) => without_marks(&self.root),
        }
    }
}

fn without_marks(dir: &Dir<Stored>) -> Dir<Stored> {
    let entries = dir.entries.iter().filter_map(|(name, entry)| {
        let entry = match entry {
            Stored::Whiteout => return None,
            Stored::Dir(dir) => Stored::Dir(without_marks(dir)),
            Stored::Leaf(_) | Stored::Metacopy(_) => entry.clone(),
        };
        Some((name.clone(), entry))
    });
    Dir {
        opaque: false,
        entries: entries.collect(),
        ..dir.clone()
    }
}

/// All that a branch stores as if it could be seen, to be compared: a whiteout
/// as the device 0:0, and the mark of an opaque directory as an attribute.
pub fn laid_bare(root: &Dir<Stored>) -> Dir<Visible> {
    let mut meta = root.meta.clone();
    if root.opaque {
        meta.xattrs.insert(b"OPAQUE".to_vec(), Vec::new());
    }
    let entries = root
        .entries
        .iter()
        .enumerate()
        .map(|(index, (name, entry))| {
            let entry = match entry {
                Stored::Dir(dir) => Visible::Dir(laid_bare(dir)),
                Stored::Leaf(leaf) => Visible::Leaf(leaf.clone()),
                Stored::Metacopy(_) => unreachable!("a branch of a pool has no metacopies"),
                Stored::Whiteout => Visible::Leaf(whiteout(root.parts[0], index)),
            };
            (name.clone(), entry)
        });
    Dir {
        entries: entries.collect(),
        parts: root.parts.clone(),
        opaque: false,
        redirect: None,
        meta,
    }
}

/// Each is told from all others by its directory and its place in there.
fn whiteout(dir: Id, index: usize) -> Leaf {
    /// More than a directory has entries.
    const PLACES: u64 = 1 << 16;
    Leaf {
        id: Id {
            layer: usize::MAX - dir.layer,
            number: dir.number * PLACES + index as u64,
        },
        links: 1,
        data: Data::Special {
            kind: FileKind::CharDevice,
            rdev: 0,
        },
        meta: Meta::new(0),
    }
}

impl Pool {
    /// The branch with a name of its own, and numbers that nothing else has.
    pub(super) fn named(&mut self, branch: &Branch) -> Branch {
        let layer = self.number() as usize;
        let mut root = branch.root.clone();
        self.renumber(&mut root, layer, &mut BTreeMap::new());
        Branch {
            root,
            ..branch.clone()
        }
    }

    fn renumber(&mut self, dir: &mut Dir<Stored>, layer: usize, known: &mut BTreeMap<Id, Id>) {
        let number = self.number();
        dir.parts = vec![Id { layer, number }];
        for entry in dir.entries.values_mut() {
            match entry {
                Stored::Dir(dir) => self.renumber(dir, layer, known),
                Stored::Leaf(leaf) => {
                    let number = known.get(&leaf.id).map(|id| id.number);
                    let number = number.unwrap_or_else(|| self.number());
                    let id = Id { layer, number };
                    known.insert(leaf.id, id);
                    leaf.id = id;
                }
                Stored::Metacopy(_) | Stored::Whiteout => {}
            }
        }
    }
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (permission, marks, free) = (self.permission, self.marks, self.free);
        writeln!(f, "{permission} {marks:?} with {free} bytes free:")?;
        fmt::Display::fmt(&self.root, f)
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Permission::Rw => "rw",
            Permission::RoWh => "ro+wh",
            Permission::Ro => "ro",
        })
    }
}
