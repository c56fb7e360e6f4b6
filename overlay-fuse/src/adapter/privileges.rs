//! What a change of a file takes away from it: setuid, setgid and file
//! capabilities.
//!
//! With `HANDLE_KILLPRIV_V2` the kernel leaves setuid and setgid to the server,
//! and in return remembers of each file whether it has any of the three: it
//! need not ask for the capability before each write (`SB_NOSEC`,
//! `process_init_reply` in `fs/fuse/inode.c`). How it tells:
//!
//! - WRITE has a flag where the writer lacks `CAP_FSETID`.
//! - Before all other changes of content (`fallocate(2)`, `copy_file_range(2)`,
//!   what is passed through) it sends a SETATTR that sets nothing, if by what it
//!   knows something has to go (`file_remove_privs` in `fs/inode.c`). `chown(2)`
//!   without an owner arrives so, too.
//! - SETATTR with a size, and OPEN that truncates, have a flag like that of
//!   WRITE, but fuser 0.18 hides it: so we look at who asks ourselves, where the
//!   file has such a bit.
//! - SETATTR with an owner takes both away from whoever asks; the layers do that
//!   (`WritableNode::set_attr`), but for setgid without a group that may execute,
//!   which goes unless who asks is in the group.
//!
//! The capability it removes itself (`setattr_prepare` in `fs/attr.c`), but for
//! OPEN.

use std::sync::Arc;

use fuser::Request;
use overlay_core::error::Errno;
use overlay_core::union::{Handle, Inode};
use overlay_core::{Attr, Error, FileKind, Result, SetAttr};

use super::asker;
use super::verbs::Serving;

/// File capabilities; see `capabilities(7)`.
const CAPABILITY: &[u8] = b"security.capability";

const SETUID: u32 = libc::S_ISUID;
const SETGID: u32 = libc::S_ISGID;
const GROUP_EXECUTES: u32 = libc::S_IXGRP;

impl Serving<'_> {
    /// Before a write by somebody who lacks `CAP_FSETID`.
    pub(super) fn before_write(&self, handle: &Handle, request: &Request) -> Result<()> {
        let attr = self.union.attr_of_handle(handle)?;
        self.clear(&handle.inode(), &attr, request).map(drop)
    }

    /// Before a SETATTR that sets nothing. What asks for it is not told: a change
    /// of the content, or `chown(2)` without an owner, which is the owner's alone.
    /// Where root changes the content of a file with a capability, setuid could
    /// stay; where root changes its owner, it has to go.
    pub(super) fn permit_clearing(&self, inode: &Arc<Inode>, request: &Request) -> Result<()> {
        let attr = self.union.attr(inode)?;
        let owner = self.presentation.attr(&attr).uid;
        let may = [0, owner].contains(&request.uid());
        let loses = |attr: &Attr| self.without_setid(attr, request) != attr.mode;
        match may || !loses(&attr) || self.union.is_written(inode) {
            true => Ok(()),
            false => Err(Error::NotPermitted("a file of another user")),
        }
    }

    /// After a truncation: the attributes then. After it, so that no data is
    /// copied up for a change of the mode: what can be executed in between is
    /// cut.
    pub(super) fn after_truncation(
        &self,
        inode: &Arc<Inode>,
        attr: &Attr,
        request: &Request,
    ) -> Result<Attr> {
        match attr.mode & (SETUID | SETGID) == 0 || asker::keeps_setid(request) {
            true => Ok(*attr),
            false => self.clear(inode, attr, request),
        }
    }

    /// After an open that truncates: what the kernel does at every other
    /// truncation, it leaves to the server there once `ATOMIC_O_TRUNC` is agreed.
    pub(super) fn after_open(&self, inode: &Arc<Inode>, request: &Request) -> Result<()> {
        match self.union.xattr(inode, CAPABILITY) {
            Ok(_) => self.union.remove_xattr(inode, CAPABILITY)?,
            Err(error) if error.is(Errno::NODATA) || error.is(Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error),
        }
        let attr = self.union.attr(inode)?;
        self.after_truncation(inode, &attr, request).map(drop)
    }

    /// The mode of `attr` after a change by somebody whose `CAP_FSETID` does not
    /// count: setuid goes, and setgid where it means a group to run as, or who
    /// asks is not in the group (`setattr_should_drop_sgid` in `fs/attr.c`).
    fn without_setid(&self, attr: &Attr, request: &Request) -> u32 {
        // Others than regular files lose them, too: chown(2) is all that asks.
        if attr.kind == FileKind::Directory {
            return attr.mode;
        }
        let mode = attr.mode & !SETUID;
        let setgid_goes = match attr.mode & (SETGID | GROUP_EXECUTES) {
            SETGID => {
                let group = self.presentation.attr(attr).gid;
                !asker::is_in_group(request, group) && !asker::keeps_setid(request)
            }
            _ => mode & GROUP_EXECUTES != 0,
        };
        match setgid_goes {
            true => mode & !SETGID,
            false => mode,
        }
    }

    /// Takes setuid and setgid away, as far as they go, from what has `attr`:
    /// the attributes then. After a change of the owner, too: the layer has done
    /// that as for a server that is in all groups.
    pub(super) fn clear(&self, inode: &Arc<Inode>, attr: &Attr, request: &Request) -> Result<Attr> {
        let mode = self.without_setid(attr, request);
        if mode == attr.mode {
            return Ok(*attr);
        }
        let set = SetAttr {
            mode: Some(mode),
            ..SetAttr::default()
        };
        self.union.set_attr(inode, &set)
    }
}
