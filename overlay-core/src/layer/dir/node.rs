//! One object of a directory branch, and the way to it.

use std::any::Any;
use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::{RwLock, RwLockWriteGuard};
use rustix::fs::OFlags;

use super::upper::Writer;
use super::{Descriptor, Descriptors};
use crate::attr::{FileKind, Owner};
use crate::error::{Error, Result};
use crate::layer::WritableNode;
use crate::name::{Name, NameBuf};
use crate::sys::{self, At, Object};

/// What all nodes of a branch share.
#[derive(Debug)]
pub(super) struct Branch {
    pub(super) descriptors: Arc<Descriptors>,
    pub(super) reading: Reading,
    pub(super) xattrs: Xattrs,
    /// What stands for owners without an id here; `None` where all have one.
    pub(super) overflow: Option<Owner>,
    /// The identity of the filesystem, if it tells.
    pub(super) filesystem: Option<sys::handle::Filesystem>,
    /// The root, open for `open_by_handle_at(2)`, which takes no `O_PATH`
    /// descriptor; once it was needed.
    pub(super) by_handle: OnceLock<OwnedFd>,
    /// `None` for a branch that is only read.
    writer: Option<Writer>,
}

/// How extended attributes are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Xattrs {
    /// By `getxattrat(2)` and `listxattrat(2)`, which came together.
    At,
    /// Through paths below `/proc/self/fd`.
    Proc,
}

impl Xattrs {
    /// Tries it on a directory. Anything but a value or none means that the
    /// call is not there, or kept from us by a filter of system calls.
    pub(super) fn probe(dir: BorrowedFd<'_>) -> Xattrs {
        match sys::xattr::get_directory(dir, b"user.overlay.probe") {
            Ok(_) => Xattrs::At,
            Err(error) => {
                tracing::debug!(%error, "no getxattrat: attributes are read through /proc");
                Xattrs::Proc
            }
        }
    }
}

/// How access times are kept as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// The mount sees to it, or nobody minds (an upper).
    LeavesNoTrace,
    /// `O_NOATIME` at every open, where the file lets us.
    AskForNoAtime,
    /// The same for directories alone.
    AskForDirectories,
}

impl Branch {
    pub(super) fn read_only(
        descriptors: Arc<Descriptors>,
        reading: Reading,
        root: BorrowedFd<'_>,
    ) -> Branch {
        Branch {
            descriptors,
            reading,
            overflow: (!sys::proc::in_first_user_namespace()).then(sys::proc::overflow_owner),
            xattrs: Xattrs::probe(root),
            filesystem: identity(root),
            by_handle: OnceLock::new(),
            writer: None,
        }
    }

    pub(super) fn writable(
        descriptors: Arc<Descriptors>,
        writer: Writer,
        reading: Reading,
        root: BorrowedFd<'_>,
    ) -> Branch {
        Branch {
            descriptors,
            reading,
            // Nothing is copied from it.
            overflow: None,
            xattrs: Xattrs::probe(root),
            filesystem: identity(root),
            by_handle: OnceLock::new(),
            writer: Some(writer),
        }
    }

    /// What writing needs; `EROFS` on a branch that is only read.
    pub(super) fn writer(&self) -> Result<&Writer> {
        self.writer.as_ref().ok_or(Error::ReadOnly)
    }

    pub(super) fn is_writable(&self) -> bool {
        self.writer.is_some()
    }
}

/// Without it objects have no handles: numbers then last as long as the mount.
fn identity(root: BorrowedFd<'_>) -> Option<sys::handle::Filesystem> {
    match sys::handle::filesystem(root) {
        Ok(identity) => identity,
        Err(error) => {
            tracing::debug!(%error, "no identity of the filesystem");
            None
        }
    }
}

/// Where an object is found.
#[derive(Debug)]
pub(super) enum Place {
    /// By its name in a directory.
    At {
        /// The directory.
        dir: Arc<DirNode>,
        /// The name.
        name: NameBuf,
    },
    /// A root, or removed while in use. `None` only in a node that is being
    /// dropped: an enum of three variants would be larger, in every node.
    Held(Option<Arc<Descriptor>>),
}

/// One object of a directory branch.
pub struct DirNode {
    me: Weak<DirNode>,
    branch: Arc<Branch>,
    /// Protects the place together with the entry on disk; see the module's
    /// words on locks.
    place: RwLock<Place>,
    /// A directory's cached descriptor. A leaf lock.
    slot: RwLock<Option<Arc<Descriptor>>>,
    kind: FileKind,
}

/// A descriptor, or the directory whose descriptor is needed first.
enum Step {
    Open(Arc<Descriptor>),
    First(Arc<DirNode>),
}

impl DirNode {
    pub(super) fn root(branch: &Arc<Branch>, descriptor: Arc<Descriptor>) -> Arc<DirNode> {
        DirNode::build(branch, Place::Held(Some(descriptor)), FileKind::Directory)
    }

    /// The node of an entry that was just seen in this directory.
    pub(super) fn child(&self, name: &Name, kind: FileKind) -> Result<Arc<DirNode>> {
        let place = Place::At {
            dir: self.me()?,
            name: name.to_owned(),
        };
        Ok(DirNode::build(&self.branch, place, kind))
    }

    fn build(branch: &Arc<Branch>, place: Place, kind: FileKind) -> Arc<DirNode> {
        Arc::new_cyclic(|me| DirNode {
            me: Weak::clone(me),
            branch: Arc::clone(branch),
            place: RwLock::new(place),
            slot: RwLock::new(None),
            kind,
        })
    }

    /// The `Arc` around this node; it exists for as long as `self` is borrowed
    /// from one, and nodes live nowhere else.
    pub(super) fn me(&self) -> Result<Arc<DirNode>> {
        self.me.upgrade().ok_or(Error::Stale)
    }

    pub(super) fn branch(&self) -> &Arc<Branch> {
        &self.branch
    }

    pub(super) fn kind(&self) -> FileKind {
        self.kind
    }

    pub(super) fn place(&self) -> &RwLock<Place> {
        &self.place
    }

    pub(super) fn slot(&self) -> &RwLock<Option<Arc<Descriptor>>> {
        &self.slot
    }

    /// The node behind `node` if it is one of this branch; else `EXDEV`.
    pub(super) fn sibling<'a>(&self, node: &'a dyn WritableNode) -> Result<&'a DirNode> {
        let any: &dyn Any = node;
        any.downcast_ref::<DirNode>()
            .filter(|node| Arc::ptr_eq(&node.branch, &self.branch))
            .ok_or(Error::CrossDevice)
    }

    /// A directory's descriptor if it is at hand.
    pub(super) fn cached(&self) -> Option<Arc<Descriptor>> {
        let descriptor = self.slot.read().as_ref().map(Arc::clone)?;
        descriptor.mark_used();
        Some(descriptor)
    }

    /// A descriptor of this directory; `ENOTDIR` for anything else.
    ///
    /// Goes up to the nearest directory that has one, then down again, in a
    /// loop: a tree may be deeper than a stack.
    pub(super) fn directory(&self) -> Result<Arc<Descriptor>> {
        if !self.kind.is_dir() {
            return Err(Error::NotDirectory);
        }
        if let Some(descriptor) = self.cached() {
            return Ok(descriptor);
        }
        let mut to_open = vec![self.me()?];
        let mut last: Option<(Arc<DirNode>, Arc<Descriptor>)> = None;
        let near = self.branch.descriptors.worth_keeping();
        while let Some(node) = to_open.last() {
            let keep = to_open.len() <= near;
            match node.open_from(last.as_ref(), keep)? {
                Step::First(parent) => to_open.push(parent),
                Step::Open(descriptor) => {
                    // In hand, for it may not be kept, or not for long.
                    last = to_open.pop().map(|node| (node, descriptor));
                }
            }
        }
        last.map(|(_, descriptor)| descriptor).ok_or(Error::Stale)
    }

    /// One step of [`DirNode::directory`]: `at_hand` is a directory with its
    /// descriptor, to be used if it is the parent; the new one is cached if
    /// `keep` says so.
    fn open_from(
        &self,
        at_hand: Option<&(Arc<DirNode>, Arc<Descriptor>)>,
        keep: bool,
    ) -> Result<Step> {
        if let Some(descriptor) = self.cached() {
            return Ok(Step::Open(descriptor));
        }
        let place = self.place.read();
        let (dir, name) = match &*place {
            Place::Held(Some(descriptor)) => return Ok(Step::Open(Arc::clone(descriptor))),
            Place::Held(None) => return Err(Error::Stale),
            Place::At { dir, name } => (dir, name),
        };
        let Some(parent) = descriptor_of(dir, at_hand) else {
            return Ok(Step::First(Arc::clone(dir)));
        };
        let fd = self.branch.descriptors.with_room(|| {
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            sys::open::entry(At::new(parent.fd(), name), flags)
        })?;
        drop(place);
        let descriptor = Descriptor::new(fd);
        Ok(Step::Open(match keep {
            true => self.keep(descriptor)?,
            false => descriptor,
        }))
    }

    /// Puts a descriptor of this directory into the cache, unless another
    /// thread was faster.
    fn keep(&self, descriptor: Arc<Descriptor>) -> Result<Arc<Descriptor>> {
        {
            let mut slot = self.slot.write();
            if let Some(there) = &*slot {
                return Ok(Arc::clone(there));
            }
            *slot = Some(Arc::clone(&descriptor));
        }
        self.branch.descriptors.admit(&self.me()?);
        Ok(descriptor)
    }

    /// Runs `call` on this object, with its place locked for reading where it
    /// is found by name. `call` must take no lock of a place.
    pub(super) fn object<T>(&self, call: impl FnOnce(Object<'_>) -> Result<T>) -> Result<T> {
        if self.kind.is_dir()
            && let Some(descriptor) = self.cached()
        {
            return call(Object::Held(descriptor.fd()));
        }
        let mut at_hand: Option<(Arc<DirNode>, Arc<Descriptor>)> = None;
        loop {
            let place = self.place.read();
            let (dir, name) = match &*place {
                Place::Held(Some(descriptor)) => return call(Object::Held(descriptor.fd())),
                Place::Held(None) => return Err(Error::Stale),
                Place::At { dir, name } => (dir, name),
            };
            if let Some(parent) = descriptor_of(dir, at_hand.as_ref()) {
                return call(Object::Entry(At::new(parent.fd(), name)));
            }
            let dir = Arc::clone(dir);
            drop(place);
            let descriptor = dir.directory()?;
            at_hand = Some((dir, descriptor));
        }
    }

    /// A descriptor that holds this object wherever it goes. `at` is where it
    /// is: the caller has the write lock of its place.
    pub(super) fn hold(&self, at: At<'_>) -> Result<Arc<Descriptor>> {
        match self.cached() {
            Some(descriptor) => Ok(descriptor),
            None => {
                let open = || sys::open::entry(at, OFlags::PATH);
                self.branch.descriptors.with_room(open).map(Descriptor::new)
            }
        }
    }
}

fn descriptor_of(
    dir: &Arc<DirNode>,
    at_hand: Option<&(Arc<DirNode>, Arc<Descriptor>)>,
) -> Option<Arc<Descriptor>> {
    match at_hand {
        Some((node, descriptor)) if Arc::ptr_eq(node, dir) => Some(Arc::clone(descriptor)),
        Some(_) | None => dir.cached(),
    }
}

/// The write locks of up to two nodes' places, taken in the order of their
/// addresses. One lock if both are the same node: the first has it.
pub(super) struct Places<'a> {
    pub(super) first: Option<RwLockWriteGuard<'a, Place>>,
    pub(super) second: Option<RwLockWriteGuard<'a, Place>>,
}

impl<'a> Places<'a> {
    pub(super) fn lock(first: Option<&'a DirNode>, second: Option<&'a DirNode>) -> Places<'a> {
        let write = |node: &'a DirNode| node.place.write();
        match (first, second) {
            (Some(a), Some(b)) if std::ptr::eq(a, b) => Places {
                first: Some(write(a)),
                second: None,
            },
            (Some(a), Some(b)) if std::ptr::from_ref(b) < std::ptr::from_ref(a) => {
                let second = Some(write(b));
                Places {
                    first: Some(write(a)),
                    second,
                }
            }
            (a, b) => Places {
                first: a.map(write),
                second: b.map(write),
            },
        }
    }
}

impl Drop for DirNode {
    /// Lets go of the parents one by one: dropped through each other, a deep
    /// tree would overflow the stack.
    fn drop(&mut self) {
        let mut parent = take_parent(self.place.get_mut());
        while let Some(node) = parent {
            parent = Arc::into_inner(node).and_then(|mut node| take_parent(node.place.get_mut()));
        }
    }
}

fn take_parent(place: &mut Place) -> Option<Arc<DirNode>> {
    match std::mem::replace(place, Place::Held(None)) {
        Place::At { dir, .. } => Some(dir),
        Place::Held(_) => None,
    }
}

impl fmt::Debug for DirNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("DirNode");
        out.field("kind", &self.kind);
        match self.place.try_read().as_deref() {
            Some(Place::At { name, .. }) => out.field("name", name),
            Some(Place::Held(_)) => out.field("name", &"(held)"),
            None => out.field("name", &"(locked)"),
        };
        out.finish_non_exhaustive()
    }
}
