//! Where the layers of a stack store owners, and whether that is believed.

use std::sync::Arc;

use super::error::SetupError;
use super::may_write_trusted;
use super::place::Place;
use crate::error::Error;
use crate::layer::owners::{Attribute, Loose, Owners, readable, writable};
use crate::layer::{Node, Storage, WritableStorage};

/// Where owners, modes and kinds are stored, and what becomes of owners that
/// cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ownership {
    /// In attributes, or in the objects themselves.
    pub attributes: OwnerAttributes,
    /// What becomes of an owner that this process may not give to an object.
    pub keeping: Keeping,
}

/// Whether owners are stored in attributes: the mount option
/// `xattr_permissions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OwnerAttributes {
    /// In layers whose root says so ([`Attribute::of_tree`]). Root of the first
    /// user namespace is refused such a layer, unless only root can have
    /// written its attributes: they make files root's, setuid too.
    #[default]
    AsMarked,
    /// Never: such attributes mean nothing.
    Ignored,
    /// In layers whose root says so, and in the upper layer: in the attribute
    /// that its root has, else in this one.
    Written(Attribute),
}

/// What becomes of an owner that this process may not give to an object of the
/// upper layer, where it is not stored in an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keeping {
    /// The change fails, and so does the copy-up: nothing changes hands.
    #[default]
    Always,
    /// These ids are this process' then. For unions that show one owner, or
    /// one group, for all objects.
    WherePermitted(Loose),
}

impl Ownership {
    pub(super) fn of_lower(
        self,
        storage: Arc<dyn Storage>,
        place: &Place,
    ) -> Result<Arc<dyn Storage>, SetupError> {
        let root = storage.root();
        let marked = || Attribute::of_tree(&*root).map_err(|error| place.refused(error));
        let owners = match self.attributes {
            OwnerAttributes::Ignored => None,
            OwnerAttributes::AsMarked => believed(marked()?, place)?,
            OwnerAttributes::Written(_) => marked()?,
        };
        let shown = match self.owners(owners) {
            Some(owners) => readable(storage, owners),
            None => storage,
        };
        legible(&*shown.root(), owners, place)?;
        Ok(shown)
    }

    pub(super) fn of_upper(
        self,
        storage: Arc<dyn WritableStorage>,
        place: &Place,
    ) -> Result<Arc<dyn WritableStorage>, SetupError> {
        let root = storage.root();
        let marked = || Attribute::of_tree(&*root).map_err(|error| place.refused(error));
        let attribute = match self.attributes {
            OwnerAttributes::Ignored => None,
            OwnerAttributes::AsMarked => believed(marked()?, place)?,
            OwnerAttributes::Written(attribute) => marked()?.or(Some(attribute)),
        };
        if let Some(attribute) = attribute {
            require(attribute, &*storage, place)?;
        }
        let shown = match self.owners(attribute) {
            Some(owners) => writable(storage, owners),
            None => storage,
        };
        legible(&*shown.root(), attribute, place)?;
        Ok(shown)
    }

    fn owners(self, attribute: Option<Attribute>) -> Option<Owners> {
        match (attribute, self.keeping) {
            (Some(attribute), _) => Some(Owners::In(attribute)),
            (None, Keeping::WherePermitted(loose)) => Some(Owners::WherePermitted(loose)),
            (None, Keeping::Always) => None,
        }
    }
}

/// What a layer says without having been asked.
fn believed(marked: Option<Attribute>, place: &Place) -> Result<Option<Attribute>, SetupError> {
    match marked {
        Some(attribute) if !attribute.is_privileged() && may_write_trusted() => {
            Err(SetupError::OwnersInAttributes {
                role: place.role,
                path: place.path.clone(),
                attribute: attribute.name().escape_ascii().to_string(),
            })
        }
        marked => Ok(marked),
    }
}

/// The root's own, for a layer whose root cannot be shown cannot be at all.
fn legible(root: &dyn Node, owners: Option<Attribute>, place: &Place) -> Result<(), SetupError> {
    match (root.attr(), owners) {
        (Ok(_), _) => Ok(()),
        (Err(Error::Damaged(_)), Some(attribute)) => Err(SetupError::OwnersIllegible {
            role: place.role,
            path: place.path.clone(),
            attribute: attribute.name().escape_ascii().to_string(),
        }),
        (Err(error), _) => Err(place.refused(error)),
    }
}

fn require(
    attribute: Attribute,
    storage: &dyn WritableStorage,
    place: &Place,
) -> Result<(), SetupError> {
    let can = storage.capabilities();
    let path = place.path.clone();
    match attribute.is_privileged() {
        // Both need the same capability.
        true if !can.trusted_xattr => Err(SetupError::NoSecurityXattr { path }),
        false if !can.user_xattr => Err(SetupError::NoUserXattr { path }),
        true | false => Ok(()),
    }
}
