//! A branch in memory: for embedding, for tests, and to read how a branch
//! behaves without a kernel in between.
//!
//! It behaves as a Linux filesystem mounted `noatime` would: hard links, times
//! of parents, removed objects that live on while a node names them, sparse
//! files, all modes of rename. What it does not do: permissions (a branch is
//! the union's own) and quotas.
//!
//! Locks: one per storage, `Shared.tree`, a leaf. Nothing calls out under it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::attr::{Attr, Owner, Protection};
use crate::error::{Error, Result};
use crate::handle::FileHandle;
use crate::layer::{
    Capabilities, Discard, New, NewKind, Node, RenameMode, Storage, WritableNode, WritableStorage,
};
use crate::name::Name;

mod acl;
mod file;
mod node;
mod pages;
mod rename;
mod tree;

use node::{Face, MemNode};
use tree::Tree;

/// A tree in memory, readable and writable.
///
/// ```
/// use overlay_core::Name;
/// use overlay_core::layer::{Access, Storage, mem::MemStorage};
///
/// let storage = MemStorage::new();
/// storage.write("etc/hostname", b"union\n")?;
/// let root = Storage::root(&*storage);
/// let etc = root.lookup(Name::new(b"etc")?)?.expect("just made").node;
/// let file = etc.lookup(Name::new(b"hostname")?)?.expect("just made").node;
/// let mut buf = [0; 16];
/// assert_eq!(file.open(Access::Read)?.read_at(&mut buf, 0)?, 6);
/// # Ok::<(), overlay_core::Error>(())
/// ```
#[derive(Debug)]
pub struct MemStorage {
    shared: Arc<Shared>,
}

/// What all nodes of a storage share.
#[derive(Debug)]
struct Shared {
    /// The `st_dev` of everything here.
    dev: u64,
    /// What it says is available, in pages.
    available: AtomicU64,
    tree: RwLock<Tree>,
}

/// As tmpfs without limits, but for a figure that programs can take: blocks,
/// and files.
const PLENTY: u64 = 1 << 40;

/// The next storage's `st_dev`: a counter and nothing else, so that two
/// storages of a process differ. Far above the kernel's device numbers.
static NEXT_DEV: AtomicU64 = AtomicU64::new(1 << 48);

impl MemStorage {
    /// An empty tree. Its root belongs to uid 0 and has mode 0755.
    pub fn new() -> Arc<MemStorage> {
        Arc::new(MemStorage {
            shared: Arc::new(Shared {
                dev: NEXT_DEV.fetch_add(1, Ordering::Relaxed),
                available: AtomicU64::new(PLENTY),
                tree: RwLock::new(Tree::new()),
            }),
        })
    }

    /// Says that so many bytes are available; rounded down to pages of 4096
    /// bytes. Nothing is held to it.
    pub fn say_available(&self, bytes: u64) {
        let pages = bytes / pages::PAGE;
        self.shared.available.store(pages, Ordering::Relaxed);
    }

    /// Puts a file (mode 0644) with these bytes at `path`, a slash between
    /// names. Missing directories are made; a file there is overwritten.
    pub fn write(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let mut tree = self.shared.tree.write();
        let (parents, name) = path
            .trim_matches('/')
            .rsplit_once('/')
            .unwrap_or(("", path));
        let name = Name::new(name.trim_matches('/').as_bytes())?;
        let dir = make_path(&mut tree, parents)?;
        let file = match tree.child(dir, name)? {
            Some(file) => file,
            None => tree.create(dir, name, &plain(NewKind::Regular, 0o644))?,
        };
        tree.file_mut(file)?.set_len(0);
        tree.file_mut(file)?.write(0, bytes);
        Ok(())
    }

    /// Makes the directory `path` (mode 0755) and those above, where missing.
    pub fn mkdir(&self, path: &str) -> Result<()> {
        make_path(&mut self.shared.tree.write(), path)?;
        Ok(())
    }

    /// Says of the object at `path` that it is protected. The storage itself
    /// heeds it as little as permissions; a union above it does.
    pub fn protect(&self, path: &str, protection: Protection) -> Result<()> {
        let mut tree = self.shared.tree.write();
        let mut object = Tree::ROOT;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let name = Name::new(name.as_bytes())?;
            object = tree.child(object, name)?.ok_or(Error::NotFound)?;
        }
        tree.get_mut(object)?.protection = protection;
        Ok(())
    }

    fn node(&self, ino: u64, face: Face) -> Result<Arc<MemNode>> {
        MemNode::new(&self.shared, &self.shared.tree.read(), ino, face)
    }

    fn root_node(&self, face: Face) -> Arc<MemNode> {
        match self.node(Tree::ROOT, face) {
            Ok(root) => root,
            Err(_) => unreachable!("a tree is made with its root, and nothing removes it"),
        }
    }

    fn number(&self, node: &dyn WritableNode) -> Result<u64> {
        MemNode::number_in(node, &self.shared)
    }
}

fn make_path(tree: &mut Tree, path: &str) -> Result<u64> {
    let mut dir = Tree::ROOT;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        let name = Name::new(name.as_bytes())?;
        dir = match tree.child(dir, name)? {
            Some(there) => there,
            None => tree.create(dir, name, &plain(NewKind::Directory, 0o755))?,
        };
    }
    Ok(dir)
}

fn plain(kind: NewKind<'_>, mode: u32) -> New<'_> {
    New {
        kind,
        mode,
        owner: Owner { uid: 0, gid: 0 },
        xattrs: &[],
    }
}

impl Storage for MemStorage {
    fn root(&self) -> Arc<dyn Node> {
        self.root_node(Face::ReadOnly)
    }

    fn attr_of_handle(&self, handle: &FileHandle) -> Result<Option<Attr>> {
        let own = node::handle(&self.shared, 0);
        let ino = match <[u8; 8]>::try_from(handle.bytes.as_slice()) {
            Ok(bytes) if handle.uuid == own.uuid => u64::from_le_bytes(bytes),
            Ok(_) | Err(_) => return Ok(None),
        };
        match self.shared.tree.read().attr(ino, self.shared.dev) {
            Ok(attr) => Ok(Some(attr)),
            Err(Error::Stale) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl WritableStorage for MemStorage {
    fn root(&self) -> Arc<dyn WritableNode> {
        self.root_node(Face::Writable)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            rename_whiteout: true,
            rename_exchange: true,
            whiteout_device: true,
            trusted_xattr: true,
            user_xattr: true,
        }
    }

    fn stage(&self, new: &New<'_>) -> Result<Arc<dyn WritableNode>> {
        let mut tree = self.shared.tree.write();
        let ino = tree.stage(new)?;
        Ok(MemNode::new(&self.shared, &tree, ino, Face::Writable)?)
    }

    fn publish(
        &self,
        staged: &dyn WritableNode,
        dir: &dyn WritableNode,
        name: &Name,
        mode: RenameMode,
        displaced: Option<&dyn WritableNode>,
    ) -> Result<Option<Arc<dyn WritableNode>>> {
        let (staged, dir) = (self.number(staged)?, self.number(dir)?);
        if let Some(displaced) = displaced {
            self.number(displaced)?;
        }
        let mut tree = self.shared.tree.write();
        match tree.publish(staged, dir, name, mode)? {
            Some(out) => Ok(Some(MemNode::new(
                &self.shared,
                &tree,
                out,
                Face::Writable,
            )?)),
            None => Ok(None),
        }
    }

    fn withdraw(&self, dir: &dyn WritableNode, name: &Name, node: &dyn WritableNode) -> Result<()> {
        let (dir, node) = (self.number(dir)?, self.number(node)?);
        self.shared.tree.write().withdraw(dir, name, node)
    }

    fn discard(&self, staged: &dyn WritableNode, _keep: Discard) -> Result<()> {
        // What a node names lives on in any case.
        let staged = self.number(staged)?;
        self.shared.tree.write().discard(staged)
    }

    fn clear_work(&self) -> Result<()> {
        self.shared.tree.write().clear_staged()
    }

    fn index(&self) -> Result<Arc<dyn WritableNode>> {
        let index = self.shared.tree.write().index()?;
        Ok(self.node(index, Face::Writable)?)
    }

    fn workdir(&self) -> Result<Option<Arc<dyn WritableNode>>> {
        let workdir = self.shared.tree.write().workdir();
        Ok(Some(self.node(workdir, Face::Writable)?))
    }

    fn attr_of_handle(&self, handle: &FileHandle) -> Result<Option<Attr>> {
        Storage::attr_of_handle(self, handle)
    }

    fn mark_volatile(&self) -> Result<()> {
        Ok(())
    }
}

/// What a caller did wrong who passed a node of another storage.
const FOREIGN: Error = Error::CrossDevice;
