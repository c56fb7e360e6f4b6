//! Finding and listing.

use std::ops::ControlFlow;

use overlay_core::layer::{Access, NewKind, Removal, RenameMode};
use overlay_core::{Errno, FileKind, Name};
use overlay_tests::conformance::*;
use overlay_tests::contract;

contract! {
    fn a_missing_name_is_none(subject) {
        let root = &subject.root;
        assert!(root.lookup(name("x")).unwrap().is_none());
        assert!(root.lookup_writable(name("x")).unwrap().is_none());
        assert!(root.attr_of(name("x")).unwrap().is_none());
    }

    fn lookup_and_attr_of_and_attr_agree(subject) {
        for (number, kind) in KINDS.into_iter().enumerate() {
            let called = format!("object-{number}");
            let made = subject.root.create(name(&called), &new(kind, 0o640)).unwrap();
            assert_eq!(made.attr.kind, kind.file_kind());
            let found = subject.root.lookup(name(&called)).unwrap().unwrap();
            assert_eq!(found.attr, made.attr);
            assert_eq!(found.node.attr().unwrap(), made.attr);
            assert_eq!(made.node.attr().unwrap(), made.attr);
            assert_eq!(subject.root.attr_of(name(&called)).unwrap(), Some(made.attr));
        }
    }

    fn a_symlink_is_never_followed(subject) {
        mkdir(&*subject.root, "to");
        let link = make(&*subject.root, "link", NewKind::Symlink(b"to"));
        assert_eq!(kind(&*link), FileKind::Symlink);
        assert_eq!(errno(link.lookup(name("x"))), Errno::NOTDIR);
        assert_eq!(find(&*subject.root, "link").attr.kind, FileKind::Symlink);
        assert_eq!(link.attr().unwrap().size, 2);
    }

    fn what_needs_a_directory_fails_with_enotdir_on_anything_else(subject) {
        let root = &subject.root;
        let other = write(&**root, "other", b"");
        for (number, kind) in KINDS.into_iter().enumerate() {
            if kind == NewKind::Directory {
                continue;
            }
            let node = make(&**root, &format!("object-{number}"), kind);
            let x = name("x");
            assert_eq!(errno(node.lookup(x)), Errno::NOTDIR);
            assert_eq!(errno(node.lookup_writable(x)), Errno::NOTDIR);
            assert_eq!(errno(node.attr_of(x)), Errno::NOTDIR);
            assert_eq!(errno(node.entries(&mut |_| ControlFlow::Continue(()))), Errno::NOTDIR);
            assert_eq!(errno(node.create(x, &new(NewKind::Regular, 0o600))), Errno::NOTDIR);
            assert_eq!(errno(node.link(x, &*other, RenameMode::NoReplace)), Errno::NOTDIR);
            assert_eq!(errno(node.remove(x, Removal::NonDirectory, None)), Errno::NOTDIR);
            let replace = RenameMode::Replace;
            assert_eq!(errno(node.rename(x, &**root, x, replace, None, None)), Errno::NOTDIR);
            let other = name("other");
            assert_eq!(errno(root.rename(other, &*node, x, replace, None, None)), Errno::NOTDIR);
        }
    }

    fn entries_tells_every_name_once_with_its_kind_and_number(subject) {
        let dir = mkdir(&*subject.root, "dir");
        assert!(names(&*dir).is_empty());
        let count = 3000;
        for number in 0..count {
            let kind = KINDS[number % KINDS.len()];
            make(&*dir, &format!("a-rather-long-name-of-an-entry-{number}"), kind);
        }
        let mut seen = 0;
        dir.entries(&mut |entry| {
            seen += 1;
            let attr = dir.attr_of(entry.name).unwrap().unwrap();
            assert_eq!(attr.ino, entry.ino);
            assert!(entry.kind.is_none_or(|kind| kind == attr.kind));
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(seen, count);
        let mut names = names(&*dir);
        names.dedup();
        assert_eq!(names.len(), count);
    }

    fn entries_stops_when_told(subject) {
        for number in 0..10 {
            write(&*subject.root, &format!("{number}"), b"");
        }
        let mut seen = 0;
        subject
            .root
            .entries(&mut |_| {
                seen += 1;
                match seen {
                    3 => ControlFlow::Break(()),
                    _ => ControlFlow::Continue(()),
                }
            })
            .unwrap();
        assert_eq!(seen, 3);
    }

    fn a_listing_may_list_and_change_another_directory(subject) {
        let dirs = ["a", "b", "c"].map(|called| mkdir(&*subject.root, called));
        let mut inner = Vec::new();
        subject
            .root
            .entries(&mut |entry| {
                let dir = subject.root.lookup_writable(entry.name).unwrap().unwrap().node;
                write(&*dir, "x", b"");
                inner.extend(names(&*dir));
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(inner.len(), dirs.len());
    }

    fn a_name_may_have_255_bytes_and_any_bytes(subject) {
        let long = vec![b'n'; 255];
        let odd: Vec<u8> = (1..=255).filter(|byte| *byte != b'/').collect();
        for bytes in [&long[..], &odd[..], b"\xff\xfe", b"new\nline", b"-", b"...", b" "] {
            let called = Name::new(bytes).unwrap();
            let made = subject.root.create(called, &new(NewKind::Regular, 0o600)).unwrap();
            made.node.open(Access::Write).unwrap().write_at(bytes, 0).unwrap();
            assert_eq!(read(&*made.node), bytes);
            // The longest path below /proc that a name can lead to.
            made.node.set_xattr(b"user.note", b"y", overlay_core::layer::SetXattr::Any).unwrap();
            assert_eq!(made.node.xattr(b"user.note").unwrap().unwrap(), b"y");
            assert_eq!(names(&*subject.root), [called.to_owned()]);
            let moved = Some(&*made.node);
            let to = name("plain");
            let mode = RenameMode::Replace;
            subject.root.rename(called, &*subject.root, to, mode, moved, None).unwrap();
            unlink(&*subject.root, "plain");
        }
    }

    fn a_tree_may_be_deeper_than_any_path(subject) {
        const DEPTH: usize = 3000;
        let mut dir = mkdir(&*subject.root, "deep");
        for _ in 0..DEPTH {
            dir = mkdir(&*dir, "d");
        }
        write(&*dir, "bottom", b"here");
        assert_eq!(read(&*find(&*dir, "bottom").node), b"here");
        // The last node carries all its parents: dropping it must not recurse.
        drop(dir);
        let mut dir = find(&*subject.root, "deep").node;
        for _ in 0..DEPTH {
            dir = find(&*dir, "d").node;
        }
        assert_eq!(read(&*find(&*dir, "bottom").node), b"here");
    }

    fn the_target_of_a_symlink_is_any_bytes(subject) {
        let longest = vec![b'l'; 4095];
        for target in [&longest[..], b"a", b"/abs//olute/../", b"\xff\x01"] {
            let link = make(&*subject.root, "link", NewKind::Symlink(target));
            assert_eq!(link.link_target().unwrap(), target);
            assert_eq!(link.attr().unwrap().size, target.len() as u64);
            unlink(&*subject.root, "link");
        }
    }

    fn link_target_of_anything_but_a_symlink_is_einval(subject) {
        assert_eq!(errno(subject.root.link_target()), Errno::INVAL);
        for (number, kind) in KINDS.into_iter().enumerate() {
            let node = make(&*subject.root, &format!("object-{number}"), kind);
            if !matches!(kind, NewKind::Symlink(_)) {
                assert_eq!(errno(node.link_target()), Errno::INVAL);
            }
        }
    }

    /// No open of a fifo waits for its other end, and none wakes it.
    fn only_a_regular_file_can_be_opened(subject) {
        assert_eq!(errno(subject.root.open(Access::Read)), Errno::ISDIR);
        for kind in [NewKind::Fifo, NewKind::Socket, NewKind::Symlink(b"x")] {
            let node = make(&*subject.root, "object", kind);
            for access in [Access::Read, Access::Write] {
                assert_eq!(errno(node.open(access)), Errno::INVAL);
            }
            unlink(&*subject.root, "object");
        }
    }

    fn stat_fs_tells_a_name_length_and_space(subject) {
        let file = write(&*subject.root, "file", b"");
        for stat in [subject.root.stat_fs().unwrap(), file.stat_fs().unwrap()] {
            assert_eq!(stat.namelen, 255);
            assert!(stat.frsize > 0 && stat.blocks >= stat.bfree && stat.bfree >= stat.bavail);
        }
    }
}
