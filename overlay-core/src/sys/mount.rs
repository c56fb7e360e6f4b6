//! Private copies of mounts, attached nowhere.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::mount::OpenTreeFlags;

use super::meta::last_errno;
use crate::error::{Error, Result};

/// Copies the mount that `dir` lies on, with `dir` as its root and without the
/// mounts on top of it; see `open_tree(2)`. Needs `CAP_SYS_ADMIN`. The copy
/// lives as long as something in it is open.
pub fn copy(dir: BorrowedFd<'_>) -> Result<OwnedFd> {
    // AT_EMPTY_PATH is outside of rustix' flags for this call, though the
    // kernel takes it (`fs/namespace.c`, `vfs_open_tree`).
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::from_bits_retain(libc::AT_EMPTY_PATH as u32);
    rustix::mount::open_tree(dir, c"", flags)
        .map_err(|e| Error::system("open_tree", format_args!("dir {}", dir.as_raw_fd()), e))
}

/// Makes a mount read-only and its access times stand still; see
/// `mount_setattr(2)` (Linux 5.12).
pub fn set_read_only_no_atime(mount: BorrowedFd<'_>) -> Result<()> {
    let attr = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOATIME,
        attr_clr: libc::MOUNT_ATTR__ATIME,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path is a static C string; `attr` lives until the call
    // returns and its true size is given; the kernel only reads both.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    };
    match answer {
        0 => Ok(()),
        _ => Err(Error::system(
            "mount_setattr",
            format_args!("mount {}", mount.as_raw_fd()),
            last_errno(),
        )),
    }
}
