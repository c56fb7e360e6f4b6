//! What the kernel sends to a server, counted by the kernel itself.
//!
//! `fs/fuse` has a tracepoint where a request is queued
//! (`fuse_request_send`, `fs/fuse/fuse_trace.h`, Linux 6.9). A counter of
//! `perf_event_open(2)` is put on it for each kind of request and each
//! processor, with a filter by the mount's device. So any server can be
//! counted, nothing in it need know, and where nobody counts it costs
//! nothing. A counter on `raw_syscalls:sys_enter` counts the system calls of
//! the server's threads in the same way.
//!
//! FORGET is not seen: it has no answer, and does not pass that place.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::mounted::Mounted;
use super::sys;

/// Kinds of requests by number; `include/uapi/linux/fuse.h`.
const KINDS: &[(u32, &str)] = &[
    (1, "LOOKUP"),
    (3, "GETATTR"),
    (4, "SETATTR"),
    (5, "READLINK"),
    (6, "SYMLINK"),
    (8, "MKNOD"),
    (9, "MKDIR"),
    (10, "UNLINK"),
    (11, "RMDIR"),
    (12, "RENAME"),
    (13, "LINK"),
    (14, "OPEN"),
    (15, "READ"),
    (16, "WRITE"),
    (17, "STATFS"),
    (18, "RELEASE"),
    (20, "FSYNC"),
    (21, "SETXATTR"),
    (22, "GETXATTR"),
    (23, "LISTXATTR"),
    (24, "REMOVEXATTR"),
    (25, "FLUSH"),
    (27, "OPENDIR"),
    (28, "READDIR"),
    (29, "RELEASEDIR"),
    (30, "FSYNCDIR"),
    (31, "GETLK"),
    (32, "SETLK"),
    (33, "SETLKW"),
    (34, "ACCESS"),
    (35, "CREATE"),
    (39, "IOCTL"),
    (43, "FALLOCATE"),
    (44, "READDIRPLUS"),
    (45, "RENAME2"),
    (46, "LSEEK"),
    (47, "COPY_FILE_RANGE"),
    (50, "SYNCFS"),
    (51, "TMPFILE"),
    (52, "STATX"),
];

/// What the server's system calls stand under.
pub(crate) const SYSTEM_CALLS: &str = "system calls";

/// What is sent behind the back of who closes a file arrives within this.
const ASYNCHRONOUS: Duration = Duration::from_millis(50);

/// The numbers of the tracepoints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tracepoints {
    request: u64,
    system_call: u64,
}

impl Tracepoints {
    /// Looks them up, with tracefs mounted on `point` for as long.
    pub(crate) fn find(point: &Path) -> io::Result<Tracepoints> {
        fs::create_dir_all(point)?;
        mount("tracefs", point, "tracefs", MountFlags::empty(), None)?;
        let id = |name: &str| {
            let path = point.join("events").join(name).join("id");
            let text = fs::read_to_string(path)?;
            text.trim().parse().map_err(io::Error::other)
        };
        let found = id("fuse/fuse_request_send").and_then(|request| {
            let system_call = id("raw_syscalls/sys_enter")?;
            Ok(Tracepoints {
                request,
                system_call,
            })
        });
        unmount(point, UnmountFlags::DETACH)?;
        found
    }
}

/// Counters of one mount.
#[derive(Debug)]
pub(crate) struct Counters {
    /// What, and one file for each processor.
    counters: Vec<(&'static str, Vec<fs::File>)>,
}

/// How often what was counted.
pub(crate) type Counts = BTreeMap<String, u64>;

impl Counters {
    /// Begins to count.
    pub(crate) fn new(tracepoints: Tracepoints, mounted: &Mounted) -> io::Result<Counters> {
        // The kernel's own form of a device number: 12 bits and 20 bits.
        let device = fs::metadata(mounted.point())?.dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let connection = (major << 20) | minor;
        let mut counters = Vec::new();
        for (number, kind) in KINDS {
            let filter = format!("connection == {connection} && opcode == {number}");
            counters.push((*kind, on_all_processors(tracepoints.request, &filter)?));
        }
        if let Some(server) = mounted.server() {
            let threads = threads_of(server)?.into_iter();
            let each = threads.map(|thread| format!("common_pid == {thread}"));
            let filter = each.collect::<Vec<_>>().join(" || ");
            let calls = on_all_processors(tracepoints.system_call, &filter)?;
            counters.push((SYSTEM_CALLS, calls));
        }
        thread::sleep(ASYNCHRONOUS);
        Ok(Counters { counters })
    }

    /// What has been counted until now.
    pub(crate) fn read(&mut self) -> io::Result<Counts> {
        thread::sleep(ASYNCHRONOUS);
        let mut counts = Counts::new();
        for (kind, files) in &mut self.counters {
            let mut sum = 0;
            for file in files {
                let mut count = [0; 8];
                file.read_exact(&mut count)?;
                sum += u64::from_ne_bytes(count);
            }
            counts.insert((*kind).to_owned(), sum);
        }
        Ok(counts)
    }
}

/// What `later` has more than `earlier`; nothing of what is the same.
pub(crate) fn difference(earlier: &Counts, later: &Counts) -> Counts {
    let more = later.iter().filter_map(|(kind, count)| {
        let before = earlier.get(kind).copied().unwrap_or_default();
        let more = count.saturating_sub(before);
        (more > 0).then(|| (kind.clone(), more))
    });
    more.collect()
}

fn on_all_processors(id: u64, filter: &str) -> io::Result<Vec<fs::File>> {
    let filter = CString::new(filter)?;
    let processors = thread::available_parallelism()?.get();
    let count = |cpu| sys::count_tracepoint(id, cpu, &filter).map(fs::File::from);
    (0..processors).map(count).collect()
}

fn threads_of(process: u32) -> io::Result<Vec<u32>> {
    let mut threads = Vec::new();
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        if let Some(thread) = task?.file_name().to_str().and_then(|id| id.parse().ok()) {
            threads.push(thread);
        }
    }
    Ok(threads)
}
