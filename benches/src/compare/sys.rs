//! The system calls that `rustix` lacks or leaves to its callers.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use perf_event_open_sys::bindings::{PERF_FLAG_FD_CLOEXEC, PERF_TYPE_TRACEPOINT, perf_event_attr};
use perf_event_open_sys::{ioctls, perf_event_open};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Gives this process mounts of its own: nobody else sees what it mounts, and
/// that is gone with the process, however it ends.
///
/// To be called while there is one thread. Fails with `EPERM` if not root.
pub(crate) fn own_mounts() -> io::Result<()> {
    // SAFETY: only the namespace and the working directory stop being shared
    // with other threads; descriptors and memory stay shared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS)? };
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    Ok(mount_change("/", private)?)
}

/// Has the process that `command` starts end with the thread that starts it.
pub(crate) fn dies_with_us(command: &mut Command) {
    // SAFETY: between fork and exec one prctl(2) is called, which allocates
    // nothing and takes no lock.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::TERM))?));
    }
}

/// Counts the tracepoint `id` on the processor `cpu`, as often as `filter`
/// holds; see `perf_event_open(2)`. Reading it yields a `u64`.
pub(crate) fn count_tracepoint(id: u64, cpu: usize, filter: &CStr) -> io::Result<OwnedFd> {
    let mut attr = perf_event_attr {
        size: size_of::<perf_event_attr>() as u32,
        type_: PERF_TYPE_TRACEPOINT,
        config: id,
        ..perf_event_attr::default()
    };
    let cpu = i32::try_from(cpu).map_err(io::Error::other)?;
    let close_on_exec = PERF_FLAG_FD_CLOEXEC.into();
    // SAFETY: `attr` outlives the call, and `size` is its size.
    let fd: RawFd = unsafe { perf_event_open(&mut attr, -1, cpu, -1, close_on_exec) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above has opened it, and nobody else knows it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: the kernel reads the string, which outlives the call, and does
    // not write to it.
    match unsafe { ioctls::SET_FILTER(fd.as_raw_fd(), filter.as_ptr().cast_mut()) } {
        0 => Ok(fd),
        _ => Err(io::Error::last_os_error()),
    }
}
