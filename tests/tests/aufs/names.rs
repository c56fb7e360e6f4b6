//! Names that a branch of AuFS cannot have, and those that it has for itself.

use overlay_core::attr::FileKind;
use overlay_core::layer::{NewKind, RenameMode, Storage};
use overlay_core::{Errno, Owner};
use overlay_tests::aufs::AUFS;

use crate::{OTHERWISE, OWN, dir_at, entries, errno, name, seen, written};

#[test]
fn a_name_of_aufs_can_neither_be_made_nor_seen() {
    let (_, union) = written(AUFS, AUFS, &["", "f= d/"]);
    let refused = [
        ".wh.x",
        ".wh.",
        ".wh..wh..opq",
        ".wh..wh.aufs",
        ".wh..wh.orph",
    ];
    for name in refused {
        assert_eq!(errno(union.write(name, "")), Errno::PERM);
        assert_eq!(errno(union.create_dir(name)), Errno::PERM);
        assert_eq!(errno(union.symlink("t", name)), Errno::PERM);
        let fifo = union.make(name.as_ref(), NewKind::Fifo, 0o600);
        assert_eq!(errno(fifo), Errno::PERM);
        assert_eq!(errno(union.hard_link("f", name)), Errno::PERM);
        assert_eq!(errno(union.rename("f", name)), Errno::PERM);
        assert_eq!(errno(union.rename("d", name)), Errno::PERM);
        let swapped = union.rename_with("f", name, RenameMode::Exchange);
        assert_eq!(errno(swapped), Errno::NOENT);
        assert_eq!(errno(union.rename(name, "g")), Errno::NOENT);
        assert_eq!(errno(union.remove_file(name)), Errno::NOENT);
        assert_eq!(errno(union.remove_dir(name)), Errno::NOENT);
        assert!(!union.exists(name).unwrap());
    }
    assert_eq!(seen(&union), "d/ f=");
}

#[test]
fn a_name_has_at_most_242_bytes() {
    let (longest, longer) = ("n".repeat(242), "n".repeat(243));
    let (upper, union) = written(AUFS, AUFS, &["", &format!("{longest}=1 {longer}=1 f=")]);
    let refused = |outcome| assert_eq!(errno(outcome), Errno::NAMETOOLONG);
    refused(union.write(&longer, ""));
    refused(union.create_dir(&longer));
    refused(union.symlink("t", &longer));
    refused(union.make(longer.as_ref(), NewKind::Fifo, 0o600));
    refused(union.hard_link("f", &longer));
    refused(union.rename("f", &longer));
    refused(union.rename(&longer, "g"));
    refused(union.remove_file(&longer));
    refused(union.remove_dir(&longer));
    refused(union.symlink_metadata(&longer).map(drop));
    assert_eq!(union.union().stat_fs().unwrap().namelen, 242);
    // The longest has room for everything that is done to it.
    union.remove_file(&longest).unwrap();
    assert_eq!(entries(&upper, ""), [format!(".wh.{longest}")]);
    union.create_dir(&longest).unwrap();
    union.remove_dir(&longest).unwrap();
    union.rename("f", &longest).unwrap();
    assert_eq!(union.read(&longest).unwrap(), b"");
}

#[test]
fn a_writable_branch_has_a_base_and_two_directories_that_nobody_sees() {
    let (upper, union) = written(AUFS, AUFS, &["d/"]);
    let root = Storage::root(&*upper);
    let attr = |own: &str| root.attr_of(name(own)).unwrap().unwrap();
    let base = attr(OWN[0]);
    assert_eq!(
        (base.kind, base.mode, base.size),
        (FileKind::Regular, 0o444, 0)
    );
    assert_eq!(
        Owner {
            uid: base.uid,
            gid: base.gid
        },
        process()
    );
    for own in &OWN[1..] {
        assert_eq!(
            (attr(own).kind, attr(own).mode),
            (FileKind::Directory, 0o700)
        );
    }
    assert_eq!(seen(&union), "d/");
    // Its own directory and `.`.
    assert_eq!(union.metadata("/").unwrap().nlink, 3);
}

fn process() -> Owner {
    Owner {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    }
}

#[test]
fn without_links_there_is_no_base() {
    let (upper, union) = written(OTHERWISE, AUFS, &[".wh..wh.aufs=", "f= g="]);
    union.remove_file("f").unwrap();
    union.remove_file("g").unwrap();
    let root = dir_at(&upper, "");
    assert!(root.attr_of(name(OWN[0])).unwrap().is_none());
    for whiteout in [".wh.f", ".wh.g"] {
        let attr = root.attr_of(name(whiteout)).unwrap().unwrap();
        assert_eq!((attr.mode, attr.size, attr.nlink), (0o444, 0, 1));
    }
    assert_eq!(seen(&union), "");
}
