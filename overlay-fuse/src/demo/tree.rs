//! What a layer holds, with its marks in words.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::io::Errno;

/// One line of a listing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The name, indented.
    pub(super) name: String,
    /// What is to be said of it.
    pub(super) note: Note,
}

/// What is to be said of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// Nothing.
    None,
    /// The file's content.
    Content(String),
    /// What the mark does.
    Mark(&'static str),
}

/// Everything in `layer`, depth first, by name.
pub(super) fn lines(layer: &Path) -> io::Result<Vec<Line>> {
    let mut lines = Vec::new();
    walk(layer, 0, &mut lines)?;
    Ok(lines)
}

fn walk(directory: &Path, depth: usize, lines: &mut Vec<Line>) -> io::Result<()> {
    let mut paths = fs::read_dir(directory)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        let attr = fs::symlink_metadata(&path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let slash = if attr.is_dir() { "/" } else { "" };
        let name = format!("{:indent$}{name}{slash}", "", indent = depth * 2);
        let note = if attr.file_type().is_char_device() && attr.rdev() == 0 {
            Note::Mark("whiteout: hides this name below")
        } else if attr.is_dir() && is_opaque(&path)? {
            Note::Mark("opaque: hides all that lies below")
        } else if attr.is_file() {
            let text = fs::read_to_string(&path)?;
            Note::Content(text.trim_end().replace('\n', " | "))
        } else {
            Note::None
        };
        lines.push(Line { name, note });
        if attr.is_dir() {
            walk(&path, depth + 1, lines)?;
        }
    }
    Ok(())
}

/// `y` as root writes it, or as an ordinary user does.
fn is_opaque(directory: &Path) -> io::Result<bool> {
    for name in ["trusted.overlay.opaque", "user.overlay.opaque"] {
        let mut value = [0u8; 8];
        match rustix::fs::lgetxattr(directory, name, &mut value[..]) {
            Ok(len) if value.get(..len) == Some(b"y") => return Ok(true),
            Ok(_) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(false)
}
