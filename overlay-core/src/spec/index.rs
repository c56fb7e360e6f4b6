//! The index: one copy for all names of a lower object.
//!
//! With `index=on` a lower object with several names is copied up once, into
//! a directory beside the layers. There it is found by what it is a copy of,
//! not by a name. A name of the lower object shows the copy, whether or not
//! the writable layer has that name, too; and the copy knows how many names
//! are left in all.

use std::collections::BTreeMap;

use super::{Dir, Id, Leaf, Stored, Visible};

/// The copies in an index, by the lower objects that they are copies of.
pub type Index = BTreeMap<Id, Copied>;

/// A copy in an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// What is stored. Its number is that of the names in the writable layer.
    pub stored: Stored,
    /// How many names the union has for it: those in the writable layer, and
    /// those of the lower object that were never removed, hidden ones included.
    pub links: u64,
}

/// What is seen of `view` with this index.
pub fn indexed(mut view: Dir<Visible>, index: &Index) -> Dir<Visible> {
    let mut links = BTreeMap::new();
    for copied in index.values() {
        links.extend(copied.stored.id().map(|id| (id, copied.links)));
    }
    apply(&mut view, index, &links);
    view
}

fn apply(dir: &mut Dir<Visible>, index: &Index, links: &BTreeMap<Id, u64>) {
    for entry in dir.entries.values_mut() {
        match entry {
            Visible::Dir(dir) => apply(dir, index, links),
            Visible::Leaf(leaf) => {
                if let Some(copied) = index.get(&leaf.id) {
                    copied.stored.show_instead_of(leaf);
                }
                if let Some(links) = links.get(&leaf.id) {
                    leaf.links = *links;
                }
            }
        }
    }
}

impl Stored {
    /// Which object a non-directory is.
    pub(super) fn id(&self) -> Option<Id> {
        match self {
            Stored::Leaf(leaf) => Some(leaf.id),
            Stored::Metacopy(copy) => Some(copy.id),
            Stored::Dir(_) | Stored::Whiteout => None,
        }
    }

    /// Takes the place of the lower object of which it is a copy.
    fn show_instead_of(&self, lower: &mut Leaf) {
        match self {
            Stored::Leaf(leaf) => *lower = leaf.clone(),
            // The name has the content: it is the lower object's.
            Stored::Metacopy(copy) => {
                lower.id = copy.id;
                lower.meta = copy.meta.clone();
            }
            Stored::Dir(_) | Stored::Whiteout => {}
        }
    }
}
