//! Reads layers back from where they are stored, marks decoded.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use overlay_core::attr::{Attr, FileKind};
use overlay_core::layer::{Access, Node};
use overlay_core::name::NameBuf;
use overlay_core::spec::{
    self, Data, Dir, Id, Leaf, Meta, Metacopy, Namespace, Redirect, Sight, Stored, Time,
};
use rustix::fs::{Mode, OFlags};
use std::os::fd::{AsFd, BorrowedFd};

use crate::snapshot;
use crate::sys::proc_path;

type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// Which layer is read: its index in the stack, and where its marks are kept.
#[derive(Debug, Clone, Copy)]
pub struct Layer {
    /// 0 is the top.
    pub index: usize,
    /// Whose attributes are marks.
    pub namespace: Namespace,
}

impl From<usize> for Layer {
    /// A layer of a stack mounted without `userxattr`.
    fn from(index: usize) -> Layer {
        Layer {
            index,
            namespace: Namespace::default(),
        }
    }
}

/// A layer from its directory.
pub fn from_disk(path: &Path, layer: impl Into<Layer>) -> Dir<Stored> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty()).unwrap();
    let sight = snapshot::sight(&rustix::fs::fstat(&fd).unwrap());
    let root = CString::new(path.as_os_str().as_bytes()).unwrap();
    let xattrs = snapshot::xattrs_of(&root).unwrap();
    let layer = layer.into();
    let marked = Marked::root(&xattrs, layer);
    load_dir(fd.as_fd(), &sight, xattrs, layer, marked)
}

/// Where files with a mark count as whiteouts.
#[derive(Clone, Copy)]
struct Marked {
    /// The root says that the layer has some.
    branch: bool,
    /// The directory says that it has some.
    directory: bool,
}

impl Marked {
    /// Nowhere.
    const INDEX: Marked = Marked {
        branch: false,
        directory: false,
    };

    fn root(xattrs: &Xattrs, layer: Layer) -> Marked {
        Marked {
            branch: is_marked(xattrs, layer),
            directory: false,
        }
    }

    fn below(self, xattrs: &Xattrs, layer: Layer) -> Marked {
        Marked {
            directory: self.branch && is_marked(xattrs, layer),
            ..self
        }
    }
}

fn is_marked(xattrs: &Xattrs, layer: Layer) -> bool {
    mark(xattrs, layer, b"opaque").is_some_and(|value| value == b"x")
}

fn load_dir(
    fd: BorrowedFd<'_>,
    sight: &Sight,
    xattrs: Xattrs,
    layer: Layer,
    marked: Marked,
) -> Dir<Stored> {
    let mut entries = BTreeMap::new();
    let marked = marked.below(&xattrs, layer);
    for listed in snapshot::list(fd).unwrap() {
        let stored = load_entry(fd, &listed.name, layer, marked);
        entries.insert(listed.name, stored);
    }
    directory(sight, xattrs, entries, layer)
}

/// Everything in a directory that is not a directory, as the top layer has it.
pub(crate) fn leaves(path: &Path, namespace: Namespace) -> Vec<(NameBuf, Stored)> {
    let layer = Layer {
        index: 0,
        namespace,
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty()).unwrap();
    let listed = snapshot::list(fd.as_fd()).unwrap().into_iter();
    let leaves = listed.filter(|entry| !entry.kind.is_dir());
    leaves
        .map(|entry| {
            let stored = load_entry(fd.as_fd(), &entry.name, layer, Marked::INDEX);
            (entry.name, stored)
        })
        .collect()
}

fn load_entry(fd: BorrowedFd<'_>, name: &NameBuf, layer: Layer, marked: Marked) -> Stored {
    let os = name.as_os_str();
    let nofollow = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    let sight = snapshot::sight(&rustix::fs::statat(fd, os, nofollow).unwrap());
    let path = [proc_path(fd).as_bytes(), b"/", name.as_bytes()].concat();
    let xattrs = snapshot::xattrs_of(&CString::new(path).unwrap()).unwrap();
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |more| rustix::fs::openat(fd, os, flags | more, Mode::empty()).unwrap();
    let data = match sight.kind {
        FileKind::Directory => {
            let child = open(OFlags::DIRECTORY);
            return Stored::Dir(load_dir(child.as_fd(), &sight, xattrs, layer, marked));
        }
        FileKind::Regular => Data::File(snapshot::read(open(OFlags::empty()).as_fd()).unwrap()),
        FileKind::Symlink => {
            let target = rustix::fs::readlinkat(fd, os, Vec::new()).unwrap();
            Data::Symlink(target.into_bytes())
        }
        kind @ (FileKind::Fifo
        | FileKind::Socket
        | FileKind::CharDevice
        | FileKind::BlockDevice) => Data::Special {
            kind,
            rdev: sight.rdev,
        },
    };
    leaf(&sight, xattrs, data, layer, marked)
}

/// A layer from a storage of the core.
pub fn from_storage(root: &dyn Node, layer: impl Into<Layer>) -> Dir<Stored> {
    let layer = layer.into();
    let marked = Marked::root(&xattrs_of_node(root), layer);
    from_directory(root, layer, marked)
}

fn from_directory(root: &dyn Node, layer: Layer, marked: Marked) -> Dir<Stored> {
    let xattrs = xattrs_of_node(root);
    let marked = marked.below(&xattrs, layer);
    let mut names = Vec::new();
    root.entries(&mut |entry| {
        names.push(entry.name.to_owned());
        ControlFlow::Continue(())
    })
    .unwrap();
    let mut entries = BTreeMap::new();
    for name in names {
        let found = root.lookup(&name).unwrap().unwrap();
        let stored = from_node(&*found.node, &found.attr, layer, marked);
        entries.insert(name, stored);
    }
    let sight = sight_of(&root.attr().unwrap());
    directory(&sight, xattrs, entries, layer)
}

/// An entry of the index in a storage, as the top layer has it.
pub(crate) fn copy_from(node: &dyn Node, attr: &Attr, layer: Layer) -> Stored {
    from_node(node, attr, layer, Marked::INDEX)
}

fn from_node(node: &dyn Node, attr: &Attr, layer: Layer, marked: Marked) -> Stored {
    let data = match attr.kind {
        FileKind::Directory => return Stored::Dir(from_directory(node, layer, marked)),
        FileKind::Regular => {
            let mut content = vec![0; attr.size as usize];
            let file = node.open(Access::Read).unwrap();
            assert_eq!(file.read_at(&mut content, 0), Ok(content.len()));
            Data::File(content)
        }
        FileKind::Symlink => Data::Symlink(node.link_target().unwrap()),
        kind @ (FileKind::Fifo
        | FileKind::Socket
        | FileKind::CharDevice
        | FileKind::BlockDevice) => Data::Special {
            kind,
            rdev: attr.rdev,
        },
    };
    leaf(&sight_of(attr), xattrs_of_node(node), data, layer, marked)
}

fn xattrs_of_node(node: &dyn Node) -> Xattrs {
    let names = node.xattr_names().unwrap();
    let read = |name: Vec<u8>| {
        let value = node.xattr(&name).unwrap().unwrap();
        (name, value)
    };
    names
        .into_iter()
        .filter(|name| !name.starts_with(b"security."))
        .map(read)
        .collect()
}

/// The attributes of an object of the core, without content.
pub fn sight_of(attr: &Attr) -> Sight {
    Sight {
        kind: attr.kind,
        mode: attr.mode,
        uid: attr.uid,
        gid: attr.gid,
        nlink: attr.nlink,
        mtime: Time::At(attr.mtime),
        rdev: attr.rdev,
        size: match attr.kind {
            FileKind::Regular | FileKind::Symlink => attr.size,
            FileKind::Directory
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::CharDevice
            | FileKind::BlockDevice => 0,
        },
        content: None,
        xattrs: None,
        ino: attr.ino,
    }
}

fn directory(
    sight: &Sight,
    xattrs: Xattrs,
    entries: BTreeMap<NameBuf, Stored>,
    layer: Layer,
) -> Dir<Stored> {
    let opaque = mark(&xattrs, layer, b"opaque");
    let redirect = mark(&xattrs, layer, b"redirect");
    Dir {
        parts: vec![id(sight, layer)],
        opaque: opaque.is_some_and(|value| value == b"y"),
        redirect: redirect.map(|value| read_redirect(value)),
        entries,
        meta: meta(sight, xattrs, layer.namespace),
    }
}

fn mark<'a>(xattrs: &'a Xattrs, layer: Layer, name: &[u8]) -> Option<&'a Vec<u8>> {
    xattrs.get(&[layer.namespace.prefix(), name].concat())
}

/// A path from the root begins with a slash; a name has none.
fn read_redirect(value: &[u8]) -> Redirect {
    let name = |bytes: &[u8]| NameBuf::new(bytes).unwrap();
    match value.strip_prefix(b"/") {
        None => Redirect::Name(name(value)),
        Some(path) => {
            let names = path.split(|byte| *byte == b'/').map(name);
            Redirect::Path(spec::Path(names.collect()))
        }
    }
}

fn leaf(sight: &Sight, xattrs: Xattrs, data: Data, layer: Layer, marked: Marked) -> Stored {
    let is_metacopy = mark(&xattrs, layer, b"metacopy").is_some();
    let redirect = mark(&xattrs, layer, b"redirect").map(|value| read_redirect(value));
    let hides = mark(&xattrs, layer, b"whiteout").is_some();
    match data {
        Data::File(content) if marked.directory && hides && content.is_empty() => Stored::Whiteout,
        Data::Special {
            kind: FileKind::CharDevice,
            rdev: 0,
        } => Stored::Whiteout,
        Data::File(_) if is_metacopy => Stored::Metacopy(Metacopy {
            id: id(sight, layer),
            links: sight.nlink,
            size: sight.size,
            redirect,
            meta: meta(sight, xattrs, layer.namespace),
        }),
        Data::File(_) | Data::Symlink(_) | Data::Special { .. } => Stored::Leaf(Leaf {
            id: id(sight, layer),
            links: sight.nlink,
            data,
            meta: meta(sight, xattrs, layer.namespace),
        }),
    }
}

fn id(sight: &Sight, layer: Layer) -> Id {
    Id {
        layer: layer.index,
        number: sight.ino,
    }
}

/// Our own attributes are left out, and what was escaped gets its name back.
fn meta(sight: &Sight, xattrs: Xattrs, namespace: Namespace) -> Meta {
    let prefix = namespace.prefix();
    let shown = xattrs
        .into_iter()
        .filter_map(|(name, value)| match name.strip_prefix(prefix) {
            None => Some((name, value)),
            Some(rest) => {
                let nested = rest.strip_prefix(b"overlay.")?;
                Some(([prefix, nested].concat(), value))
            }
        });
    Meta {
        mode: sight.mode,
        uid: sight.uid,
        gid: sight.gid,
        mtime: match sight.mtime {
            Time::At(time) => time,
            Time::Recent | Time::Unknown => unreachable!("read from a storage"),
        },
        xattrs: shown.collect(),
    }
}
