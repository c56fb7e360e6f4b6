//! What the kernel remembers of files.

use std::fs;
use std::io;

/// Writes what is dirty and forgets what is clean: pages, names and inodes of
/// every filesystem; see `proc_sys_vm(5)`.
pub(crate) fn drop_all() -> io::Result<()> {
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "3")
}

/// Writes what is dirty, so that nobody else's writing falls into the time
/// that is measured.
pub(crate) fn settle() {
    rustix::fs::sync();
}
