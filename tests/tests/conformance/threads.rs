//! Many threads on one storage: no node ever shows another object than its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use overlay_core::Errno;
use overlay_core::layer::{NewKind, Removal, RenameMode, WritableNode};
use overlay_tests::conformance::*;
use overlay_tests::contract;

const FOR: Duration = Duration::from_millis(600);

/// Runs `work` in a loop on its own thread until the time is up.
fn during<'a>(
    scope: &'a thread::Scope<'a, '_>,
    over: &'a AtomicBool,
    mut work: impl FnMut() + Send + 'a,
) {
    scope.spawn(move || {
        while !over.load(Ordering::Relaxed) {
            work();
        }
    });
}

fn until_over(over: &AtomicBool) {
    let begin = Instant::now();
    while begin.elapsed() < FOR {
        thread::sleep(Duration::from_millis(5));
    }
    over.store(true, Ordering::Relaxed);
}

contract! {
    fn a_node_never_shows_what_took_its_name(subject) {
        let root = &*subject.root;
        let (a, b) = (mkdir(root, "a"), mkdir(root, "b"));
        let (one, two) = (write(&*a, "x", b"1"), write(&*b, "x", b"22"));
        let (is_one, is_two) = (identity(&*one), identity(&*two));
        let (one, two, a, b) = (&*one, &*two, &*a, &*b);
        let (over, seen) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            let mut swapped = false;
            during(scope, &over, move || {
                let (moved, displaced) = match swapped {
                    false => (one, two),
                    true => (two, one),
                };
                let (x, mode) = (name("x"), RenameMode::Exchange);
                a.rename(x, b, x, mode, Some(moved), Some(displaced)).unwrap();
                swapped = !swapped;
            });
            // Nothing but the call that must not be late: the window is small.
            during(scope, &over, || {
                for _ in 0..100 {
                    assert_eq!(identity(one), is_one);
                    assert_eq!(identity(two), is_two);
                }
                seen.fetch_add(1, Ordering::Relaxed);
            });
            during(scope, &over, || {
                assert_eq!(read(one), b"1");
                assert_eq!(read(two), b"22");
                thread::sleep(Duration::from_millis(1));
            });
            until_over(&over);
        });
        // Each stands for 200 looks; how many there is time for is the machine's.
        assert!(seen.load(Ordering::Relaxed) > 0);
    }

    fn what_lies_in_moving_directories_stays_in_reach(subject) {
        let root = &*subject.root;
        let (a, b) = (mkdir(root, "a"), mkdir(root, "b"));
        // Enough of them that the small budget evicts all the time.
        let deep: Vec<Arc<dyn WritableNode>> = (0..40)
            .map(|number| {
                let inner = mkdir(&*mkdir(&*a, &format!("d{number}")), "inner");
                write(&*inner, "file", format!("{number}").as_bytes())
            })
            .collect();
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            during(scope, &over, || {
                for (from, to) in [("a", "c"), ("c", "a")] {
                    let mode = RenameMode::NoReplace;
                    root.rename(name(from), root, name(to), mode, Some(&*a), None).unwrap();
                }
                root.rename(name("a"), &*b, name("x"), RenameMode::Replace, Some(&*a), None)
                    .unwrap();
                b.rename(name("x"), root, name("a"), RenameMode::Replace, Some(&*a), None)
                    .unwrap();
            });
            for _ in 0..3 {
                during(scope, &over, || {
                    for (number, node) in deep.iter().enumerate() {
                        assert_eq!(read(&**node), format!("{number}").as_bytes());
                    }
                });
            }
            until_over(&over);
        });
    }

    fn a_removed_node_is_itself_before_and_after(subject) {
        let root = &*subject.root;
        for round in 0..200_u32 {
            let content = round.to_le_bytes();
            let node = write(root, "x", &content);
            let before = identity(&*node);
            thread::scope(|scope| {
                scope.spawn(|| {
                    root.remove(name("x"), Removal::NonDirectory, Some(&*node)).unwrap();
                    write(root, "x", b"another");
                });
                for _ in 0..20 {
                    assert_eq!(identity(&*node), before);
                    assert_eq!(read(&*node), content);
                }
            });
            unlink(root, "x");
        }
    }

    fn of_many_who_create_one_name_one_wins(subject) {
        let root = &*subject.root;
        for _ in 0..50 {
            let won = AtomicU64::new(0);
            thread::scope(|scope| {
                for number in 0..4 {
                    let won = &won;
                    scope.spawn(move || {
                        // A mode that every umask cuts is made in the work area.
                        let mode = if number % 2 == 0 { 0o600 } else { 0o7777 };
                        match root.create(name("x"), &new(NewKind::Regular, mode)) {
                            Ok(_) => _ = won.fetch_add(1, Ordering::Relaxed),
                            Err(error) => assert_eq!(error.errno(), Errno::EXIST),
                        }
                    });
                }
            });
            assert_eq!(won.into_inner(), 1);
            unlink(root, "x");
        }
    }

    /// Writers take two places' locks, readers walk up through both.
    fn opposite_renames_and_readers_never_wait_for_each_other(subject) {
        let root = &*subject.root;
        let (a, b) = (mkdir(root, "a"), mkdir(root, "b"));
        let (in_a, in_b) = (mkdir(&*a, "x"), mkdir(&*b, "y"));
        let (file_a, file_b) = (write(&*in_a, "f", b"a"), write(&*in_b, "f", b"b"));
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let swap = |from: &dyn WritableNode, to: &dyn WritableNode, names: (&str, &str)| {
                let (moved, displaced) = match names.0 {
                    "x" => (&in_a, &in_b),
                    _ => (&in_b, &in_a),
                };
                let mode = RenameMode::Exchange;
                // Of two at once, the nodes of both must end up right.
                let nodes = (Some(&**moved), Some(&**displaced));
                from.rename(name(names.0), to, name(names.1), mode, nodes.0, nodes.1).unwrap();
                from.rename(name(names.0), to, name(names.1), mode, nodes.1, nodes.0).unwrap();
            };
            let (a, b) = (&a, &b);
            during(scope, &over, move || {
                swap(&**a, &**b, ("x", "y"));
                swap(&**b, &**a, ("y", "x"));
            });
            for _ in 0..2 {
                during(scope, &over, || {
                    assert_eq!(read(&*file_a), b"a");
                    assert_eq!(read(&*file_b), b"b");
                });
            }
            until_over(&over);
        });
    }
}
