//! Owners that the objects of a branch do not have themselves: for servers
//! that may not give files away, or not on this filesystem.
//!
//! [`readable`] and [`writable`] put this around any storage; a branch that
//! needs none of it is not wrapped, and pays nothing. There are two ways:
//!
//! - [`Owners::In`]: owner, mode and kind of each object stand in an extended
//!   attribute of it ([`Attribute`]), as the container tools store them. The
//!   object itself belongs to the server, which can always work with it, and
//!   gives nobody else more than its mode says. A device, a fifo or a socket
//!   is a regular file whose attribute says what it is. Attributes that would
//!   need a privilege, or speak of owners (`security.*`, ACLs), are stored
//!   under the same prefix, so that only readers of the attribute obey them.
//! - [`Owners::WherePermitted`]: the objects have their owners themselves, and
//!   those that the process may not give are left as they are. For unions that
//!   show one owner for all.
//!
//! A symlink carries no `user.*` attribute: with one of those its owner is the
//! object's own, given where the process may, else the server's. So it is with
//! fuse-overlayfs and containers/storage.
//!
//! Locks: one of the stripes of `Shared`, around the reading and writing of
//! one attribute. A leaf but for the locks of the storage below.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::attr::{Attr, FileKind, Owner};
use crate::error::{Errno, Error, Result};
use crate::layer::{Node, Storage, WritableStorage};
use crate::sys;

mod attribute;
mod change;
mod file;
mod make;
mod node;
mod storage;
mod write;
mod xattr;

pub use attribute::Attribute;
use storage::{OwnedStorage, OwnedUpper};

/// Where a branch stores the owners of its objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// In this attribute.
    In(Attribute),
    /// In the objects; these ids as far as the process may give them.
    WherePermitted(Loose),
}

/// The ids that an object need not keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loose {
    /// The owner.
    Users,
    /// The group.
    Groups,
    /// Both.
    Both,
}

impl Loose {
    /// Whether owners need not be kept.
    fn users(self) -> bool {
        match self {
            Loose::Users | Loose::Both => true,
            Loose::Groups => false,
        }
    }

    /// Whether groups need not be kept.
    fn groups(self) -> bool {
        match self {
            Loose::Groups | Loose::Both => true,
            Loose::Users => false,
        }
    }
}

/// `storage` with owners as its attributes say.
///
/// ```
/// use std::sync::Arc;
/// use overlay_core::layer::owners::{self, Attribute, Owners};
/// use overlay_core::layer::{Node, SetXattr, Storage, WritableNode, WritableStorage};
/// use overlay_core::{MemStorage, Name};
///
/// let layer = MemStorage::new();
/// layer.write("tool", b"#!/bin/sh")?;
/// let tool = Name::new(b"tool")?;
/// let node = WritableStorage::root(&*layer).lookup_writable(tool)?.expect("just made").node;
/// node.set_xattr(Attribute::Containers.name(), b"5:6:4755:file", SetXattr::Any)?;
///
/// let shown = owners::readable(layer, Owners::In(Attribute::Containers));
/// let attr = shown.root().attr_of(tool)?.expect("it is still there");
/// assert_eq!((attr.uid, attr.gid, attr.mode), (5, 6, 0o4755));
/// # Ok::<(), overlay_core::Error>(())
/// ```
pub fn readable(storage: Arc<dyn Storage>, owners: Owners) -> Arc<dyn Storage> {
    Arc::new(OwnedStorage::new(storage, Shared::new(owners)))
}

/// `storage` with owners read and stored as `owners` says.
///
/// [`Owners::In`] needs a filesystem that stores the attribute: see
/// [`Capabilities`](crate::layer::Capabilities).
pub fn writable(storage: Arc<dyn WritableStorage>, owners: Owners) -> Arc<dyn WritableStorage> {
    Arc::new(OwnedUpper::new(storage, Shared::new(owners)))
}

/// The ids that stand for owners which a user namespace, or a mapping, lacks;
/// see `proc_sys_kernel(5)`.
pub fn overflow() -> Owner {
    sys::proc::overflow_owner()
}

/// More than threads that change owners at the same time.
const STRIPES: usize = 64;

/// What all nodes of a wrapped storage share.
#[derive(Debug)]
struct Shared {
    owners: Owners,
    /// Who owns what this process makes.
    own: Owner,
    /// Whoever changes an object's attribute holds the stripe of its number.
    stripes: [Mutex<()>; STRIPES],
}

impl Shared {
    fn new(owners: Owners) -> Arc<Shared> {
        Arc::new(Shared {
            owners,
            own: sys::meta::process_owner(),
            stripes: std::array::from_fn(|_| Mutex::new(())),
        })
    }

    /// The lock of the object with these attributes.
    fn stripe(&self, attr: &Attr) -> MutexGuard<'_, ()> {
        // In bounds: the remainder by the array's length.
        self.stripes[(attr.ino % STRIPES as u64) as usize].lock()
    }

    /// The attribute that an object of this kind can carry.
    fn attribute_for(&self, kind: FileKind) -> Option<Attribute> {
        match self.owners {
            Owners::In(attribute) => attribute.is_for(kind).then_some(attribute),
            Owners::WherePermitted(_) => None,
        }
    }

    /// The ids that an object without the attribute need not keep.
    fn loose(&self) -> Loose {
        match self.owners {
            // What carries no attribute is a symlink, or was here before.
            Owners::In(_) => Loose::Both,
            Owners::WherePermitted(loose) => loose,
        }
    }

    /// The attribute that the object with these attributes may carry. A device
    /// 0:0 is a mark of the branch, and nobody's.
    fn attribute_on(&self, attr: &Attr) -> Option<Attribute> {
        match attr.kind == FileKind::CharDevice && attr.rdev == 0 {
            true => None,
            false => self.attribute_for(attr.kind),
        }
    }

    /// The attributes to show for `node`, whose own are `attr`.
    fn shown<N: Node + ?Sized>(&self, node: &N, attr: Attr) -> Result<Attr> {
        match self.attribute_on(&attr) {
            Some(attribute) => attribute.read(node, attr),
            None => Ok(attr),
        }
    }
}

/// Whether the process was not allowed to give an owner, or the owner has no
/// id in its user namespace.
fn is_refused(error: &Error) -> bool {
    error.is(Errno::PERM) || error.is(Errno::INVAL)
}
