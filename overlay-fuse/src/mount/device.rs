//! Getting a FUSE device that is mounted: directly as root, through
//! `fusermount3` as anyone else.

use std::ffi::{CString, OsString};
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use overlay_core::stack::mounts::MountTable;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use rustix::process::{getgid, getuid};

use super::error::MountError;
use super::fusermount;
use super::options::{MountFlag, MountOptions};

/// Where the kernel's FUSE listens.
const DEVICE: &str = "/dev/fuse";

/// A device with a mount on it; INIT is waiting to be read.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) fd: OwnedFd,
    /// Whether this process may open `/dev/fuse` again.
    pub(super) reopens: bool,
}

/// Whether mounting can work at all.
pub(super) fn check() -> Result<(), MountError> {
    match open() {
        Ok(Some(_)) if may_mount() => Ok(()),
        Ok(_) => fusermount::find().map(drop),
        Err(error) => Err(error),
    }
}

/// Mounts at `point`, which is absolute and without symlinks.
pub(super) fn mount(point: &Path, options: &MountOptions) -> Result<Device, MountError> {
    if options.shown_context().is_some() && !has_selinux() {
        return Err(MountError::NoSelinux);
    }
    let device = open()?;
    if let Some(fd) = device {
        match mount_directly(&fd, point, options) {
            Ok(()) => {
                propagate(point, options)?;
                return Ok(Device { fd, reopens: true });
            }
            Err(Errno::PERM) => {}
            Err(Errno::NODEV) => return Err(MountError::NoDevice),
            Err(Errno::INVAL) if has_nul(options) => {
                return Err(MountError::Name(options.shown_source().to_owned()));
            }
            Err(errno) => return Err(MountError::Mount(point.to_owned(), errno)),
        }
    }
    for (flag, word) in [(MountFlag::NoSuid, "suid"), (MountFlag::NoDev, "dev")] {
        if !options.has(flag) {
            return Err(MountError::RootOnly(word));
        }
    }
    if options.shown_context().is_some() {
        return Err(MountError::ContextForRoot);
    }
    refuse_propagation(point, options)?;
    let fd = fusermount::mount(point, options)?;
    Ok(Device {
        fd,
        reopens: open()?.is_some(),
    })
}

/// `None` where this process may not open it but `fusermount3` may.
fn open() -> Result<Option<OwnedFd>, MountError> {
    match rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NXIO | Errno::NODEV) => Err(MountError::NoDevice),
        Err(Errno::ACCESS | Errno::PERM) => Ok(None),
        Err(errno) => Err(MountError::Device(errno.into())),
    }
}

fn may_mount() -> bool {
    use rustix::thread::CapabilitySet;
    rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
}

fn mount_directly(fd: &OwnedFd, point: &Path, options: &MountOptions) -> Result<(), Errno> {
    let root_mode = fs::metadata(point)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?
        .mode();
    let data = mount_data(fd.as_raw_fd(), root_mode, options);
    let data = CString::new(data).map_err(|_| Errno::INVAL)?;
    let mut kind = OsString::from("fuse.");
    kind.push(options.shown_subtype());
    rustix::mount::mount(
        options.shown_source(),
        point,
        &kind,
        options.flags(),
        data.as_c_str(),
    )
}

/// `mount(2)` takes it in a call of its own.
fn propagate(point: &Path, options: &MountOptions) -> Result<(), MountError> {
    let Some(propagation) = options.shown_propagation() else {
        return Ok(());
    };
    rustix::mount::mount_change(point, propagation.kernel()).map_err(|errno| {
        // The first error is the one to tell.
        if let Err(errno) = rustix::mount::unmount(point, UnmountFlags::DETACH) {
            tracing::warn!(%errno, "a failed mount stays");
        }
        MountError::Mount(point.to_owned(), errno)
    })
}

/// `fusermount3` sets none, and only root may.
fn refuse_propagation(point: &Path, options: &MountOptions) -> Result<(), MountError> {
    let Some(propagation) = options.shown_propagation() else {
        return Ok(());
    };
    let mounts = MountTable::read().unwrap_or_default();
    let shared = mounts.of(point).map(|below| below.shared);
    match shared.is_some_and(|shared| propagation.comes_by_itself(shared)) {
        true => Ok(()),
        false => Err(MountError::Propagation(propagation.word())),
    }
}

/// What `mount(2)` is told beside its flags.
fn mount_data(fd: RawFd, root_mode: u32, options: &MountOptions) -> Vec<u8> {
    let mut data = format!(
        "fd={},rootmode={:o},user_id={},group_id={},{}",
        fd,
        root_mode & libc::S_IFMT,
        getuid().as_raw(),
        getgid().as_raw(),
        options.data(),
    )
    .into_bytes();
    if let Some(context) = options.shown_context() {
        // Taken out by SELinux before FUSE sees it; the levels have commas.
        data.extend_from_slice(b",context=\"");
        data.extend_from_slice(context.as_bytes());
        data.push(b'"');
    }
    data
}

/// Whether SELinux runs: its filesystem is there from then on, mounted or not.
fn has_selinux() -> bool {
    fs::read_to_string("/proc/filesystems")
        .is_ok_and(|kinds| kinds.split_whitespace().any(|kind| kind == "selinuxfs"))
}

fn has_nul(options: &MountOptions) -> bool {
    let names = [options.shown_source(), options.shown_subtype()];
    names.iter().any(|name| name.as_bytes().contains(&0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_quoted_for_selinux() {
        let context = "system_u:object_r:container_file_t:s0:c1,c2";
        let data = mount_data(7, 0o40755, &MountOptions::new().context(context));
        let data = String::from_utf8_lossy(&data);
        assert!(data.starts_with("fd=7,rootmode=40000,user_id="), "{data}");
        assert!(data.ends_with(&format!(",context=\"{context}\"")), "{data}");
    }
}
