//! Programs at work while the branches under them come and go: nothing is lost,
//! and nothing is seen that was not there.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::branches::{branch, change, mount, scene};
use common::{Mounted, Scene, can_mount, said};

/// How long branches come and go.
const LENGTH: Duration = Duration::from_secs(8);

/// What is mounted under a load: `x` and `y` are the branches that come and go,
/// with 50 files each.
const MOUNT: &str = "br:a=rw:b=rw:base=ro+wh,create=rr,udba=none";

fn layers() -> Scene {
    let scene = scene(&["a", "b", "base/d", "x/d", "y/d"]);
    for at in 0..50 {
        fs::write(scene.at(format!("x/d/x{at}")), "x").unwrap();
        fs::write(scene.at(format!("y/d/y{at}")), "y").unwrap();
    }
    scene
}

/// Branches come and go once; whether `b` was read-only meanwhile. Files may be
/// open for writing on it: then it stays as it is.
fn round(scene: &Scene, mounted: &Mounted) -> bool {
    change(scene, &["append", "m", "x=ro+wh"]);
    assert!(mounted.at("d/x7").exists());
    change(scene, &["add", "m", "2", "y=ro+wh"]);
    change(scene, &["remove", "m", "x"]);
    assert!(!mounted.at("d/x7").exists());
    let output = branch(scene, &["mode", "m", "b=ro+wh"]);
    let frozen = output.status.success();
    match frozen {
        true => change(scene, &["mode", "m", "b=rw"]),
        false => assert!(said(&output).contains("close them first")),
    }
    change(scene, &["remove", "m", "y"]);
    frozen
}

/// Appends numbered lines to a file of its own, by one handle or a new one each
/// time, and says how many.
fn append_lines(path: &Path, stop: &AtomicBool) -> u64 {
    let mut count = 0;
    let mut open: Option<File> = None;
    while !stop.load(Ordering::Relaxed) {
        if open.is_none() || count % 5 == 0 {
            // A branch that is full or read-only for a moment is no error that
            // loses anything: the line is written again.
            open = OpenOptions::new().create(true).append(true).open(path).ok();
        }
        let Some(file) = &mut open else {
            continue;
        };
        let line = format!("{count}\n");
        match file.write_all(line.as_bytes()) {
            Ok(()) => count += 1,
            Err(error) => panic!("a write failed: {error}"),
        }
        if count % 7 == 0 {
            open = None;
        }
    }
    count
}

/// Whoever ends, by a failed assertion too, ends all.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn nothing_is_lost_while_branches_come_and_go_under_load() {
    if !can_mount() {
        return;
    }
    let scene = layers();
    for at in 0..50 {
        fs::write(scene.at(format!("base/d/{at}")), format!("{at}")).unwrap();
    }
    let mounted = mount(&scene, MOUNT);
    let numbers: BTreeMap<String, u64> = (0..50)
        .map(|at| {
            let path = format!("d/{at}");
            let number = fs::metadata(mounted.at(&path)).unwrap().ino();
            (path, number)
        })
        .collect();
    let stop = AtomicBool::new(false);
    let point = mounted.point.as_path();
    let (stop, numbers) = (&stop, &numbers);
    let until = Instant::now() + LENGTH;
    let mut rounds = 0;
    let counts: Vec<(PathBuf, u64)> = thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|at| {
                let path = point.join(format!("log{at}"));
                scope.spawn(move || {
                    let _end = End(stop);
                    let count = append_lines(&path, stop);
                    (path, count)
                })
            })
            .collect();
        for _ in 0..2 {
            scope.spawn(move || {
                let _end = End(stop);
                while !stop.load(Ordering::Relaxed) {
                    for (path, number) in numbers {
                        let attr = fs::metadata(point.join(path)).unwrap();
                        assert_eq!(attr.ino(), *number, "{path}");
                        let at = path.strip_prefix("d/").unwrap();
                        assert_eq!(fs::read_to_string(point.join(path)).unwrap(), at);
                    }
                }
            });
        }
        // One that makes, renames and removes.
        scope.spawn(move || {
            let _end = End(stop);
            let mut turn = 0u64;
            while !stop.load(Ordering::Relaxed) {
                let (one, two) = (point.join(format!("t{turn}")), point.join("moved"));
                fs::write(&one, turn.to_string()).unwrap();
                fs::rename(&one, &two).unwrap();
                assert_eq!(fs::read_to_string(&two).unwrap(), turn.to_string());
                turn += 1;
            }
        });
        // One that lists.
        scope.spawn(move || {
            let _end = End(stop);
            while !stop.load(Ordering::Relaxed) {
                let names = fs::read_dir(point.join("d")).unwrap();
                let names: Vec<String> = names
                    .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                    .collect();
                let own = names
                    .iter()
                    .filter(|name| numbers.contains_key(&format!("d/{name}")));
                assert_eq!(own.count(), numbers.len());
                let of_x = names.iter().filter(|name| name.starts_with('x')).count();
                assert!(of_x == 0 || of_x == 50, "{of_x} of a branch");
            }
        });
        let _end = End(stop);
        while Instant::now() < until && !stop.load(Ordering::Relaxed) {
            round(&scene, &mounted);
            rounds += 1;
        }
        stop.store(true, Ordering::Relaxed);
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .collect()
    });
    assert!(rounds > 3);
    for (path, count) in counts {
        let expected: String = (0..count).map(|line| format!("{line}\n")).collect();
        assert_eq!(fs::read_to_string(path).unwrap(), expected);
    }
}

/// What each of eight processes does until there is a file `stop`, in the
/// mount. Whatever fails ends it with an error.
const LOAD: [&str; 8] = [
    // Appends lines by one open each.
    "i=0; while running; do echo $i >> log0; i=$((i+1)); done; seq 0 $((i-1)) | cmp - log0",
    "i=0; while running; do echo $i >> log1; i=$((i+1)); done; seq 0 $((i-1)) | cmp - log1",
    // Writes a file that stays open.
    "i=0; while running; do rm -f log2; (j=0; while [ $j -lt 50 ]; do echo $j; j=$((j+1)); done) > log2; \
        seq 0 49 | cmp - log2; done",
    // Changes what a read-only branch has.
    "i=0; while running; do echo $i >> d/c$((i % 20)); i=$((i+1)); done; cat d/c* | wc -l > ../lines; \
        [ $(cat ../lines) -eq $((i + 20)) ]",
    // Reads what stays as it is.
    "while running; do cat d/r* | cmp - ../expected; done",
    "while running; do [ \"$(stat -c %i d/r*)\" = \"$(cat ../numbers)\" ]; done",
    // Makes, renames and removes.
    "while running; do mkdir t; echo 1 > t/f; ln t/f t/g; mv t/g u; cat u > /dev/null || { ls -la . t; sleep 1; ls -la . t; cat u; find ../a ../b -name '[tufg]' -ls; exit 1; } >&2; rm -r t u; done",
    // Lists: all of a branch, or nothing.
    "while running; do n=$(ls d | grep -c ^x || true); [ $n -eq 0 ] || [ $n -eq 50 ]; done",
];

#[test]
fn eight_processes_go_on_while_branches_come_and_go() {
    if !can_mount() {
        return;
    }
    let scene = layers();
    let mut expected = String::new();
    for at in 0..50 {
        // In the order of their names.
        let content = format!("{at}\n").repeat(100);
        fs::write(scene.at(format!("base/d/r{at:02}")), &content).unwrap();
        expected.push_str(&content);
    }
    for at in 0..20 {
        fs::write(scene.at(format!("base/d/c{at}")), "first\n").unwrap();
    }
    fs::write(scene.at("expected"), expected).unwrap();
    let mounted = mount(&scene, MOUNT);
    let numbers = Command::new("sh")
        .args(["-c", "stat -c %i d/r* > ../numbers"])
        .current_dir(&mounted.point)
        .status();
    assert!(numbers.unwrap().success());
    let start = |script: &&str| {
        let script = format!("running() {{ [ ! -e ../stop ]; }}; {script}");
        let mut command = Command::new("sh");
        command.args(["-ec", &script]).current_dir(&mounted.point);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let load: Vec<_> = LOAD.iter().map(start).collect();
    let until = Instant::now() + LENGTH;
    let (mut rounds, mut frozen) = (0, 0);
    let changes = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        while Instant::now() < until {
            frozen += u32::from(round(&scene, &mounted));
            rounds += 1;
        }
    }));
    fs::write(scene.at("stop"), "").unwrap();
    for (child, script) in load.into_iter().zip(LOAD) {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{script}: {}", said(&output));
    }
    if let Err(panic) = changes {
        std::panic::resume_unwind(panic);
    }
    assert!(rounds > 3 && frozen > 0, "{frozen} of {rounds}");
}
