//! Ids that are mapped or squashed.

use std::os::unix::fs::chown;

use super::common::can_mount;
use super::*;

#[test]
fn ids_are_shown_by_their_mapping_and_stored_back() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    give(scene.at("l/file"), 0, 7);
    give(scene.at("l/d"), 3, 3);
    for name in ["u", "l"] {
        give(scene.at(name), 0, 0);
    }
    let mounted = mount(
        &scene,
        "uidmapping=0:1000:1:1:100000:65535,gidmapping=:0:1000:1:1:200000:65535",
    );
    assert_eq!(owner(&mounted.point), (1000, 1000));
    assert_eq!(owner(mounted.at("file")), (1000, 200_006));
    assert_eq!(owner(mounted.at("d")), (100_002, 200_002));
    chown(mounted.at("file"), Some(100_004), Some(1000)).unwrap();
    assert_eq!(owner(mounted.at("file")), (100_004, 1000));
    assert_eq!(owner(scene.at("u/file")), (5, 0));
    // Who makes a file owns it, by the same mapping.
    chmod(&mounted.point, 0o777).unwrap();
    assert!(as_user(1000, 200_006, "touch", &[&mounted.at("made")]));
    assert_eq!(owner(mounted.at("made")), (1000, 200_006));
    assert_eq!(owner(scene.at("u/made")), (0, 7));
    // In a setgid directory the group is the directory's, as it is stored.
    chmod(&mounted.point, 0o2777).unwrap();
    assert!(as_user(1000, 1000, "mkdir", &[&mounted.at("inherits")]));
    assert_eq!(owner(scene.at("u/inherits")), owner(scene.at("u")));
}

#[test]
fn what_is_not_mapped_shows_as_nobody_cannot_be_set_and_is_not_lost() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    give(scene.at("l/file"), 5, 6);
    let mounted = mount(&scene, "uidmapping=0:0:1,gidmapping=0:0:1");
    assert_eq!(owner(mounted.at("file")), (65534, 65534));
    assert_eq!(errno(chown(mounted.at("d"), Some(5), None)), Errno::INVAL);
    assert_eq!(errno(chown(mounted.at("d"), None, Some(6))), Errno::INVAL);
    assert!(!scene.at("u/d").exists(), "nothing is copied up for it");
    // A copy keeps the owner that does not show.
    chmod(mounted.at("file"), 0o600).unwrap();
    assert_eq!(owner(mounted.at("file")), (65534, 65534));
    assert_eq!(owner(scene.at("u/file")), (5, 6));
    // Who has no stored id can make nothing (EOVERFLOW).
    chmod(&mounted.point, 0o777).unwrap();
    assert!(!as_user(5, 0, "touch", &[&mounted.at("made")]));
    assert!(!scene.at("u/made").exists());
}

#[test]
fn ids_in_acls_are_mapped_too() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let acl = |user: u32, group: u32| {
        let entry = |tag: u16, bits: u16, id: u32| {
            [
                &tag.to_le_bytes()[..],
                &bits.to_le_bytes(),
                &id.to_le_bytes(),
            ]
            .concat()
        };
        let none = u32::MAX;
        [
            vec![2, 0, 0, 0],
            entry(0x01, 6, none),
            entry(0x02, 6, user),
            entry(0x04, 4, none),
            entry(0x08, 4, group),
            entry(0x10, 6, none),
            entry(0x20, 0, none),
        ]
        .concat()
    };
    let name = "system.posix_acl_access";
    match set_xattr(scene.at("l/file"), name, &acl(5, 6)) {
        Err(Errno::OPNOTSUPP) => return common::skipped("no ACLs here"),
        outcome => outcome.unwrap(),
    }
    let mounted = mount(&scene, "uidmapping=0:0:1:5:100:1,gidmapping=0:0:1:6:200:1");
    assert_eq!(xattr(mounted.at("file"), name), Ok(acl(100, 200)));
    set_xattr(mounted.at("d"), name, &acl(100, 200)).unwrap();
    assert_eq!(xattr(scene.at("u/d"), name), Ok(acl(5, 6)));
    let set = set_xattr(mounted.at("d"), name, &acl(5, 200));
    assert_eq!(set, Err(Errno::INVAL));
    // It counts for whom it shows.
    assert!(as_user(100, 9, "cat", &[&mounted.at("file")]));
    assert!(!as_user(5, 9, "cat", &[&mounted.at("file")]));
}

#[test]
fn squashing_shows_one_owner_and_a_change_of_owner_succeeds() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    give(scene.at("l/file"), 5, 6);
    let cases = [
        ("squash_to_root", (0, 0)),
        ("squash_to_uid=44", (44, 6)),
        ("squash_to_gid=45,squash_to_root", (0, 45)),
        ("squash_to_uid=44,squash_to_gid=45", (44, 45)),
    ];
    for (option, shown) in cases {
        let mounted = mount(&scene, option);
        assert_eq!(owner(mounted.at("file")), shown, "{option}");
    }
    let mounted = mount(&scene, "squash_to_root");
    chown(mounted.at("file"), Some(9), Some(9)).unwrap();
    fs::write(mounted.at("made"), "").unwrap();
    for name in ["file", "made"] {
        assert_eq!(owner(mounted.at(name)), (0, 0));
    }
    // Root stores what was asked for, so nothing is lost.
    assert_eq!(owner(scene.at("u/file")), (9, 9));
}
