//! A whole tree as a reader sees it, through system calls.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use overlay_core::attr::{FileKind, Timestamp};
use overlay_core::name::NameBuf;
use overlay_core::spec::{Path, Seen, Sight, Time};
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, Stat};
use rustix::io::Result;

use crate::sys::proc_path;

/// An entry as `getdents64` gives it.
#[derive(Debug)]
pub struct Listed {
    /// The name.
    pub name: NameBuf,
    /// `d_ino`
    pub ino: u64,
    /// `d_type`
    pub kind: FileKind,
}

/// Whether `d_ino` is compared with `st_ino`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryNumbers {
    /// They must be the same.
    Exact,
    /// Only directories' must.
    DirectoriesOnly,
    /// They may differ.
    Any,
}

/// Everything below `root`. A message if `d_ino` or `d_type` contradict
/// `lstat`, or if a name that is listed cannot be looked at.
pub fn look(root: BorrowedFd<'_>, numbers: EntryNumbers) -> std::result::Result<Seen, String> {
    let mut seen = Seen::new();
    let stat = rustix::fs::fstat(root).map_err(|errno| format!("fstat /: {errno}"))?;
    let xattrs = xattrs(&proc_path(root)).map_err(|errno| format!("listxattr /: {errno}"))?;
    let top = Sight {
        xattrs: Some(xattrs),
        ..sight(&stat)
    };
    seen.insert(Path::default(), top);
    look_into(root, &Path::default(), numbers, &mut seen)?;
    Ok(seen)
}

fn look_into(
    dir: BorrowedFd<'_>,
    path: &Path,
    numbers: EntryNumbers,
    seen: &mut Seen,
) -> std::result::Result<(), String> {
    let listed = list(dir).map_err(|errno| format!("readdir {path}: {errno}"))?;
    for entry in listed {
        let path = path.join(&entry.name);
        let fail = |call: &str, errno| format!("{call} {path}: {errno}");
        let os = entry.name.as_os_str();
        let stat = rustix::fs::statat(dir, os, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| fail("listed, but lstat", errno))?;
        let mut sight = sight(&stat);
        let compared = match numbers {
            EntryNumbers::Exact => true,
            EntryNumbers::DirectoriesOnly => sight.kind.is_dir(),
            EntryNumbers::Any => false,
        };
        if entry.kind != sight.kind || compared && entry.ino != sight.ino {
            return Err(format!(
                "{path}: readdir says ino {} {:?}, lstat {} {:?}",
                entry.ino, entry.kind, sight.ino, sight.kind
            ));
        }
        let direct = [proc_path(dir).as_bytes(), b"/", entry.name.as_bytes()].concat();
        let direct = CString::new(direct).unwrap();
        sight.xattrs = Some(xattrs_of(&direct).map_err(|errno| fail("listxattr", errno))?);
        match sight.kind {
            FileKind::Regular => {
                let file = open(dir, os, OFlags::empty()).map_err(|errno| fail("open", errno))?;
                let content = read(file.as_fd()).map_err(|errno| fail("read", errno))?;
                sight.content = Some(content);
            }
            FileKind::Symlink => {
                let target = rustix::fs::readlinkat(dir, os, Vec::new());
                let target = target.map_err(|errno| fail("readlink", errno))?;
                sight.content = Some(target.into_bytes());
            }
            FileKind::Directory => {
                let child =
                    open(dir, os, OFlags::DIRECTORY).map_err(|errno| fail("open", errno))?;
                look_into(child.as_fd(), &path, numbers, seen)?;
            }
            FileKind::Fifo | FileKind::Socket | FileKind::CharDevice | FileKind::BlockDevice => {}
        }
        seen.insert(path, sight);
    }
    Ok(())
}

fn open(dir: BorrowedFd<'_>, name: &std::ffi::OsStr, flags: OFlags) -> Result<OwnedFd> {
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

/// The attributes of one object, without content.
pub fn sight(stat: &Stat) -> Sight {
    let kind = FileKind::from_mode(stat.st_mode).unwrap();
    Sight {
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        nlink: stat.st_nlink,
        mtime: Time::At(Timestamp {
            sec: stat.st_mtime,
            nsec: stat.st_mtime_nsec as u32,
        }),
        rdev: stat.st_rdev,
        size: match kind {
            FileKind::Regular | FileKind::Symlink => stat.st_size as u64,
            FileKind::Directory
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::CharDevice
            | FileKind::BlockDevice => 0,
        },
        content: None,
        xattrs: None,
        ino: stat.st_ino,
    }
}

/// Everything from the beginning of a file to its end.
pub fn read(file: BorrowedFd<'_>) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    let mut buf = vec![0; 16384];
    loop {
        match rustix::io::pread(file, &mut buf[..], content.len() as u64)? {
            0 => return Ok(content),
            n => content.extend_from_slice(&buf[..n]),
        }
    }
}

/// The entries of a directory without `.` and `..`, in the order given.
pub fn list(dir: BorrowedFd<'_>) -> Result<Vec<Listed>> {
    // A description of its own: positions are shared otherwise.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(dir, ".", flags, Mode::empty())?;
    let mut buf = [MaybeUninit::uninit(); 8192];
    let mut raw = RawDir::new(&dir, &mut buf);
    let mut out = Vec::new();
    while let Some(entry) = raw.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        // Every filesystem that tests run on tells the kind.
        let kind = FileKind::from_mode(entry.file_type().as_raw_mode()).unwrap();
        out.push(Listed {
            name: NameBuf::new(name).unwrap(),
            ino: entry.ino(),
            kind,
        });
    }
    Ok(out)
}

fn xattrs(path: &str) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let dot = CString::new(format!("{path}/.")).unwrap();
    xattrs_of(&dot)
}

/// All extended attributes but those of security modules.
pub fn xattrs_of(path: &CString) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut buf = vec![0_u8; 4096];
    let len = rustix::fs::llistxattr(path, &mut buf[..])?;
    let mut out = BTreeMap::new();
    for name in buf[..len].split_inclusive(|byte| *byte == 0) {
        let name = &name[..name.len() - 1];
        if name.starts_with(b"security.") {
            continue;
        }
        let mut value = vec![0_u8; 1024];
        let len = rustix::fs::lgetxattr(path, name, &mut value[..])?;
        value.truncate(len);
        out.insert(name.to_vec(), value);
    }
    Ok(out)
}
