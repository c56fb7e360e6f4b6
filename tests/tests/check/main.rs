//! What a check finds and what it repairs.
//!
//! - here: a specimen of every fault is found, named and (if it can be)
//!   repaired, in memory and in directories;
//! - `histories`: what the engine and the kernel leave behind is in order;
//! - `kernel`: what findings say of the kernel is true of it;
//! - `damage`: whatever is damaged, a repair takes nothing away.

#![allow(clippy::unwrap_used, reason = "a broken test setup may panic")]

use std::collections::BTreeSet;

use overlay_core::check::{Kind, Outcome, Remedy, Repair, Settings, Severity};
use overlay_core::layer::{Removal, SetXattr};
use overlay_tests::runner::{root, skip};
use overlay_tests::specimen::{Bench, handle_of, mark, worse};

mod damage;
mod histories;
mod kernel;
mod specimens;

use specimens::beside::{in_work, indexed, origin};
use specimens::{PLAIN, Where, benches, specimens};

/// The findings, sorted; a path of which only the order of a listing decides
/// is `?` in what is expected.
fn agree(found: &[(Kind, String)], expected: &[(Kind, &str)]) -> bool {
    found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|((kind, path), (wanted, at))| kind == wanted && (*at == "?" || path == at))
}

#[test]
fn a_specimen_of_each_fault_is_found_and_repaired() {
    for specimen in specimens() {
        for bench in benches(&specimen) {
            (specimen.build)(&bench);
            let place = format!("{:?} on {bench:?}", specimen.kind);
            let before = bench.shown();
            let (found, summary) = bench.check(Repair::Nothing, specimen.settings);
            let mut told: Vec<_> = found
                .iter()
                .map(|finding| (finding.kind, finding.path.escape_ascii().to_string()))
                .collect();
            told.sort();
            assert!(
                agree(&told, specimen.finds),
                "{place}: {told:?}, expected {:?}",
                specimen.finds
            );
            assert!(
                found.iter().all(|finding| finding.outcome == Outcome::Left),
                "{place}"
            );
            assert_eq!(summary.repaired, 0, "{place}");
            assert_eq!(
                worse(&before, &bench.shown()),
                [""; 0],
                "{place}: looked at"
            );

            let (again, _) = bench.check(Repair::All, specimen.settings);
            assert_eq!(again.len(), found.len(), "{place}: {again:?}");
            for (looked, done) in found.iter().zip(&again) {
                let expected = match looked.remedy {
                    Remedy::Repair(_) => Outcome::Repaired,
                    Remedy::Consent(..) | Remedy::None(_) => Outcome::Left,
                };
                assert_eq!(done.outcome, expected, "{place}: {done:?}");
            }
            let (rest, summary) = bench.check(Repair::All, specimen.settings);
            assert_eq!(summary.repairable, 0, "{place}: {rest:?}");
            assert_eq!(summary.repaired, 0, "{place}: {rest:?}");
            assert_eq!(rest.is_empty(), specimen.repaired, "{place}: {rest:?}");
            // An entry of the index counts as a name.
            if !specimen.kind.name().starts_with("index") {
                assert_eq!(worse(&before, &bench.shown()), [""; 0], "{place}");
            }
        }
    }
}

#[test]
fn there_is_a_specimen_of_each_kind() {
    let mut made: BTreeSet<Kind> = specimens().iter().map(|specimen| specimen.kind).collect();
    // By `what_cannot_be_read_is_told_and_the_check_goes_on`.
    made.insert(Kind::Unreadable);
    let missing: Vec<_> = Kind::ALL
        .iter()
        .filter(|kind| !made.contains(kind))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    let names: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    assert_eq!(names.len(), Kind::ALL.len());
}

#[test]
fn lower_layers_are_never_written() {
    for specimen in specimens() {
        if specimen.on == Where::Directories || specimen.layers > 2 {
            continue;
        }
        // The same faults, on a layer below an upper one that is in order.
        let bench = Bench::in_memory(3);
        (specimen.build)(&bench);
        let stack = overlay_core::Stack::new().upper(overlay_core::MemStorage::new());
        let stack = bench
            .stack()
            .branches()
            .iter()
            .enumerate()
            .fold(stack, |stack, (index, _)| stack.lower(bench.reading(index)));
        let stored = || (0..3).map(|index| bench.stored(index)).collect::<Vec<_>>();
        let before = stored();
        let (found, summary) =
            overlay_tests::specimen::check(&stack, Repair::All, specimen.settings);
        assert_eq!(summary.repaired, 0, "{:?}: {found:?}", specimen.kind);
        assert_eq!(before, stored(), "{:?}", specimen.kind);
    }
}

#[test]
fn a_read_only_stack_is_looked_over_and_not_repaired() {
    let bench = Bench::in_memory(3);
    bench.dir(1, "d", &[("redirect", b"gone")]);
    let lowers = [1, 2].map(|index| bench.reading(index));
    let stack = lowers
        .into_iter()
        .fold(overlay_core::Stack::new(), overlay_core::Stack::lower);
    let (found, _) = overlay_tests::specimen::check(&stack, Repair::Nothing, PLAIN);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].severity(), Severity::Error);
    assert!(matches!(found[0].remedy, Remedy::None(why) if why.contains("never written")));
    let check = overlay_core::check::Check::new(&stack, PLAIN).unwrap();
    let mut each = |_: overlay_core::check::Event<'_>| std::ops::ControlFlow::Continue(());
    let refused = check.run(Repair::All, &mut each).unwrap_err();
    assert_eq!(refused, overlay_core::Error::ReadOnly);
}

#[test]
fn over_another_lower_layer_nothing_is_repaired() {
    let bench = Bench::in_memory(2);
    bench.dir(1, "was", &[]);
    let value = origin(&bench, "was");
    bench.mark(0, "", "origin", &value);
    bench.whiteout(0, "hid-something-there");
    let (found, summary) = bench.check(Repair::All, PLAIN);
    let kinds: Vec<_> = found.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [Kind::LowerOther, Kind::WhiteoutOverNothing]);
    assert_eq!((summary.repaired, summary.repairable), (0, 0));
    let accepting = Settings {
        accept_lower: true,
        ..PLAIN
    };
    let (_, summary) = bench.check(Repair::All, accepting);
    assert_eq!(summary.repaired, 2);
}

#[test]
fn what_a_volatile_mount_left_is_not_accepted_unasked() {
    if skip(root()) {
        return;
    }
    let bench = Bench::in_directories(2);
    in_work(&bench, "work/incompat/volatile");
    in_work(&bench, "work/#3");
    let (found, summary) = bench.check(Repair::All, PLAIN);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!((summary.repaired, summary.left), (0, 1));
    assert!(bench.path("work0/work/incompat/volatile").unwrap().exists());
}

#[test]
fn a_link_count_that_means_nothing_does_not_cost_the_data() {
    let bench = Bench::in_memory(2);
    let entry = indexed(&bench);
    bench.remove(0, "a");
    bench.whiteout(0, "a");
    // b shows what only the index holds now.
    bench.index(|index, _| {
        let node = index.lookup_writable(&entry).unwrap().unwrap().node;
        node.set_xattr(&mark("nlink"), b"many", SetXattr::Any)
            .unwrap();
    });
    let (found, summary) = bench.check(Repair::All, PLAIN);
    assert_eq!(found[0].kind, Kind::IndexLinkCount, "{found:?}");
    assert_eq!(summary.repairable, 0);
    bench.index(|index, _| {
        let node = index.lookup_writable(&entry).unwrap().unwrap().node;
        assert_eq!(node.xattr(&mark("nlink")).unwrap().unwrap(), b"U+1");
        index
            .remove(&entry, Removal::NonDirectory, Some(&*node))
            .unwrap();
        assert_eq!(handle_of(&*node).kind, 1);
    });
}

#[test]
fn a_tree_of_any_depth_takes_no_more_of_the_stack() {
    const DEPTH: usize = 20_000;
    let deep = || {
        let bench = Bench::in_memory(2);
        for layer in 0..2 {
            bench.deep(layer, DEPTH);
        }
        let (found, summary) = bench.check(Repair::Nothing, PLAIN);
        assert_eq!(found.len(), 0, "{found:?}");
        assert_eq!(summary.objects, 2 * DEPTH as u64);
    };
    let thread = std::thread::Builder::new().stack_size(256 * 1024);
    thread.spawn(deep).unwrap().join().unwrap();
}

#[test]
fn a_check_ends_when_its_caller_has_enough() {
    let bench = Bench::in_memory(2);
    for name in ["a", "b", "c"] {
        bench.whiteout(0, name);
    }
    let check = overlay_core::check::Check::new(&bench.stack(), PLAIN).unwrap();
    let mut told = 0;
    let summary = check.run(Repair::Nothing, &mut |event| {
        told += u64::from(matches!(event, overlay_core::check::Event::Found(_)));
        std::ops::ControlFlow::Break(())
    });
    assert_eq!((told, summary.unwrap().leftovers), (1, 1));
}

#[test]
fn layers_of_container_tools_are_judged_by_their_own_marks() {
    use overlay_core::{Dialect, Namespace, Stack};
    let bench = Bench::in_memory(3);
    bench.file(2, "d/hidden", 1, &[]);
    bench.file(2, "opaque/hidden", 1, &[]);
    bench.file(2, "beside/hidden", 1, &[]);
    bench.file(1, "d/.wh.hidden", 0, &[]);
    bench.file(1, "d/.wh.gone", 0, &[]);
    bench.file(1, "opaque/.wh..wh..opq", 0, &[]);
    bench.file(0, ".wh.beside", 0, &[]);
    bench.dir(0, "beside", &[]);
    bench.file(0, "opaque/.wh.hidden", 0, &[]);
    bench.whiteout(0, "d/hidden");
    let dialect = Dialect::Containers(Namespace::Trusted);
    let stack = [1, 2].into_iter().fold(
        Stack::new().upper_as(bench.storage(0), dialect),
        |stack, layer| stack.lower_as(bench.reading(layer), dialect),
    );
    let before = overlay_tests::specimen::shown(stack.clone());
    let check = |repair| overlay_tests::specimen::check(&stack, repair, PLAIN);
    let (found, _) = check(Repair::All);
    let mut told: Vec<_> = found
        .iter()
        .map(|finding| (finding.kind, finding.path.escape_ascii().to_string()))
        .collect();
    told.sort();
    let over_nothing = |path: &str| (Kind::WhiteoutOverNothing, path.to_owned());
    assert_eq!(
        told,
        [
            over_nothing("d/.wh.gone"),
            over_nothing("d/hidden"),
            over_nothing("opaque/.wh.hidden"),
        ]
    );
    let (rest, summary) = check(Repair::All);
    assert_eq!(summary.repairable + summary.repaired, 0, "{rest:?}");
    assert_eq!(rest.len(), 1, "that of the lower layer: {rest:?}");
    let after = overlay_tests::specimen::shown(stack.clone());
    assert_eq!(worse(&before, &after), [""; 0]);
}
