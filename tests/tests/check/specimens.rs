//! The specimens: small stacks, and what is to be found in them.

use overlay_core::check::{Kind, Redirects, Settings};
use overlay_tests::runner::{root, skip};
use overlay_tests::specimen::Bench;

pub mod beside;

use beside::{hints, indexes, origins, works};

/// Where a specimen can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    Anywhere,
    /// A work area in memory has no names.
    Directories,
}

/// A stack with something wrong in it.
pub struct Specimen {
    pub kind: Kind,
    pub layers: usize,
    pub on: Where,
    pub build: fn(&Bench),
    /// All findings: kind and path.
    pub finds: &'static [(Kind, &'static str)],
    /// Whether a repair leaves nothing to be found.
    pub repaired: bool,
    pub settings: Settings,
}

pub const PLAIN: Settings = Settings {
    redirects: Redirects::Followed,
    accept_volatile: false,
    accept_lower: false,
};

pub fn specimen(
    kind: Kind,
    build: fn(&Bench),
    finds: &'static [(Kind, &'static str)],
    repaired: bool,
) -> Specimen {
    Specimen {
        kind,
        layers: 2,
        on: Where::Anywhere,
        build,
        finds,
        repaired,
        settings: PLAIN,
    }
}

pub fn only(kind: Kind, path: &'static str) -> &'static [(Kind, &'static str)] {
    Box::leak(Box::new([(kind, path)]))
}

/// One of each kind but [`Kind::Unreadable`].
pub fn specimens() -> Vec<Specimen> {
    let mut all = redirects();
    all.extend(whiteouts());
    all.extend(opaques());
    all.extend(metacopies());
    all.extend(origins());
    all.extend(indexes());
    all.extend(works());
    all.extend(hints());
    all
}

fn redirects() -> Vec<Specimen> {
    vec![
        specimen(
            Kind::RedirectDangling,
            |bench| {
                // Something else lies below the name: it must stay hidden.
                bench.file(1, "d/hidden", 1, &[]);
                bench.file(1, "file", 1, &[]);
                bench.dir(0, "d", &[("redirect", b"gone")]);
                bench.file(0, "d/own", 1, &[]);
                bench.dir(0, "e", &[("redirect", b"/file")]);
            },
            &[(Kind::RedirectDangling, "d"), (Kind::RedirectDangling, "e")],
            true,
        ),
        specimen(
            Kind::RedirectMalformed,
            |bench| {
                bench.dir(1, "d", &[]);
                bench.dir(0, "d", &[("redirect", b"a/b")]);
                bench.file(0, "d/own", 1, &[]);
                bench.dir(0, "e", &[("redirect", b"/a/../b")]);
            },
            &[
                (Kind::RedirectMalformed, "d"),
                (Kind::RedirectMalformed, "e"),
            ],
            true,
        ),
        specimen(
            Kind::RedirectShared,
            |bench| {
                bench.file(1, "d/f", 1, &[]);
                bench.whiteout(0, "d");
                bench.dir(0, "one", &[("redirect", b"d")]);
                bench.dir(0, "two", &[("redirect", b"/d")]);
            },
            only(Kind::RedirectShared, "?"),
            false,
        ),
        specimen(
            Kind::RedirectUncovered,
            |bench| {
                bench.file(1, "d/e/f", 1, &[]);
                bench.dir(0, "moved", &[("redirect", b"d")]);
                bench.dir(0, "deep", &[("redirect", b"/d/e")]);
            },
            &[
                (Kind::RedirectUncovered, "deep"),
                (Kind::RedirectUncovered, "moved"),
            ],
            false,
        ),
        specimen(
            Kind::RedirectUnused,
            |bench| {
                bench.file(1, "d/f", 1, &[]);
                bench.file(1, "e/f", 1, &[]);
                bench.dir(0, "d", &[("redirect", b"/e"), ("opaque", b"y")]);
                bench.file(0, "f", 1, &[("redirect", b"/e/f")]);
            },
            &[(Kind::RedirectUnused, "d"), (Kind::RedirectUnused, "f")],
            true,
        ),
        Specimen {
            settings: Settings {
                redirects: Redirects::Refused,
                ..PLAIN
            },
            ..specimen(
                Kind::RedirectRefused,
                |bench| {
                    bench.file(1, "d/f", 1, &[]);
                    bench.whiteout(0, "d");
                    bench.dir(0, "moved", &[("redirect", b"d")]);
                },
                only(Kind::RedirectRefused, "moved"),
                false,
            )
        },
    ]
}

fn whiteouts() -> Vec<Specimen> {
    vec![
        specimen(
            Kind::WhiteoutOverNothing,
            |bench| {
                bench.file(1, "d/there", 1, &[]);
                bench.whiteout(0, "d/gone");
                bench.whiteout(0, "d/there");
                bench.whiteout(0, "gone");
            },
            &[
                (Kind::WhiteoutOverNothing, "d/gone"),
                (Kind::WhiteoutOverNothing, "gone"),
            ],
            true,
        ),
        specimen(
            Kind::WhiteoutUnmerged,
            |bench| {
                bench.file(1, "d/f", 1, &[]);
                bench.dir(0, "d", &[("opaque", b"y")]);
                bench.whiteout(0, "d/f");
                bench.whiteout(0, "own/f");
            },
            &[
                (Kind::WhiteoutUnmerged, "d/f"),
                (Kind::WhiteoutUnmerged, "own/f"),
            ],
            true,
        ),
        specimen(
            Kind::WhiteoutLowest,
            |bench| bench.whiteout(1, "d/w"),
            only(Kind::WhiteoutLowest, "d/w"),
            false,
        ),
        specimen(
            Kind::FileWhiteoutUnmarked,
            |bench| {
                bench.file(1, "d/f", 1, &[]);
                bench.file(0, "d/f", 0, &[("whiteout", b"y")]);
            },
            only(Kind::FileWhiteoutUnmarked, "d/f"),
            false,
        ),
        specimen(
            Kind::FileWhiteoutRoot,
            |bench| {
                bench.file(1, "d/f", 1, &[]);
                bench.dir(0, "d", &[("opaque", b"x")]);
                bench.file(0, "d/f", 0, &[("whiteout", b"y")]);
            },
            only(Kind::FileWhiteoutRoot, ""),
            false,
        ),
        specimen(
            Kind::FileWhiteoutsNone,
            |bench| {
                bench.file(1, "d/f", 1, &[]);
                bench.dir(1, "e", &[]);
                bench.mark(0, "", "opaque", b"x");
                bench.dir(0, "d", &[("opaque", b"x")]);
                bench.file(0, "d/f", 0, &[("whiteout", b"y")]);
                bench.dir(0, "e", &[("opaque", b"x")]);
                bench.file(0, "e/gone", 0, &[("whiteout", b"y")]);
            },
            &[
                (Kind::WhiteoutOverNothing, "e/gone"),
                (Kind::FileWhiteoutsNone, "e"),
            ],
            true,
        ),
    ]
}

fn opaques() -> Vec<Specimen> {
    vec![
        specimen(
            Kind::OpaqueOverNothing,
            |bench| {
                bench.file(1, "d/f", 1, &[]);
                bench.file(1, "file", 1, &[]);
                bench.dir(0, "d", &[("opaque", b"y")]);
                bench.dir(0, "new", &[("opaque", b"y")]);
                bench.dir(0, "file", &[("opaque", b"y")]);
                bench.mark(0, "", "opaque", b"y");
            },
            &[
                (Kind::OpaqueOverNothing, ""),
                (Kind::OpaqueOverNothing, "file"),
                (Kind::OpaqueOverNothing, "new"),
            ],
            true,
        ),
        specimen(
            Kind::OpaqueUnknown,
            |bench| {
                bench.file(1, "d/f", 1, &[]);
                bench.dir(0, "d", &[("opaque", b"yes")]);
            },
            only(Kind::OpaqueUnknown, "d"),
            true,
        ),
    ]
}

fn metacopies() -> Vec<Specimen> {
    vec![
        Specimen {
            layers: 3,
            ..specimen(
                Kind::MetacopyWithoutData,
                |bench| {
                    bench.file(0, "gone", 7, &[("metacopy", b"")]);
                    bench.file(0, "moved", 7, &[("metacopy", b""), ("redirect", b"/d/x")]);
                    bench.file(1, "chain", 7, &[("metacopy", b"")]);
                    bench.file(0, "chain", 7, &[("metacopy", b"")]);
                    bench.file(1, "there", 7, &[("metacopy", b""), ("redirect", b"other")]);
                    bench.file(0, "there", 7, &[("metacopy", b"")]);
                    bench.file(2, "other", 7, &[]);
                },
                &[
                    (Kind::MetacopyWithoutData, "chain"),
                    (Kind::MetacopyWithoutData, "chain"),
                    (Kind::MetacopyWithoutData, "gone"),
                    (Kind::MetacopyWithoutData, "moved"),
                ],
                false,
            )
        },
        specimen(
            Kind::MetacopySize,
            |bench| {
                bench.file(1, "f", 8, &[]);
                bench.file(0, "f", 7, &[("metacopy", b"")]);
            },
            only(Kind::MetacopySize, "f"),
            false,
        ),
        specimen(
            Kind::MetacopyMalformed,
            |bench| {
                bench.file(1, "f", 7, &[]);
                bench.file(0, "f", 7, &[("metacopy", b"y")]);
            },
            only(Kind::MetacopyMalformed, "f"),
            true,
        ),
    ]
}

pub fn benches(specimen: &Specimen) -> Vec<Bench> {
    let mut benches = Vec::new();
    if specimen.on == Where::Anywhere {
        benches.push(Bench::in_memory(specimen.layers));
    }
    if !skip(root()) {
        benches.push(Bench::in_directories(specimen.layers));
    }
    benches
}
