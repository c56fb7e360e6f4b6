//! A directory whose branches have all gone, for whoever has it open: like one
//! that was removed it has attributes, and nothing in it. It holds nothing of the
//! branch, whose disk may be taken out.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::attr::{Attr, FileKind, Protection, StatFs, Timestamp};
use crate::error::{Error, Result};
use crate::layer::{Access, Found, Node, OpenFile, RawEntry};
use crate::name::Name;

/// The directory with the attributes that it had.
#[derive(Debug)]
pub(super) struct Gone(Attr);

impl Gone {
    /// The attributes where its branch does not tell them any more.
    pub const UNKNOWN: Attr = Attr {
        kind: FileKind::Directory,
        mode: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        size: 0,
        blocks: 0,
        blksize: 4096,
        atime: Timestamp { sec: 0, nsec: 0 },
        mtime: Timestamp { sec: 0, nsec: 0 },
        ctime: Timestamp { sec: 0, nsec: 0 },
        ino: 0,
        dev: 0,
        protection: Protection::NONE,
    };

    /// What had the attributes `attr`.
    pub fn new(attr: Attr) -> Gone {
        Gone(Attr {
            nlink: 0,
            // No object of any branch.
            ino: 0,
            dev: 0,
            ..attr
        })
    }
}

impl Node for Gone {
    fn attr(&self) -> Result<Attr> {
        Ok(self.0)
    }

    fn attr_of(&self, _: &Name) -> Result<Option<Attr>> {
        Ok(None)
    }

    fn lookup(&self, _: &Name) -> Result<Option<Found<dyn Node>>> {
        Ok(None)
    }

    fn entries(&self, _: &mut dyn FnMut(RawEntry<'_>) -> ControlFlow<()>) -> Result<()> {
        Ok(())
    }

    fn open(&self, _: Access) -> Result<Arc<dyn OpenFile>> {
        Err(Error::IsDirectory)
    }

    fn link_target(&self) -> Result<Vec<u8>> {
        Err(Error::Invalid("a directory is no symlink"))
    }

    fn xattr(&self, _: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn xattr_names(&self) -> Result<Vec<Vec<u8>>> {
        Ok(Vec::new())
    }

    fn stat_fs(&self) -> Result<StatFs> {
        Err(Error::NotFound)
    }
}
