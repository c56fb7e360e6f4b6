//! Layers as text, for failing tests and lessons.

use std::fmt;

use super::{Data, Dir, Leaf, Meta, Metacopy, Path, Redirect, Stored};

impl fmt::Display for Dir<Stored> {
    /// One line for every object, by path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self, &Path::default(), f)
    }
}

fn show(dir: &Dir<Stored>, path: &Path, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let opaque = if dir.opaque { "opaque " } else { "" };
    write!(f, "  {path} {opaque}dir{}", dir.meta)?;
    show_redirect(dir.redirect.as_ref(), f)?;
    writeln!(f)?;
    for (name, entry) in &dir.entries {
        let path = path.join(name);
        match entry {
            Stored::Dir(dir) => show(dir, &path, f)?,
            Stored::Leaf(leaf) => writeln!(f, "  {path} {leaf}")?,
            Stored::Metacopy(copy) => writeln!(f, "  {path} {copy}")?,
            Stored::Whiteout => writeln!(f, "  {path} whiteout")?,
        }
    }
    Ok(())
}

fn show_redirect(redirect: Option<&Redirect>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match redirect {
        Some(redirect @ Redirect::Name(_)) => write!(f, " redirect .{redirect}"),
        Some(redirect @ Redirect::Path(_)) => write!(f, " redirect {redirect}"),
        None => Ok(()),
    }
}

impl fmt::Display for Metacopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "metacopy of {} bytes", self.size)?;
        if self.links > 1 {
            write!(f, " (object {}, {} links)", self.id.number, self.links)?;
        }
        write!(f, "{}", self.meta)?;
        show_redirect(self.redirect.as_ref(), f)
    }
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
