//! Stacks of branches by aufs' words: mounted, written, and changed while they
//! are in use.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::branches::{branch, change, mount, read, refused, scene};
use common::{can_mount, said};

fn listed(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with(".wh."))
        .collect();
    names.sort();
    names
}

#[test]
fn several_branches_are_written_by_the_policy() {
    if !can_mount() {
        return;
    }
    let scene = scene(&["a", "b", "c"]);
    fs::write(scene.at("c/low"), "low").unwrap();
    let mounted = mount(&scene, "br:a=rw:b=rw:c=ro+wh,create=rr,cpup=bu");
    for name in ["1", "2", "3", "4"] {
        fs::write(mounted.at(name), name).unwrap();
    }
    fs::write(mounted.at("low"), "changed").unwrap();
    fs::remove_file(mounted.at("2")).unwrap();
    drop(mounted);
    assert_eq!(listed(&scene.at("a")), ["1", "3"]);
    assert_eq!(listed(&scene.at("b")), ["4", "low"]);
    assert_eq!(read(scene.at("c/low")).unwrap(), "low");
}

#[test]
fn whiteouts_of_a_branch_count_if_that_is_said_of_it() {
    if !can_mount() {
        return;
    }
    let scene = scene(&["a", "b", "c"]);
    fs::write(scene.at("c/hidden"), "").unwrap();
    fs::write(scene.at("b/.wh.hidden"), "").unwrap();
    for (permission, seen) in [("ro+wh", &[][..]), ("ro", &["hidden"])] {
        let mounted = mount(&scene, &format!("br:a=rw:b={permission}:c=ro"));
        assert_eq!(listed(&mounted.point), seen, "{permission}");
    }
    let shown = mount(&scene, "br:b=ro+wh:c=ro,ro,shwh");
    assert!(shown.at(".wh.hidden").exists() && !shown.at("hidden").exists());
}

#[test]
fn branches_that_cannot_be_are_refused_with_what_to_do() {
    if !can_mount() {
        return;
    }
    let scene = scene(&["a", "a/in", "b"]);
    rustix::fs::setxattr(
        scene.at("b"),
        "trusted.overlay.opaque",
        b"y",
        rustix::fs::XattrFlags::empty(),
    )
    .unwrap();
    for (words, answer) in [
        ("br:a=rw:a/in=ro", "layers must not overlap"),
        ("br:missing=rw", "does not exist"),
        ("br:b=rw", "run ufs convert"),
        ("br:a=rw+moo", "moo is not supported"),
        ("br:a=rw,lowerdir=b", "exclude each other"),
        ("br:a=rw,shwh", "write ro too"),
    ] {
        let output = scene.run(["-o", words, "m"]);
        assert!(!output.status.success(), "{words}");
        assert!(said(&output).contains(answer), "{words}: {}", said(&output));
    }
    assert!(!scene.at("a/.wh..wh.aufs").exists(), "nothing has changed");
}

#[test]
fn what_the_kernel_knew_is_asked_again_after_a_change_of_the_branches() {
    if !can_mount() {
        return;
    }
    let scene = scene(&["a", "b", "c", "b/d", "c/d"]);
    for (path, content) in [("b/f", "b"), ("c/f", "c"), ("c/new", "c"), ("c/d/g", "c")] {
        fs::write(scene.at(path), content).unwrap();
    }
    let mounted = mount(&scene, "br:a=rw:b=ro+wh,udba=none");
    let seen = |path: &str| read(mounted.at(path));
    assert_eq!(
        (seen("f"), seen("new"), seen("d/g")),
        (Some("b".into()), None, None)
    );
    let number = |path: &str| fs::metadata(mounted.at(path)).unwrap().ino();
    let (file, directory) = (number("f"), number("d"));
    change(&scene, &["append", "m", "c"]);
    assert_eq!(seen("new").unwrap(), "c");
    assert_eq!(seen("d/g").unwrap(), "c");
    assert_eq!(seen("f").unwrap(), "b");
    assert_eq!((number("f"), number("d")), (file, directory));
    change(&scene, &["remove", "m", "b"]);
    assert_eq!(seen("f").unwrap(), "c");
    assert_eq!(number("d"), directory, "it shows a part that it had");
    change(&scene, &["remove", "m", "c"]);
    assert_eq!(listed(&mounted.point), [""; 0]);
    assert_eq!((seen("f"), seen("d/g")), (None, None));
}

#[test]
fn a_branch_in_use_stays_and_the_error_names_what_is_open() {
    if !can_mount() {
        return;
    }
    let scene = scene(&["a", "b", "b/d"]);
    fs::write(scene.at("b/d/open"), "content").unwrap();
    let mounted = mount(&scene, "br:a=rw:b=ro+wh,udba=none");
    let mut open = File::open(mounted.at("d/open")).unwrap();
    let told = refused(&scene, &["remove", "m", "b"]);
    assert!(told.contains("d/open") && told.contains("close"), "{told}");
    // All or nothing.
    fs::create_dir(scene.at("more")).unwrap();
    let words = format!(
        "append:{},del:{}",
        scene.at("more").display(),
        scene.at("b").display()
    );
    refused(&scene, &["change", "m", &words]);
    let list = String::from_utf8(branch(&scene, &["list", "m"]).stdout).unwrap();
    assert_eq!(list.lines().count(), 2, "{list}");
    // A branch that is hidden by another is in use too, and goes on.
    fs::create_dir(scene.at("over")).unwrap();
    fs::create_dir(scene.at("over/d")).unwrap();
    fs::write(scene.at("over/d/open"), "over").unwrap();
    change(&scene, &["add", "m", "1", "over=ro"]);
    assert_eq!(read(mounted.at("d/open")).unwrap(), "over");
    let mut content = String::new();
    open.read_to_string(&mut content).unwrap();
    assert_eq!(content, "content");
    assert_eq!(open.metadata().unwrap().len(), 7);
    drop(open);
    change(&scene, &["remove", "m", "b"]);
    let last = refused(&scene, &["change", "m", "del:/nowhere"]);
    assert!(last.contains("it is no branch"), "{last}");
}

#[test]
fn a_branch_that_is_no_longer_written_is_copied_from() {
    if !can_mount() {
        return;
    }
    let scene = scene(&["a", "b"]);
    let mounted = mount(&scene, "br:a=rw:b=ro+wh,udba=none");
    fs::write(mounted.at("f"), "one").unwrap();
    let mut writer = OpenOptions::new()
        .append(true)
        .open(mounted.at("f"))
        .unwrap();
    let told = refused(&scene, &["mode", "m", "a=ro+wh"]);
    assert!(told.contains("(f)"), "{told}");
    writer.write_all(b" two").unwrap();
    drop(writer);
    change(&scene, &["mode", "m", "a=ro+wh"]);
    let error = fs::write(mounted.at("f"), "").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EROFS));
    fs::create_dir(scene.at("top")).unwrap();
    change(&scene, &["prepend", "m", "top"]);
    fs::write(mounted.at("g"), "new").unwrap();
    let mut f = OpenOptions::new()
        .append(true)
        .open(mounted.at("f"))
        .unwrap();
    f.write_all(b" three").unwrap();
    assert_eq!(read(scene.at("a/f")).unwrap(), "one two");
    assert_eq!(read(scene.at("top/f")).unwrap(), "one two three");
    drop(f);
    // And written again.
    change(&scene, &["mode", "m", "a=rw"]);
    fs::write(mounted.at("h"), "").unwrap();
}

#[test]
fn an_overlay_gets_another_upper_layer_while_it_is_mounted() {
    if !can_mount() {
        return;
    }
    let scene = scene(&["new", "below"]);
    fs::write(scene.at("below/more"), "more").unwrap();
    let mounted = scene.mount_all();
    fs::write(mounted.at("file"), "first").unwrap();
    fs::write(mounted.at("other"), "first").unwrap();
    change(&scene, &["freeze", "m", "new"]);
    change(&scene, &["append", "m", "below"]);
    fs::write(mounted.at("file"), "second").unwrap();
    fs::remove_file(mounted.at("other")).unwrap();
    assert_eq!(read(scene.at("u/file")).unwrap(), "first");
    assert_eq!(read(scene.at("new/file")).unwrap(), "second");
    assert!(scene.at("u/other").exists() && !mounted.at("other").exists());
    assert_eq!(read(mounted.at("more")).unwrap(), "more");
    // Renaming a directory with lower content still makes a redirect.
    fs::rename(mounted.at("d"), mounted.at("moved")).unwrap();
    assert_eq!(read(mounted.at("moved/inner")).unwrap(), "inner\n");
    drop(mounted);
    let options = format!(
        "lowerdir={u}:{l}:{b},upperdir={n},workdir={n}.work,redirect_dir=on",
        u = scene.at("u").display(),
        l = scene.at("l").display(),
        b = scene.at("below").display(),
        n = scene.at("new").display()
    );
    // The kernel shows the same.
    let kernel = Command::new("mount")
        .args(["-t", "overlay", "overlay", "-o", &options])
        .arg(scene.at("m"))
        .output()
        .unwrap();
    assert!(kernel.status.success(), "{}", said(&kernel));
    assert_eq!(read(scene.at("m/file")).unwrap(), "second");
    assert_eq!(read(scene.at("m/moved/inner")).unwrap(), "inner\n");
    assert!(!scene.at("m/other").exists());
}

#[test]
fn a_stranger_may_not_change_the_branches() {
    if !can_mount() {
        return;
    }
    let scene = scene(&["a"]);
    let _mounted = mount(&scene, "br:a=rw");
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(env!("CARGO_BIN_EXE_ufs"))
        .args(["branch", "list"])
        .arg(scene.at("m"))
        .output()
        .unwrap();
    assert!(!output.status.success());
    // (Or it does not reach the program.)
    let told = said(&output);
    assert!(
        told.contains("cannot be changed from here") || told.contains("denied"),
        "{told}"
    );
    let elsewhere = refused(&scene, &["list", "a"]);
    assert!(elsewhere.contains("not the root of a mount"), "{elsewhere}");
}

#[test]
fn root_of_a_container_may_not_change_the_branches() {
    if !can_mount() {
        return;
    }
    let scene = scene(&["a", "secret"]);
    fs::write(scene.at("secret/shadow"), "host").unwrap();
    let mounted = mount(&scene, "br:a=rw");
    let ufs = env!("CARGO_BIN_EXE_ufs");
    let words = ["branch", "append", "m", "secret"];
    // Elsewhere, or with less than root can do.
    for wrapper in [
        &["unshare", "--mount", "--propagation", "private"][..],
        &["unshare", "--user", "--map-root-user"],
        &[
            "setpriv",
            "--bounding-set=-sys_admin",
            "--inh-caps=-sys_admin",
        ],
    ] {
        let output = Command::new(wrapper[0])
            .args(&wrapper[1..])
            .arg(ufs)
            .args(words)
            .current_dir(scene.root())
            .output()
            .unwrap();
        assert!(!output.status.success(), "{wrapper:?}");
        let told = said(&output);
        assert!(
            told.contains("cannot be changed from here"),
            "{wrapper:?}: {told}"
        );
    }
    assert!(!mounted.at("shadow").exists());
    // With another root directory: what the mount itself has.
    let script = format!(
        "mkdir m/p m/bin; cp \"$0\" m/bin/ufs; for lib in $(ldd \"$0\" | grep -o '/[^ ]*'); do \
         mkdir -p m${{lib%/*}}; cp $lib m$lib; done; \
         ! chroot m /bin/ufs branch append / {}",
        scene.at("secret").display()
    );
    let mut shell = Command::new("sh");
    shell.args(["-ec", &script, ufs]).current_dir(scene.root());
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        said(&output).contains("cannot be changed from here"),
        "{}",
        said(&output)
    );
    assert!(!mounted.at("shadow").exists());
    change(&scene, &words[1..]);
    assert!(mounted.at("shadow").exists());
}

/// One step of a build: what it does to the root, and what is true afterwards.
fn step(root: &Path, at: usize) {
    let file = |path: String| root.join(path);
    fs::create_dir_all(file(format!("opt/{}", at % 5))).unwrap();
    fs::write(file(format!("opt/{}/{at}", at % 5)), at.to_string()).unwrap();
    let shared = file("etc/shared".into());
    fs::create_dir_all(shared.parent().unwrap()).unwrap();
    let mut log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(shared)
        .unwrap();
    writeln!(log, "{at}").unwrap();
    let old = file(format!("opt/{}/{}", (at + 2) % 5, at.saturating_sub(3)));
    if at.is_multiple_of(3) && old.exists() {
        fs::remove_file(old).unwrap();
    }
    if at % 8 == 7 {
        // A directory that is made anew hides all that it had.
        fs::remove_dir_all(file("opt/0".into())).unwrap();
        fs::create_dir(file("opt/0".into())).unwrap();
        fs::write(file(format!("opt/0/again{at}")), "").unwrap();
    }
}

fn tree(root: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut all = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let is_dir = fs::symlink_metadata(&path).unwrap().is_dir();
            let content = (!is_dir).then(|| fs::read(&path).unwrap());
            all.insert(path.strip_prefix(root).unwrap().to_owned(), content);
            if is_dir {
                todo.push(path);
            }
        }
    }
    all
}

/// Docker's line is `br:RW=rw:L1=ro+wh:...`, and `append:` for what does not fit.
#[test]
fn an_image_of_forty_layers_is_built_committed_and_mounted_again() {
    if !can_mount() {
        return;
    }
    const LAYERS: usize = 40;
    let scene = scene(&["plain"]);
    for at in 0..LAYERS {
        fs::create_dir(scene.at(format!("layer{at}"))).unwrap();
        // All below it, the newest on top; the oldest are appended live.
        let below: Vec<usize> = (0..at).rev().collect();
        let (first, rest) = below.split_at(below.len().min(10));
        let first: String = first.iter().map(|l| format!(":layer{l}=ro+wh")).collect();
        let mounted = mount(&scene, &format!("br:layer{at}=rw{first},dirperm1"));
        if !rest.is_empty() {
            let rest: Vec<String> = rest.iter().map(|l| format!("layer{l}=ro+wh")).collect();
            let mut words = vec!["append", "m"];
            words.extend(rest.iter().map(String::as_str));
            change(&scene, &words);
        }
        step(&mounted.point, at);
        step(&scene.at("plain"), at);
        if at % 10 == 9 {
            assert_eq!(tree(&mounted.point), tree(&scene.at("plain")), "layer {at}");
        }
    }
    let expected = tree(&scene.at("plain"));
    // Committed: all are read, and a container writes on top.
    fs::create_dir(scene.at("rw")).unwrap();
    let all: String = (0..LAYERS)
        .rev()
        .map(|l| format!(":layer{l}=ro+wh"))
        .collect();
    let mounted = mount(&scene, &format!("br:rw=rw{all}"));
    assert_eq!(tree(&mounted.point), expected);
    step(&mounted.point, LAYERS);
    let changed = tree(&mounted.point);
    drop(mounted);
    let mounted = mount(&scene, &format!("br:rw=rw{all}"));
    assert_eq!(tree(&mounted.point), changed);
    drop(mounted);

    // A layer's archive, unpacked as it is, is a layer: names and all.
    fs::create_dir(scene.at("raw")).unwrap();
    let mut tar = Command::new("tar")
        .args([
            "--exclude=.wh..wh.aufs",
            "--exclude=.wh..wh.plnk",
            "--exclude=.wh..wh.orph",
        ])
        .args(["-C", "layer15", "-cf", "-", "."])
        .current_dir(scene.root())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let unpacked = Command::new("tar")
        .args(["-C", "raw", "-xf", "-"])
        .current_dir(scene.root())
        .stdin(tar.stdout.take().unwrap())
        .status();
    assert!(unpacked.unwrap().success());
    assert!(tar.wait().unwrap().success());
    let all = all.replace(":layer15=", ":raw=");
    let mounted = mount(&scene, &format!("br:rw=rw{all}"));
    assert_eq!(tree(&mounted.point), changed);
}

#[test]
fn a_handle_goes_on_where_its_file_moves_to_another_branch() {
    if !can_mount() {
        return;
    }
    let scene = scene(&["a", "b"]);
    fs::write(scene.at("a/target"), "old").unwrap();
    fs::write(scene.at("b/source"), "new content").unwrap();
    let mounted = mount(&scene, "br:a=rw:b=rw,udba=none");
    let mut open = OpenOptions::new()
        .read(true)
        .write(true)
        .open(mounted.at("source"))
        .unwrap();
    fs::rename(mounted.at("source"), mounted.at("target")).unwrap();
    open.write_all_at(b"NEW", 0).unwrap();
    open.rewind().unwrap();
    let mut content = String::new();
    open.read_to_string(&mut content).unwrap();
    assert_eq!(content, "NEW content");
    assert_eq!(read(mounted.at("target")).unwrap(), "NEW content");
    drop(open);
    drop(mounted);
    assert_eq!(read(scene.at("a/target")).unwrap(), "NEW content");
}

#[test]
fn statfs_tells_what_the_words_say() {
    if !can_mount() {
        return;
    }
    let scene = scene(&["a", "b"]);
    let size = |options: &str| {
        let mounted = mount(&scene, options);
        let stat = rustix::fs::statvfs(&mounted.point).unwrap();
        stat.f_blocks * stat.f_frsize
    };
    // Both lie on one filesystem, which counts once.
    let first = size("br:a=rw:b=rw");
    assert_eq!(size("br:a=rw:b=rw,sum"), first);
    assert_eq!(size("br:a=rw:b=rw,wsum"), first);
}
