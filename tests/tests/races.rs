//! Threads that meet: whatever they do to each other, the union shows what is
//! stored, and every answer is one that some order of the operations gives.
//!
//! `UFS_CASES=20000` gives each race twenty seconds on each storage.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use overlay_core::error::{Errno, Result};
use overlay_core::fs::UnionFs;
use overlay_core::layer::{RenameMode, SetXattr};
use overlay_core::name::Name;
use overlay_core::spec::generate::{cases, cases_configured, ops};
use overlay_core::spec::{Config, Op, RedirectDir, Switch};
use overlay_core::union::{Inode, OpenOptions};
use overlay_core::{SetAttr, Union};
use overlay_tests::race::{Part, race, race_histories, race_with};
use overlay_tests::runner::{case_count, run};
use overlay_tests::subject::ours::changing_what_is_copied;
use overlay_tests::trial::places;
use proptest::collection;
use proptest::strategy::Strategy;

/// Whether it succeeded; fails the test for an errno that no order explains.
fn done<T>(result: Result<T>, may_fail_with: &[Errno]) -> bool {
    match result {
        Ok(_) => true,
        Err(error) if may_fail_with.contains(&error.errno()) => false,
        Err(error) => panic!("{error}"),
    }
}

fn part<'a>(work: impl FnOnce(&UnionFs) + Send + 'a) -> Part<'a> {
    Box::new(work)
}

fn mode(mode: u32) -> SetAttr {
    SetAttr {
        mode: Some(mode),
        ..SetAttr::default()
    }
}

const WRITE: OpenOptions = OpenOptions {
    write: true,
    truncate: false,
    append: false,
};

#[test]
fn copy_up_and_unlink() {
    race(&["", "d/ d/f=low"], |arena| {
        let entry = find(arena.union(), &["d", "f"]);
        arena.run(vec![
            part(|fs| {
                fs.union().set_attr(&entry, &mode(0o600)).unwrap();
            }),
            part(|fs| {
                done(
                    fs.open_with("d/f", WRITE)
                        .and_then(|file| file.write_all_at(b"new", 0)),
                    &[Errno::NOENT],
                );
            }),
            part(|fs| fs.remove_file("d/f").unwrap()),
        ]);
        assert!(!arena.fs().exists("d/f").unwrap());
        assert_eq!(arena.union().attr(&entry).unwrap().mode, 0o600);
    });
}

#[test]
fn copy_up_and_rename_of_the_file() {
    race(&["", "d/ d/f=low e/"], |arena| {
        let entry = find(arena.union(), &["d", "f"]);
        arena.run(vec![
            part(|fs| {
                fs.union().set_attr(&entry, &mode(0o600)).unwrap();
            }),
            part(|fs| {
                let name = b"user.a";
                let union = fs.union();
                union.set_xattr(&entry, name, b"v", SetXattr::Any).unwrap();
            }),
            part(|fs| fs.rename("d/f", "e/g").unwrap()),
        ]);
        let fs = arena.fs();
        assert!(!fs.exists("d/f").unwrap());
        assert_eq!(fs.read("e/g").unwrap(), b"low");
        assert_eq!(fs.metadata("e/g").unwrap().mode, 0o600);
        assert_eq!(fs.xattr("e/g", "user.a").unwrap(), b"v");
    });
}

#[test]
fn copy_up_and_removal_of_the_whole_directory() {
    race(&["", "d/ d/e/ d/e/f=low"], |arena| {
        let entry = find(arena.union(), &["d", "e", "f"]);
        arena.run(vec![
            part(|fs| {
                fs.union().set_attr(&entry, &mode(0o600)).unwrap();
            }),
            part(|fs| {
                fs.remove_file("d/e/f").unwrap();
                fs.remove_dir("d/e").unwrap();
                fs.create_dir("d/e").unwrap();
                fs.write("d/e/f", b"new").unwrap();
            }),
        ]);
        assert_eq!(arena.fs().read("d/e/f").unwrap(), b"new");
        assert_eq!(arena.union().attr(&entry).unwrap().mode, 0o600);
    });
}

#[test]
fn one_copy_for_eight_writers_and_a_reader() {
    let low = "l".repeat(8 * 512);
    race(&["", &format!("d/ d/f={low}")], |arena| {
        let file = arena.fs().open("d/f").unwrap();
        let over = AtomicBool::new(false);
        let writers = Mutex::new(8);
        let mut parts: Vec<Part<'_>> = Vec::new();
        for number in 0..8_u8 {
            let (over, writers) = (&over, &writers);
            parts.push(part(move |fs| {
                let file = fs.open_with("d/f", WRITE).unwrap();
                let data = [b'0' + number; 512];
                file.write_all_at(&data, 512 * u64::from(number)).unwrap();
                let mut left = writers.lock().unwrap();
                *left -= 1;
                over.store(*left == 0, Ordering::Release);
            }));
        }
        parts.push(part(|_| {
            let mut before = vec![b'l'; 8 * 512];
            while !over.load(Ordering::Acquire) {
                let now = file.read_all().unwrap();
                assert_eq!(now.len(), before.len());
                for (at, (now, before)) in now.iter().zip(&before).enumerate() {
                    let written = b'0' + (at / 512) as u8;
                    assert!(*now == written || *now == *before, "went back at {at}");
                }
                before = now;
            }
        }));
        arena.run(parts);
        let expected: Vec<u8> = (0..8).flat_map(|n| [b'0' + n; 512]).collect();
        assert_eq!(file.read_all().unwrap(), expected);
    });
}

#[test]
fn truncating_and_appending_to_a_lower_file() {
    race(&["", "f=low"], |arena| {
        let cut = OpenOptions {
            write: true,
            truncate: true,
            append: false,
        };
        arena.run(vec![
            part(|fs| {
                fs.open_with("f", cut).unwrap();
            }),
            part(|fs| {
                let file = fs.open_with("f", WRITE).unwrap();
                file.write_all_at(b"LOW", 0).unwrap();
            }),
        ]);
        let content = arena.fs().read("f").unwrap();
        assert!(content == b"LOW" || content.is_empty(), "{content:?}");
    });
}

#[test]
fn lookup_and_forget() {
    race(&["c=up", "a=low b=low d/ d/x=low"], |arena| {
        let names = ["a", "b", "c", "d"];
        let look = |fs: &UnionFs| {
            for _ in 0..20 {
                for name in names {
                    let root = fs.union().root();
                    let name = Name::new(name.as_bytes()).unwrap();
                    if let Some(entry) = fs.union().lookup(&root, name).unwrap() {
                        fs.union().pin(&entry.inode);
                        let number = entry.inode.number();
                        drop(entry);
                        let known = fs.union().known(number).expect("it is pinned");
                        fs.union().attr(&known).unwrap();
                        drop(known);
                        fs.union().unpin(number, 1);
                    }
                }
            }
        };
        arena.run(vec![
            part(look),
            part(look),
            part(|fs| {
                fs.set_attr("a", &mode(0o600)).unwrap();
                fs.rename("a", "e").unwrap();
                fs.remove_file("c").unwrap();
                fs.write("c", b"again").unwrap();
                fs.rename("e", "a").unwrap();
            }),
        ]);
        let union = arena.union();
        for name in names {
            let number = find(union, &[name]).number();
            assert!(union.known(number).is_none(), "{name} is still known");
        }
    });
}

#[test]
fn renames_there_and_back() {
    race(&["a=up", "b=low"], |arena| {
        let gone = [Errno::NOENT];
        arena.run(vec![
            part(|fs| {
                for _ in 0..10 {
                    done(fs.rename("a", "b"), &gone);
                }
            }),
            part(|fs| {
                for _ in 0..10 {
                    done(fs.rename("b", "a"), &gone);
                }
            }),
        ]);
        let fs = arena.fs();
        let there = ["a", "b"].map(|name| fs.exists(name).unwrap());
        assert_eq!(there.iter().filter(|there| **there).count(), 1);
    });
}

/// Whoever holds an inode reaches its object, however the names move.
#[test]
fn names_that_change_their_meaning() {
    let layers = ["a=A d/ d/b=B", "a=low d/ d/c=C"];
    race(&layers, |arena| {
        let inodes = [["a"].as_slice(), &["d", "b"], &["d", "c"]];
        let inodes = inodes.map(|path| find(arena.union(), path));
        let gone = [Errno::NOENT, Errno::EXIST];
        let moving = |moves: &'static [(&str, &str, RenameMode)]| {
            part(move |fs| {
                for _ in 0..5 {
                    for (from, to, how) in moves {
                        done(fs.rename_with(from, to, *how), &gone);
                    }
                }
            })
        };
        arena.run(vec![
            moving(&[("a", "d/b", RenameMode::Exchange)]),
            moving(&[("d/b", "d/c", RenameMode::Exchange)]),
            moving(&[
                ("a", "d/e", RenameMode::NoReplace),
                ("d/e", "a", RenameMode::NoReplace),
            ]),
        ]);
        for (inode, content) in inodes.iter().zip(["A", "B", "C"]) {
            assert_eq!(content_of(arena.union(), inode), content);
        }
        assert_eq!(arena.fs().walk("/").unwrap().len(), 5);
    });
}

/// Who removes the name that the node of an object goes by gives it another
/// name, which may be moving just then.
#[test]
fn regression_a_hard_link_is_removed_while_the_other_one_moves() {
    let layers = ["d/ d/a=A e/ e/b~d/a e/x=X", ""];
    for (to, how) in [("e/c", RenameMode::Replace), ("e/x", RenameMode::Exchange)] {
        race(&layers, |arena| {
            let inode = find(arena.union(), &["d", "a"]);
            let same = find(arena.union(), &["e", "b"]);
            assert_eq!(inode.number(), same.number());
            let other = find(arena.union(), &["e", "x"]);
            arena.run(vec![
                part(|fs| fs.remove_file("d/a").unwrap()),
                part(|fs| fs.rename_with("e/b", to, how).unwrap()),
            ]);
            assert_eq!(content_of(arena.union(), &inode), "A");
            assert_eq!(content_of(arena.union(), &other), "X");
        });
    }
}

#[test]
fn regression_both_hard_links_are_removed_at_once() {
    race(&["d/ d/a=A e/ e/b~d/a f=F", ""], |arena| {
        let inode = find(arena.union(), &["d", "a"]);
        find(arena.union(), &["e", "b"]);
        arena.run(vec![
            part(|fs| fs.remove_file("d/a").unwrap()),
            part(|fs| {
                fs.remove_file("e/b").unwrap();
                fs.write("e/b", b"new").unwrap();
            }),
        ]);
        assert_eq!(content_of(arena.union(), &inode), "A");
    });
    race(&["d/ d/a=A e/ e/b~d/a f=F", ""], |arena| {
        let inode = find(arena.union(), &["d", "a"]);
        find(arena.union(), &["e", "b"]);
        arena.run(vec![
            part(|fs| fs.remove_file("d/a").unwrap()),
            part(|fs| fs.rename("f", "e/b").unwrap()),
        ]);
        assert_eq!(content_of(arena.union(), &inode), "A");
        assert_eq!(arena.fs().read("e/b").unwrap(), b"F");
    });
}

#[test]
fn rmdir_and_create_inside() {
    for layers in [["d/", ""], ["", "d/"], ["d/ d/x-", "d/ d/x=low"]] {
        race(&layers, |arena| {
            let made = AtomicBool::new(false);
            let removed = AtomicBool::new(false);
            arena.run(vec![
                part(|fs| {
                    let ok = done(fs.create_dir("d/x"), &[Errno::NOENT]);
                    made.store(ok, Ordering::Relaxed);
                }),
                part(|fs| {
                    let ok = done(fs.remove_dir("d"), &[Errno::NOTEMPTY]);
                    removed.store(ok, Ordering::Relaxed);
                }),
            ]);
            assert_ne!(
                made.load(Ordering::Relaxed),
                removed.load(Ordering::Relaxed)
            );
        });
    }
}

#[test]
fn two_directories_into_each_other() {
    let layers = ["p/ p/a/ p/a/x=1 q/ q/b/ q/b/y=2", ""];
    race(&layers, |arena| {
        let moved = Mutex::new(0);
        let try_it = |fs: &UnionFs, from: &str, to: &str| {
            if done(fs.rename(from, to), &[Errno::NOENT, Errno::INVAL]) {
                *moved.lock().unwrap() += 1;
            }
        };
        arena.run(vec![
            part(|fs| try_it(fs, "p/a", "q/b/a")),
            part(|fs| try_it(fs, "q/b", "p/a/b")),
        ]);
        assert_eq!(*moved.lock().unwrap(), 1);
        assert_eq!(arena.fs().walk("/").unwrap().len(), 7);
    });
}

#[test]
fn linking_and_unlinking() {
    race(&["", "f=low"], |arena| {
        let linked = AtomicBool::new(false);
        arena.run(vec![
            part(|fs| {
                let ok = done(fs.hard_link("f", "g"), &[Errno::NOENT]);
                linked.store(ok, Ordering::Relaxed);
            }),
            part(|fs| fs.remove_file("f").unwrap()),
        ]);
        let fs = arena.fs();
        let there = fs.exists("g").unwrap();
        assert_eq!(there, linked.load(Ordering::Relaxed));
        if there {
            assert_eq!(fs.metadata("g").unwrap().nlink, 1);
        }
    });
}

#[test]
fn listing_while_names_come_and_go() {
    race(&["b=up", "a=low c=low d/"], |arena| {
        let over = AtomicBool::new(false);
        arena.run(vec![
            part(|fs| {
                for _ in 0..5 {
                    fs.write("x", b"").unwrap();
                    fs.rename("x", "c").unwrap();
                    fs.set_attr("a", &mode(0o600)).unwrap();
                    fs.remove_file("c").unwrap();
                }
                over.store(true, Ordering::Release);
            }),
            part(|fs| {
                while !over.load(Ordering::Acquire) {
                    let listed = fs.read_dir("/").unwrap();
                    let count = |name: &str| listed.iter().filter(|e| e.name == name).count();
                    assert_eq!((count("a"), count("b"), count("d")), (1, 1, 1));
                    assert!(count("c") <= 1 && count("x") <= 1);
                }
            }),
        ]);
    });
}

fn with(metacopy: Switch, index: Switch) -> Config {
    Config {
        redirect_dir: RedirectDir::On,
        metacopy,
        index,
        ..Config::default()
    }
}

#[test]
fn names_of_one_indexed_object_come_and_go() {
    let config = with(Switch::Off, Switch::On);
    race_with(config, &["", "d/ d/a=low e/ e/b~d/a e/c~d/a"], |arena| {
        arena.run(vec![
            part(|fs| fs.remove_file("d/a").unwrap()),
            part(|fs| fs.rename("e/b", "d/b").unwrap()),
            part(|fs| fs.hard_link("e/c", "e/new").unwrap()),
        ]);
        let fs = arena.fs();
        for name in ["d/b", "e/c", "e/new"] {
            assert_eq!(fs.metadata(name).unwrap().nlink, 3, "{name}");
            assert_eq!(fs.read(name).unwrap(), b"low");
        }
    });
}

#[test]
fn all_names_of_one_indexed_object_are_removed_at_once() {
    let config = with(Switch::Off, Switch::On);
    race_with(config, &["", "d/ d/a=low e/ e/b~d/a"], |arena| {
        let inode = find(arena.union(), &["d", "a"]);
        arena.run(vec![
            part(|fs| fs.remove_file("d/a").unwrap()),
            part(|fs| {
                fs.write("e/new", b"new").unwrap();
                fs.rename("e/new", "e/b").unwrap();
            }),
        ]);
        assert_eq!(arena.union().attr(&inode).unwrap().nlink, 0);
        assert_eq!(content_of(arena.union(), &inode), "low");
        assert_eq!(arena.fs().read("e/b").unwrap(), b"new");
    });
}

#[test]
fn an_indexed_object_is_copied_up_by_one_name_and_looked_up_by_another() {
    for metacopy in [Switch::Off, Switch::On] {
        let config = with(metacopy, Switch::On);
        race_with(config, &["", "d/ d/a=low e/ e/b~d/a"], |arena| {
            let number = arena.fs().metadata("d/a").unwrap().ino;
            arena.run(vec![
                part(|fs| {
                    let file = fs.open_with("d/a", WRITE).unwrap();
                    file.write_all_at(b"LOW", 0).unwrap();
                }),
                part(|fs| {
                    fs.set_attr("e/b", &mode(0o600)).unwrap();
                }),
                part(|fs| {
                    for _ in 0..5 {
                        let attr = fs.metadata("e/b").unwrap();
                        assert_eq!((attr.ino, attr.nlink), (number, 2));
                        let content = fs.read("e/b").unwrap();
                        assert!(content == b"low" || content == b"LOW", "{content:?}");
                    }
                }),
            ]);
            let fs = arena.fs();
            for name in ["d/a", "e/b"] {
                let attr = fs.metadata(name).unwrap();
                assert_eq!((attr.ino, attr.nlink, attr.mode), (number, 2, 0o600));
                assert_eq!(fs.read(name).unwrap(), b"LOW");
            }
        });
    }
}

#[test]
fn attributes_of_a_metacopy_change_while_its_data_comes() {
    let config = with(Switch::On, Switch::Off);
    for layers in [["", "f=low"], ["f%", "f=low"]] {
        race_with(config, &layers, |arena| {
            arena.run(vec![
                part(|fs| fs.set_attr("f", &mode(0o600)).map(drop).unwrap()),
                part(|fs| {
                    let file = fs.open_with("f", WRITE).unwrap();
                    file.write_all_at(b"LOW", 0).unwrap();
                }),
                part(|fs| {
                    let content = fs.read("f").unwrap();
                    assert!(content == b"low" || content == b"LOW", "{content:?}");
                }),
            ]);
            let fs = arena.fs();
            assert_eq!(fs.metadata("f").unwrap().mode, 0o600);
            assert_eq!(fs.read("f").unwrap(), b"LOW");
        });
    }
}

/// Three histories at once, made up at random; in the case that is printed a
/// remount stands between them.
#[test]
fn any_histories() {
    const LENGTH: usize = 6;
    for (on, rounds) in places().into_iter().zip([10, 3]) {
        let more = collection::vec(collection::vec(ops(), 1..=LENGTH), 2);
        let all = (cases(1..=4, LENGTH), more).prop_map(|(mut case, more)| {
            for ops in more {
                case.ops.push(Op::Remount);
                case.ops.extend(ops);
            }
            case
        });
        run(case_count(100), all, |case| {
            race_histories(case, on, rounds)
        });
    }
}

#[test]
fn any_histories_with_metacopy_and_the_index() {
    const LENGTH: usize = 6;
    for config in changing_what_is_copied() {
        let more = collection::vec(collection::vec(ops(), 1..=LENGTH), 2);
        let all = (cases_configured(1..=4, LENGTH, config), more).prop_map(|(mut case, more)| {
            case.ops.retain(|op| *op != Op::Rotate);
            for ops in more {
                case.ops.push(Op::Remount);
                case.ops.extend(ops);
            }
            case
        });
        let on = places().pop();
        run(case_count(50), all, |case| {
            on.map_or(Ok(()), |on| race_histories(case, on, 3))
        });
    }
}

fn find(union: &Union, path: &[&str]) -> Arc<Inode> {
    path.iter().fold(union.root(), |dir, name| {
        let name = Name::new(name.as_bytes()).unwrap();
        union.lookup(&dir, name).unwrap().unwrap().inode
    })
}

fn content_of(union: &Union, inode: &Arc<Inode>) -> String {
    let handle = union.open(inode, OpenOptions::default()).unwrap();
    let mut content = [0; 16];
    let len = union.read(&handle, &mut content, 0).unwrap();
    String::from_utf8(content[..len].to_vec()).unwrap()
}
