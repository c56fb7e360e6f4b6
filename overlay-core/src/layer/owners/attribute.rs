//! The attribute that holds an object's owner, mode and kind.
//!
//! Its value is `UID:GID:MODE[:KIND]`: decimal ids, an octal mode, and `file`,
//! `dir`, `symlink`, `pipe`, `socket`, `char-MAJOR-MINOR` or
//! `block-MAJOR-MINOR`. Source: `pkg/idtools` of containers/storage. Versions
//! 1.x of fuse-overlayfs write no kind, but its bits in the mode, and `-1` for
//! an id that was not set; 2.0 reads `charMAJOR:MINOR`.

use crate::attr::{Attr, FileKind};
use crate::error::{Errno, Error, Result};
use crate::layer::Node;

/// An attribute that holds owner, mode and kind of the object that carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribute {
    /// `user.containers.override_stat`: of containers/storage, and of
    /// fuse-overlayfs with `xattr_permissions=2`.
    Containers,
    /// `user.fuseoverlayfs.override_stat`: what fuse-overlayfs up to 1.10 wrote
    /// with `xattr_permissions=2`.
    FuseOverlayfs,
    /// `security.fuseoverlayfs.override_stat`: of fuse-overlayfs with
    /// `xattr_permissions=1`. Writing it needs `CAP_SYS_ADMIN`.
    Privileged,
}

const DAMAGED: Error = Error::Damaged("an owner attribute (override_stat) that cannot be read");

/// The kind that an attribute gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    kind: FileKind,
    rdev: u64,
}

impl Attribute {
    /// In the order in which a layer's root is asked, as fuse-overlayfs does.
    const ALL: [Attribute; 3] = [
        Attribute::Privileged,
        Attribute::Containers,
        Attribute::FuseOverlayfs,
    ];

    /// The attribute's full name.
    pub fn name(self) -> &'static [u8] {
        match self {
            Attribute::Containers => b"user.containers.override_stat",
            Attribute::FuseOverlayfs => b"user.fuseoverlayfs.override_stat",
            Attribute::Privileged => b"security.fuseoverlayfs.override_stat",
        }
    }

    /// The prefix of all attributes that are stored and not shown as they are.
    pub(super) fn prefix(self) -> &'static [u8] {
        match self {
            Attribute::Containers => b"user.containers.override_",
            Attribute::FuseOverlayfs => b"user.fuseoverlayfs.override_",
            Attribute::Privileged => b"security.fuseoverlayfs.override_",
        }
    }

    /// The attribute that the tree below `root` uses: the root of such a tree
    /// carries it.
    pub fn of_tree(root: &dyn Node) -> Result<Option<Attribute>> {
        for attribute in Attribute::ALL {
            if root.xattr(attribute.name())?.is_some() {
                return Ok(Some(attribute));
            }
        }
        Ok(None)
    }

    /// Whether only a privileged process can have written it.
    pub fn is_privileged(self) -> bool {
        match self {
            Attribute::Privileged => true,
            Attribute::Containers | Attribute::FuseOverlayfs => false,
        }
    }

    /// Whether an object of this kind, made as it is, can carry the attribute:
    /// `user.*` are for files and directories (`xattr(7)`).
    pub(super) fn is_for(self, kind: FileKind) -> bool {
        match kind {
            FileKind::Regular | FileKind::Directory => true,
            FileKind::Symlink
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::CharDevice
            | FileKind::BlockDevice => self.is_privileged(),
        }
    }

    /// The attributes to show for `node`, whose own are `attr`.
    pub(super) fn read<N: Node + ?Sized>(self, node: &N, attr: Attr) -> Result<Attr> {
        let value = match node.xattr(self.name()) {
            // Not readable for us, but the names are.
            Err(error) if error.is(Errno::ACCESS) => {
                match node.xattr_names()?.iter().any(|name| name == self.name()) {
                    true => return Err(error),
                    false => None,
                }
            }
            outcome => outcome?,
        };
        self.shown(value.as_deref(), attr)
    }

    /// The same for an object whose attribute has this value, if any.
    pub(super) fn shown(self, value: Option<&[u8]>, attr: Attr) -> Result<Attr> {
        match value {
            Some(value) => apply(value, attr),
            None => Ok(attr),
        }
    }

    /// The value that says what `attr` is.
    pub(super) fn value(self, attr: &Attr) -> Vec<u8> {
        let kind = match attr.kind {
            FileKind::Regular => "file".to_owned(),
            FileKind::Directory => "dir".to_owned(),
            FileKind::Symlink => "symlink".to_owned(),
            FileKind::Fifo => "pipe".to_owned(),
            FileKind::Socket => "socket".to_owned(),
            FileKind::CharDevice => format!("char-{}", numbers(attr.rdev)),
            FileKind::BlockDevice => format!("block-{}", numbers(attr.rdev)),
        };
        let (uid, gid, mode) = (attr.uid, attr.gid, attr.mode & 0o7777);
        format!("{uid}:{gid}:{mode:04o}:{kind}").into_bytes()
    }
}

fn numbers(rdev: u64) -> String {
    format!("{}-{}", libc::major(rdev), libc::minor(rdev))
}

/// `attr` as `value` says.
fn apply(value: &[u8], attr: Attr) -> Result<Attr> {
    // Two cannot be split off a value: "char1:3".
    let mut parts = value.splitn(4, |byte| *byte == b':');
    let mut part = || parts.next().ok_or(DAMAGED);
    let (uid, gid, mode) = (id(part()?)?, id(part()?)?, part()?);
    let mode = text(mode)?;
    let mode = u32::from_str_radix(mode, 8).map_err(|_| DAMAGED)? & 0o7777;
    let kind = match parts.next() {
        // What is no regular file stands for nothing but itself.
        Some(said) if attr.kind == FileKind::Regular => kind(said)?,
        Some(_) | None => Kind {
            kind: attr.kind,
            rdev: attr.rdev,
        },
    };
    Ok(Attr {
        kind: kind.kind,
        mode,
        uid: uid.unwrap_or(attr.uid),
        gid: gid.unwrap_or(attr.gid),
        rdev: kind.rdev,
        ..attr
    })
}

/// An id; `None` for the id that is none.
fn id(bytes: &[u8]) -> Result<Option<u32>> {
    let number: i64 = text(bytes)?.parse().map_err(|_| DAMAGED)?;
    if number == -1 || number == i64::from(u32::MAX) {
        return Ok(None);
    }
    // fuse-overlayfs 1.x prints ids above 2^31 as negative numbers.
    let unsigned = match i32::try_from(number) {
        Ok(signed) => Ok(signed as u32),
        Err(_) => u32::try_from(number),
    };
    unsigned.map(Some).map_err(|_| DAMAGED)
}

/// What a regular file stands for. Later versions may append to a kind.
fn kind(said: &[u8]) -> Result<Kind> {
    let said = text(said)?;
    let plain = |kind| Ok(Kind { kind, rdev: 0 });
    let device = |kind, numbers: &str| {
        let mut numbers = numbers.split(['-', ':']).filter(|part| !part.is_empty());
        let mut number = || numbers.next()?.parse::<u32>().ok();
        let (major, minor) = (number(), number());
        match (major, minor) {
            (Some(major), Some(minor)) => Ok(Kind {
                kind,
                rdev: libc::makedev(major, minor),
            }),
            _ => Err(DAMAGED),
        }
    };
    if let Some(numbers) = said.strip_prefix("block") {
        device(FileKind::BlockDevice, numbers)
    } else if let Some(numbers) = said.strip_prefix("char") {
        device(FileKind::CharDevice, numbers)
    } else if said.starts_with("file") {
        plain(FileKind::Regular)
    } else if said.starts_with("pipe") {
        plain(FileKind::Fifo)
    } else if said.starts_with("socket") {
        plain(FileKind::Socket)
    } else {
        // A file cannot stand for a directory, and none we know of stores a
        // symlink as one.
        Err(DAMAGED)
    }
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| DAMAGED)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::attr::{Protection, Timestamp};

    fn plain(kind: FileKind) -> Attr {
        Attr {
            kind,
            mode: 0o755,
            nlink: 1,
            uid: 10,
            gid: 20,
            rdev: 0,
            size: 0,
            blocks: 0,
            blksize: 4096,
            atime: Timestamp::default(),
            mtime: Timestamp::default(),
            ctime: Timestamp::default(),
            ino: 2,
            dev: 3,
            protection: Protection::NONE,
        }
    }

    fn applied(value: &str) -> (u32, u32, u32, FileKind, u64) {
        let attr = apply(value.as_bytes(), plain(FileKind::Regular)).unwrap();
        (attr.uid, attr.gid, attr.mode, attr.kind, attr.rdev)
    }

    #[test]
    fn values_of_all_tools_are_read() {
        let device = libc::makedev(10, 11);
        let cases = [
            // containers/storage
            (
                "1000:1011:0644:file",
                (1000, 1011, 0o644, FileKind::Regular, 0),
            ),
            ("1:2:4755:file", (1, 2, 0o4755, FileKind::Regular, 0)),
            ("0:0:0666:pipe", (0, 0, 0o666, FileKind::Fifo, 0)),
            ("0:0:0700:socket", (0, 0, 0o700, FileKind::Socket, 0)),
            (
                "5:6:0600:char-10-11",
                (5, 6, 0o600, FileKind::CharDevice, device),
            ),
            (
                "5:6:0600:block-10-11-x",
                (5, 6, 0o600, FileKind::BlockDevice, device),
            ),
            // fuse-overlayfs 1.x: kind bits in the mode, -1 for "not set"
            ("0:0:104755", (0, 0, 0o4755, FileKind::Regular, 0)),
            ("44:-1:100755", (44, 20, 0o755, FileKind::Regular, 0)),
            ("-2:7:644", (u32::MAX - 1, 7, 0o644, FileKind::Regular, 0)),
            (
                "4294967294:7:644",
                (u32::MAX - 1, 7, 0o644, FileKind::Regular, 0),
            ),
            // fuse-overlayfs 2.0
            (
                "0:6:666:char10:11",
                (0, 6, 0o666, FileKind::CharDevice, device),
            ),
        ];
        for (value, expected) in cases {
            assert_eq!(applied(value), expected, "{value}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for kind in [FileKind::Regular, FileKind::Fifo, FileKind::CharDevice] {
            let attr = Attr {
                uid: 7,
                gid: u32::MAX - 1,
                mode: 0o2701,
                rdev: match kind == FileKind::CharDevice {
                    true => libc::makedev(259, 70_000),
                    false => 0,
                },
                kind,
                ..plain(kind)
            };
            let value = Attribute::Containers.value(&attr);
            assert_eq!(apply(&value, plain(FileKind::Regular)).unwrap(), attr);
        }
        let value = Attribute::Containers.value(&plain(FileKind::Directory));
        assert_eq!(value, b"10:20:0755:dir");
    }

    #[test]
    fn a_directory_stays_one_whatever_the_attribute_says() {
        let attr = apply(b"1:2:700:file", plain(FileKind::Directory)).unwrap();
        assert_eq!((attr.kind, attr.mode), (FileKind::Directory, 0o700));
    }

    #[test]
    fn nonsense_is_an_error_and_no_owner() {
        for value in [
            "",
            "1:2",
            "a:0:644",
            "0:0:9",
            "0:0:644:dir",
            "0:0:644:char",
            "0:0:644:x",
        ] {
            let outcome = apply(value.as_bytes(), plain(FileKind::Regular));
            assert_eq!(outcome, Err(DAMAGED), "{value:?}");
        }
        assert!(apply(b"4294967296:0:644", plain(FileKind::Regular)).is_err());
    }
}
