//! A crash at any step is harmless, and the next run does the rest.

use overlay_core::Errno;
use overlay_core::spec::generate::{Case, cases};
use overlay_tests::branches::Writer;
use overlay_tests::faulty::{Faults, Faulty, Lacks, Plan, Scope};
use overlay_tests::runner::{case_count, run};

use super::*;

/// Converts what `make` makes, with a cut, or a fault, at each step in turn.
fn survives(
    make: &dyn Fn() -> Arc<MemStorage>,
    below: &Dir<Stored>,
    forms: (Form, Form),
    lacks: Lacks,
) -> Result<(), String> {
    let whole = make();
    let original = all(&whole);
    let before = seen(&*Storage::root(&*whole), below);
    let steps = convert_on(&whole, forms, lacks, Plan::Watch)?;
    let expected = without_memory(&whole);
    for step in 1..=steps {
        for plan in [Plan::CutAt(step), Plan::FaultAt(step, Errno::NOSPC)] {
            let at = |what: String| format!("{forms:?}, {plan:?} of {steps}: {what}");
            let storage = make();
            let outcome = convert_on(&storage, forms, lacks, plan);
            let now = seen(&*Storage::root(&*storage), below);
            if now != before {
                return Err(at(format!("it shows something else: {now:#?}")));
            }
            if outcome.is_err() {
                convert_on(&storage, forms, lacks, Plan::Watch).map_err(at)?;
            }
            let mut differs = difference(&expected, &without_memory(&storage));
            if differs.is_empty() && forms == TO_OVERLAY {
                convert_on(&storage, TO_AUFS, lacks, Plan::Watch).map_err(at)?;
                differs = difference(&original, &all(&storage));
            }
            if !differs.is_empty() {
                return Err(at(differs));
            }
        }
    }
    Ok(())
}

/// What is remembered tells access times, too, which no two runs share.
fn without_memory(storage: &MemStorage) -> Tree {
    let mut tree = all(storage);
    for object in tree.values_mut() {
        object.xattrs.remove(&b"trusted.overlay.ufs.aufs"[..]);
    }
    tree
}

/// The number of steps that changed something.
fn convert_on(
    storage: &Arc<MemStorage>,
    forms: (Form, Form),
    lacks: Lacks,
    plan: Plan,
) -> Result<u64, String> {
    let faults = Faults::on(lacks, Scope::Changes);
    faults.arm(plan);
    let faulty: Arc<dyn WritableStorage> = Faulty::new(Arc::clone(storage) as _, &faults);
    match conversion(forms).on_storage(&faulty, &mut silent) {
        Ok(_) => Ok(faults.steps()),
        Err(failure) => Err(failure.to_string()),
    }
}

fn cut_everywhere(case: &Case, lacks: Lacks) -> Result<(), String> {
    let (layer, below) = (&case.layers[0], &case.layers[1]);
    for writer in [Writer::Aufs, Writer::Archive] {
        let aufs = branches::aufs(layer, writer);
        let make = || stored(&aufs);
        survives(&make, below, TO_OVERLAY, lacks)?;
        let make_back = || {
            let storage = make();
            convert_on(&storage, TO_OVERLAY, lacks, Plan::Watch).unwrap();
            storage
        };
        survives(&make_back, below, TO_AUFS, lacks)?;
    }
    let layer = branches::expressible(layer);
    survives(&|| stored(&layer), below, TO_AUFS, lacks)
}

#[test]
fn a_cut_at_any_step_shows_what_was_shown_and_the_next_run_does_the_rest() {
    run(case_count(25), cases(2..=2, 0), |case| {
        cut_everywhere(case, Lacks::Nothing)
    });
}

#[test]
fn the_same_where_no_device_can_be_made() {
    run(case_count(15), cases(2..=2, 0), |case| {
        cut_everywhere(case, Lacks::Devices)
    });
}

#[test]
fn a_mixture_of_marks_is_cut_too() {
    let layer = scenario::layer(
        "f=1 .wh.f= d/ d/g=1 .wh.d= e- e2/ e2/x- .wh.z= p/! p/.wh.q= p/r- .wh..wh.tmp.1234/ .wh..wh.tmp.1234/t=",
        0,
    );
    let below = scenario::layer("f=2 d/ d/h=2 e=2 e2/ e2/x=2 e2/y=2 z=2 p/ p/q= p/r=", 1);
    for to in [Form::Overlay, Form::Aufs] {
        let forms = (Form::Containers, to);
        survives(&|| stored(&layer), &below, forms, Lacks::Nothing).unwrap();
        survives(&|| stored(&layer), &below, forms, Lacks::Devices).unwrap();
    }
}
