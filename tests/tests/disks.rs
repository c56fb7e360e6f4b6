//! Each policy on three filesystems of different sizes: a thousand files, each
//! where the policy's definition puts it, by what the filesystems say just
//! before; and what happens when they are full.
//!
//! The filesystems are images on loop devices, mounted in a namespace of the
//! test's own: whatever becomes of the test, they go with it.

#![allow(clippy::unwrap_used)]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use overlay_core::fs::UnionFs;
use overlay_core::layer::dir::{
    AccessTimes, Descriptors, DirStorage, DirUpper, Signs, UpperLock, WorkAt,
};
use overlay_core::policy::{COPY_UP, CREATE, WhenFull};
use overlay_core::union::Options;
use overlay_core::{Dialect, Errno, Name, Stack, Union};
use overlay_tests::conformance::root_or_skip;
use rustix::fs::statvfs;

/// Set where the disks may be mounted; where they belong.
const INSIDE: &str = "UFS_DISKS";

/// In MiB; the middle one is the smallest, so that no order by size is that of
/// the branches.
const SIZES: [u64; 3] = [10, 8, 11];

/// Files that each policy has to place.
const FILES: usize = 1000;

/// Runs `test` in a mount namespace of its own; `None` outside of it.
fn inside(test: &str) -> Option<PathBuf> {
    if let Some(dir) = env::var_os(INSIDE) {
        return Some(dir.into());
    }
    if !root_or_skip(test) {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let this = env::current_exe().unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(this)
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
    None
}

fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {said}");
}

/// Fresh disks, top first.
struct Disks {
    roots: Vec<PathBuf>,
}

impl Disks {
    fn new(dir: &Path, sizes: &[u64], inodes: usize) -> Disks {
        let inodes = inodes.to_string();
        let mut roots = Vec::new();
        for (at, size) in sizes.iter().enumerate() {
            let (image, root) = (dir.join(format!("{at}.img")), dir.join(format!("{at}")));
            let file = fs::File::create(&image).unwrap();
            file.set_len(size << 20).unwrap();
            let made = image.to_str().unwrap();
            let plain = ["-q", "-F", "-m", "0", "-O", "^has_journal"];
            run("mkfs.ext4", &[&plain[..], &["-N", &inodes, made]].concat());
            fs::create_dir_all(&root).unwrap();
            run("mount", &["-o", "loop", made, root.to_str().unwrap()]);
            roots.push(root);
        }
        Disks { roots }
    }

    fn union(&self, create: &str, copy_up: &str, read_only: &[usize]) -> UnionFs {
        let descriptors = Descriptors::new(64);
        let within = Name::new(b".wh..wh.orph").unwrap();
        let aufs = Dialect::Aufs(Default::default());
        let mut stack = Stack::new();
        for (at, root) in self.roots.iter().enumerate() {
            fs::create_dir_all(root.join(".wh..wh.orph")).unwrap();
            if read_only.contains(&at) {
                let storage = DirStorage::open(root, &descriptors);
                stack = stack.lower_as(storage.unwrap(), aufs);
            } else {
                let mut lock = UpperLock::take(root).unwrap();
                lock.take_work(WorkAt::Within(within)).unwrap();
                let times = AccessTimes::default();
                let upper = DirUpper::of(lock, &descriptors, times, Signs::Refused);
                stack = stack.upper_as(upper.unwrap(), aufs);
            }
        }
        let options = Options {
            create: create.parse().unwrap(),
            copy_up: copy_up.parse().unwrap(),
            ..Options::default()
        };
        UnionFs::from_union(Union::with_options(stack, options).unwrap())
    }

    fn on(&self, path: &str) -> Vec<usize> {
        let on = |at: &usize| self.roots[*at].join(path).symlink_metadata().is_ok();
        (0..self.roots.len()).filter(on).collect()
    }

    fn space(&self) -> Vec<Space> {
        let space = |root: &PathBuf| {
            let stat = statvfs(root).unwrap();
            Space {
                free: stat.f_bavail * stat.f_frsize,
                used: (stat.f_blocks - stat.f_bavail) * stat.f_frsize,
                total: stat.f_blocks * stat.f_frsize,
                changed: fs::metadata(root.join("d")).and_then(|d| d.modified()).ok(),
            }
        };
        self.roots.iter().map(space).collect()
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        for root in &self.roots {
            run("umount", &["-l", root.to_str().unwrap()]);
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Space {
    free: u64,
    used: u64,
    total: u64,
    /// When `d` was changed last, if it is there.
    changed: Option<SystemTime>,
}

/// Bytes below which a branch is left by the policies that have a limit.
const LOW: u64 = 8 << 20;

/// Where a policy may put the next file, by its definition: `parent` says which
/// branches have the directory. The words are those of `docs/aufs.md`.
fn allowed(policy: &str, turn: usize, space: &[Space], parent: &[usize]) -> Vec<usize> {
    let all: Vec<usize> = (0..space.len()).collect();
    let most = |of: &[usize]| *of.iter().rev().max_by_key(|at| space[**at].free).unwrap();
    let least = |of: &[usize]| *of.iter().min_by_key(|at| space[**at].free).unwrap();
    // Of equals the lowest, where all are asked.
    let lowest_of_most = |of: &[usize]| *of.iter().max_by_key(|at| space[**at].free).unwrap();
    let fewest = |of: &[usize]| *of.iter().min_by_key(|at| space[**at].used).unwrap();
    let share = |at: usize| space[at].used * 1_000_000 / space[at].total;
    let in_turn = turn % space.len();
    match policy.split(':').next().unwrap() {
        "tdp" | "epff" => vec![parent[0]],
        // The first of equals.
        "newest" => {
            let newest = parent.iter().rev().max_by_key(|at| space[**at].changed);
            vec![*newest.unwrap()]
        }
        "rr" => vec![in_turn],
        "mfs" => vec![lowest_of_most(&all)],
        "mfsrr" if space[lowest_of_most(&all)].free >= LOW => vec![lowest_of_most(&all)],
        "mfsrr" => all,
        "tdmfs" => match all.iter().find(|at| space[**at].free >= LOW) {
            Some(at) => vec![*at],
            None => vec![lowest_of_most(&all)],
        },
        "pmfs" | "epmfs" => vec![most(parent)],
        "pmfsrr" if space[most(parent)].free >= LOW => vec![most(parent)],
        "pmfsrr" if space[lowest_of_most(&all)].free >= LOW => vec![lowest_of_most(&all)],
        "pmfsrr" => all,
        "ff" => vec![0],
        "lfs" => vec![least(&all)],
        "eplfs" => vec![least(parent)],
        "lus" => vec![fewest(&all)],
        "eplus" => vec![fewest(parent)],
        "lup" => {
            let best = all.iter().copied().min_by_key(|at| share(*at));
            vec![best.unwrap()]
        }
        "rand" | "pfrd" => all,
        "eprand" | "eppfrd" => parent.to_vec(),
        other => panic!("no definition of {other}"),
    }
}

#[test]
fn each_policy_places_a_thousand_files_as_it_is_defined() {
    let name = "each_policy_places_a_thousand_files_as_it_is_defined";
    let Some(dir) = inside(name) else { return };
    for row in CREATE {
        let policy = match row.arguments.written() {
            "" => row.name.to_owned(),
            "[:SEC]" => format!("{}:0", row.name),
            _ => format!("{}:{LOW}:0", row.name),
        };
        let disks = Disks::new(&dir, &SIZES, 1200);
        // The directory is on the two lower ones.
        let parent = [1, 2];
        for at in parent {
            fs::create_dir(disks.roots[at].join("d")).unwrap();
        }
        // The lowest is the newest.
        let upper = fs::File::open(disks.roots[parent[0]].join("d")).unwrap();
        upper.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let union = disks.union(&policy, "tdp", &[]);
        let mut counts = [0; SIZES.len()];
        for turn in 0..FILES {
            let has = |at: &usize| disks.roots[*at].join("d").exists();
            let parents: Vec<usize> = (0..SIZES.len()).filter(has).collect();
            let space = disks.space();
            let path = format!("d/{turn}");
            union.write(&path, [b'x'; 4096]).unwrap();
            let on = disks.on(&path);
            let may = allowed(&policy, turn, &space, &parents);
            let why = format!("{policy}, file {turn}: {space:?}, {parents:?}");
            assert_eq!(on.len(), 1, "{why}");
            assert!(may.contains(&on[0]), "{on:?} but {may:?} by {why}");
            counts[on[0]] += 1;
        }
        println!("{policy}: {counts:?}");
        let spread = counts.iter().filter(|count| **count > 0).count();
        if policy.contains("rand") {
            assert!(spread > 1, "{policy}: {counts:?}");
        }
    }
}

#[test]
fn a_full_branch_is_left_for_the_next_where_the_policy_allows_it() {
    let name = "a_full_branch_is_left_for_the_next_where_the_policy_allows_it";
    let Some(dir) = inside(name) else { return };
    for row in CREATE {
        let policy = match row.arguments.written() {
            "" => row.name.to_owned(),
            // It believes in the free space that it saw first.
            "[:SEC]" => format!("{}:3600", row.name),
            _ => format!("{}:1:3600", row.name),
        };
        let disks = Disks::new(&dir, &[4, 4, 4], 100);
        for root in &disks.roots {
            fs::create_dir(root.join("d")).unwrap();
            fs::create_dir(root.join("filler")).unwrap();
            for at in 0..statvfs(root).unwrap().f_ffree.saturating_sub(30) {
                fs::File::create(root.join(format!("filler/{at}"))).unwrap();
            }
        }
        let union = disks.union(&policy, "tdp", &[]);
        // Inodes run out, so that it is making a file that fails, not writing.
        let mut made = 0;
        let failed = loop {
            match union.write(format!("d/{made}"), b"") {
                Ok(()) => made += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(failed.errno(), Errno::NOSPC, "{policy}");
        let full = |root: &PathBuf| statvfs(root).unwrap().f_ffree == 0;
        let full = disks.roots.iter().filter(|root| full(root)).count();
        let expected = match row.when_full {
            WhenFull::Fails => 1,
            WhenFull::Next => 3,
        };
        assert_eq!(full, expected, "{policy} after {made} files");
        // Nothing of what failed is there.
        assert_eq!(union.read_dir("d").unwrap().len(), made);
    }
}

#[test]
fn a_copy_goes_to_the_next_branch_where_the_policy_allows_it() {
    let name = "a_copy_goes_to_the_next_branch_where_the_policy_allows_it";
    let Some(dir) = inside(name) else { return };
    for row in COPY_UP {
        let disks = Disks::new(&dir, &[24, 8, 24], 100);
        for root in &disks.roots {
            fs::create_dir(root.join("d")).unwrap();
        }
        // Too large for the middle one.
        let large = vec![b'x'; 10 << 20];
        fs::write(disks.roots[2].join("d/f"), &large).unwrap();
        // And the middle one is what `tdp` would not choose.
        if row.name == "tdp" {
            fs::remove_dir(disks.roots[0].join("d")).unwrap();
        }
        let union = disks.union("tdp", row.name, &[2]);
        let changed = union.set_attr(
            "d/f",
            &overlay_core::SetAttr {
                mode: Some(0o600),
                ..Default::default()
            },
        );
        match row.when_full {
            WhenFull::Fails => {
                assert_eq!(changed.unwrap_err().errno(), Errno::NOSPC, "{}", row.name);
                assert_eq!(disks.on("d/f"), [2]);
            }
            WhenFull::Next => {
                assert_eq!(changed.unwrap().mode, 0o600);
                assert_eq!(disks.on("d/f"), [0, 2], "{}", row.name);
            }
        }
        assert_eq!(union.read("d/f").unwrap(), large);
    }
}

#[test]
fn the_numbers_of_files_that_lie_on_several_filesystems_are_told_apart_and_stay() {
    let name = "the_numbers_of_files_that_lie_on_several_filesystems_are_told_apart_and_stay";
    let Some(dir) = inside(name) else { return };
    let disks = Disks::new(&dir, &[8, 8, 8], 100);
    let numbers = || {
        let union = disks.union("rr", "tdp", &[]);
        let mut numbers = Vec::new();
        for at in 0..30 {
            let path = format!("f{at}");
            if !union.exists(&path).unwrap() {
                union.write(&path, b"").unwrap();
            }
            numbers.push(union.metadata(&path).unwrap().ino);
        }
        numbers
    };
    let (first, second) = (numbers(), numbers());
    assert_eq!(first, second);
    let mut apart = first.clone();
    apart.sort_unstable();
    apart.dedup();
    assert_eq!(apart.len(), first.len());
}
