//! Layers as text, for failing tests and lessons.

use std::fmt;

use super::{Data, Dir, Leaf, Meta, Path, Redirect, Stored};

impl fmt::Display for Dir<Stored> {
    /// One line for every object, by path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self, &Path::default(), f)
    }
}

fn show(dir: &Dir<Stored>, path: &Path, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let opaque = if dir.opaque { "opaque " } else { "" };
    write!(f, "  {path} {opaque}dir{}", dir.meta)?;
    match &dir.redirect {
        Some(redirect @ Redirect::Name(_)) => writeln!(f, " redirect .{redirect}")?,
        Some(redirect @ Redirect::Path(_)) => writeln!(f, " redirect {redirect}")?,
        None => writeln!(f)?,
    }
    for (name, entry) in &dir.entries {
        let path = path.join(name);
        match entry {
            Stored::Dir(dir) => show(dir, &path, f)?,
            Stored::Leaf(leaf) => writeln!(f, "  {path} {leaf}")?,
            Stored::Whiteout => writeln!(f, "  {path} whiteout")?,
        }
    }
    Ok(())
}

impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.data {
            Data::File(bytes) if bytes.len() > 40 => write!(f, "file of {} bytes", bytes.len())?,
            Data::File(bytes) => write!(f, "file '{}'", bytes.escape_ascii())?,
            Data::Symlink(target) => write!(f, "symlink to '{}'", target.escape_ascii())?,
            Data::Special { kind, rdev } => write!(f, "{kind:?} {rdev:#x}")?,
        }
        if self.links > 1 {
            write!(f, " (object {}, {} links)", self.id.number, self.links)?;
        }
        write!(f, "{}", self.meta)
    }
}

impl fmt::Display for Meta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " {:04o} {}:{}", self.mode, self.uid, self.gid)?;
        self.xattrs.iter().try_for_each(|(name, value)| {
            write!(f, " {}='{}'", name.escape_ascii(), value.escape_ascii())
        })
    }
}
