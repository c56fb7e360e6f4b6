//! `fusermount3`, the setuid helper of libfuse: it mounts for a user and
//! hands the device over through a socket (`fusermount3(1)`).

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::io::FdFlags;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use super::error::MountError;
use super::options::MountOptions;

/// The variable that tells the helper its end of the socket.
const SOCKET: &str = "_FUSE_COMMFD";

/// Where helpers lie that are not in the path of a service.
const USUAL: [&str; 3] = ["/usr/bin", "/bin", "/usr/local/bin"];

/// The helper. Libfuse 2's `fusermount` speaks the same.
pub(super) fn find() -> Result<PathBuf, MountError> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> = env::split_paths(&path)
        .chain(USUAL.iter().map(PathBuf::from))
        .collect();
    ["fusermount3", "fusermount"]
        .iter()
        .flat_map(|name| directories.iter().map(move |dir| dir.join(name)))
        .find(|helper| helper.is_file())
        .ok_or(MountError::NoFusermount)
}

/// Mounts at `point`; returns the device.
pub(super) fn mount(point: &Path, options: &MountOptions) -> Result<OwnedFd, MountError> {
    let helper = find()?;
    let (ours, theirs) = UnixStream::pair().map_err(MountError::RunFusermount)?;
    // The helper inherits it. Should another thread start a process just now,
    // that one holds the socket a little longer; nothing else comes of it.
    rustix::io::fcntl_setfd(&theirs, FdFlags::empty())
        .map_err(|errno| MountError::RunFusermount(errno.into()))?;
    let child = Command::new(helper)
        .arg("-o")
        .arg(words(options))
        .arg("--")
        .arg(point)
        // What it says is looked at below.
        .env("LC_ALL", "C")
        .env(SOCKET, theirs.as_raw_fd().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(MountError::RunFusermount)?;
    drop(theirs);
    let device = receive(&ours);
    let output = child
        .wait_with_output()
        .map_err(MountError::RunFusermount)?;
    match device {
        Ok(Some(device)) => Ok(device),
        Ok(None) => Err(refusal(point, &output.stderr)),
        Err(error) => Err(MountError::RunFusermount(error)),
    }
}

/// Unmounts `point`; `lazy` for one that is in use.
pub(super) fn unmount(point: &Path, lazy: Lazy) -> Result<(), io::Error> {
    let helper = find().map_err(io::Error::other)?;
    let mut command = Command::new(helper);
    command.arg("-u");
    match lazy {
        Lazy::No => {}
        Lazy::Yes => {
            command.arg("-z");
        }
    }
    let output = command.arg("--").arg(point).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(one_line(&output.stderr)))
}

/// Whether to unmount what is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lazy {
    /// It fails.
    No,
    /// It goes when the last file is closed.
    Yes,
}

fn words(options: &MountOptions) -> OsString {
    let mut words = options.data().into_bytes();
    words.extend_from_slice(b",fsname=");
    escape(options.shown_source(), &mut words);
    words.extend_from_slice(b",subtype=");
    escape(options.shown_subtype(), &mut words);
    for word in options.words() {
        words.push(b',');
        words.extend_from_slice(word.as_bytes());
    }
    OsString::from_vec(words)
}

fn escape(name: &OsStr, out: &mut Vec<u8>) {
    for &byte in name.as_bytes() {
        if matches!(byte, b',' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

/// The descriptor that comes with the helper's one byte; `None` if it ended
/// without.
fn receive(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0u8];
    let message = loop {
        let mut data = [IoSliceMut::new(&mut byte)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        match rustix::net::recvmsg(socket.as_fd(), &mut data, &mut control, flags) {
            Err(rustix::io::Errno::INTR) => {}
            result => break result?,
        }
    };
    if message.bytes == 0 {
        return Ok(None);
    }
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut descriptors) = part
            && let Some(device) = descriptors.next()
        {
            return Ok(Some(device));
        }
    }
    Ok(None)
}

fn refusal(point: &Path, said: &[u8]) -> MountError {
    let said = one_line(said);
    if said.contains("user_allow_other") {
        return MountError::AllowOther;
    }
    if said.contains("device not found") {
        return MountError::NoDevice;
    }
    if said.contains("/dev/fuse: Permission denied") {
        return MountError::DeviceDenied;
    }
    if said.contains("no write access to mountpoint") {
        return MountError::PointDenied(point.to_owned());
    }
    if let Some((_, option)) = said.split_once("unknown option ") {
        return MountError::HelperOption(option.trim_matches('\'').to_owned());
    }
    MountError::Fusermount(point.to_owned(), said)
}

fn one_line(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let lines: Vec<&str> = said.lines().map(str::trim).collect();
    lines.join("; ")
}
