//! The options on owners, permissions and what is shown of them, each by a
//! mount.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::Path;
use std::process::Command;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

#[path = "../common/mod.rs"]
mod common;

mod attributes;
mod ids;
mod peer;
mod shown;
mod words;

use common::{Mounted, Scene};

pub(crate) const OVERRIDE: &str = "user.containers.override_stat";

pub(crate) fn owner(path: impl AsRef<Path>) -> (u32, u32) {
    let attr = fs::symlink_metadata(path).unwrap();
    (attr.uid(), attr.gid())
}

pub(crate) fn mode(path: impl AsRef<Path>) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

pub(crate) fn errno<T>(outcome: io::Result<T>) -> Errno {
    match outcome {
        Ok(_) => panic!("this had to fail"),
        Err(error) => Errno::from_io_error(&error).unwrap(),
    }
}

pub(crate) fn give(path: impl AsRef<Path>, uid: u32, gid: u32) {
    lchown(path, Some(uid), Some(gid)).unwrap();
}

pub(crate) fn chmod(path: impl AsRef<Path>, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

pub(crate) fn xattr(path: impl AsRef<Path>, name: &str) -> Result<Vec<u8>, Errno> {
    let mut buf = vec![0; 1024];
    let len = rustix::fs::lgetxattr(path.as_ref(), name, &mut buf)?;
    buf.truncate(len);
    Ok(buf)
}

pub(crate) fn set_xattr(path: impl AsRef<Path>, name: &str, value: &[u8]) -> Result<(), Errno> {
    rustix::fs::lsetxattr(path.as_ref(), name, value, XattrFlags::empty())
}

/// The names, sorted.
pub(crate) fn xattrs(path: impl AsRef<Path>) -> Vec<String> {
    let mut buf = vec![0; 4096];
    let len = rustix::fs::llistxattr(path.as_ref(), &mut buf).unwrap();
    let names = buf[..len].split(|byte| *byte == 0);
    let mut names: Vec<String> = names
        .filter(|name| !name.is_empty() && !name.starts_with(b"security.selinux"))
        .map(|name| String::from_utf8(name.to_vec()).unwrap())
        .collect();
    names.sort();
    names
}

pub(crate) fn text(value: Vec<u8>) -> String {
    String::from_utf8(value).unwrap()
}

pub(crate) fn mount(scene: &Scene, options: &str) -> Mounted {
    scene.mount(["l", "u", "m", "-o", options])
}

/// Runs a command as another user, who may have all capabilities or none.
pub(crate) fn as_user(uid: u32, gid: u32, program: &str, words: &[&Path]) -> bool {
    let (uid, gid) = (format!("--reuid={uid}"), format!("--regid={gid}"));
    let mut command = Command::new("setpriv");
    command.args([&uid, &gid, "--clear-groups", program]);
    command.args(words).output().unwrap().status.success()
}

/// What is seen of a path, but for times and sizes of directories.
pub(crate) fn seen(path: &Path) -> String {
    let attr = fs::symlink_metadata(path).unwrap();
    let (uid, gid, rdev) = (attr.uid(), attr.gid(), attr.rdev());
    format!("{uid}:{gid} {:o} {rdev}", attr.mode())
}
