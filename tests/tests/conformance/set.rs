//! Changing attributes.

use overlay_core::layer::{NewKind, SetXattr};
use overlay_core::{Errno, SetAttr, SetTime, Timestamp};
use overlay_tests::conformance::*;
use overlay_tests::contract;

const NONE: SetAttr = SetAttr {
    mode: None,
    uid: None,
    gid: None,
    size: None,
    atime: None,
    mtime: None,
};

fn at(sec: i64, nsec: u32) -> Option<SetTime> {
    Some(SetTime::To(Timestamp { sec, nsec }))
}

contract! {
    fn nothing_asked_nothing_changed(subject) {
        let node = write(&*subject.root, "file", b"x");
        let before = node.attr().unwrap();
        node.set_attr(&NONE).unwrap();
        assert_eq!(node.attr().unwrap(), before);
    }

    fn the_mode_of_all_but_symlinks_can_be_changed(subject) {
        for (number, kind) in KINDS.into_iter().enumerate() {
            let node = make(&*subject.root, &format!("object-{number}"), kind);
            let set = SetAttr { mode: Some(0o7531), ..NONE };
            if matches!(kind, NewKind::Symlink(_)) {
                assert_eq!(errno(node.set_attr(&set)), Errno::OPNOTSUPP);
            } else {
                    node.set_attr(&set).unwrap();
                    assert_eq!(node.attr().unwrap().mode, 0o7531);
            }
        }
    }

    fn owner_and_group_change_apart(subject) {
        if !root_or_skip("giving objects away") {
            return;
        }
        for (number, kind) in KINDS.into_iter().enumerate() {
            let node = make(&*subject.root, &format!("object-{number}"), kind);
            node.set_attr(&SetAttr { uid: Some(5), ..NONE }).unwrap();
            node.set_attr(&SetAttr { gid: Some(6), ..NONE }).unwrap();
            let attr = node.attr().unwrap();
            assert_eq!((attr.uid, attr.gid), (5, 6));
        }
    }

    fn a_change_of_owner_takes_setuid_setgid_and_capabilities(subject) {
        if !root_or_skip("giving objects away") {
            return;
        }
        let node = write(&*subject.root, "file", b"");
        let set = |set: SetAttr| {
            node.set_attr(&set).unwrap();
            node.attr().unwrap().mode
        };
        // Version 2, no bits: as setcap(8) lays it out.
        let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        node.set_xattr(b"security.capability", &capability, SetXattr::Any).unwrap();
        assert_eq!(set(SetAttr { mode: Some(0o6755), ..NONE }), 0o6755);
        assert_eq!(set(SetAttr { uid: Some(5), ..NONE }), 0o755);
        assert_eq!(node.xattr(b"security.capability").unwrap(), None);
        // The order is owner, then mode: so they survive where asked for.
        let both = SetAttr { uid: Some(7), mode: Some(0o6711), ..NONE };
        assert_eq!(set(both), 0o6711);
        let dir = mkdir(&*subject.root, "dir");
        dir.set_attr(&SetAttr { mode: Some(0o2755), ..NONE }).unwrap();
        dir.set_attr(&SetAttr { gid: Some(7), ..NONE }).unwrap();
        assert_eq!(dir.attr().unwrap().mode, 0o2755);
    }

    fn times_are_kept_to_the_nanosecond_and_apart(subject) {
        for (number, kind) in KINDS.into_iter().enumerate() {
            let node = make(&*subject.root, &format!("object-{number}"), kind);
            let set = SetAttr { atime: at(1_000, 1), mtime: at(-5, 999_999_999), ..NONE };
            node.set_attr(&set).unwrap();
            let attr = node.attr().unwrap();
            assert_eq!(attr.atime, Timestamp { sec: 1_000, nsec: 1 });
            assert_eq!(attr.mtime, Timestamp { sec: -5, nsec: 999_999_999 });
            node.set_attr(&SetAttr { atime: Some(SetTime::Now), ..NONE }).unwrap();
            let now = node.attr().unwrap();
            assert_eq!(now.mtime, attr.mtime);
            let age = Timestamp::now().sec - now.atime.sec;
            assert!((0..60).contains(&age), "{age}");
            assert!(now.ctime > attr.atime);
        }
    }

    fn the_size_changes_first_and_the_times_last(subject) {
        let node = write(&*subject.root, "file", b"0123456789");
        let all = SetAttr { size: Some(4), mode: Some(0o600), mtime: at(77, 0), ..NONE };
        node.set_attr(&all).unwrap();
        let attr = node.attr().unwrap();
        assert_eq!((attr.size, attr.mode, attr.mtime.sec), (4, 0o600, 77));
        assert_eq!(read(&*node), b"0123");
    }

    fn only_a_regular_file_has_a_size_to_set(subject) {
        let set = SetAttr { size: Some(0), ..NONE };
        for (number, kind) in KINDS.into_iter().enumerate() {
            let node = make(&*subject.root, &format!("object-{number}"), kind);
            match kind {
                NewKind::Regular => node.set_attr(&set).unwrap(),
                NewKind::Directory => assert_eq!(errno(node.set_attr(&set)), Errno::ISDIR),
                NewKind::Symlink(_)
                | NewKind::Fifo
                | NewKind::Socket
                | NewKind::CharDevice(_)
                | NewKind::BlockDevice(_) => {
                    assert_eq!(errno(node.set_attr(&set)), Errno::INVAL);
                }
            }
        }
    }
}
