//! Being told when others change a branch: directories are watched, and what
//! is changed in them is told by name. Changes by this process are not.
//!
//! Owns a group of `fanotify(7)` and the map from its handles to the numbers of
//! inodes; the map is a leaf lock. What a change means for the union, and who
//! else has to know, is not known here.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags};
use rustix::time::Timespec;

use crate::error::{Errno, Error, Result};
use crate::name::{Name, NameBuf};
use crate::sys::fanotify::{self, Mark};
use crate::sys::{Object, handle};

/// A change by somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A name in a directory came, went, or means something else.
    Entry {
        /// The number by which the directory is watched.
        directory: u64,
        /// The name.
        name: NameBuf,
    },
    /// Data or attributes of an object in a directory, or of the directory
    /// itself where there is no name.
    Content {
        /// The number by which the directory is watched.
        directory: u64,
        /// The name.
        name: Option<NameBuf>,
    },
    /// There were more changes than could be told: anything may have changed.
    Anything,
}

/// A directory as events name it: its filesystem, and its handle there.
type Key = ([u8; 8], i32, Vec<u8>);

/// Watches directories.
#[derive(Debug)]
pub struct Watcher {
    group: OwnedFd,
    known: Mutex<HashMap<Key, u64>>,
}

/// Bytes of events that are read at once.
const ROOM: usize = 64 * 1024;

impl Watcher {
    /// Watches nothing yet.
    ///
    /// Errors: `EPERM` where the kernel lets only root watch (before 5.13),
    /// `ENOSYS`, `EMFILE`.
    pub fn new() -> Result<Watcher> {
        Ok(Watcher {
            group: fanotify::open()?,
            known: Mutex::new(HashMap::new()),
        })
    }

    /// From now on changes in `directory` are told, under `number`. `false`
    /// where its filesystem cannot tell.
    pub fn add(&self, directory: BorrowedFd<'_>, number: u64) -> Result<bool> {
        let Some(key) = key(directory)? else {
            return Ok(false);
        };
        // Before the mark: its first event may come at once.
        self.known.lock().insert(key, number);
        fanotify::mark(self.group.as_fd(), Mark::Add, directory)
    }

    /// Changes in `directory` are not told any more.
    pub fn remove(&self, directory: BorrowedFd<'_>) -> Result<()> {
        fanotify::mark(self.group.as_fd(), Mark::Remove, directory)?;
        if let Some(key) = key(directory)? {
            self.known.lock().remove(&key);
        }
        Ok(())
    }

    /// The numbers under which directories are watched.
    pub fn numbers(&self) -> HashSet<u64> {
        self.known.lock().values().copied().collect()
    }

    /// Waits for changes, at most so long, and tells those that there are.
    pub fn wait(&self, longest: Duration, each: &mut dyn FnMut(Change)) -> Result<()> {
        let failed = |call, errno| Error::system(call, "changes by others", errno);
        let longest = Timespec::try_from(longest).map_err(|_| Error::Invalid("too long a wait"))?;
        let mut polled = [PollFd::new(&self.group, PollFlags::IN)];
        match rustix::event::poll(&mut polled, Some(&longest)) {
            Ok(0) | Err(Errno::INTR) => return Ok(()),
            Ok(_) => {}
            Err(errno) => return Err(failed("poll", errno)),
        }
        let mut room = vec![0; ROOM];
        let len = match rustix::io::read(&self.group, &mut room[..]) {
            Ok(len) => len,
            Err(Errno::INTR) => return Ok(()),
            Err(errno) => return Err(failed("read", errno)),
        };
        let mut rest = room.get(..len).unwrap_or_default();
        while let Some(event) = Event::parse(&mut rest) {
            if let Some(change) = self.meaning(&event) {
                each(change);
            }
        }
        Ok(())
    }

    fn meaning(&self, event: &Event<'_>) -> Option<Change> {
        if event.mask & libc::FAN_Q_OVERFLOW != 0 {
            return Some(Change::Anything);
        }
        // The process itself: it knows.
        if event.pid == rustix::process::getpid().as_raw_nonzero().get() {
            return None;
        }
        let (key, name) = event.place()?;
        let directory = *self.known.lock().get(&key)?;
        let name = Name::new(name).ok().map(Name::to_owned);
        let moves = libc::FAN_CREATE | libc::FAN_DELETE | libc::FAN_MOVE;
        Some(match name {
            Some(name) if event.mask & moves != 0 => Change::Entry { directory, name },
            name => Change::Content { directory, name },
        })
    }
}

fn key(directory: BorrowedFd<'_>) -> Result<Option<Key>> {
    let filesystem = fanotify::filesystem(directory)?;
    let handle = handle::of(Object::Held(directory))?;
    Ok(handle.map(|(kind, bytes)| (filesystem, i32::from(kind), bytes)))
}

/// `struct fanotify_event_metadata` with what follows it.
struct Event<'a> {
    mask: u64,
    pid: i32,
    /// The records of information.
    records: &'a [u8],
}

/// Bytes of `struct fanotify_event_metadata`.
const METADATA: usize = 24;
/// Bytes of `struct fanotify_event_info_header`.
const HEADER: usize = 4;
/// Bytes of `fsid` and of `struct file_handle` before its handle.
const FID: usize = 8 + 8;

impl<'a> Event<'a> {
    /// Takes the next event off `bytes`.
    fn parse(bytes: &mut &'a [u8]) -> Option<Event<'a>> {
        let len = usize::try_from(number(bytes, 0)?).ok()?;
        let (event, rest) = bytes.split_at_checked(len)?;
        *bytes = rest;
        let metadata = event.get(..METADATA)?;
        let metadata_len = usize::from(u16::from_ne_bytes([metadata[6], metadata[7]]));
        Some(Event {
            mask: u64::from_ne_bytes(metadata.get(8..16)?.try_into().ok()?),
            pid: number(metadata, 20)? as i32,
            records: event.get(metadata_len..)?,
        })
    }

    /// The directory, and the name in it (`.` for the directory itself).
    fn place(&self) -> Option<(Key, &'a [u8])> {
        let mut records = self.records;
        while let Some(header) = records.get(..HEADER) {
            let len = usize::from(u16::from_ne_bytes([header[2], header[3]]));
            let (record, rest) = records.split_at_checked(len)?;
            records = rest;
            if record[0] != libc::FAN_EVENT_INFO_TYPE_DFID_NAME {
                continue;
            }
            let body = record.get(HEADER..)?;
            let filesystem: [u8; 8] = body.get(..8)?.try_into().ok()?;
            let handle_len = number(body, 8)? as usize;
            let kind = number(body, 12)? as i32;
            let (handle, name) = body.get(FID..)?.split_at_checked(handle_len)?;
            let end = name.iter().position(|byte| *byte == 0)?;
            return Some(((filesystem, kind, handle.to_vec()), name.get(..end)?));
        }
        None
    }
}

/// The number of 32 bits at `at`.
fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests;
