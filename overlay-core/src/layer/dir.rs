//! A branch that is a directory of the host.
//!
//! # How an object is found
//!
//! A [`DirNode`] knows its *place*: its parent's node and its name, or, for a
//! root and for what was removed while in use, a descriptor. Every operation
//! goes one component from a held directory, and never through a symlink that
//! a branch stores. Directories keep an `O_PATH` descriptor in a budgeted cache
//! ([`Descriptors`]); one that was evicted is found again through its parents,
//! from the nearest that has a descriptor, in a loop.
//!
//! # Locks
//!
//! `DirNode.place` protects the pair (place, entry on disk): whoever works on an
//! object *by its name* holds the read lock over the system call; whoever makes
//! a name mean another object holds the write locks of the nodes concerned over
//! the system call and the change of place. So no thread reaches the wrong
//! object through a node.
//!
//! - A reader holds one place at a time. Where it needs a parent's descriptor
//!   that is not cached, it lets go, finds it, and looks at its own place anew.
//! - A writer takes the directories' descriptors first, then the write locks of
//!   at most two nodes, sorted by address, and no place after that.
//! - `DirNode.slot` (the cached descriptor) and the shards of [`Descriptors`]
//!   are leaves: shard before slot, and neither is held over a system call
//!   other than `close`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;

use crate::attr::Attr;
use crate::error::{Error, Result};
use crate::handle::{FileHandle, Identity};
use crate::layer::{Node, Storage};
use crate::sys;

mod descriptors;
mod discard;
mod file;
mod make;
mod node;
mod owner;
mod read;
mod set;
mod shift;
mod upper;
mod volatile;
mod write;

use descriptors::Descriptor;
pub use descriptors::Descriptors;
pub use node::DirNode;
use node::{Branch, Reading};
pub use upper::{AccessTimes, DirUpper, Signs, UpperLock, WorkAt};

/// A directory of the host that is only read.
#[derive(Debug)]
pub struct DirStorage {
    root: Arc<DirNode>,
}

impl DirStorage {
    /// Opens `path`, a directory; a symlink there is followed.
    ///
    /// Where the process may (`CAP_SYS_ADMIN`), the tree is read through a
    /// private copy of its mount, read-only and without access times: then the
    /// kernel too refuses to write to it, and what is mounted inside does not
    /// shine through, as on the kernel's overlayfs.
    pub fn open(path: &Path, descriptors: &Arc<Descriptors>) -> Result<Arc<DirStorage>> {
        let plain = sys::open::path(path, OFlags::PATH | OFlags::DIRECTORY)?;
        if !sys::proc::works(plain.as_fd())? {
            return Err(NEEDS_PROC);
        }
        let (fd, reading) = match private_mount(&plain) {
            Ok(private) => (private, Reading::LeavesNoTrace),
            Err(error) => {
                tracing::debug!(%error, path = %path.display(), "no private mount for a lower");
                (plain, Reading::AskForNoAtime)
            }
        };
        let branch = Arc::new(Branch::read_only(
            Arc::clone(descriptors),
            reading,
            fd.as_fd(),
        ));
        Ok(Arc::new(DirStorage {
            root: DirNode::root(&branch, Descriptor::new(fd)),
        }))
    }
}

impl Storage for DirStorage {
    fn root(&self) -> Arc<dyn Node> {
        Arc::clone(&self.root) as Arc<dyn Node>
    }

    fn attr_of_handle(&self, handle: &FileHandle) -> Result<Option<Attr>> {
        self.root.attr_of_handle(handle)
    }

    fn identity(&self) -> Identity {
        let filesystem = self.root.branch().filesystem;
        filesystem.map_or(Identity::OfDevice, |filesystem| filesystem.identity)
    }
}

const NEEDS_PROC: Error =
    Error::Unsupported("/proc is not mounted (or not this process'): mount proc on /proc first");

fn private_mount(plain: &OwnedFd) -> Result<OwnedFd> {
    let private = sys::mount::copy(plain.as_fd())?;
    sys::mount::set_read_only_no_atime(private.as_fd())?;
    Ok(private)
}
