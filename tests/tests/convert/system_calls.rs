//! A process that converts a branch on disk is killed before each of its
//! system calls that change anything. Needs root and `strace`.

use std::process::{Command, Output, Stdio};

use overlay_core::Directories;
use overlay_tests::runner::{root, skip};

use super::directories::{Ground, in_place, on_disk, storage};
use super::*;

/// The branch, for the process that is to be killed.
const BRANCH: &str = "UFS_CHILD_BRANCH";
/// Whether it converts to AuFS.
const BACK: &str = "UFS_CHILD_BACK";

/// Everything that changes a disk; `?` for what an older `strace` does not
/// know.
const CHANGES: &str = "mknodat,mkdirat,symlinkat,linkat,unlinkat,renameat,renameat2,\
    fchmod,fchmodat,?fchmodat2,fchown,fchownat,utimensat,\
    setxattr,lsetxattr,fsetxattr,removexattr,lremovexattr,fremovexattr,\
    ?setxattrat,?removexattrat,syncfs";

/// No test by itself: the process that is killed.
#[test]
fn the_process_that_is_cut() {
    let Ok(branch) = std::env::var(BRANCH) else {
        return;
    };
    let forms = match std::env::var(BACK) {
        Ok(_) => TO_AUFS,
        Err(_) => TO_OVERLAY,
    };
    in_place(branch.as_ref(), forms).unwrap();
    println!("converted");
}

fn strace() -> Result<(), String> {
    let mut version = Command::new("strace");
    let found = version.arg("-V").stdout(Stdio::null()).status();
    found.map(drop).map_err(|error| format!("strace: {error}"))
}

fn elsewhere(ground: &Ground, forms: (Form, Form), options: &[&str]) -> Output {
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq"])
        .args(options)
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "system_calls::the_process_that_is_cut",
            "--nocapture",
        ])
        .env(BRANCH, ground.branch());
    if forms == TO_AUFS {
        command.env(BACK, "yes");
    }
    command.output().unwrap()
}

fn survives(branch: &str, below: &str, forms: (Form, Form)) {
    let below = scenario::layer(below, 1);
    let make = || {
        let ground = Ground::new(&scenario::layer(branch, 0), &below);
        if forms == TO_AUFS {
            in_place(&ground.branch(), TO_OVERLAY).unwrap();
        }
        ground
    };
    let shows = |ground: &Ground| {
        let mut seen = seen(&*storage(&ground.branch()).root(), &below);
        // Each branch has other numbers.
        seen.values_mut().for_each(|sight| sight.ino = 0);
        seen
    };
    let stored = |ground: &Ground| {
        let mut tree = on_disk(&ground.branch());
        for object in tree.values_mut() {
            object.xattrs.remove(&b"trusted.overlay.ufs.aufs"[..]);
        }
        tree
    };
    let whole = make();
    let before = shows(&whole);
    let log = whole.at("calls");
    let trace = format!("trace={CHANGES}");
    let output = elsewhere(&whole, forms, &["-o", log.to_str().unwrap(), "-e", &trace]);
    assert!(output.status.success(), "{output:?}");
    let expected = stored(&whole);
    let log = std::fs::read_to_string(&log).unwrap();
    let calls: Vec<&str> = log
        .lines()
        .filter_map(|line| Some(line.split_once(' ')?.1.trim_start().split_once('(')?.0))
        .filter(|name| !name.starts_with("syscall_"))
        .collect();
    assert!(calls.len() > 10, "{calls:?}");
    for (index, name) in calls.iter().enumerate() {
        let number = calls[..=index].iter().filter(|call| *call == name).count();
        let inject = format!("inject={name}:signal=KILL:when={number}");
        let at = format!("{forms:?}, killed at {name} {number}, call {index} of {calls:?}");
        let ground = make();
        let options = ["-o", "/dev/null", "-e", &trace, "-e", &inject];
        let output = elsewhere(&ground, forms, &options);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(!said.contains("converted"), "{at}: it was not killed");
        assert_eq!(shows(&ground), before, "{at}");
        let mark = ground.branch().join(".wh..wh.convert").exists();
        let mounted = Directories {
            lowers: vec![ground.branch(), ground.at("below")],
            ..Directories::default()
        };
        assert_eq!(mounted.open().is_err(), mark, "{at}");
        let begun = Conversion::begun(&*storage(&ground.branch()).root()).unwrap();
        // Before the first call and after the last there is nothing to be done.
        if begun.is_some() || index < calls.len() / 2 {
            in_place(&ground.branch(), forms).unwrap_or_else(|error| panic!("{at}: {error}"));
        }
        assert_eq!(difference(&expected, &stored(&ground)), "", "{at}");
    }
}

#[test]
fn a_process_killed_at_any_call_leaves_what_the_next_one_finishes() {
    if skip(root()) || skip(strace()) {
        return;
    }
    let branch =
        "d/ d/.wh..wh..opq= d/f=1 .wh.gone= e/ e/.wh.x= .wh..wh.aufs= .wh..wh.plnk/ .wh..wh.orph/";
    let below = "d/ d/g=2 gone=2 e/ e/x=2 e/y=2";
    survives(branch, below, TO_OVERLAY);
    survives(branch, below, TO_AUFS);
}
