//! Whatever was done to a stack through a union, by the engine or by the
//! kernel, with any options, a check finds no error and no warning in it; and
//! what it clears away changes nothing.

use std::ops::ControlFlow;

use overlay_core::Directories;
use overlay_core::check::{Check, Event, Finding, Kind, Repair, Settings, Severity, Summary};
use overlay_core::spec::generate::{Case, cases, cases_configured, cases_with_redirects};
use overlay_core::spec::{Config, Model, Namespace, RedirectDir, Rules, differences};
use overlay_core::stack::directories::Marks;
use overlay_tests::Subject;
use overlay_tests::runner::{case_count, root, run, skip};
use overlay_tests::scratch::Scratch;
use overlay_tests::specimen::check;
use overlay_tests::subject::core::Core;
use overlay_tests::subject::core::storages::{InMemory, OnDirectories, Storages};
use overlay_tests::subject::kernel::Kernel;
use overlay_tests::subject::ours;

const LENGTH: usize = 25;

/// What nobody may leave behind.
///
/// A directory that is not in its index has no lasting number for a kernel
/// with `nfs_export=on` (`ovl_hash_bylower` in `fs/overlayfs/inode.c`), so when
/// it moves one, it leaves the new parent unmarked: other mounts list a wrong
/// number then.
fn faults(findings: &[Finding], config: Config) -> Result<(), String> {
    let known = |kind| config.nfs_export.is_on() && kind == Kind::ImpureMissing;
    let bad: Vec<_> = findings
        .iter()
        .filter(|finding| finding.severity() >= Severity::Warning && !known(finding.kind))
        .map(|finding| format!("{:?} {:?} {finding}", finding.kind, finding.spot))
        .collect();
    match &bad[..] {
        [] => Ok(()),
        bad => Err(format!("the check finds {bad:#?}")),
    }
}

fn by_the_engine(case: &Case, storages: impl Storages + 'static) -> Result<(), String> {
    let mut core = Core::new(Box::new(storages), case.writable, case.config);
    for op in &case.ops {
        core.apply(op);
    }
    let before = core.look()?;
    let stack = core.union().stack().clone();
    let settings = Settings::default();
    let (found, _) = check(&stack, Repair::Nothing, settings);
    faults(&found, case.config)?;
    if !case.writable {
        return Ok(());
    }
    check(&stack, Repair::All, settings);
    let (_, rest) = check(&stack, Repair::All, settings);
    if rest.repairable + rest.repaired > 0 {
        return Err(format!("the second check finds {rest:?}"));
    }
    match &differences(&before, &core.look()?)[..] {
        [] => Ok(()),
        changed => Err(format!("a repair changed {changed:?}")),
    }
}

#[test]
fn what_the_engine_leaves_in_memory_is_in_order() {
    let test = |case: &Case| {
        let storages = InMemory::with(&case.layers, case.writable, case.config);
        by_the_engine(case, storages)
    };
    run(case_count(200), cases(1..=5, LENGTH), test);
    run(case_count(200), cases_with_redirects(1..=4, LENGTH), test);
    for config in ours::supported() {
        run(
            case_count(20),
            cases_configured(2..=4, LENGTH, config),
            test,
        );
    }
}

#[test]
fn what_the_engine_leaves_in_directories_is_in_order() {
    if skip(root()) {
        return;
    }
    let test = |case: &Case| {
        let storages = OnDirectories::with(&case.layers, case.writable, case.config);
        by_the_engine(case, storages)
    };
    run(case_count(60), cases(1..=5, LENGTH), test);
    run(case_count(60), cases_with_redirects(1..=4, LENGTH), test);
    for config in ours::supported() {
        run(case_count(5), cases_configured(2..=4, LENGTH, config), test);
    }
}

fn directories(scratch: &Scratch, case: &Case) -> Directories {
    let data = scratch.layers() - case.config.data_only;
    let lowers = usize::from(case.writable)..data;
    Directories {
        lowers: lowers.map(|index| scratch.layer(index)).collect(),
        data_lowers: (data..scratch.layers())
            .map(|index| scratch.layer(index))
            .collect(),
        upper: case.writable.then(|| scratch.layer(0)),
        work: case.writable.then(|| scratch.work()),
        marks: match case.config.namespace {
            Namespace::Trusted => Marks::Automatic,
            Namespace::User => Marks::User,
        },
        ..Directories::default()
    }
}

fn ran(check: &Check, repair: Repair) -> (Vec<Finding>, Summary) {
    let mut findings = Vec::new();
    let summary = check.run(repair, &mut |event| {
        if let Event::Found(finding) = event {
            findings.push(finding.clone());
        }
        ControlFlow::Continue(())
    });
    (findings, summary.unwrap())
}

/// Looks, repairs, and looks again.
fn looked_over(scratch: &Scratch, case: &Case) -> Result<(), String> {
    let directories = directories(scratch, case);
    let settings = Settings::default();
    let look = || {
        let looked = directories.open_to_check().map_err(|e| e.to_string())?;
        let check = match case.writable {
            true => Check::looking(looked.stack(), looked.workdir(), settings),
            false => Check::new(looked.stack(), settings),
        };
        Ok::<_, String>(ran(&check.unwrap(), Repair::Nothing))
    };
    let stored = scratch.load();
    let (found, _) = look()?;
    faults(&found, case.config)?;
    if scratch.load() != stored {
        return Err("looking changed a layer".to_owned());
    }
    if !case.writable {
        return Ok(());
    }
    let opened = directories.open_to_repair().map_err(|e| e.to_string())?;
    let check = Check::new(opened.stack(), settings).unwrap();
    let (repaired, _) = ran(&check, Repair::All);
    // By the first name of an object it is repaired for all.
    if repaired.len() > found.len() {
        return Err(format!("looked: {found:#?}\nrepaired: {repaired:#?}"));
    }
    drop((opened, check));
    let (rest, summary) = look()?;
    match summary.repairable {
        0 => Ok(()),
        _ => Err(format!("the second check finds {rest:#?}")),
    }
}

#[test]
fn what_the_kernel_leaves_is_in_order() {
    if skip(Kernel::available()) {
        return;
    }
    let test = |case: &Case| {
        let mut kernel = Kernel::new(&case.layers, case.writable, case.config);
        let mut model = Model::new(&case.layers, case.writable, Rules::Kernel, case.config);
        for op in &case.ops {
            // Some of what it fails leaves an index that it cannot mount again.
            if model.settled(op) {
                model.apply(op);
                kernel.apply(op);
            }
        }
        // Mounted anew, so that it has added what it adds.
        kernel.unmounted(|_| ());
        let before = kernel.look();
        kernel.unmounted(|scratch| looked_over(scratch, case))?;
        let Ok(before) = before else {
            return Ok(());
        };
        match &differences(&before, &kernel.look()?)[..] {
            [] => Ok(()),
            changed => Err(format!("a repair changed {changed:?}")),
        }
    };
    for config in Config::accepted() {
        let refused = config.redirect_dir == RedirectDir::NoFollow;
        let count = if refused { 1 } else { 6 };
        run(
            case_count(count),
            cases_configured(2..=4, LENGTH, config),
            test,
        );
    }
}
