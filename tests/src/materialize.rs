//! Writes a generated layer into storage, as the overlay dialect has it.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use overlay_core::attr::{FileKind, Timestamp};
use overlay_core::layer::{self, New, NewKind, RenameMode, SetXattr, WritableNode};
use overlay_core::name::Name;
use overlay_core::spec::{Data, Dir, Id, Leaf, Meta, Metacopy, Namespace, Redirect, Stored};
use overlay_core::{Owner, SetAttr, SetTime};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};

use crate::sys::proc_path;

/// Attributes of the union's own: names without prefix, and values.
type Marks = Vec<(&'static str, Vec<u8>)>;

/// The attributes of an object as a layer stores them: what an upper overlay
/// stored under our names is escaped, and directories get their marks.
fn stored_xattrs(meta: &Meta, marks: &Marks, namespace: Namespace) -> Vec<(Vec<u8>, Vec<u8>)> {
    let prefix = namespace.prefix();
    let escaped = meta.xattrs.iter().map(|(name, value)| {
        let name = match name.strip_prefix(prefix) {
            Some(rest) => [prefix, b"overlay.", rest].concat(),
            None => name.clone(),
        };
        (name, value.clone())
    });
    let marks = marks
        .iter()
        .map(|(name, value)| ([prefix, name.as_bytes()].concat(), value.to_vec()));
    escaped.chain(marks).collect()
}

/// How layers are written to a disk.
#[derive(Debug, Default)]
pub struct Form {
    /// Where marks are kept.
    pub namespace: Namespace,
    /// The directories that merge with nothing below them.
    pub alone: BTreeSet<Id>,
    /// What is there beside marks.
    pub hints: Hints,
}

/// Whether a layer has the hints that a kernel leaves for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hints {
    /// It has.
    #[default]
    Left,
    /// It was written by somebody else.
    None,
}

/// The marks of a directory.
fn marks(dir: &Dir<Stored>) -> Marks {
    let mut marks = Marks::new();
    if dir.opaque {
        marks.push(("opaque", b"y".to_vec()));
    }
    marks.extend(redirect(dir.redirect.as_ref()));
    marks
}

fn redirect(redirect: Option<&Redirect>) -> Option<(&'static str, Vec<u8>)> {
    let value = match redirect? {
        Redirect::Name(name) => name.as_bytes().to_vec(),
        Redirect::Path(path) => {
            let names = path.0.iter().map(|name| [b"/", name.as_bytes()].concat());
            names.collect::<Vec<_>>().concat()
        }
    };
    Some(("redirect", value))
}

/// A leaf as it is written, and its marks.
fn written(stored: &Stored) -> Option<(Leaf, Marks)> {
    match stored {
        Stored::Leaf(leaf) => Some((leaf.clone(), Marks::new())),
        Stored::Metacopy(copy) => {
            let mut marks = vec![("metacopy", Vec::new())];
            marks.extend(redirect(copy.redirect.as_ref()));
            let leaf = Leaf {
                id: copy.id,
                links: copy.links,
                // A hole: whoever reads it has taken it for content.
                data: Data::File(vec![0; copy.size as usize]),
                meta: copy.meta.clone(),
            };
            Some((leaf, marks))
        }
        Stored::Dir(_) | Stored::Whiteout => None,
    }
}

/// The hints that a kernel leaves for itself, so that it treats the layer as
/// one of its own:
///
/// - `origin` on a directory with whiteouts that merges with nothing: it must
///   look for them when it lists the directory. An empty value means "not
///   known". (On one that merges, `nfs_export` would take it for a mismatch.)
/// - `impure` on a directory with subdirectories, which may merge, or with
///   metacopies: their inode numbers have to be asked for when the directory
///   is listed.
fn hints(dir: &Dir<Stored>, form: &Form) -> Marks {
    let mut hints = Marks::new();
    match form.hints {
        Hints::Left => {}
        Hints::None => return hints,
    }
    let is_alone = dir.parts.iter().all(|id| form.alone.contains(id));
    if is_alone && dir.entries.values().any(|entry| *entry == Stored::Whiteout) {
        hints.push(("origin", Vec::new()));
    }
    let rests_on_lowers = |entry: &Stored| match entry {
        Stored::Dir(_) | Stored::Metacopy(_) => true,
        Stored::Leaf(_) | Stored::Whiteout => false,
    };
    if dir.entries.values().any(rests_on_lowers) {
        hints.push(("impure", b"y".to_vec()));
    }
    hints
}

/// A layer without content, whose root has the attributes of another's.
pub fn empty(like: Dir<Stored>) -> Dir<Stored> {
    Dir {
        entries: BTreeMap::new(),
        ..like
    }
}

/// Makes `path`, which must not exist, a copy of `root`.
pub fn on_disk(path: &Path, root: &Dir<Stored>, form: &Form) {
    std::fs::create_dir(path).unwrap();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty()).unwrap();
    fill(fd.as_fd(), root, form, &mut BTreeMap::new());
}

/// An object that has a name already, for its further ones.
type Linked = BTreeMap<Id, OwnedFd>;

fn fill(fd: BorrowedFd<'_>, dir: &Dir<Stored>, form: &Form, linked: &mut Linked) {
    for (name, entry) in &dir.entries {
        let os = name.as_os_str();
        match entry {
            Stored::Whiteout => {
                rustix::fs::mknodat(fd, os, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
            }
            Stored::Dir(dir) => {
                rustix::fs::mkdirat(fd, os, Mode::RWXU).unwrap();
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let child = rustix::fs::openat(fd, os, flags, Mode::empty()).unwrap();
                fill(child.as_fd(), dir, form, linked);
            }
            Stored::Leaf(_) | Stored::Metacopy(_) => {
                fill_leaf(fd, name, entry, form, linked);
            }
        }
    }
    let marks = [marks(dir), hints(dir, form)].concat();
    for (name, value) in stored_xattrs(&dir.meta, &marks, form.namespace) {
        rustix::fs::fsetxattr(fd, &name[..], &value, XattrFlags::empty()).unwrap();
    }
    let (uid, gid) = ids(&dir.meta);
    rustix::fs::fchown(fd, uid, gid).unwrap();
    rustix::fs::fchmod(fd, Mode::from_raw_mode(dir.meta.mode)).unwrap();
    // Last: every new entry has changed it.
    rustix::fs::futimens(fd, &times(dir.meta.mtime)).unwrap();
}

fn fill_leaf(fd: BorrowedFd<'_>, name: &Name, stored: &Stored, form: &Form, linked: &mut Linked) {
    let Some((leaf, marks)) = written(stored) else {
        return;
    };
    let os = name.as_os_str();
    if let Some(first) = linked.get(&leaf.id) {
        let flags = AtFlags::SYMLINK_FOLLOW;
        rustix::fs::linkat(fd, proc_path(first), fd, os, flags).unwrap();
        return;
    }
    make_leaf(fd, name, &leaf);
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let child = rustix::fs::openat(fd, os, flags, Mode::empty()).unwrap();
    let path = format!("{}/", proc_path(fd)).into_bytes();
    let path = [&path[..], name.as_bytes()].concat();
    for (name, value) in stored_xattrs(&leaf.meta, &marks, form.namespace) {
        let flags = XattrFlags::empty();
        rustix::fs::lsetxattr(&path[..], &name[..], &value, flags).unwrap();
    }
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(fd, os, &times(leaf.meta.mtime), flags).unwrap();
    if leaf.links > 1 {
        linked.insert(leaf.id, child);
    }
}

fn make_leaf(fd: BorrowedFd<'_>, name: &Name, leaf: &Leaf) {
    let os = name.as_os_str();
    let mode = Mode::from_raw_mode(0o600);
    match &leaf.data {
        Data::Symlink(target) => rustix::fs::symlinkat(&target[..], fd, os).unwrap(),
        Data::Special { kind, rdev } => {
            let kind = FileType::from_raw_mode(kind.mode_bits());
            rustix::fs::mknodat(fd, os, kind, mode, *rdev).unwrap();
        }
        Data::File(content) => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let file = rustix::fs::openat(fd, os, flags, mode).unwrap();
            assert_eq!(rustix::io::pwrite(&file, content, 0), Ok(content.len()));
        }
    }
    let (uid, gid) = ids(&leaf.meta);
    rustix::fs::chownat(fd, os, uid, gid, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    match &leaf.data {
        Data::Symlink(_) => {}
        Data::File(_) | Data::Special { .. } => {
            let mode = Mode::from_raw_mode(leaf.meta.mode);
            rustix::fs::chmodat(fd, os, mode, AtFlags::empty()).unwrap();
        }
    }
}

fn ids(meta: &Meta) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)))
}

/// Sets the modification time and leaves the access time.
pub(crate) fn times(mtime: Timestamp) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: mtime.sec,
            tv_nsec: mtime.nsec.into(),
        },
    }
}

/// Makes `node`, an empty directory of a writable storage, a copy of `root`.
pub fn in_storage(node: &dyn WritableNode, root: &Dir<Stored>) {
    in_storage_as(node, root, Namespace::default());
}

/// The same with marks in this namespace.
pub fn in_storage_as(node: &dyn WritableNode, root: &Dir<Stored>, namespace: Namespace) {
    fill_node(node, root, namespace, &mut BTreeMap::new());
    let meta = &root.meta;
    for (name, value) in stored_xattrs(meta, &marks(root), namespace) {
        node.set_xattr(&name, &value, SetXattr::Any).unwrap();
    }
    node.set_attr(&SetAttr {
        mode: Some(meta.mode),
        uid: Some(meta.uid),
        gid: Some(meta.gid),
        mtime: Some(SetTime::To(meta.mtime)),
        ..SetAttr::default()
    })
    .unwrap();
}

type LinkedNodes = BTreeMap<Id, std::sync::Arc<dyn WritableNode>>;

fn fill_node(
    node: &dyn WritableNode,
    dir: &Dir<Stored>,
    namespace: Namespace,
    linked: &mut LinkedNodes,
) {
    let new_node = |name: &Name, kind: NewKind<'_>, meta: &Meta, marks: &Marks| {
        let xattrs = stored_xattrs(meta, marks, namespace);
        new_node(node, name, kind, meta, &xattrs)
    };
    for (name, entry) in &dir.entries {
        match entry {
            Stored::Whiteout => {
                let meta = Meta::new(0);
                new_node(name, NewKind::CharDevice(0), &meta, &Marks::new());
            }
            Stored::Dir(dir) => {
                let child = new_node(name, NewKind::Directory, &dir.meta, &marks(dir));
                fill_node(&*child, dir, namespace, linked);
                set_mtime(&*child, dir.meta.mtime);
            }
            Stored::Leaf(Leaf { id, .. }) | Stored::Metacopy(Metacopy { id, .. }) => {
                if let Some(first) = linked.get(id) {
                    node.link(name, &**first, RenameMode::NoReplace).unwrap();
                } else if let Some((leaf, marks)) = written(entry) {
                    let child = new_node(name, new_kind(&leaf.data), &leaf.meta, &marks);
                    if let Data::File(content) = &leaf.data
                        && !content.is_empty()
                    {
                        let file = child.open(layer::Access::Write).unwrap();
                        assert_eq!(file.write_at(content, 0), Ok(content.len()));
                    }
                    set_mtime(&*child, leaf.meta.mtime);
                    linked.insert(leaf.id, child);
                }
            }
        }
    }
}

fn new_node(
    node: &dyn WritableNode,
    name: &Name,
    kind: NewKind<'_>,
    meta: &Meta,
    xattrs: &[(Vec<u8>, Vec<u8>)],
) -> std::sync::Arc<dyn WritableNode> {
    let xattrs: Vec<(&[u8], &[u8])> = xattrs.iter().map(|(n, v)| (&n[..], &v[..])).collect();
    let new = New {
        kind,
        mode: meta.mode,
        owner: Owner {
            uid: meta.uid,
            gid: meta.gid,
        },
        xattrs: &xattrs,
    };
    node.create(name, &new).unwrap().node
}

fn set_mtime(node: &dyn WritableNode, mtime: Timestamp) {
    node.set_attr(&SetAttr {
        mtime: Some(SetTime::To(mtime)),
        ..SetAttr::default()
    })
    .unwrap();
}

/// What to ask a storage or a union to make.
pub(crate) fn new_kind(data: &Data) -> NewKind<'_> {
    match data {
        Data::File(_) => NewKind::Regular,
        Data::Symlink(target) => NewKind::Symlink(target),
        Data::Special { kind, rdev } => special(*kind, *rdev),
    }
}

/// The same for a device node, pipe or socket.
pub(crate) fn special(kind: FileKind, rdev: u64) -> NewKind<'static> {
    match kind {
        FileKind::Fifo => NewKind::Fifo,
        FileKind::Socket => NewKind::Socket,
        FileKind::CharDevice => NewKind::CharDevice(rdev),
        FileKind::BlockDevice => NewKind::BlockDevice(rdev),
        FileKind::Regular | FileKind::Directory | FileKind::Symlink => {
            unreachable!("specials are generated from the four kinds above")
        }
    }
}
