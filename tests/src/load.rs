//! Reads layers back from where they are stored, marks decoded.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use overlay_core::attr::{Attr, FileKind};
use overlay_core::layer::{Access, Node};
use overlay_core::name::NameBuf;
use overlay_core::spec::{self, Data, Dir, Id, Leaf, Meta, Redirect, Sight, Stored, Time};
use rustix::fs::{Mode, OFlags};
use std::os::fd::{AsFd, BorrowedFd};

use crate::snapshot;
use crate::sys::proc_path;

type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// The layer with this index, from its directory.
pub fn from_disk(path: &Path, layer: usize) -> Dir<Stored> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty()).unwrap();
    let sight = snapshot::sight(&rustix::fs::fstat(&fd).unwrap());
    let root = CString::new(path.as_os_str().as_bytes()).unwrap();
    let xattrs = snapshot::xattrs_of(&root).unwrap();
    load_dir(fd.as_fd(), &sight, xattrs, layer)
}

fn load_dir(fd: BorrowedFd<'_>, sight: &Sight, xattrs: Xattrs, layer: usize) -> Dir<Stored> {
    let mut entries = BTreeMap::new();
    for listed in snapshot::list(fd).unwrap() {
        let stored = load_entry(fd, &listed.name, layer);
        entries.insert(listed.name, stored);
    }
    directory(sight, xattrs, entries, layer)
}

fn load_entry(fd: BorrowedFd<'_>, name: &NameBuf, layer: usize) -> Stored {
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
            return Stored::Dir(load_dir(child.as_fd(), &sight, xattrs, layer));
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
    leaf(&sight, xattrs, data, layer)
}

/// The layer with this index, from a storage of the core.
pub fn from_storage(root: &dyn Node, layer: usize) -> Dir<Stored> {
    let mut names = Vec::new();
    root.entries(&mut |entry| {
        names.push(entry.name.to_owned());
        ControlFlow::Continue(())
    })
    .unwrap();
    let mut entries = BTreeMap::new();
    for name in names {
        let found = root.lookup(&name).unwrap().unwrap();
        let stored = from_node(&*found.node, &found.attr, layer);
        entries.insert(name, stored);
    }
    let sight = sight_of(&root.attr().unwrap());
    directory(&sight, xattrs_of_node(root), entries, layer)
}

fn from_node(node: &dyn Node, attr: &Attr, layer: usize) -> Stored {
    let data = match attr.kind {
        FileKind::Directory => return Stored::Dir(from_storage(node, layer)),
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
    leaf(&sight_of(attr), xattrs_of_node(node), data, layer)
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
    layer: usize,
) -> Dir<Stored> {
    let opaque = xattrs.get(&b"trusted.overlay.opaque"[..]);
    let redirect = xattrs.get(&b"trusted.overlay.redirect"[..]);
    Dir {
        parts: vec![id(sight, layer)],
        opaque: opaque.is_some_and(|value| value == b"y"),
        redirect: redirect.map(|value| read_redirect(value)),
        entries,
        meta: meta(sight, xattrs),
    }
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

fn leaf(sight: &Sight, xattrs: Xattrs, data: Data, layer: usize) -> Stored {
    match data {
        Data::Special {
            kind: FileKind::CharDevice,
            rdev: 0,
        } => Stored::Whiteout,
        Data::File(_) | Data::Symlink(_) | Data::Special { .. } => Stored::Leaf(Leaf {
            id: id(sight, layer),
            links: sight.nlink,
            data,
            meta: meta(sight, xattrs),
        }),
    }
}

fn id(sight: &Sight, layer: usize) -> Id {
    Id {
        layer,
        number: sight.ino,
    }
}

/// Our own attributes are left out, and what was escaped gets its name back.
fn meta(sight: &Sight, xattrs: Xattrs) -> Meta {
    let shown = xattrs.into_iter().filter_map(|(name, value)| {
        match name.strip_prefix(b"trusted.overlay.") {
            None => Some((name, value)),
            Some(rest) => {
                let nested = rest.strip_prefix(b"overlay.")?;
                Some(([b"trusted.overlay.", nested].concat(), value))
            }
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
