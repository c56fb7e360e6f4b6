//! The engine itself, without a mount: paths are walked name by name, and
//! what the kernel checks before it asks a filesystem is checked here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use overlay_core::attr::{FileKind, Owner};
use overlay_core::error::{Errno, Error};
use overlay_core::layer::{NewKind, RenameMode, SetXattr};
use overlay_core::name::{Name, NameBuf};
use overlay_core::spec::{
    Access, Config, Dir, Index, Object, Op, Outcome, Path, Place, Presence, Rename, Seen, Sight,
    Slot, Stored, Xino,
};
use overlay_core::union::{Entry, Flow, Handle, Inode, Live, OpenOptions, Options};
use overlay_core::{Attr, Caller, SetAttr, SetTime, Stack, Union};

use super::{Numbers, Subject, ours};
use crate::load::sight_of;
use crate::materialize::special;

pub mod storages;

use storages::Storages;

type Result<T> = std::result::Result<T, Errno>;

/// A union in this process.
pub struct Core {
    storages: Box<dyn Storages>,
    writable: bool,
    config: Config,
    options: Options,
    /// `None` only between two mounts: they cannot share an upper directory.
    union: Option<Arc<Union>>,
    held: BTreeMap<Slot, Held>,
}

struct Held {
    inode: Arc<Inode>,
    handle: Handle,
    access: Access,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("union", &self.union)
            .finish_non_exhaustive()
    }
}

/// The engine on `stack`.
pub(super) fn union_of(stack: Stack, config: Config) -> Arc<Union> {
    Union::with_options(stack, ours::options(config)).unwrap()
}

const PUNCH_AND_KEEP_SIZE: u32 = 3;

impl Core {
    /// Mounts what `storages` hold.
    pub fn new(storages: Box<dyn Storages>, writable: bool, config: Config) -> Core {
        Core::with_options(storages, writable, config, ours::options(config))
    }

    /// The same with options that are not the kernel's.
    pub fn with_options(
        storages: Box<dyn Storages>,
        writable: bool,
        config: Config,
        options: Options,
    ) -> Core {
        let union = Union::with_options(storages.stack(), options).unwrap();
        Core {
            storages,
            writable,
            config,
            options,
            union: Some(union),
            held: BTreeMap::new(),
        }
    }

    /// Changes the branches of the stack while it is mounted.
    pub fn change(
        &mut self,
        edit: impl FnOnce(Stack) -> overlay_core::Result<Stack>,
    ) -> overlay_core::Result<()> {
        let live = Live::new(Arc::clone(self.union()));
        // What the kernel knows of a mount, say.
        let _known = everything(self.union());
        // Nobody else knows the old union: what it takes of a branch is free.
        live.change(edit)?;
        let now = Arc::clone(&*live.now());
        self.writable = !now.is_read_only();
        self.union = Some(now);
        for held in self.held.values_mut() {
            held.inode = held.handle.inode();
        }
        Ok(())
    }

    /// Another process on the same mount, with handles of its own. It cannot
    /// remount, and knows nothing of the storage.
    pub fn beside(&self) -> Core {
        Core {
            storages: Box::new(storages::Elsewhere),
            writable: self.writable,
            config: self.config,
            options: self.options,
            union: self.union.clone(),
            held: BTreeMap::new(),
        }
    }

    fn try_apply(&mut self, op: &Op) -> Result<Outcome> {
        let union = Arc::clone(self.union());
        match op {
            Op::Make {
                at,
                object,
                mode,
                umask,
            } => {
                let (kind, mode) = match object {
                    Object::Dir => (NewKind::Directory, mode & 0o1777),
                    Object::File => (NewKind::Regular, *mode),
                    Object::Symlink(target) => (NewKind::Symlink(target), 0o777),
                    Object::Special(kind, rdev) => (special(*kind, *rdev), *mode),
                };
                let parent = self.parent(at)?;
                union
                    .create(&parent, &at.name, kind, mode, &caller(umask.0))
                    .map_err(errno)?;
            }
            Op::Create {
                slot,
                at,
                mode,
                umask,
            } => {
                self.held.remove(slot);
                let parent = self.parent(at)?;
                let (entry, handle) = union
                    .create_file(&parent, &at.name, *mode, &caller(umask.0))
                    .map_err(errno)?;
                let inode = entry.inode;
                let access = Access::Write;
                self.held.insert(
                    *slot,
                    Held {
                        inode,
                        handle,
                        access,
                    },
                );
            }
            Op::Link { from, to } => {
                let (from, _) = self.find(from)?;
                let parent = self.parent(to)?;
                union.link(&from, &parent, &to.name).map_err(errno)?;
            }
            Op::Unlink { at } => union.unlink(&self.parent(at)?, &at.name).map_err(errno)?,
            Op::Rmdir { at } => union.rmdir(&self.parent(at)?, &at.name).map_err(errno)?,
            Op::Rename { from, to, how } => {
                let mode = match how {
                    Rename::Replace => RenameMode::Replace,
                    Rename::NoReplace => RenameMode::NoReplace,
                    Rename::Exchange => RenameMode::Exchange,
                };
                let (from_dir, to_dir) = (self.parent(from)?, self.parent(to)?);
                let (from, to) = ((&from_dir, &*from.name), (&to_dir, &*to.name));
                union.rename(from, to, mode).map_err(errno)?;
            }
            Op::Write { path, offset, data } => {
                let (_, handle) = self.open(path, WRITE)?;
                self.write(&handle, *offset, data)?;
            }
            Op::Append { path, data } => {
                let (inode, handle) = self.open(path, WRITE)?;
                let end = union.attr(&inode).map_err(errno)?.size;
                self.write(&handle, end, data)?;
            }
            Op::Empty { path } => {
                let truncate = true;
                self.open(path, OpenOptions { truncate, ..WRITE })?;
            }
            Op::Truncate { path, len } => {
                let (inode, attr) = self.find(path)?;
                match attr.kind {
                    FileKind::Regular => self.set_len(&inode, *len)?,
                    FileKind::Directory => return Err(Errno::ISDIR),
                    FileKind::Symlink
                    | FileKind::Fifo
                    | FileKind::Socket
                    | FileKind::CharDevice
                    | FileKind::BlockDevice => return Err(Errno::INVAL),
                }
            }
            Op::Allocate { path, offset, len } => {
                let (_, handle) = self.open(path, WRITE)?;
                union.allocate(&handle, 0, *offset, *len).map_err(errno)?;
            }
            Op::Punch { path, offset, len } => {
                let (_, handle) = self.open(path, WRITE)?;
                let mode = PUNCH_AND_KEEP_SIZE;
                union
                    .allocate(&handle, mode, *offset, *len)
                    .map_err(errno)?;
            }
            Op::Read { path } => {
                let (_, handle) = self.open(path, OpenOptions::default())?;
                return Ok(Outcome::Bytes(self.read(&handle)?));
            }
            Op::ReadDir { path } => {
                let (inode, _) = self.find(path)?;
                let listed = self.list(&inode)?;
                let count = listed.len();
                let entries = listed.into_iter().map(|(name, kind, _)| (name, kind));
                let entries: BTreeMap<_, _> = entries.collect();
                assert_eq!(entries.len(), count, "a name is listed twice");
                return Ok(Outcome::Entries(entries));
            }
            Op::ReadLink { path } => {
                let (inode, _) = self.find(path)?;
                return Ok(Outcome::Bytes(union.read_link(&inode).map_err(errno)?));
            }
            Op::Stat { path } => {
                let (_, attr) = self.find(path)?;
                return Ok(Outcome::Sight(Box::new(sight_of(&attr))));
            }
            Op::Chmod { path, mode } => {
                let (inode, _) = self.find(path)?;
                self.chmod(&inode, *mode)?;
            }
            Op::Chown { path, uid, gid } => {
                let (inode, attr) = self.find(path)?;
                let set = SetAttr {
                    uid: *uid,
                    gid: *gid,
                    mode: mode_after_chown(&attr),
                    ..SetAttr::default()
                };
                self.set(&inode, &set)?;
            }
            Op::SetMtime { path, mtime } => {
                let (inode, _) = self.find(path)?;
                let mtime = Some(SetTime::To(*mtime));
                self.set(
                    &inode,
                    &SetAttr {
                        mtime,
                        ..SetAttr::default()
                    },
                )?;
            }
            Op::SetXattr {
                path,
                name,
                value,
                how,
            } => {
                let (inode, attr) = self.find(path)?;
                self.need_xattrs(&attr, name)?;
                let how = match how {
                    Presence::Either => SetXattr::Any,
                    Presence::Create => SetXattr::Create,
                    Presence::Replace => SetXattr::Replace,
                };
                union.set_xattr(&inode, name, value, how).map_err(errno)?;
            }
            Op::RemoveXattr { path, name } => {
                let (inode, attr) = self.find(path)?;
                self.need_xattrs(&attr, name)?;
                union.remove_xattr(&inode, name).map_err(errno)?;
            }
            Op::GetXattr { path, name } => {
                let (inode, _) = self.find(path)?;
                return Ok(Outcome::Bytes(union.xattr(&inode, name).map_err(errno)?));
            }
            Op::ListXattrs { path } => {
                let (inode, _) = self.find(path)?;
                let names = union.xattr_names(&inode).map_err(errno)?;
                let names: BTreeSet<_> = names
                    .into_iter()
                    .filter(|name| !name.starts_with(b"security."))
                    .collect();
                return Ok(Outcome::Names(names));
            }
            Op::Open { slot, path, access } => {
                self.held.remove(slot);
                let (inode, handle) = self.open(
                    path,
                    match access {
                        Access::Read => OpenOptions::default(),
                        Access::Write => WRITE,
                    },
                )?;
                let access = *access;
                self.held.insert(
                    *slot,
                    Held {
                        inode,
                        handle,
                        access,
                    },
                );
            }
            Op::ReadHeld { slot } => {
                return Ok(Outcome::Bytes(self.read(&self.held(*slot)?.handle)?));
            }
            Op::WriteHeld { slot, offset, data } => {
                let held = self.held(*slot)?;
                match held.access {
                    Access::Read => return Err(Errno::BADF),
                    Access::Write => self.write(&held.handle, *offset, data)?,
                }
            }
            Op::StatHeld { slot } => {
                let attr = union.attr(&self.held(*slot)?.inode).map_err(errno)?;
                return Ok(Outcome::Sight(Box::new(sight_of(&attr))));
            }
            Op::TruncateHeld { slot, len } => {
                let held = self.held(*slot)?;
                match held.access {
                    Access::Read => return Err(Errno::INVAL),
                    Access::Write => self.set_len(&held.inode, *len)?,
                }
            }
            Op::ChmodHeld { slot, mode } => self.chmod(&self.held(*slot)?.inode, *mode)?,
            Op::Close { slot } => drop(self.held.remove(slot).ok_or(Errno::BADF)?),
            Op::Remount | Op::Rotate => {
                self.held.clear();
                drop(union);
                self.union = None;
                if *op == Op::Rotate {
                    self.storages.rotate();
                }
                let stack = self.storages.stack();
                self.union = Some(Union::with_options(stack, self.options).unwrap());
            }
        }
        Ok(Outcome::Done)
    }

    /// The union that is mounted now.
    pub fn union(&self) -> &Arc<Union> {
        self.union.as_ref().unwrap()
    }

    /// The object at `path` with its attributes.
    fn find(&self, path: &Path) -> Result<(Arc<Inode>, Attr)> {
        let mut inode = self.union().root();
        let mut attr = self.union().attr(&inode).map_err(errno)?;
        for name in &path.0 {
            (inode, attr) = self.child(&inode, name)?;
        }
        Ok((inode, attr))
    }

    fn child(&self, parent: &Arc<Inode>, name: &Name) -> Result<(Arc<Inode>, Attr)> {
        match parent.kind() {
            FileKind::Directory => {}
            FileKind::Regular
            | FileKind::Symlink
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::CharDevice
            | FileKind::BlockDevice => return Err(Errno::NOTDIR),
        }
        let found = self.union().lookup(parent, name).map_err(errno)?;
        let Entry { inode, attr } = found.ok_or(Errno::NOENT)?;
        Ok((inode, attr))
    }

    /// The directory of `place`.
    fn parent(&self, place: &Place) -> Result<Arc<Inode>> {
        let (parent, attr) = self.find(&place.parent)?;
        if attr.kind.is_dir() {
            Ok(parent)
        } else {
            Err(Errno::NOTDIR)
        }
    }

    fn open(&self, path: &Path, options: OpenOptions) -> Result<(Arc<Inode>, Handle)> {
        let (inode, attr) = self.find(path)?;
        match attr.kind {
            FileKind::Regular => {
                let handle = self.union().open(&inode, options).map_err(errno)?;
                Ok((inode, handle))
            }
            FileKind::Directory => Err(Errno::ISDIR),
            FileKind::Symlink => Err(Errno::LOOP),
            FileKind::Fifo | FileKind::Socket | FileKind::CharDevice | FileKind::BlockDevice => {
                Err(Errno::NXIO)
            }
        }
    }

    fn read(&self, handle: &Handle) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        let mut buf = vec![0; 16384];
        loop {
            let at = content.len() as u64;
            match self.union().read(handle, &mut buf, at).map_err(errno)? {
                0 => return Ok(content),
                n => content.extend_from_slice(&buf[..n]),
            }
        }
    }

    fn write(&self, handle: &Handle, offset: u64, data: &[u8]) -> Result<()> {
        let written = self.union().write(handle, data, offset).map_err(errno)?;
        assert_eq!(written, data.len(), "a short write");
        Ok(())
    }

    fn list(&self, inode: &Arc<Inode>) -> Result<Vec<(NameBuf, FileKind, u64)>> {
        let dir = self.union().open_dir(inode).map_err(errno)?;
        let mut out = Vec::new();
        let mut each = |entry: overlay_core::union::DirEntry<'_>| {
            out.push((entry.name.to_owned(), entry.kind, entry.ino));
            Flow::Continue
        };
        self.union().read_dir(&dir, 0, &mut each).map_err(errno)?;
        Ok(out)
    }

    fn set(&self, inode: &Arc<Inode>, set: &SetAttr) -> Result<()> {
        self.union().set_attr(inode, set).map(drop).map_err(errno)
    }

    fn set_len(&self, inode: &Arc<Inode>, len: u64) -> Result<()> {
        let size = Some(len);
        self.set(
            inode,
            &SetAttr {
                size,
                ..SetAttr::default()
            },
        )
    }

    /// A symlink has no mode of its own.
    fn chmod(&self, inode: &Arc<Inode>, mode: u32) -> Result<()> {
        self.need_writable()?;
        if inode.kind() == FileKind::Symlink {
            return Err(Errno::OPNOTSUPP);
        }
        let mode = Some(mode & 0o7777);
        self.set(
            inode,
            &SetAttr {
                mode,
                ..SetAttr::default()
            },
        )
    }

    /// Only files and directories carry `user.*` attributes; `xattr(7)`.
    fn need_xattrs(&self, attr: &Attr, name: &[u8]) -> Result<()> {
        self.need_writable()?;
        match attr.kind {
            FileKind::Regular | FileKind::Directory => Ok(()),
            FileKind::Symlink
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::CharDevice
            | FileKind::BlockDevice
                if name.starts_with(b"user.") =>
            {
                Err(Errno::PERM)
            }
            FileKind::Symlink
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::CharDevice
            | FileKind::BlockDevice => Ok(()),
        }
    }

    fn need_writable(&self) -> Result<()> {
        if self.writable {
            Ok(())
        } else {
            Err(Errno::ROFS)
        }
    }

    fn held(&self, slot: Slot) -> Result<&Held> {
        self.held.get(&slot).ok_or(Errno::BADF)
    }

    fn look_into(
        &self,
        inode: &Arc<Inode>,
        path: Path,
        seen: &mut Seen,
    ) -> std::result::Result<(), String> {
        let fail = |call: &str, errno: Errno| format!("{call} {path}: {errno}");
        let attr = self
            .union()
            .attr(inode)
            .map_err(errno)
            .map_err(|e| fail("attr", e))?;
        let content = match attr.kind {
            FileKind::Regular => {
                let (_, handle) = self
                    .open(&path, OpenOptions::default())
                    .map_err(|e| fail("open", e))?;
                Some(self.read(&handle).map_err(|e| fail("read", e))?)
            }
            FileKind::Symlink => {
                let target = self.union().read_link(inode).map_err(errno);
                Some(target.map_err(|e| fail("read_link", e))?)
            }
            FileKind::Directory => {
                for (name, kind, ino) in self.list(inode).map_err(|e| fail("read_dir", e))? {
                    let below = path.join(&name);
                    let child = self.child(inode, &name);
                    let (child, attr) = child.map_err(|e| fail("listed, but lookup", e))?;
                    if (kind, ino) != (attr.kind, attr.ino) {
                        return Err(format!(
                            "{below}: read_dir says ino {ino} {kind:?}, attr {} {:?}",
                            attr.ino, attr.kind
                        ));
                    }
                    self.look_into(&child, below, seen)?;
                }
                None
            }
            FileKind::Fifo | FileKind::Socket | FileKind::CharDevice | FileKind::BlockDevice => {
                None
            }
        };
        let names = self.union().xattr_names(inode).map_err(errno);
        let mut xattrs = BTreeMap::new();
        for name in names.map_err(|e| fail("xattr_names", e))? {
            if !name.starts_with(b"security.") {
                let value = self.union().xattr(inode, &name).map_err(errno);
                xattrs.insert(name, value.map_err(|e| fail("xattr", e))?);
            }
        }
        let sight = Sight {
            content,
            xattrs: Some(xattrs),
            ..sight_of(&attr)
        };
        seen.insert(path, sight);
        Ok(())
    }
}

const WRITE: OpenOptions = OpenOptions {
    write: true,
    truncate: false,
    append: false,
};

fn caller(umask: u32) -> Caller {
    Caller {
        owner: Owner { uid: 0, gid: 0 },
        umask,
    }
}

/// As `notify_change` in the kernel: setuid goes, and setgid where it means
/// the same.
fn mode_after_chown(attr: &Attr) -> Option<u32> {
    let setgid = if attr.mode & 0o2010 == 0o2010 {
        0o2000
    } else {
        0
    };
    let mode = attr.mode & !0o4000 & !setgid;
    (mode != attr.mode && !attr.kind.is_dir()).then_some(mode)
}

fn errno(error: Error) -> Errno {
    error.errno()
}

impl Subject for Core {
    fn apply(&mut self, op: &Op) -> Outcome {
        self.try_apply(op).unwrap_or_else(Outcome::Failed)
    }

    fn look(&mut self) -> std::result::Result<Seen, String> {
        let mut seen = Seen::new();
        self.look_into(&self.union().root(), Path::default(), &mut seen)?;
        Ok(seen)
    }

    fn stored(&self) -> Vec<Dir<Stored>> {
        self.storages.stored()
    }

    fn litter(&self) -> Vec<String> {
        self.storages.litter()
    }

    fn index(&self) -> Index {
        self.storages.index()
    }

    fn copies_all_names(&self) -> bool {
        true
    }

    /// With `xino=off` each union gives its own numbers, and by a rotation
    /// another filesystem becomes the first.
    fn numbers(&self, over: &Op) -> Numbers {
        let is_remount = *over == Op::Remount && self.config.xino != Xino::Off;
        let stay = self.storages.on_one_filesystem() || is_remount;
        match stay && self.storages.keeps_numbers() {
            true => Numbers::Stay,
            false => Numbers::Change,
        }
    }
}

/// All inodes of a union, which are known for as long as these live.
fn everything(union: &Arc<Union>) -> Vec<Arc<Inode>> {
    let mut all = vec![union.root()];
    let mut at = 0;
    while let Some(inode) = all.get(at).cloned() {
        at += 1;
        let Ok(open) = union.open_dir(&inode) else {
            continue;
        };
        let mut names = Vec::new();
        let listed = union.read_dir(&open, 0, &mut |entry| {
            names.push(entry.name.to_owned());
            Flow::Continue
        });
        if listed.is_ok() {
            let found = names
                .iter()
                .filter_map(|name| union.lookup(&inode, name).ok());
            all.extend(found.flatten().map(|entry| entry.inode));
        }
    }
    all
}
