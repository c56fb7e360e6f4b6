//! Where copies of lower files with several names lie: in the index, or among
//! the pseudo-links. What differs between the two is here, and what they are in
//! `union/index.rs` and `union/plinks.rs`. Takes no lock.

use std::sync::Arc;

use super::Union;
use super::index::union_links;
use super::inode::{Indexed, Slot};
use super::options::{Index, Plinks as Asked};
use super::plinks::Plinks;
use super::target::Target;
use crate::attr::Attr;
use crate::dialect::Dialect;
use crate::dialect::plinks::OWN_LINKS;
use crate::error::Result;
use crate::layer::{Found, Node, Removal, WritableNode};

/// Where copies of lower files with several names lie.
#[derive(Debug, Clone)]
pub(super) enum Copies {
    /// In the index, beside the work area.
    Index(Arc<dyn WritableNode>),
    /// Among the pseudo-links of a branch of AuFS.
    Plinks(Arc<Plinks>),
}

impl Copies {
    /// The copy in a slot, if there is one.
    pub fn find(&self, slot: &Slot) -> Result<Option<Found<dyn WritableNode>>> {
        match (self, slot) {
            (Copies::Index(index), Slot::Index(name)) => index.lookup_writable(name),
            (Copies::Plinks(plinks), Slot::Plink { number, .. }) => plinks.copy(*number),
            (Copies::Index(_), Slot::Plink { .. }) | (Copies::Plinks(_), Slot::Index(_)) => {
                Ok(None)
            }
        }
    }

    /// Takes a copy away that has no names any more.
    pub fn remove(&self, slot: &Slot, copy: &Arc<dyn WritableNode>) -> Result<()> {
        match (self, slot) {
            (Copies::Index(index), Slot::Index(name)) => {
                index.remove(name, Removal::NonDirectory, Some(&**copy))
            }
            (Copies::Plinks(plinks), Slot::Plink { number, .. }) => {
                plinks.remove(*number, Some(&**copy))
            }
            (Copies::Index(_), Slot::Plink { .. }) | (Copies::Plinks(_), Slot::Index(_)) => Ok(()),
        }
    }

    /// A copy that has lost its name goes by its entry here.
    pub fn hold(&self, slot: &Slot, copy: &Arc<dyn WritableNode>) -> Result<()> {
        match (self, slot) {
            (Copies::Index(index), Slot::Index(name)) => copy.relocate(&**index, name),
            (Copies::Plinks(plinks), Slot::Plink { number, .. }) => match plinks.entry(*number) {
                Some((dir, name)) => copy.relocate(&**dir, &name),
                None => Ok(()),
            },
            (Copies::Index(_), Slot::Plink { .. }) | (Copies::Plinks(_), Slot::Index(_)) => Ok(()),
        }
    }
}

impl Slot {
    /// Links of the copy in it that are no names.
    pub fn own_links(&self) -> u64 {
        match self {
            Slot::Index(_) => 1,
            Slot::Plink { .. } => OWN_LINKS,
        }
    }
}

impl Union {
    /// Opens what keeps the names of lower files together, if that is asked
    /// for.
    ///
    /// Errors: as [`Union::verify_index`].
    pub(super) fn open_copies(&self, target: &Target) -> Result<Option<Copies>> {
        let plinks = self.options.plinks == Asked::Keep;
        Ok(match (self.options.index, target.dialect) {
            (Index::On, _) => Some(Copies::Index(self.open_index(target)?)),
            (Index::Off, Dialect::Aufs(_)) if plinks => {
                let plinks = Plinks::open(target)?;
                self.note_plinks(&plinks);
                Some(Copies::Plinks(Arc::new(plinks)))
            }
            (Index::Off, Dialect::Aufs(_)) => {
                Plinks::tell_unheeded(target)?;
                None
            }
            (Index::Off, Dialect::Overlay(_) | Dialect::Containers(_)) => None,
        })
    }
}

/// How many names the union has for a copy.
pub(super) fn links_of(
    target: &Target,
    indexed: &Indexed,
    copy: &dyn Node,
    attr: &Attr,
) -> Result<u64> {
    match indexed.slot {
        Slot::Index(_) => union_links(target, copy, attr, indexed.lower_links),
        Slot::Plink { .. } => Ok(attr.nlink.saturating_sub(OWN_LINKS)),
    }
}
