//! Listing directories: the kernel's offsets and the union's positions.
//!
//! The kernel's offset 0 is the beginning, 1 lies after `.`, 2 after `..`,
//! and from there on it is the union's position plus 1. Only offset 0 takes a
//! fresh look: a program may go back to any other and find what it left.
//!
//! The kernel keeps no listings (no `FOPEN_CACHE_DIR`). It would fill one
//! cache from several open directories: where one of them began before a
//! change and another after it, the second's entries are appended to the
//! first's by their offsets (`fuse_add_dirent_to_cache`, fs/fuse/readdir.c),
//! and as our offsets count positions in a snapshot, the first would lose or
//! repeat an entry that was there all the time.

use std::sync::Arc;
use std::time::Duration;

use fuser::{FileAttr, FileType, Generation, INodeNo, ReplyDirectory, ReplyDirectoryPlus};
use overlay_core::union::Entry;
use overlay_core::union::{DirHandle, Flow, Inode};
use overlay_core::{FileKind, NameBuf, Result, Union};

use crate::adapter::generation;
use crate::convert::{bare_attr, file_attr, file_type};
use crate::presentation::Presentation;
use crate::strangers::Strangers;
use crate::ways::Ways;

/// The kernel's offset after `..`, before the first entry of the union.
const FIRST: u64 = 2;

/// What the kernel's offsets lie above the union's positions: the union has
/// two beginnings (0 with a fresh look, 1 without), the kernel three.
const SHIFT: u64 = 1;

/// Entries looked up between two looks into the directory: enough to make the
/// looks cheap, few enough to waste little when the reply is full.
const BATCH: usize = 64;

/// An open directory.
#[derive(Debug)]
pub(crate) struct Listing {
    handle: DirHandle,
}

/// Whether a reply has room left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Left,
    None,
}

impl Room {
    /// From fuser's `add`: `true` if the entry did not fit.
    fn from_full(full: bool) -> Room {
        if full { Room::None } else { Room::Left }
    }
}

impl Listing {
    /// Opens `inode`.
    pub(crate) fn open(union: &Union, inode: &Arc<Inode>) -> Result<Listing> {
        let handle = union.open_dir(inode)?;
        Ok(Listing { handle })
    }

    /// The directory.
    pub(crate) fn inode(&self) -> Arc<Inode> {
        self.handle.inode()
    }

    /// Fills `reply` from `offset` on.
    pub(crate) fn read(
        &self,
        union: &Union,
        offset: u64,
        reply: &mut ReplyDirectory,
    ) -> Result<()> {
        let room = self.dots(union, offset, |number, next, name| {
            Room::from_full(reply.add(INodeNo(number), next, FileType::Directory, name))
        });
        if room == Room::None {
            return Ok(());
        }
        let position = position(offset);
        union.read_dir(&self.handle, position, &mut |entry| {
            let full = reply.add(
                INodeNo(entry.ino),
                entry.next + SHIFT,
                file_type(entry.kind),
                entry.name.as_os_str(),
            );
            if full { Flow::Stop } else { Flow::Continue }
        })
    }

    /// Fills `reply` from `offset` on, with attributes. Each entry that was
    /// accepted is pinned once, or counted as a stranger: the kernel counts it
    /// as a look-up.
    pub(crate) fn read_plus(
        &self,
        union: &Union,
        presentation: &Presentation,
        strangers: &Strangers,
        ways: &Ways,
        offset: u64,
        reply: &mut ReplyDirectoryPlus,
    ) -> Result<()> {
        let room = self.dots(union, offset, |number, next, name| {
            // Not looked up, so not counted either (fuse_direntplus_link).
            let attr = bare_attr(number, FileType::Directory);
            let ino = INodeNo(number);
            Room::from_full(reply.add(ino, next, name, &Duration::ZERO, &attr, Generation(0)))
        });
        if room == Room::None {
            return Ok(());
        }
        let mut position = position(offset);
        loop {
            // Names first, look-ups after: the directory's locks are free by then.
            let batch = self.batch(union, position)?;
            for listed in &batch {
                let told = match union.lookup(&self.inode(), &listed.name) {
                    Ok(Some(entry)) => Told::of(union, &entry, presentation),
                    // Removed since the snapshot.
                    Ok(None) => continue,
                    Err(error) => {
                        tracing::debug!(%error, name = %listed.name, "listed by its name alone");
                        Told::by_name(union, listed)
                    }
                };
                // Before the reply can go out, or the forget might overtake it.
                match &told.pinned {
                    Some(inode) => union.pin(inode),
                    None => strangers.meet(told.attr.ino.0),
                }
                let full = reply.add(
                    told.attr.ino,
                    listed.next + SHIFT,
                    listed.name.as_os_str(),
                    &ways.lifetime(told.attr.ino.0, told.ttl),
                    &told.attr,
                    told.generation,
                );
                if full {
                    match &told.pinned {
                        Some(inode) => union.unpin(inode.number(), 1),
                        None => {
                            strangers.part(told.attr.ino.0, 1);
                        }
                    }
                    return Ok(());
                }
            }
            match batch.last() {
                Some(listed) => position = listed.next,
                None => return Ok(()),
            }
        }
    }

    fn batch(&self, union: &Union, position: u64) -> Result<Vec<Listed>> {
        let mut batch = Vec::with_capacity(BATCH);
        union.read_dir(&self.handle, position, &mut |entry| {
            if batch.len() == BATCH {
                return Flow::Stop;
            }
            batch.push(Listed {
                name: entry.name.to_owned(),
                kind: entry.kind,
                number: entry.ino,
                next: entry.next,
            });
            Flow::Continue
        })?;
        Ok(batch)
    }

    /// `.` and `..`, as far as `offset` lies before them.
    fn dots(
        &self,
        union: &Union,
        offset: u64,
        mut add: impl FnMut(u64, u64, &'static str) -> Room,
    ) -> Room {
        if offset < 1 && add(self.inode().number(), 1, ".") == Room::None {
            return Room::None;
        }
        if offset < FIRST {
            return add(union.parent_number(&self.inode()), FIRST, "..");
        }
        Room::Left
    }
}

/// An entry of the snapshot.
struct Listed {
    name: NameBuf,
    kind: FileKind,
    number: u64,
    /// The position after it.
    next: u64,
}

/// An entry as a listing with attributes tells the kernel of it.
struct Told {
    attr: FileAttr,
    generation: Generation,
    ttl: Duration,
    /// The inode that the kernel counts a look-up of, if it is one of ours.
    pinned: Option<Arc<Inode>>,
}

impl Told {
    /// fuser takes one number for the node and for `d_ino`. Where the two
    /// differ, `d_ino` counts: the kernel is told of a node by that number,
    /// and that the name expires at once. So it looks the name up before it
    /// uses it, and is told the right node.
    fn of(union: &Union, entry: &Entry, presentation: &Presentation) -> Told {
        let attr = presentation.attr(&entry.attr);
        let (number, shown) = (entry.inode.number(), entry.attr.ino);
        match shown == number {
            true => Told {
                attr: file_attr(number, &attr),
                generation: generation(&entry.inode),
                ttl: presentation.shown_lifetime(),
                pinned: Some(Arc::clone(&entry.inode)),
            },
            false => Told::expired(union, file_attr(shown, &attr)),
        }
    }

    /// An entry that cannot be looked up: whoever uses the name is told why.
    fn by_name(union: &Union, listed: &Listed) -> Told {
        Told::expired(union, bare_attr(listed.number, file_type(listed.kind)))
    }

    /// The kernel looks the name up before it uses it.
    fn expired(union: &Union, attr: FileAttr) -> Told {
        let pinned = union.known(attr.ino.0);
        Told {
            attr,
            generation: pinned.as_deref().map_or(Generation(0), generation),
            ttl: Duration::ZERO,
            pinned,
        }
    }
}

/// The union's position for an offset of the kernel.
fn position(offset: u64) -> u64 {
    match offset {
        0 => 0,
        1 => FIRST - SHIFT,
        offset => offset - SHIFT,
    }
}
