//! Names of directory entries: any bytes but `/` and NUL, 1 to 255 of them.
//!
//! A name that exists has been checked, so nothing below this module sees
//! `.`, `..`, an empty component or a slash: a path cannot be smuggled in as
//! a name. Names are bytes, never `String`: filesystems do not promise UTF-8.

use std::borrow::Borrow;
use std::ffi::OsStr;
use std::fmt;
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;

use ref_cast::{RefCastCustom, ref_cast_custom};

use crate::error::{Error, Result};

/// The longest name in bytes; `NAME_MAX` of Linux's own filesystems.
pub const NAME_MAX: usize = 255;

/// A validated name of one directory entry, borrowed.
///
/// ```
/// use overlay_core::Name;
/// let name = Name::new(b"hello")?;
/// assert_eq!(name.as_bytes(), b"hello");
/// assert!(Name::new(b"a/b").is_err());
/// assert!(Name::new(b"..").is_err());
/// # Ok::<(), overlay_core::Error>(())
/// ```
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash, RefCastCustom)]
#[repr(transparent)]
pub struct Name([u8]);

impl Name {
    #[ref_cast_custom]
    const fn wrap(bytes: &[u8]) -> &Name;

    /// Checks `bytes` and borrows them as a name.
    ///
    /// Fails with `ENAMETOOLONG` above [`NAME_MAX`] bytes, and with `EINVAL`
    /// for an empty name, `.`, `..`, or a name with a slash or NUL in it.
    pub fn new(bytes: &[u8]) -> Result<&Name> {
        if bytes.len() > NAME_MAX {
            return Err(Error::NameTooLong);
        }
        if matches!(bytes, b"" | b"." | b"..") || bytes.iter().any(|b| matches!(b, b'/' | 0)) {
            return Err(Error::Invalid("not a name of a directory entry"));
        }
        Ok(Name::wrap(bytes))
    }

    /// The same for an `OsStr`, as the kernel's requests carry it.
    pub fn from_os(name: &OsStr) -> Result<&Name> {
        Name::new(name.as_bytes())
    }

    /// The bytes of the name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name as an `OsStr`.
    pub fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.0.escape_ascii())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl ToOwned for Name {
    type Owned = NameBuf;
    fn to_owned(&self) -> NameBuf {
        NameBuf(self.0.into())
    }
}

/// A validated name of one directory entry, owned.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameBuf(Box<[u8]>);

impl NameBuf {
    /// Checks `bytes` and keeps them; errors as [`Name::new`].
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<NameBuf> {
        let bytes = bytes.into();
        Name::new(&bytes)?;
        Ok(NameBuf(bytes.into_boxed_slice()))
    }
}

impl Deref for NameBuf {
    type Target = Name;
    fn deref(&self) -> &Name {
        Name::wrap(&self.0)
    }
}

impl Borrow<Name> for NameBuf {
    fn borrow(&self) -> &Name {
        self
    }
}

impl AsRef<Name> for NameBuf {
    fn as_ref(&self) -> &Name {
        self
    }
}

impl fmt::Debug for NameBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Display for NameBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}
