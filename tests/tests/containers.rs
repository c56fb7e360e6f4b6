//! Layers as container tools and fuse-overlayfs write them: whiteouts that are
//! names, and attributes in three namespaces.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::sync::Arc;

use overlay_core::fs::UnionFs;
use overlay_core::layer::{NewKind, RenameMode, Storage, WritableStorage};
use overlay_core::spec::generate::{Case, cases, cases_of_redirects, cases_with_redirects};
use overlay_core::spec::{Rules, Stored};
use overlay_core::union::{Options, RedirectDir};
use overlay_core::{Dialect, Errno, MemStorage, Namespace, Stack, Union};
use overlay_tests::check::{Depth, check};
use overlay_tests::containers::{Encoded, decode, encode};
use overlay_tests::faulty::{Faults, Faulty, FaultyStorages, Lacks, Plan, Scope};
use overlay_tests::runner::{case_count, root, run, skip};
use overlay_tests::subject::core::Core;
use overlay_tests::subject::core::storages::{InMemory, OnDirectories, Storages};
use overlay_tests::trial::{Kind, On, crash_in, fault_in};
use overlay_tests::{load, materialize, scenario};
use proptest::strategy::Strategy;

const LENGTH: usize = 25;
const OVERLAY: Dialect = Dialect::Overlay(Namespace::Trusted);
const CONTAINERS: Dialect = Dialect::Containers(Namespace::Trusted);

/// Layers as [`scenario`] writes them, in memory.
fn stored(layers: &[&str]) -> Vec<Arc<MemStorage>> {
    let layers = layers.iter().enumerate().map(|(index, text)| {
        let storage = MemStorage::new();
        let layer = scenario::layer(text, index);
        materialize::in_storage(&*WritableStorage::root(&*storage), &layer);
        storage
    });
    layers.collect()
}

/// All of it, read-only, in the dialect of containers.
fn lowers(layers: &[&str]) -> UnionFs {
    let stack = stored(layers)
        .into_iter()
        .fold(Stack::new(), |stack, layer| {
            stack.lower_as(layer, CONTAINERS)
        });
    UnionFs::new(stack).unwrap()
}

/// The first layer is written, with all that is possible.
fn written(upper: Dialect, lower: Dialect, layers: &[&str]) -> (Arc<MemStorage>, UnionFs) {
    let mut layers = stored(layers).into_iter();
    let top = layers.next().unwrap();
    let stack = layers.fold(Stack::new().upper_as(top.clone(), upper), |stack, layer| {
        stack.lower_as(layer, lower)
    });
    let options = Options {
        redirect_dir: RedirectDir::On,
        ..Options::default()
    };
    let union = Union::with_options(stack, options).unwrap();
    (top, UnionFs::from_union(union))
}

/// What is seen, as one line: directories, and files with their content.
fn seen(union: &UnionFs) -> String {
    let mut all: Vec<String> = Vec::new();
    for walked in union.walk("/").unwrap() {
        let path = walked.path.display().to_string();
        let path = path.trim_start_matches('/');
        if walked.attr.kind.is_dir() {
            all.extend((!path.is_empty()).then(|| format!("{path}/")));
        } else {
            let content = union.read(&walked.path).unwrap();
            all.push(format!("{path}={}", content.escape_ascii()));
        }
    }
    all.sort();
    all.join(" ")
}

/// The names that a listing of the root gives, looked up or not.
fn listed(union: &UnionFs) -> Vec<String> {
    let entries = union.read_dir("/").unwrap().into_iter();
    let mut names: Vec<_> = entries
        .map(|entry| entry.name.display().to_string())
        .collect();
    names.sort();
    names
}

fn errno<T: std::fmt::Debug>(outcome: overlay_core::Result<T>) -> Errno {
    outcome.unwrap_err().errno()
}

#[test]
fn a_whiteout_by_name_hides_all_below_it() {
    let union = lowers(&[
        "d/ d/.wh.x= .wh.a=",
        "a=1 d/ d/x=1 d/y=1",
        "a=2 d/ d/x=2 b=2",
    ]);
    assert_eq!(seen(&union), "b=2 d/ d/y=1");
    assert_eq!(listed(&union), ["b", "d"]);
    assert!(!union.exists("a").unwrap());
    assert!(!union.exists(".wh.a").unwrap());
    assert!(!union.exists("d/.wh.x").unwrap());
}

#[test]
fn any_object_by_the_name_is_a_whiteout() {
    let below = "a=1 b=1 c=1 d/ d/x=1";
    let union = lowers(&[".wh.a/ .wh.a/full= .wh.b@target .wh.c- .wh.d=text", below]);
    assert_eq!(seen(&union), "");
}

#[test]
fn an_object_beside_its_whiteout_is_seen_and_nothing_below_it() {
    let union = lowers(&["f=2 .wh.f= d/ d/y=2 .wh.d=", "f=1 d/ d/x=1", "d/ d/z=0"]);
    assert_eq!(seen(&union), "d/ d/y=2 f=2");
    assert_eq!(listed(&union), ["d", "f"]);
    let twice = lowers(&["d/ d/y=2", "d/ d/x=1 .wh.d=", "d/ d/z=0"]);
    assert_eq!(seen(&twice), "d/ d/x=1 d/y=2");
}

#[test]
fn a_mark_by_name_makes_its_directory_opaque() {
    let union = lowers(&["d/ d/.wh..wh..opq= d/y=2", "d/ d/x=1 e=1"]);
    assert_eq!(seen(&union), "d/ d/y=2 e=1");
    let root = lowers(&[".wh..wh..opq= a=", "b=", "c="]);
    assert_eq!(seen(&root), "a=");
}

#[test]
fn reserved_names_are_hidden_and_hide_nothing() {
    let union = lowers(&[
        ".wh..wh.x= .wh.= .wh..wh.plnk/ .wh..wh.plnk/1=",
        "x=1 .wh..wh.x=1",
    ]);
    assert_eq!(seen(&union), "x=1");
    assert_eq!(listed(&union), ["x"]);
}

#[test]
fn an_opaque_attribute_counts_in_every_namespace_that_fuse_overlayfs_writes() {
    let names = [
        "trusted.overlay.opaque",
        "user.overlay.opaque",
        "user.fuseoverlayfs.opaque",
    ];
    for name in names {
        let layers = stored(&["d/ d/y=2", "d/ d/x=1"]);
        let root = WritableStorage::root(&*layers[0]);
        let d = root.lookup_writable(scenario_name("d")).unwrap().unwrap();
        let any = overlay_core::layer::SetXattr::Any;
        d.node.set_xattr(name.as_bytes(), b"y", any).unwrap();
        let with = |dialect| {
            let layers = layers.iter();
            let stack = layers.fold(Stack::new(), |stack, layer| {
                stack.lower_as(layer.clone(), dialect)
            });
            UnionFs::new(stack).unwrap()
        };
        assert_eq!(seen(&with(CONTAINERS)), "d/ d/y=2", "{name}");
        assert_eq!(errno(with(CONTAINERS).xattr("d", name)), Errno::NODATA);
        // A plain overlay reads its own.
        for namespace in [Namespace::Trusted, Namespace::User] {
            let own = match namespace {
                Namespace::Trusted => "trusted.overlay.opaque",
                Namespace::User => "user.overlay.opaque",
            };
            let expected = match own == name {
                true => "d/ d/y=2",
                false => "d/ d/x=1 d/y=2",
            };
            assert_eq!(seen(&with(Dialect::Overlay(namespace))), expected, "{name}");
        }
    }
}

fn scenario_name(text: &str) -> &overlay_core::Name {
    overlay_core::Name::new(text.as_bytes()).unwrap()
}

#[test]
fn a_layer_of_containers_under_one_of_overlayfs_keeps_its_marks_to_itself() {
    let (upper, union) = written(
        OVERLAY,
        CONTAINERS,
        &["", ".wh.a= d/ d/.wh.x=", "a= d/ d/x="],
    );
    assert_eq!(seen(&union), "d/");
    // An ordinary name on the upper layer.
    union.write(".wh.d", "own").unwrap();
    assert_eq!(seen(&union), ".wh.d=own d/");
    union.remove_file(".wh.d").unwrap();
    assert_eq!(listed(&union), ["d"]);
    let root = Storage::root(&*upper);
    assert!(root.lookup(scenario_name(".wh.d")).unwrap().is_none());
}

#[test]
fn a_name_that_would_be_a_whiteout_cannot_be_made() {
    let (_, union) = written(CONTAINERS, CONTAINERS, &["", "f= d/"]);
    for name in [".wh.x", ".wh..wh..opq", ".wh."] {
        assert_eq!(errno(union.write(name, "")), Errno::PERM);
        assert_eq!(errno(union.create_dir(name)), Errno::PERM);
        assert_eq!(errno(union.symlink("t", name)), Errno::PERM);
        assert_eq!(
            errno(union.make(name.as_ref(), NewKind::Fifo, 0o600)),
            Errno::PERM
        );
        assert_eq!(errno(union.hard_link("f", name)), Errno::PERM);
        assert_eq!(errno(union.rename("f", name)), Errno::PERM);
        assert_eq!(errno(union.rename("d", name)), Errno::PERM);
        let swapped = union.rename_with("f", name, RenameMode::Exchange);
        assert_eq!(errno(swapped), Errno::NOENT);
        assert_eq!(errno(union.rename(name, "g")), Errno::NOENT);
        assert_eq!(errno(union.remove_file(name)), Errno::NOENT);
    }
    assert_eq!(seen(&union), "d/ f=");
}

#[test]
fn what_a_layer_of_containers_stores_goes_by_overlayfs_marks_from_then_on() {
    let layers = [
        "d/ d/.wh.x= .wh.f= .wh.g=",
        "f=1 g=1 d/ d/x=1 d/y=1 e/ e/z=1",
    ];
    let (upper, union) = written(CONTAINERS, CONTAINERS, &layers);
    assert_eq!(seen(&union), "d/ d/y=1 e/ e/z=1");
    union.create_dir("f").unwrap();
    union.write("g", "2").unwrap();
    union.remove_file("d/y").unwrap();
    union.remove_file("e/z").unwrap();
    assert_eq!(seen(&union), "d/ e/ f/ g=2");
    union.remove_file("g").unwrap();
    union.remove_dir("f").unwrap();
    union.remove_dir("d").unwrap();
    let now = load::from_storage(&*Storage::root(&*upper), 0);
    for name in ["f", "g", "d"] {
        assert_eq!(now.entries[scenario_name(name)], Stored::Whiteout);
    }
    assert!(
        !now.entries
            .keys()
            .any(|name| name.as_bytes().starts_with(b".wh."))
    );
    assert_eq!(seen(&union), "e/");
}

#[test]
fn a_directory_that_holds_marks_alone_is_removed() {
    let marks = "d/.wh.x= d/.wh.y/ d/.wh.y/z= d/.wh..wh..opq= d/.wh..wh.plnk/";
    let layers = [format!("d/ {marks} e/ e/x="), "d/ d/x=1".into()];
    let (_, union) = written(CONTAINERS, CONTAINERS, &[&layers[0], &layers[1]]);
    union.remove_dir("d").unwrap();
    assert_eq!(seen(&union), "e/ e/x=");
    let (_, union) = written(CONTAINERS, CONTAINERS, &[&layers[0], &layers[1]]);
    union.rename("e", "d").unwrap();
    assert_eq!(seen(&union), "d/ d/x=");
    let (_, union) = written(CONTAINERS, CONTAINERS, &[&layers[0]]);
    union.remove_dir("d").unwrap();
    assert_eq!(seen(&union), "e/ e/x=");
}

#[test]
fn a_merged_directory_keeps_its_content_under_a_name_that_was_hidden() {
    for hider in [".wh.n=", ".wh.n= n-", ".wh.n/ .wh.n/x=", "n/ .wh.n="] {
        let layers = [hider, "d/ d/x=1 n/ n/old=1"];
        let (_, union) = written(CONTAINERS, CONTAINERS, &layers);
        union.rename("d", "n").unwrap();
        assert_eq!(seen(&union), "n/ n/x=1", "{hider}");
    }
    let layers = ["n/ n/new=2 .wh.n=", "d/ d/x=1 n/ n/old=1"];
    let (_, union) = written(CONTAINERS, CONTAINERS, &layers);
    let swapped = union.rename_with("d", "n", RenameMode::Exchange);
    swapped.unwrap();
    assert_eq!(seen(&union), "d/ d/new=2 n/ n/x=1");
}

#[test]
fn a_copy_leaves_the_marks_of_containers_behind() {
    let layers = stored(&["", "d/ d/y=2", "d/ d/x=1"]);
    let any = overlay_core::layer::SetXattr::Any;
    let root = WritableStorage::root(&*layers[1]);
    let d = root.lookup_writable(scenario_name("d")).unwrap().unwrap();
    for (name, value) in [("user.fuseoverlayfs.opaque", "y"), ("user.note", "kept")] {
        d.node
            .set_xattr(name.as_bytes(), value.as_bytes(), any)
            .unwrap();
    }
    let stack = Stack::new().upper_as(layers[0].clone(), OVERLAY);
    let stack = stack.lower_as(layers[1].clone(), CONTAINERS);
    let union = UnionFs::new(stack.lower_as(layers[2].clone(), CONTAINERS)).unwrap();
    union.write("d/new", "").unwrap();
    assert_eq!(union.xattr("d", "user.note").unwrap(), b"kept");
    let copy = Storage::root(&*layers[0]).lookup(scenario_name("d"));
    let copy = copy.unwrap().unwrap().node;
    assert_eq!(copy.xattr(b"user.note").unwrap().unwrap(), b"kept");
    assert_eq!(copy.xattr(b"user.fuseoverlayfs.opaque").unwrap(), None);
    assert_eq!(seen(&union), "d/ d/new= d/y=2");
}

/// Each step that looks at the writable layer, and so each system call there.
#[test]
fn an_overlay_branch_is_asked_nothing_for_marks_that_are_names() {
    let steps = |dialect: Dialect, name: &str| {
        let layers = stored(&["", "d/"]);
        let upper = WritableStorage::root(&*layers[0]);
        let new = overlay_core::layer::New {
            kind: NewKind::Directory,
            mode: 0o755,
            owner: overlay_core::Owner { uid: 0, gid: 0 },
            xattrs: &[],
        };
        upper.create(scenario_name("d"), &new).unwrap();
        let faults = Faults::new(Scope::All);
        let upper = Faulty::new(layers[0].clone(), &faults);
        let stack = Stack::new().upper_as(upper, dialect);
        let union = Union::new(stack.lower_as(layers[1].clone(), dialect)).unwrap();
        faults.arm(Plan::Watch);
        union.lookup(&union.root(), scenario_name(name)).unwrap();
        faults.steps()
    };
    // The name; of a directory the names of its attributes, too.
    assert_eq!(steps(OVERLAY, "missing"), 1);
    assert_eq!(steps(OVERLAY, "d"), 2);
    // The whiteout; of a directory the mark inside, too.
    assert_eq!(steps(CONTAINERS, "missing"), 2);
    assert_eq!(steps(CONTAINERS, "d"), 4);
}

/// None of whose names is a mark.
fn plain(cases: impl Strategy<Value = Case>) -> impl Strategy<Value = Case> {
    cases.prop_filter("a name would be a mark", |case| {
        !case.to_string().contains(".wh.")
    })
}

fn agrees<S: Storages + 'static>(
    case: &Case,
    upper: Dialect,
    make: impl FnOnce(&[overlay_core::spec::Dir<Stored>], bool) -> S,
) -> Result<(), String> {
    let storages = Encoded::new(&case.layers, case.writable, upper, make);
    let mut core = Core::new(Box::new(storages), case.writable, case.config);
    check(case, Rules::Union, &mut core, Depth::EveryOp)
}

#[test]
fn layers_are_encoded_for_containers_without_loss() {
    run(500, plain(cases(1..=3, 0)), |case| {
        for layer in &case.layers {
            if decode(encode(layer)) != *layer {
                return Err(format!("{layer}became\n{}", decode(encode(layer))));
            }
        }
        Ok(())
    });
}

#[test]
fn histories_over_layers_of_containers_agree_with_the_model() {
    run(case_count(300), plain(cases(1..=5, LENGTH)), |case| {
        agrees(case, OVERLAY, InMemory::new)
    });
    let redirects = cases_with_redirects(1..=4, LENGTH);
    run(case_count(200), plain(redirects), |case| {
        agrees(case, OVERLAY, InMemory::new)
    });
    run(case_count(200), plain(cases_of_redirects(2..=5)), |case| {
        agrees(case, OVERLAY, InMemory::new)
    });
}

#[test]
fn histories_in_a_layer_of_containers_agree_with_the_model() {
    run(case_count(300), plain(cases(1..=5, LENGTH)), |case| {
        agrees(case, CONTAINERS, InMemory::new)
    });
    let redirects = cases_with_redirects(1..=4, LENGTH);
    run(case_count(200), plain(redirects), |case| {
        agrees(case, CONTAINERS, InMemory::new)
    });
}

#[test]
fn histories_over_layers_of_containers_on_directories_agree_with_the_model() {
    if skip(root()) {
        return;
    }
    for upper in [OVERLAY, CONTAINERS] {
        let redirects = cases_with_redirects(1..=4, LENGTH);
        run(case_count(60), plain(redirects), |case| {
            agrees(case, upper, OnDirectories::new)
        });
    }
}

#[test]
fn a_crash_in_a_layer_of_containers_leaves_before_or_after() {
    run(
        case_count(1000),
        plain(cases_with_redirects(1..=3, 5)),
        |case| crash_in(case, On::Memory, Kind::Containers).map(drop),
    );
}

#[test]
fn a_change_that_fails_in_a_layer_of_containers_leaves_before_or_after() {
    run(
        case_count(500),
        plain(cases_with_redirects(1..=3, 5)),
        |case| {
            fault_in(
                case,
                On::Memory,
                Kind::Containers,
                Scope::Changes,
                Errno::NOSPC,
            )
            .map(drop)
        },
    );
}

#[test]
fn histories_in_a_layer_of_containers_without_devices_agree_with_the_model() {
    run(
        case_count(300),
        plain(cases_with_redirects(1..=4, LENGTH)),
        |case| {
            let storages = Encoded::new(&case.layers, case.writable, CONTAINERS, InMemory::new);
            let faults = Faults::on(Lacks::Devices, Scope::Changes);
            let storages = FaultyStorages::new(storages, &faults);
            let mut core = Core::new(Box::new(storages), case.writable, case.config);
            check(case, Rules::Union, &mut core, Depth::EveryOp)
        },
    );
}
