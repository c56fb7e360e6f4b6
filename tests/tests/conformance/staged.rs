//! The work area: stage, publish, discard.

use overlay_core::Errno;
use overlay_core::layer::{Access, Discard, NewKind, RenameMode, Staged, WritableNode};
use overlay_tests::conformance::*;
use overlay_tests::contract;

fn stage(subject: &Subject, kind: NewKind<'_>) -> Staged {
    Staged::new(&subject.storage, &new(kind, 0o750)).unwrap()
}

fn tree(dir: &dyn WritableNode, depth: usize) {
    write(dir, "file", b"x");
    make(dir, "fifo", NewKind::Fifo);
    mkdir(dir, "empty");
    if depth > 0 {
        tree(&*mkdir(dir, "one"), depth - 1);
        tree(&*mkdir(dir, "two"), depth - 1);
    }
}

contract! {
    fn a_staged_object_is_nowhere_until_published(subject) {
        for kind in KINDS {
            let staged = stage(subject, kind);
            assert!(names(&*subject.root).is_empty());
            let before = identity(&**staged.node());
            let root = &*subject.root;
            let node = staged.publish(root, name("object"), RenameMode::NoReplace, None).unwrap();
            assert_eq!(identity(&*node), before);
            assert_eq!(identity(&*find(root, "object").node), before);
                        root.remove(name("object"), removal(kind), Some(&*node)).unwrap();
        }
        subject.storage.clear_work().unwrap();
    }

    fn a_staged_file_can_be_filled_first(subject) {
        let staged = stage(subject, NewKind::Regular);
        let file = staged.node().open(Access::Write).unwrap();
        file.write_at(b"whole", 0).unwrap();
        let node = staged.publish(&*subject.root, name("x"), RenameMode::Replace, None).unwrap();
        assert_eq!(read(&*node), b"whole");
        file.write_at(b"more", 5).unwrap();
        assert_eq!(read(&*node), b"wholemore");
    }

    fn publish_in_place_of_another_displaces_it(subject) {
        let old = write(&*subject.root, "x", b"old");
        let staged = stage(subject, NewKind::Regular);
        let mode = RenameMode::Replace;
        let node = staged.publish(&*subject.root, name("x"), mode, Some(&*old)).unwrap();
        assert_eq!(read(&*old), b"old");
        assert_eq!(old.attr().unwrap().nlink, 0);
        assert_eq!(identity(&*find(&*subject.root, "x").node), identity(&*node));
    }

    fn what_is_withdrawn_is_nowhere_and_can_be_put_back_or_given_up(subject) {
        let root = &*subject.root;
        let dir = mkdir(root, "dir");
        tree(&*dir, 1);
        let before = identity(&*dir);
        let withdraw = || Staged::withdraw(&subject.storage, root, name("dir"), &dir).unwrap();
        let staged = withdraw();
        assert!(names(root).is_empty());
        assert_eq!(identity(&*dir), before);
        assert_eq!(read(&*find(&*dir, "file").node), b"x");
        staged.publish(root, name("dir"), RenameMode::NoReplace, None).unwrap();
        assert_eq!(identity(&*find(root, "dir").node), before);
        assert_eq!(identity(&*find(&*find(root, "dir").node, "one").node).0, before.0);
        let kept = withdraw().keep().unwrap();
        assert_eq!(identity(&*kept), before);
        assert!(names(root).is_empty());
        let file = write(root, "x", b"x");
        drop(Staged::withdraw(&subject.storage, root, name("x"), &file).unwrap());
        assert!(names(root).is_empty());
        let file = write(root, "x", b"x");
        let missing = Staged::withdraw(&subject.storage, root, name("y"), &file);
        assert_eq!(missing.unwrap_err().errno(), Errno::NOENT);
        assert_eq!(read(&*file), b"x");
    }

    fn a_failed_publish_changes_nothing_and_the_staged_is_gone(subject) {
        let old = write(&*subject.root, "x", b"old");
        let publish = |called, mode| {
            let staged = stage(subject, NewKind::Regular);
            errno(staged.publish(&*subject.root, name(called), mode, Some(&*old)))
        };
        assert_eq!(publish("x", RenameMode::NoReplace), Errno::EXIST);
        assert_eq!(publish("none", RenameMode::Exchange), Errno::NOENT);
        assert_eq!(publish("x", RenameMode::Whiteout), Errno::INVAL);
        mkdir(&*subject.root, "dir");
        let staged = stage(subject, NewKind::Regular);
        let failed = staged.publish(&*subject.root, name("dir"), RenameMode::Replace, None);
        assert_eq!(errno(failed), Errno::ISDIR);
        assert_eq!(read(&*old), b"old");
        assert_eq!(identity(&*find(&*subject.root, "x").node), identity(&*old));
    }

    fn exchange_takes_out_a_whole_tree_and_keeps_its_node(subject) {
        let old = mkdir(&*subject.root, "dir");
        tree(&*old, 4);
        let before = identity(&*old);
        let staged = stage(subject, NewKind::Directory);
        write(&**staged.node(), "fresh", b"");
        let mode = RenameMode::Exchange;
        let node = staged.publish(&*subject.root, name("dir"), mode, Some(&*old)).unwrap();
        assert_eq!(names(&*node), [name("fresh").to_owned()]);
        assert_eq!(identity(&*old), before);
        assert_eq!(old.attr().unwrap().nlink, 0);
        assert!(names(&*old).is_empty());
    }

    fn exchange_returns_what_it_took_out(subject) {
        let old = write(&*subject.root, "x", b"old");
        let before = identity(&*old);
        for displaced in [None, Some(&*old)] {
            let new = new(NewKind::Regular, 0o600);
            let staged = subject.storage.stage(&new).unwrap();
            let (root, x, mode) = (&*subject.root, name("x"), RenameMode::Exchange);
            let out = subject.storage.publish(&*staged, root, x, mode, displaced).unwrap();
            let out = out.unwrap();
            assert_eq!(identity(&*out), before);
            assert_eq!(read(&*out), b"old");
            // Back again: what lies in the work area is a staged object.
            let back = subject.storage.publish(&*out, root, x, mode, Some(&*staged)).unwrap();
            assert_eq!(identity(&*back.unwrap()), identity(&*staged));
            subject.storage.discard(&*staged, Discard::Forget).unwrap();
            if displaced.is_none() {
                old.relocate(root, x).unwrap();
            }
        }
        assert_eq!(read(&*old), b"old");
    }

    fn a_kept_object_lives_without_a_name(subject) {
        for kind in KINDS {
            let node = stage(subject, kind).keep().unwrap();
            assert_eq!(node.attr().unwrap().nlink, 0);
            if kind == NewKind::Regular {
                fill(&*node, b"nameless");
                assert_eq!(read(&*node), b"nameless");
            }
        }
        let dir = stage(subject, NewKind::Directory);
        tree(&**dir.node(), 2);
        assert!(names(&*dir.keep().unwrap()).is_empty());
    }

    fn what_is_not_staged_cannot_be_published_or_discarded(subject) {
        let file = write(&*subject.root, "x", b"");
        let (root, y) = (&*subject.root, name("y"));
        let published = subject.storage.publish(&*file, root, y, RenameMode::Replace, None);
        assert_eq!(errno(published), Errno::INVAL);
        assert_eq!(errno(subject.storage.discard(&*file, Discard::Forget)), Errno::INVAL);
        assert!(has(root, "x"));
        let foreign = write(&*Subject::memory().root, "x", b"");
        assert_eq!(errno(subject.storage.discard(&*foreign, Discard::Forget)), Errno::XDEV);
    }

    fn clear_work_leaves_the_tree_alone(subject) {
        tree(&*mkdir(&*subject.root, "dir"), 2);
        let before = names(&*find(&*subject.root, "dir").node);
        let staged = subject.storage.stage(&new(NewKind::Directory, 0o700)).unwrap();
        tree(&*staged, 2);
        subject.storage.clear_work().unwrap();
        assert_eq!(names(&*find(&*subject.root, "dir").node), before);
    }

    fn a_staged_object_can_take_a_link_of_another(subject) {
        let staged = stage(subject, NewKind::Directory);
        let file = write(&*subject.root, "x", b"linked");
        staged.node().link(name("y"), &*file, RenameMode::NoReplace).unwrap();
        let root = &*subject.root;
        let dir = staged.publish(root, name("dir"), RenameMode::NoReplace, None).unwrap();
        assert_eq!(read(&*find(&*dir, "y").node), b"linked");
        assert_eq!(file.attr().unwrap().nlink, 2);
    }
}
