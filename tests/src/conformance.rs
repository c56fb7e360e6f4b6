//! What the conformance suite of the storage backends stands on: the subjects, a few words to write tests in, and [`contract!`](crate::contract).

#![allow(clippy::unwrap_used, reason = "helpers of tests: to fail is to panic")]

use std::any::Any;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use overlay_core::layer::dir::{Descriptors, DirUpper};
use overlay_core::layer::mem::MemStorage;
use overlay_core::layer::owners::{self, Owners};
use overlay_core::layer::{
    Access, Found, New, NewKind, Node, Removal, WritableNode, WritableStorage,
};
use overlay_core::{Errno, FileKind, Name, NameBuf, Owner, Result};
use tempfile::TempDir;

use crate::runner;
pub use crate::runner::skipped;

/// A fresh, empty storage to hold to the contract.
#[derive(Debug)]
pub struct Subject {
    /// The storage.
    pub storage: Arc<dyn WritableStorage>,
    /// Its root.
    pub root: Arc<dyn WritableNode>,
    _keep: Option<Box<dyn Any>>,
}

impl Subject {
    /// In memory.
    pub fn memory() -> Subject {
        Subject::new(MemStorage::new(), None)
    }

    /// In directories of the host, with a small budget of descriptors: so all
    /// of the suite goes through eviction too.
    pub fn directories() -> Subject {
        let dirs = Dirs::new();
        let storage = dirs.open(16);
        Subject::new(storage, Some(Box::new(dirs)))
    }

    /// The same storage, with other owners around it: it has to keep the
    /// contract as it does without.
    #[must_use]
    pub fn with_owners(self, owners: Owners) -> Subject {
        Subject::new(owners::writable(self.storage, owners), self._keep)
    }

    fn new(storage: Arc<dyn WritableStorage>, keep: Option<Box<dyn Any>>) -> Subject {
        Subject {
            root: storage.root(),
            storage,
            _keep: keep,
        }
    }
}

/// An upper and a work directory of the host, gone when dropped.
#[derive(Debug)]
pub struct Dirs {
    temp: TempDir,
}

impl Dirs {
    /// Fresh, empty ones.
    #[allow(clippy::new_without_default, reason = "makes directories")]
    pub fn new() -> Dirs {
        let temp = tempfile::tempdir().unwrap();
        let dirs = Dirs { temp };
        std::fs::create_dir(dirs.upper()).unwrap();
        std::fs::create_dir(dirs.workdir()).unwrap();
        std::fs::create_dir(dirs.outside()).unwrap();
        dirs
    }

    /// The directory that is the branch.
    pub fn upper(&self) -> PathBuf {
        self.temp.path().join("upper")
    }

    /// The given work directory.
    pub fn workdir(&self) -> PathBuf {
        self.temp.path().join("workdir")
    }

    /// A directory that no branch may reach.
    pub fn outside(&self) -> PathBuf {
        self.temp.path().join("outside")
    }

    /// Opens them as a branch with so many descriptors.
    pub fn open(&self, descriptors: usize) -> Arc<DirUpper> {
        let descriptors = Descriptors::new(descriptors);
        DirUpper::open(&self.upper(), &self.workdir(), &descriptors).unwrap()
    }

    /// The names in the work area.
    pub fn litter(&self) -> Vec<PathBuf> {
        let work = self.workdir().join("work");
        let entries = std::fs::read_dir(work).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

/// Writes each sentence once and tests it on both backends, as they are and
/// with other owners around them.
///
/// ```ignore
/// contract! {
///     /// Why it must be so.
///     fn a_missing_name_is_none(subject) {
///         assert!(subject.root.lookup(name("x")).unwrap().is_none());
///     }
/// }
/// ```
#[macro_export]
macro_rules! contract {
    ($($(#[$meta:meta])* fn $sentence:ident($subject:ident) $body:block)*) => { $(
        $(#[$meta])*
        mod $sentence {
            #[allow(unused_imports)]
            use super::*;

            fn holds($subject: &$crate::conformance::Subject) $body

            #[test]
            fn in_memory() {
                holds(&$crate::conformance::Subject::memory());
            }

            #[test]
            fn in_directories() {
                holds(&$crate::conformance::Subject::directories());
            }

            mod with_owners {
                use overlay_core::layer::owners::{Attribute, Loose, Owners};
                use $crate::conformance::Subject;

                #[test]
                fn in_an_attribute_in_memory() {
                    let owners = Owners::In(Attribute::Containers);
                    super::holds(&Subject::memory().with_owners(owners));
                }

                #[test]
                fn in_an_attribute_in_directories() {
                    let owners = Owners::In(Attribute::Containers);
                    super::holds(&Subject::directories().with_owners(owners));
                }

                #[test]
                fn in_a_privileged_attribute_in_directories() {
                    if !$crate::conformance::root_or_skip("security attributes") {
                        return;
                    }
                    let owners = Owners::In(Attribute::Privileged);
                    super::holds(&Subject::directories().with_owners(owners));
                }

                #[test]
                fn where_permitted_in_directories() {
                    let owners = Owners::WherePermitted(Loose::Both);
                    super::holds(&Subject::directories().with_owners(owners));
                }
            }
        }
    )* };
}

/// A name.
pub fn name(name: &str) -> &Name {
    Name::new(name.as_bytes()).unwrap()
}

/// This process' owner, whom everybody may create as.
pub fn me() -> Owner {
    Owner {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    }
}

/// Whether this process is root; if not, says aloud what is skipped.
pub fn root_or_skip(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        runner::skipped(&format!("{what}: needs root"));
    }
    root
}

/// The id of ACL entries that have none.
pub const NO_ID: u32 = u32::MAX;

/// An ACL attribute of these entries: tag, permissions, id.
pub fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut acl = 2_u32.to_le_bytes().to_vec();
    for (tag, bits, id) in entries {
        acl.extend(tag.to_le_bytes());
        acl.extend(bits.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    acl
}

/// A plain new object of this process' owner.
pub fn new(kind: NewKind<'_>, mode: u32) -> New<'_> {
    New {
        kind,
        mode,
        owner: me(),
        xattrs: &[],
    }
}

/// One of each kind that any process may make.
pub const KINDS: [NewKind<'static>; 5] = [
    NewKind::Regular,
    NewKind::Directory,
    NewKind::Symlink(b"to/where"),
    NewKind::Fifo,
    NewKind::Socket,
];

/// Makes a directory.
pub fn mkdir(dir: &dyn WritableNode, called: &str) -> Arc<dyn WritableNode> {
    let made = dir.create(name(called), &new(NewKind::Directory, 0o755));
    made.unwrap().node
}

/// Makes a file with these bytes.
pub fn write(dir: &dyn WritableNode, called: &str, bytes: &[u8]) -> Arc<dyn WritableNode> {
    let made = dir.create(name(called), &new(NewKind::Regular, 0o644));
    let node = made.unwrap().node;
    fill(&*node, bytes);
    node
}

/// Makes an object of any kind.
pub fn make(dir: &dyn WritableNode, called: &str, kind: NewKind<'_>) -> Arc<dyn WritableNode> {
    let mode = match kind.file_kind().is_dir() {
        true => 0o755,
        false => 0o644,
    };
    dir.create(name(called), &new(kind, mode)).unwrap().node
}

/// Writes bytes at the beginning of a file.
pub fn fill(node: &dyn WritableNode, bytes: &[u8]) {
    let file = node.open(Access::Write).unwrap();
    assert_eq!(file.write_at(bytes, 0).unwrap(), bytes.len());
}

/// All bytes of a file.
pub fn read(node: &(impl Node + ?Sized)) -> Vec<u8> {
    let file = node.open(Access::Read).unwrap();
    let mut bytes = vec![0; file.attr().unwrap().size as usize];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
    bytes
}

/// What the entry is, found anew.
pub fn find(dir: &dyn WritableNode, called: &str) -> Found<dyn WritableNode> {
    dir.lookup_writable(name(called)).unwrap().unwrap()
}

/// Whether there is such an entry.
pub fn has(dir: &dyn WritableNode, called: &str) -> bool {
    dir.attr_of(name(called)).unwrap().is_some()
}

/// The names in a directory, sorted.
pub fn names(dir: &(impl Node + ?Sized)) -> Vec<NameBuf> {
    let mut names = Vec::new();
    dir.entries(&mut |entry| {
        names.push(entry.name.to_owned());
        ControlFlow::Continue(())
    })
    .unwrap();
    names.sort();
    names
}

/// Removes an entry that is not a directory, and tells nobody.
pub fn unlink(dir: &dyn WritableNode, called: &str) {
    let what = Removal::NonDirectory;
    dir.remove(name(called), what, None).unwrap();
}

/// How an object of this kind is removed.
pub fn removal(kind: NewKind<'_>) -> Removal {
    match kind.file_kind().is_dir() {
        true => Removal::Directory,
        false => Removal::NonDirectory,
    }
}

/// Which object a node is on.
pub fn identity(node: &(impl Node + ?Sized)) -> (u64, u64) {
    let attr = node.attr().unwrap();
    (attr.dev, attr.ino)
}

/// The errno of a failure.
pub fn errno<T>(outcome: Result<T>) -> Errno {
    match outcome {
        Ok(_) => panic!("this had to fail"),
        Err(error) => error.errno(),
    }
}

/// The kind behind a node.
pub fn kind(node: &(impl Node + ?Sized)) -> FileKind {
    node.attr().unwrap().kind
}
