//! The inodes of a storage and how they hang together.
//!
//! An inode lives while it has a name (`nlink`), a place among the staged, or a
//! node that names it (`handles`).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::io::Errno;

use super::pages::{PAGE, Pages};
use crate::attr::{Attr, FileKind, Owner, Protection, Timestamp};
use crate::error::{Error, Result};
use crate::layer::{New, NewKind, Removal, RenameMode};
use crate::name::{Name, NameBuf};

/// The longest target of a symlink in bytes: `PATH_MAX` without the NUL.
const TARGET_MAX: usize = 4095;

const PRIVATE_DIRECTORY: New<'_> = New {
    kind: NewKind::Directory,
    mode: 0o700,
    owner: Owner { uid: 0, gid: 0 },
    xattrs: &[],
};

/// One object.
#[derive(Debug)]
pub(super) struct Inode {
    pub(super) mode: u32,
    pub(super) owner: Owner,
    /// As `stat(2)` counts: a directory has 2, and one for each directory in it.
    pub(super) nlink: u64,
    pub(super) atime: Timestamp,
    pub(super) mtime: Timestamp,
    pub(super) ctime: Timestamp,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) body: Body,
    /// Shown, and heeded by no storage in memory.
    pub(super) protection: Protection,
    /// Nodes that name it. Raised under the read lock, so that finding a node
    /// shuts nobody out; the inode is taken away under the write lock only.
    pub(super) handles: AtomicUsize,
}

/// What an object holds.
#[derive(Debug)]
pub(super) enum Body {
    File(Pages),
    Directory {
        /// Of the root: itself. Of a staged or removed one: nothing.
        parent: Option<u64>,
        entries: BTreeMap<NameBuf, u64>,
    },
    Symlink(Vec<u8>),
    Fifo,
    Socket,
    CharDevice(u64),
    BlockDevice(u64),
}

impl Inode {
    pub(super) fn kind(&self) -> FileKind {
        match &self.body {
            Body::File(_) => FileKind::Regular,
            Body::Directory { .. } => FileKind::Directory,
            Body::Symlink(_) => FileKind::Symlink,
            Body::Fifo => FileKind::Fifo,
            Body::Socket => FileKind::Socket,
            Body::CharDevice(_) => FileKind::CharDevice,
            Body::BlockDevice(_) => FileKind::BlockDevice,
        }
    }

    /// Its content changed.
    pub(super) fn modified(&mut self) {
        self.mtime = Timestamp::now();
        self.ctime = self.mtime;
    }
}

/// The inodes of a storage.
#[derive(Debug)]
pub(super) struct Tree {
    inodes: HashMap<u64, Inode>,
    next: u64,
    /// Objects without a name that `discard` or `clear_staged` takes away.
    staged: HashSet<u64>,
    /// The directory that holds the index, once one of them was asked for.
    workdir: Option<u64>,
}

impl Tree {
    pub(super) const ROOT: u64 = 1;

    pub(super) fn new() -> Tree {
        let mut tree = Tree {
            inodes: HashMap::new(),
            next: Tree::ROOT,
            staged: HashSet::new(),
            workdir: None,
        };
        let body = Body::Directory {
            parent: Some(Tree::ROOT),
            entries: BTreeMap::new(),
        };
        tree.add(body, 0o755, Owner { uid: 0, gid: 0 });
        tree
    }

    /// An inode that a node names or an entry points to.
    pub(super) fn get(&self, ino: u64) -> Result<&Inode> {
        self.inodes.get(&ino).ok_or(Error::Stale)
    }

    pub(super) fn get_mut(&mut self, ino: u64) -> Result<&mut Inode> {
        self.inodes.get_mut(&ino).ok_or(Error::Stale)
    }

    pub(super) fn file(&self, ino: u64) -> Result<&Pages> {
        match &self.get(ino)?.body {
            Body::File(pages) => Ok(pages),
            Body::Directory { .. } => Err(Error::IsDirectory),
            Body::Symlink(_)
            | Body::Fifo
            | Body::Socket
            | Body::CharDevice(_)
            | Body::BlockDevice(_) => Err(Error::Invalid("not a regular file")),
        }
    }

    pub(super) fn file_mut(&mut self, ino: u64) -> Result<&mut Pages> {
        self.file(ino)?;
        match &mut self.get_mut(ino)?.body {
            Body::File(pages) => Ok(pages),
            Body::Directory { .. }
            | Body::Symlink(_)
            | Body::Fifo
            | Body::Socket
            | Body::CharDevice(_)
            | Body::BlockDevice(_) => Err(Error::Invalid("not a regular file")),
        }
    }

    pub(super) fn entries(&self, dir: u64) -> Result<&BTreeMap<NameBuf, u64>> {
        match &self.get(dir)?.body {
            Body::Directory { entries, .. } => Ok(entries),
            Body::File(_)
            | Body::Symlink(_)
            | Body::Fifo
            | Body::Socket
            | Body::CharDevice(_)
            | Body::BlockDevice(_) => Err(Error::NotDirectory),
        }
    }

    fn directory_mut(
        &mut self,
        dir: u64,
    ) -> Result<(&mut Option<u64>, &mut BTreeMap<NameBuf, u64>)> {
        match &mut self.get_mut(dir)?.body {
            Body::Directory { parent, entries } => Ok((parent, entries)),
            Body::File(_)
            | Body::Symlink(_)
            | Body::Fifo
            | Body::Socket
            | Body::CharDevice(_)
            | Body::BlockDevice(_) => Err(Error::NotDirectory),
        }
    }

    pub(super) fn child(&self, dir: u64, name: &Name) -> Result<Option<u64>> {
        Ok(self.entries(dir)?.get(name).copied())
    }

    pub(super) fn parent(&self, dir: u64) -> Result<Option<u64>> {
        match &self.get(dir)?.body {
            Body::Directory { parent, .. } => Ok(*parent),
            Body::File(_)
            | Body::Symlink(_)
            | Body::Fifo
            | Body::Socket
            | Body::CharDevice(_)
            | Body::BlockDevice(_) => Err(Error::NotDirectory),
        }
    }

    pub(super) fn attr(&self, ino: u64, dev: u64) -> Result<Attr> {
        let inode = self.get(ino)?;
        let (size, blocks, rdev) = match &inode.body {
            Body::File(pages) => (pages.len(), pages.blocks(), 0),
            Body::Directory { .. } => (PAGE, 0, 0),
            Body::Symlink(target) => (target.len() as u64, 0, 0),
            Body::Fifo | Body::Socket => (0, 0, 0),
            Body::CharDevice(rdev) | Body::BlockDevice(rdev) => (0, 0, *rdev),
        };
        Ok(Attr {
            kind: inode.kind(),
            mode: inode.mode,
            nlink: inode.nlink,
            uid: inode.owner.uid,
            gid: inode.owner.gid,
            rdev,
            size,
            blocks,
            blksize: PAGE as u32,
            atime: inode.atime,
            mtime: inode.mtime,
            ctime: inode.ctime,
            ino,
            dev,
            protection: inode.protection,
        })
    }

    /// Makes `new` as `name` in `dir`.
    pub(super) fn create(&mut self, dir: u64, name: &Name, new: &New<'_>) -> Result<u64> {
        self.check_free(dir, name)?;
        let ino = self.make(new)?;
        self.attach(dir, name, ino)?;
        Ok(ino)
    }

    /// Makes `new` without a name.
    pub(super) fn stage(&mut self, new: &New<'_>) -> Result<u64> {
        let ino = self.make(new)?;
        self.staged.insert(ino);
        Ok(ino)
    }

    /// Gives the non-directory `ino` another name.
    pub(super) fn link(&mut self, dir: u64, name: &Name, ino: u64, mode: RenameMode) -> Result<()> {
        let there = match mode {
            RenameMode::NoReplace => {
                self.check_free(dir, name)?;
                None
            }
            RenameMode::Replace => self.child(dir, name)?,
            RenameMode::Exchange | RenameMode::Whiteout => {
                return Err(Error::Invalid("a link is new, or replaces another object"));
            }
        };
        self.check_alive(dir)?;
        if let Some(there) = there {
            self.check_replaceable(ino, there)?;
        }
        let inode = self.get_mut(ino)?;
        if inode.kind().is_dir() {
            return Err(Error::NotPermitted("a directory has one name only"));
        }
        if inode.nlink == 0 {
            return Err(Error::NotFound);
        }
        inode.nlink += 1;
        inode.ctime = Timestamp::now();
        if let Some(there) = there {
            self.detach(dir, name)?;
            self.lose_name(there)?;
        }
        self.attach(dir, name, ino)
    }

    /// Removes the entry `name` of `dir`.
    pub(super) fn remove(&mut self, dir: u64, name: &Name, what: Removal) -> Result<()> {
        let ino = self.child(dir, name)?.ok_or(Error::NotFound)?;
        match (what, self.get(ino)?.kind().is_dir()) {
            (Removal::NonDirectory, true) => return Err(Error::IsDirectory),
            (Removal::Directory, false) => return Err(Error::NotDirectory),
            (Removal::Directory, true) if !self.entries(ino)?.is_empty() => {
                return Err(Error::NotEmpty);
            }
            (Removal::Directory, true) | (Removal::NonDirectory, false) => {}
        }
        self.detach(dir, name)?;
        self.lose_name(ino)
    }

    /// Moves a staged object to `name` in `dir`; returns what `Exchange` put in
    /// its place among the staged.
    pub(super) fn publish(
        &mut self,
        ino: u64,
        dir: u64,
        name: &Name,
        mode: RenameMode,
    ) -> Result<Option<u64>> {
        if !self.staged.contains(&ino) {
            return Err(Error::Invalid("not a staged object"));
        }
        let there = self.child(dir, name)?;
        match mode {
            RenameMode::Whiteout => {
                return Err(Error::Invalid("a staged object leaves no whiteout behind"));
            }
            RenameMode::NoReplace if there.is_some() => return Err(Error::Exists),
            RenameMode::Exchange if there.is_none() => return Err(Error::NotFound),
            RenameMode::NoReplace | RenameMode::Exchange => {}
            RenameMode::Replace => {
                if let Some(there) = there {
                    self.check_replaceable(ino, there)?;
                }
            }
        }
        self.check_alive(dir)?;
        if there.is_some() {
            self.detach(dir, name)?;
        }
        self.staged.remove(&ino);
        self.attach(dir, name, ino)?;
        self.get_mut(ino)?.ctime = Timestamp::now();
        match (mode, there) {
            (RenameMode::Exchange, Some(out)) => {
                self.get_mut(out)?.ctime = Timestamp::now();
                self.staged.insert(out);
                Ok(Some(out))
            }
            (_, Some(out)) => self.lose_name(out).map(|()| None),
            (_, None) => Ok(None),
        }
    }

    /// Moves the entry `name` of `dir`, which is `ino`, among the staged.
    pub(super) fn withdraw(&mut self, dir: u64, name: &Name, ino: u64) -> Result<()> {
        if self.child(dir, name)? != Some(ino) {
            return Err(Error::NotFound);
        }
        self.detach(dir, name)?;
        self.staged.insert(ino);
        self.get_mut(ino)?.ctime = Timestamp::now();
        Ok(())
    }

    /// Takes a staged object away with all in it. In a loop, not by recursion.
    pub(super) fn discard(&mut self, ino: u64) -> Result<()> {
        if !self.staged.remove(&ino) {
            return Err(Error::Invalid("not a staged object"));
        }
        let mut waiting = vec![ino];
        while let Some(ino) = waiting.pop() {
            if self.get(ino)?.kind().is_dir() {
                let (parent, entries) = self.directory_mut(ino)?;
                *parent = None;
                waiting.extend(std::mem::take(entries).into_values());
            }
            self.lose_name(ino)?;
        }
        Ok(())
    }

    pub(super) fn clear_staged(&mut self) -> Result<()> {
        for ino in self.staged.clone() {
            self.discard(ino)?;
        }
        Ok(())
    }

    /// A node let go of `ino`.
    pub(super) fn let_go(&mut self, ino: u64) {
        self.sweep(ino);
    }

    fn make(&mut self, new: &New<'_>) -> Result<u64> {
        let (body, mode) = match new.kind {
            NewKind::Regular => (Body::File(Pages::default()), new.mode),
            NewKind::Directory => {
                let (parent, entries) = (None, BTreeMap::new());
                (Body::Directory { parent, entries }, new.mode)
            }
            NewKind::Symlink(b"") => return Err(Error::NotFound),
            NewKind::Symlink(target) if target.len() > TARGET_MAX => {
                return Err(Error::NameTooLong);
            }
            NewKind::Symlink(target) => (Body::Symlink(target.to_vec()), 0o777),
            NewKind::Fifo => (Body::Fifo, new.mode),
            NewKind::Socket => (Body::Socket, new.mode),
            NewKind::CharDevice(rdev) => (Body::CharDevice(rdev), new.mode),
            NewKind::BlockDevice(rdev) => (Body::BlockDevice(rdev), new.mode),
        };
        let ino = self.add(body, mode, new.owner);
        for (name, value) in new.xattrs {
            let set = super::node::set_xattr(self, ino, name, value, crate::layer::SetXattr::Any);
            if let Err(error) = set {
                self.inodes.remove(&ino);
                return Err(error);
            }
        }
        if !new.xattrs.is_empty() {
            // An access ACL sets the mode; the mode asked for has the last word.
            let inode = self.get_mut(ino)?;
            inode.mode = mode & 0o7777;
            super::acl::follow_mode(inode);
        }
        Ok(ino)
    }

    /// The directory of the index, made when it is first asked for.
    pub(super) fn index(&mut self) -> Result<u64> {
        let workdir = self.workdir();
        let name = Name::new(b"index")?;
        match self.child(workdir, name)? {
            Some(index) => Ok(index),
            None => self.create(workdir, name, &PRIVATE_DIRECTORY),
        }
    }

    /// The directory that holds it; it has no name in the tree.
    pub(super) fn workdir(&mut self) -> u64 {
        if let Some(workdir) = self.workdir {
            return workdir;
        }
        let body = Body::Directory {
            parent: Some(self.next),
            entries: BTreeMap::new(),
        };
        let workdir = self.add(body, 0o700, Owner { uid: 0, gid: 0 });
        self.workdir = Some(workdir);
        workdir
    }

    fn add(&mut self, body: Body, mode: u32, owner: Owner) -> u64 {
        let ino = self.next;
        self.next += 1;
        let now = Timestamp::now();
        let nlink = match &body {
            Body::Directory { .. } => 2,
            Body::File(_)
            | Body::Symlink(_)
            | Body::Fifo
            | Body::Socket
            | Body::CharDevice(_)
            | Body::BlockDevice(_) => 1,
        };
        let inode = Inode {
            mode: mode & 0o7777,
            owner,
            nlink,
            atime: now,
            mtime: now,
            ctime: now,
            xattrs: BTreeMap::new(),
            body,
            protection: Protection::NONE,
            handles: AtomicUsize::new(0),
        };
        self.inodes.insert(ino, inode);
        ino
    }

    fn check_free(&self, dir: u64, name: &Name) -> Result<()> {
        match self.child(dir, name)? {
            Some(_) => Err(Error::Exists),
            None => self.check_alive(dir),
        }
    }

    /// Nothing new comes into a directory that was removed.
    pub(super) fn check_alive(&self, dir: u64) -> Result<()> {
        match self.get(dir)?.nlink {
            0 => Err(Error::NotFound),
            _ => Ok(()),
        }
    }

    /// What `rename(2)` demands of the two.
    pub(super) fn check_replaceable(&self, ino: u64, there: u64) -> Result<()> {
        match (
            self.get(ino)?.kind().is_dir(),
            self.get(there)?.kind().is_dir(),
        ) {
            (true, false) => Err(Error::NotDirectory),
            (false, true) => Err(Error::IsDirectory),
            (true, true) if !self.entries(there)?.is_empty() => Err(Error::NotEmpty),
            (true, true) | (false, false) => Ok(()),
        }
    }

    /// Puts an entry into `dir`, whose name is free.
    pub(super) fn attach(&mut self, dir: u64, name: &Name, ino: u64) -> Result<()> {
        let is_dir = self.get(ino)?.kind().is_dir();
        if is_dir {
            *self.directory_mut(ino)?.0 = Some(dir);
            self.get_mut(dir)?.nlink += 1;
        }
        self.directory_mut(dir)?.1.insert(name.to_owned(), ino);
        self.get_mut(dir)?.modified();
        Ok(())
    }

    /// Takes an entry out of `dir`. The object's own `nlink` stays.
    pub(super) fn detach(&mut self, dir: u64, name: &Name) -> Result<u64> {
        let ino = self
            .directory_mut(dir)?
            .1
            .remove(name)
            .ok_or(Error::NotFound)?;
        if self.get(ino)?.kind().is_dir() {
            *self.directory_mut(ino)?.0 = None;
            self.get_mut(dir)?.nlink -= 1;
        }
        self.get_mut(dir)?.modified();
        Ok(ino)
    }

    /// A detached object has one name less.
    pub(super) fn lose_name(&mut self, ino: u64) -> Result<()> {
        let inode = self.get_mut(ino)?;
        inode.nlink = match inode.kind().is_dir() {
            true => 0,
            false => inode.nlink.saturating_sub(1),
        };
        inode.ctime = Timestamp::now();
        self.sweep(ino);
        Ok(())
    }

    fn sweep(&mut self, ino: u64) {
        if let Some(inode) = self.inodes.get(&ino)
            && inode.nlink == 0
            && inode.handles.load(Ordering::Acquire) == 0
        {
            self.inodes.remove(&ino);
        }
    }
}

/// `ENXIO`
pub(super) const PAST_THE_END: Error = Error::Errno(Errno::NXIO);
