//! A branch that changes behind our back must not lead us out of it.

use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use overlay_core::Errno;
use overlay_core::layer::dir::{Descriptors, DirStorage};
use overlay_core::layer::{Access, NewKind, Storage, WritableNode, WritableStorage};
use overlay_tests::conformance::*;

const SECRET: &[u8] = b"secret";

/// `upper/dir/file`, and `outside` with a `file` that nobody may see.
fn prepare(dirs: &Dirs) {
    fs::create_dir(dirs.upper().join("dir")).unwrap();
    fs::write(dirs.upper().join("dir/file"), b"inside").unwrap();
    fs::write(dirs.outside().join("file"), SECRET).unwrap();
}

fn replace_by_symlink(path: &Path, target: &Path) {
    fs::rename(path, path.with_extension("away")).unwrap();
    symlink(target, path).unwrap();
}

fn secret_is_whole(dirs: &Dirs) {
    let secret = dirs.outside().join("file");
    assert_eq!(fs::read(&secret).unwrap(), SECRET);
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(secret).unwrap().permissions());
    assert_eq!(mode & 0o7777, 0o644);
    assert_eq!(fs::read_dir(dirs.outside()).unwrap().count(), 1);
}

/// A budget of one, spent elsewhere: so the next step opens anew.
fn evict(root: &dyn WritableNode, called: &str) {
    write(&*mkdir(root, called), "x", b"");
}

#[test]
fn a_directory_swapped_for_a_symlink_is_not_followed() {
    let dirs = Dirs::new();
    prepare(&dirs);
    let storage = dirs.open(1);
    let root = WritableStorage::root(&*storage);
    let dir = find(&*root, "dir").node;
    let file = find(&*dir, "file").node;
    evict(&*root, "other");
    replace_by_symlink(&dirs.upper().join("dir"), &dirs.outside());
    assert_eq!(errno(dir.lookup(name("file"))), Errno::NOTDIR);
    assert_eq!(errno(dir.attr_of(name("file"))), Errno::NOTDIR);
    let made = dir.create(name("new"), &new(NewKind::Regular, 0o666));
    assert_eq!(errno(made), Errno::NOTDIR);
    assert_eq!(errno(file.attr()), Errno::NOTDIR);
    assert_eq!(errno(file.open(Access::Write)), Errno::NOTDIR);
    let chmod = overlay_core::SetAttr {
        mode: Some(0o777),
        ..Default::default()
    };
    assert_eq!(errno(file.set_attr(&chmod)), Errno::NOTDIR);
    secret_is_whole(&dirs);
}

#[test]
fn a_file_swapped_for_a_symlink_is_not_followed() {
    let dirs = Dirs::new();
    prepare(&dirs);
    let storage = dirs.open(16);
    let file = find(
        &*find(&*WritableStorage::root(&*storage), "dir").node,
        "file",
    )
    .node;
    replace_by_symlink(&dirs.upper().join("dir/file"), &dirs.outside().join("file"));
    assert_eq!(errno(file.open(Access::Read)), Errno::LOOP);
    assert_eq!(errno(file.open(Access::Write)), Errno::LOOP);
    let chmod = overlay_core::SetAttr {
        mode: Some(0o777),
        ..Default::default()
    };
    assert_eq!(errno(file.set_attr(&chmod)), Errno::OPNOTSUPP);
    let size = overlay_core::SetAttr {
        size: Some(0),
        ..Default::default()
    };
    assert_eq!(errno(file.set_attr(&size)), Errno::LOOP);
    let any = overlay_core::layer::SetXattr::Any;
    assert_eq!(errno(file.set_xattr(b"user.a", b"b", any)), Errno::PERM);
    assert_eq!(file.attr().unwrap().kind, overlay_core::FileKind::Symlink);
    secret_is_whole(&dirs);
}

#[test]
fn a_file_swapped_for_a_fifo_or_device_does_not_block() {
    let dirs = Dirs::new();
    prepare(&dirs);
    let storage = dirs.open(16);
    let dir = find(&*WritableStorage::root(&*storage), "dir").node;
    let file = find(&*dir, "file").node;
    fs::remove_file(dirs.upper().join("dir/file")).unwrap();
    make(&*dir, "file", NewKind::Fifo);
    let begin = Instant::now();
    assert_eq!(errno(file.open(Access::Read)), Errno::STALE);
    assert_eq!(errno(file.open(Access::Write)), Errno::STALE);
    assert!(begin.elapsed() < Duration::from_secs(5));
    let fifo = fs::symlink_metadata(dirs.upper().join("dir/file")).unwrap();
    assert!(fifo.file_type().is_fifo());
}

#[test]
fn absolute_and_climbing_symlinks_of_a_lower_lead_nowhere() {
    let dirs = Dirs::new();
    prepare(&dirs);
    for (called, target) in [("abs", dirs.outside()), ("up", "../outside".into())] {
        symlink(target, dirs.upper().join(called)).unwrap();
    }
    symlink("/proc/self/root", dirs.upper().join("magic")).unwrap();
    let lower = DirStorage::open(&dirs.upper(), &Descriptors::new(16)).unwrap();
    for called in ["abs", "up", "magic"] {
        let link = lower.root().lookup(name(called)).unwrap().unwrap();
        assert_eq!(link.attr.kind, overlay_core::FileKind::Symlink);
        assert_eq!(errno(link.node.lookup(name("file"))), Errno::NOTDIR);
        assert_eq!(errno(link.node.open(Access::Read)), Errno::INVAL);
    }
}

/// A thread swaps a directory and a symlink to the outside as fast as it can;
/// whatever a reader gets, it is never the secret.
#[test]
fn a_racing_swap_never_shows_the_outside() {
    let dirs = Dirs::new();
    prepare(&dirs);
    let storage = dirs.open(1);
    let root = WritableStorage::root(&*storage);
    let (path, away) = (dirs.upper().join("dir"), dirs.upper().join("link"));
    symlink(dirs.outside(), &away).unwrap();
    let over = AtomicBool::new(false);
    let (mut read_inside, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let (cwd, flags) = (rustix::fs::CWD, rustix::fs::RenameFlags::EXCHANGE);
                rustix::fs::renameat_with(cwd, &path, cwd, &away, flags).unwrap();
            }
        });
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(700) {
            let Some(dir) = root.lookup_writable(name("dir")).unwrap() else {
                continue;
            };
            let Ok(Some(file)) = dir.node.lookup_writable(name("file")) else {
                refused += 1;
                continue;
            };
            let Ok(open) = file.node.open(Access::Write) else {
                refused += 1;
                continue;
            };
            let mut buf = [0; 16];
            let len = open.read_at(&mut buf, 0).unwrap();
            assert_eq!(&buf[..len], b"inside");
            read_inside += 1;
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(
        read_inside > 0 && refused > 0,
        "{read_inside} read, {refused} refused"
    );
    secret_is_whole(&dirs);
}
