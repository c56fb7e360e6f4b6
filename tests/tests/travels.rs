//! Histories on layers that change hands: what one side writes, the other
//! reads and goes on with, with every combination of options that both know.
//!
//! `UFS_CASES=2000 cargo test -p overlay-tests --test travels` for more cases,
//! `UFS_SEED=...` to repeat a failure.

use overlay_core::spec::Rules;
use overlay_core::spec::generate::cases_of_travels;
use overlay_tests::check::{Depth, check};
use overlay_tests::runner::{case_count, run, skip};
use overlay_tests::subject::kernel::Kernel;
use overlay_tests::subject::mounted::Mounted;
use overlay_tests::subject::ours::supported;
use overlay_tests::subject::travelling::Side::{
    self, Core, Kernel as InKernel, Mounted as InMount,
};
use overlay_tests::subject::travelling::Travelling;

const LENGTH: usize = 25;

fn travel(count: u32, route: &[Side]) {
    let configs = supported();
    let share = case_count(count).div_ceil(configs.len() as u32);
    for config in configs {
        let cases = cases_of_travels(2..=5, LENGTH, config, route.len());
        run(share, cases, |case| {
            let (writable, config) = (case.writable, case.config);
            let mut subject = Travelling::new(&case.layers, writable, config, route);
            check(case, Rules::Union, &mut subject, Depth::EveryOp)
        });
    }
}

#[test]
fn layers_travel_between_the_kernel_and_the_core() {
    if skip(Kernel::available()) {
        return;
    }
    travel(120, &[InKernel, Core]);
    travel(120, &[Core, InKernel]);
}

#[test]
fn layers_travel_between_the_kernel_and_our_mount() {
    if skip(Kernel::available()) || skip(Mounted::available()) {
        return;
    }
    travel(90, &[InKernel, InMount]);
    travel(90, &[InMount, InKernel]);
}
