//! What one branch stores: objects and how they change. No merging, no
//! hiding, no whiteout logic: a whiteout is a device node like any other here.
//!
//! Two backends implement these traits: [`dir`] (a directory of the host, by
//! descriptors, one component at a time) and [`mem`] (in memory, for embedding,
//! tests and lessons). The conformance suite in the workspace's `tests` holds
//! both to the words below. [`owners`] goes around either, where objects have
//! other owners than the process may give them.
//!
//! A **node** is a handle on one object. It stays right when the object is
//! renamed through [`WritableNode::rename`] (the node is told), and keeps
//! working after the object was removed if it was named in the removal.
//! A node of the directory backend costs no descriptor: it knows its parent
//! and its name, and opens what it needs.

use std::any::Any;
use std::fmt::Debug;
use std::ops::ControlFlow;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::attr::{Attr, FileKind, Owner, SetAttr, StatFs};
use crate::error::Result;
use crate::handle::{FileHandle, Identity};
use crate::name::Name;

mod acl;
mod copy_data;
pub mod dir;
pub mod mem;
pub mod owners;

pub(crate) use copy_data::copy_data;

pub use crate::how::{RawEntry, RenameMode, SeekTo, SetXattr};

/// An object found by name, with its attributes at that moment.
#[derive(Debug, Clone)]
pub struct Found<N: ?Sized> {
    /// The object.
    pub node: Arc<N>,
    /// Its attributes.
    pub attr: Attr,
}

/// One object as one branch stores it.
///
/// Methods that need a directory fail with `ENOTDIR` on anything else.
pub trait Node: Any + Debug + Send + Sync {
    /// The attributes; a symlink is not followed.
    fn attr(&self) -> Result<Attr>;

    /// The attributes of the entry `name` of this directory; `None` if there
    /// is none. Never follows a symlink. Cheaper than [`Node::lookup`].
    fn attr_of(&self, name: &Name) -> Result<Option<Attr>>;

    /// The entry `name` of this directory; `None` if there is none.
    fn lookup(&self, name: &Name) -> Result<Option<Found<dyn Node>>>;

    /// Calls `each` for every entry but `.` and `..`, in the branch's order,
    /// until it breaks. An error in the middle is an error, never the end.
    fn entries(&self, each: &mut dyn FnMut(RawEntry<'_>) -> ControlFlow<()>) -> Result<()>;

    /// Opens a regular file. On a branch that is not writable anything but
    /// [`Access::Read`] fails with `EROFS`; reading never changes the atime
    /// of such a branch where the process may avoid it.
    fn open(&self, access: Access) -> Result<Arc<dyn OpenFile>>;

    /// The target of a symlink; `EINVAL` for anything else.
    fn link_target(&self) -> Result<Vec<u8>>;

    /// The value of the extended attribute `name` (with its namespace, e.g.
    /// `b"user.note"`); `None` if unset, or if the filesystem has none such.
    fn xattr(&self, name: &[u8]) -> Result<Option<Vec<u8>>>;

    /// The names of all extended attributes that the process may see.
    fn xattr_names(&self) -> Result<Vec<Vec<u8>>>;

    /// The state of the filesystem below.
    fn stat_fs(&self) -> Result<StatFs>;

    /// Whether this object, whose attributes are `_attr`, may have another
    /// owner than they say, because its own has no id for this process (see
    /// `user_namespaces(7)`). Then a copy of it would change hands.
    fn hides_owner(&self, _attr: &Attr) -> Result<bool> {
        Ok(false)
    }

    /// A descriptor of this directory, for whoever has to be told of changes in
    /// it; `None` where nobody else can make any, which is the default.
    fn descriptor(&self) -> Result<Option<OwnedFd>> {
        Ok(None)
    }

    /// A name of the object that outlives renames and mounts; `None` where
    /// the branch has no such names, which is the default.
    fn handle(&self) -> Result<Option<FileHandle>> {
        Ok(None)
    }
}

/// How to open a regular file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read only.
    Read,
    /// Read and write (where the process may only write, write only).
    Write,
}

/// How a new object comes to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewKind<'a> {
    /// An empty regular file.
    Regular,
    /// An empty directory.
    Directory,
    /// A symlink to these bytes.
    Symlink(&'a [u8]),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device of this number; 0 is overlayfs' whiteout.
    CharDevice(u64),
    /// A block device of this number.
    BlockDevice(u64),
}

impl NewKind<'_> {
    /// The kind of object that this makes.
    pub fn file_kind(&self) -> FileKind {
        match self {
            NewKind::Regular => FileKind::Regular,
            NewKind::Directory => FileKind::Directory,
            NewKind::Symlink(_) => FileKind::Symlink,
            NewKind::Fifo => FileKind::Fifo,
            NewKind::Socket => FileKind::Socket,
            NewKind::CharDevice(_) => FileKind::CharDevice,
            NewKind::BlockDevice(_) => FileKind::BlockDevice,
        }
    }
}

/// A new object, whole: it is never visible with another owner, mode or
/// attributes than these. Nothing is inherited or masked behind the caller's
/// back (umask, setgid directories and default ACLs are the union's business).
#[derive(Debug, Clone, Copy)]
pub struct New<'a> {
    /// What to make.
    pub kind: NewKind<'a>,
    /// Exact permission bits (`0o7777`); ignored for symlinks.
    pub mode: u32,
    /// Exact owner.
    pub owner: Owner,
    /// Extended attributes from its first visible moment.
    pub xattrs: &'a [(&'a [u8], &'a [u8])],
}

/// What [`WritableNode::remove`] takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Anything but a directory (`unlink(2)`).
    NonDirectory,
    /// A directory that stores nothing (`rmdir(2)`).
    Directory,
}

/// One object of a branch that can be written.
///
/// Where a node is passed beside a name, it is the union's own handle on the
/// object with that name: the backend updates the handle together with the
/// change, so that no other thread can reach the wrong object through it.
pub trait WritableNode: Node {
    /// As [`Node::lookup`], with write access.
    fn lookup_writable(&self, name: &Name) -> Result<Option<Found<dyn WritableNode>>>;

    /// Makes a new object in this directory; `EEXIST` if the name is taken.
    fn create(&self, name: &Name, new: &New<'_>) -> Result<Found<dyn WritableNode>>;

    /// Gives the non-directory `node` another name in this directory: a free
    /// one (`NoReplace`, else `EEXIST`), or in one step that of another
    /// non-directory (`Replace`). Other modes are `EINVAL`.
    fn link(&self, name: &Name, node: &dyn WritableNode, mode: RenameMode) -> Result<()>;

    /// Removes an entry of this directory. `node`, if given, keeps working on
    /// the object that had this name (held by a descriptor).
    fn remove(&self, name: &Name, what: Removal, node: Option<&dyn WritableNode>) -> Result<()>;

    /// Moves an entry of this directory to `to_name` in `to`, in one step.
    /// `moved` follows to the new name. `displaced` is what the target name
    /// meant before: it is held after `Replace` and `Whiteout`, and gets the
    /// old name after `Exchange`.
    fn rename(
        &self,
        name: &Name,
        to: &dyn WritableNode,
        to_name: &Name,
        mode: RenameMode,
        moved: Option<&dyn WritableNode>,
        displaced: Option<&dyn WritableNode>,
    ) -> Result<()>;

    /// Tells this non-directory node that `name` in `dir` is another name of
    /// its object: if it lost its own, it uses this one from now on, and
    /// releases what `remove` held. A name that it has is better than this
    /// one, which may be moved at this moment.
    fn relocate(&self, dir: &dyn WritableNode, name: &Name) -> Result<()>;

    /// Changes attributes, in the order size, owner, mode, times. Setuid and
    /// setgid bits survive a change of owner only if `set.mode` says so.
    fn set_attr(&self, set: &SetAttr) -> Result<()>;

    /// Sets an extended attribute.
    fn set_xattr(&self, name: &[u8], value: &[u8], how: SetXattr) -> Result<()>;

    /// Removes an extended attribute; `ENODATA` if it is not set.
    fn remove_xattr(&self, name: &[u8]) -> Result<()>;

    /// Makes a directory's entries, or a file's data and attributes, durable.
    fn sync(&self) -> Result<()>;
}

/// What can be reached of an open regular file. All offsets and lengths are
/// in bytes.
pub trait OpenFile: Any + Debug + Send + Sync {
    /// Reads at `offset`; short only at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize>;

    /// Writes at `offset`; returns how much was written.
    fn write_at(&self, data: &[u8], offset: u64) -> Result<usize>;

    /// Sets the size.
    fn set_len(&self, len: u64) -> Result<()>;

    /// `fallocate(2)` with its `mode` bits.
    fn allocate(&self, mode: u32, offset: u64, len: u64) -> Result<()>;

    /// The next data or hole at or after `offset`; `ENXIO` past the end.
    fn seek(&self, offset: u64, to: SeekTo) -> Result<u64>;

    /// Makes the data (and with [`SyncWhat::All`] the attributes) durable.
    fn sync(&self, what: SyncWhat) -> Result<()>;

    /// Fails, once, if data of this file that the kernel had taken could not
    /// be written to the disk since it was opened or last asked. Writes
    /// nothing, and waits for nothing.
    fn written_back(&self) -> Result<()>;

    /// The attributes.
    fn attr(&self) -> Result<Attr>;

    /// The value of an extended attribute, as [`Node::xattr`]; also when the
    /// file has lost its names.
    fn xattr(&self, name: &[u8]) -> Result<Option<Vec<u8>>>;

    /// Copies up to `len` bytes from `from`, in the kernel where both files
    /// lie there; returns how many. Zero means the end of `from`.
    fn copy_range(
        &self,
        offset: u64,
        from: &dyn OpenFile,
        from_offset: u64,
        len: u64,
    ) -> Result<u64>;

    /// Makes this file share all data of `from` (`FICLONE`). `false` where
    /// the filesystem cannot, and then nothing has changed.
    fn reflink(&self, from: &dyn OpenFile) -> Result<bool>;

    /// The descriptor below, if there is one.
    fn fd(&self) -> Option<BorrowedFd<'_>>;

    /// The same, for whoever reads and writes what it holds in other ways than
    /// these; `None` where that would break what the branch promises, as of
    /// access times. The default.
    fn descriptor_to_lend(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// How much [`OpenFile::sync`] makes durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncWhat {
    /// The data and what is needed to read it (`fdatasync(2)`).
    Data,
    /// All (`fsync(2)`).
    All,
}

/// What a branch's filesystem can do, probed once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// `renameat2` takes `RENAME_WHITEOUT`.
    pub rename_whiteout: bool,
    /// `renameat2` takes `RENAME_EXCHANGE` and `RENAME_NOREPLACE`.
    pub rename_exchange: bool,
    /// A character device 0:0 can be made.
    pub whiteout_device: bool,
    /// `trusted.*` attributes can be set.
    pub trusted_xattr: bool,
    /// `user.*` attributes can be set.
    pub user_xattr: bool,
}

/// A tree that can be read.
pub trait Storage: Debug + Send + Sync {
    /// The root directory.
    fn root(&self) -> Arc<dyn Node>;

    /// The attributes of the object with this handle, wherever it lies on the
    /// branch's filesystem. `None` if it is gone, or of another filesystem.
    ///
    /// Errors: `EPERM` where the process may not ask (without
    /// `CAP_DAC_READ_SEARCH`).
    fn attr_of_handle(&self, _handle: &FileHandle) -> Result<Option<Attr>> {
        Ok(None)
    }

    /// What the UUID in the branch's handles says.
    fn identity(&self) -> Identity {
        Identity::OfDevice
    }
}

/// A tree that can be written, with a work area on the same filesystem where
/// objects are made before they become visible.
pub trait WritableStorage: Debug + Send + Sync {
    /// The root directory.
    fn root(&self) -> Arc<dyn WritableNode>;

    /// What the filesystem can do.
    fn capabilities(&self) -> Capabilities;

    /// Makes a nameless object in the work area. Use [`Staged::new`].
    fn stage(&self, new: &New<'_>) -> Result<Arc<dyn WritableNode>>;

    /// Moves a staged object to `name` in `dir`. After `Exchange`, what was
    /// there lies in the work area and is returned as a node of it
    /// (`displaced` itself, if given). Use [`Staged::publish`].
    fn publish(
        &self,
        staged: &dyn WritableNode,
        dir: &dyn WritableNode,
        name: &Name,
        mode: RenameMode,
        displaced: Option<&dyn WritableNode>,
    ) -> Result<Option<Arc<dyn WritableNode>>>;

    /// Moves the entry `name` of `dir`, which is `node`, to the work area in
    /// one step: it is a staged object from then on. Use [`Staged::withdraw`].
    fn withdraw(&self, dir: &dyn WritableNode, name: &Name, node: &dyn WritableNode) -> Result<()>;

    /// Removes a staged object, with all that is in it. With
    /// [`Discard::Keep`] the node keeps working on the nameless object.
    fn discard(&self, staged: &dyn WritableNode, keep: Discard) -> Result<()>;

    /// Removes everything that an earlier process left in the work area.
    fn clear_work(&self) -> Result<()>;

    /// The directory of the index, beside the work area and never cleared;
    /// made if missing. Objects get there by [`Staged::publish`] and
    /// [`WritableNode::link`].
    fn index(&self) -> Result<Arc<dyn WritableNode>>;

    /// The directory that holds the work area (as `work`) and the index (as
    /// `index`, once it was asked for), to be looked after while nothing else
    /// uses the storage. `None` where there is none.
    fn workdir(&self) -> Result<Option<Arc<dyn WritableNode>>>;

    /// As [`Storage::attr_of_handle`].
    fn attr_of_handle(&self, handle: &FileHandle) -> Result<Option<Attr>>;

    /// Leaves a sign in the work area that nothing here is made durable. It
    /// stays until a person removes it, and the next one to open the tree for
    /// writing refuses ([`Error::Incompatible`](crate::Error::Incompatible)).
    /// Does nothing where nothing outlives the process.
    fn mark_volatile(&self) -> Result<()>;
}

/// What becomes of the node when its staged object loses its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discard {
    /// It lives on, held by a descriptor, until it is dropped.
    Keep,
    /// It is not used any more.
    Forget,
}

/// An object in the work area: becomes visible by [`Staged::publish`], or
/// vanishes when dropped.
#[derive(Debug)]
pub struct Staged {
    storage: Arc<dyn WritableStorage>,
    node: Option<Arc<dyn WritableNode>>,
}

impl Staged {
    /// Makes `new` in the work area of `storage`.
    pub fn new(storage: &Arc<dyn WritableStorage>, new: &New<'_>) -> Result<Staged> {
        let node = storage.stage(new)?;
        Ok(Staged {
            storage: Arc::clone(storage),
            node: Some(node),
        })
    }

    /// The object.
    pub fn node(&self) -> &Arc<dyn WritableNode> {
        self.node
            .as_ref()
            .expect("only publish and keep take the node, and they consume self")
    }

    /// Makes the object visible as `name` in `dir`, in one step, and returns
    /// its node. What `Exchange` displaces is removed, with all in it;
    /// `displaced` keeps working. On failure nothing has changed and the
    /// staged object is gone.
    pub fn publish(
        mut self,
        dir: &dyn WritableNode,
        name: &Name,
        mode: RenameMode,
        displaced: Option<&dyn WritableNode>,
    ) -> Result<Arc<dyn WritableNode>> {
        let out = self
            .storage
            .publish(&**self.node(), dir, name, mode, displaced)?;
        let node = Arc::clone(self.node());
        self.node = None;
        if let Some(out) = out {
            let keep = match displaced {
                Some(_) => Discard::Keep,
                None => Discard::Forget,
            };
            // The change is visible: failing to tidy up must not undo it.
            // What stays is in the work area and cleared at the next mount.
            let node: &dyn WritableNode = displaced.unwrap_or(&*out);
            if let Err(error) = self.storage.discard(node, keep) {
                tracing::warn!(%error, "a displaced object stays in the work area");
            }
        }
        Ok(node)
    }

    /// Swaps the object with `there`, which is `name` in `dir`, in one step.
    /// Returns its node, and `there` as what is staged now: to be put back by
    /// [`Staged::publish`], or given up by [`Staged::keep`].
    pub fn swap(
        mut self,
        dir: &dyn WritableNode,
        name: &Name,
        there: &Arc<dyn WritableNode>,
    ) -> Result<(Arc<dyn WritableNode>, Staged)> {
        let mode = RenameMode::Exchange;
        self.storage
            .publish(&**self.node(), dir, name, mode, Some(&**there))?;
        let node = Arc::clone(self.node());
        self.node = Some(Arc::clone(there));
        Ok((node, self))
    }

    /// Takes `node`, which is `name` in `dir`, out of the tree with all that is
    /// in it, in one step: to be put back by [`Staged::publish`], or given up.
    pub fn withdraw(
        storage: &Arc<dyn WritableStorage>,
        dir: &dyn WritableNode,
        name: &Name,
        node: &Arc<dyn WritableNode>,
    ) -> Result<Staged> {
        storage.withdraw(dir, name, &**node)?;
        Ok(Staged {
            storage: Arc::clone(storage),
            node: Some(Arc::clone(node)),
        })
    }

    /// Gives up the place but keeps the object: a nameless file, as an
    /// unlinked one.
    pub fn keep(mut self) -> Result<Arc<dyn WritableNode>> {
        self.storage.discard(&**self.node(), Discard::Keep)?;
        let node = Arc::clone(self.node());
        self.node = None;
        Ok(node)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(node) = self.node.take()
            && let Err(error) = self.storage.discard(&*node, Discard::Forget)
        {
            tracing::warn!(%error, "a staged object stays in the work area");
        }
    }
}
