//! Extended attributes.

use overlay_core::Errno;
use overlay_core::layer::{NewKind, SetXattr, WritableNode};
use overlay_tests::conformance::*;
use overlay_tests::contract;

/// The names, but for what a security module adds by itself.
fn listed(node: &dyn WritableNode) -> Vec<Vec<u8>> {
    let mut names = node.xattr_names().unwrap();
    names.retain(|name| !name.starts_with(b"security."));
    names.sort();
    names
}

contract! {
    fn an_unset_attribute_is_none_and_cannot_be_removed(subject) {
        for (number, kind) in KINDS.into_iter().enumerate() {
            let node = make(&*subject.root, &format!("object-{number}"), kind);
            assert_eq!(node.xattr(b"user.none").unwrap(), None);
            assert!(listed(&*node).is_empty());
        }
        assert_eq!(errno(subject.root.remove_xattr(b"user.none")), Errno::NODATA);
    }

    fn what_is_set_is_read_listed_and_removed(subject) {
        let dir = mkdir(&*subject.root, "dir");
        let file = write(&*dir, "file", b"");
        for node in [&dir, &file] {
            node.set_xattr(b"user.b", b"\0value\xff", SetXattr::Any).unwrap();
            node.set_xattr(b"user.a", b"", SetXattr::Any).unwrap();
            assert_eq!(node.xattr(b"user.b").unwrap().unwrap(), b"\0value\xff");
            assert_eq!(node.xattr(b"user.a").unwrap().unwrap(), b"");
            assert_eq!(listed(&**node), [b"user.a".to_vec(), b"user.b".to_vec()]);
            node.remove_xattr(b"user.b").unwrap();
            assert_eq!(node.xattr(b"user.b").unwrap(), None);
            assert_eq!(listed(&**node), [b"user.a".to_vec()]);
        }
    }

    fn create_and_replace_look_first(subject) {
        let root = &subject.root;
        assert_eq!(errno(root.set_xattr(b"user.a", b"1", SetXattr::Replace)), Errno::NODATA);
        root.set_xattr(b"user.a", b"1", SetXattr::Create).unwrap();
        assert_eq!(errno(root.set_xattr(b"user.a", b"2", SetXattr::Create)), Errno::EXIST);
        root.set_xattr(b"user.a", b"3", SetXattr::Replace).unwrap();
        assert_eq!(root.xattr(b"user.a").unwrap().unwrap(), b"3");
    }

    fn values_and_lists_may_be_long(subject) {
        let file = write(&*subject.root, "file", b"");
        let long = vec![b'v'; 2000];
        file.set_xattr(b"user.long", &long, SetXattr::Any).unwrap();
        assert_eq!(file.xattr(b"user.long").unwrap().unwrap(), long);
        for number in 0..20 {
            let name = format!("user.an-attribute-with-a-long-name-{number}");
            file.set_xattr(name.as_bytes(), b"", SetXattr::Any).unwrap();
        }
        assert_eq!(listed(&*file).len(), 21);
    }

    fn an_unknown_namespace_is_none_to_read_and_eopnotsupp_to_set(subject) {
        let file = write(&*subject.root, "file", b"");
        assert_eq!(file.xattr(b"nonsense.a").unwrap(), None);
        let set = file.set_xattr(b"nonsense.a", b"", SetXattr::Any);
        assert_eq!(errno(set), Errno::OPNOTSUPP);
    }

    fn user_attributes_are_for_files_and_directories(subject) {
        for (number, kind) in KINDS.into_iter().enumerate() {
            let node = make(&*subject.root, &format!("object-{number}"), kind);
            let set = node.set_xattr(b"user.a", b"b", SetXattr::Any);
            if matches!(kind, NewKind::Regular | NewKind::Directory) {
                set.unwrap();
            } else {
                assert_eq!(errno(set), Errno::PERM);
            }
        }
    }

    fn trusted_attributes_are_for_every_kind(subject) {
        if !root_or_skip("trusted attributes") {
            return;
        }
        assert!(subject.storage.capabilities().trusted_xattr);
        let kinds = KINDS.into_iter().chain([NewKind::CharDevice(0)]);
        for (number, kind) in kinds.enumerate() {
            let node = make(&*subject.root, &format!("object-{number}"), kind);
            node.set_xattr(b"trusted.overlay.origin", b"o", SetXattr::Any).unwrap();
            assert_eq!(node.xattr(b"trusted.overlay.origin").unwrap().unwrap(), b"o");
            assert_eq!(listed(&*node), [b"trusted.overlay.origin".to_vec()]);
            node.remove_xattr(b"trusted.overlay.origin").unwrap();
        }
    }
}
