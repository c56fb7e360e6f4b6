//! Contents on a real mount, whichever way they go (`io=`): old descriptors,
//! mappings, times, and changes of the branches while files are in use.
#![allow(missing_docs, unsafe_code, clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use common::commands::ufs;
use common::{Scene, can_mount, eventually, said};

/// All values of `io`.
const WAYS: [&str; 2] = ["passthrough", "cached"];

/// Runs a test once for each way.
fn in_every_way(test: impl Fn(&str)) {
    if !can_mount() {
        return;
    }
    for io in WAYS {
        eprintln!("io={io}");
        test(io);
    }
}

fn content(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn read_at(file: &File, len: usize, offset: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let read = file.read_at(&mut bytes, offset).unwrap();
    bytes.truncate(read);
    bytes
}

/// Bytes that the process `pid` read from and wrote to files by itself: what the
/// server of a mount did not do, somebody else did.
fn served(scene: &Scene) -> (u64, u64) {
    let server = common::server(scene).expect("a server");
    let text = fs::read_to_string(format!("/proc/{server}/io")).unwrap();
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().parse().unwrap()
    };
    (of("rchar:"), of("wchar:"))
}

#[test]
fn files_of_the_upper_layer_pass_the_server_by_and_lower_ones_do_not() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let mib = vec![7u8; 1 << 20];
    fs::write(scene.at("u/upper"), &mib).unwrap();
    fs::write(scene.at("l/lower"), &mib).unwrap();
    let mounted = scene.mount_with("io=passthrough");
    let moved = |work: &dyn Fn()| {
        let before = served(&scene);
        work();
        let after = served(&scene);
        (after.0 - before.0 > 1 << 20, after.1 - before.1 > 1 << 20)
    };
    let read = |name: &str| assert_eq!(fs::read(mounted.at(name)).unwrap(), mib);
    assert_eq!(moved(&|| read("upper")), (false, false));
    assert_eq!(
        moved(&|| fs::write(mounted.at("new"), &mib).unwrap()),
        (false, false)
    );
    assert!(moved(&|| read("lower")).1);
    // A copy that is opened when it is there.
    File::options()
        .append(true)
        .open(mounted.at("lower"))
        .unwrap();
    eventually("the file is closed", || {
        moved(&|| read("lower")) == (false, false)
    });
}

#[test]
fn files_of_a_stack_without_an_upper_layer_pass_and_keep_their_access_times() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let mib = vec![7u8; 1 << 20];
    fs::write(scene.at("l/large"), &mib).unwrap();
    let old = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let times = fs::FileTimes::new().set_accessed(old);
    File::options()
        .write(true)
        .open(scene.at("l/large"))
        .unwrap()
        .set_times(times)
        .unwrap();
    let before = fs::metadata(scene.at("l/large")).unwrap();
    let mounted = scene.mount([scene.at("l"), scene.at("m")]);
    let start = served(&scene);
    assert_eq!(fs::read(mounted.at("large")).unwrap(), mib);
    if common::passes_through() {
        assert!(served(&scene).1 - start.1 < 1 << 20);
    }
    let after = fs::metadata(scene.at("l/large")).unwrap();
    let atime = |attr: &fs::Metadata| (attr.atime(), attr.atime_nsec());
    assert_eq!(atime(&after), atime(&before));
}

#[test]
fn a_descriptor_of_before_the_copy_up_sees_what_is_written_in_every_way() {
    in_every_way(|io| {
        let scene = Scene::new();
        let mounted = scene.mount_with(&format!("io={io}"));
        let path = mounted.at("file");
        let reader = File::open(&path).unwrap();
        assert_eq!(read_at(&reader, 100, 0), b"lower\n");
        let mut writer = File::options().append(true).open(&path).unwrap();
        writer.write_all(b"more\n").unwrap();
        assert_eq!(read_at(&reader, 100, 0), b"lower\nmore\n");
        // Another opens it while both are: in the way that it is open.
        let late = File::options().read(true).write(true).open(&path).unwrap();
        late.write_all_at(b"LATE", 0).unwrap();
        assert_eq!(read_at(&reader, 100, 0), b"LATEr\nmore\n");
        drop((reader, writer, late));
        // And once all are closed, in the other way.
        thread::sleep(Duration::from_millis(50));
        fs::write(&path, "anew").unwrap();
        assert_eq!(content(&path), "anew");
        assert_eq!(content(&scene.at("l/file")), "lower\n");
        assert_eq!(content(&scene.at("u/file")), "anew");
    });
}

#[test]
fn what_was_cached_before_is_not_shown_after_a_write_past_the_cache() {
    in_every_way(|io| {
        let scene = Scene::new();
        let mounted = scene.mount_with(&format!("io={io}"));
        let path = mounted.at("file");
        for round in 0..20 {
            let name = format!("{round:06}");
            // Of the same size, so that nothing but the content tells.
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .write_all_at(name.as_bytes(), 0)
                .unwrap();
            assert_eq!(content(&path), name);
            if round == 0 {
                assert_eq!(content(&scene.at("l/file")), "lower\n");
            }
        }
    });
}

#[test]
fn an_unlinked_file_goes_on_in_every_way() {
    in_every_way(|io| {
        let scene = Scene::new();
        fs::write(scene.at("u/upper"), "upper\n").unwrap();
        let mounted = scene.mount_with(&format!("io={io}"));
        for name in ["file", "upper", "new"] {
            let path = mounted.at(name);
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .unwrap();
            file.write_all_at(b"before", 0).unwrap();
            fs::remove_file(&path).unwrap();
            file.write_all_at(b"after", 10).unwrap();
            assert_eq!(read_at(&file, 100, 0), b"before\0\0\0\0after");
            file.set_len(3).unwrap();
            file.sync_all().unwrap();
            assert_eq!(file.metadata().unwrap().len(), 3);
            file.set_permissions(fs::Permissions::from_mode(0o640))
                .unwrap();
            assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o640);
            // A new file of this name is another one.
            fs::write(&path, "another").unwrap();
            assert_eq!(read_at(&file, 100, 0), b"bef");
        }
    });
}

#[test]
fn ends_holes_and_copies_are_right_in_every_way() {
    in_every_way(|io| {
        let scene = Scene::new();
        let mounted = scene.mount_with(&format!("io={io}"));
        let path = mounted.at("new");
        let mut file = File::options()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .unwrap();
        let mut other = File::options().append(true).open(&path).unwrap();
        for _ in 0..50 {
            file.write_all(b"one").unwrap();
            other.write_all(b"two").unwrap();
        }
        assert_eq!(content(&path), "onetwo".repeat(50));
        let flags = rustix::fs::FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(&file, flags, 0, 1 << 16).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 300);
        let copy = File::create(mounted.at("copy")).unwrap();
        let mut lower = File::open(mounted.at("file")).unwrap();
        let len = rustix::fs::copy_file_range(&lower, None, &copy, None, 100).unwrap();
        assert_eq!((len, content(&mounted.at("copy")).as_str()), (6, "lower\n"));
        assert_eq!(lower.seek(SeekFrom::End(0)).unwrap(), 6);
        let at = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(0)).unwrap();
        assert_eq!(at, 0);
        // O_TRUNC with nothing but reading.
        let cut = File::options()
            .read(true)
            .write(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        assert_eq!(read_at(&cut, 10, 0), b"");
        assert_eq!(file.metadata().unwrap().len(), 0);
    });
}

/// One page.
#[repr(align(4096))]
struct Page([u8; 4096]);

#[test]
fn direct_io_works_in_every_way() {
    in_every_way(|io| {
        let scene = Scene::new();
        fs::write(scene.at("l/page"), [1u8; 8192]).unwrap();
        let mounted = scene.mount_with(&format!("io={io}"));
        let mut options = File::options();
        options.read(true).write(true).custom_flags(libc::O_DIRECT);
        for name in ["page", "new"] {
            options.create(true);
            let file = options.open(mounted.at(name)).unwrap();
            file.write_all_at(&Page([2; 4096]).0, 4096).unwrap();
            let mut page = Page([0; 4096]);
            file.read_exact_at(&mut page.0, 4096).unwrap();
            assert_eq!(page.0, [2; 4096]);
            let buffered = fs::read(mounted.at(name)).unwrap();
            assert_eq!(buffered[4096..], [2; 4096]);
        }
    });
}

/// A page of a file, mapped for writing and shared.
struct Mapping(*mut u8);

impl Mapping {
    fn new(file: &File) -> Mapping {
        Mapping::with(file, libc::PROT_READ | libc::PROT_WRITE)
    }

    fn with(file: &File, rights: i32) -> Mapping {
        let (nowhere, shared) = (std::ptr::null_mut(), libc::MAP_SHARED);
        // SAFETY: a new mapping of an open file.
        let at = unsafe { libc::mmap(nowhere, 4096, rights, shared, file.as_raw_fd(), 0) };
        assert_ne!(at, libc::MAP_FAILED);
        Mapping(at.cast())
    }

    fn set(&self, byte: u8) {
        // SAFETY: inside the page, which lives as long as `self`.
        unsafe { self.0.write_volatile(byte) }
    }

    fn get(&self) -> u8 {
        // SAFETY: inside the page, which lives as long as `self`.
        unsafe { self.0.read_volatile() }
    }

    fn sync(&self) {
        // SAFETY: the whole of a live mapping.
        let synced = unsafe { libc::msync(self.0.cast(), 4096, libc::MS_SYNC) };
        assert_eq!(synced, 0);
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the whole of a live mapping, which nobody uses any more.
        assert_eq!(unsafe { libc::munmap(self.0.cast(), 4096) }, 0);
    }
}

#[test]
fn a_shared_mapping_and_writes_see_each_other_in_every_way() {
    in_every_way(|io| {
        let scene = Scene::new();
        fs::write(scene.at("u/upper"), [b'u'; 4096]).unwrap();
        let mounted = scene.mount_with(&format!("io={io}"));
        let path = mounted.at("upper");
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let mapping = Mapping::new(&file);
        file.write_all_at(b"w", 0).unwrap();
        assert_eq!(mapping.get(), b'w');
        mapping.set(b'm');
        assert_eq!(read_at(&file, 1, 0), b"m");
        assert_eq!(read_at(&File::open(&path).unwrap(), 1, 0), b"m");
        mapping.sync();
        assert_eq!(fs::read(scene.at("u/upper")).unwrap()[0], b'm');
        // Without a descriptor, and with others that come and go.
        drop(file);
        thread::sleep(Duration::from_millis(50));
        mapping.set(b'n');
        assert_eq!(fs::read(&path).unwrap()[0], b'n');
        mapping.set(b'o');
        assert_eq!(fs::read(&path).unwrap()[0], b'o');
        let late = File::options().write(true).open(&path).unwrap();
        late.write_all_at(b"p", 0).unwrap();
        assert_eq!(mapping.get(), b'p');
    });
}

#[test]
fn times_tell_what_a_mapping_stored_even_after_the_last_close() {
    in_every_way(|io| {
        let scene = Scene::new();
        fs::write(scene.at("u/upper"), [b'u'; 4096]).unwrap();
        let mounted = scene.mount_with(&format!("io={io}"));
        for name in ["upper", "new"] {
            let path = mounted.at(name);
            let mut options = File::options();
            let file = options
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .unwrap();
            file.set_len(4096).unwrap();
            let mapping = Mapping::new(&file);
            drop(file);
            thread::sleep(Duration::from_millis(50));
            let mtime = || {
                let attr = fs::metadata(&path).unwrap();
                (attr.mtime(), attr.mtime_nsec())
            };
            let before = mtime();
            assert_eq!(mtime(), before);
            thread::sleep(Duration::from_millis(20));
            mapping.set(b'm');
            mapping.sync();
            assert!(mtime() > before, "{name}");
            drop(mapping);
            let attr = fs::metadata(scene.at(format!("u/{name}"))).unwrap();
            assert_eq!(mtime(), (attr.mtime(), attr.mtime_nsec()));
        }
    });
}

#[test]
fn a_running_program_is_not_written_in_any_way() {
    in_every_way(|io| {
        let scene = Scene::new();
        common::install("/bin/sleep", &scene.at("u/program"));
        let mounted = scene.mount_with(&format!("io={io}"));
        let path = mounted.at("program");
        let mut child = Command::new(&path).arg("100").spawn().unwrap();
        let error = File::options().write(true).open(&path).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ETXTBSY));
        let error = fs::write(&path, "x").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ETXTBSY));
        child.kill().unwrap();
        child.wait().unwrap();
        eventually("it can be written", || {
            File::options().write(true).open(&path).is_ok()
        });
    });
}

#[test]
fn many_at_once_open_a_file_that_is_copied_up_meanwhile() {
    in_every_way(|io| {
        let scene = Scene::new();
        for at in 0..100 {
            fs::write(scene.at(format!("l/f{at}")), vec![b'l'; 5000]).unwrap();
        }
        let mounted = scene.mount_with(&format!("io={io},fsync=0"));
        for at in 0..100 {
            let path = mounted.at(format!("f{at}"));
            thread::scope(|scope| {
                for who in 0..4u8 {
                    let path = &path;
                    scope.spawn(move || {
                        for _ in 0..10 {
                            let mut read = Vec::new();
                            File::open(path).unwrap().read_to_end(&mut read).unwrap();
                            assert_eq!(read.len(), 5000);
                            let file = File::options().write(true).open(path).unwrap();
                            file.write_all_at(&[who], 4000 + u64::from(who)).unwrap();
                        }
                    });
                }
            });
            assert_eq!(fs::read(&path).unwrap()[4000..4004], [0, 1, 2, 3]);
        }
    });
}

#[test]
fn a_layer_on_a_stacked_filesystem_is_not_passed_and_works_all_the_same() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    for name in ["below", "ku", "kw"] {
        fs::create_dir(scene.at(name)).unwrap();
    }
    let options = "lowerdir=@/below,upperdir=@/ku,workdir=@/kw";
    let kernel = common::kernel::KernelMount::new(&scene, options);
    fs::create_dir(kernel.at("u")).unwrap();
    let words = [scene.at("l"), kernel.at("u"), scene.at("m")];
    let mounted = scene.mount(words);
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(mounted.at("new"))
        .unwrap();
    file.write_all_at(b"new", 0).unwrap();
    assert_eq!(content(&mounted.at("new")), "new");
    assert_eq!(content(&kernel.at("u/new")), "new");
    drop(file);
    drop(mounted);
}

/// Puts a new upper layer on top, over the old one, which is frozen.
fn freeze(scene: &Scene) -> Output {
    fs::create_dir_all(scene.at("top")).unwrap();
    ufs(scene, "branch", &["freeze", "m", "top"])
}

#[test]
fn a_layer_is_frozen_when_nobody_has_a_file_of_it_open_or_mapped_past_the_server() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    fs::write(scene.at("u/upper"), [b'u'; 4096]).unwrap();
    let mounted = scene.mount_with("io=passthrough");
    let path = mounted.at("upper");
    let refused = |output: Output| {
        let why = said(&output);
        assert!(!output.status.success() && why.contains("upper"), "{why}");
    };
    // A reader could not go on with the copy.
    let reader = File::open(&path).unwrap();
    refused(freeze(&scene));
    drop(reader);
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let mapping = Mapping::new(&file);
    refused(freeze(&scene));
    drop(file);
    thread::sleep(Duration::from_millis(50));
    // What is stored now would be stored in a frozen layer.
    refused(freeze(&scene));
    drop(mapping);
    // One that is to be made writable later, too.
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let mapping = Mapping::with(&file, libc::PROT_READ);
    drop(file);
    thread::sleep(Duration::from_millis(50));
    refused(freeze(&scene));
    drop(mapping);
    let file = File::open(&path).unwrap();
    let _for_reading = Mapping::with(&file, libc::PROT_READ);
    drop(file);
    thread::sleep(Duration::from_millis(50));
    let output = freeze(&scene);
    assert!(output.status.success(), "{}", said(&output));
    fs::write(&path, "copied up").unwrap();
    assert_eq!(fs::read(scene.at("u/upper")).unwrap(), [b'u'; 4096]);
    assert_eq!(content(&scene.at("top/upper")), "copied up");
    assert_eq!(content(&path), "copied up");
}

/// Whoever opens what came after a file that others have removed is not given
/// that one.
#[test]
fn what_others_have_replaced_is_not_passed() {
    if !can_mount() {
        return;
    }
    for udba in ["reval", "notify"] {
        let scene = Scene::new();
        let mounted = scene.mount_with(&format!("io=passthrough,udba={udba}"));
        let path = mounted.at("file");
        fs::write(&path, "one").unwrap();
        let both = || File::options().read(true).write(true).open(&path);
        let held = both().unwrap();
        fs::remove_file(scene.at("u/file")).unwrap();
        let found = || fs::read_to_string(&path);
        eventually("the lower file shows", || {
            found().is_ok_and(|found| found == "lower\n")
        });
        let file = both().unwrap();
        file.write_all_at(b"NEW", 0).unwrap();
        drop((file, held));
        assert_eq!(content(&path), "NEWer\n", "{udba}");
        assert_eq!(content(&scene.at("u/file")), "NEWer\n", "{udba}");
    }
}

/// A file that is passed may be used on where its layer is the written one again.
#[test]
fn a_reader_does_not_keep_a_layer_from_being_written_again() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    fs::write(scene.at("u/upper"), "upper").unwrap();
    let mounted = scene.mount(["-o", "br:u=rw:l=ro+wh,udba=none,io=passthrough", "m"]);
    let mode = |permission: &str| {
        let word = format!("u={permission}");
        ufs(&scene, "branch", &["mode", "m", &word])
    };
    assert!(mode("ro").status.success());
    let reader = File::open(mounted.at("upper")).unwrap();
    let output = mode("rw");
    assert!(output.status.success(), "{}", said(&output));
    fs::write(mounted.at("upper"), "NEW").unwrap();
    assert_eq!(read_at(&reader, 8, 0), b"NEW");
}

/// The flag may come while the file is open, and the branches may change then.
#[test]
fn what_becomes_append_only_while_it_is_passed_can_be_read() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    fs::create_dir(scene.at("more")).unwrap();
    fs::write(scene.at("u/upper"), "upper").unwrap();
    let mounted = scene.mount(["-o", "br:u=rw:l=ro+wh,udba=none,io=passthrough", "m"]);
    let path = mounted.at("upper");
    let mut end = File::options().append(true).open(&path).unwrap();
    let flagged = |flag: &str| {
        let mut command = Command::new("chattr");
        let status = command.arg(flag).arg(scene.at("u/upper")).status();
        status.unwrap().success()
    };
    if !flagged("+a") {
        common::skipped("the filesystem has no append-only files");
        return;
    }
    let changed = ufs(&scene, "branch", &["append", "m", "more"]);
    let found = fs::read_to_string(&path);
    let written = end.write_all(b"!");
    assert!(flagged("-a"));
    assert!(changed.status.success(), "{}", said(&changed));
    assert_eq!(found.unwrap(), "upper");
    written.unwrap();
    assert_eq!(content(&path), "upper!");
}

#[test]
fn an_ordinary_user_is_served_without_passing() {
    if !can_mount() || !common::has_fusermount() {
        return;
    }
    let scene = Scene::new();
    let id = common::USER.to_string();
    // The scene's own, too: the work directory comes to lie in it.
    for name in [".", "l", "l/d", "u", "m", "l/file"] {
        let (uid, gid) = (Some(common::USER), Some(common::USER));
        std::os::unix::fs::chown(scene.at(name), uid, gid).unwrap();
    }
    let program = common::program_for_users(&scene);
    let script = "$0 l u m -o io=passthrough; echo new > m/new; cat m/new m/file; fusermount3 -u m";
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-ec"])
        .arg(format!(
            "{}exec setpriv --reuid {id} --regid {id} --clear-groups sh -ec '{script}' \"$0\"",
            common::OPEN_DEVICE
        ))
        .arg(program)
        .current_dir(scene.root())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "new\nlower\n",
        "{}",
        said(&output)
    );
}
