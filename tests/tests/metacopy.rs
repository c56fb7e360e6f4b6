//! Files whose attributes are copied up without their data, by us and by the
//! kernel, each reading what the other made.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use overlay_core::attr::{SetAttr, SetTime, Timestamp};
use overlay_core::fs::UnionFs;
use overlay_core::union::{Metacopy, OpenOptions, Options, RedirectDir};
use overlay_tests::ground::Ground;
use overlay_tests::runner::{root, skip};
use overlay_tests::subject::kernel::Kernel;
use overlay_tests::subject::mounted::Mounted;

const MARK: &str = "trusted.overlay.metacopy";
/// Blocks that a filesystem may take for extended attributes.
const ATTRIBUTES: u64 = 8;
const KERNEL: &str = "metacopy=on,redirect_dir=on,index=off";

fn on() -> Options {
    Options {
        redirect_dir: RedirectDir::On,
        metacopy: Metacopy::On,
        ..Options::default()
    }
}

fn content() -> Vec<u8> {
    (0..200_000u32).flat_map(u32::to_le_bytes).collect()
}

/// A lower layer with `f`, `d/f` and `e/`.
fn ground() -> Ground {
    let ground = Ground::new(&["l"], &[]);
    ground.write("l/f", &content());
    ground.write("l/d/f", &content());
    fs::create_dir(ground.path("l/e")).unwrap();
    ground
}

fn mark(path: &Path) -> bool {
    let mut value = [0; 64];
    rustix::fs::lgetxattr(path, MARK, &mut value[..]).is_ok()
}

fn blocks(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().blocks()
}

fn chmod(fs: &UnionFs, path: &str, mode: u32) {
    let set = SetAttr {
        mode: Some(mode),
        ..SetAttr::default()
    };
    fs.set_attr(path, &set).unwrap();
}

#[test]
fn a_change_of_attributes_copies_no_data_and_the_kernel_reads_it() {
    if skip(Kernel::available()) {
        return;
    }
    let ground = ground();
    let ours = ground.ours(on());
    let before = ours.metadata("f").unwrap();
    chmod(&ours, "f", 0o600);
    ours.set_xattr("d/f", "user.note", b"kept").unwrap();
    let after = ours.metadata("f").unwrap();
    assert_eq!((after.mode, after.size), (0o600, before.size));
    assert_eq!((after.ino, after.blocks), (before.ino, before.blocks));
    for path in ["u/f", "u/d/f"] {
        let path = ground.path(path);
        assert!(mark(&path));
        assert!(blocks(&path) <= ATTRIBUTES, "no data was copied");
        assert_eq!(fs::metadata(&path).unwrap().len(), before.size);
    }
    assert_eq!(ours.read("f").unwrap(), content());
    drop(ours);
    let kernel = ground.kernel(KERNEL);
    assert_eq!(fs::read(kernel.path("f")).unwrap(), content());
    assert_eq!(fs::read(kernel.path("d/f")).unwrap(), content());
    let mode = fs::metadata(kernel.path("f")).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn the_data_follows_at_the_first_write() {
    if skip(root()) {
        return;
    }
    let ground = ground();
    let ours = ground.ours(on());
    let reader = ours.open("f").unwrap();
    chmod(&ours, "f", 0o4750);
    let second = ours.open("f").unwrap();
    let before = ours.metadata("f").unwrap();
    let write = OpenOptions {
        write: true,
        ..OpenOptions::default()
    };
    let writer = ours.open_with("f", write).unwrap();
    let opened = ours.metadata("f").unwrap();
    assert_eq!(
        (opened.mode, opened.mtime, opened.ino),
        (before.mode, before.mtime, before.ino),
        "opening changes nothing that shows"
    );
    assert!(!mark(&ground.path("u/f")));
    writer.write_all_at(b"new", 1000).unwrap();
    let mut expected = content();
    expected[1000..1003].copy_from_slice(b"new");
    assert_eq!(reader.read_all().unwrap(), expected);
    assert_eq!(second.read_all().unwrap(), expected);
    assert_eq!(ours.read("f").unwrap(), expected);
    assert_eq!(fs::read(ground.path("u/f")).unwrap(), expected);
    assert_eq!(fs::read(ground.path("l/f")).unwrap(), content());
    drop((ours, reader, second, writer));
    assert_eq!(ground.ours(on()).read("f").unwrap(), expected);
}

#[test]
fn cutting_to_nothing_copies_nothing() {
    if skip(root()) {
        return;
    }
    let ground = ground();
    let ours = ground.ours(on());
    for path in ["f", "d/f"] {
        chmod(&ours, path, 0o600);
    }
    let cut = OpenOptions {
        truncate: true,
        write: true,
        append: false,
    };
    ours.open_with("f", cut).unwrap();
    let set = SetAttr {
        size: Some(0),
        ..SetAttr::default()
    };
    ours.set_attr("d/f", &set).unwrap();
    for path in ["f", "d/f"] {
        assert_eq!(ours.read(path).unwrap(), b"");
        let upper = ground.path("u").join(path);
        assert!(!mark(&upper));
        assert!(blocks(&upper) <= ATTRIBUTES);
    }
}

#[test]
fn a_file_keeps_its_data_below_when_it_is_renamed_and_linked() {
    if skip(Kernel::available()) {
        return;
    }
    let mut ground = ground();
    ground.write("l/g", b"the other");
    let ours = ground.ours(on());
    ours.rename("f", "g").unwrap();
    ours.rename("d", "c").unwrap();
    chmod(&ours, "c/f", 0o604);
    ours.hard_link("c/f", "e/h").unwrap();
    ours.rename("c/f", "c/i").unwrap();
    ours.rename("g", "e/f").unwrap();
    ours.create_dir("d").unwrap();
    ours.rename("c", "d/c").unwrap();
    let shows = |read: &dyn Fn(&str) -> Vec<u8>| {
        for path in ["e/f", "e/h", "d/c/i"] {
            assert_eq!(read(path), content(), "{path}");
        }
    };
    shows(&|path| ours.read(path).unwrap());
    drop(ours);
    for path in ["u/e/f", "u/e/h", "u/d/c/i"] {
        assert!(mark(&ground.path(path)));
        assert!(blocks(&ground.path(path)) <= ATTRIBUTES);
    }
    let ours = ground.ours(on());
    shows(&|path| ours.read(path).unwrap());
    drop(ours);
    let kernel = ground.kernel(KERNEL);
    shows(&|path| fs::read(kernel.path(path)).unwrap());
    drop(kernel);
    // As a lower layer, with another metacopy above it.
    ground.rotate("middle");
    let ours = ground.ours(on());
    ours.rename("e/f", "f").unwrap();
    chmod(&ours, "d/c/i", 0o640);
    assert_eq!(ours.read("f").unwrap(), content());
    assert_eq!(ours.read("d/c/i").unwrap(), content());
    drop(ours);
    let kernel = ground.kernel(KERNEL);
    assert_eq!(fs::read(kernel.path("f")).unwrap(), content());
    assert_eq!(fs::read(kernel.path("d/c/i")).unwrap(), content());
    drop(kernel);
    let ours = ground.ours(on());
    let write = OpenOptions {
        write: true,
        ..OpenOptions::default()
    };
    ours.open_with("f", write).unwrap();
    assert_eq!(fs::read(ground.path("u/f")).unwrap(), content());
}

#[test]
fn what_the_kernel_made_is_read_whatever_is_made_here() {
    if skip(Kernel::available()) {
        return;
    }
    let ground = ground();
    let kernel = ground.kernel(KERNEL);
    fs::set_permissions(kernel.path("f"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::hard_link(kernel.path("f"), kernel.path("e/link")).unwrap();
    fs::rename(kernel.path("d/f"), kernel.path("e/moved")).unwrap();
    fs::rename(kernel.path("d"), kernel.path("e/d")).unwrap();
    drop(kernel);
    assert!(mark(&ground.path("u/f")), "the kernel made a metacopy");
    for options in [on(), Options::default()] {
        let ours = ground.ours(options);
        for path in ["f", "e/link", "e/moved"] {
            assert_eq!(ours.read(path).unwrap(), content(), "{path}");
        }
        assert_eq!(ours.metadata("f").unwrap().mode, 0o640);
        assert_ne!(ours.metadata("f").unwrap().blocks, 0);
        assert!(
            ours.xattr("f", MARK).is_err(),
            "our own attribute is hidden"
        );
    }
    let nofollow = Options {
        metacopy: Metacopy::NoFollow,
        ..Options::default()
    };
    let error = ground.ours(nofollow).read("f").unwrap_err();
    assert!(error.to_string().contains("metacopy"), "{error}");
}

#[test]
fn without_metacopy_a_copy_is_whole() {
    if skip(root()) {
        return;
    }
    let ground = ground();
    let ours = ground.ours(Options::default());
    chmod(&ours, "f", 0o600);
    assert!(!mark(&ground.path("u/f")));
    assert_eq!(fs::read(ground.path("u/f")).unwrap(), content());
}

#[test]
fn a_metacopy_without_data_is_an_error_and_its_neighbours_are_seen() {
    if skip(Kernel::available()) {
        return;
    }
    let ground = ground();
    ground.ours(on()).rename("f", "g").unwrap();
    for (lower, replace) in [
        ("l/f", None),
        ("l/f", Some("directory")),
        ("l/f", Some("symlink")),
    ] {
        let lower = ground.path(lower);
        let _gone = fs::remove_file(&lower);
        let _gone = fs::remove_dir(&lower);
        match replace {
            None => {}
            Some("directory") => fs::create_dir(&lower).unwrap(),
            Some(_) => symlink("d/f", &lower).unwrap(),
        }
        let ours = ground.ours(on());
        let error = ours.metadata("g").unwrap_err();
        assert!(error.to_string().contains("data"), "{error}");
        let names = ours.read_dir("/").unwrap();
        assert!(names.iter().any(|entry| entry.name == "g"));
        drop(ours);
        let kernel = ground.kernel(KERNEL);
        let error = fs::metadata(kernel.path("g")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO));
    }
}

/// The kernel's "data-only" layers, as composefs uses them.
#[test]
fn data_only_layers_show_nothing_and_hold_the_data_of_redirected_files() {
    if skip(Kernel::available()) {
        return;
    }
    let ground = Ground::new(&["l"], &["first", "second"]);
    ground.write("second/store/blob", &content());
    ground.write("second/both", b"second");
    ground.write("first/both", b"first");
    let stand_in = |path: &str, size: u64, to: &str| {
        let path = ground.write(path, b"");
        fs::File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_len(size))
            .unwrap();
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::lsetxattr(&path, MARK, b"", flags).unwrap();
        let redirect = "trusted.overlay.redirect";
        rustix::fs::lsetxattr(&path, redirect, to.as_bytes(), flags).unwrap();
    };
    let size = content().len() as u64;
    stand_in("l/app", size, "/store/blob");
    stand_in("l/both", 5, "/both");
    stand_in("l/missing", 5, "/nothing");
    let check = |read: &dyn Fn(&str) -> Option<Vec<u8>>| {
        assert_eq!(read("app").as_deref(), Some(&*content()));
        assert_eq!(read("both").as_deref(), Some(&b"first"[..]));
        assert_eq!(read("missing"), None);
        assert_eq!(read("store/blob"), None);
    };
    let followed = Options {
        metacopy: Metacopy::NoFollow,
        redirect_dir: RedirectDir::NoFollow,
        ..Options::default()
    };
    for options in [on(), followed] {
        let ours = ground.ours(options);
        check(&|path| ours.read(path).ok());
        assert_eq!(ours.metadata("missing").unwrap().size, 5, "looked for late");
        assert_eq!(ours.read_dir("/").unwrap().len(), 3);
    }
    let ours = ground.ours(on());
    chmod(&ours, "app", 0o755);
    ours.rename("app", "moved").unwrap();
    assert!(mark(&ground.path("u/moved")));
    assert_eq!(ours.read("moved").unwrap(), content());
    drop(ours);
    let kernel = ground.kernel(KERNEL);
    assert_eq!(fs::read(kernel.path("moved")).unwrap(), content());
    assert_eq!(fs::read(kernel.path("both")).unwrap(), b"first");
    drop(kernel);
    let ours = ground.ours(on());
    ours.open_with(
        "moved",
        OpenOptions {
            write: true,
            ..OpenOptions::default()
        },
    )
    .unwrap();
    assert_eq!(fs::read(ground.path("u/moved")).unwrap(), content());
}

/// What a data-only layer should have is looked for when it is needed.
#[test]
fn data_that_a_data_only_layer_lacks_is_missing_when_it_is_needed() {
    if skip(Kernel::available()) || skip(Mounted::available()) {
        return;
    }
    let answers = |point: &Path| {
        let path = point.join("f");
        let moved = point.join("moved");
        let file = |options: &mut fs::OpenOptions| options.open(&path).map(drop);
        let mode = fs::Permissions::from_mode(0o600);
        let flags = rustix::fs::XattrFlags::empty();
        let answers = [
            fs::metadata(&path).map(|attr| assert_eq!((attr.len(), attr.blocks()), (5, 8))),
            file(fs::File::options().read(true)),
            file(fs::File::options().append(true)),
            file(fs::File::options().write(true).truncate(true)),
            fs::set_permissions(&path, mode),
            rustix::fs::setxattr(&path, "user.a", b"v", flags).map_err(Into::into),
            fs::rename(&path, &moved),
            fs::hard_link(&path, &moved),
            fs::remove_file(&path),
            fs::metadata(&path).map(drop),
        ];
        answers.map(|answer| answer.err().and_then(|error| error.raw_os_error()))
    };
    let ground = || {
        let ground = Ground::new(&["l"], &["data"]);
        let path = ground.write("l/f", b".....");
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::lsetxattr(&path, MARK, b"", flags).unwrap();
        rustix::fs::lsetxattr(&path, "trusted.overlay.redirect", b"/none", flags).unwrap();
        ground
    };
    let one = ground();
    let kernel = one.kernel(KERNEL);
    let expected = answers(&kernel.path(""));
    drop(kernel);
    assert_eq!(expected[0], None);
    assert_eq!(expected[1], Some(libc::ENOENT));
    let other = ground();
    let ours = other.ours(on());
    let union = std::sync::Arc::clone(ours.union());
    let handle = overlay_fuse::Mount::builder(union)
        .mount(other.path("m"))
        .unwrap();
    assert_eq!(answers(&other.path("m")), expected);
    handle.unmount().unwrap();
    // Nothing was copied up: what is there is the whiteout.
    assert_eq!(fs::symlink_metadata(other.path("u/f")).unwrap().len(), 0);
    assert!(!other.path("u/moved").exists());
}

#[test]
fn attributes_set_while_the_data_is_brought_are_not_lost() {
    if skip(root()) {
        return;
    }
    let ground = Ground::new(&["l"], &[]);
    for round in 0..20 {
        ground.write(&format!("l/{round}"), &content());
    }
    let ours = ground.ours(on());
    for round in 0..20 {
        let name = round.to_string();
        chmod(&ours, &name, 0o600);
        let time = Timestamp {
            sec: 1000,
            nsec: round,
        };
        let set = SetAttr {
            mode: Some(0o640),
            mtime: Some(SetTime::To(time)),
            ..SetAttr::default()
        };
        let write = OpenOptions {
            write: true,
            ..OpenOptions::default()
        };
        std::thread::scope(|scope| {
            scope.spawn(|| ours.set_attr(&name, &set).unwrap());
            ours.open_with(&name, write).unwrap();
        });
        let attr = ours.metadata(&name).unwrap();
        assert_eq!((attr.mode, attr.mtime), (0o640, time));
        assert_eq!(ours.read(&name).unwrap(), content());
    }
}

/// A data-only branch is there to be led to, the others are not: what has a
/// mark may have been written by anybody.
#[test]
fn a_data_only_layer_opens_no_way_into_the_others() {
    if skip(Kernel::available()) {
        return;
    }
    let ground = Ground::new(&["l", "l2"], &["data"]);
    ground.write("l2/secret/key", b"secret");
    ground.write("data/blob", b"public");
    for (name, to) in [("f", "/secret/key"), ("g", "/blob")] {
        let path = ground.write(&format!("l/{name}"), b"......");
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::lsetxattr(&path, MARK, b"", flags).unwrap();
        rustix::fs::lsetxattr(&path, "trusted.overlay.redirect", to.as_bytes(), flags).unwrap();
    }
    let refusing = Options {
        metacopy: Metacopy::NoFollow,
        redirect_dir: RedirectDir::NoFollow,
        ..Options::default()
    };
    let ours = ground.ours(refusing);
    // Looked for in the data-only layer alone, where it is not.
    assert!(ours.read("f").is_err());
    assert_eq!(ours.read("g").unwrap(), b"public");
    drop(ours);
    let kernel = ground.kernel("metacopy=off,redirect_dir=nofollow");
    assert!(fs::read(kernel.path("f")).is_err());
    drop(kernel);
    let ours = ground.ours(on());
    assert_eq!(ours.read("f").unwrap(), b"secret", "where it is followed");
}

/// A look-up that began before the data was brought, and ended after the inode
/// had died: what it saw is not what is.
#[test]
fn regression_data_that_was_brought_is_not_brought_again() {
    if skip(root()) {
        return;
    }
    const FILES: usize = 400;
    let ground = Ground::new(&["l"], &[]);
    for file in 0..FILES {
        ground.write(&format!("l/{file}"), b"below");
    }
    let ours = ground.ours(on());
    let at = std::sync::atomic::AtomicUsize::new(0);
    let order = std::sync::atomic::Ordering::Relaxed;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                let file = at.load(order);
                if file == FILES {
                    return;
                }
                ours.metadata(file.to_string()).unwrap();
            }
        });
        for file in 0..FILES {
            at.store(file, order);
            let name = file.to_string();
            chmod(&ours, &name, 0o600);
            for text in [b"first", b"again"] {
                let write = OpenOptions {
                    write: true,
                    ..OpenOptions::default()
                };
                let opened = ours.open_with(&name, write).unwrap();
                opened.write_all_at(text, 0).unwrap();
                drop(opened);
                assert_eq!(ours.read(&name).unwrap(), text);
            }
        }
        at.store(FILES, order);
    });
}
