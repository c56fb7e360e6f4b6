//! Stacks damaged at random: a repair takes nothing away that was seen, and
//! leaves nothing that it could repair. So does a repair that is cut short.

use std::ops::ControlFlow;
use std::sync::Arc;

use overlay_core::check::{Finding, Kind, Repair, Settings};
use overlay_core::error::Errno;
use overlay_core::layer::dir::{Descriptors, DirUpper};
use overlay_core::layer::{NewKind, Removal, RenameMode, SetXattr, WritableNode, WritableStorage};
use overlay_core::name::{Name, NameBuf};
use overlay_core::spec::generate::{
    Case, cases, cases_configured, cases_of_redirects, cases_with_redirects,
};
use overlay_core::spec::{Config, Namespace, Op, RedirectDir, Switch, Xino};
use overlay_core::{MemStorage, Stack};
use overlay_tests::Subject;
use overlay_tests::faulty::{Faults, Faulty, Plan, Scope};
use overlay_tests::runner::{case_count, run, skip};
use overlay_tests::specimen::{Shown, check, mark, new, objects, shown, worse};
use overlay_tests::subject::core::Core;
use overlay_tests::subject::core::storages::{InMemory, stack_in};
use overlay_tests::subject::kernel::Kernel;

const LENGTH: usize = 12;

const MARKS: &[&str] = &[
    "opaque", "redirect", "metacopy", "origin", "impure", "nlink", "whiteout", "upper",
];

const VALUES: &[&[u8]] = &[
    b"", b"y", b"x", b"z", b"a", b"b", b"/a", b"/a/b", b"/b/a/c", b"a/b", b"/", b"U+1",
];

const SETTINGS: Settings = Settings {
    redirects: overlay_core::check::Redirects::Followed,
    accept_volatile: false,
    // An origin on the root of the upper layer is damage like any other.
    accept_lower: true,
};

/// Those that leave most behind on the layers.
const EVERYTHING: Config = Config {
    redirect_dir: RedirectDir::On,
    metacopy: Switch::On,
    index: Switch::On,
    nfs_export: Switch::Off,
    xino: Xino::Auto,
    namespace: Namespace::Trusted,
    data_only: 0,
};

/// Numbers that look random and depend on the case alone.
struct Dice(u64);

impl Dice {
    fn of(case: &Case) -> Dice {
        let text = format!("{case:?}");
        let seed = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        Dice(seed)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % limit
    }

    fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

/// One change that no union makes.
fn damage(layer: &Arc<dyn WritableStorage>, dice: &mut Dice) {
    let all = objects(layer);
    let (dir, name) = &all[dice.below(all.len())];
    let node = match name {
        Some(name) => dir.lookup_writable(name).unwrap().unwrap().node,
        None => Arc::clone(dir),
    };
    match dice.below(6) {
        0 => {
            let names = node.xattr_names().unwrap();
            if !names.is_empty() {
                let name = &names[dice.below(names.len())];
                node.remove_xattr(name).unwrap();
            }
        }
        1 => {
            if let Some(name) = name {
                let removed = dir.remove(name, Removal::NonDirectory, None);
                // A directory goes only if it is empty.
                if removed.is_err() {
                    drop(dir.remove(name, Removal::Directory, None));
                }
            }
        }
        2 => {
            let name = Name::new(dice.one(&[b"a".as_slice(), b"b", b"c", b"w"])).unwrap();
            drop(dir.create(name, &new(NewKind::CharDevice(0), &[])));
        }
        _ => {
            let (name, value) = (dice.one(MARKS), dice.one(VALUES));
            let set = node.set_xattr(&mark(name), value, SetXattr::Any);
            set.unwrap();
        }
    }
}

fn stack(layers: &[Arc<MemStorage>], upper: Arc<dyn WritableStorage>) -> Stack {
    let lowers = layers.iter().skip(1);
    lowers.fold(Stack::new().upper(upper), |stack, layer| {
        stack.lower(Arc::clone(layer) as _)
    })
}

/// A history, without what would take the layers out of our hands.
fn damaged(case: &Case) -> Option<InMemory> {
    let ops: Vec<Op> = case
        .ops
        .iter()
        .filter(|op| **op != Op::Rotate)
        .cloned()
        .collect();
    let storages = Arc::new(InMemory::new(&case.layers, true));
    let mut core = Core::new(Box::new(Arc::clone(&storages)), true, case.config);
    for op in &ops {
        core.apply(op);
    }
    drop(core);
    let mut dice = Dice::of(case);
    for _ in 0..=dice.below(4) {
        let layers = storages.layers();
        let layer = Arc::clone(&layers[dice.below(layers.len())]);
        damage(&(layer as Arc<dyn WritableStorage>), &mut dice);
    }
    Arc::into_inner(storages)
}

fn repaired(case: &Case) -> Result<(), String> {
    let storages = damaged(case).ok_or("somebody has the layers")?;
    let layers = storages.layers();
    let upper = || Arc::clone(&layers[0]) as Arc<dyn WritableStorage>;
    let stack = stack(layers, upper());
    let before = shown(stack.clone());
    let (looked, _) = check(&stack, Repair::Nothing, SETTINGS);
    let changed = worse(&before, &shown(stack.clone()));
    if !changed.is_empty() {
        return Err(format!("looking changed {changed:#?}\n{looked:#?}"));
    }
    let (done, summary) = check(&stack, Repair::All, SETTINGS);
    let after = shown(stack.clone());
    let changed = worse(&before, &after);
    if !changed.is_empty() {
        return Err(format!("a repair changed {changed:#?}\n{done:#?}"));
    }
    let (rest, again) = check(&stack, Repair::All, SETTINGS);
    if again.repairable + again.repaired > 0 {
        return Err(format!("{summary:?}, and then {rest:#?}"));
    }
    Ok(())
}

#[test]
fn a_repair_of_random_damage_takes_nothing_away_and_is_whole() {
    run(case_count(1000), cases(1..=4, LENGTH), repaired);
    run(
        case_count(1000),
        cases_with_redirects(1..=4, LENGTH),
        repaired,
    );
    run(case_count(1000), cases_of_redirects(1..=4), repaired);
}

/// The same history and damage each time.
fn cut(case: &Case) -> Result<(), String> {
    for step in 1.. {
        let storages = damaged(case).ok_or("somebody has the layers")?;
        let layers = storages.layers();
        let whole = || {
            let upper = Arc::clone(&layers[0]) as Arc<dyn WritableStorage>;
            stack(layers, upper)
        };
        let before = shown(whole());
        let faults = Faults::new(Scope::Changes);
        let upper = Arc::clone(&layers[0]) as Arc<dyn WritableStorage>;
        let faulty = stack(layers, Faulty::new(upper, &faults));
        faults.arm(Plan::CutAt(step));
        check(&faulty, Repair::All, SETTINGS);
        if faults.failed().is_none() {
            return Ok(());
        }
        drop(faulty);
        let place = |text: String| format!("cut at step {step}: {text}");
        // The times of a directory are put right after the change.
        let changed = worse(
            &without_times(before.clone()),
            &without_times(shown(whole())),
        );
        if !changed.is_empty() {
            return Err(place(format!("{changed:#?}")));
        }
        check(&whole(), Repair::All, SETTINGS);
        let (rest, summary) = check(&whole(), Repair::All, SETTINGS);
        if summary.repairable + summary.repaired > 0 {
            return Err(place(format!("{rest:#?}")));
        }
    }
    Ok(())
}

fn without_times(shown: overlay_tests::specimen::Shown) -> overlay_tests::specimen::Shown {
    let plain = |text: String| {
        let (before, rest) = text.split_once("Timestamp").unwrap();
        let (_, after) = rest.split_once('}').unwrap();
        format!("{before}{after}")
    };
    shown
        .into_iter()
        .map(|(path, sight)| (path, sight.map(plain)))
        .collect()
}

#[test]
fn a_repair_that_is_cut_short_is_no_worse_and_can_be_repeated() {
    run(case_count(100), cases(1..=4, LENGTH), cut);
    run(case_count(100), cases_of_redirects(1..=4), cut);
}

/// One change in an index.
fn damage_index(index: &dyn WritableNode, dice: &mut Dice) {
    let mut names = Vec::new();
    index
        .entries(&mut |entry| {
            names.push(entry.name.to_owned());
            ControlFlow::Continue(())
        })
        .unwrap();
    names.sort();
    let Some(name) = names.get(dice.below(names.len().max(1))) else {
        return;
    };
    let found = index.lookup_writable(name).unwrap().unwrap();
    match dice.below(5) {
        0 if !found.attr.kind.is_dir() => {
            index.remove(name, Removal::NonDirectory, None).unwrap();
        }
        1 if !found.attr.kind.is_dir() => {
            // As a copy of another object.
            let mut other = name.as_bytes().to_vec();
            let digit = other.len() / 2;
            other[digit] = if other[digit] == b'1' { b'2' } else { b'1' };
            let other = NameBuf::new(other).unwrap();
            let linked = index.link(&other, &*found.node, RenameMode::NoReplace);
            drop(linked);
        }
        2 => {
            let (name, value) = (dice.one(MARKS), dice.one(VALUES));
            found
                .node
                .set_xattr(&mark(name), value, SetXattr::Any)
                .unwrap();
        }
        _ => {
            let name = dice.one(&["origin", "nlink", "upper"]);
            drop(found.node.remove_xattr(&mark(name)));
        }
    }
}

fn removes_from_index(finding: &Finding) -> bool {
    let removed = [Kind::IndexOrphan, Kind::IndexMismatch, Kind::IndexTemporary];
    removed.contains(&finding.kind)
}

/// Without the link counts. A union without the index counts the entries of
/// the index among the links of a copy, and a repair has removed some.
fn but_links(shown: Shown) -> Shown {
    let cut = |text: String| match text.split_once(" } ") {
        Some((before, links)) => {
            let rest = links.split_once(' ').map_or("", |(_, rest)| rest);
            format!("{before} }} {rest}")
        }
        None => text,
    };
    let cut = |(path, sight): (_, Result<String, _>)| (path, sight.map(cut));
    shown.into_iter().map(cut).collect()
}

/// What the kernel left is damaged, looked at through our union, repaired,
/// and mounted by the kernel again, unless errors are left.
fn on_disk(case: &Case) -> Result<(), String> {
    if !case.writable {
        return Ok(());
    }
    let mut kernel = Kernel::new(&case.layers, true, EVERYTHING);
    for op in &case.ops {
        kernel.apply(op);
    }
    kernel.unmounted(|scratch| {
        let mut dice = Dice::of(case);
        for _ in 0..=dice.below(4) {
            let (layer, spare) = (
                dice.below(scratch.layers()),
                tempfile::tempdir_in(scratch.path()),
            );
            let work = match layer {
                0 => scratch.work(),
                _ => spare.as_ref().unwrap().path().to_owned(),
            };
            let budget = Descriptors::new(16);
            let storage = DirUpper::open(&scratch.layer(layer), &work, &budget).unwrap();
            match (layer, dice.below(2)) {
                (0, 0) => damage_index(&*storage.index().unwrap(), &mut dice),
                _ => damage(&(storage as Arc<dyn WritableStorage>), &mut dice),
            }
        }
        let stack = stack_in(scratch.path(), true, 1..scratch.layers());
        let before = shown(stack.clone());
        let (done, _) = check(&stack, Repair::All, SETTINGS);
        let after = shown(stack.clone());
        let changed = match done.iter().any(removes_from_index) {
            true => worse(&but_links(before), &but_links(after)),
            false => worse(&before, &after),
        };
        let (rest, again) = check(&stack, Repair::All, SETTINGS);
        drop(stack);
        if again.repairable + again.repaired > 0 {
            return Err(format!("{done:#?}, and then {rest:#?}"));
        }
        if again.left > 0 {
            // So that it can be mounted.
            drop(std::fs::remove_dir_all(scratch.work().join("index")));
        }
        match &changed[..] {
            [] => Ok(()),
            _ => Err(format!("a repair changed {changed:#?}\n{done:#?}")),
        }
    })
}

#[test]
fn after_a_repair_the_kernel_mounts_with_its_index() {
    if skip(Kernel::available()) {
        return;
    }
    run(
        case_count(120),
        cases_configured(2..=4, LENGTH, EVERYTHING),
        on_disk,
    );
}

/// A failure to look at something is a finding, and no end.
fn one_failure(case: &Case) -> Result<(), String> {
    let storages = InMemory::new(&case.layers, true);
    let layers = storages.layers();
    let upper = Arc::clone(&layers[0]) as Arc<dyn WritableStorage>;
    let faults = Faults::new(Scope::All);
    let faulty = stack(layers, Faulty::new(upper, &faults));
    let made = overlay_core::check::Check::new(&faulty, SETTINGS).unwrap();
    faults.arm(Plan::Watch);
    made.run(Repair::Nothing, &mut |_| ControlFlow::Continue(()))
        .unwrap();
    for step in 1..=faults.steps() {
        faults.arm(Plan::FaultAt(step, Errno::IO));
        let mut told = 0;
        let outcome = made.run(Repair::Nothing, &mut |event| {
            if let overlay_core::check::Event::Found(finding) = event {
                told += u64::from(finding.kind == Kind::Unreadable);
            }
            ControlFlow::Continue(())
        });
        match outcome {
            Ok(summary) if told > 0 && summary.unreadable == told => {}
            // Without its root a branch is none.
            Err(error) if error.is(Errno::IO) => {}
            other => return Err(format!("step {step}, {:?}: {other:?}", faults.failed())),
        }
    }
    Ok(())
}

#[test]
fn what_cannot_be_read_is_told_and_the_check_goes_on() {
    let full = |case: &Case| match case.layers[0].entries.is_empty() {
        false => one_failure(case),
        true => Ok(()),
    };
    run(case_count(50), cases_of_redirects(2..=3), full);
}
