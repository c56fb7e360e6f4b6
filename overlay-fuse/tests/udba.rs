//! What others change in the branches of a mounted stack, while a program
//! beside the mount writes to them: seen never, at the next look-up, or when it
//! happens.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::can_mount;
use overlay_core::union::{Options, Others};
use overlay_core::{Directories, Union};
use overlay_fuse::{Mount, MountHandle, Presentation};
use tempfile::TempDir;

/// As the option `udba` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Udba {
    None,
    Reval,
    Notify,
}

struct Scene {
    dir: TempDir,
    mounted: Option<MountHandle>,
}

impl Scene {
    fn new(udba: Udba) -> Scene {
        let dir = tempfile::tempdir().unwrap();
        for name in ["lower", "lower/d", "upper", "work", "mnt"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("lower/d/f"), b"old").unwrap();
        let directories = Directories {
            lowers: vec![dir.path().join("lower")],
            upper: Some(dir.path().join("upper")),
            work: Some(dir.path().join("work")),
            ..Directories::default()
        };
        let options = Options {
            others: match udba {
                Udba::None => Others::KeepAway,
                Udba::Reval | Udba::Notify => Others::Write,
            },
            ..Options::default()
        };
        let union = Union::with_options(directories.open().unwrap(), options).unwrap();
        let mut mount = Mount::builder(union);
        if udba == Udba::Reval {
            mount = mount.presentation(Presentation::new().lifetime(Duration::ZERO));
        }
        if udba == Udba::Notify {
            mount = mount.follow_others();
        }
        let mounted = mount.mount(dir.path().join("mnt")).unwrap();
        Scene {
            dir,
            mounted: Some(mounted),
        }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn seen(&self, path: &str) -> Option<Vec<u8>> {
        fs::read(self.at("mnt").join(path)).ok()
    }

    /// Another process does this beside the mount.
    fn beside(&self, script: &str) {
        let mut shell = Command::new("sh");
        shell.args(["-ec", script]).current_dir(self.dir.path());
        assert!(shell.status().unwrap().success(), "{script}");
    }

    fn listed(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.at("mnt").join(path)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(mounted) = self.mounted.take() {
            mounted.unmount().unwrap();
        }
    }
}

/// Soon enough to be called at once.
fn soon(what: &str, holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "not seen: {what}"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn everything_is_seen(scene: &Scene, wait: impl Fn(&str, &dyn Fn() -> bool)) {
    // The kernel knows all of this, also that a name is missing.
    assert_eq!(scene.seen("d/f").unwrap(), b"old");
    assert_eq!(scene.seen("d/new"), None);
    assert_eq!(scene.listed("d"), ["f"]);
    scene.beside("echo -n here >lower/d/new");
    wait("a new file", &|| {
        scene.seen("d/new").as_deref() == Some(b"here")
    });
    assert_eq!(scene.listed("d"), ["f", "new"]);
    scene.beside("echo -n changed >lower/d/new; chmod 640 lower/d/new");
    wait("new content", &|| {
        scene.seen("d/new").as_deref() == Some(b"changed")
    });
    scene.beside("mv lower/d/new lower/d/moved");
    wait("a new name", &|| {
        scene.seen("d/moved").is_some() && scene.seen("d/new").is_none()
    });
    // On the branch above: over a file, and a directory that comes between.
    scene.beside("mkdir upper/d; echo -n above >upper/d/f");
    wait("a file above", &|| {
        scene.seen("d/f").as_deref() == Some(b"above")
    });
    scene.beside("rm upper/d/f; mknod upper/d/f c 0 0");
    wait("a whiteout", &|| scene.seen("d/f").is_none());
    scene.beside("rm -r upper/d");
    wait("what was hidden", &|| {
        scene.seen("d/f").as_deref() == Some(b"old")
    });
    scene.beside("rm -r lower/d");
    wait("a directory that went", &|| !scene.at("mnt/d").exists());
    scene.beside("mkdir -p lower/d/e; echo -n again >lower/d/e/f");
    wait("one that came", &|| {
        scene.seen("d/e/f").as_deref() == Some(b"again")
    });
    // What the mount does itself goes on.
    fs::write(scene.at("mnt/d/e/f"), b"mine").unwrap();
    assert_eq!(scene.seen("d/e/f").unwrap(), b"mine");
    assert_eq!(fs::read(scene.at("upper/d/e/f")).unwrap(), b"mine");
}

#[test]
fn what_others_change_is_seen_at_the_next_look_up_with_reval() {
    if !can_mount() {
        return;
    }
    everything_is_seen(&Scene::new(Udba::Reval), |what, holds| {
        assert!(holds(), "not seen at once: {what}");
    });
}

#[test]
fn what_others_change_is_seen_when_it_happens_with_notify() {
    if !can_mount() {
        return;
    }
    everything_is_seen(&Scene::new(Udba::Notify), |what, holds| soon(what, holds));
}

/// In overlayfs' dialect they are names like others, and no marks.
#[test]
fn names_of_other_marks_are_followed_with_notify() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new(Udba::Notify);
    for name in [".wh.f", ".wh..wh..opq", ".wh."] {
        let path = format!("d/{name}");
        assert_eq!(scene.seen(&path), None);
        scene.beside(&format!("echo -n here >lower/{path}"));
        soon(name, || scene.seen(&path).as_deref() == Some(b"here"));
        assert_eq!(scene.seen("d/f").unwrap(), b"old");
        scene.beside(&format!("rm lower/{path}"));
        soon(name, || scene.seen(&path).is_none());
    }
}

#[test]
fn what_others_change_is_not_looked_for_with_none() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new(Udba::None);
    assert_eq!(scene.seen("d/f").unwrap(), b"old");
    assert_eq!(scene.seen("d/new"), None);
    scene.beside("echo -n here >lower/d/new");
    assert_eq!(scene.seen("d/new"), None);
    assert!(Path::new(&scene.at("lower/d/new")).exists());
}

#[test]
fn the_kernel_keeps_what_nobody_changes_with_notify() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new(Udba::Notify);
    fs::write(scene.at("mnt/d/own"), b"own").unwrap();
    let kept = || fs::symlink_metadata(scene.at("mnt/d/own")).is_ok();
    assert!(kept());
    // Of its own changes the server is not told, so nothing is forgotten: a name
    // that it removes behind the kernel's back is still known.
    std::thread::sleep(Duration::from_millis(50));
    fs::remove_file(scene.at("upper/d/own")).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert!(
        kept(),
        "this process is the server: it is not told of itself"
    );
}
