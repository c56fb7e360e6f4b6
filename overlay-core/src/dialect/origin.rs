//! Where a copy comes from, as OverlayFS stores it: a file handle of the lower
//! object, as an attribute of the copy and, in hexadecimal digits, as a name in
//! the index.
//!
//! Source: `struct ovl_fb` in `fs/overlayfs/overlayfs.h`, `ovl_check_fb_len`
//! and `ovl_get_index_name_fh` in `fs/overlayfs/namei.c`.

use crate::handle::FileHandle;
use crate::name::{Name, NameBuf};

/// `OVL_FH_VERSION`
const VERSION: u8 = 0;
/// `OVL_FH_MAGIC`
const MAGIC: u8 = 0xfb;
/// `OVL_FH_FLAG_BIG_ENDIAN`: the byte order of the machine that wrote it.
const BIG_ENDIAN: u8 = 1 << 0;
/// `OVL_FH_FLAG_ANY_ENDIAN`: its bytes mean the same everywhere.
const ANY_ENDIAN: u8 = 1 << 1;
/// `OVL_FH_FLAG_PATH_UPPER`: the object lies on the upper layer.
const OF_UPPER: u8 = 1 << 2;
/// Version, magic, length, flags, type, uuid.
const HEADER: usize = 5 + 16;

const OWN_ORDER: u8 = if cfg!(target_endian = "big") {
    BIG_ENDIAN
} else {
    0
};

/// On which side of the stack an object with a handle lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// On a read-only layer: an origin.
    Lower,
    /// On the upper layer: what an index entry of a directory points to.
    Upper,
}

/// What a stored handle turns out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// The handle of an object.
    Known(FileHandle, Side),
    /// A copy of which no origin is known: an empty value, a newer version,
    /// or bytes of a machine of another byte order.
    Unknown,
    /// Not a handle.
    Invalid,
}

/// The stored form of a handle; `None` for one too long to be stored.
pub fn to_value(handle: &FileHandle, side: Side) -> Option<Vec<u8>> {
    let len = u8::try_from(HEADER + handle.bytes.len()).ok()?;
    let side = match side {
        Side::Lower => 0,
        Side::Upper => OF_UPPER,
    };
    let mut value = vec![VERSION, MAGIC, len, OWN_ORDER | side, handle.kind];
    value.extend(handle.uuid);
    value.extend(&handle.bytes);
    Some(value)
}

/// Reads a stored handle.
pub fn parse(value: &[u8]) -> Stored {
    let [version, magic, len, flags, kind, rest @ ..] = value else {
        return match value {
            [] => Stored::Unknown,
            _ => Stored::Invalid,
        };
    };
    let whole = usize::from(*len) == value.len();
    let Some((uuid, bytes)) = rest.split_first_chunk::<16>().filter(|_| whole) else {
        return Stored::Invalid;
    };
    if *magic != MAGIC {
        return Stored::Invalid;
    }
    let readable = flags & ANY_ENDIAN != 0 || flags & BIG_ENDIAN == OWN_ORDER;
    if *version > VERSION || flags & !(BIG_ENDIAN | ANY_ENDIAN | OF_UPPER) != 0 || !readable {
        return Stored::Unknown;
    }
    let side = match flags & OF_UPPER {
        0 => Side::Lower,
        _ => Side::Upper,
    };
    let handle = FileHandle {
        uuid: *uuid,
        kind: *kind,
        bytes: bytes.to_vec(),
    };
    Stored::Known(handle, side)
}

/// The name of the index entry for copies of the object; `None` for a handle
/// too long to be a name.
pub fn index_name(handle: &FileHandle) -> Option<NameBuf> {
    let value = to_value(handle, Side::Lower)?;
    let digits: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
    NameBuf::new(digits).ok()
}

/// The handle that the name of an index entry stands for.
pub fn parse_index_name(name: &Name) -> Stored {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = name.as_bytes().as_chunks::<2>();
    let value: Option<Vec<u8>> = pairs
        .iter()
        .map(|[high, low]| Some((digit(*high)? << 4 | digit(*low)?) as u8))
        .collect();
    match value {
        Some(value) if rest.is_empty() => parse(&value),
        Some(_) | None => Stored::Invalid,
    }
}

/// How the link count of an indexed object is stored: as the difference to
/// that of its copy or its original, whichever changes together with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkCount {
    /// Whose count it is relative to.
    pub side: Side,
    /// What to add to it.
    pub difference: i64,
}

impl LinkCount {
    /// The stored form, e.g. `U+1`.
    pub fn to_value(self) -> Vec<u8> {
        let side = match self.side {
            Side::Lower => 'L',
            Side::Upper => 'U',
        };
        format!("{side}{:+}", self.difference).into_bytes()
    }

    /// Reads a stored count.
    pub fn parse(value: &[u8]) -> Option<LinkCount> {
        let (side, difference) = match value {
            [b'L', rest @ ..] => (Side::Lower, rest),
            [b'U', rest @ ..] => (Side::Upper, rest),
            _ => return None,
        };
        if !matches!(difference.first(), Some(b'+' | b'-')) {
            return None;
        }
        let difference = std::str::from_utf8(difference).ok()?.parse().ok()?;
        Some(LinkCount { side, difference })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn handle() -> FileHandle {
        FileHandle {
            uuid: *b"0123456789abcdef",
            kind: 1,
            bytes: vec![12, 0, 0, 0, 0xde, 0xad, 0xbe, 0xef],
        }
    }

    #[test]
    fn what_is_stored_is_read_back() {
        for side in [Side::Lower, Side::Upper] {
            let value = to_value(&handle(), side).unwrap();
            assert_eq!(value.len(), HEADER + 8);
            assert_eq!(parse(&value), Stored::Known(handle(), side));
        }
        let name = index_name(&handle()).unwrap();
        assert_eq!(
            parse_index_name(&name),
            Stored::Known(handle(), Side::Lower)
        );
        for difference in [-3, 0, 7] {
            for side in [Side::Lower, Side::Upper] {
                let count = LinkCount { side, difference };
                assert_eq!(LinkCount::parse(&count.to_value()), Some(count));
            }
        }
        assert_eq!(LinkCount::parse(b"U+2").unwrap().difference, 2);
    }

    #[test]
    fn what_is_not_known_and_what_is_no_handle() {
        let value = to_value(&handle(), Side::Lower).unwrap();
        let with = |at: usize, byte: u8| {
            let mut value = value.clone();
            value[at] = byte;
            parse(&value)
        };
        assert_eq!(parse(b""), Stored::Unknown);
        assert_eq!(with(0, 1), Stored::Unknown);
        assert_eq!(with(3, 0x80), Stored::Unknown);
        assert_eq!(with(3, BIG_ENDIAN ^ OWN_ORDER), Stored::Unknown);
        assert_eq!(with(1, 0xfa), Stored::Invalid);
        assert_eq!(with(2, 99), Stored::Invalid);
        assert_eq!(parse(b"abc"), Stored::Invalid);
        for name in ["0", "#1", "zz", "00fb"] {
            let name = NameBuf::new(name).unwrap();
            assert_eq!(parse_index_name(&name), Stored::Invalid);
        }
        for value in ["", "U", "U1", "X+1", "L+", "L+1x"] {
            assert_eq!(LinkCount::parse(value.as_bytes()), None, "{value}");
        }
    }
}
