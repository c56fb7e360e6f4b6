//! Specimens of what is wrong with origins, the index, the work directory and
//! whole layers.

use overlay_core::check::{Kind, Settings};
use overlay_core::dialect::origin::{Side, index_name, to_value};
use overlay_core::layer::{NewKind, RenameMode, SetXattr};
use overlay_core::name::{Name, NameBuf};
use overlay_tests::specimen::{Bench, mark, new, walk};

use super::{PLAIN, Specimen, Where, only, specimen};

fn name(text: &str) -> &Name {
    Name::new(text.as_bytes()).unwrap()
}

/// Puts a file of the upper layer into the index as a copy of `original`.
fn into_index(bench: &Bench, path: &str, original: &str) -> NameBuf {
    let entry = index_name(&bench.handle(1, original)).unwrap();
    bench.index(|index, root| {
        let copy = walk(root, path);
        index.link(&entry, &*copy, RenameMode::NoReplace).unwrap();
    });
    entry
}

/// The stored origin that leads to a lower object.
pub fn origin(bench: &Bench, path: &str) -> Vec<u8> {
    to_value(&bench.handle(1, path), Side::Lower).unwrap()
}

/// A file of the lower layer with two names, and an indexed copy of one.
pub fn indexed(bench: &Bench) -> NameBuf {
    bench.file(1, "a", 1, &[]);
    bench.link(1, "a", "b");
    let value = origin(bench, "a");
    // A directory may be a copy: the mark stays in any case.
    bench.dir(0, "dir", &[]);
    bench.mark(0, "", "impure", b"y");
    bench.file(0, "a", 1, &[("origin", &value), ("nlink", b"U+0")]);
    into_index(bench, "a", "a")
}

pub fn origins() -> Vec<Specimen> {
    vec![
        specimen(
            Kind::OriginInvalid,
            |bench| bench.file(0, "f", 1, &[("origin", b"nonsense")]),
            only(Kind::OriginInvalid, "f"),
            true,
        ),
        specimen(
            Kind::OriginStale,
            |bench| {
                for path in ["gone", "there", "other"] {
                    bench.file(1, path, 1, &[]);
                    let value = origin(bench, path);
                    match path {
                        "other" => bench.dir(0, path, &[("origin", &value)]),
                        _ => bench.file(0, path, 1, &[("origin", &value)]),
                    }
                }
                bench.remove(1, "gone");
                bench.mark(0, "", "impure", b"y");
            },
            &[(Kind::OriginStale, "gone"), (Kind::OriginStale, "other")],
            true,
        ),
        specimen(
            Kind::ImpureMissing,
            |bench| {
                bench.file(1, "d/f", 1, &[]);
                let value = origin(bench, "d/f");
                bench.file(0, "d/f", 1, &[("origin", &value)]);
            },
            only(Kind::ImpureMissing, "d"),
            true,
        ),
        specimen(
            Kind::ImpureUnneeded,
            |bench| {
                bench.dir(0, "d", &[("impure", b"y")]);
                bench.file(0, "d/f", 1, &[]);
                // May hold copies that do not say so.
                bench.dir(0, "parent", &[("impure", b"y")]);
                bench.dir(0, "parent/child", &[]);
            },
            only(Kind::ImpureUnneeded, "d"),
            true,
        ),
        Specimen {
            settings: Settings {
                accept_lower: true,
                ..PLAIN
            },
            ..specimen(
                Kind::LowerOther,
                |bench| {
                    bench.dir(1, "was", &[]);
                    let value = origin(bench, "was");
                    bench.mark(0, "", "origin", &value);
                },
                only(Kind::LowerOther, ""),
                true,
            )
        },
    ]
}

pub fn indexes() -> Vec<Specimen> {
    vec![
        specimen(
            Kind::IndexOfOther,
            |bench| {
                bench.dir(0, "other", &[]);
                let value = to_value(&bench.handle(0, "other"), Side::Upper).unwrap();
                bench.index(|index, _| {
                    index
                        .set_xattr(&mark("upper"), &value, SetXattr::Any)
                        .unwrap();
                    // Not ours to judge.
                    index
                        .create(name("nonsense"), &new(NewKind::Regular, &[]))
                        .unwrap();
                });
            },
            only(Kind::IndexOfOther, "index"),
            false,
        ),
        specimen(
            Kind::IndexName,
            |bench| {
                bench.index(|index, _| {
                    index
                        .create(name("nonsense"), &new(NewKind::Regular, &[]))
                        .unwrap();
                });
            },
            only(Kind::IndexName, "index/nonsense"),
            false,
        ),
        specimen(
            Kind::IndexTemporary,
            |bench| {
                indexed(bench);
                bench.index(|index, _| {
                    index
                        .create(name("#1f"), &new(NewKind::CharDevice(0), &[]))
                        .unwrap();
                });
            },
            only(Kind::IndexTemporary, "index/#1f"),
            true,
        ),
        specimen(
            Kind::IndexOrphan,
            |bench| {
                indexed(bench);
                // The copy lost its last name, and the original too.
                bench.file(1, "c", 1, &[]);
                let value = origin(bench, "c");
                bench.file(0, "c", 1, &[("origin", &value)]);
                into_index(bench, "c", "c");
                bench.remove(0, "c");
                bench.remove(1, "c");
                // A directory of which only the entry is left.
                bench.dir(1, "d", &[]);
                let entry = index_name(&bench.handle(1, "d")).unwrap();
                bench.dir(0, "d", &[]);
                let upper = to_value(&bench.handle(0, "d"), Side::Upper).unwrap();
                bench.remove(0, "d");
                bench.index(|index, _| {
                    let marks = [(&mark("upper")[..], &upper[..])];
                    index
                        .create(&entry, &new(NewKind::Directory, &marks))
                        .unwrap();
                });
            },
            &[(Kind::IndexOrphan, "?"), (Kind::IndexOrphan, "?")],
            true,
        ),
        specimen(
            Kind::IndexUnnamed,
            |bench| {
                indexed(bench);
                bench.index(|_, root| {
                    walk(root, "a").remove_xattr(&mark("origin")).unwrap();
                });
            },
            only(Kind::IndexUnnamed, "?"),
            true,
        ),
        // Two faults of one entry, and one after which it has no use.
        specimen(
            Kind::IndexUnnamed,
            |bench| {
                indexed(bench);
                bench.mark(0, "a", "nlink", b"junk");
                bench.index(|_, root| {
                    walk(root, "a").remove_xattr(&mark("origin")).unwrap();
                });
            },
            &[(Kind::IndexUnnamed, "?"), (Kind::IndexLinkCount, "?")],
            true,
        ),
        specimen(
            Kind::IndexUnnamed,
            |bench| {
                bench.file(1, "c", 1, &[]);
                bench.file(0, "c", 1, &[]);
                into_index(bench, "c", "c");
                bench.remove(0, "c");
            },
            only(Kind::IndexUnnamed, "?"),
            true,
        ),
        specimen(
            Kind::IndexMismatch,
            |bench| {
                indexed(bench);
                bench.file(1, "c", 1, &[]);
                into_index(bench, "a", "c");
            },
            only(Kind::IndexMismatch, "?"),
            true,
        ),
        specimen(
            Kind::IndexBroken,
            |bench| {
                indexed(bench);
                let value = origin(bench, "a");
                bench.file(0, "b", 2, &[("origin", &value)]);
            },
            only(Kind::IndexBroken, "b"),
            true,
        ),
        specimen(
            Kind::IndexLinkCount,
            |bench| {
                indexed(bench);
                bench.mark(0, "a", "nlink", b"U-9");
            },
            only(Kind::IndexLinkCount, "?"),
            true,
        ),
    ]
}

pub fn in_work(bench: &Bench, path: &str) {
    let work = bench.path("work0").unwrap();
    std::fs::create_dir_all(work.join(path)).unwrap();
}

pub fn works() -> Vec<Specimen> {
    let on_directories = |specimen: Specimen| Specimen {
        on: Where::Directories,
        ..specimen
    };
    vec![
        on_directories(specimen(
            Kind::WorkLeftover,
            |bench| in_work(bench, "work/#3/deep"),
            only(Kind::WorkLeftover, "work/#3"),
            true,
        )),
        Specimen {
            settings: Settings {
                accept_volatile: true,
                ..PLAIN
            },
            ..on_directories(specimen(
                Kind::WorkVolatile,
                |bench| {
                    in_work(bench, "work/incompat/volatile/dirty");
                    in_work(bench, "work/#3");
                },
                &[
                    (Kind::WorkLeftover, "work/#3"),
                    (Kind::WorkVolatile, "work/incompat"),
                ],
                true,
            ))
        },
        on_directories(specimen(
            Kind::WorkNotDirectory,
            |bench| {
                let work = bench.path("work0").unwrap();
                std::os::unix::fs::symlink("elsewhere", work.join("index")).unwrap();
            },
            only(Kind::WorkNotDirectory, "index"),
            false,
        )),
        on_directories(specimen(
            Kind::WorkForeign,
            |bench| in_work(bench, "mine"),
            only(Kind::WorkForeign, "mine"),
            false,
        )),
    ]
}

pub fn hints() -> Vec<Specimen> {
    vec![
        specimen(
            Kind::NamespaceOther,
            |bench| {
                bench.dir(1, "d", &[]);
                bench.dir(0, "d", &[]);
                bench.index(|_, root| {
                    walk(root, "d")
                        .set_xattr(b"user.overlay.opaque", b"y", SetXattr::Any)
                        .unwrap();
                });
            },
            only(Kind::NamespaceOther, "d"),
            false,
        ),
        specimen(
            Kind::AufsNames,
            |bench| {
                bench.file(1, "d/.wh.one", 0, &[]);
                bench.file(1, "d/.wh.two", 0, &[]);
            },
            only(Kind::AufsNames, "?"),
            false,
        ),
    ]
}
