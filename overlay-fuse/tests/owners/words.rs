//! The words of the options.

use super::common::refused;
use super::*;

#[test]
fn bad_values_are_refused_with_what_would_be_right() {
    let scene = Scene::new();
    for (option, part) in [
        ("uidmapping=0:1000", "write INSIDE:OUTSIDE:COUNT"),
        ("uidmapping=", "write uidmapping=INSIDE:OUTSIDE:COUNT"),
        ("uidmapping", "write uidmapping=INSIDE:OUTSIDE:COUNT"),
        ("gidmapping=0:0:0", "a count is 1 at least"),
        ("gidmapping=0:5:2:1:9:1", "an id may be in one range only"),
        ("squash_to_uid=root", "write a number from 0 to 4294967294"),
        ("squash_to_gid=4294967295", "write a number from 0"),
        ("squash_to_root=1", "takes no value"),
        ("xattr_permissions=3", "write 0, 1 or 2"),
        ("xattr_permissions", "write xattr_permissions=0|1|2"),
        ("static_nlink=yes", "takes no value"),
        ("noacl=1", "takes no value"),
        ("noxattrs=2", "write 0 or 1"),
        ("timeout=soon", "write seconds, for example 0.5"),
        ("timeout=-1", "write seconds"),
        ("timeout=1e300", "write seconds"),
        ("timeout=NaN", "write seconds"),
        ("timeout", "write timeout=SECONDS"),
        ("context=", "write context=CONTEXT"),
        ("context=\"a", "write USER:ROLE:TYPE:LEVEL"),
    ] {
        let sentence = refused(&scene.run(["l", "u", "m", "-o", option]));
        assert!(sentence.contains(part), "{option}: {sentence}");
    }
    let help = Command::new(env!("CARGO_BIN_EXE_ufsmount"))
        .arg("--help")
        .output();
    let help = String::from_utf8(help.unwrap().stdout).unwrap();
    for option in [
        "uidmapping=",
        "gidmapping=",
        "squash_to_root",
        "squash_to_uid=",
        "squash_to_gid=",
        "xattr_permissions=",
        "static_nlink",
        "noacl",
        "noxattrs",
        "timeout=",
        "context=",
    ] {
        assert!(help.contains(option), "{option} is not in the help");
    }
}
