//! The sign that a work area gets when nothing in its tree is made durable.
//!
//! It lies where the kernel's overlayfs has it, `work/incompat/volatile`, and
//! holds a file `dirty` so that no `rmdir` takes it away by mistake. Whatever
//! lies in `work/incompat` names something that must be understood by whoever
//! mounts next (`fs/overlayfs/readdir.c`, `ovl_workdir_cleanup_recurse`); none
//! of us understands any, so it is refused. Nobody but the user removes it.

use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::upper::Writer;
use crate::attr::FileKind;
use crate::error::{Error, Result};
use crate::name::{Name, NameBuf};
use crate::sys::{self, At};

const INCOMPATIBLE: &[u8] = b"incompat";
const VOLATILE: &[u8] = b"volatile";
const DIRTY: &[u8] = b"dirty";

/// Fails with [`Error::Incompatible`] if something in the work area `area`
/// says that whoever does not know it must keep away.
pub(super) fn refuse_incompatible(area: BorrowedFd<'_>) -> Result<()> {
    let at = At::new(area, Name::new(INCOMPATIBLE)?);
    let dir = match sys::open::entry(at, OFlags::RDONLY | OFlags::DIRECTORY) {
        Ok(dir) => dir,
        Err(Error::NotFound) => return Ok(()),
        // A file or a symlink of that name: litter, as any other.
        Err(error) if error.is(Errno::NOTDIR) || error.is(Errno::LOOP) => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut first: Option<NameBuf> = None;
    sys::dir::entries(dir.as_fd(), &mut |entry| {
        first = Some(entry.name.to_owned());
        ControlFlow::Break(())
    })?;
    match first {
        Some(feature) => Err(Error::Incompatible(feature)),
        None => Ok(()),
    }
}

impl Writer {
    /// Leaves the sign in the work area. It is not made durable itself, as
    /// the kernel's is not: filesystems that keep the order of their changes
    /// have it before anything that follows.
    pub(super) fn mark_volatile(&self) -> Result<()> {
        let incompatible = directory(At::new(self.work(), Name::new(INCOMPATIBLE)?))?;
        let volatile = directory(At::new(incompatible.as_fd(), Name::new(VOLATILE)?))?;
        let dirty = At::new(volatile.as_fd(), Name::new(DIRTY)?);
        exists(sys::make::node(dirty, FileKind::Regular, 0o600, 0))
    }
}

fn directory(at: At<'_>) -> Result<std::os::fd::OwnedFd> {
    exists(sys::make::directory(at, 0o700))?;
    sys::open::entry(at, OFlags::RDONLY | OFlags::DIRECTORY)
}

fn exists(made: Result<()>) -> Result<()> {
    match made {
        Err(error) if error.is(Errno::EXIST) => Ok(()),
        made => made,
    }
}
