//! On disk: the same to the nanosecond, what the kernel makes of it, copies,
//! and who is kept away.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use overlay_core::layer::dir::{Descriptors, DirStorage, DirUpper};
use overlay_core::spec::differences;
use overlay_core::spec::generate::{Case, cases};
use overlay_core::stack::directories::LoneBranch;
use overlay_core::{Dialect, Directories, Error, SetupError, Stack};
use overlay_tests::Subject;
use overlay_tests::branches::Writer;
use overlay_tests::runner::{case_count, root, run, skip};
use overlay_tests::subject::core::Core;
use overlay_tests::subject::core::storages::Storages;
use overlay_tests::subject::kernel::Kernel;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

use super::*;

/// Two branches, a work directory and a mount point.
#[derive(Debug)]
pub(super) struct Ground(TempDir);

impl Ground {
    pub(super) fn new(branch: &Dir<Stored>, below: &Dir<Stored>) -> Ground {
        let ground = Ground(tempfile::tempdir().unwrap());
        for name in ["branch", "below", "work", "point"] {
            fs::create_dir(ground.at(name)).unwrap();
        }
        for (name, layer) in [("branch", branch), ("below", below)] {
            let (dir, work) = (ground.at(name), ground.at("work"));
            let upper = opened(&dir, &work);
            materialize::in_storage(&*WritableStorage::root(&*upper), layer);
        }
        ground
    }

    /// As [`scenario`] writes them.
    fn of(branch: &str, below: &str) -> Ground {
        Ground::new(&scenario::layer(branch, 0), &scenario::layer(below, 1))
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn branch(&self) -> PathBuf {
        self.at("branch")
    }

    fn all(&self) -> Tree {
        on_disk(&self.branch())
    }
}

/// A process that another test starts holds our locks until it is another
/// program.
fn opened(dir: &Path, work: &Path) -> Arc<DirUpper> {
    for _ in 0..500 {
        match DirUpper::open(dir, work, &Descriptors::new(16)) {
            Err(Error::Busy(_)) => std::thread::sleep(Duration::from_millis(2)),
            opened => return opened.unwrap(),
        }
    }
    panic!("{dir:?} stays locked");
}

pub(super) fn storage(path: &Path) -> Arc<DirStorage> {
    DirStorage::open(path, &Descriptors::new(16)).unwrap()
}

pub(super) fn on_disk(path: &Path) -> Tree {
    tree(&*storage(path).root())
}

pub(super) fn in_place(path: &Path, forms: (Form, Form)) -> Result<Summary, Failure> {
    conversion(forms).in_place(LoneBranch::open(path)?, &mut silent)
}

/// Both branches read-only; the upper one in this dialect.
#[derive(Debug)]
struct Pair {
    paths: [PathBuf; 2],
    dialect: Dialect,
}

impl Storages for Pair {
    fn stack(&self) -> Stack {
        let [branch, below] = &self.paths;
        let stack = Stack::new().lower_as(storage(branch), self.dialect);
        stack.lower_as(storage(below), Dialect::default())
    }

    fn rotate(&mut self) {}

    fn stored(&self) -> Vec<Dir<Stored>> {
        Vec::new()
    }

    fn litter(&self) -> Vec<String> {
        Vec::new()
    }
}

fn union_of(ground: &Ground, dialect: Dialect) -> Result<Seen, String> {
    let paths = [ground.branch(), ground.at("below")];
    let pair = Pair { paths, dialect };
    Core::new(Box::new(pair), false, Default::default()).look()
}

/// What the kernel shows of both.
fn kernel_over(ground: &Ground) -> Result<Seen, String> {
    let (branch, below, point) = (ground.branch(), ground.at("below"), ground.at("point"));
    let options = format!("lowerdir={}:{}", branch.display(), below.display());
    let options = std::ffi::CString::new(options).unwrap();
    let flags = MountFlags::RDONLY;
    mount("overlay", &point, "overlay", flags, Some(&*options))
        .map_err(|errno| format!("mount -t overlay: {errno}"))?;
    let seen = overlay_tests::subject::posix::Posix::new(&point)
        .look(overlay_tests::snapshot::EntryNumbers::Any);
    unmount(&point, UnmountFlags::DETACH).unwrap();
    seen
}

/// The layer without whiteouts in directories that merge with nothing: the
/// kernel lists these, in any layer.
fn merging(layer: &Dir<Stored>, below: Option<&Dir<Stored>>) -> Dir<Stored> {
    let mut dir = layer.clone();
    dir.entries
        .retain(|_, entry| below.is_some() || *entry != Stored::Whiteout);
    for (name, entry) in &mut dir.entries {
        if let Stored::Dir(inner) = entry {
            let there = below.and_then(|below| match below.entries.get(name) {
                Some(Stored::Dir(there)) if !inner.opaque => Some(there),
                Some(_) | None => None,
            });
            *inner = merging(inner, there);
        }
    }
    dir
}

fn on_disk_and_under_the_kernel(case: &Case) -> Result<(), String> {
    let below = merging(&branches::expressible(&case.layers[1]), None);
    let layer = merging(&case.layers[0], Some(&below));
    for writer in [Writer::Aufs, Writer::Archive] {
        let ground = Ground::new(&branches::aufs(&layer, writer), &below);
        let before = ground.all();
        let ours = union_of(&ground, Dialect::Containers(Namespace::Trusted))?;
        let failed = |failure: Failure| failure.to_string();
        in_place(&ground.branch(), TO_OVERLAY).map_err(failed)?;
        let differs = differences(&ours, &kernel_over(&ground)?);
        if !differs.is_empty() {
            return Err(format!("the kernel shows something else: {differs:?}"));
        }
        in_place(&ground.branch(), TO_AUFS).map_err(failed)?;
        let differs = difference(&before, &ground.all());
        if !differs.is_empty() {
            return Err(differs);
        }
    }
    Ok(())
}

#[test]
fn the_kernel_shows_of_the_converted_branch_what_we_show_of_the_other() {
    if skip(Kernel::available()) {
        return;
    }
    run(
        case_count(40),
        cases(2..=2, 0),
        on_disk_and_under_the_kernel,
    );
}

/// A layer as `docker save` and `tar -x` leave it, and one that AuFS wrote.
#[test]
fn a_layer_of_an_image_comes_back_to_the_nanosecond() {
    if skip(root()) {
        return;
    }
    let ground = Ground::of("", "");
    let script = "
        umask 022
        mkdir -p etc/apt var/lib/dpkg usr/share/doc/x tmp
        chmod 1777 tmp
        echo deb > etc/apt/sources.list; : > etc/apt/.wh.old.list
        ln etc/apt/.wh.old.list etc/apt/.wh.older.list
        : > var/lib/dpkg/.wh..wh..opq; echo ok > var/lib/dpkg/status
        ln -s status var/lib/dpkg/link; ln etc/apt/sources.list usr/share/doc/x/hard
        : > .wh.root; chmod 600 .wh.root; mkfifo usr/fifo; truncate -s 1M usr/hole
        setfattr -n user.note -v hello usr/hole
        setfattr -n trusted.note -v hello usr/share
        chown -R 7:8 usr/share; chmod 2755 usr/share
        touch -hd '2001-02-03 04:05:06.789012345' usr/fifo etc/apt/.wh.old.list .wh.root
        find . -depth -type d -exec touch -hd '2002-02-03 04:05:06.123456789' {} +";
    let aufs = "
        cd ..; rm -r branch; mkdir branch; cd branch
        : > .wh..wh.aufs; chmod 444 .wh..wh.aufs; mkdir -m 700 .wh..wh.plnk .wh..wh.orph
        mkdir -p d/e; ln .wh..wh.aufs d/.wh.gone; ln .wh..wh.aufs d/e/.wh..wh..opq
        ln .wh..wh.aufs .wh.top; echo x > d/e/file
        find . -depth -exec touch -hd '2003-02-03 04:05:06.000000001' {} +";
    for script in [script, aufs] {
        let made = std::process::Command::new("sh")
            .args(["-ec", script])
            .current_dir(ground.branch())
            .status();
        assert!(made.unwrap().success());
        let before = ground.all();
        let names = fs::read_dir(ground.branch()).unwrap().count();
        in_place(&ground.branch(), TO_OVERLAY).unwrap();
        let overlay = ground.all();
        assert!(
            overlay
                .keys()
                .all(|path| !path.escape_ascii().to_string().contains(".wh."))
        );
        assert_eq!(overlay[&b""[..]].mtime, before[&b""[..]].mtime);
        in_place(&ground.branch(), TO_AUFS).unwrap();
        assert_eq!(difference(&before, &ground.all()), "");
        assert_eq!(fs::read_dir(ground.branch()).unwrap().count(), names);
    }
}

#[test]
fn without_root_marks_are_files_and_attributes_of_everybody() {
    let ground = Ground::of(
        "d/ d/.wh.x= d/e/ d/e/.wh..wh..opq= .wh.y= .wh..wh.aufs=",
        "",
    );
    let before = ground.all();
    let user = |from, to| Conversion::new(from, to, Namespace::User).unwrap();
    let run = |conversion: Conversion| {
        let branch = LoneBranch::open(&ground.branch()).unwrap();
        conversion.in_place(branch, &mut silent).unwrap()
    };
    run(user(Form::Aufs, Form::Overlay));
    let now = ground.all();
    assert_eq!(now[&b""[..]].xattrs[&b"user.overlay.opaque"[..]], b"x");
    assert_eq!(now[&b"d"[..]].xattrs[&b"user.overlay.opaque"[..]], b"x");
    assert_eq!(now[&b"d/e"[..]].xattrs[&b"user.overlay.opaque"[..]], b"y");
    assert!(
        now[&b"d/x"[..]]
            .xattrs
            .contains_key(&b"user.overlay.whiteout"[..])
    );
    run(user(Form::Overlay, Form::Aufs));
    assert_eq!(difference(&before, &ground.all()), "");
}

#[test]
fn a_copy_leaves_the_branch_as_it_is_and_has_all_of_it() {
    if skip(root()) {
        return;
    }
    let ground = Ground::of("d/ d/.wh.x= d/f=text .wh.y= l@d/f .wh..wh.aufs=", "");
    let branch = ground.branch();
    let hole = fs::File::create(branch.join("d/hole")).unwrap();
    hole.set_len(64 << 20).unwrap();
    fs::hard_link(branch.join("d/f"), branch.join("d/g")).unwrap();
    rustix::fs::setxattr(
        branch.join("d/f"),
        "user.note",
        b"v",
        rustix::fs::XattrFlags::empty(),
    )
    .unwrap();
    fs::set_permissions(&branch, fs::Permissions::from_mode(0o750)).unwrap();
    let before = ground.all();
    let to_copy = |to: &Path, forms| {
        let branch = LoneBranch::open(&branch)?;
        conversion(forms).to_copy(&branch, to, &mut silent)
    };
    fs::create_dir(ground.at("empty")).unwrap();
    for copy in [ground.at("copy"), ground.at("empty")] {
        to_copy(&copy, TO_OVERLAY).unwrap();
        assert_eq!(difference(&before, &ground.all()), "");
        assert!(fs::metadata(copy.join("d/hole")).unwrap().blocks() < 1024);
        let inode = |name: &str| fs::metadata(copy.join(name)).unwrap().ino();
        assert_eq!(inode("d/f"), inode("d/g"));
        in_place(&copy, TO_AUFS).unwrap();
        assert_eq!(difference(&before, &on_disk(&copy)), "");
        let again = to_copy(&copy, TO_OVERLAY);
        let not_empty = matches!(again, Err(Failure::Setup(SetupError::NotEmpty { .. })));
        assert!(not_empty, "{again:?}");
    }
    let inside = to_copy(&branch.join("d/copy"), TO_OVERLAY);
    let is_inside = matches!(inside, Err(Failure::Setup(SetupError::Inside { .. })));
    assert!(is_inside, "{inside:?}");
    assert_eq!(
        difference(&before, &ground.all()),
        "",
        "nothing was made inside"
    );
}

#[test]
fn of_a_copy_that_fails_nothing_is_left() {
    if skip(Kernel::available()) {
        return;
    }
    let ground = Ground::of("d/ d/.wh.x= d/f=text", "");
    fs::write(ground.branch().join("z"), vec![1; 1 << 20]).unwrap();
    let small = ground.at("small");
    fs::create_dir(&small).unwrap();
    let size = c"size=256k";
    mount("tmpfs", &small, "tmpfs", MountFlags::empty(), Some(size)).unwrap();
    fs::create_dir(small.join("empty")).unwrap();
    for copy in ["copy", "empty"] {
        let branch = LoneBranch::open(&ground.branch()).unwrap();
        let outcome = conversion(TO_OVERLAY).to_copy(&branch, &small.join(copy), &mut silent);
        assert!(matches!(outcome, Err(Failure::At { .. })), "{outcome:?}");
    }
    assert!(!small.join("copy").exists());
    assert_eq!(fs::read_dir(small.join("empty")).unwrap().count(), 0);
    assert!(on_disk(&small.join("empty"))[&b""[..]].xattrs.is_empty());
    unmount(&small, UnmountFlags::DETACH).unwrap();
}

#[test]
fn a_branch_in_use_is_refused() {
    let ground = Ground::of("d/ .wh.x=", "");
    let before = ground.all();
    let upper = opened(&ground.branch(), &ground.at("work"));
    let outcome = in_place(&ground.branch(), TO_OVERLAY);
    let in_use = matches!(outcome, Err(Failure::Setup(SetupError::BranchInUse { .. })));
    assert!(in_use, "{outcome:?}");
    drop(upper);
    fs::write(ground.at("file"), "").unwrap();
    let outcome = in_place(&ground.at("file"), TO_OVERLAY);
    let no_directory = matches!(
        outcome,
        Err(Failure::Setup(SetupError::NotDirectory { .. }))
    );
    assert!(no_directory, "{outcome:?}");
    assert_eq!(difference(&before, &ground.all()), "");
    in_place(&ground.branch(), TO_OVERLAY).unwrap();
}

#[test]
fn a_branch_that_is_half_way_is_not_mounted() {
    let ground = Ground::of("d/", "");
    let refuses = |directories: &Directories| match directories.open() {
        Err(error @ SetupError::HalfConverted { .. }) => {
            assert!(error.to_string().contains("run ufs convert"), "{error}");
        }
        outcome => panic!("{outcome:?}"),
    };
    let lower = Directories {
        lowers: vec![ground.at("below"), ground.branch()],
        ..Directories::default()
    };
    let upper = Directories {
        lowers: vec![ground.at("below")],
        upper: Some(ground.branch()),
        work: Some(ground.at("work")),
        ..Directories::default()
    };
    let mark = ground.branch().join(".wh..wh.convert");
    fs::write(&mark, "a file is anybody's").unwrap();
    lower.open().unwrap();
    fs::remove_file(&mark).unwrap();
    fs::create_dir(&mark).unwrap();
    refuses(&lower);
    refuses(&upper);
    assert!(lower.open_to_check().is_err());
}
