//! The few system calls that the tests need and `rustix` lacks or leaves to
//! its callers.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::{Errno, Result};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Gives this thread mounts and a umask of its own.
///
/// What it mounts vanishes with the thread, however that ends, and tests on
/// other threads do not see it. Fails with `EPERM` if not root.
pub fn own_namespace() -> Result<()> {
    thread_local!(static DONE: Cell<bool> = const { Cell::new(false) });
    if DONE.get() {
        return Ok(());
    }
    // SAFETY: only the namespace and the umask stop being shared with other
    // threads; descriptors and memory, which Rust relies on, stay shared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS)? };
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private)?;
    DONE.set(true);
    Ok(())
}

/// Gives this thread a umask of its own; threads that it started earlier keep
/// the one they shared.
pub fn own_umask() -> Result<()> {
    // SAFETY: only the umask and the working directory stop being shared.
    unsafe { unshare_unsafe(UnshareFlags::FS) }
}

/// `truncate(2)`
pub fn truncate(path: &str, len: u64) -> Result<()> {
    let path = CString::new(path).unwrap();
    let len = i64::try_from(len).unwrap();
    // SAFETY: `path` lives through the call and ends with NUL.
    match unsafe { libc::truncate(path.as_ptr(), len) } {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap()),
    }
}

/// `open_by_handle_at(2)` with `O_PATH`: the object with this handle on the
/// filesystem of `mount`.
pub fn open_by_handle(mount: BorrowedFd<'_>, kind: i32, handle: &[u8]) -> Result<OwnedFd> {
    const MOST: usize = 128;
    #[repr(C)]
    struct FileHandle {
        bytes: u32,
        kind: i32,
        handle: [u8; MOST],
    }
    let mut file = FileHandle {
        bytes: handle.len() as u32,
        kind,
        handle: [0; MOST],
    };
    file.handle[..handle.len()].copy_from_slice(handle);
    let file: *mut FileHandle = &mut file;
    let flags = libc::O_PATH | libc::O_CLOEXEC;
    // SAFETY: `file` lives through the call, begins like `file_handle` and
    // has room for as many bytes as it says.
    let fd = unsafe { libc::open_by_handle_at(mount.as_raw_fd(), file.cast(), flags) };
    match fd {
        // SAFETY: the descriptor is new, so nobody else owns it.
        0.. => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap()),
    }
}

/// A path that leads to the object of this descriptor, also of a nameless one
/// or a symlink.
pub fn proc_path(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}
