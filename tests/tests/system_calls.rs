//! The same on directories with finer scissors: a process that does one
//! operation is killed before each of its system calls that change anything,
//! or one of them fails. Needs root and `strace`.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use overlay_core::Stack;
use overlay_core::spec::generate::Case;
use overlay_core::spec::{Config, Dir, Outcome, Stored, differences, look, view};
use overlay_tests::runner::{root, skip};
use overlay_tests::scenario;
use overlay_tests::subject::core::Core;
use overlay_tests::subject::core::storages::{OnDirectories, Storages, stack_in};
use overlay_tests::trial::{On, Trial};
use overlay_tests::{Subject, load};

/// Where the layers are, for the process that is to be killed.
const HOME: &str = "UFS_CHILD_HOME";
/// How many layers there are.
const LAYERS: &str = "UFS_CHILD_LAYERS";
/// What it does with them, a step of a scenario.
const STEP: &str = "UFS_CHILD_STEP";

/// A step that changes nothing, but has to mount first.
const LOOK: &str = "stat /: ok";

/// Everything that changes a disk; `?` for what an older `strace` does not
/// know.
const CHANGES: &str = "mknodat,mkdirat,symlinkat,linkat,unlinkat,renameat,renameat2,\
    fchmod,fchmodat,?fchmodat2,fchown,fchownat,utimensat,\
    setxattr,lsetxattr,fsetxattr,removexattr,lremovexattr,fremovexattr,\
    ?setxattrat,?removexattrat,\
    pwrite64,ftruncate,fallocate,copy_file_range,fsync,fdatasync";

/// The layers are there, and the operation may have been done already.
#[derive(Debug)]
struct Existing {
    home: PathBuf,
    layers: usize,
}

impl Storages for Existing {
    fn rotate(&mut self) {
        unreachable!("the histories here have no rotation");
    }

    fn stack(&self) -> Stack {
        stack_in(&self.home, true, 1..self.layers)
    }

    fn stored(&self) -> Vec<Dir<Stored>> {
        (0..self.layers)
            .map(|index| load::from_disk(&self.home.join(index.to_string()), index))
            .collect()
    }

    fn litter(&self) -> Vec<String> {
        let work = std::fs::read_dir(self.home.join("work/work")).unwrap();
        work.map(|entry| entry.unwrap().file_name().display().to_string())
            .collect()
    }
}

/// No test by itself: the process that is killed, or whose calls fail. It
/// says what the operation answered, and looks at what it sees then.
#[test]
fn the_process_that_is_cut() {
    let Ok(home) = std::env::var(HOME) else {
        return;
    };
    let step = std::env::var(STEP).unwrap();
    let op = scenario::case(&[], &[&step]).ops.remove(0);
    let storages = Existing {
        home: home.into(),
        layers: std::env::var(LAYERS).unwrap().parse().unwrap(),
    };
    let mut core = Core::new(Box::new(storages), true, Config::default());
    println!("mounted");
    let outcome = core.apply(&op);
    println!("answer {outcome}");
    let shown = core.look().unwrap();
    let stored = look(&view(&core.stored()));
    assert_eq!(differences(&stored, &shown), []);
    println!("litter {:?}", core.litter());
    println!("agreed");
}

fn strace() -> Result<(), String> {
    let mut version = Command::new("strace");
    match version.arg("-V").stdout(Stdio::null()).status() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Err("strace is not here".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// Does the operation in a process of its own, with options for `strace`.
fn elsewhere(case: &Case, step: &str, home: &Path, options: &[&str]) -> Output {
    Command::new("strace")
        .args(["-f", "-qq"])
        .args(options)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "the_process_that_is_cut", "--nocapture"])
        .env(HOME, home)
        .env(LAYERS, case.layers.len().to_string())
        .env(STEP, step)
        .output()
        .unwrap()
}

/// The calls that an operation makes, in their order.
fn calls(case: &Case, step: &str) -> Vec<String> {
    let storages = prepared(case);
    let home = storages.scratch().path();
    let log = home.join("calls");
    let trace = format!("trace={CHANGES}");
    let options = ["-o", log.to_str().unwrap(), "-e", &trace];
    let output = elsewhere(case, step, home, &options);
    assert!(output.status.success(), "{output:?}");
    let log = std::fs::read_to_string(&log).unwrap();
    let calls = log.lines().filter_map(|line| {
        let (_, call) = line.split_once(' ')?;
        let (name, _) = call.trim_start().split_once('(')?;
        // What this `strace` has no name for it can neither cut nor fail.
        (!name.starts_with("syscall_")).then(|| name.to_owned())
    });
    calls.collect()
}

/// The layers after the history that comes before the operation.
fn prepared(case: &Case) -> Arc<OnDirectories> {
    let storages = Arc::new(OnDirectories::new(&case.layers, true));
    let mut core = Core::new(Box::new(Arc::clone(&storages)), true, Config::default());
    let (_, history) = case.ops.split_last().unwrap();
    for op in history {
        assert_eq!(core.apply(op), Outcome::Done);
    }
    storages
}

/// Cuts and fails the last step before and at each of its system calls.
fn survives(layers: &[&str], steps: &[&str]) {
    if skip(root()) || skip(strace()) {
        return;
    }
    let case = scenario::case(layers, steps);
    let step = steps.last().unwrap();
    let mounting = match *step {
        LOOK => 0,
        _ => calls(&case, LOOK).len(),
    };
    let calls = calls(&case, step);
    assert!(calls.len() > mounting, "{case}nothing was changed");
    for (index, name) in calls.iter().enumerate().skip(mounting) {
        // `strace` counts each kind of call by itself.
        let number = calls[..=index].iter().filter(|call| *call == name).count();
        for how in ["signal=KILL", "error=ENOSPC"] {
            let inject = format!("inject={name}:{how}:when={number}");
            let at = format!("{case}{how} at {name} {number}, call {index} of {calls:?}");
            one_cut(&case, step, &inject, how == "signal=KILL")
                .unwrap_or_else(|message| panic!("{at}\n{message}"));
        }
    }
}

fn one_cut(case: &Case, step: &str, inject: &str, killed: bool) -> Result<(), String> {
    let trial = Trial::new(case, On::Directories).unwrap();
    let storages = prepared(case);
    let home = storages.scratch().path();
    let trace = format!("trace={CHANGES}");
    let options = ["-o", "/dev/null", "-e", &trace, "-e", inject];
    let output = elsewhere(case, step, home, &options);
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = || format!("{said}{}", String::from_utf8_lossy(&output.stderr));
    if killed && said.contains("answer") && said.contains("agreed") {
        return Err(format!("it was not killed:\n{}", failed()));
    }
    // What fails before anything is mounted is not the operation's; and what
    // cannot be removed stays in the work area until the next mount.
    if !killed && said.contains("mounted") {
        let clean = said.contains("litter []") || inject.contains("unlinkat");
        if !clean || !said.contains("agreed") {
            return Err(failed());
        }
    }
    let mut core = Core::new(Box::new(Arc::clone(&storages)), true, Config::default());
    let shown = core.look()?;
    trial.one_of_both(&shown)?;
    let stored = look(&view(&core.stored()));
    let litter = core.litter();
    if !differences(&stored, &shown).is_empty() || !litter.is_empty() {
        return Err(format!("after a remount: {litter:?}"));
    }
    Ok(())
}

#[test]
fn mounting() {
    survives(&["f=up", "d/"], &[LOOK]);
}

#[test]
fn creating() {
    survives(&["", "d/"], &["chmod /d 2755: ok", "mkdir /d/e: ok"]);
    survives(&["", "f=low"], &["rm /f: ok", "mkfile /f: ok"]);
    survives(
        &["", "d/ d/x="],
        &["rm /d/x: ok", "rmdir /d: ok", "mkdir /d: ok"],
    );
}

#[test]
fn copying_up() {
    survives(&["", "d/ d/f=low"], &["append /d/f +top: ok"]);
    survives(&["", "d/ d/f=low"], &["empty /d/f: ok"]);
    survives(&["", "d/ d/l@target"], &["chown /d/l 7: ok"]);
}

#[test]
fn removing() {
    survives(&["", "f=low"], &["append /f +top: ok", "rm /f: ok"]);
    survives(&["d/ d/x- d/y-", "d/ d/x=low"], &["rmdir /d: ok"]);
    survives(&["d/! d/x- d/y-", ""], &["rmdir /d: ok"]);
}

#[test]
fn renaming() {
    survives(&["", "f=low"], &["mv /f /g: ok"]);
    survives(
        &["e/ e/new= d/ d/x-", "d/ d/x=low"],
        &["setxattr /d user.a v: ok", "chown /d 7: ok", "mv /e /d: ok"],
    );
    survives(&["e/ e/new= d-", "d/ d/old="], &["mv /e /d: ok"]);
    survives(&["d/! d/f=1 e/! e/g=2", "d/ e/"], &["swap /d /e: ok"]);
}

#[test]
fn changing_attributes() {
    survives(&["f=up", ""], &["chmod /f 6755: ok", "chown /f 7: ok"]);
}

#[test]
fn linking() {
    survives(&["g=up", "f=low"], &["rm /f: ok", "ln /g /f: ok"]);
}
