//! Histories of operations on the engine in memory, against the model.
//!
//! The input takes the place of the random numbers in the generators that the
//! model tests use: every input is a case, and a small change of the input is
//! a small change of the case.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use overlay_core::spec::Rules;
use overlay_core::spec::generate::cases;
use overlay_tests::check::{Depth, check};
use overlay_tests::subject::core::Core;
use overlay_tests::subject::core::storages::InMemory;
use proptest::prelude::RngCore;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Operations in a history: as in the model tests.
const LENGTH: usize = 25;

/// Bytes that follow the input: far more than a case takes. Zeros, which would
/// follow otherwise, make a generator that draws until it likes a number draw
/// for ever.
const TAIL: usize = 1 << 18;

/// The same noise for every input.
static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut noise = vec![0; TAIL];
    rng.fill_bytes(&mut noise);
    noise
});

fuzz_target!(|input: &[u8]| {
    let stream = [input, &NOISE].concat();
    let rng = TestRng::from_seed(RngAlgorithm::PassThrough, &stream);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    // The strategies reject nothing.
    let Ok(tree) = cases(1..=5, LENGTH).new_tree(&mut runner) else {
        return;
    };
    let case = tree.current();
    let storages = InMemory::new(&case.layers, case.writable);
    let mut core = Core::new(Box::new(storages), case.writable);
    if let Err(message) = check(&case, Rules::Union, &mut core, Depth::EveryOp) {
        panic!("{case}{message}");
    }
});
