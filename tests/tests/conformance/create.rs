//! New objects.

use overlay_core::layer::{Access, New, NewKind, Removal, RenameMode, SetXattr, WritableNode};
use overlay_core::{Errno, Owner, SetAttr};
use overlay_tests::conformance::*;
use overlay_tests::contract;

const OTHER: Owner = Owner {
    uid: 4711,
    gid: 4712,
};

fn check(made: &dyn WritableNode, new: &New<'_>) {
    let attr = made.attr().unwrap();
    assert_eq!(attr.kind, new.kind.file_kind());
    assert_eq!((attr.uid, attr.gid), (new.owner.uid, new.owner.gid));
    match new.kind {
        NewKind::Symlink(target) => assert_eq!(made.link_target().unwrap(), target),
        NewKind::CharDevice(rdev) | NewKind::BlockDevice(rdev) => assert_eq!(attr.rdev, rdev),
        NewKind::Regular | NewKind::Directory | NewKind::Fifo | NewKind::Socket => {}
    }
    if !matches!(new.kind, NewKind::Symlink(_)) {
        assert_eq!(attr.mode, new.mode, "{new:?}");
    }
    for (name, value) in new.xattrs {
        assert_eq!(made.xattr(name).unwrap().as_deref(), Some(*value));
    }
}

contract! {
    fn a_new_object_has_exactly_this_mode(subject) {
        for kind in KINDS {
            for mode in [0, 0o600, 0o644, 0o666, 0o777, 0o7777, 0o4755, 0o2711, 0o1777] {
                let new = new(kind, mode);
                let made = subject.root.create(name("object"), &new).unwrap();
                check(&*made.node, &new);
                subject.root.remove(name("object"), removal(kind), None).unwrap();
            }
        }
    }

    fn a_new_object_has_exactly_this_owner_and_these_attributes(subject) {
        if !root_or_skip("objects of other owners, trusted attributes, devices") {
            return;
        }
        let kinds = KINDS.into_iter().chain([
            NewKind::CharDevice(0),
            NewKind::CharDevice(0x0103),
            NewKind::BlockDevice(0x0701),
        ]);
        for (number, kind) in kinds.enumerate() {
            let new = New {
                owner: OTHER,
                xattrs: &[(b"trusted.overlay.opaque", b"y"), (b"trusted.empty", b"")],
                ..new(kind, 0o4751)
            };
            let called = format!("object-{number}");
            let made = subject.root.create(name(&called), &new).unwrap();
            check(&*made.node, &new);
            let staged = subject.storage.stage(&new).unwrap();
            check(&*staged, &new);
        }
    }

    fn a_setgid_directory_and_its_mode_are_not_inherited(subject) {
        if !root_or_skip("directories of other groups") {
            return;
        }
        let dir = mkdir(&*subject.root, "dir");
        let set = SetAttr { gid: Some(OTHER.gid), mode: Some(0o2775), ..SetAttr::default() };
        dir.set_attr(&set).unwrap();
        for (number, kind) in KINDS.into_iter().enumerate() {
            let new = new(kind, 0o755);
            let made = dir.create(name(&format!("object-{number}")), &new).unwrap();
            check(&*made.node, &new);
        }
    }

    fn a_taken_name_is_eexist_whatever_has_it(subject) {
        for (number, kind) in KINDS.into_iter().enumerate() {
            let called = format!("object-{number}");
            make(&*subject.root, &called, kind);
            for again in KINDS {
                let with: &[(&[u8], &[u8])] = &[(b"user.a", b"b")];
                let direct = subject.root.create(name(&called), &new(again, 0o600));
                assert_eq!(errno(direct), Errno::EXIST);
                if !matches!(again, NewKind::Regular | NewKind::Directory) {
                    continue;
                }
                let staged = New { xattrs: with, ..new(again, 0o600) };
                assert_eq!(errno(subject.root.create(name(&called), &staged)), Errno::EXIST);
            }
        }
        assert_eq!(names(&*subject.root).len(), KINDS.len());
    }

    fn a_failed_create_leaves_nothing(subject) {
        let bad = New { xattrs: &[(b"nonsense", b"")], ..new(NewKind::Regular, 0o600) };
        assert_eq!(errno(subject.root.create(name("x"), &bad)), Errno::OPNOTSUPP);
        assert_eq!(errno(subject.storage.stage(&bad)), Errno::OPNOTSUPP);
        let empty = new(NewKind::Symlink(b""), 0o777);
        assert_eq!(errno(subject.root.create(name("x"), &empty)), Errno::NOENT);
        assert!(names(&*subject.root).is_empty());
    }

    fn nothing_comes_into_a_removed_directory(subject) {
        let dir = mkdir(&*subject.root, "dir");
        let file = write(&*subject.root, "file", b"");
        subject.root.remove(name("dir"), Removal::Directory, Some(&*dir)).unwrap();
        assert_eq!(errno(dir.create(name("x"), &new(NewKind::Regular, 0o600))), Errno::NOENT);
        assert_eq!(errno(dir.create(name("x"), &new(NewKind::Directory, 0o700))), Errno::NOENT);
        assert_eq!(errno(dir.link(name("x"), &*file, RenameMode::NoReplace)), Errno::NOENT);
    }

    fn a_directory_counts_its_directories_and_tells_its_change(subject) {
        let dir = mkdir(&*subject.root, "dir");
        let before = dir.attr().unwrap();
        assert_eq!(before.nlink, 2);
        std::thread::sleep(std::time::Duration::from_millis(20));
        mkdir(&*dir, "a");
        write(&*dir, "b", b"");
        let after = dir.attr().unwrap();
        assert_eq!(after.nlink, 3);
        assert!(after.mtime > before.mtime && after.ctime > before.ctime);
        dir.remove(name("a"), Removal::Directory, None).unwrap();
        assert_eq!(dir.attr().unwrap().nlink, 2);
    }

    fn a_hard_link_is_the_same_object(subject) {
        let dir = mkdir(&*subject.root, "dir");
        for kind in KINDS {
            if kind == NewKind::Directory {
                continue;
            }
            let node = make(&*subject.root, "one", kind);
            dir.link(name("two"), &*node, RenameMode::NoReplace).unwrap();
            assert_eq!(node.attr().unwrap().nlink, 2);
            let two = find(&*dir, "two");
            assert_eq!(identity(&*two.node), identity(&*node));
            assert_eq!(two.attr, node.attr().unwrap());
            unlink(&*subject.root, "one");
            unlink(&*dir, "two");
        }
    }

    fn link_fails_as_link_2_does(subject) {
        let dir = mkdir(&*subject.root, "dir");
        let file = write(&*subject.root, "file", b"");
        assert_eq!(errno(subject.root.link(name("dir"), &*file, RenameMode::NoReplace)), Errno::EXIST);
        assert_eq!(errno(subject.root.link(name("file"), &*file, RenameMode::NoReplace)), Errno::EXIST);
        assert_eq!(errno(subject.root.link(name("x"), &*dir, RenameMode::NoReplace)), Errno::PERM);
    }

    fn what_is_written_through_one_link_is_read_through_the_other(subject) {
        let one = write(&*subject.root, "one", b"first");
        subject.root.link(name("two"), &*one, RenameMode::NoReplace).unwrap();
        let two = find(&*subject.root, "two").node;
        let reader = two.open(Access::Read).unwrap();
        fill(&*one, b"SECOND");
        let mut buf = [0; 6];
        reader.read_at(&mut buf, 0).unwrap();
        assert_eq!(&buf, b"SECOND");
        one.set_xattr(b"user.a", b"b", SetXattr::Any).unwrap();
        assert_eq!(two.xattr(b"user.a").unwrap().unwrap(), b"b");
    }
}
