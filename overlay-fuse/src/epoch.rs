//! Telling the kernel that the branches have changed: what it knows of names is
//! to be asked again, and attributes of directories too.
//!
//! Since Linux 6.16 one word does it for all names, those that were missing
//! included (`FUSE_NOTIFY_INC_EPOCH`, `fs/fuse/dev.c`). Before, each known name is
//! taken back, and a name that was missing stays so for its lifetime. Nothing
//! may be held meanwhile: see `follow.rs`.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};

use fuser::{INodeNo, Notifier};
use overlay_core::FileKind;
use overlay_core::union::Unasked;

/// `FUSE_NOTIFY_INC_EPOCH` of `linux/fuse.h`.
const INC_EPOCH: i32 = 8;

/// A name that is no file's, for no name has a slash.
const NOBODYS: &str = "/";

/// Bytes of `struct fuse_out_header`, which is all that it takes.
const HEADER: usize = 16;

/// Another way to the device, for what fuser does not say.
#[derive(Debug)]
pub(crate) struct Epoch {
    device: File,
    /// Whether the kernel knows the word.
    known: AtomicBool,
}

impl Epoch {
    /// By a copy of the descriptor of the mount's device.
    pub(crate) fn new(device: OwnedFd) -> Epoch {
        Epoch {
            device: device.into(),
            known: AtomicBool::new(true),
        }
    }

    /// The kernel is to ask again for all that it knows; `known` is what the
    /// union can tell of that, and `listed` are the directories that somebody
    /// lists.
    ///
    /// A listing that was answered before the change may still be on its way
    /// into the kernel's caches, and would be taken for new there. While it is,
    /// its directory is locked, and to take back a name waits for that lock: so
    /// one that is nobody's is taken back first. To wait needs a thread that
    /// answers no requests.
    pub(crate) fn begin(&self, known: &[Unasked], listed: &[u64], kernel: &Notifier) {
        for directory in listed {
            told(kernel.inval_entry(INodeNo(*directory), OsStr::new(NOBODYS)));
        }
        let all = self.known.load(Ordering::Relaxed) && self.increase();
        for Unasked {
            number,
            kind,
            parent,
            name,
        } in known
        {
            if !all {
                let name = OsStr::from_bytes(name.as_bytes());
                told(kernel.inval_entry(INodeNo(*parent), name));
            }
            // Who has it open asks by its descriptor, not by a name.
            if *kind == FileKind::Directory {
                told(kernel.inval_inode(INodeNo(*number), -1, 0));
            }
        }
        told(kernel.inval_inode(INodeNo::ROOT, -1, 0));
    }

    fn increase(&self) -> bool {
        let mut word = [0; HEADER];
        word[..4].copy_from_slice(&(HEADER as u32).to_ne_bytes());
        // In a message that nobody asked for, the error is the word.
        word[4..8].copy_from_slice(&INC_EPOCH.to_ne_bytes());
        match (&self.device).write_all(&word) {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, "the kernel takes names back one by one");
                self.known.store(false, Ordering::Relaxed);
                false
            }
        }
    }
}

/// What the kernel does not know it need not forget (`ENOENT`).
pub(crate) fn told(outcome: io::Result<()>) {
    match outcome {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::debug!(%error, "the kernel is not told of a change"),
    }
}
