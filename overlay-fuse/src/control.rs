//! A word with the server of a mount: an `ioctl(2)` on the root directory carries
//! a request there and the answer back.
//!
//! Both ends are here. What is asked and answered is text whose meaning the
//! command knows (`cli/branch.rs`); who may ask is decided here: root, and the
//! user who serves.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use overlay_core::union::Live;

use crate::sys;

/// Bytes of a request or an answer with its head: less than the 14 bits that the
/// number of an ioctl has for it.
pub(crate) const ROOM: usize = 16_000;

/// Bytes of the head: whether it is a refusal, and the length.
const HEAD: usize = 8;

/// Bytes of the text of a request or an answer.
pub(crate) const MOST: usize = ROOM - HEAD;

/// `_IOWR('U', 0x66, [u8; ROOM])`
pub(crate) const REQUEST: u32 = 3 << 30 | (ROOM as u32) << 16 | (b'U' as u32) << 8 | 0x66;

/// What a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is done; the branches may have changed.
    Done(Vec<u8>),
    /// It is not done, and a sentence that says why.
    Refused(String),
}

/// Who answers the requests to a mount.
pub trait Control: Send + Sync + std::fmt::Debug {
    /// Does what is asked. The kernel's caches are the caller's business.
    fn answer(&self, request: &[u8], live: &Live) -> Answer;
}

/// A text in the form in which it travels; cut where it is too long.
fn packed(status: u32, text: &[u8]) -> Vec<u8> {
    let text = text.get(..text.len().min(MOST)).unwrap_or_default();
    let mut bytes = Vec::with_capacity(ROOM);
    bytes.extend(status.to_le_bytes());
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(text);
    bytes.resize(ROOM, 0);
    bytes
}

fn unpacked(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let word = |at: usize| {
        let bytes = bytes.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    let len = word(4)? as usize;
    Some((word(0)?, bytes.get(HEAD..HEAD + len)?))
}

/// The text of a request that has arrived.
pub(crate) fn request(bytes: &[u8]) -> Option<&[u8]> {
    unpacked(bytes).map(|(_, text)| text)
}

/// An answer as it goes back.
pub(crate) fn reply(answer: &Answer) -> Vec<u8> {
    match answer {
        Answer::Done(text) => packed(0, text),
        Answer::Refused(why) => packed(1, why.as_bytes()),
    }
}

/// Asks the server of the mount at `point`.
///
/// Errors: those of `open(2)` and `ioctl(2)`: `ENOTTY` where nobody answers such
/// requests, `EPERM` for who may not ask; `E2BIG` for more text than fits.
pub fn ask(point: &Path, text: &[u8]) -> io::Result<Answer> {
    if text.len() > MOST {
        return Err(io::Error::from_raw_os_error(libc::E2BIG));
    }
    let root = File::open(point)?;
    let mut bytes = packed(0, text);
    sys::ioctl(root.as_fd(), REQUEST, &mut bytes)?;
    let garbled = || io::Error::new(io::ErrorKind::InvalidData, "an answer without sense");
    let (status, text) = unpacked(&bytes).ok_or_else(garbled)?;
    Ok(match status {
        0 => Answer::Done(text.to_vec()),
        _ => Answer::Refused(String::from_utf8_lossy(text).into_owned()),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        for text in [&b""[..], b"list", &[0xff; 9000]] {
            assert_eq!(unpacked(&packed(1, text)).unwrap(), (1, text));
        }
        assert_eq!(request(&[]), None);
        assert_eq!(request(&[0xff; ROOM]), None);
        let long = vec![b'x'; ROOM * 2];
        assert_eq!(unpacked(&packed(0, &long)).unwrap().1.len(), MOST);
    }
}
