//! A union for programs: paths and files in the manner of `std::fs`, without
//! a mount.
//!
//! Paths start at the union's root, whether or not they begin with `/`.
//! Symlinks are followed within the union and never lead out of it.
//!
//! A stack in memory, to try what a change does:
//!
//! ```
//! use overlay_core::fs::UnionFs;
//! use overlay_core::{MemStorage, Stack};
//!
//! let lower = MemStorage::new();
//! UnionFs::new(Stack::new().upper(lower.clone()))?.write("motd", "welcome")?;
//!
//! let union = UnionFs::new(Stack::new().upper(MemStorage::new()).lower(lower.clone()))?;
//! union.write("motd", "go away")?;
//! assert_eq!(union.read("motd")?, b"go away");
//! union.remove_file("motd")?;
//! assert!(!union.exists("motd")?);
//!
//! // The lower never changed.
//! let below = UnionFs::new(Stack::new().lower(lower))?;
//! assert_eq!(below.read("motd")?, b"welcome");
//! # Ok::<(), overlay_core::Error>(())
//! ```
//!
//! The same over two directories:
//!
//! ```
//! use overlay_core::fs::UnionFs;
//! use overlay_core::layer::dir::{Descriptors, DirStorage, DirUpper};
//! use overlay_core::{Dialect, Namespace, Stack};
//!
//! let home = tempfile::tempdir()?;
//! for name in ["lower", "upper", "work"] {
//!     std::fs::create_dir(home.path().join(name))?;
//! }
//! std::fs::write(home.path().join("lower/config"), "colour = blue")?;
//!
//! let descriptors = Descriptors::from_rlimit();
//! // Marks in `user.*` attributes need no privilege.
//! let dialect = Dialect::Overlay(Namespace::User);
//! let upper = DirUpper::open(&home.path().join("upper"), &home.path().join("work"), &descriptors)?;
//! let lower = DirStorage::open(&home.path().join("lower"), &descriptors)?;
//! let union = UnionFs::new(Stack::new().upper_as(upper, dialect).lower_as(lower, dialect))?;
//!
//! union.write("config", "colour = red")?;
//! assert_eq!(std::fs::read(home.path().join("lower/config"))?, b"colour = blue");
//! assert_eq!(std::fs::read(home.path().join("upper/config"))?, b"colour = red");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! And a stack that only reads:
//!
//! ```
//! use overlay_core::fs::UnionFs;
//! use overlay_core::{Errno, MemStorage, Stack};
//!
//! let union = UnionFs::new(Stack::new().lower(MemStorage::new()).lower(MemStorage::new()))?;
//! let refused = union.create_dir("new").expect_err("nothing is writable");
//! assert_eq!(refused.errno(), Errno::ROFS);
//! # Ok::<(), overlay_core::Error>(())
//! ```

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::attr::{Attr, FileKind, Owner, SetAttr};
use crate::error::{Error, Result};
use crate::layer::{NewKind, RenameMode, SetXattr};
use crate::name::Name;
use crate::stack::Stack;
use crate::sys;
use crate::union::{Caller, Entry, Flow, OpenOptions, Union};

mod file;
mod path;

pub use file::File;

/// Permission bits of what is made, before the umask.
const FILE_MODE: u32 = 0o666;
const DIRECTORY_MODE: u32 = 0o777;
/// The umask of a new [`UnionFs`]; the process's own plays no part.
const UMASK: u32 = 0o022;

/// A union with paths.
#[derive(Debug, Clone)]
pub struct UnionFs {
    union: Arc<Union>,
    caller: Caller,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// Its name.
    pub name: OsString,
    /// What it is.
    pub kind: FileKind,
    /// Its inode number.
    pub ino: u64,
}

/// One object met on a [`UnionFs::walk`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walked {
    /// Its path from the root of the union.
    pub path: PathBuf,
    /// Its attributes; symlinks are not followed.
    pub attr: Attr,
}

impl UnionFs {
    /// Puts `stack` together. Objects it makes belong to this process's user.
    /// Errors as [`Union::new`].
    pub fn new(stack: Stack) -> Result<UnionFs> {
        Ok(UnionFs::from_union(Union::new(stack)?))
    }

    /// Paths over a union that exists already.
    pub fn from_union(union: Arc<Union>) -> UnionFs {
        UnionFs {
            union,
            caller: Caller {
                owner: sys::meta::process_owner(),
                umask: UMASK,
            },
        }
    }

    /// The same union on behalf of somebody else.
    pub fn as_caller(&self, owner: Owner, umask: u32) -> UnionFs {
        UnionFs {
            union: Arc::clone(&self.union),
            caller: Caller { owner, umask },
        }
    }

    /// The union below.
    pub fn union(&self) -> &Arc<Union> {
        &self.union
    }

    /// The whole content of a file.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Vec<u8>> {
        self.open(path)?.read_all()
    }

    /// Replaces a file's content, making it if needed.
    pub fn write(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Result<()> {
        self.create(path)?.write_all_at(content.as_ref(), 0)
    }

    /// Opens a file for reading.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<File> {
        self.open_with(path, OpenOptions::default())
    }

    /// Opens an existing file.
    pub fn open_with(&self, path: impl AsRef<Path>, options: OpenOptions) -> Result<File> {
        let entry = self.follow(path.as_ref())?;
        let handle = self.union.open(&entry.inode, options)?;
        Ok(File::new(&self.union, handle))
    }

    /// Opens a file for reading and writing, empty: an existing one is cut.
    pub fn create(&self, path: impl AsRef<Path>) -> Result<File> {
        let options = OpenOptions {
            write: true,
            truncate: true,
            append: false,
        };
        loop {
            let place = self.parent_following(path.as_ref())?;
            let (parent, name) = (&place.parent, place.name());
            let opened = match self.union.lookup(parent, name)? {
                Some(entry) => self.union.open(&entry.inode, options),
                None => self
                    .union
                    .create_file(parent, name, FILE_MODE, &self.caller)
                    .map(|(_, handle)| handle),
            };
            match opened {
                // Another thread was faster: then there is a file to open.
                Err(Error::Exists) => {}
                outcome => return Ok(File::new(&self.union, outcome?)),
            }
        }
    }

    /// Makes a directory.
    pub fn create_dir(&self, path: impl AsRef<Path>) -> Result<()> {
        self.make(path.as_ref(), NewKind::Directory, DIRECTORY_MODE)
    }

    /// Makes a directory and those above it that are missing.
    pub fn create_dir_all(&self, path: impl AsRef<Path>) -> Result<()> {
        let mut at = PathBuf::new();
        for component in path.as_ref().components() {
            at.push(component);
            match self.metadata(&at) {
                Ok(attr) if attr.kind.is_dir() => {}
                Ok(_) => return Err(Error::NotDirectory),
                Err(Error::NotFound) => self.create_dir(&at)?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes a symlink `path` that points to `target`.
    pub fn symlink(&self, target: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<()> {
        let target = target.as_ref().as_os_str().as_bytes();
        self.make(path.as_ref(), NewKind::Symlink(target), DIRECTORY_MODE)
    }

    /// Makes an object of any kind, with the permission bits `mode` before
    /// the umask.
    pub fn make(&self, path: &Path, kind: NewKind<'_>, mode: u32) -> Result<()> {
        let place = self.parent(path)?;
        self.union
            .create(&place.parent, place.name(), kind, mode, &self.caller)?;
        Ok(())
    }

    /// Gives the object at `path` another name; symlinks are not followed.
    pub fn hard_link(&self, path: impl AsRef<Path>, new: impl AsRef<Path>) -> Result<()> {
        let entry = self.find(path.as_ref())?;
        let place = self.parent(new.as_ref())?;
        self.union.link(&entry.inode, &place.parent, place.name())?;
        Ok(())
    }

    /// Removes anything but a directory.
    pub fn remove_file(&self, path: impl AsRef<Path>) -> Result<()> {
        let place = self.parent(path.as_ref())?;
        self.union.unlink(&place.parent, place.name())
    }

    /// Removes an empty directory.
    pub fn remove_dir(&self, path: impl AsRef<Path>) -> Result<()> {
        let place = self.parent(path.as_ref())?;
        self.union.rmdir(&place.parent, place.name())
    }

    /// Removes a directory with everything in it; symlinks are not followed.
    pub fn remove_dir_all(&self, path: impl AsRef<Path>) -> Result<()> {
        let mut found = self.walk(path.as_ref())?;
        // Parents come first on a walk, so they go last.
        while let Some(Walked { path, attr }) = found.pop() {
            if attr.kind.is_dir() {
                self.remove_dir(path)?;
            } else {
                self.remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Renames, replacing what is at `to`.
    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
        self.rename_with(from, to, RenameMode::Replace)
    }

    /// Renames as `renameat2(2)`.
    pub fn rename_with(
        &self,
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
        mode: RenameMode,
    ) -> Result<()> {
        let from = self.parent(from.as_ref())?;
        let to = self.parent(to.as_ref())?;
        self.union
            .rename((&from.parent, from.name()), (&to.parent, to.name()), mode)
    }

    /// The attributes of what `path` leads to.
    pub fn metadata(&self, path: impl AsRef<Path>) -> Result<Attr> {
        Ok(self.follow(path.as_ref())?.attr)
    }

    /// The attributes of what lies at `path`, be it a symlink.
    pub fn symlink_metadata(&self, path: impl AsRef<Path>) -> Result<Attr> {
        Ok(self.find(path.as_ref())?.attr)
    }

    /// Whether `path` leads to anything.
    pub fn exists(&self, path: impl AsRef<Path>) -> Result<bool> {
        match self.follow(path.as_ref()) {
            Ok(_) => Ok(true),
            Err(Error::NotFound | Error::NotDirectory) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Changes attributes of what `path` leads to.
    pub fn set_attr(&self, path: impl AsRef<Path>, set: &SetAttr) -> Result<Attr> {
        let entry = self.follow(path.as_ref())?;
        self.union.set_attr(&entry.inode, set)
    }

    /// Where a symlink points to.
    pub fn read_link(&self, path: impl AsRef<Path>) -> Result<PathBuf> {
        let entry = self.find(path.as_ref())?;
        let target = self.union.read_link(&entry.inode)?;
        Ok(PathBuf::from(OsString::from_vec(target)))
    }

    /// The value of an extended attribute, e.g. `"user.note"`.
    pub fn xattr(&self, path: impl AsRef<Path>, name: &str) -> Result<Vec<u8>> {
        let entry = self.follow(path.as_ref())?;
        self.union.xattr(&entry.inode, name.as_bytes())
    }

    /// Sets an extended attribute.
    pub fn set_xattr(&self, path: impl AsRef<Path>, name: &str, value: &[u8]) -> Result<()> {
        let entry = self.follow(path.as_ref())?;
        self.union
            .set_xattr(&entry.inode, name.as_bytes(), value, SetXattr::Any)
    }

    /// The entries of a directory, in the order of the branches.
    pub fn read_dir(&self, path: impl AsRef<Path>) -> Result<Vec<DirEntry>> {
        let entry = self.follow(path.as_ref())?;
        let dir = self.union.open_dir(&entry.inode)?;
        let mut entries = Vec::new();
        self.union.read_dir(&dir, 0, &mut |entry| {
            entries.push(DirEntry {
                name: entry.name.as_os_str().to_owned(),
                kind: entry.kind,
                ino: entry.ino,
            });
            Flow::Continue
        })?;
        Ok(entries)
    }

    /// Everything at and below `path`, parents before what is in them;
    /// symlinks are not followed.
    pub fn walk(&self, path: impl AsRef<Path>) -> Result<Vec<Walked>> {
        let path = path.as_ref();
        let mut found = Vec::new();
        let mut waiting = vec![(path.to_owned(), self.find(path)?)];
        while let Some((path, entry)) = waiting.pop() {
            if entry.attr.kind.is_dir() {
                for below in self.entries_of(&entry)? {
                    waiting.push((path.join(below.0), below.1));
                }
            }
            let attr = entry.attr;
            found.push(Walked { path, attr });
        }
        Ok(found)
    }

    fn entries_of(&self, directory: &Entry) -> Result<Vec<(OsString, Entry)>> {
        let dir = self.union.open_dir(&directory.inode)?;
        let mut names: Vec<OsString> = Vec::new();
        self.union.read_dir(&dir, 0, &mut |entry| {
            names.push(entry.name.as_os_str().to_owned());
            Flow::Continue
        })?;
        let mut entries = Vec::with_capacity(names.len());
        for name in names {
            // Removed meanwhile is no error: it is not there any more.
            if let Some(entry) = self.union.lookup(&directory.inode, Name::from_os(&name)?)? {
                entries.push((name, entry));
            }
        }
        Ok(entries)
    }
}
