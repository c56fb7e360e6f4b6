//! What is written, and what it means to others.

use std::sync::Arc;

use overlay_core::attr::FileKind;
use overlay_core::fs::UnionFs;
use overlay_core::layer::{NewKind, SetXattr, Storage, WritableStorage};
use overlay_core::union::{Index, Metacopy, Options, RedirectDir};
use overlay_core::{Dialect, Errno, MemStorage, Namespace, SetAttr, Stack, Union};
use overlay_tests::aufs::AUFS;
use overlay_tests::faulty::{Faults, Faulty, Plan, Scope};

use crate::{OTHERWISE, OWN, dir_at, entries, errno, name, seen, stored, written};

const OVERLAY: Dialect = Dialect::Overlay(Namespace::Trusted);
const CONTAINERS: Dialect = Dialect::Containers(Namespace::Trusted);

#[test]
fn what_is_removed_leaves_a_link_of_the_base() {
    let (upper, union) = written(AUFS, AUFS, &["g=2", "f=1 g=1 d/ d/x=1"]);
    union.remove_file("f").unwrap();
    union.remove_file("g").unwrap();
    union.remove_file("d/x").unwrap();
    assert_eq!(entries(&upper, ""), [".wh.f", ".wh.g", "d"]);
    assert_eq!(entries(&upper, "d"), [".wh.x"]);
    let base = dir_at(&upper, "").attr_of(name(OWN[0])).unwrap().unwrap();
    assert_eq!(base.nlink, 4);
    union.remove_dir("d").unwrap();
    assert_eq!(entries(&upper, ""), [".wh.d", ".wh.f", ".wh.g"]);
    assert_eq!(seen(&union), "");
}

#[test]
fn what_hides_nothing_leaves_no_whiteout() {
    let (upper, union) = written(AUFS, AUFS, &["f= d/", ""]);
    union.remove_file("f").unwrap();
    union.remove_dir("d").unwrap();
    assert_eq!(entries(&upper, ""), [""; 0]);
    union.write("a", "").unwrap();
    union.rename("a", "b").unwrap();
    assert_eq!(entries(&upper, ""), ["b"]);
}

#[test]
fn what_takes_the_place_of_a_whiteout_takes_it_away() {
    let below = "a=1 b=1 c=1 d=1 e/ e/x=1 s=1";
    let layers = [".wh.a= .wh.b= .wh.c= .wh.d= .wh.e= .wh.s= f=2", below];
    let (upper, union) = written(AUFS, AUFS, &layers);
    union.write("a", "2").unwrap();
    union.hard_link("f", "b").unwrap();
    union.rename("f", "c").unwrap();
    union.symlink("t", "s").unwrap();
    union.create_dir("e").unwrap();
    assert_eq!(entries(&upper, ""), [".wh.d", "a", "b", "c", "e", "s"]);
    assert_eq!(entries(&upper, "e"), [".wh..wh..opq"]);
    assert!(union.read_dir("e").unwrap().is_empty());
}

#[test]
fn a_directory_is_opaque_where_it_takes_the_place_of_something() {
    let (upper, union) = written(AUFS, AUFS, &[".wh.gone=", "gone/ gone/x=1 d/"]);
    union.create_dir("new").unwrap();
    union.create_dir("gone").unwrap();
    assert_eq!(entries(&upper, "new"), [""; 0]);
    assert_eq!(entries(&upper, "gone"), [".wh..wh..opq"]);
    // It moves to a name below which there is something.
    union.rename("new", "d").unwrap();
    assert_eq!(entries(&upper, "d"), [".wh..wh..opq"]);
    let (upper, union) = written(OTHERWISE, AUFS, &["", ""]);
    union.create_dir("new").unwrap();
    assert_eq!(entries(&upper, "new"), [".wh..wh..opq"]);
}

#[test]
fn a_directory_with_lower_content_cannot_be_renamed() {
    let (upper, union) = written(AUFS, AUFS, &["", "d/ d/x=1 f=1"]);
    assert_eq!(errno(union.rename("d", "e")), Errno::XDEV);
    union.rename("f", "g").unwrap();
    assert_eq!(entries(&upper, ""), [".wh.f", "g"]);
    assert_eq!(seen(&union), "d/ d/x=1 g=1");
}

#[test]
fn no_attribute_is_written_for_a_mark() {
    let (upper, union) = written(AUFS, OVERLAY, &["", "d/ d/x=1 d/l~d/x e/ e/f=1 w-", "w=1"]);
    union.write("d/x", "2").unwrap();
    union.write("e/new", "2").unwrap();
    union.create_dir("w").unwrap();
    union.rename("d/x", "e/x").unwrap();
    union.rename("w", "e/w").unwrap();
    assert_eq!(seen(&union), "d/ d/l=1 e/ e/f=1 e/new=2 e/w/ e/x=2");
    for (dir, file) in [
        ("", ""),
        ("d", ""),
        ("e", ""),
        ("e/w", ""),
        ("e", "x"),
        ("e", "new"),
    ] {
        let dir = dir_at(&upper, dir);
        let node = match file {
            "" => dir,
            file => dir.lookup(name(file)).unwrap().unwrap().node,
        };
        assert!(node.xattr_names().unwrap().is_empty(), "{file}");
    }
}

#[test]
fn a_device_0_0_and_overlayfs_attributes_are_nothing_special() {
    let (upper, union) = written(AUFS, AUFS, &["", "f=1 d/ d/x=1"]);
    let device = NewKind::CharDevice(0);
    union.make("device".as_ref(), device, 0o600).unwrap();
    let attr = union.symlink_metadata("device").unwrap();
    assert_eq!((attr.kind, attr.rdev), (FileKind::CharDevice, 0));
    union
        .set_xattr("d", "trusted.overlay.opaque", b"y")
        .unwrap();
    assert_eq!(union.xattr("d", "trusted.overlay.opaque").unwrap(), b"y");
    assert!(union.exists("d/x").unwrap());
    let d = dir_at(&upper, "d");
    assert!(d.xattr(b"trusted.overlay.opaque").unwrap().is_some());
}

#[test]
fn what_a_crash_left_beside_each_other_is_seen_and_settled_by_the_next_change() {
    let layers = ["f=2 .wh.f= d/ d/y=2 .wh.d= g=2 .wh.g=", "f=1 d/ d/x=1 g=1"];
    let (upper, union) = written(AUFS, AUFS, &layers);
    assert_eq!(seen(&union), "d/ d/y=2 f=2 g=2");
    union.rename("f", "g").unwrap();
    union.rename("d", "h").unwrap();
    assert_eq!(entries(&upper, ""), [".wh.d", ".wh.f", "g", "h"]);
    assert_eq!(seen(&union), "g=2 h/ h/y=2");
}

#[test]
fn branches_of_aufs_and_layers_of_overlayfs_lie_on_each_other() {
    let layers = ["", "a- d/! d/y=1", "a=0 b=0 d/ d/x=0"];
    let (upper, union) = written(AUFS, OVERLAY, &layers);
    assert_eq!(seen(&union), "b=0 d/ d/y=1");
    union.remove_file("b").unwrap();
    union.write("a", "2").unwrap();
    assert_eq!(entries(&upper, ""), [".wh.b", "a"]);
    let (upper, union) = written(
        OVERLAY,
        AUFS,
        &["", ".wh.a= d/ d/.wh..wh..opq= d/y=1", layers[2]],
    );
    assert_eq!(seen(&union), "b=0 d/ d/y=1");
    union.remove_file("b").unwrap();
    union.write(".wh.d", "a name like others").unwrap();
    assert_eq!(entries(&upper, ""), [".wh.d", "b"]);
}

#[test]
fn a_file_whose_content_lies_below_is_copied_whole_and_without_its_mark() {
    let (upper, attributes) = (MemStorage::new(), stored("f%"));
    let root = WritableStorage::root(&*attributes);
    let f = root.lookup_writable(name("f")).unwrap().unwrap().node;
    let size = SetAttr {
        size: Some(7),
        ..SetAttr::default()
    };
    f.set_attr(&size).unwrap();
    let stack = Stack::new().upper_as(upper.clone(), AUFS);
    let stack = stack.lower(attributes).lower(stored("f=content"));
    let union = UnionFs::new(stack).unwrap();
    assert!(union.xattr("f", "trusted.overlay.metacopy").is_err());
    union.set_xattr("f", "user.note", b"1").unwrap();
    assert_eq!(union.read("f").unwrap(), b"content");
    let copy = dir_at(&upper, "").lookup(name("f")).unwrap().unwrap();
    assert_eq!(copy.attr.size, 7);
    assert_eq!(copy.node.xattr_names().unwrap(), [b"user.note"]);
}

#[test]
fn a_written_branch_may_become_a_lower_one() {
    let (upper, union) = written(AUFS, AUFS, &["", "a=1 d/ d/x=1 e/"]);
    union.remove_file("a").unwrap();
    union.remove_dir_all("d").unwrap();
    union.create_dir("d").unwrap();
    union.write("e/new", "2").unwrap();
    let before = seen(&union);
    drop(union);
    for dialect in [AUFS, CONTAINERS] {
        let stack = Stack::new().lower_as(upper.clone(), dialect);
        let stack = stack.lower_as(stored("a=1 d/ d/x=1 e/"), dialect);
        assert_eq!(seen(&UnionFs::new(stack).unwrap()), before);
    }
}

#[test]
fn at_the_last_link_of_the_base_there_is_a_new_one() {
    let faults = Faults::new(Scope::Changes);
    let upper = MemStorage::new();
    let faulty = Faulty::new(upper.clone(), &faults);
    let stack = Stack::new().upper_as(faulty, AUFS);
    let union = UnionFs::new(stack.lower_as(stored("a= b= c="), AUFS)).unwrap();
    union.remove_file("a").unwrap();
    let links = |entry: &str| {
        let attr = dir_at(&upper, "").attr_of(name(entry)).unwrap().unwrap();
        (attr.ino, attr.nlink)
    };
    let old = links(OWN[0]);
    assert_eq!(links(".wh.a"), old);
    faults.arm(Plan::FaultAt(1, Errno::MLINK));
    union.remove_file("b").unwrap();
    assert_eq!(faults.failed(), Some("link"));
    faults.arm(Plan::Watch);
    assert_eq!(links(".wh.b").1, 1);
    assert_ne!(links(OWN[0]).0, old.0);
    union.remove_file("c").unwrap();
    assert_eq!(links(".wh.c"), links(OWN[0]));
    assert_eq!(seen(&union), "");
}

#[test]
fn what_needs_marks_that_aufs_has_not_is_refused() {
    let asked = [
        Options {
            redirect_dir: RedirectDir::On,
            ..Options::default()
        },
        Options {
            metacopy: Metacopy::On,
            ..Options::default()
        },
        Options {
            index: Index::On,
            ..Options::default()
        },
    ];
    for options in asked {
        let stack = Stack::new().upper_as(MemStorage::new(), AUFS);
        let refused = Union::with_options(stack.lower(MemStorage::new()), options);
        assert_eq!(errno(refused), Errno::OPNOTSUPP);
    }
}

#[test]
fn a_whiteout_that_is_a_directory_goes_with_all_in_it() {
    let (upper, union) = written(AUFS, AUFS, &[".wh.f/ .wh.f/x= d/ d/.wh.y/", "f=1 d/ d/y=1"]);
    assert_eq!(seen(&union), "d/");
    union.write("f", "2").unwrap();
    union.remove_dir("d").unwrap();
    assert_eq!(entries(&upper, ""), [".wh.d", "f"]);
}

#[test]
fn a_name_of_the_wrong_type_in_the_root_is_damage() {
    for layer in [".wh..wh.aufs/", ".wh..wh.plnk=", ".wh..wh.orph="] {
        let stack = Stack::new().upper_as(stored(layer), AUFS);
        assert_eq!(errno(Union::new(stack)), Errno::IO, "{layer}");
    }
}

#[test]
fn an_attribute_of_another_dialect_stays_what_it_is() {
    let upper: Arc<MemStorage> = stored("d/");
    let root = WritableStorage::root(&*upper);
    let d = root.lookup_writable(name("d")).unwrap().unwrap().node;
    d.set_xattr(b"trusted.overlay.redirect", b"e", SetXattr::Any)
        .unwrap();
    let stack = Stack::new().upper_as(upper.clone(), AUFS);
    let union = UnionFs::new(stack.lower_as(stored("d/ d/x=1 e/ e/y=1"), AUFS)).unwrap();
    assert_eq!(seen(&union), "d/ d/x=1 e/ e/y=1");
    assert_eq!(union.xattr("d", "trusted.overlay.redirect").unwrap(), b"e");
    assert!(Storage::root(&*upper).xattr_names().unwrap().is_empty());
}
