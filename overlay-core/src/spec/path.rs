//! Paths of operations: from the root of the union, one name at a time.
//!
//! They are walked without following symlinks, as a union's lookups are: a
//! symlink in the middle is `ENOTDIR`.

use std::fmt;

use crate::name::NameBuf;

/// Names from the root down; empty means the root itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Path(pub Vec<NameBuf>);

impl Path {
    /// The path of `name` in this directory.
    pub fn join(&self, name: &NameBuf) -> Path {
        let mut names = self.0.clone();
        names.push(name.clone());
        Path(names)
    }

    /// Bytes of the path when it is written with slashes.
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|name| 1 + name.as_bytes().len()).sum()
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("/");
        }
        self.0.iter().try_for_each(|name| {
            f.write_str("/")?;
            let bytes = name.as_bytes();
            match bytes {
                // Long names are all alike here; the length says which it is.
                [first, ..] if bytes.len() > 40 => {
                    write!(f, "<{}x{}>", (*first as char).escape_default(), bytes.len())
                }
                _ => write!(f, "{name}"),
            }
        })
    }
}

/// A name in a directory, where something is made, moved or removed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The directory.
    pub parent: Path,
    /// The name in it.
    pub name: NameBuf,
}

impl Place {
    /// The same as a path.
    pub fn path(&self) -> Path {
        self.parent.join(&self.name)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.path(), f)
    }
}
