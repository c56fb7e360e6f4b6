//! Removing names.

use overlay_core::Errno;
use overlay_core::layer::{Removal, RenameMode};
use overlay_tests::conformance::*;
use overlay_tests::contract;

contract! {
    fn remove_fails_as_unlink_and_rmdir_do(subject) {
        let root = &subject.root;
        let dir = mkdir(&**root, "dir");
        write(&*dir, "inner", b"");
        write(&**root, "file", b"");
        let remove = |called, what| root.remove(name(called), what, None);
        assert_eq!(errno(remove("none", Removal::NonDirectory)), Errno::NOENT);
        assert_eq!(errno(remove("none", Removal::Directory)), Errno::NOENT);
        assert_eq!(errno(remove("dir", Removal::NonDirectory)), Errno::ISDIR);
        assert_eq!(errno(remove("file", Removal::Directory)), Errno::NOTDIR);
        assert_eq!(errno(remove("dir", Removal::Directory)), Errno::NOTEMPTY);
        assert_eq!(names(&**root).len(), 2);
    }

    fn a_failed_removal_leaves_the_node_where_it_was(subject) {
        let dir = mkdir(&*subject.root, "dir");
        let inner = write(&*dir, "inner", b"x");
        let failed = subject.root.remove(name("dir"), Removal::Directory, Some(&*dir));
        assert_eq!(errno(failed), Errno::NOTEMPTY);
        subject
            .root
            .rename(
                name("dir"),
                &*subject.root,
                name("moved"),
                overlay_core::layer::RenameMode::Replace,
                Some(&*dir),
                None,
            )
            .unwrap();
        assert_eq!(names(&*dir), [name("inner").to_owned()]);
        assert_eq!(read(&*inner), b"x");
    }

    fn every_kind_can_be_removed(subject) {
        for kind in KINDS {
            let node = make(&*subject.root, "object", kind);
                        subject.root.remove(name("object"), removal(kind), Some(&*node)).unwrap();
            assert!(names(&*subject.root).is_empty());
        }
    }

    fn a_node_of_another_link_keeps_its_name(subject) {
        let one = write(&*subject.root, "one", b"x");
        subject.root.link(name("two"), &*one, RenameMode::NoReplace).unwrap();
        // The handle on the object has `one` as its place; `two` goes.
        subject.root.remove(name("two"), Removal::NonDirectory, Some(&*one)).unwrap();
        assert_eq!(one.attr().unwrap().nlink, 1);
        subject.root.link(name("three"), &*one, RenameMode::NoReplace).unwrap();
        assert_eq!(identity(&*find(&*subject.root, "three").node), identity(&*one));
    }
}
