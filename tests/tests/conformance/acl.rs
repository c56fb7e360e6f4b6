//! POSIX ACLs, which are one thing with the mode.

use overlay_core::layer::{New, NewKind, SetXattr, WritableNode};
use overlay_core::{Errno, SetAttr};
use overlay_tests::conformance::*;
use overlay_tests::contract;

const ACCESS: &[u8] = b"system.posix_acl_access";
const DEFAULT: &[u8] = b"system.posix_acl_default";

const OWNER: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP: u16 = 0x04;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// `user::rw-`, `user:4711:rw-`, `group::r--`, a mask, `other::---`.
fn with_mask(owner: u16, mask: u16, other: u16) -> Vec<u8> {
    acl(&[
        (OWNER, owner, NO_ID),
        (USER, 6, 4711),
        (GROUP, 4, NO_ID),
        (MASK, mask, NO_ID),
        (OTHER, other, NO_ID),
    ])
}

/// Whether the filesystem has ACLs; if not, says so.
fn supported(node: &dyn WritableNode) -> bool {
    match node.set_xattr(ACCESS, &with_mask(6, 6, 0), SetXattr::Any) {
        Err(error) if error.is(Errno::OPNOTSUPP) => {
            skipped("no ACLs here");
            false
        }
        outcome => {
            outcome.unwrap();
            true
        }
    }
}

fn mode(node: &dyn WritableNode) -> u32 {
    node.attr().unwrap().mode
}

contract! {
    fn an_access_acl_sets_the_mode_and_the_mode_the_acl(subject) {
        let file = write(&*subject.root, "file", b"");
        if !supported(&*file) {
            return;
        }
        file.set_xattr(ACCESS, &with_mask(7, 5, 1), SetXattr::Any).unwrap();
        assert_eq!(mode(&*file), 0o751);
        file.set_attr(&SetAttr { mode: Some(0o4624), ..SetAttr::default() }).unwrap();
        assert_eq!(mode(&*file), 0o4624);
        assert_eq!(file.xattr(ACCESS).unwrap().unwrap(), with_mask(6, 2, 4));
    }

    fn an_acl_that_is_only_a_mode_is_not_kept(subject) {
        let file = write(&*subject.root, "file", b"");
        if !supported(&*file) {
            return;
        }
        let plain = acl(&[(OWNER, 6, NO_ID), (GROUP, 4, NO_ID), (OTHER, 1, NO_ID)]);
        file.set_xattr(ACCESS, &plain, SetXattr::Any).unwrap();
        assert_eq!(mode(&*file), 0o641);
        assert_eq!(file.xattr(ACCESS).unwrap(), None);
        file.remove_xattr(ACCESS).unwrap();
    }

    fn a_new_object_has_its_acl_and_exactly_its_mode(subject) {
        if !supported(&*write(&*subject.root, "probe", b"")) {
            return;
        }
        let given = with_mask(6, 6, 0);
        let default = with_mask(7, 5, 5);
        let xattrs: &[(&[u8], &[u8])] = &[(ACCESS, &given)];
        let file = New { xattrs, ..new(NewKind::Regular, 0o2660) };
        let made = subject.root.create(name("file"), &file).unwrap();
        assert_eq!(made.attr.mode, 0o2660);
        assert_eq!(made.node.xattr(ACCESS).unwrap().unwrap(), given);
        // The mode has the last word.
        let file = New { xattrs, ..new(NewKind::Regular, 0o640) };
        let made = subject.root.create(name("other"), &file).unwrap();
        assert_eq!(made.attr.mode, 0o640);
        assert_eq!(made.node.xattr(ACCESS).unwrap().unwrap(), with_mask(6, 4, 0));
        let both: &[(&[u8], &[u8])] = &[(ACCESS, &given), (DEFAULT, &default)];
        let dir = New { xattrs: both, ..new(NewKind::Directory, 0o660) };
        let made = subject.root.create(name("dir"), &dir).unwrap();
        assert_eq!(made.node.xattr(DEFAULT).unwrap().unwrap(), default);
        assert_eq!(made.node.xattr(ACCESS).unwrap().unwrap(), given);
    }

    fn acls_that_cannot_be_are_refused(subject) {
        let file = write(&*subject.root, "file", b"");
        if !supported(&*file) {
            return;
        }
        let set = |name, value: &[u8]| errno(file.set_xattr(name, value, SetXattr::Any));
        assert_eq!(set(ACCESS, b"nonsense-one"), Errno::OPNOTSUPP);
        assert_eq!(set(ACCESS, &[2, 0, 0, 0, 1]), Errno::INVAL);
        assert_eq!(set(DEFAULT, &with_mask(7, 5, 5)), Errno::ACCESS);
        let link = make(&*subject.root, "link", NewKind::Symlink(b"file"));
        let set = link.set_xattr(ACCESS, &with_mask(7, 5, 5), SetXattr::Any);
        assert_eq!(errno(set), Errno::OPNOTSUPP);
    }
}
