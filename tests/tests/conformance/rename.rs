//! Rename in every mode, with the nodes following.

use overlay_core::layer::{NewKind, RenameMode, WritableNode};
use overlay_core::{Errno, FileKind, Result};
use overlay_tests::conformance::*;
use overlay_tests::contract;

const MODES: [RenameMode; 4] = [
    RenameMode::Replace,
    RenameMode::NoReplace,
    RenameMode::Exchange,
    RenameMode::Whiteout,
];

type Nodes<'a> = (Option<&'a dyn WritableNode>, Option<&'a dyn WritableNode>);

fn rename(
    from: (&dyn WritableNode, &str),
    to: (&dyn WritableNode, &str),
    mode: RenameMode,
    nodes: Nodes<'_>,
) -> Result<()> {
    from.0
        .rename(name(from.1), to.0, name(to.1), mode, nodes.0, nodes.1)
}

contract! {
    fn the_moved_node_follows_within_and_between_directories(subject) {
        let (a, b) = (mkdir(&*subject.root, "a"), mkdir(&*subject.root, "b"));
        for kind in KINDS {
            let node = make(&*a, "x", kind);
            let before = identity(&*node);
            rename((&*a, "x"), (&*a, "y"), RenameMode::Replace, (Some(&*node), None)).unwrap();
            assert_eq!(identity(&*node), before);
            rename((&*a, "y"), (&*b, "z"), RenameMode::NoReplace, (Some(&*node), None)).unwrap();
            assert_eq!(identity(&*node), before);
            assert_eq!(identity(&*find(&*b, "z").node), before);
            assert!(names(&*a).is_empty());
            let out = name(&format!("{before:?}")).to_owned();
            b.rename(name("z"), &*subject.root, &out, RenameMode::Replace, Some(&*node), None)
                .unwrap();
            assert_eq!(identity(&*node), before);
        }
    }

    fn what_is_in_a_moved_directory_follows(subject) {
        let a = mkdir(&*subject.root, "a");
        let b = mkdir(&*a, "b");
        let c = mkdir(&*b, "c");
        let file = write(&*c, "file", b"deep");
        let elsewhere = mkdir(&*subject.root, "elsewhere");
        rename((&*a, "b"), (&*elsewhere, "moved"), RenameMode::Replace, (Some(&*b), None)).unwrap();
        assert_eq!(read(&*file), b"deep");
        write(&*c, "new", b"");
        let moved = find(&*elsewhere, "moved").node;
        assert_eq!(names(&*find(&*moved, "c").node).len(), 2);
        let root = &*subject.root;
        rename((root, "elsewhere"), (root, "e"), RenameMode::Replace, (Some(&*elsewhere), None))
            .unwrap();
        assert_eq!(read(&*file), b"deep");
    }

    fn a_failed_rename_changes_no_place(subject) {
        let root = &*subject.root;
        let (file, dir) = (write(root, "file", b"f"), mkdir(root, "dir"));
        let inner = write(&*dir, "inner", b"i");
        let all = (Some(&*file), Some(&*dir));
        let back = (Some(&*dir), Some(&*file));
        let fails = |from, to, mode, nodes| errno(rename((root, from), (root, to), mode, nodes));
        assert_eq!(fails("file", "dir", RenameMode::Replace, all), Errno::ISDIR);
        assert_eq!(fails("dir", "file", RenameMode::Replace, back), Errno::NOTDIR);
        assert_eq!(fails("file", "dir", RenameMode::NoReplace, all), Errno::EXIST);
        assert_eq!(fails("none", "file", RenameMode::Replace, (None, Some(&*file))), Errno::NOENT);
        let none = (Some(&*file), None);
        assert_eq!(fails("file", "none", RenameMode::Exchange, none), Errno::NOENT);
        let other = mkdir(root, "other");
        let nodes = (Some(&*other), Some(&*dir));
        assert_eq!(fails("other", "dir", RenameMode::Replace, nodes), Errno::NOTEMPTY);
        assert_eq!(read(&*file), b"f");
        assert_eq!(read(&*inner), b"i");
        assert_eq!(identity(&*find(root, "file").node), identity(&*file));
        assert_eq!(identity(&*find(root, "dir").node), identity(&*dir));
        assert_eq!(identity(&*find(root, "other").node), identity(&*other));
        assert_eq!(file.attr().unwrap().nlink, 1);
    }

    fn a_directory_cannot_move_into_itself(subject) {
        let root = &*subject.root;
        let a = mkdir(root, "a");
        let b = mkdir(&*a, "b");
        let moved = (Some(&*a), None);
        for mode in [RenameMode::Replace, RenameMode::NoReplace] {
            assert_eq!(errno(rename((root, "a"), (&*b, "x"), mode, moved)), Errno::INVAL);
            assert_eq!(errno(rename((root, "a"), (&*a, "x"), mode, moved)), Errno::INVAL);
        }
        let (exchange, replace) = (RenameMode::Exchange, RenameMode::Replace);
        assert_eq!(errno(rename((&*a, "b"), (root, "a"), exchange, (None, None))), Errno::INVAL);
        assert_eq!(errno(rename((&*a, "b"), (root, "a"), replace, (None, None))), Errno::NOTEMPTY);
        assert_eq!(names(&*a), [name("b").to_owned()]);
    }

    fn replace_displaces_what_was_there(subject) {
        let root = &*subject.root;
        for kind in KINDS {
            let target = make(root, "target", kind);
            let source = if kind == NewKind::Directory {
                mkdir(root, "source")
            } else {
                write(root, "source", b"s")
            };
            let (moving, gone) = (identity(&*source), identity(&*target));
            let nodes = (Some(&*source), Some(&*target));
            rename((root, "source"), (root, "target"), RenameMode::Replace, nodes).unwrap();
            assert_eq!(identity(&*source), moving);
            assert_eq!(identity(&*target), gone);
            assert_eq!(target.attr().unwrap().nlink, 0);
            assert_eq!(names(root), [name("target").to_owned()]);
            let out = format!("out-{}", moving.1);
            rename((root, "target"), (root, &out), RenameMode::Replace, (None, None)).unwrap();
            root.remove(name(&out), removal(kind), None).unwrap();
        }
    }

    fn exchange_swaps_any_two_and_both_nodes_follow(subject) {
        let root = &*subject.root;
        let dir = mkdir(root, "dir");
        for one in KINDS {
            for other in KINDS {
                let (a, b) = (make(root, "a", one), make(&*dir, "b", other));
                let before = (identity(&*a), identity(&*b));
                let nodes = (Some(&*a), Some(&*b));
                rename((root, "a"), (&*dir, "b"), RenameMode::Exchange, nodes).unwrap();
                assert_eq!((identity(&*a), identity(&*b)), before);
                assert_eq!(identity(&*find(root, "a").node), before.1);
                assert_eq!(identity(&*find(&*dir, "b").node), before.0);
                assert_eq!(a.attr().unwrap().kind, one.file_kind());
                // Out of the way, by the nodes' new places.
                let (out_a, out_b) = (format!("{:?}", before.0), format!("{:?}", before.1));
                let replace = RenameMode::Replace;
                rename((&*dir, "b"), (root, &out_a), replace, (Some(&*a), None)).unwrap();
                rename((root, "a"), (root, &out_b), replace, (Some(&*b), None)).unwrap();
                assert_eq!((identity(&*a), identity(&*b)), before);
            }
        }
    }

    fn exchange_of_directories_takes_their_content_along(subject) {
        let root = &*subject.root;
        let (a, b) = (mkdir(root, "a"), mkdir(root, "b"));
        let (in_a, in_b) = (write(&*a, "x", b"from a"), write(&*b, "x", b"from b"));
        let nodes = (Some(&*a), Some(&*b));
        rename((root, "a"), (root, "b"), RenameMode::Exchange, nodes).unwrap();
        assert_eq!((read(&*in_a), read(&*in_b)), (b"from a".to_vec(), b"from b".to_vec()));
        assert_eq!(read(&*find(&*find(root, "a").node, "x").node), b"from b");
    }

    fn whiteout_leaves_a_device_0_0_and_replaces(subject) {
        if !subject.storage.capabilities().rename_whiteout {
            skipped("no RENAME_WHITEOUT here");
            return;
        }
        let root = &*subject.root;
        let (source, target) = (write(root, "source", b"s"), write(root, "target", b"t"));
        let nodes = (Some(&*source), Some(&*target));
        rename((root, "source"), (root, "target"), RenameMode::Whiteout, nodes).unwrap();
        let left = find(root, "source").attr;
        assert_eq!((left.kind, left.rdev), (FileKind::CharDevice, 0));
        assert_eq!(read(&*source), b"s");
        assert_eq!(read(&*target), b"t");
        assert_eq!(identity(&*find(root, "target").node), identity(&*source));
        let dir = mkdir(root, "dir");
        let new = "new";
        rename((root, "dir"), (root, new), RenameMode::Whiteout, (Some(&*dir), None)).unwrap();
        assert_eq!(find(root, "dir").attr.kind, FileKind::CharDevice);
        write(&*dir, "inside", b"");
    }

    /// As `rename(2)` has it: both names stay, and nothing else happens.
    fn two_names_of_one_object_stay(subject) {
        let root = &*subject.root;
        for mode in [RenameMode::Replace, RenameMode::Exchange] {
            let one = write(root, "one", b"x");
            root.link(name("two"), &*one, RenameMode::NoReplace).unwrap();
            let two = find(root, "two").node;
            rename((root, "one"), (root, "two"), mode, (Some(&*one), Some(&*two))).unwrap();
            assert_eq!(names(root).len(), 2);
            rename((root, "one"), (root, "two"), mode, (Some(&*one), Some(&*one))).unwrap();
            assert_eq!(identity(&*one), identity(&*two));
            assert_eq!(one.attr().unwrap().nlink, 2);
            unlink(root, "one");
            unlink(root, "two");
        }
    }

    fn a_missing_source_is_enoent_in_every_mode(subject) {
        let root = &*subject.root;
        for mode in MODES {
            assert_eq!(errno(rename((root, "a"), (root, "b"), mode, (None, None))), Errno::NOENT);
        }
    }

    fn a_node_of_another_storage_is_exdev(subject) {
        let other = Subject::memory();
        let foreign = write(&*other.root, "foreign", b"");
        let root = &*subject.root;
        write(root, "x", b"");
        let mode = RenameMode::Replace;
        let failed = rename((root, "x"), (&*other.root, "x"), mode, (None, None));
        assert_eq!(errno(failed), Errno::XDEV);
        assert_eq!(errno(root.link(name("y"), &*foreign, RenameMode::NoReplace)), Errno::XDEV);
        let failed = rename((root, "x"), (root, "y"), mode, (Some(&*foreign), None));
        assert_eq!(errno(failed), Errno::XDEV);
        assert!(has(root, "x") && !has(root, "y"));
    }

    fn a_rename_tells_both_directories(subject) {
        let (a, b) = (mkdir(&*subject.root, "a"), mkdir(&*subject.root, "b"));
        mkdir(&*a, "x");
        let before = (a.attr().unwrap(), b.attr().unwrap());
        assert_eq!((before.0.nlink, before.1.nlink), (3, 2));
        std::thread::sleep(std::time::Duration::from_millis(20));
        rename((&*a, "x"), (&*b, "x"), RenameMode::Replace, (None, None)).unwrap();
        let after = (a.attr().unwrap(), b.attr().unwrap());
        assert_eq!((after.0.nlink, after.1.nlink), (2, 3));
        assert!(after.0.mtime > before.0.mtime && after.1.mtime > before.1.mtime);
    }
}
