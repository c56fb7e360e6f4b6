//! From paths to inodes: one component at a time, symlinks followed within
//! the union. `..` of the root is the root.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::UnionFs;
use crate::attr::FileKind;
use crate::error::{Errno, Error, Result};
use crate::name::{Name, NameBuf};
use crate::union::{Entry, Inode};

/// Symlinks on one way before it is taken for a loop; the kernel's `MAXSYMLINKS`.
const MAX_SYMLINKS: usize = 40;

/// A name in a directory, whether or not anything is there.
pub(super) struct Place {
    pub parent: Arc<Inode>,
    name: NameBuf,
}

impl Place {
    pub fn name(&self) -> &Name {
        &self.name
    }
}

/// What to do with a symlink at the end of a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Follow,
    Keep,
}

/// The way still to go, symlinks spliced in.
struct Way {
    rest: VecDeque<OsString>,
    symlinks: usize,
}

impl Way {
    fn new(path: &Path) -> Way {
        let mut way = Way {
            rest: VecDeque::new(),
            symlinks: 0,
        };
        way.prepend(path);
        way
    }

    fn prepend(&mut self, path: &Path) {
        for component in path.components().rev() {
            match component {
                Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
                Component::ParentDir => self.rest.push_front(OsStr::new("..").to_owned()),
                Component::Normal(name) => self.rest.push_front(name.to_owned()),
            }
        }
    }

    /// Goes on where a symlink points to.
    fn follow(&mut self, target: Vec<u8>) -> Result<PathBuf> {
        self.symlinks += 1;
        if self.symlinks > MAX_SYMLINKS {
            return Err(Error::Errno(Errno::LOOP));
        }
        let target = PathBuf::from(OsString::from_vec(target));
        self.prepend(&target);
        Ok(target)
    }
}

impl UnionFs {
    /// What lies at `path`; a symlink at its end is followed.
    pub(super) fn follow(&self, path: &Path) -> Result<Entry> {
        self.walk_to(path, Last::Follow)
    }

    /// What lies at `path`, be it a symlink.
    pub(super) fn find(&self, path: &Path) -> Result<Entry> {
        self.walk_to(path, Last::Keep)
    }

    /// The directory and the name at the end of `path`.
    pub(super) fn parent(&self, path: &Path) -> Result<Place> {
        let name = path.file_name().ok_or(Error::Exists)?;
        let above = path.parent().unwrap_or(Path::new(""));
        Ok(Place {
            parent: self.follow(above)?.inode,
            name: Name::from_os(name)?.to_owned(),
        })
    }

    /// The same, for making a file: symlinks at the end are followed even
    /// where they lead to nothing yet, as `open(2)` with `O_CREAT` does.
    pub(super) fn parent_following(&self, path: &Path) -> Result<Place> {
        let mut path = path.to_owned();
        for _ in 0..MAX_SYMLINKS {
            let place = self.parent(&path)?;
            let entry = self.union().lookup(&place.parent, place.name())?;
            let Some(link) = entry.filter(|e| e.attr.kind == FileKind::Symlink) else {
                return Ok(place);
            };
            let target = OsString::from_vec(self.union().read_link(&link.inode)?);
            // Joining an absolute target starts at the root again.
            path = path.parent().unwrap_or(Path::new("")).join(target);
        }
        Err(Error::Errno(Errno::LOOP))
    }

    fn walk_to(&self, path: &Path, last: Last) -> Result<Entry> {
        let root = self.union().root();
        let attr = self.union().attr(&root)?;
        let mut trail = vec![Entry { inode: root, attr }];
        let mut way = Way::new(path);
        while let Some(component) = way.rest.pop_front() {
            if component == ".." {
                if !trail[trail.len() - 1].attr.kind.is_dir() {
                    return Err(Error::NotDirectory);
                }
                if trail.len() > 1 {
                    trail.pop();
                }
                continue;
            }
            let here = &trail[trail.len() - 1];
            let entry = self
                .union()
                .lookup(&here.inode, Name::from_os(&component)?)?
                .ok_or(Error::NotFound)?;
            let at_end = way.rest.is_empty();
            if entry.attr.kind == FileKind::Symlink && !(at_end && last == Last::Keep) {
                let target = way.follow(self.union().read_link(&entry.inode)?)?;
                if target.is_absolute() {
                    trail.truncate(1);
                }
                continue;
            }
            trail.push(entry);
        }
        // The trail begins with the root and never loses it.
        trail.pop().ok_or(Error::NotFound)
    }
}
