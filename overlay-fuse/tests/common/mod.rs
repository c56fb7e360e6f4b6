//! A scene for tests with real mounts: layers in a temporary directory of
//! its own, the command, and a mount that goes when the test ends.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use overlay_core::stack::mounts::MountTable;
use rustix::mount::UnmountFlags;
use tempfile::TempDir;

pub mod branches;
pub mod commands;
pub mod kernel;

/// An ordinary user: `nobody` on most systems.
pub const USER: u32 = 65534;

/// Commands that make `/dev/fuse` as it is on desktops: for everyone. For
/// scripts in a mount namespace of their own.
pub const OPEN_DEVICE: &str = "mount -t tmpfs none /dev; mknod -m 666 /dev/null c 1 3; \
                               mknod -m 666 /dev/fuse c 10 229; ";

/// The command under test.
pub fn ufsmount() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ufsmount"));
    if let Ok(io) = std::env::var(IO) {
        command.args(["-o", &format!("io={io}")]);
    }
    command
}

/// Whether tests that mount can run; says aloud why not.
pub fn can_mount() -> bool {
    let why = if !rustix::process::geteuid().is_root() {
        "needs root"
    } else if !Path::new("/dev/fuse").exists() {
        "/dev/fuse is missing"
    } else {
        return true;
    };
    skipped(why);
    false
}

/// Whether an ordinary user can mount; says aloud why not.
pub fn has_fusermount() -> bool {
    let found = Command::new("fusermount3").arg("-V").output().is_ok();
    if !found {
        skipped("fusermount3 is not installed");
    }
    found
}

/// Says aloud that a test did not run; where `CI` is set that is a failure.
pub fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
    assert!(
        std::env::var_os("CI").is_none(),
        "nothing may skip in CI: {why}"
    );
}

/// The variable with the value of `io` that all mounts of the tests get.
const IO: &str = "UFS_IO";

/// Whether files of the upper layer are read and written past the server.
pub fn passes_through() -> bool {
    std::env::var_os(IO).is_none_or(|io| io == "passthrough")
}

/// Layers `l`, `u`, and a mount point `m`, with some files in `l`.
#[derive(Debug)]
pub struct Scene {
    dir: TempDir,
}

impl Scene {
    pub fn new() -> Scene {
        let dir = tempfile::tempdir().unwrap();
        // So that other users can reach what is inside.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let scene = Scene { dir };
        for name in ["l", "l/d", "u", "m"] {
            fs::create_dir(scene.at(name)).unwrap();
        }
        fs::write(scene.at("l/file"), "lower\n").unwrap();
        fs::write(scene.at("l/d/inner"), "inner\n").unwrap();
        scene
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    pub fn at(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.dir.path().join(Path::new(name.as_ref()))
    }

    /// The command, run in the scene's directory.
    pub fn run<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Output {
        let mut command = ufsmount();
        command.current_dir(self.root()).args(words);
        command.output().unwrap()
    }

    /// Mounts with these words, which must work. `m` is the mount point.
    pub fn mount<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Mounted {
        let output = self.run(words);
        assert!(output.status.success(), "{}", said(&output));
        Mounted {
            point: self.at("m").canonicalize().unwrap(),
        }
    }

    /// `l` below `u` at `m`, by absolute paths (see [`server`]).
    pub fn mount_all(&self) -> Mounted {
        self.mount([self.at("l"), self.at("u"), self.at("m")])
    }

    /// The same with these options.
    pub fn mount_with(&self, options: &str) -> Mounted {
        let words = [self.at("l"), self.at("u"), self.at("m")];
        let words = words.map(PathBuf::into_os_string);
        self.mount(words.into_iter().chain(["-o".into(), options.into()]))
    }

    /// All that lies in the scene: path to kind, mode, size, device, content.
    pub fn snapshot(&self) -> BTreeMap<PathBuf, (u32, u64, u64, Vec<u8>)> {
        let mut all = BTreeMap::new();
        walk(self.root(), &mut all);
        all
    }
}

/// What should not have been mounted goes with the scene.
impl Drop for Scene {
    fn drop(&mut self) {
        let Ok(point) = self.at("m").canonicalize() else {
            return;
        };
        while is_mounted(&point) {
            rustix::mount::unmount(&point, UnmountFlags::DETACH).unwrap();
        }
    }
}

fn walk(directory: &Path, all: &mut BTreeMap<PathBuf, (u32, u64, u64, Vec<u8>)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let attr = fs::symlink_metadata(&path).unwrap();
        let content = match attr.is_file() {
            true => fs::read(&path).unwrap(),
            false => Vec::new(),
        };
        let size = if attr.is_file() { attr.len() } else { 0 };
        all.insert(path.clone(), (attr.mode(), size, attr.rdev(), content));
        if attr.is_dir() {
            walk(&path, all);
        }
    }
}

/// A live mount; unmounted when dropped, whatever is still open in it.
#[derive(Debug)]
pub struct Mounted {
    pub point: PathBuf,
}

impl Mounted {
    pub fn at(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.point.join(Path::new(name.as_ref()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        while is_mounted(&self.point) {
            rustix::mount::unmount(&self.point, UnmountFlags::DETACH).unwrap();
        }
    }
}

pub fn is_mounted(point: &Path) -> bool {
    MountTable::read().unwrap().at(point).is_some()
}

/// The process that serves this scene's mount, made by [`Scene::mount_all`].
pub fn server(scene: &Scene) -> Option<i32> {
    let marker = scene.root().as_os_str().as_encoded_bytes().to_vec();
    fs::read_dir("/proc").unwrap().find_map(|entry| {
        let entry = entry.ok()?;
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let words = fs::read(entry.path().join("cmdline")).ok()?;
        let detached = words.windows(10).any(|part| part == b"--detached");
        let ours = words.windows(marker.len()).any(|part| part == marker);
        (detached && ours).then_some(pid)
    })
}

/// Waits until `done`, but not for ever.
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < until, "still not: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The command, refused: one sentence, which is returned, and exit status 1
/// for wrong words, or 32 for what cannot be mounted.
pub fn refused(output: &Output) -> String {
    let said = said(output);
    assert!(matches!(output.status.code(), Some(1 | 32)), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("ufsmount: "), "{said}");
    assert!(output.stdout.is_empty());
    said
}

/// Bytes as a word of a command line.
pub fn word(bytes: &[u8]) -> OsString {
    use std::os::unix::ffi::OsStrExt;
    OsStr::from_bytes(bytes).to_owned()
}

/// Runs `script` in a mount namespace of its own, where `$0` is the command
/// and the scene the current directory.
pub fn in_own_namespace(scene: &Scene, script: &str) -> Output {
    Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-ec", script])
        .arg(program_for_users(scene))
        .current_dir(scene.root())
        .output()
        .unwrap()
}

/// The command at a place that every user can reach, outside the scene's
/// layers.
pub fn program_for_users(scene: &Scene) -> PathBuf {
    let program = scene.at("program");
    install(env!("CARGO_BIN_EXE_ufsmount"), &program);
    program
}

/// Copies a program. Not in this process: a child that another test starts
/// meanwhile would inherit the descriptor, and running the copy would fail
/// with `ETXTBSY`.
pub fn install(program: &str, to: &Path) {
    let mut command = Command::new("install");
    let status = command.args(["-m", "755", program]).arg(to).status();
    assert!(status.unwrap().success());
}
