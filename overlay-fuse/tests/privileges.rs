//! What changes of a file take away from it, on a mount and on the kernel's
//! overlayfs: setuid, setgid and file capabilities, of each mode, by each kind
//! of change and of user.
#![allow(missing_docs, unsafe_code, clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::thread;

use common::kernel::KernelMount;
use common::{Scene, USER, can_mount};
use rustix::fs::{
    CWD, FallocateFlags, FileType, Mode, XattrFlags, copy_file_range, fallocate, mknodat,
};
use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitySet, set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// Those with a bit to lose, with and without a group that may execute, and
/// one without.
const MODES: [u32; 6] = [0o4777, 0o2777, 0o6777, 0o2666, 0o6666, 0o0777];

/// `VFS_CAP_REVISION_2` with `CAP_NET_RAW`; see `<linux/capability.h>`.
const CAPABILITY: [u8; 20] = {
    let mut value = [0; 20];
    value[3] = 2;
    value[5] = 0x20;
    value
};

#[derive(Debug, Clone, Copy)]
enum Change {
    Append,
    WriteInPlace,
    WriteTwice,
    Cut,
    CutByOpening,
    Allocate,
    CopyInto,
    Store,
    Group,
    NoOwner,
    Mode,
    Touch,
}

const CHANGES: [Change; 12] = [
    Change::Append,
    Change::WriteInPlace,
    Change::WriteTwice,
    Change::Cut,
    Change::CutByOpening,
    Change::Allocate,
    Change::CopyInto,
    Change::Store,
    Change::Group,
    Change::NoOwner,
    Change::Mode,
    Change::Touch,
];

impl Change {
    fn make(self, path: &Path) -> std::io::Result<()> {
        let writing = || File::options().read(true).write(true).open(path);
        match self {
            Change::Append => File::options().append(true).open(path)?.write_all(b"x"),
            Change::WriteInPlace => writing()?.write_all_at(b"x", 1),
            Change::WriteTwice => {
                let file = writing()?;
                file.write_all_at(b"x", 1)?;
                // What has been found out by then must not be taken for what is.
                let mode = file.metadata()?.mode() & 0o777;
                match file.set_permissions(fs::Permissions::from_mode(0o4000 | mode)) {
                    Ok(()) => {}
                    Err(_) => return Ok(()),
                }
                file.write_all_at(b"y", 2)
            }
            Change::Cut => writing()?.set_len(2),
            Change::CutByOpening => File::create(path).map(drop),
            Change::Allocate => {
                let file = writing()?;
                Ok(fallocate(&file, FallocateFlags::empty(), 0, 4096)?)
            }
            Change::CopyInto => {
                let file = writing()?;
                copy_file_range(&file, Some(&mut 0), &file, Some(&mut 4), 4)?;
                Ok(())
            }
            Change::Store => store(&writing()?),
            Change::Group => chown(path, None, Some(fs::metadata(path)?.gid())),
            Change::NoOwner => chown(path, None, None),
            Change::Mode => fs::set_permissions(path, fs::Permissions::from_mode(0o6755)),
            Change::Touch => writing()?.set_modified(std::time::SystemTime::UNIX_EPOCH),
        }
    }
}

/// Stores a byte by a shared mapping.
fn store(file: &File) -> std::io::Result<()> {
    let both = libc::PROT_READ | libc::PROT_WRITE;
    let nowhere = std::ptr::null_mut();
    // SAFETY: a new mapping of an open file, which is not empty.
    let at = unsafe { libc::mmap(nowhere, 1, both, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    if at == libc::MAP_FAILED {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the first byte of the mapping, which only this thread knows of.
    unsafe { at.cast::<u8>().write_volatile(b'm') };
    // SAFETY: the same mapping, which nobody uses any more.
    let flushed = unsafe { libc::msync(at, 1, libc::MS_SYNC) };
    // SAFETY: the same.
    let unmapped = unsafe { libc::munmap(at, 1) };
    match flushed == 0 && unmapped == 0 {
        true => Ok(()),
        false => Err(std::io::Error::last_os_error()),
    }
}

#[derive(Debug, Clone, Copy)]
enum Who {
    Root,
    /// Root without `CAP_FSETID`.
    LesserRoot,
    Owner,
    /// Another user, who is not in the file's group.
    Outsider,
}

const ALL: [Who; 4] = [Who::Root, Who::LesserRoot, Who::Owner, Who::Outsider];

impl Who {
    /// Does it in a thread with these credentials.
    fn does(self, change: Change, path: &Path) -> Result<(), Option<i32>> {
        let path = path.to_owned();
        let work = move || {
            self.become_it();
            change.make(&path).map_err(|error| error.raw_os_error())
        };
        thread::spawn(work).join().unwrap()
    }

    fn become_it(self) {
        let id = match self {
            Who::Root => return,
            Who::LesserRoot => {
                let mut sets = rustix::thread::capabilities(None).unwrap();
                sets.effective.remove(CapabilitySet::FSETID);
                return rustix::thread::set_capabilities(None, sets).unwrap();
            }
            Who::Owner => USER,
            Who::Outsider => USER - 1,
        };
        let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
        set_thread_groups(&[]).unwrap();
        set_thread_res_gid(gid, gid, gid).unwrap();
        set_thread_res_uid(uid, uid, uid).unwrap();
    }
}

/// A file for each case, in one layer.
fn fill(layer: &Path, capability: bool) {
    for who in ALL {
        for change in CHANGES {
            for mode in MODES {
                let path = layer.join(name(who, change, mode));
                fs::write(&path, "0123456789").unwrap();
                chown(&path, Some(USER), Some(USER)).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
                if capability {
                    let flags = XattrFlags::empty();
                    rustix::fs::setxattr(&path, "security.capability", &CAPABILITY, flags).unwrap();
                }
            }
        }
    }
}

fn name(who: Who, change: Change, mode: u32) -> String {
    format!("{who:?}-{change:?}-{mode:o}")
}

/// What a change leaves: its outcome, the mode, whether there is a capability.
fn left(who: Who, change: Change, path: &Path) -> String {
    let outcome = who.does(change, path);
    let mode = fs::metadata(path).unwrap().mode() & 0o7777;
    let mut room = [0u8; 64];
    let capability = rustix::fs::getxattr(path, "security.capability", &mut room[..]);
    format!("{outcome:?} {mode:o} {}", capability.is_ok())
}

/// Both mounts over files of the same layers, as `layer` says.
fn compare(layer: &str, capability: bool) {
    if !can_mount() {
        return;
    }
    let (ours, kernels) = (Scene::new(), Scene::new());
    for scene in [&ours, &kernels] {
        fill(&scene.at(layer), capability);
        for directory in ["l", "u"] {
            fs::set_permissions(scene.at(directory), fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::create_dir(scene.at("w")).unwrap();
    }
    let mounted = ours.mount_all();
    let kernel = KernelMount::new(&kernels, "lowerdir=@/l,upperdir=@/u,workdir=@/w");
    let mut differ = Vec::new();
    for who in ALL {
        for change in CHANGES {
            for mode in MODES {
                let name = name(who, change, mode);
                // Where there is a capability, too, root's change of the content
                // takes setuid away here, and `chown(2)` that fails has taken the
                // capability: see `privileges.rs`.
                let odd = matches!((who, change), (Who::Root, _) | (_, Change::NoOwner));
                if capability && odd && mode & 0o6000 != 0 {
                    continue;
                }
                // Through the cache a store is a write of the server's.
                let stores = matches!(change, Change::Store);
                if capability && stores && !common::passes_through() {
                    continue;
                }
                let here = left(who, change, &mounted.at(&name));
                let there = left(who, change, &kernel.at(&name));
                if here != there {
                    differ.push(format!("{name}: {here}, but {there} on the kernel's"));
                }
            }
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn changes_of_lower_files_take_away_what_they_do_on_the_kernels() {
    compare("l", false);
}

#[test]
fn changes_of_upper_files_take_away_what_they_do_on_the_kernels() {
    compare("u", false);
}

#[test]
fn changes_of_lower_files_take_capabilities_as_on_the_kernels() {
    compare("l", true);
}

#[test]
fn changes_of_upper_files_take_capabilities_as_on_the_kernels() {
    compare("u", true);
}

/// It sets nothing, and is a change all the same: of whatever is no directory it
/// takes setuid away.
#[test]
fn regression_a_change_of_no_owner_is_as_on_the_kernels() {
    if !can_mount() {
        return;
    }
    let (ours, kernels) = (Scene::new(), Scene::new());
    fs::create_dir(kernels.at("w")).unwrap();
    for scene in [&ours, &kernels] {
        let pipe = scene.at("l/pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::empty(), 0).unwrap();
        for path in [pipe, scene.at("l/d"), scene.at("l/file")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o6755)).unwrap();
        }
    }
    let mounted = ours.mount_all();
    let kernel = KernelMount::new(&kernels, "lowerdir=@/l,upperdir=@/u,workdir=@/w");
    for name in ["d", "file", "pipe"] {
        let [our, kernels_own] = [mounted.at(name), kernel.at(name)].map(|path| {
            chown(&path, None, None).unwrap();
            fs::symlink_metadata(path).unwrap().mode()
        });
        assert_eq!(our, kernels_own, "{name}");
        let upper = format!("u/{name}");
        assert!(kernels.at(&upper).exists(), "{name}");
        assert!(ours.at(&upper).exists(), "{name}");
    }
}
