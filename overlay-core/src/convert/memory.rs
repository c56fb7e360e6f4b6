//! What entries of AuFS looked like, kept in attributes so that the way back
//! makes them again: one line an entry.
//!
//! On the root: the three entries that AuFS keeps there. On a directory: its
//! `.wh..wh..opq`, on a whiteout: its `.wh.NAME`; both only where they are no
//! hard links of AuFS' own file.

use crate::attr::{Attr, FileKind, Owner, SetAttr, SetTime, Timestamp};

/// The first line of what the root remembers, which may be nothing.
const HEAD: &str = "aufs";

/// How an entry looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    pub mode: u32,
    pub owner: Owner,
    /// The inode number if it had several names, else 0: whoever has the same
    /// was another name of it.
    pub group: u64,
    atime: Timestamp,
    mtime: Timestamp,
}

impl Look {
    pub(super) fn of(attr: &Attr) -> Look {
        let several = attr.nlink > 1 && attr.kind != FileKind::Directory;
        Look {
            mode: attr.mode,
            owner: Owner {
                uid: attr.uid,
                gid: attr.gid,
            },
            group: if several { attr.ino } else { 0 },
            atime: attr.atime,
            mtime: attr.mtime,
        }
    }

    pub(super) fn times(&self) -> SetAttr {
        SetAttr {
            atime: Some(SetTime::To(self.atime)),
            mtime: Some(SetTime::To(self.mtime)),
            ..SetAttr::default()
        }
    }

    pub(super) fn to_value(self) -> Vec<u8> {
        let Owner { uid, gid } = self.owner;
        let (mode, group) = (self.mode, self.group);
        let (atime, mtime) = (time(self.atime), time(self.mtime));
        format!("{mode:o} {uid} {gid} {group} {atime} {mtime}").into_bytes()
    }

    /// `None` for what nobody here wrote: then it is as if there were nothing.
    pub(super) fn parse(value: &[u8]) -> Option<Look> {
        Look::parse_text(std::str::from_utf8(value).ok()?)
    }

    fn parse_text(text: &str) -> Option<Look> {
        let mut words = text.split(' ');
        Some(Look {
            mode: u32::from_str_radix(words.next()?, 8).ok()? & 0o7777,
            owner: Owner {
                uid: words.next()?.parse().ok()?,
                gid: words.next()?.parse().ok()?,
            },
            group: words.next()?.parse().ok()?,
            atime: parse_time(words.next()?)?,
            mtime: parse_time(words.next()?)?,
        })
    }
}

/// What the root remembers: the entries that were there, each with its look.
pub(super) fn root_value(entries: &[(&'static [u8], Look)]) -> Vec<u8> {
    let mut value = HEAD.as_bytes().to_vec();
    for (name, look) in entries {
        value.push(b'\n');
        value.extend([name, &b" "[..], &look.to_value()].concat());
    }
    value
}

/// The look of `name`, as the root remembers it: `Some(None)` if it was not
/// there, and `None` if this remembers nothing.
pub(super) fn in_root_value(value: &[u8], name: &[u8]) -> Option<Option<Look>> {
    let mut lines = value.split(|byte| *byte == b'\n');
    if lines.next()? != HEAD.as_bytes() {
        return None;
    }
    let look = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(b" "));
    Some(look.and_then(Look::parse))
}

/// Seconds and nanoseconds, `-1.5` being 1.5 seconds before the epoch less
/// one second: as the kernel keeps it.
pub(super) fn time(time: Timestamp) -> String {
    format!("{}.{:09}", time.sec, time.nsec)
}

pub(super) fn parse_time(text: &str) -> Option<Timestamp> {
    let (sec, nsec) = text.split_once('.')?;
    let nsec: u32 = nsec.parse().ok().filter(|nsec| *nsec < 1_000_000_000)?;
    Some(Timestamp {
        sec: sec.parse().ok()?,
        nsec,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_remembered_is_read_back() {
        let look = Look {
            mode: 0o444,
            owner: Owner { uid: 7, gid: 8 },
            group: 9,
            atime: Timestamp { sec: -3, nsec: 5 },
            mtime: Timestamp {
                sec: 1_700_000_000,
                nsec: 999_999_999,
            },
        };
        assert_eq!(Look::parse(&look.to_value()), Some(look));
        assert_eq!(Look::parse(b"444 7"), None);
        let value = root_value(&[(b".wh..wh.aufs", look)]);
        assert_eq!(in_root_value(&value, b".wh..wh.aufs"), Some(Some(look)));
        assert_eq!(in_root_value(&value, b".wh..wh.orph"), Some(None));
        assert_eq!(in_root_value(b"x", b".wh..wh.orph"), None);
    }
}
