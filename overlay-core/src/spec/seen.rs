//! What can be seen of a tree, path by path, and how two such sights differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::attr::{FileKind, Timestamp};
use crate::name::NameBuf;

use super::{Data, Dir, Id, Meta, Path, Visible};

/// A whole tree, path by path.
pub type Seen = BTreeMap<Path, Sight>;

/// Everything that one look at an object tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// Its kind.
    pub kind: FileKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Link count. A merged directory's is 1.
    pub nlink: u64,
    /// Last change of content.
    pub mtime: Time,
    /// Device number, 0 if it is not a device.
    pub rdev: u64,
    /// Size of files and symlinks, in bytes; 0 for anything else.
    pub size: u64,
    /// A file's content or a symlink's target, where it was read.
    pub content: Option<Vec<u8>>,
    /// Extended attributes, where they were read.
    pub xattrs: Option<BTreeMap<Vec<u8>, Vec<u8>>>,
    /// Stands for the inode number: only which paths share one can be compared
    /// between two sights, and whether it stays.
    pub ino: u64,
}

/// A modification time as far as it is determined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// Exactly this.
    At(Timestamp),
    /// Set by the clock during the history.
    Recent,
    /// Filesystems differ here.
    Unknown,
}

impl Time {
    /// 2020: everything generated is older, every test runs later.
    const RECENT: i64 = 1_577_836_800;

    /// Whether both may be the same time.
    pub fn agrees(self, other: Time) -> bool {
        match (self, other) {
            (Time::Unknown, _) | (_, Time::Unknown) => true,
            (Time::Recent, Time::Recent) => true,
            (Time::Recent, Time::At(time)) | (Time::At(time), Time::Recent) => {
                time.sec >= Time::RECENT
            }
            (Time::At(one), Time::At(other)) => one == other,
        }
    }
}

impl Sight {
    /// Whether both may be sights of the same object; inode numbers aside.
    pub fn agrees(&self, other: &Sight) -> bool {
        let Sight {
            kind,
            mode,
            uid,
            gid,
            nlink,
            mtime,
            rdev,
            size,
            content,
            xattrs,
            ino: _,
        } = self;
        fn both<T: PartialEq>(one: &Option<T>, other: &Option<T>) -> bool {
            one.is_none() || other.is_none() || one == other
        }
        *kind == other.kind
            && *mode == other.mode
            && (*uid, *gid) == (other.uid, other.gid)
            && *nlink == other.nlink
            && mtime.agrees(other.mtime)
            && *rdev == other.rdev
            && *size == other.size
            && both(content, &other.content)
            && both(xattrs, &other.xattrs)
    }

    pub(super) fn new(meta: &Meta, kind: FileKind, nlink: u64, ino: u64) -> Sight {
        Sight {
            kind,
            mode: meta.mode,
            uid: meta.uid,
            gid: meta.gid,
            nlink,
            mtime: Time::At(meta.mtime),
            rdev: 0,
            size: 0,
            content: None,
            xattrs: Some(meta.xattrs.clone()),
            ino,
        }
    }
}

impl fmt::Display for Sight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} {:04o} {}:{} nlink {} ",
            self.kind, self.mode, self.uid, self.gid, self.nlink
        )?;
        match self.mtime {
            Time::At(time) => write!(f, "mtime {}.{:09}", time.sec, time.nsec)?,
            Time::Recent => f.write_str("mtime recent")?,
            Time::Unknown => f.write_str("mtime any")?,
        }
        write!(f, " size {}", self.size)?;
        if self.rdev != 0 {
            write!(f, " rdev {:#x}", self.rdev)?;
        }
        if let Some(content) = &self.content {
            write!(f, " '{}'", content.escape_ascii())?;
        }
        for (name, value) in self.xattrs.iter().flatten() {
            write!(f, " {}='{}'", name.escape_ascii(), value.escape_ascii())?;
        }
        write!(f, " ino {}", self.ino)
    }
}

/// What a reader sees of a view.
pub fn look(view: &Dir<Visible>) -> Seen {
    let mut numbers = BTreeMap::new();
    let mut seen = Seen::new();
    look_into(view, Path::default(), &mut numbers, &mut seen);
    seen
}

fn look_into(dir: &Dir<Visible>, path: Path, numbers: &mut BTreeMap<Id, u64>, seen: &mut Seen) {
    // Nothing lies below the lowest layer: only an empty stack has no parts.
    let ino = dir.parts.first().map_or(0, |id| number(numbers, *id));
    let sight = Sight::new(&dir.meta, FileKind::Directory, dir_links(dir), ino);
    seen.insert(path.clone(), sight);
    for (name, entry) in &dir.entries {
        let path = path.join(name);
        match entry {
            Visible::Dir(dir) => look_into(dir, path, numbers, seen),
            Visible::Leaf(leaf) => {
                let ino = number(numbers, leaf.id);
                let sight = Sight::new(&leaf.meta, leaf.data.kind(), leaf.links, ino);
                seen.insert(path, sight.with_data(&leaf.data));
            }
        }
    }
}

fn number(numbers: &mut BTreeMap<Id, u64>, id: Id) -> u64 {
    let next = numbers.len() as u64 + 1;
    *numbers.entry(id).or_insert(next)
}

/// A merged directory does not count its subdirectories.
pub(super) fn dir_links(dir: &Dir<Visible>) -> u64 {
    if dir.parts.len() > 1 {
        return 1;
    }
    let subdirs = dir.entries.values().filter(|entry| match entry {
        Visible::Dir(_) => true,
        Visible::Leaf(_) => false,
    });
    2 + subdirs.count() as u64
}

impl Sight {
    /// Fills in what the data of a non-directory shows.
    pub(super) fn with_data(self, data: &Data) -> Sight {
        match data {
            Data::File(bytes) | Data::Symlink(bytes) => Sight {
                size: data.size(),
                content: Some(bytes.clone()),
                ..self
            },
            Data::Special { rdev, .. } => Sight {
                rdev: *rdev,
                ..self
            },
        }
    }
}

/// One way in which two trees differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// Only the first tree has it.
    Missing(Path, Sight),
    /// Only the second tree has it.
    Extra(Path, Sight),
    /// Both have it, but they do not look alike.
    Unlike(Path, Sight, Sight),
    /// The two names are one object in one tree, and two in the other.
    Identity(Path, Path),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Missing(path, sight) => write!(f, "missing {path}: {sight}"),
            Difference::Extra(path, sight) => write!(f, "extra {path}: {sight}"),
            Difference::Unlike(path, expected, found) => {
                write!(
                    f,
                    "{path}\n      expected {expected}\n      found    {found}"
                )
            }
            Difference::Identity(one, other) => {
                write!(
                    f,
                    "{one} and {other} share an inode number in one tree only"
                )
            }
        }
    }
}

/// How `found` differs from `expected`; nothing if they are the same.
pub fn differences(expected: &Seen, found: &Seen) -> Vec<Difference> {
    let mut out = Vec::new();
    let paths: BTreeSet<&Path> = expected.keys().chain(found.keys()).collect();
    // The first path with each number, on either side.
    let mut there: BTreeMap<u64, (&Path, u64)> = BTreeMap::new();
    let mut back: BTreeMap<u64, (&Path, u64)> = BTreeMap::new();
    for path in paths {
        match (expected.get(path), found.get(path)) {
            (None, None) => {}
            (Some(one), None) => out.push(Difference::Missing(path.clone(), one.clone())),
            (None, Some(one)) => out.push(Difference::Extra(path.clone(), one.clone())),
            (Some(one), Some(other)) => {
                if !one.agrees(other) {
                    out.push(Difference::Unlike(path.clone(), one.clone(), other.clone()));
                }
                let (first, ino) = *there.entry(one.ino).or_insert((path, other.ino));
                let (second, mapped) = *back.entry(other.ino).or_insert((path, one.ino));
                if ino != other.ino {
                    out.push(Difference::Identity(first.clone(), path.clone()));
                }
                if mapped != one.ino {
                    out.push(Difference::Identity(second.clone(), path.clone()));
                }
            }
        }
    }
    out
}

/// Names of what a directory holds, with kinds.
pub(super) type Listing = BTreeMap<NameBuf, FileKind>;
