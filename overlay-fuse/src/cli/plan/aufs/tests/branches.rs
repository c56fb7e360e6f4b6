//! Branches, their permissions, and changes of them.

use super::*;

fn permission(text: &str) -> Permission {
    Permission::read(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn the_first_branch_can_be_written_and_the_others_cannot() {
    for list in [
        "br:/a:/b:/c",
        "br=/a:/b:/c",
        "dirs=/a:/b:/c",
        "br:/a,br:/b:/c",
    ] {
        assert_eq!(
            branches(&mount(list)),
            ["/a=rw", "/b=ro", "/c=ro"],
            "{list}"
        );
    }
    let read_only = AufsMount::new(words("br:/a:/b"), MountAccess::ReadOnly).unwrap();
    assert_eq!(branches(&read_only), ["/a=ro", "/b=ro"]);
}

#[test]
fn what_is_said_of_a_branch_counts() {
    let said = "br:/a=ro:/b=rw+nolwh:/c=rr+wh";
    assert_eq!(branches(&mount(said)), ["/a=ro", "/b=rw+nolwh", "/c=rr+wh"]);
}

#[test]
fn dockers_line_is_understood() {
    let line =
        "br:/d/diff/c=rw:/d/diff/1=ro+wh:/d/diff/0=ro+wh,dio,xino=/dev/shm/aufs.xino,dirperm1";
    let mut docker = mount(line);
    assert_eq!(docker.xino, Xino::File("/dev/shm/aufs.xino".into()));
    for layer in words("append:/d/diff/x=ro+wh,append:/d/diff/y=ro+wh") {
        docker.apply(layer, MountAccess::ReadWrite).unwrap();
    }
    assert_eq!(docker.branches.len(), 5);
    assert_eq!(docker.branches[4].path, Path::new("/d/diff/y"));
    assert!(docker.branches[4].permission.has(Attribute::Whiteouts));
}

#[test]
fn changes_are_made_from_left_to_right() {
    let changed =
        mount("br:/a:/b,append:/c,prepend:/d,add:1:/e=rr,ins:4:/f,mod:/b=rw+nolwh,del:/a");
    let expected = ["/d=rw", "/e=rr", "/b=rw+nolwh", "/f=ro", "/c=ro"];
    assert_eq!(branches(&changed), expected);
    // aufs: what is put on top can be written, what is appended never.
    assert_eq!(branches(&mount("append:/a,add:0:/b")), ["/b=rw", "/a=ro"]);
}

#[test]
fn a_change_that_cannot_be_changes_nothing() {
    let mut stack = mount("br:/a:/b");
    for (list, answer) in [
        (
            "add:3:/c",
            "there are 2 branches: write an index from 0 to 2",
        ),
        ("append:/a", "append=/a cannot be: it is a branch already"),
        (
            "prepend:/b",
            "it is a branch already: name each directory once",
        ),
        ("br:/c:/a", "it is a branch already"),
        ("del:/c", "it is no branch: the branches are /a, /b"),
        ("mod:/c=rw", "mod=/c cannot be: it is no branch"),
    ] {
        for word in words(list) {
            let error = stack.apply(word, MountAccess::ReadWrite).unwrap_err();
            let told = error.to_string();
            assert!(told.contains(answer), "{list}: {told}");
            assert_eq!(branches(&stack), ["/a=rw", "/b=ro"], "{list}");
        }
    }
    let [last] = words("del:/a").try_into().unwrap();
    let mut one = mount("br:/a");
    let error = one.apply(last, MountAccess::ReadWrite).unwrap_err();
    assert!(error.to_string().contains("unmount instead"), "{error}");
}

#[test]
fn a_mount_needs_a_branch() {
    let error = AufsMount::new(words("udba=none"), MountAccess::ReadWrite).unwrap_err();
    assert!(error.to_string().contains("write br:DIR"), "{error}");
}

#[test]
fn a_backslash_makes_any_directory_a_branch() {
    let list = r"br:/a\:b=rw:/c\,d\=e:/f\\g=ro+wh,append:/h\:i=rr";
    let odd = mount(list);
    let paths: Vec<&Path> = odd.branches.iter().map(|b| b.path.as_path()).collect();
    let expected = ["/a:b", "/c,d=e", r"/f\g", "/h:i"].map(Path::new);
    assert_eq!(paths, expected);
    let written = branches(&odd).join(OsStr::new(":"));
    let mut again = OsString::from("br:");
    again.push(written);
    let again = AufsMount::new(read(&again).unwrap(), MountAccess::ReadWrite).unwrap();
    assert_eq!(again, odd);
}

#[test]
fn a_directory_is_any_bytes() {
    let list = OsStr::from_bytes(b"br:/\xff\\:x=rw");
    let odd = AufsMount::new(read(list).unwrap(), MountAccess::ReadWrite).unwrap();
    let path = PathBuf::from(OsStr::from_bytes(b"/\xff:x"));
    assert_eq!(odd.branches[0].path, path);
}

#[test]
fn every_permission_is_read_and_written_back() {
    for access in [Access::ReadWrite, Access::ReadOnly, Access::RealReadOnly] {
        assert_eq!(permission(access.word()), access.into());
        for row in ATTRIBUTES {
            let text = format!("{}+{}", access.word(), row.word);
            match Permission::read(&text) {
                Ok(read) => {
                    assert_eq!(read.to_string(), text);
                    assert!(row.attributes.iter().all(|it| read.has(*it)));
                }
                Err(why) => {
                    assert!(row.fits != Fits::Any || row.attributes.is_empty());
                    assert!(why.contains("leave it out"), "{why}");
                }
            }
        }
    }
    let many = permission("rw+unpin+nolwh");
    assert_eq!(many.to_string(), "rw+nolwh+unpin");
}

#[test]
fn attributes_fit_the_access() {
    for (text, answer) in [
        (
            "rw+wh",
            "wh has no meaning on a branch that is rw, only on ro and rr",
        ),
        (
            "ro+nolwh",
            "nolwh has no meaning on a branch that is ro, only on rw",
        ),
        (
            "rr+moo",
            "moo has no meaning on a branch that is rr, only on rw",
        ),
        (
            "rw+coo_reg+moo",
            "coo_reg is not supported: a file is copied when it is changed: leave it out",
        ),
        (
            "ro+whx",
            r#""whx" is no attribute of a branch: there are wh, nolwh,"#,
        ),
        ("ro+", r#""" is no attribute"#),
        ("", r#""" is no permission: write rw, ro or rr"#),
        ("nfsro", r#""nfsro" is no permission"#),
        ("RW", r#""RW" is no permission"#),
    ] {
        let told = Permission::read(text).unwrap_err();
        assert!(told.contains(answer), "{text}: {told}");
        let told = refusal(&format!("br:/a={text}"));
        assert!(told.contains(answer), "{text}: {told}");
    }
}

#[test]
fn branches_that_are_mistyped_are_answered() {
    for (list, answer) in [
        (
            "br",
            "the option br has no value: write br=BRANCH[:BRANCH...]",
        ),
        ("br:", "the option br has no value"),
        (
            "br:/a::/b",
            "a branch has no directory: write DIR or DIR=PERMISSION",
        ),
        ("br:=rw", "a branch has no directory"),
        ("br:/a=b=rw", r"the branch /a=b=rw has two '=': write '\='"),
        ("add:/a", "write INDEX:DIR[=PERMISSION], with 0 for the top"),
        ("add:-1:/a", "write INDEX:DIR"),
        ("add:+1:/a", "write INDEX:DIR"),
        ("add::/a", "write INDEX:DIR"),
        ("add:1:/a:/b", "write INDEX:DIR"),
        (
            "append:/a:/b",
            "it takes one branch: repeat the option for more",
        ),
        ("del:/a=ro", "a branch is removed by its directory alone"),
        ("mod:/a", "it needs the new permission: write DIR=rw"),
    ] {
        let told = refusal(list);
        assert!(told.contains(answer), "{list}: {told}");
    }
}
