//! Objects without a name that nodes still name.

use std::sync::Arc;

use overlay_core::layer::{Access, NewKind, Removal, RenameMode, SetXattr, WritableNode};
use overlay_core::{Errno, SetAttr, SetTime, Timestamp};
use overlay_tests::conformance::*;
use overlay_tests::contract;

const THEN: Timestamp = Timestamp {
    sec: 1_000_000_007,
    nsec: 123_456_789,
};

/// All that the traits offer for one object, on an object without a name.
fn works(node: &dyn WritableNode, kind: NewKind<'_>, identity_before: (u64, u64)) {
    let attr = node.attr().unwrap();
    assert_eq!((attr.dev, attr.ino), identity_before);
    assert_eq!(attr.kind, kind.file_kind());
    assert_eq!(attr.nlink, 0);
    let times = SetAttr {
        atime: Some(SetTime::To(THEN)),
        mtime: Some(SetTime::To(THEN)),
        ..SetAttr::default()
    };
    node.set_attr(&times).unwrap();
    let attr = node.attr().unwrap();
    assert_eq!((attr.atime, attr.mtime), (THEN, THEN));
    let mode = SetAttr {
        mode: Some(0o751),
        ..SetAttr::default()
    };
    if let NewKind::Symlink(target) = kind {
        assert_eq!(errno(node.set_attr(&mode)), Errno::OPNOTSUPP);
        assert_eq!(node.link_target().unwrap(), target);
    } else {
        node.set_attr(&mode).unwrap();
        assert_eq!(node.attr().unwrap().mode, 0o751);
        assert_eq!(errno(node.link_target()), Errno::INVAL);
    }
    if root_or_skip("owner and trusted attributes of a held object") {
        let owner = SetAttr {
            uid: Some(11),
            gid: Some(12),
            ..SetAttr::default()
        };
        node.set_attr(&owner).unwrap();
        let attr = node.attr().unwrap();
        assert_eq!((attr.uid, attr.gid), (11, 12));
        node.set_xattr(b"trusted.a", b"b", SetXattr::Create)
            .unwrap();
        assert_eq!(node.xattr(b"trusted.a").unwrap().unwrap(), b"b");
        assert!(node.xattr_names().unwrap().contains(&b"trusted.a".to_vec()));
        node.remove_xattr(b"trusted.a").unwrap();
        assert_eq!(node.xattr(b"trusted.a").unwrap(), None);
        assert_eq!(errno(node.remove_xattr(b"trusted.a")), Errno::NODATA);
    }
    node.sync().unwrap();
    assert_eq!(node.stat_fs().unwrap().namelen, 255);
    match kind {
        NewKind::Regular => {
            fill(node, b"still here");
            assert_eq!(read(node), b"still here");
            node.set_attr(&SetAttr {
                size: Some(5),
                ..SetAttr::default()
            })
            .unwrap();
            assert_eq!(read(node), b"still");
        }
        NewKind::Directory => {
            assert!(names(node).is_empty());
            assert!(node.lookup(name("x")).unwrap().is_none());
            assert_eq!(errno(node.open(Access::Read)), Errno::ISDIR);
        }
        NewKind::Symlink(_)
        | NewKind::Fifo
        | NewKind::Socket
        | NewKind::CharDevice(_)
        | NewKind::BlockDevice(_) => assert_eq!(errno(node.open(Access::Write)), Errno::INVAL),
    }
}

contract! {
    fn a_removed_object_keeps_working(subject) {
        for kind in KINDS {
            let node = make(&*subject.root, "object", kind);
            let before = identity(&*node);
            subject.root.remove(name("object"), removal(kind), Some(&*node)).unwrap();
            // What takes the name is another object.
            write(&*subject.root, "object", b"another");
            works(&*node, kind, before);
            assert_eq!(read(&*find(&*subject.root, "object").node), b"another");
            unlink(&*subject.root, "object");
        }
    }

    fn a_replaced_object_keeps_working(subject) {
        for kind in KINDS {
            let node = make(&*subject.root, "object", kind);
            let before = identity(&*node);
            let by = if kind == NewKind::Directory {
                mkdir(&*subject.root, "by")
            } else {
                write(&*subject.root, "by", b"")
            };
            let root = &*subject.root;
            let (from, to, mode) = (name("by"), name("object"), RenameMode::Replace);
            root.rename(from, root, to, mode, Some(&*by), Some(&*node)).unwrap();
            works(&*node, kind, before);
            subject.root.remove(to, removal(kind), None).unwrap();
        }
    }

    fn an_open_file_outlives_its_name(subject) {
        let node = write(&*subject.root, "file", b"content");
        let file = node.open(Access::Write).unwrap();
        unlink(&*subject.root, "file");
        drop(node);
        let mut buf = [0; 7];
        assert_eq!(file.read_at(&mut buf, 0).unwrap(), 7);
        assert_eq!(&buf, b"content");
        file.write_at(b"more", 7).unwrap();
        assert_eq!(file.attr().unwrap().size, 11);
        assert_eq!(file.attr().unwrap().nlink, 0);
    }

    fn an_object_without_any_name_cannot_be_linked(subject) {
        let node = write(&*subject.root, "file", b"");
        subject.root.remove(name("file"), Removal::NonDirectory, Some(&*node)).unwrap();
        assert_eq!(errno(subject.root.link(name("back"), &*node, RenameMode::NoReplace)), Errno::NOENT);
    }

    fn a_held_object_with_another_name_can_be_linked_and_relocated(subject) {
        let dir = mkdir(&*subject.root, "dir");
        for kind in [NewKind::Regular, NewKind::Symlink(b"x"), NewKind::Fifo] {
            let node = make(&*subject.root, "one", kind);
            dir.link(name("two"), &*node, RenameMode::NoReplace).unwrap();
            subject.root.remove(name("one"), Removal::NonDirectory, Some(&*node)).unwrap();
            assert_eq!(node.attr().unwrap().nlink, 1);
            subject.root.link(name("three"), &*node, RenameMode::NoReplace).unwrap();
            assert_eq!(node.attr().unwrap().nlink, 2);
            node.relocate(&*dir, name("two")).unwrap();
            unlink(&*subject.root, "three");
            assert_eq!(identity(&*node), identity(&*find(&*dir, "two").node));
            let to = name("four");
            dir.rename(name("two"), &*dir, to, RenameMode::Replace, Some(&*node), None).unwrap();
            assert_eq!(identity(&*node), identity(&*find(&*dir, "four").node));
            unlink(&*dir, "four");
        }
    }

    fn a_directory_removed_while_held_shows_nothing_and_takes_nothing(subject) {
        let dir = mkdir(&*subject.root, "dir");
        let inner: Arc<dyn WritableNode> = write(&*dir, "inner", b"i");
        dir.remove(name("inner"), Removal::NonDirectory, Some(&*inner)).unwrap();
        subject.root.remove(name("dir"), Removal::Directory, Some(&*dir)).unwrap();
        let again = mkdir(&*subject.root, "dir");
        write(&*again, "other", b"");
        assert!(names(&*dir).is_empty());
        assert!(dir.attr_of(name("other")).unwrap().is_none());
        assert_eq!(read(&*inner), b"i");
    }
}
