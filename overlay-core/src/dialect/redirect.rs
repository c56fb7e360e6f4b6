//! Where the lower part of a renamed directory lies.
//!
//! Source: `ovl_get_redirect_xattr` in `fs/overlayfs/util.c`.

use std::collections::VecDeque;

use crate::error::{Error, Result};
use crate::name::{Name, NameBuf};

/// Longest value in bytes; the kernel's `redirect_max`.
pub const REDIRECT_MAX: usize = 256;

/// The value of a redirect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redirect {
    /// Another name in the same directory of the branches below.
    Sibling(NameBuf),
    /// A path from the roots of the branches below.
    Path(VecDeque<NameBuf>),
}

impl Redirect {
    /// Reads a stored value. `EINVAL` for an empty one, an empty component
    /// or one that is no name, and a slash in a sibling's name.
    pub fn parse(value: &[u8]) -> Result<Redirect> {
        let invalid = |_| Error::Invalid("a redirect that is no name and no path");
        let name = |bytes: &[u8]| Name::new(bytes).map(Name::to_owned).map_err(invalid);
        match value.strip_prefix(b"/") {
            None => Ok(Redirect::Sibling(name(value)?)),
            Some(path) => {
                let names: Result<_> = path.split(|byte| *byte == b'/').map(name).collect();
                Ok(Redirect::Path(names?))
            }
        }
    }

    /// The value to store; `None` if it would be longer than [`REDIRECT_MAX`].
    pub fn to_value(&self) -> Option<Vec<u8>> {
        let value = match self {
            Redirect::Sibling(name) => name.as_bytes().to_vec(),
            Redirect::Path(names) => names
                .iter()
                .flat_map(|name| [b"/", name.as_bytes()].concat())
                .collect(),
        };
        (value.len() <= REDIRECT_MAX).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_stored_is_read_back() {
        for value in [b"name".as_slice(), b"/a", b"/a/b/c"] {
            let redirect = Redirect::parse(value).unwrap();
            assert_eq!(redirect.to_value().unwrap(), value);
        }
    }

    #[test]
    fn what_leads_out_or_nowhere_is_refused() {
        for value in [
            b"".as_slice(),
            b"/",
            b"a/b",
            b"/a//b",
            b"/a/",
            b"..",
            b"/a/../b",
        ] {
            assert!(Redirect::parse(value).is_err(), "{}", value.escape_ascii());
        }
    }

    #[test]
    fn a_path_beyond_the_limit_cannot_be_stored() {
        let names = |n| std::iter::repeat_n(NameBuf::new(b"abcdefg".as_slice()).unwrap(), n);
        assert!(Redirect::Path(names(32).collect()).to_value().is_some());
        assert!(Redirect::Path(names(33).collect()).to_value().is_none());
    }
}
