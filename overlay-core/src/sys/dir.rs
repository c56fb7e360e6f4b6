//! `getdents64(2)` in large chunks.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{FileType, RawDir};
use rustix::io::Errno;

use crate::attr::FileKind;
use crate::error::{Error, Result};
use crate::how::RawEntry;
use crate::name::Name;

/// Bytes of a chunk: some thousand entries in one call; glibc asks for 32 KiB.
const CHUNK: usize = 64 * 1024;

thread_local! {
    /// The last chunk's memory, for the next listing of this thread. Taken out
    /// while in use, so that a listing inside a listing gets its own.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Lists an open directory from its position to the end, without `.` and `..`.
///
/// A directory that was removed has no entries: the kernel's `ENOENT`
/// (`fs/readdir.c`, `iterate_dir`) is its end.
pub fn entries(
    dir: BorrowedFd<'_>,
    each: &mut dyn FnMut(RawEntry<'_>) -> ControlFlow<()>,
) -> Result<()> {
    let mut memory = SPARE.take();
    memory.reserve_exact(CHUNK);
    let outcome = walk(dir, memory.spare_capacity_mut(), each);
    SPARE.set(memory);
    outcome
}

fn walk(
    dir: BorrowedFd<'_>,
    memory: &mut [MaybeUninit<u8>],
    each: &mut dyn FnMut(RawEntry<'_>) -> ControlFlow<()>,
) -> Result<()> {
    let mut listing = RawDir::new(dir, memory);
    while let Some(entry) = listing.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(Errno::INTR) => continue,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => {
                let subject = format_args!("dir {}", dir.as_raw_fd());
                return Err(Error::system("getdents64", subject, errno));
            }
        };
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        let name = Name::new(name).map_err(|_| Error::Damaged("an entry's name is no name"))?;
        let raw = RawEntry {
            name,
            kind: kind(entry.file_type()),
            ino: entry.ino(),
        };
        if each(raw).is_break() {
            return Ok(());
        }
    }
    Ok(())
}

fn kind(kind: FileType) -> Option<FileKind> {
    Some(match kind {
        FileType::RegularFile => FileKind::Regular,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        FileType::Fifo => FileKind::Fifo,
        FileType::Socket => FileKind::Socket,
        FileType::CharacterDevice => FileKind::CharDevice,
        FileType::BlockDevice => FileKind::BlockDevice,
        FileType::Unknown => return None,
    })
}
