//! Threads that meet where several branches can be written, and files move from
//! one to another.
//!
//! `UFS_CASES=10000 cargo test -p overlay-tests --test pool_races` for ten
//! seconds of each.

#![allow(clippy::unwrap_used)]

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use overlay_core::fs::UnionFs;
use overlay_core::layer::mem::MemStorage;
use overlay_core::{Dialect, Errno, Stack};
use overlay_tests::faulty::{Faults, Faulty, Plan, Scope};
use overlay_tests::runner::case_count;

/// A round begins with `target` on the branch above and `source` on the one
/// below, and steps that take their time.
fn rounds(round: impl Fn(&UnionFs)) {
    let (begin, time) = (
        Instant::now(),
        Duration::from_millis(case_count(500).into()),
    );
    let mut done = 0;
    while done == 0 || begin.elapsed() < time {
        done += 1;
        let faults = Faults::new(Scope::All);
        let mut stack = Stack::new();
        for name in ["target", "source"] {
            let storage = MemStorage::new();
            storage.write(name, name.as_bytes()).unwrap();
            let storage = Faulty::new(storage, &faults);
            stack = stack.upper_as(storage, Dialect::Aufs(Default::default()));
        }
        let union = UnionFs::new(stack).unwrap();
        faults.arm(Plan::Dawdle);
        round(&union);
    }
}

#[test]
fn a_file_that_gets_a_name_while_it_moves_keeps_its_names_together() {
    rounds(|union| {
        let start = Barrier::new(2);
        let (linked, renamed) = thread::scope(|scope| {
            let link = scope.spawn(|| {
                start.wait();
                union.hard_link("source", "other")
            });
            start.wait();
            let renamed = union.rename("source", "target");
            (link.join().unwrap(), renamed)
        });
        match (&linked, &renamed) {
            (Ok(()), Ok(())) => {
                let numbers = ["other", "target"].map(|name| union.metadata(name).unwrap());
                assert_eq!(numbers[0].ino, numbers[1].ino);
                assert_eq!(numbers.map(|attr| attr.nlink), [2, 2]);
                union.write("other", b"new").unwrap();
                assert_eq!(union.read("target").unwrap(), b"new");
            }
            (Ok(()), Err(error)) => {
                assert_eq!(error.errno(), Errno::XDEV);
                assert_eq!(union.metadata("source").unwrap().nlink, 2);
                assert_eq!(union.read("target").unwrap(), b"target");
            }
            (Err(error), Ok(())) => {
                assert_eq!(error.errno(), Errno::NOENT);
                assert!(!union.exists("other").unwrap());
                assert_eq!(union.read("target").unwrap(), b"source");
            }
            (Err(_), Err(_)) => panic!("{linked:?} {renamed:?}"),
        }
    });
}
