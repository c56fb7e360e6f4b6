//! Generated histories on every subject, against the model.
//!
//! `UFS_CASES=2000 cargo test -p overlay-tests --test model` for more cases,
//! `UFS_SEED=...` to repeat a failure.

use overlay_core::spec::Rules;
use overlay_core::spec::generate::cases;
use overlay_tests::check::{Depth, check};
use overlay_tests::runner::{case_count, run};
use overlay_tests::subject::kernel::Kernel;

#[test]
fn the_model_agrees_with_the_kernels_overlayfs() {
    if let Err(reason) = Kernel::available() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    // The kernel wants two layers at least.
    run(case_count(200), cases(2..=5, 25), |case| {
        let mut kernel = Kernel::new(&case.layers, case.writable);
        check(case, Rules::Kernel, &mut kernel, Depth::EveryOp)
    });
}
