//! Telling the kernel that the branches have changed: what it knows of names is
//! to be asked again, attributes of directories too, and the content of what
//! shows another part.
//!
//! Since Linux 6.16 one word does it for all names, those that were missing
//! included (`FUSE_NOTIFY_INC_EPOCH`, `fs/fuse/dev.c`). But what is mounted on a
//! directory goes with the directory's name (`d_invalidate`, `fs/dcache.c`). So
//! before that version, and where something is mounted inside the union, names
//! expire one by one: what leads where it did stays, with all that is mounted
//! there. Those are the names that were known, and, as any name that shows now
//! may have been missing, all that known directories list.
//!
//! Nothing may be held meanwhile: see `follow.rs`.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};

use fuser::{INodeNo, Notifier};
use overlay_core::stack::mounts::MountTable;
use overlay_core::union::{Flow, Live};
use overlay_core::{FileKind, NameBuf};

/// `FUSE_NOTIFY_INVAL_ENTRY` of `linux/fuse.h`.
const INVAL_ENTRY: i32 = 3;

/// `FUSE_NOTIFY_INC_EPOCH`, the same.
const INC_EPOCH: i32 = 8;

/// `FUSE_EXPIRE_ONLY`, the same: where it is not known (before Linux 6.2) it
/// has no effect, and the name goes with what is mounted there.
const EXPIRE_ONLY: u32 = 1;

/// A name that is no file's, for no name has a slash.
const NOBODYS: &str = "/";

/// Bytes of `struct fuse_out_header`.
const HEADER: usize = 16;

/// Another way to the device, for what fuser does not say.
#[derive(Debug)]
pub(crate) struct Epoch {
    device: File,
    /// The device number of what is mounted, if that can be known.
    filesystem: Option<u64>,
    /// Whether the kernel knows the word.
    known: AtomicBool,
}

impl Epoch {
    /// By a copy of the descriptor of the mount's device.
    pub(crate) fn new(device: OwnedFd, filesystem: Option<u64>) -> Epoch {
        Epoch {
            device: device.into(),
            filesystem,
            known: AtomicBool::new(true),
        }
    }

    /// The kernel is to ask again for all that it knows; `listed` are the
    /// directories that somebody lists.
    ///
    /// A listing that was answered before the change may still be on its way
    /// into the kernel's caches, and would be taken for new there. While it is,
    /// its directory is locked, and to take back a name waits for that lock: so
    /// one that is nobody's is taken back first. To wait needs a thread that
    /// answers no requests.
    pub(crate) fn begin(&self, live: &Live, listed: &[u64], kernel: &Notifier) {
        for directory in listed {
            told(kernel.inval_entry(INodeNo(*directory), OsStr::new(NOBODYS)));
        }
        let known = live.now().unasked();
        let directories = known.iter().filter(|name| name.kind == FileKind::Directory);
        let directories = directories.map(|name| name.number);
        let directories: Vec<u64> = directories.chain([INodeNo::ROOT.0]).collect();
        if self.has_mounts_inside() || !self.increase() {
            for name in &known {
                self.expire(name.parent, &name.name);
            }
            for directory in &directories {
                for name in names_in(live, *directory) {
                    self.expire(*directory, &name);
                }
            }
        }
        let files = known.iter().filter(|name| name.kind != FileKind::Directory);
        for file in files.filter(|name| name.content_changed) {
            // Who holds it keeps what the kernel has of it.
            told(kernel.inval_inode(INodeNo(file.number), 0, 0));
        }
        for directory in directories {
            // Who has it open asks by its descriptor, not by a name.
            told(kernel.inval_inode(INodeNo(directory), -1, 0));
        }
    }

    /// In a container that is where `/proc` is, to name one.
    fn has_mounts_inside(&self) -> bool {
        match self.filesystem {
            Some(dev) => mount_tables().any(|table| table.has_mounts_on(dev)),
            None => true,
        }
    }

    fn increase(&self) -> bool {
        if !self.known.load(Ordering::Relaxed) {
            return false;
        }
        match self.tell(INC_EPOCH, &[]) {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, "the kernel is told of names one by one");
                self.known.store(false, Ordering::Relaxed);
                false
            }
        }
    }

    /// The kernel asks for the name before it uses it again.
    fn expire(&self, directory: u64, name: &NameBuf) {
        let name = name.as_bytes();
        let mut body = Vec::with_capacity(16 + name.len() + 1);
        body.extend(directory.to_ne_bytes());
        body.extend((name.len() as u32).to_ne_bytes());
        body.extend(EXPIRE_ONLY.to_ne_bytes());
        body.extend(name);
        body.push(0);
        told(self.tell(INVAL_ENTRY, &body));
    }

    /// A message that nobody asked for: in the place of an error it has `word`,
    /// and belongs to no request.
    fn tell(&self, word: i32, body: &[u8]) -> io::Result<()> {
        let mut message = Vec::with_capacity(HEADER + body.len());
        message.extend(((HEADER + body.len()) as u32).to_ne_bytes());
        message.extend(word.to_ne_bytes());
        message.extend(0u64.to_ne_bytes());
        message.extend(body);
        (&self.device).write_all(&message)
    }
}

/// What is mounted where, in all mount namespaces that can be seen.
fn mount_tables() -> impl Iterator<Item = MountTable> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut seen = HashSet::new();
    // Some end meanwhile, and some are other users'.
    processes.filter_map(move |process| {
        let namespace = fs::metadata(process.path().join("ns/mnt")).ok()?;
        if !seen.insert(namespace.ino()) {
            return None;
        }
        let table = fs::read(process.path().join("mountinfo")).ok()?;
        Some(MountTable::parse(&table))
    })
}

/// What a directory lists now.
pub(crate) fn names_in(live: &Live, directory: u64) -> Vec<NameBuf> {
    let now = live.now();
    let inode = match now.known(directory) {
        Some(inode) => inode,
        None => match now.recall_after_change(directory) {
            Ok(entry) => entry.inode,
            // It is gone.
            Err(_) => return Vec::new(),
        },
    };
    let mut names = Vec::new();
    let listed = now.open_dir(&inode).and_then(|handle| {
        now.read_dir(&handle, 0, &mut |entry| {
            names.push(entry.name.to_owned());
            Flow::Continue
        })
    });
    if let Err(error) = listed {
        tracing::debug!(%error, "a directory that changed cannot be listed");
    }
    names
}

/// What the kernel does not know it need not forget (`ENOENT`).
pub(crate) fn told(outcome: io::Result<()>) {
    match outcome {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::debug!(%error, "the kernel is not told of a change"),
    }
}
