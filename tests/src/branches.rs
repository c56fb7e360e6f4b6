//! Branches as AuFS writes them, from layers in the specification's words, and
//! all that a branch stores in one value, to be compared byte by byte.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use overlay_core::attr::{FileKind, Timestamp};
use overlay_core::layer::{Access, Node};
use overlay_core::name::NameBuf;
use overlay_core::spec::{Data, Dir, Id, Leaf, Meta, Stored};

/// Who wrote a branch with `.wh.` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// AuFS: whiteouts are hard links of a file at the root.
    Aufs,
    /// Whoever unpacked a layer's archive: whiteouts are files of their own,
    /// or hard links of each other.
    Archive,
}

/// A branch with the same meaning; what AuFS could not store is left out.
pub fn aufs(layer: &Dir<Stored>, writer: Writer) -> Dir<Stored> {
    let mut encoder = Encoder {
        writer,
        marks: 0,
        base: 0,
    };
    let mut root = encoder.directory(layer);
    root.opaque = false;
    if writer == Writer::Aufs {
        for own in [".wh..wh.plnk", ".wh..wh.orph"] {
            let mut dir = Dir::new(u64::MAX - 1, []);
            dir.meta = meta(0o700, 5);
            root.entries.insert(name(own), Stored::Dir(dir));
        }
        let base = encoder.linked(u64::MAX - 2, meta(0o444, 7));
        root.entries.insert(name(".wh..wh.aufs"), base);
        let links = encoder.base;
        set_links(&mut root, links);
    }
    root
}

/// The layer without what AuFS could not store, in the form of OverlayFS.
pub fn expressible(layer: &Dir<Stored>) -> Dir<Stored> {
    let mut dir = Dir {
        entries: BTreeMap::new(),
        meta: plain(&layer.meta),
        ..layer.clone()
    };
    for (name, stored) in &layer.entries {
        if name.as_bytes().starts_with(b".wh.") || name.as_bytes().len() > 242 {
            continue;
        }
        let stored = match stored {
            Stored::Whiteout if layer.opaque => continue,
            Stored::Dir(below) => Stored::Dir(expressible(below)),
            Stored::Leaf(leaf) => Stored::Leaf(Leaf {
                meta: plain(&leaf.meta),
                ..leaf.clone()
            }),
            Stored::Whiteout | Stored::Metacopy(_) => stored.clone(),
        };
        dir.entries.insert(name.clone(), stored);
    }
    dir
}

fn plain(meta: &Meta) -> Meta {
    let mut meta = meta.clone();
    let own = |name: &[u8]| name.starts_with(b"trusted.overlay.");
    meta.xattrs.retain(|name, _| !own(name));
    meta
}

struct Encoder {
    writer: Writer,
    marks: u64,
    base: u64,
}

impl Encoder {
    fn directory(&mut self, dir: &Dir<Stored>) -> Dir<Stored> {
        let mut new = Dir {
            entries: BTreeMap::new(),
            opaque: false,
            ..expressible(dir)
        };
        for (entry, stored) in expressible(dir).entries {
            match stored {
                Stored::Whiteout => {
                    let hider = NameBuf::new([b".wh.", entry.as_bytes()].concat()).unwrap();
                    new.entries.insert(hider, self.mark());
                }
                Stored::Dir(below) => {
                    let below = self.directory(&below);
                    new.entries.insert(entry, Stored::Dir(below));
                }
                Stored::Leaf(_) | Stored::Metacopy(_) => {
                    new.entries.insert(entry, stored);
                }
            }
        }
        if dir.opaque {
            new.entries.insert(name(".wh..wh..opq"), self.mark());
        }
        new
    }

    fn mark(&mut self) -> Stored {
        self.marks += 1;
        match self.writer {
            Writer::Aufs => self.linked(u64::MAX - 2, meta(0o444, 7)),
            // Every third one is a hard link of the others.
            Writer::Archive if self.marks.is_multiple_of(3) => {
                self.linked(u64::MAX - 3, meta(0o600, 9))
            }
            Writer::Archive => {
                let number = u64::MAX - 10 - self.marks;
                file(number, 1, meta(0o644, self.marks as i64))
            }
        }
    }

    fn linked(&mut self, number: u64, meta: Meta) -> Stored {
        self.base += u64::from(number == u64::MAX - 2);
        file(number, 2, meta)
    }
}

fn file(number: u64, links: u64, meta: Meta) -> Stored {
    Stored::Leaf(Leaf {
        id: Id { layer: 0, number },
        links,
        data: Data::File(Vec::new()),
        meta,
    })
}

fn set_links(dir: &mut Dir<Stored>, links: u64) {
    for entry in dir.entries.values_mut() {
        match entry {
            Stored::Dir(below) => set_links(below, links),
            Stored::Leaf(leaf) if leaf.id.number == u64::MAX - 2 => leaf.links = links,
            Stored::Leaf(_) | Stored::Metacopy(_) | Stored::Whiteout => {}
        }
    }
}

fn meta(mode: u32, sec: i64) -> Meta {
    Meta {
        mtime: Timestamp {
            sec: 900_000_000 + sec,
            nsec: 123_456_789,
        },
        ..Meta::new(mode)
    }
}

fn name(text: &str) -> NameBuf {
    NameBuf::new(text).unwrap()
}

/// All that is stored of an object, but for its inode number and the times
/// that nobody can set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// What it is.
    pub kind: FileKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Last change; 0 for any time after 2020, which nothing generated has.
    pub mtime: Timestamp,
    /// The device number.
    pub rdev: u64,
    /// How many links it has, also of a directory.
    pub nlink: u64,
    /// All attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The content of a file, the target of a symlink.
    pub content: Vec<u8>,
    /// The first path of the same object.
    pub first: Vec<u8>,
}

/// All that a branch stores, by path; the root has an empty one.
pub type Tree = BTreeMap<Vec<u8>, Object>;

/// 2020, in seconds.
const RECENT: i64 = 1_577_836_800;

/// Reads a whole branch.
pub fn tree(root: &dyn Node) -> Tree {
    let mut tree = Tree::new();
    read(root, Vec::new(), &mut BTreeMap::new(), &mut tree);
    tree
}

fn read(node: &dyn Node, path: Vec<u8>, firsts: &mut BTreeMap<u64, Vec<u8>>, tree: &mut Tree) {
    let attr = node.attr().unwrap();
    let content = match attr.kind {
        FileKind::Regular => {
            let mut content = vec![0; attr.size as usize];
            let file = node.open(Access::Read).unwrap();
            assert_eq!(file.read_at(&mut content, 0), Ok(content.len()));
            content
        }
        FileKind::Symlink => node.link_target().unwrap(),
        FileKind::Directory
        | FileKind::Fifo
        | FileKind::Socket
        | FileKind::CharDevice
        | FileKind::BlockDevice => Vec::new(),
    };
    let names = node.xattr_names().unwrap().into_iter();
    let xattrs = names.map(|name| {
        let value = node.xattr(&name).unwrap().unwrap();
        (name, value)
    });
    let object = Object {
        kind: attr.kind,
        mode: attr.mode,
        owner: (attr.uid, attr.gid),
        mtime: match attr.mtime.sec {
            ..RECENT => attr.mtime,
            RECENT.. => Timestamp::default(),
        },
        rdev: attr.rdev,
        nlink: attr.nlink,
        xattrs: xattrs.collect(),
        content,
        first: firsts
            .entry(attr.ino)
            .or_insert_with(|| path.clone())
            .clone(),
    };
    tree.insert(path.clone(), object);
    if !attr.kind.is_dir() {
        return;
    }
    let mut names = Vec::new();
    node.entries(&mut |entry| {
        names.push(entry.name.to_owned());
        ControlFlow::Continue(())
    })
    .unwrap();
    names.sort();
    for name in names {
        let mut path = path.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend(name.as_bytes());
        let found = node.lookup(&name).unwrap().unwrap();
        read(&*found.node, path, firsts, tree);
    }
}

/// How two branches differ, as one line for each object.
pub fn difference(expected: &Tree, found: &Tree) -> String {
    let mut paths: Vec<_> = expected.keys().chain(found.keys()).collect();
    paths.sort();
    paths.dedup();
    let lines = paths.into_iter().filter_map(|path| {
        let (expected, found) = (expected.get(path), found.get(path));
        (expected != found).then(|| {
            format!(
                "/{}:\n    {expected:?}\n    {found:?}\n",
                path.escape_ascii()
            )
        })
    });
    lines.collect()
}
