//! Stacks on stacks: a mount of ours or of the kernel's overlayfs as a layer
//! of another. Marks of the inner one mean nothing to the outer one.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use overlay_core::layer::dir::{Descriptors, DirStorage, DirUpper};
use overlay_core::spec::generate::cases_with_redirects;
use overlay_core::spec::{Dir, Op, Rules, Stored};
use overlay_core::stack::directories::Marks;
use overlay_core::union::{Options, RedirectDir};
use overlay_core::{Directories, Stack, Union};
use overlay_fuse::{Mount, MountHandle};
use overlay_tests::check::{Depth, check};
use overlay_tests::runner::{case_count, run, skip};
use overlay_tests::scratch::Scratch;
use overlay_tests::subject::core::Core;
use overlay_tests::subject::core::storages::Storages;
use overlay_tests::subject::kernel::Kernel;
use overlay_tests::subject::mounted::Mounted;
use overlay_tests::{load, materialize, snapshot, sys};
use rustix::mount::{MountFlags, UnmountFlags};
use tempfile::TempDir;

/// Directories, and what is mounted in them.
struct Scene {
    /// Innermost first; unmounted from the outermost on.
    mounted: Vec<(PathBuf, Option<MountHandle>)>,
    dir: TempDir,
}

impl Scene {
    fn new() -> Scene {
        sys::own_namespace().unwrap();
        Scene {
            mounted: Vec::new(),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// The directory `name`, made if missing.
    fn at(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// `upper` over `lower` at `point`: of ours.
    fn ours(&mut self, lower: &str, upper: &str, marks: Marks, point: &str) {
        let directories = Directories {
            lowers: vec![self.at(lower)],
            upper: Some(self.at(upper)),
            work: Some(self.at(&format!("{upper}.work"))),
            marks,
            ..Directories::default()
        };
        let options = Options {
            redirect_dir: match marks {
                Marks::Automatic => RedirectDir::On,
                Marks::User => RedirectDir::NoFollow,
            },
            ..Options::default()
        };
        let union = Union::with_options(directories.open().unwrap(), options).unwrap();
        let point = self.at(point);
        let handle = Mount::builder(union).mount(&point).unwrap();
        self.mounted.push((point, Some(handle)));
    }

    /// The same with the kernel's overlayfs.
    fn kernels(&mut self, lower: &str, upper: &str, marks: Marks, point: &str) {
        let (lower, work) = (self.at(lower), self.at(&format!("{upper}.work")));
        let (upper, point) = (self.at(upper), self.at(point));
        let more = match marks {
            Marks::Automatic => "redirect_dir=on",
            Marks::User => "userxattr",
        };
        let (lower, upper, work) = (lower.display(), upper.display(), work.display());
        let options = format!("lowerdir={lower},upperdir={upper},workdir={work},{more}");
        let options = CString::new(options).unwrap();
        let flags = MountFlags::empty();
        rustix::mount::mount("overlay", &point, "overlay", flags, Some(&*options)).unwrap();
        self.mounted.push((point, None));
    }

    /// Unmounts the outermost.
    fn unmount(&mut self) {
        match self.mounted.pop().unwrap() {
            (_, Some(handle)) => drop(handle.unmount().unwrap()),
            (point, None) => rustix::mount::unmount(point, UnmountFlags::empty()).unwrap(),
        }
    }

    /// What is seen at `point`: directories, and files with their content.
    fn seen(&self, point: &str) -> String {
        let mut all = BTreeMap::new();
        look(&self.dir.path().join(point), "", &mut all);
        let all = all.iter().map(|(path, content)| format!("{path}{content}"));
        all.collect::<Vec<_>>().join(" ")
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // Ours go with their handles.
        while let Some((point, handle)) = self.mounted.pop() {
            if handle.is_none()
                && let Err(errno) = rustix::mount::unmount(&point, UnmountFlags::DETACH)
            {
                eprintln!("{point:?} stays mounted: {errno}");
            }
        }
    }
}

fn look(dir: &Path, at: &str, all: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let name = format!("{at}{}", entry.file_name().display());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            all.insert(format!("{name}/"), String::new());
            look(&entry.path(), &format!("{name}/"), all);
        } else {
            assert!(!kind.is_char_device(), "{name} is a device");
            let content = fs::read_to_string(entry.path()).unwrap();
            all.insert(name, format!("={content}"));
        }
    }
}

/// All extended attributes below `dir`: `path:name`.
fn attributes(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(path) = waiting.pop() {
        let name = CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
        for (name, _) in snapshot::xattrs_of(&name).unwrap() {
            found.push(format!("{}:{}", path.display(), name.escape_ascii()));
        }
        if path.is_dir() && !path.is_symlink() {
            waiting.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
    }
    found
}

fn base(scene: &Scene, at: &str) {
    for path in ["d/a", "d/b", "e/x", "f"] {
        scene.write(&format!("{at}/{path}"), "1");
    }
}

/// Removes, replaces and (where that can be) renames what [`base`] has.
fn change(root: &Path, marks: Marks) {
    fs::remove_file(root.join("d/a")).unwrap();
    fs::remove_dir_all(root.join("e")).unwrap();
    fs::create_dir(root.join("e")).unwrap();
    fs::write(root.join("e/n"), "2").unwrap();
    if marks == Marks::Automatic {
        fs::rename(root.join("d"), root.join("dd")).unwrap();
    }
    fs::rename(root.join("f"), root.join("g")).unwrap();
}

fn changed(marks: Marks) -> &'static str {
    match marks {
        Marks::Automatic => "dd/ dd/b=1 e/ e/n=2 g=1",
        Marks::User => "d/ d/b=1 e/ e/n=2 g=1",
    }
}

const ALL_MARKS: [Marks; 2] = [Marks::Automatic, Marks::User];

type MountIt = fn(&mut Scene, &str, &str, Marks, &str);

/// `inner` as the lower layer of `outer`.
fn a_lower(inner: MountIt, outer: MountIt) {
    for (inner_marks, outer_marks) in pairs() {
        let mut scene = Scene::new();
        base(&scene, "l");
        inner(&mut scene, "l", "u", inner_marks, "m");
        change(&scene.at("m"), inner_marks);
        assert_eq!(scene.seen("m"), changed(inner_marks));
        outer(&mut scene, "m", "v", outer_marks, "n");
        assert_eq!(scene.seen("n"), changed(inner_marks));
        assert_eq!(attributes(&scene.at("n")), [""; 0]);
        // Marks of both, one on the other.
        let n = scene.at("n");
        fs::remove_file(n.join("e/n")).unwrap();
        fs::remove_dir(n.join("e")).unwrap();
        fs::create_dir(n.join("e")).unwrap();
        fs::write(n.join("f"), "3").unwrap();
        let d = changed(inner_marks).split('/').next().unwrap();
        fs::remove_file(n.join(d).join("b")).unwrap();
        let expected = format!("{d}/ e/ f=3 g=1");
        assert_eq!(scene.seen("n"), expected);
        scene.unmount();
        assert_eq!(scene.seen("m"), changed(inner_marks));
        outer(&mut scene, "m", "v", outer_marks, "n");
        assert_eq!(scene.seen("n"), expected);
    }
}

/// The upper layer of `inner` lies on a mount of `outer`.
fn an_upper(outer: MountIt) {
    for (outer_marks, inner_marks) in pairs() {
        let mut scene = Scene::new();
        scene.write("l/up/below", "0");
        outer(&mut scene, "l", "u", outer_marks, "m");
        fs::remove_file(scene.at("m").join("up/below")).unwrap();
        fs::remove_dir(scene.at("m").join("up")).unwrap();
        fs::create_dir(scene.at("m").join("up")).unwrap();
        base(&scene, "k");
        scene.ours("k", "m/up", inner_marks, "n");
        change(&scene.at("n"), inner_marks);
        fs::create_dir(scene.at("n").join("f")).unwrap();
        fs::rename(scene.at("n").join("g"), scene.at("n").join("f/g")).unwrap();
        let expected = changed(inner_marks).replace("g=1", "f/ f/g=1");
        assert_eq!(scene.seen("n"), expected);
        // Nobody but the inner one has a use for what it stores.
        assert_eq!(attributes(&scene.at("n")), [""; 0]);
        assert!(!attributes(&scene.at("m").join("up")).is_empty());
        scene.unmount();
        scene.ours("k", "m/up", inner_marks, "n");
        assert_eq!(scene.seen("n"), expected);
        scene.unmount();
        let stored = scene.seen("m");
        scene.unmount();
        outer(&mut scene, "l", "u", outer_marks, "m");
        assert_eq!(scene.seen("m"), stored);
    }
}

fn pairs() -> Vec<(Marks, Marks)> {
    let all = ALL_MARKS.iter();
    all.flat_map(|one| ALL_MARKS.iter().map(|two| (*one, *two)))
        .collect()
}

#[test]
fn a_mount_of_ours_is_a_lower_layer_of_ours() {
    if skip(Mounted::available()) {
        return;
    }
    a_lower(Scene::ours, Scene::ours);
}

#[test]
fn a_mount_of_the_kernels_overlayfs_is_a_lower_layer_of_ours() {
    if skip(Mounted::available()) || skip(Kernel::available()) {
        return;
    }
    a_lower(Scene::kernels, Scene::ours);
}

#[test]
fn a_mount_of_ours_is_a_lower_layer_of_the_kernels_overlayfs() {
    if skip(Mounted::available()) || skip(Kernel::available()) {
        return;
    }
    a_lower(Scene::ours, Scene::kernels);
}

#[test]
fn an_upper_layer_lies_on_a_mount_of_ours() {
    if skip(Mounted::available()) {
        return;
    }
    an_upper(Scene::ours);
}

#[test]
fn an_upper_layer_lies_on_a_mount_of_the_kernels_overlayfs() {
    if skip(Mounted::available()) || skip(Kernel::available()) {
        return;
    }
    an_upper(Scene::kernels);
}

/// Lower layers on a disk, the writable one in a mount of ours.
#[derive(Debug)]
struct OnOurs {
    lowers: Scratch,
    _mounted: MountHandle,
    outer: Scratch,
}

impl OnOurs {
    fn new(layers: &[Dir<Stored>]) -> OnOurs {
        sys::own_namespace().unwrap();
        let outer = Scratch::new(&[Dir::new(1, [])]);
        let upper = DirUpper::open(&outer.layer(0), &outer.work(), &Descriptors::new(16));
        let union = Union::new(Stack::new().upper(upper.unwrap())).unwrap();
        let mounted = Mount::builder(union).mount(outer.mount_point()).unwrap();
        let new = OnOurs {
            lowers: Scratch::new(&layers[1..]),
            _mounted: mounted,
            outer,
        };
        materialize::on_disk(&new.upper(), &layers[0], &materialize::Form::default());
        fs::create_dir(new.work()).unwrap();
        new
    }

    fn upper(&self) -> PathBuf {
        self.outer.mount_point().join("upper")
    }

    fn work(&self) -> PathBuf {
        self.outer.mount_point().join("work")
    }
}

impl Storages for OnOurs {
    fn stack(&self) -> Stack {
        let budget = Descriptors::new(16);
        let upper = DirUpper::open(&self.upper(), &self.work(), &budget);
        let stack = Stack::new().upper(upper.unwrap());
        (0..self.lowers.layers()).fold(stack, |stack, index| {
            let lower = DirStorage::open(&self.lowers.layer(index), &budget);
            stack.lower(lower.unwrap())
        })
    }

    fn rotate(&mut self) {
        unreachable!("the histories here have no rotation");
    }

    fn stored(&self) -> Vec<Dir<Stored>> {
        let lowers = (0..self.lowers.layers())
            .map(|index| load::from_disk(&self.lowers.layer(index), index + 1));
        [load::from_disk(&self.upper(), 0)]
            .into_iter()
            .chain(lowers)
            .collect()
    }

    fn litter(&self) -> Vec<String> {
        let work = fs::read_dir(self.work().join("work")).unwrap();
        work.map(|entry| entry.unwrap().file_name().display().to_string())
            .collect()
    }
}

#[test]
fn histories_in_an_upper_layer_on_a_mount_of_ours_agree_with_the_model() {
    if skip(Mounted::available()) {
        return;
    }
    run(case_count(40), cases_with_redirects(2..=4, 20), |case| {
        let mut case = case.clone();
        // Whiteouts cannot be put there in the usual way.
        case.layers[0] = materialize::empty(case.layers[0].clone());
        case.writable = true;
        let storages = OnOurs::new(&case.layers);
        case.ops.retain(|op| *op != Op::Rotate);
        let mut core = Core::new(Box::new(storages), true, case.config);
        check(&case, Rules::Union, &mut core, Depth::EveryOp)
    });
}
