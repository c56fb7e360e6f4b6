//! A directory that is written, and its work area.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use overlay_core::layer::dir::{Descriptors, DirUpper};
use overlay_core::layer::{Discard, New, NewKind, RenameMode, SetXattr, Staged, WritableStorage};
use overlay_core::{Errno, Error, Owner};
use overlay_tests::conformance::*;

fn open(dirs: &Dirs) -> overlay_core::Result<std::sync::Arc<DirUpper>> {
    DirUpper::open(&dirs.upper(), &dirs.workdir(), &Descriptors::new(16))
}

#[test]
fn the_work_area_is_made_private_and_inherits_nothing() {
    let dirs = Dirs::new();
    fs::set_permissions(dirs.workdir(), fs::Permissions::from_mode(0o2777)).unwrap();
    // A default ACL: user::rwx, group::rwx, other::rwx.
    let acl = acl(&[(0x01, 7, NO_ID), (0x04, 7, NO_ID), (0x20, 7, NO_ID)]);
    let flags = rustix::fs::XattrFlags::empty();
    let set = rustix::fs::setxattr(dirs.workdir(), "system.posix_acl_default", &acl, flags);
    if set.is_err() {
        skipped(&format!("a part: no ACLs here ({set:?})"));
    }
    let storage = open(&dirs).unwrap();
    let work = dirs.workdir().join("work");
    assert_eq!(fs::metadata(&work).unwrap().mode() & 0o7777, 0o700);
    let mut buf = [0; 64];
    assert!(rustix::fs::getxattr(&work, "system.posix_acl_default", &mut buf).is_err());
    let node = storage.stage(&new(NewKind::Directory, 0o7755)).unwrap();
    assert_eq!(node.attr().unwrap().mode, 0o7755);
    assert!(node.xattr(b"system.posix_acl_default").unwrap().is_none());
}

#[test]
fn an_upper_or_work_directory_has_one_user() {
    let (one, other) = (Dirs::new(), Dirs::new());
    let storage = open(&one).unwrap();
    assert_eq!(errno(open(&one)), Errno::BUSY);
    let budget = Descriptors::new(16);
    let shared_upper = DirUpper::open(&one.upper(), &other.workdir(), &budget);
    assert_eq!(errno(shared_upper), Errno::BUSY);
    let shared_work = DirUpper::open(&other.upper(), &one.workdir(), &budget);
    assert_eq!(errno(shared_work), Errno::BUSY);
    let crossed = DirUpper::open(&one.workdir(), &other.workdir(), &budget);
    assert_eq!(errno(crossed), Errno::BUSY);
    open(&other).unwrap();
    // A node keeps the branch in use after its storage is gone.
    let root = storage.root();
    drop(storage);
    assert_eq!(errno(open(&one)), Errno::BUSY);
    drop(root);
    // Another test may be starting a process: until it has executed its
    // program, it has a copy of every descriptor, and so of the lock.
    for _ in 0..200 {
        match open(&one) {
            Err(error) if error.is(Errno::BUSY) => {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            outcome => {
                outcome.unwrap();
                return;
            }
        }
    }
    panic!("the branch stays in use");
}

#[test]
fn upper_and_work_must_be_apart_on_one_mount() {
    let dirs = Dirs::new();
    let budget = Descriptors::new(16);
    let open = |upper: &std::path::Path, work: &std::path::Path| {
        errno(DirUpper::open(upper, work, &budget))
    };
    let (upper, inside) = (dirs.upper(), dirs.upper().join("inside"));
    fs::create_dir(&inside).unwrap();
    assert_eq!(open(&upper, &upper), Errno::INVAL);
    assert_eq!(open(&upper, &inside), Errno::INVAL);
    assert_eq!(open(&inside, &upper), Errno::INVAL);
    assert_eq!(open(&upper, "/dev/shm".as_ref()), Errno::INVAL);
    assert_eq!(open(&upper, &dirs.workdir().join("none")), Errno::NOENT);
}

#[test]
fn probing_and_opening_leave_nothing_behind() {
    let dirs = Dirs::new();
    let storage = open(&dirs).unwrap();
    assert!(dirs.litter().is_empty());
    assert_eq!(fs::read_dir(dirs.upper()).unwrap().count(), 0);
    if root_or_skip("what root may on a Linux filesystem") {
        let can = storage.capabilities();
        assert!(can.rename_exchange && can.rename_whiteout && can.whiteout_device);
        assert!(can.trusted_xattr);
    }
}

#[test]
fn nothing_stays_in_the_work_area() {
    let dirs = Dirs::new();
    let storage: std::sync::Arc<dyn WritableStorage> = open(&dirs).unwrap();
    let root = storage.root();
    // A create that has to be staged, a failed one, a published, a dropped,
    // a displaced tree, a kept one.
    let with = |xattrs| New {
        xattrs,
        ..new(NewKind::Regular, 0o7777)
    };
    root.create(name("x"), &with(&[(b"user.a", b"b")])).unwrap();
    assert_eq!(errno(root.create(name("x"), &with(&[]))), Errno::EXIST);
    assert_eq!(
        errno(root.create(name("y"), &with(&[(b"bad", b"")]))),
        Errno::OPNOTSUPP
    );
    let stage = || Staged::new(&storage, &new(NewKind::Directory, 0o700)).unwrap();
    let dir = stage()
        .publish(&*root, name("dir"), RenameMode::NoReplace, None)
        .unwrap();
    let mut deep = dir;
    for _ in 0..2000 {
        write(&*deep, "file", b"");
        deep = mkdir(&*deep, "d");
    }
    drop(stage());
    assert!(dirs.litter().is_empty());
    let staged = stage();
    assert_eq!(dirs.litter().len(), 1);
    staged
        .publish(&*root, name("dir"), RenameMode::Exchange, None)
        .unwrap();
    assert!(dirs.litter().is_empty());
    stage().keep().unwrap();
    assert!(dirs.litter().is_empty());
    assert_eq!(names(&*root).len(), 2);
}

#[test]
fn what_a_crash_left_is_cleared_and_does_not_disturb() {
    let dirs = Dirs::new();
    let work = dirs.workdir().join("work");
    fs::create_dir_all(work.join("#0/a/b/c")).unwrap();
    fs::create_dir_all(work.join("#1")).unwrap();
    fs::write(work.join("#2"), b"").unwrap();
    for number in 0..5000 {
        fs::write(work.join(format!("#0/a/{number}")), b"").unwrap();
    }
    std::os::unix::fs::symlink(dirs.outside(), work.join("link")).unwrap();
    fs::write(dirs.outside().join("keep"), b"").unwrap();
    let storage = open(&dirs).unwrap();
    let staged = storage.stage(&new(NewKind::Regular, 0o600)).unwrap();
    storage.discard(&*staged, Discard::Forget).unwrap();
    storage.clear_work().unwrap();
    assert!(dirs.litter().is_empty());
    assert!(dirs.outside().join("keep").exists());
}

#[test]
fn a_work_directory_marked_incompatible_is_refused() {
    for feature in ["volatile", "some other"] {
        let dirs = Dirs::new();
        let marker = dirs.workdir().join("work/incompat").join(feature);
        fs::create_dir_all(&marker).unwrap();
        let refused = open(&dirs).unwrap_err();
        assert_eq!(refused, Error::Incompatible(name(feature).to_owned()));
        assert_eq!(refused.errno(), Errno::INVAL);
        assert!(marker.exists());
        // As the kernel: the directory alone says nothing.
        fs::remove_dir(&marker).unwrap();
        open(&dirs).unwrap().clear_work().unwrap();
        assert!(dirs.litter().is_empty());
    }
}

#[test]
fn a_volatile_mark_lies_where_the_kernel_has_it_and_is_not_cleared() {
    let dirs = Dirs::new();
    let storage = open(&dirs).unwrap();
    storage.mark_volatile().unwrap();
    storage.mark_volatile().unwrap();
    let marker = dirs.workdir().join("work/incompat/volatile/dirty");
    assert!(marker.is_file());
    assert_eq!(errno(storage.clear_work()), Errno::INVAL);
    drop(storage);
    assert_eq!(open(&dirs).unwrap_err().errno(), Errno::INVAL);
    assert!(marker.is_file());
}

/// The whole of it as an unprivileged user, in a process of its own.
#[test]
fn an_unprivileged_process_works_within_its_rights() {
    const VAR: &str = "OVERLAY_TEST_UNPRIVILEGED";
    const USER: u32 = 65534;
    let Some(base) = std::env::var_os(VAR) else {
        if !root_or_skip("becoming another user") {
            return;
        }
        let temp = tempfile::tempdir().unwrap();
        fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let exe = temp.path().join("suite");
        fs::copy(std::env::current_exe().unwrap(), &exe).unwrap();
        let mut command = std::process::Command::new(&exe);
        std::os::unix::process::CommandExt::uid(&mut command, USER);
        std::os::unix::process::CommandExt::gid(&mut command, USER);
        let test = "upper::an_unprivileged_process_works_within_its_rights";
        let status = command
            .args(["--exact", test, "--nocapture"])
            .env(VAR, temp.path())
            .status()
            .unwrap();
        assert!(status.success());
        return;
    };
    let base = std::path::Path::new(&base);
    let (upper, work) = (base.join("upper"), base.join("work"));
    fs::create_dir(&upper).unwrap();
    fs::create_dir(&work).unwrap();
    let storage: std::sync::Arc<dyn WritableStorage> =
        DirUpper::open(&upper, &work, &Descriptors::from_rlimit()).unwrap();
    let can = storage.capabilities();
    assert!(!can.trusted_xattr && can.rename_exchange);
    let root = storage.root();
    // Closed directories inside a tree that goes away.
    let dir = mkdir(&*root, "dir");
    let closed = mkdir(&*mkdir(&*dir, "a"), "closed");
    write(&*closed, "file", b"");
    let mode = |mode| overlay_core::SetAttr {
        mode: Some(mode),
        ..Default::default()
    };
    closed.set_attr(&mode(0)).unwrap();
    let staged = Staged::new(&storage, &new(NewKind::Directory, 0o7777)).unwrap();
    staged
        .publish(&*root, name("dir"), RenameMode::Exchange, None)
        .unwrap();
    let left: Vec<_> = fs::read_dir(work.join("work")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    // A file that may be written but not read.
    let file = write(&*root, "file", b"x");
    file.set_attr(&mode(0o200)).unwrap();
    fill(&*file, b"y");
    file.sync().unwrap();
    let given = New {
        owner: Owner { uid: 0, gid: 0 },
        ..new(NewKind::Regular, 0o600)
    };
    assert_eq!(errno(root.create(name("given"), &given)), Errno::PERM);
    assert!(!has(&*root, "given"));
    assert_eq!(
        errno(file.set_xattr(b"trusted.a", b"", SetXattr::Any)),
        Errno::PERM
    );
    let lower = overlay_core::layer::dir::DirStorage::open(&upper, &Descriptors::new(16)).unwrap();
    assert_eq!(
        names(&*overlay_core::layer::Storage::root(&*lower)).len(),
        2
    );
}
