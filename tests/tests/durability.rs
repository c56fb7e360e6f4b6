//! What copying up makes durable, and when: the system calls of each mode of
//! [`Durability`], and what a volatile union says once data was lost.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use overlay_core::fs::UnionFs;
use overlay_core::layer::dir::{Descriptors, DirStorage, DirUpper};
use overlay_core::layer::{SyncWhat, WritableStorage};
use overlay_core::union::{Durability, Index, Metacopy, OpenOptions, Options, RedirectDir};
use overlay_core::{Errno, Error, MemStorage, Name, SetAttr, Stack, Union};
use overlay_tests::faulty::{Faults, Faulty, Plan, Scope};
use overlay_tests::runner::{root, skip};

/// Where the layers are, for the process that is watched.
const HOME: &str = "UFS_DURABILITY_HOME";
/// Which mode it uses.
const MODE: &str = "UFS_DURABILITY_MODE";
/// What it does.
const STEP: &str = "UFS_DURABILITY_STEP";

/// All that makes anything durable, and what publishes a copy.
const WATCHED: &str = "trace=fsync,fdatasync,syncfs,sync,msync,sync_file_range,renameat2";

const MODES: [(&str, Durability); 4] = [
    ("auto", Durability::Auto),
    ("strict", Durability::Strict),
    ("volatile", Durability::Volatile),
    ("unmarked", Durability::Unmarked),
];

fn options(durability: Durability) -> Options {
    Options {
        durability,
        redirect_dir: RedirectDir::On,
        ..Options::default()
    }
}

fn open(home: &Path, options: Options) -> Arc<Union> {
    let descriptors = Descriptors::new(64);
    let upper = DirUpper::open(&home.join("upper"), &home.join("work"), &descriptors);
    let lower = DirStorage::open(&home.join("lower"), &descriptors);
    let stack = Stack::new().upper(upper.unwrap()).lower(lower.unwrap());
    Union::with_options(stack, options).unwrap()
}

/// A lower with `d/file`, `d/empty`, `d/link` and `d/linked`, and an empty
/// upper.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    for name in ["lower/d", "upper", "work"] {
        fs::create_dir_all(home.path().join(name)).unwrap();
    }
    fs::write(home.path().join("lower/d/file"), "data").unwrap();
    fs::write(home.path().join("lower/d/empty"), "").unwrap();
    symlink("target", home.path().join("lower/d/link")).unwrap();
    let linked = home.path().join("lower/d/linked");
    fs::write(&linked, "data").unwrap();
    fs::hard_link(&linked, home.path().join("lower/other")).unwrap();
    home
}

/// No test by itself: the process that is watched.
#[test]
fn the_process_that_is_watched() {
    let Some(home) = std::env::var_os(HOME) else {
        return;
    };
    let mode = std::env::var(MODE).unwrap();
    let (_, durability) = MODES.into_iter().find(|(name, _)| *name == mode).unwrap();
    let step = std::env::var(STEP).unwrap();
    let options = Options {
        metacopy: match step.starts_with("metacopy") {
            true => Metacopy::On,
            false => Metacopy::Follow,
        },
        index: match step.starts_with("index") {
            true => Index::On,
            false => Index::Off,
        },
        ..options(durability)
    };
    let union = open(Path::new(&home), options);
    let fs = UnionFs::from_union(Arc::clone(&union));
    let write = OpenOptions {
        write: true,
        truncate: false,
        append: false,
    };
    let chown = SetAttr {
        uid: Some(7),
        ..SetAttr::default()
    };
    let look = |name: &str| {
        let dir = union.lookup(&union.root(), Name::new(b"d").unwrap());
        let dir = dir.unwrap().unwrap().inode;
        let entry = union.lookup(&dir, Name::new(name.as_bytes()).unwrap());
        (dir, entry.unwrap().unwrap().inode)
    };
    match step.as_str() {
        "index, write" => drop(fs.open_with("d/linked", write).unwrap()),
        "metacopy, chown" => drop(union.set_attr(&look("file").1, &chown).unwrap()),
        "metacopy, chown, write" => {
            union.set_attr(&look("file").1, &chown).unwrap();
            drop(fs.open_with("d/file", write).unwrap());
        }
        "write" => drop(fs.open_with("d/file", write).unwrap()),
        "truncate" => {
            let cut = OpenOptions {
                write: true,
                truncate: true,
                append: false,
            };
            drop(fs.open_with("d/file", cut).unwrap());
        }
        "chown empty" => drop(union.set_attr(&look("empty").1, &chown).unwrap()),
        "chown link" => drop(union.set_attr(&look("link").1, &chown).unwrap()),
        "sync" => {
            let (dir, file) = look("file");
            let handle = union.open(&file, write).unwrap();
            union.sync_file(&handle, SyncWhat::All).unwrap();
            union.sync_file(&handle, SyncWhat::Data).unwrap();
            union.sync_dir(&dir).unwrap();
        }
        step => panic!("{step}?"),
    }
}

fn strace() -> Result<(), String> {
    let mut version = Command::new("strace");
    let found = version.arg("-V").stdout(Stdio::null()).status();
    found.map(drop).map_err(|error| format!("strace: {error}"))
}

/// What `step` syncs and publishes, in order: `call object`, where a copy in
/// the work area is called `#`.
fn calls(mode: &str, step: &str) -> Vec<String> {
    let home = home();
    let log = home.path().join("log");
    let status = Command::new("strace")
        .args(["-f", "-qq", "-y", "-e", "signal=none", "-e", WATCHED, "-o"])
        .arg(&log)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "the_process_that_is_watched"])
        .env(HOME, home.path())
        .env(MODE, mode)
        .env(STEP, step)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{mode} {step}");
    let log = fs::read_to_string(&log).unwrap();
    log.lines()
        .filter_map(|line| call(line, home.path()))
        .collect()
}

fn call(line: &str, home: &Path) -> Option<String> {
    let (_, call) = line.split_once(' ')?;
    let (name, rest) = call.trim_start().split_once('(')?;
    if name == "renameat2" {
        // Of those only what leaves the work area for the upper layer.
        let mut names = rest.split('"').skip(1).step_by(2);
        let (_, to) = (names.next()?, names.next()?);
        let published = rest.contains("RENAME_NOREPLACE") && !to.starts_with('#');
        let is_handle = to.len() > 16 && to.bytes().all(|byte| byte.is_ascii_hexdigit());
        let shown = if is_handle { "handle" } else { to };
        return published.then(|| format!("publish {shown}"));
    }
    let (_, path) = rest.split_once('<')?;
    let (path, _) = path.split_once('>')?;
    let path = PathBuf::from(path);
    let inside = path
        .strip_prefix(home)
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let shown = match inside.strip_prefix("work/work/#") {
        Some(_) => "#".to_owned(),
        None => inside,
    };
    Some(format!("{name} {shown}"))
}

fn expect(mode: &str, step: &str, expected: &[&str]) {
    assert_eq!(calls(mode, step), expected, "{mode}: {step}");
}

#[test]
fn auto_syncs_the_data_of_a_file_before_its_copy_is_published_and_nothing_else() {
    if skip(root()) || skip(strace()) {
        return;
    }
    expect("auto", "write", &["publish d", "fsync #", "publish file"]);
    expect("auto", "truncate", &["publish d", "publish file"]);
    expect("auto", "chown empty", &["publish d", "publish empty"]);
    expect("auto", "chown link", &["publish d", "publish link"]);
}

#[test]
fn strict_makes_every_copy_durable_with_its_entry_and_its_parents() {
    if skip(root()) || skip(strace()) {
        return;
    }
    let parent = ["fsync #", "publish d", "fsync upper"];
    let strict = |step: &str, copy: &[&str]| expect("strict", step, &[&parent, copy].concat());
    strict("write", &["fsync #", "publish file", "fsync upper/d"]);
    strict("truncate", &["fsync #", "publish file", "fsync upper/d"]);
    strict(
        "chown empty",
        &["fsync #", "publish empty", "fsync upper/d"],
    );
    // A symlink cannot be opened: it is durable with its entry.
    strict("chown link", &["publish link", "fsync upper/d"]);
}

#[test]
fn volatile_makes_nothing_durable_and_asks_only_whether_data_was_lost() {
    if skip(root()) || skip(strace()) {
        return;
    }
    for mode in ["volatile", "unmarked"] {
        expect(mode, "write", &["publish d", "publish file"]);
        expect(mode, "chown link", &["publish d", "publish link"]);
        let asked = "sync_file_range upper/d/file";
        expect(mode, "sync", &["publish d", "publish file", asked, asked]);
    }
    let asked = [
        "fsync upper/d/file",
        "fdatasync upper/d/file",
        "fsync upper/d",
    ];
    let before = ["publish d", "fsync #", "publish file"];
    expect("auto", "sync", &[before, asked].concat());
}

#[test]
fn data_that_follows_a_copy_of_the_attributes_is_made_durable_by_the_same_rules() {
    if skip(root()) || skip(strace()) {
        return;
    }
    let (chown, write) = ("metacopy, chown", "metacopy, chown, write");
    let published = ["publish d", "publish file"];
    let data = "fsync upper/d/file";
    for mode in ["auto", "volatile"] {
        expect(mode, chown, &published);
    }
    expect("auto", write, &[&published[..], &[data]].concat());
    expect("volatile", write, &published);
    let strict = [
        "fsync #",
        "publish d",
        "fsync upper",
        "fsync #",
        "publish file",
        "fsync upper/d",
    ];
    expect("strict", chown, &strict);
    // The data, and that the mark is gone.
    expect("strict", write, &[&strict[..], &[data, data]].concat());
}

#[test]
fn a_copy_in_the_index_is_made_durable_with_its_names() {
    if skip(root()) || skip(strace()) {
        return;
    }
    let write = "index, write";
    // The copy first, then the directory for its name.
    expect("auto", write, &["fsync #", "publish handle", "publish d"]);
    expect("volatile", write, &["publish handle", "publish d"]);
    let copy = ["fsync #", "publish handle", "fsync work/index"];
    let name = ["fsync #", "publish d", "fsync upper", "fsync upper/d"];
    expect("strict", write, &[copy.as_slice(), &name].concat());
}

#[test]
fn a_volatile_union_marks_its_work_area_before_the_first_change_and_the_next_is_refused() {
    let home = home();
    let marker = home.path().join("work/work/incompat/volatile/dirty");
    let try_open = |durability| {
        let descriptors = Descriptors::new(64);
        let (upper, work) = (home.path().join("upper"), home.path().join("work"));
        // A child that another test just starts holds our lock until its exec.
        let upper = loop {
            match DirUpper::open(&upper, &work, &descriptors) {
                Err(Error::Busy(_)) => std::thread::yield_now(),
                opened => break opened?,
            }
        };
        Union::with_options(Stack::new().upper(upper), options(durability))
    };
    for durability in [Durability::Unmarked, Durability::Strict, Durability::Auto] {
        drop(try_open(durability).unwrap());
        assert!(!marker.exists(), "{durability:?}");
    }
    drop(try_open(Durability::Volatile).unwrap());
    assert!(marker.is_file());
    for (_, durability) in MODES {
        assert_eq!(try_open(durability).unwrap_err().errno(), Errno::INVAL);
    }
    assert!(marker.is_file());
    fs::remove_dir_all(marker.parent().unwrap()).unwrap();
    drop(try_open(Durability::Auto).unwrap());
}

/// A union in memory over `d/a` and `d/b`, whose steps can fail.
fn in_memory(durability: Durability) -> (Arc<Faults>, UnionFs) {
    over(&MemStorage::new(), durability)
}

fn over(upper: &Arc<MemStorage>, durability: Durability) -> (Arc<Faults>, UnionFs) {
    let lower = MemStorage::new();
    for path in ["d/a", "d/b"] {
        lower.write(path, b"data").unwrap();
    }
    let faults = Faults::new(Scope::Changes);
    let upper = Faulty::new(Arc::clone(upper) as Arc<dyn WritableStorage>, &faults);
    let stack = Stack::new().upper(upper).lower(lower);
    let union = Union::with_options(stack, options(durability)).unwrap();
    (faults, UnionFs::from_union(union))
}

#[test]
fn once_data_was_lost_all_syncing_of_a_volatile_union_fails() {
    let (faults, fs) = in_memory(Durability::Volatile);
    let write = OpenOptions {
        write: true,
        truncate: false,
        append: false,
    };
    let (a, b) = (
        fs.open_with("d/a", write).unwrap(),
        fs.open_with("d/b", write).unwrap(),
    );
    a.sync_all().unwrap();
    faults.arm(Plan::FaultAt(1, Errno::NOSPC));
    assert_eq!(a.sync_all().unwrap_err().errno(), Errno::NOSPC);
    faults.arm(Plan::Watch);
    for file in [&a, &b] {
        assert_eq!(file.sync_all().unwrap_err().errno(), Errno::NOSPC);
    }
    let union = fs.union();
    let dir = union.lookup(&union.root(), Name::new(b"d").unwrap());
    let lost = union.sync_dir(&dir.unwrap().unwrap().inode);
    assert_eq!(lost.unwrap_err().errno(), Errno::NOSPC);
    // The last error counts, and reading and writing go on.
    faults.arm(Plan::FaultAt(1, Errno::IO));
    assert_eq!(b.sync_all().unwrap_err().errno(), Errno::IO);
    faults.arm(Plan::Watch);
    assert_eq!(a.sync_all().unwrap_err().errno(), Errno::IO);
    fs.write("d/a", "more").unwrap();
    assert_eq!(fs.read("d/a").unwrap(), b"more");
}

#[test]
fn an_error_of_syncing_is_told_once_and_not_remembered_where_syncing_syncs() {
    let (faults, fs) = in_memory(Durability::Auto);
    let write = OpenOptions {
        write: true,
        truncate: false,
        append: false,
    };
    let a = fs.open_with("d/a", write).unwrap();
    faults.arm(Plan::FaultAt(1, Errno::IO));
    assert_eq!(a.sync_all().unwrap_err().errno(), Errno::IO);
    a.sync_all().unwrap();
}

#[test]
fn a_strict_copy_up_that_cannot_be_made_durable_fails_and_can_be_tried_again() {
    let steps = {
        let (faults, fs) = in_memory(Durability::Strict);
        faults.arm(Plan::Watch);
        fs.write("d/a", "new").unwrap();
        faults.steps()
    };
    let mut syncs = 0;
    for step in 1..=steps {
        let (faults, fs) = in_memory(Durability::Strict);
        faults.arm(Plan::FaultAt(step, Errno::IO));
        let result = fs.write("d/a", "new");
        let failed = faults.failed();
        if failed == Some("sync") {
            syncs += 1;
            assert_eq!(result.unwrap_err().errno(), Errno::IO, "step {step}");
        }
        faults.arm(Plan::Watch);
        assert_eq!(fs.read("d/b").unwrap(), b"data");
        fs.write("d/a", "new").unwrap();
        assert_eq!(fs.read("d/a").unwrap(), b"new", "step {step}: {failed:?}");
    }
    // The directory and its entry, the file and its.
    assert_eq!(syncs, 4);
}

#[test]
fn a_copy_up_that_is_cut_at_any_step_shows_the_file_whole_in_every_mode() {
    let write = OpenOptions {
        write: true,
        truncate: false,
        append: false,
    };
    for (_, durability) in MODES {
        let steps = {
            let (faults, fs) = in_memory(durability);
            faults.arm(Plan::Watch);
            drop(fs.open_with("d/a", write).unwrap());
            faults.steps()
        };
        for step in 1..=steps {
            let upper = MemStorage::new();
            let (faults, fs) = over(&upper, durability);
            faults.arm(Plan::CutAt(step));
            // Times are set back after the copy is published: no error then.
            let opened = fs.open_with("d/a", write).map(drop);
            let failed = faults.failed().unwrap();
            assert!(
                opened.is_err() || failed == "set_attr",
                "{durability:?}: {failed}"
            );
            drop(fs);
            let (_, fs) = over(&upper, durability);
            for path in ["d/a", "d/b"] {
                assert_eq!(fs.read(path).unwrap(), b"data", "{durability:?}: {failed}");
            }
        }
    }
}
