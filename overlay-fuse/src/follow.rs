//! What others change in the branches, and the kernel has to know (`udba=notify`
//! of AuFS): each directory that the kernel knows is watched before any of its
//! names is told, and what changes in it is taken out of the kernel's caches.
//!
//! Owns a thread, which ends soon after the mount does. Its one lock is a leaf
//! (`follow/watched.rs`).
//! The kernel is told while nothing is held: it may wait for a request of its
//! own to be answered first.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::Duration;

use fuser::{INodeNo, Notifier};
use overlay_core::union::{Inode, Live};
use overlay_core::watch::{Change, Watcher};
use overlay_core::{Error, FileKind, Name, Result, Union};

use crate::epoch::{names_in, told};

mod watched;

use watched::Watched;

/// How long the thread waits before it looks whether it is still needed.
const PATIENCE: Duration = Duration::from_millis(500);

/// What the names of AuFS' marks begin with: they speak of another name.
const MARK: &[u8] = b".wh.";
/// The mark that speaks of its directory.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Follows changes by others.
#[derive(Debug)]
pub(crate) struct Follower {
    watcher: Watcher,
    watched: Watched,
}

impl Follower {
    /// Watches the root of `union`.
    ///
    /// Errors: `EOPNOTSUPP` where a branch's filesystem does not tell.
    pub(crate) fn new(union: &Union) -> Result<Arc<Follower>> {
        let follower = Follower {
            watcher: Watcher::new()?,
            watched: Watched::default(),
        };
        let root = union.root();
        let tells = |told| match told {
            true => Ok(()),
            false => Err(Error::Unsupported(
                "a branch lies on a filesystem that does not tell what others change",
            )),
        };
        let watch = || union.watch(&root, &follower.watcher).and_then(tells);
        follower.watched.note_after(root.number(), watch)?;
        Ok(Arc::new(follower))
    }

    /// Sees to it that changes in `directory` are told. Before a name in it is
    /// looked for: what happens after that is told.
    pub(crate) fn watch(&self, union: &Union, directory: &Arc<Inode>) {
        let watch = || union.watch(directory, &self.watcher);
        match self.watched.note_after(directory.number(), watch) {
            Ok(Some(false)) => {
                tracing::warn!("a filesystem inside a branch does not tell what others change");
            }
            Ok(Some(true) | None) => {}
            // To be tried again at the next name.
            Err(error) => {
                tracing::warn!(%error, "changes by others in a directory are not told");
            }
        }
    }

    /// The kernel has forgotten `directory`; nobody may have it but the caller.
    pub(crate) fn leave(&self, union: &Union, directory: &Arc<Inode>) {
        // Who has come to it meanwhile looks only now whether it is watched.
        let nobody_has = || Arc::strong_count(directory) == 1;
        let left = self.watched.leave(directory.number(), nobody_has, || {
            union.unwatch(directory, &self.watcher)
        });
        if let Err(error) = left {
            tracing::debug!(%error, "a directory is watched for nothing");
        }
    }

    /// Tells the kernel of changes, in a thread of its own, for as long as
    /// somebody has `self` and `live`.
    pub(crate) fn start(
        self: &Arc<Follower>,
        live: &Arc<Live>,
        notifier: Arc<OnceLock<Notifier>>,
    ) -> io::Result<()> {
        let (follower, live) = (Arc::downgrade(self), Arc::downgrade(live));
        thread::Builder::new()
            .name("overlay-follow".into())
            .spawn(move || follow(&follower, &live, &notifier))
            .map(drop)
    }

    /// The branches have changed: directories may have other parts now.
    ///
    /// Those of `before` that lie on branches which have gone are watched no
    /// more.
    pub(crate) fn begin_again(&self, before: &Union, after: &Union) {
        if let Err(error) = before.unwatch_gone(after, &self.watcher) {
            tracing::debug!(%error, "a branch that has gone is watched for nothing");
        }
        self.watched.take();
    }

    fn tell(&self, change: Change, live: &Live, kernel: &Notifier) {
        match change {
            Change::Entry { directory, name } => {
                // Where marks are attributes it is a name like others.
                self.tell_of_name(directory, &name, live, kernel);
                match subject(&name) {
                    Subject::Itself => {}
                    Subject::Name(name) => self.tell_of_name(directory, name, live, kernel),
                    Subject::Directory => self.tell_of_directory(directory, live, kernel),
                }
            }
            Change::Content { directory, name } => match name {
                None => forget_attributes(kernel, directory),
                Some(name) => match child(live, directory, &name) {
                    Some((number, FileKind::Directory)) => {
                        // A mark on it may have changed.
                        self.watched.forget(number);
                        forget_name(kernel, directory, &name);
                        forget_attributes(kernel, number);
                    }
                    Some((number, _)) => forget_content(kernel, number),
                    None => {}
                },
            },
            Change::Anything => {
                let watched = self.watched.take();
                tracing::warn!("too many changes by others at once: all is looked at again");
                for directory in watched {
                    self.tell_of_directory(directory, live, kernel);
                }
            }
        }
    }

    /// A name came, went, or means something else.
    fn tell_of_name(&self, directory: u64, name: &Name, live: &Live, kernel: &Notifier) {
        if let Some((number, FileKind::Directory)) = child(live, directory, name) {
            // It may have other parts now.
            self.watched.forget(number);
        }
        forget_name(kernel, directory, name);
        forget_attributes(kernel, directory);
    }

    /// Anything in a directory may have changed.
    fn tell_of_directory(&self, directory: u64, live: &Live, kernel: &Notifier) {
        self.watched.forget(directory);
        let own_name = {
            let now = live.now();
            let inode = now.known(directory);
            inode.and_then(|inode| now.name_of(&inode))
        };
        // With all that is known in it: some of that may be hidden now.
        if let Some((parent, name)) = own_name {
            forget_name(kernel, parent, &name);
        }
        for name in names_in(live, directory) {
            forget_name(kernel, directory, &name);
        }
        forget_content(kernel, directory);
    }
}

fn follow(follower: &Weak<Follower>, live: &Weak<Live>, notifier: &OnceLock<Notifier>) {
    while let Some(follower) = follower.upgrade() {
        let Some(kernel) = notifier.get() else {
            // Not yet mounted.
            thread::sleep(Duration::from_millis(1));
            continue;
        };
        let mut changes = Vec::new();
        if let Err(error) = follower
            .watcher
            .wait(PATIENCE, &mut |change| changes.push(change))
        {
            tracing::error!(%error, "changes by others are not followed any more");
            return;
        }
        // Not held over the wait: it would keep the branches from the next mount.
        let Some(live) = live.upgrade() else {
            return;
        };
        for change in changes {
            follower.tell(change, &live, kernel);
        }
    }
}

/// What an entry speaks of, if it is a mark of AuFS or of container tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject<'a> {
    Itself,
    Name(&'a Name),
    Directory,
}

fn subject(name: &Name) -> Subject<'_> {
    let bytes = name.as_bytes();
    if bytes == OPAQUE {
        return Subject::Directory;
    }
    let spoken_of = bytes.strip_prefix(MARK).map(Name::new);
    spoken_of
        .and_then(|name| name.ok())
        .map_or(Subject::Itself, Subject::Name)
}

/// What has the name now.
fn child(live: &Live, directory: u64, name: &Name) -> Option<(u64, FileKind)> {
    let now = live.now();
    let directory = now.known(directory)?;
    let found = now.lookup(&directory, name);
    let entry = found.ok().flatten()?;
    Some((entry.inode.number(), entry.inode.kind()))
}

fn forget_name(kernel: &Notifier, directory: u64, name: &Name) {
    let name = OsStr::from_bytes(name.as_bytes());
    told(kernel.inval_entry(INodeNo(directory), name));
}

fn forget_attributes(kernel: &Notifier, number: u64) {
    told(kernel.inval_inode(INodeNo(number), -1, 0));
}

fn forget_content(kernel: &Notifier, number: u64) {
    told(kernel.inval_inode(INodeNo(number), 0, 0));
}
