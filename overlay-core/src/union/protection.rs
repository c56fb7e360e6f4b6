//! What nobody may do, root included: immutable and append-only objects.
//!
//! A lower object is protected by its filesystem, which tells with all other
//! attributes. Its copy cannot be, or the union could not change it when it
//! has to: a mark says it instead, and the union checks. What a filesystem
//! keeps of an object in the writable branch counts as well.
//!
//! The kernel checks that on its own filesystems in front of them; to a FUSE
//! server it leaves it, for it does not know. So each verb asks here before it
//! changes anything. Takes no lock. Source: `may_delete`, `may_create`,
//! `may_open`, `vfs_link` in `fs/namei.c`, `may_setattr` in `fs/attr.c`,
//! `may_write_xattr` in `fs/xattr.c`, `vfs_fallocate` in `fs/open.c`;
//! `ovl_check_protattr` in `fs/overlayfs/util.c`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::Union;
use super::inode::Inode;
use super::open::OpenOptions;
use crate::attr::{Protection, SetAttr, SetTime};
use crate::error::{Error, Result};
use crate::layer::WritableNode;

/// What is known of the protection of an inode. It does not change while the
/// inode is known: nothing that the union offers changes it.
#[derive(Debug, Default)]
pub(super) struct Protected(AtomicU8);

const IMMUTABLE: u8 = 1;
const APPEND_ONLY: u8 = 2;
/// The mark of an object on the writable branch has not been read: few
/// objects are ever changed, and fewer have one.
const MARK_UNREAD: u8 = 4;

/// What is done to an object whose protection may not allow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// It grows: what append-only objects are for.
    Grow,
    /// Anything else.
    Other,
}

impl Protected {
    /// What the filesystem says of the topmost part; `copy` is that part, if
    /// it lies on the writable branch and so may have a mark.
    pub fn of(protection: Protection, copy: Option<&dyn WritableNode>) -> Protected {
        let unread = if copy.is_some() { MARK_UNREAD } else { 0 };
        Protected(AtomicU8::new(to_bits(protection) | unread))
    }

    /// The same, for another inode of the object.
    pub fn again(&self) -> Protected {
        Protected(AtomicU8::new(self.0.load(Ordering::Relaxed)))
    }

    /// There is nothing more to be read.
    pub fn settle(&self, protection: Protection) {
        self.0.store(to_bits(protection), Ordering::Relaxed);
    }

    fn get(&self, read: impl FnOnce() -> Result<Protection>) -> Result<Protection> {
        let known = self.0.load(Ordering::Relaxed);
        let mut protection = Protection {
            immutable: known & IMMUTABLE != 0,
            append_only: known & APPEND_ONLY != 0,
        };
        if known & MARK_UNREAD != 0 {
            protection = protection.or(read()?);
            self.settle(protection);
        }
        Ok(protection)
    }
}

fn to_bits(protection: Protection) -> u8 {
    let bit = |is, bit| if is { bit } else { 0 };
    bit(protection.immutable, IMMUTABLE) | bit(protection.append_only, APPEND_ONLY)
}

impl Union {
    /// What may not be done to `inode`. Reads at most once for an inode.
    pub(super) fn protection(&self, inode: &Inode) -> Result<Protection> {
        inode.protected.get(|| match (self.upper(), inode.copy()) {
            (Some(target), Some(node)) => target.dialect.protection(&**node),
            _ => Ok(Protection::NONE),
        })
    }

    fn permit(&self, inode: &Inode, change: Change) -> Result<()> {
        let protection = self.protection(inode)?;
        if protection.immutable {
            return Err(Error::NotPermitted("it is immutable"));
        }
        match change {
            Change::Other if protection.append_only => {
                Err(Error::NotPermitted("it is append-only"))
            }
            Change::Other | Change::Grow => Ok(()),
        }
    }

    /// `EPERM` if nothing but the end of `inode` may change: its attributes,
    /// its names.
    pub(super) fn permit_change(&self, inode: &Inode) -> Result<()> {
        self.permit(inode, Change::Other)
    }

    /// `EPERM` if `directory` may not get another entry.
    pub(super) fn permit_entry(&self, directory: &Inode) -> Result<()> {
        self.permit(directory, Change::Grow)
    }

    /// `EPERM` if `inode` may not lose its name in `directory`.
    pub(super) fn permit_removal(&self, directory: &Inode, inode: &Arc<Inode>) -> Result<()> {
        self.permit(directory, Change::Other)?;
        self.permit(inode, Change::Other)
    }

    /// `EPERM` if `inode` may not be opened like that.
    pub(super) fn permit_open(&self, inode: &Inode, options: OpenOptions) -> Result<()> {
        match options.append && !options.truncate {
            true => self.permit(inode, Change::Grow),
            false => self.permit(inode, Change::Other),
        }
    }

    /// `EPERM` if `inode` may not be changed as `set` says. Times that become
    /// the present ones are what a growing file has anyway.
    pub(super) fn permit_attr(&self, inode: &Inode, set: &SetAttr) -> Result<()> {
        let touch = SetAttr {
            atime: Some(SetTime::Now),
            mtime: Some(SetTime::Now),
            ..SetAttr::default()
        };
        match *set == touch {
            true => self.permit(inode, Change::Grow),
            false => self.permit(inode, Change::Other),
        }
    }
}
