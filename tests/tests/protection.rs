//! Immutable and append-only objects (`chattr(1)`): what nobody may do to
//! them, on the kernel's overlayfs and on ours.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::ffi::CString;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use overlay_core::attr::{Protection, SetTime, Timestamp};
use overlay_core::fs::UnionFs;
use overlay_core::layer::{RenameMode, WritableStorage};
use overlay_core::stack::directories::Marks;
use overlay_core::union::{OpenOptions, Options};
use overlay_core::{Directories, Errno, MemStorage, Name, Result, SetAttr, Stack, Union};
use overlay_fuse::{Mount, MountHandle};
use overlay_tests::runner::skip;
use overlay_tests::subject::kernel::Kernel;
use overlay_tests::subject::mounted::Mounted;
use overlay_tests::sys;
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, IFlags, Mode, OFlags, RenameFlags, Timespec, Timestamps,
    UTIME_NOW, UTIME_OMIT, XattrFlags,
};
use rustix::mount::{MountFlags, UnmountFlags};
use tempfile::TempDir;

const KINDS: [(&str, IFlags); 2] = [("i", IFlags::IMMUTABLE), ("a", IFlags::APPEND)];

/// Who mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Kernel,
    Ours,
}

/// Directories with `f` and `d` (which holds `c`, `e/`) of each kind in the
/// lower one, and files that may be changed.
struct Scene {
    handle: Option<MountHandle>,
    dir: TempDir,
}

impl Scene {
    /// `None` where it cannot be; says why.
    fn new() -> Option<Scene> {
        if skip(Kernel::available()) || skip(Mounted::available()) {
            return None;
        }
        sys::own_namespace().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let scene = Scene { handle: None, dir };
        for name in ["lower", "upper", "work", "mnt"] {
            fs::create_dir(scene.at(name)).unwrap();
        }
        let lower = scene.at("lower");
        for name in ["p", "q", "r"] {
            fs::write(lower.join(name), name).unwrap();
        }
        fs::create_dir(lower.join("empty")).unwrap();
        for (kind, flag) in KINDS {
            let (file, directory) = (format!("f{kind}"), lower.join(format!("d{kind}")));
            fs::write(lower.join(&file), "low").unwrap();
            fs::create_dir_all(directory.join("e")).unwrap();
            fs::write(directory.join("c"), "c").unwrap();
            for path in [lower.join(&file), directory] {
                let set = set_flags(&path, flag).map_err(|errno| format!("no flags here: {errno}"));
                if skip(set) {
                    return None;
                }
            }
        }
        Some(scene)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn mount(&mut self, side: Side) {
        let [lower, upper, work, point] =
            ["lower", "upper", "work", "mnt"].map(|name| self.at(name));
        match side {
            Side::Kernel => {
                let (lower, upper, work) = (lower.display(), upper.display(), work.display());
                let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
                let options = CString::new(options).unwrap();
                let flags = MountFlags::empty();
                rustix::mount::mount("overlay", &point, "overlay", flags, Some(&*options)).unwrap();
            }
            Side::Ours => {
                let directories = Directories {
                    lowers: vec![lower],
                    upper: Some(upper),
                    work: Some(work),
                    marks: Marks::Automatic,
                    ..Directories::default()
                };
                let stack = directories.open().unwrap();
                let union = Union::with_options(stack, Options::default()).unwrap();
                self.handle = Some(Mount::builder(union).mount(&point).unwrap());
            }
        }
    }

    fn unmount(&mut self) {
        match self.handle.take() {
            Some(handle) => drop(handle.unmount().unwrap()),
            None => rustix::mount::unmount(self.at("mnt"), UnmountFlags::empty()).unwrap(),
        }
    }

    /// What each act answers, of each kind.
    fn answers(&self) -> Vec<String> {
        let point = self.at("mnt");
        let mut answers = Vec::new();
        for (kind, _) in KINDS {
            let there = There {
                file: point.join(format!("f{kind}")),
                directory: point.join(format!("d{kind}")),
                point: point.clone(),
            };
            for (name, act) in ACTS {
                let answer = match act(&there) {
                    Ok(()) => "ok".to_owned(),
                    Err(errno) => format!("{errno:?}"),
                };
                answers.push(format!("+{kind} {name}: {answer}"));
            }
            let content = fs::read(&there.file).unwrap();
            answers.push(format!("+{kind} content: {}", content.escape_ascii()));
        }
        answers
    }

    /// The marks in the upper layer, each object once.
    fn marks(&self) -> Vec<String> {
        let mut marks = Vec::new();
        for name in ["di", "da", "fi", "fa", "di/c", "da/c"] {
            let path = self.at("upper").join(name);
            let mut value = [0; 16];
            match rustix::fs::lgetxattr(&path, "trusted.overlay.protattr", &mut value[..]) {
                Ok(len) => marks.push(format!("{name}={}", value[..len].escape_ascii())),
                Err(Errno::NODATA | Errno::NOENT) => {}
                Err(errno) => panic!("{path:?}: {errno}"),
            }
        }
        marks
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if self.handle.take().is_none() {
            match rustix::mount::unmount(self.at("mnt"), UnmountFlags::DETACH) {
                // It was not mounted.
                Ok(()) | Err(Errno::INVAL) => {}
                Err(errno) => eprintln!("{:?} stays mounted: {errno}", self.at("mnt")),
            }
        }
        for name in ["fi", "fa", "di", "da"] {
            match set_flags(&self.at("lower").join(name), IFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => eprintln!("{name} stays: {errno}"),
            }
        }
    }
}

fn set_flags(path: &Path, flags: IFlags) -> rustix::io::Result<()> {
    let object = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let protection = (IFlags::IMMUTABLE | IFlags::APPEND).bits();
    // The others stay, also those without a name: ext4 takes a missing one for
    // the wish to store the file in another way.
    let others = rustix::fs::ioctl_getflags(&object)?.bits() & !protection;
    rustix::fs::ioctl_setflags(&object, IFlags::from_bits_retain(others | flags.bits()))
}

struct There {
    point: PathBuf,
    file: PathBuf,
    directory: PathBuf,
}

impl There {
    fn open(&self, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        rustix::fs::open(&self.file, flags | OFlags::CLOEXEC, Mode::empty())
    }

    fn plain(&self, name: &str) -> PathBuf {
        self.point.join(name)
    }

    fn inside(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// In the directory, but under a name of its own for each kind.
    fn outside(&self, name: &str) -> PathBuf {
        let kind = self.file.file_name().unwrap().to_str().unwrap();
        self.point.join(format!("{kind}.{name}"))
    }
}

fn change_times(path: &Path, atime: i64, mtime: i64) -> rustix::io::Result<()> {
    let time = |tv_nsec| Timespec { tv_sec: 1, tv_nsec };
    let times = Timestamps {
        last_access: time(atime),
        last_modification: time(mtime),
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::empty())
}

fn swap(one: &Path, other: &Path) -> rustix::io::Result<()> {
    rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)
}

fn allocate(file: OwnedFd, mode: FallocateFlags) -> rustix::io::Result<()> {
    rustix::fs::fallocate(file, mode, 0, 4096)
}

type Act = fn(&There) -> rustix::io::Result<()>;

/// All that somebody may try. What the kernel decides before it asks a FUSE
/// server is not among it: whether a name is a directory's, `access(2)`,
/// `fcntl(F_SETFL)`, and mapping into memory.
const ACTS: &[(&str, Act)] = &[
    ("open to read", |t| t.open(OFlags::RDONLY).map(drop)),
    ("open to write", |t| t.open(OFlags::WRONLY).map(drop)),
    ("open to read and write", |t| t.open(OFlags::RDWR).map(drop)),
    ("cut while opening to read", |t| {
        t.open(OFlags::RDONLY | OFlags::TRUNC).map(drop)
    }),
    ("cut while opening to append", |t| {
        t.open(OFlags::WRONLY | OFlags::TRUNC | OFlags::APPEND)
            .map(drop)
    }),
    ("truncate", |t| sys::truncate(t.file.to_str().unwrap(), 0)),
    ("chmod", |t| {
        rustix::fs::chmod(&t.file, Mode::from_raw_mode(0o600))
    }),
    ("chown", |t| {
        rustix::fs::chown(&t.file, Some(rustix::fs::Uid::from_raw(1)), None)
    }),
    ("touch", |t| change_times(&t.file, UTIME_NOW, UTIME_NOW)),
    ("set times", |t| change_times(&t.file, 0, 0)),
    ("set one time to now", |t| {
        change_times(&t.file, UTIME_NOW, UTIME_OMIT)
    }),
    ("setxattr", |t| {
        rustix::fs::setxattr(&t.file, "user.a", b"v", XattrFlags::empty())
    }),
    ("removexattr of nothing", |t| {
        rustix::fs::removexattr(&t.file, "user.none")
    }),
    ("link", |t| rustix::fs::link(&t.file, t.outside("link"))),
    ("link to what is there", |t| {
        rustix::fs::link(&t.file, t.plain("p"))
    }),
    ("rename", |t| {
        rustix::fs::rename(&t.file, t.outside("moved"))
    }),
    ("rename to itself", |t| rustix::fs::rename(&t.file, &t.file)),
    ("rename over it", |t| {
        rustix::fs::rename(t.plain("p"), &t.file)
    }),
    ("swap", |t| swap(&t.file, &t.plain("p"))),
    ("be swapped", |t| swap(&t.plain("p"), &t.file)),
    ("unlink", |t| rustix::fs::unlink(&t.file)),
    ("append", |t| {
        let file = t.open(OFlags::WRONLY | OFlags::APPEND)?;
        rustix::io::write(file, b"+end").map(drop)
    }),
    ("ftruncate", |t| {
        rustix::fs::ftruncate(t.open(OFlags::RDWR | OFlags::APPEND)?, 0)
    }),
    ("allocate behind the end", |t| {
        allocate(
            t.open(OFlags::RDWR | OFlags::APPEND)?,
            FallocateFlags::KEEP_SIZE,
        )
    }),
    ("punch a hole", |t| {
        let flags = FallocateFlags::KEEP_SIZE | FallocateFlags::PUNCH_HOLE;
        allocate(t.open(OFlags::RDWR | OFlags::APPEND)?, flags)
    }),
    ("chmod of the directory", |t| {
        rustix::fs::chmod(&t.directory, Mode::from_raw_mode(0o700))
    }),
    ("touch of the directory", |t| {
        change_times(&t.directory, UTIME_NOW, UTIME_NOW)
    }),
    ("setxattr of the directory", |t| {
        rustix::fs::setxattr(&t.directory, "user.a", b"v", XattrFlags::empty())
    }),
    ("mkdir of what is there", |t| {
        rustix::fs::mkdir(t.inside("c"), Mode::RWXU)
    }),
    ("mkdir in it", |t| {
        rustix::fs::mkdir(t.inside("new"), Mode::RWXU)
    }),
    ("create in it", |t| {
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::open(t.inside("file"), flags, Mode::RUSR).map(drop)
    }),
    ("symlink in it", |t| {
        rustix::fs::symlink("target", t.inside("symlink"))
    }),
    ("link into it", |t| {
        rustix::fs::link(t.plain("p"), t.inside("link"))
    }),
    ("rename into it", |t| {
        rustix::fs::rename(t.plain("q"), t.inside("q"))
    }),
    ("rename over what is in it", |t| {
        rustix::fs::rename(t.plain("r"), t.inside("c"))
    }),
    ("rename out of it", |t| {
        rustix::fs::rename(t.inside("c"), t.outside("out"))
    }),
    ("rename within it", |t| {
        rustix::fs::rename(t.inside("c"), t.inside("c2"))
    }),
    ("swap with what is in it", |t| {
        swap(&t.plain("p"), &t.inside("c"))
    }),
    ("unlink in it", |t| rustix::fs::unlink(t.inside("c"))),
    ("unlink of nothing in it", |t| {
        rustix::fs::unlink(t.inside("none"))
    }),
    ("rmdir in it", |t| rustix::fs::rmdir(t.inside("e"))),
    ("rmdir", |t| rustix::fs::rmdir(&t.directory)),
    ("rename of the directory", |t| {
        rustix::fs::rename(&t.directory, t.outside("dir"))
    }),
    ("rename over the directory", |t| {
        rustix::fs::rename(t.plain("empty"), &t.directory)
    }),
    ("rename into itself", |t| {
        rustix::fs::rename(&t.directory, t.inside("itself"))
    }),
    ("write to what is in it", |t| {
        fs::write(t.inside("c"), "new").map_err(errno)
    }),
    ("link out of it", |t| {
        rustix::fs::link(t.inside("c"), t.outside("linked"))
    }),
];

fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap()
}

#[test]
fn what_a_lower_layer_protects_is_protected_as_by_the_kernel() {
    let mut outcomes = Vec::new();
    for side in [Side::Kernel, Side::Ours] {
        let Some(mut scene) = Scene::new() else {
            return;
        };
        scene.mount(side);
        let first = scene.answers();
        // By now the directories, and the file that has grown, are copies.
        scene.unmount();
        let marks = scene.marks();
        assert_eq!(marks, ["di=i", "da=a", "fa=a"], "{side:?}");
        outcomes.push((first, marks));
    }
    let [kernel, ours] = &outcomes[..] else {
        unreachable!("two sides");
    };
    assert_eq!(kernel, ours);
    assert!(ours.0.contains(&"+a content: low+end".to_owned()));
}

#[test]
fn a_copy_stays_protected_whoever_made_it() {
    for first in [Side::Kernel, Side::Ours] {
        let mut outcomes = Vec::new();
        for second in [Side::Kernel, Side::Ours] {
            let Some(mut scene) = Scene::new() else {
                return;
            };
            scene.mount(first);
            scene.answers();
            scene.unmount();
            scene.mount(second);
            let again = scene.answers();
            scene.unmount();
            outcomes.push((again, scene.marks()));
        }
        assert_eq!(outcomes[0], outcomes[1], "made by {first:?}");
    }
}

/// What the kernel reads, and what it does not: an odd letter, nothing, the
/// mark of a lower layer, that of the root.
#[test]
fn the_mark_of_protection_is_read_as_by_the_kernel() {
    let mut outcomes = Vec::new();
    for side in [Side::Kernel, Side::Ours] {
        let Some(mut scene) = Scene::new() else {
            return;
        };
        let mark = |path: PathBuf, value: &[u8]| {
            let name = "trusted.overlay.protattr";
            rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
        };
        let upper = scene.at("upper");
        for (name, value) in [("both", "ai"), ("odd", "iz"), ("none", ""), ("one", "i")] {
            fs::write(upper.join(name), "").unwrap();
            mark(upper.join(name), value.as_bytes());
        }
        rustix::fs::symlink("target", upper.join("symlink")).unwrap();
        mark(upper.join("symlink"), b"i");
        mark(upper, b"i");
        mark(scene.at("lower").join("p"), b"i");
        scene.mount(side);
        let point = scene.at("mnt");
        let mut seen = Vec::new();
        for name in ["both", "odd", "none", "one", "symlink", "p"] {
            let path = point.join(name);
            let times = change_times_of(&path);
            seen.push((name, times, rustix::fs::unlink(&path)));
        }
        seen.push((
            "root",
            Ok(()),
            rustix::fs::mkdir(point.join("new"), Mode::RWXU),
        ));
        outcomes.push(seen);
        scene.unmount();
    }
    assert_eq!(outcomes[0], outcomes[1]);
    let unlinked = outcomes[1].iter().map(|(_, _, unlinked)| unlinked.is_ok());
    let unlinked: Vec<bool> = unlinked.collect();
    assert_eq!(unlinked, [false, true, true, false, false, true, true]);
}

fn change_times_of(path: &Path) -> rustix::io::Result<()> {
    let now = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let times = Timestamps {
        last_access: now(0),
        last_modification: now(0),
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
}

const IMMUTABLE: Protection = Protection {
    immutable: true,
    append_only: false,
};
const APPEND_ONLY: Protection = Protection {
    immutable: false,
    append_only: true,
};

/// A lower layer with `f` and `d/c`, of which `path` is protected, and the
/// union over it.
fn protected(path: &str, protection: Protection) -> (Arc<MemStorage>, UnionFs) {
    let (upper, lower) = (MemStorage::new(), MemStorage::new());
    lower.write("f", b"low").unwrap();
    lower.write("d/c", b"c").unwrap();
    lower.write("p", b"p").unwrap();
    lower.protect(path, protection).unwrap();
    let fs = UnionFs::new(Stack::new().upper(upper.clone()).lower(lower)).unwrap();
    (upper, fs)
}

fn refused<T: std::fmt::Debug>(outcome: Result<T>) {
    assert_eq!(outcome.unwrap_err().errno(), Errno::PERM);
}

fn open(append: bool, truncate: bool) -> OpenOptions {
    OpenOptions {
        write: true,
        truncate,
        append,
    }
}

#[test]
fn nothing_of_an_immutable_file_changes() {
    let (upper, fs) = protected("f", IMMUTABLE);
    for (append, truncate) in [(false, false), (true, false), (false, true)] {
        refused(fs.open_with("f", open(append, truncate)));
    }
    let mode = SetAttr {
        mode: Some(0o600),
        ..SetAttr::default()
    };
    refused(fs.set_attr("f", &mode));
    refused(fs.set_xattr("f", "user.a", b"v"));
    refused(fs.hard_link("f", "g"));
    refused(fs.rename("f", "g"));
    refused(fs.rename("p", "f"));
    refused(fs.rename_with("p", "f", RenameMode::Exchange));
    refused(fs.remove_file("f"));
    assert_eq!(fs.read("f").unwrap(), b"low");
    // It was not copied up for anything of that.
    let name = Name::new(b"f").unwrap();
    let root = WritableStorage::root(&*upper);
    assert!(root.attr_of(name).unwrap().is_none());
}

#[test]
fn an_append_only_file_grows_and_nothing_else() {
    let (_, fs) = protected("f", APPEND_ONLY);
    refused(fs.open_with("f", open(false, false)));
    refused(fs.open_with("f", open(true, true)));
    let touch = SetAttr {
        atime: Some(SetTime::Now),
        mtime: Some(SetTime::Now),
        ..SetAttr::default()
    };
    fs.set_attr("f", &touch).unwrap();
    refused(fs.set_attr(
        "f",
        &SetAttr {
            mtime: Some(SetTime::To(Timestamp::default())),
            ..touch
        },
    ));
    let file = fs.open_with("f", open(true, false)).unwrap();
    file.write_all_at(b"+end", 3).unwrap();
    // Whoever takes O_APPEND away again gets no further.
    refused(file.write_all_at(b"LOW", 0));
    refused(file.write_all_at(b"D", 6));
    refused(file.set_len(0));
    assert_eq!(fs.read("f").unwrap(), b"low+end");
    refused(fs.remove_file("f"));
}

#[test]
fn a_protected_directory_is_copied_up_with_its_mark() {
    for (protection, letter) in [(IMMUTABLE, b"i"), (APPEND_ONLY, b"a")] {
        let (upper, fs) = protected("d", protection);
        fs.write("d/c", "new").unwrap();
        assert_eq!(fs.create_dir("d/e").is_ok(), protection == APPEND_ONLY);
        refused(fs.remove_file("d/c"));
        refused(fs.rename("d/c", "c"));
        refused(fs.rename("d", "e"));
        assert_eq!(fs.read("d/c").unwrap(), b"new");
        let root = WritableStorage::root(&*upper);
        let copy = root.lookup(Name::new(b"d").unwrap()).unwrap().unwrap().node;
        let mark = copy.xattr(b"trusted.overlay.protattr").unwrap();
        assert_eq!(mark.as_deref(), Some(&letter[..]));
        // It counts where it was written, and not in a lower layer.
        let again = UnionFs::new(Stack::new().upper(upper.clone())).unwrap();
        refused(again.remove_file("d/c"));
        let above = Stack::new().upper(MemStorage::new()).lower(upper);
        UnionFs::new(above).unwrap().remove_file("d/c").unwrap();
    }
}

#[test]
fn a_stack_without_a_writable_layer_is_read_only_before_it_is_protected() {
    let lower = MemStorage::new();
    lower.write("f", b"low").unwrap();
    lower.protect("f", IMMUTABLE).unwrap();
    let fs = UnionFs::new(Stack::new().lower(lower)).unwrap();
    let outcomes = [
        fs.remove_file("f"),
        fs.rename("f", "g"),
        fs.set_xattr("f", "user.a", b"v"),
        fs.open_with("f", open(true, false)).map(drop),
    ];
    for outcome in outcomes {
        assert_eq!(outcome.unwrap_err().errno(), Errno::ROFS);
    }
}
