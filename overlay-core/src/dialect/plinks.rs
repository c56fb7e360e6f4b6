//! How AuFS' pseudo-links are named, in `.wh..wh.plnk` of a writable branch,
//! and what stands beside each here.
//!
//! AuFS names one `U.C`: the number that the union shows for the object, and
//! the copy's own on the branch (`plink_name` in `fs/aufs/plink.c`). All else
//! that has to be known of it are further links of the copy, `U.C.PROOF.K`: one
//! for each name of the original that the copy does not have yet, and that
//! with 0 for K, which says of which original it is a copy. So what must change
//! together with the link count changes with it.

use std::fmt::Write;

use crate::attr::{Attr, FileKind};
use crate::handle::FileHandle;
use crate::name::{Name, NameBuf};

/// Links of a copy that are no names of the union: its entry, and the proof.
pub const OWN_LINKS: u64 = 2;

/// The most links that an original may have: each costs its copy one from the
/// beginning, and no filesystem in use takes less than 65,000 (ext4).
pub const MOST_LINKS: u64 = 10_000;

/// A copy among the pseudo-links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Plink {
    /// The number that the union shows.
    pub number: u64,
    /// The copy's inode number on its branch.
    pub copy: u64,
}

/// What an entry of `.wh..wh.plnk` is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Called {
    /// The pseudo-link itself.
    Plink(Plink),
    /// A further link of the copy.
    Beside(Plink, Beside),
}

/// What a further link of a copy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beside {
    /// Of which original it is the copy.
    pub proof: u64,
    /// 0 for nothing else; any other stands for a name that only lower branches
    /// have.
    pub place: u64,
}

impl Plink {
    /// The name of the pseudo-link.
    pub fn name(self) -> NameBuf {
        name(format!("{}.{}", self.number, self.copy))
    }

    /// The name of a further link.
    pub fn beside(self, proof: u64, place: u64) -> NameBuf {
        let Plink { number, copy } = self;
        name(format!("{number}.{copy}.{proof:016x}.{place}"))
    }
}

fn name(text: String) -> NameBuf {
    match NameBuf::new(text.into_bytes()) {
        Ok(name) => name,
        Err(_) => unreachable!("at most 80 digits and dots are a name"),
    }
}

/// What a name says; `None` if it is none of these.
pub fn parse(name: &Name) -> Option<Called> {
    let text = std::str::from_utf8(name.as_bytes()).ok()?;
    let mut words = text.split('.');
    let mut number = || words.next()?.parse().ok();
    let plink = Plink {
        number: number()?,
        copy: number()?,
    };
    let called = match (words.next(), words.next()) {
        (None, _) => Called::Plink(plink),
        (Some(proof), Some(place)) => Called::Beside(
            plink,
            Beside {
                proof: u64::from_str_radix(proof, 16).ok()?,
                place: place.parse().ok()?,
            },
        ),
        (Some(_), None) => return None,
    };
    let canonical = match called {
        Called::Plink(plink) => plink.name(),
        Called::Beside(plink, Beside { proof, place }) => plink.beside(proof, place),
    };
    (*canonical == *name).then_some(called)
}

/// What tells an original from another object that gets its number one day,
/// when the branches below were made anew: 64 bits of FNV-1a of its kind, size
/// and modification time, and of its handle where it has one. Not of its
/// change time, link count, mode and owner: those of what nobody writes to
/// change too, by a further link or an archive of the branch.
pub fn proof_of(attr: &Attr, handle: Option<&FileHandle>) -> u64 {
    let mut text = String::new();
    let kind = attr.kind.mode_bits();
    let (sec, nsec) = (attr.mtime.sec, attr.mtime.nsec);
    let rdev = match attr.kind {
        FileKind::CharDevice | FileKind::BlockDevice => attr.rdev,
        FileKind::Regular
        | FileKind::Directory
        | FileKind::Symlink
        | FileKind::Fifo
        | FileKind::Socket => 0,
    };
    let (form, bytes) = handle.map_or((0, &[][..]), |handle| (handle.kind, &handle.bytes[..]));
    match write!(text, "{kind} {} {sec} {nsec} {rdev} {form} ", attr.size) {
        Ok(()) => {}
        Err(_) => unreachable!("a string takes what is written to it"),
    }
    text.as_bytes()
        .iter()
        .chain(bytes)
        .fold(BASIS, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(PRIME)
        })
}

/// The constants of FNV-1a for 64 bits.
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parsed(name: &str) -> Option<Called> {
        parse(Name::new(name.as_bytes()).unwrap())
    }

    #[test]
    fn a_pseudo_link_is_called_by_two_numbers() {
        let plink = Plink {
            number: 12,
            copy: 34,
        };
        assert_eq!(plink.name().as_bytes(), b"12.34");
        assert_eq!(parsed("12.34"), Some(Called::Plink(plink)));
        let beside = plink.beside(0xabc, 7);
        assert_eq!(beside.as_bytes(), b"12.34.0000000000000abc.7");
        let said = Beside {
            proof: 0xabc,
            place: 7,
        };
        assert_eq!(parse(&beside), Some(Called::Beside(plink, said)));
    }

    #[test]
    fn no_other_name_is_one() {
        for other in [
            "12",
            "12.",
            ".34",
            "12.x",
            "+12.34",
            "012.34",
            "12.34.",
            "12.34.abc.7",
            "12.34.0000000000000abc",
            "12.34.0000000000000ABC.7",
            "12.34.0000000000000abc.7.8",
        ] {
            assert_eq!(parsed(other), None, "{other}");
        }
    }
}
