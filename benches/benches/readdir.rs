//! Listing a directory: of one branch, merged from several, and with
//! whiteouts in the upper.
#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use overlay_benches::{Layers, fill};

const ENTRIES: usize = 1000;

fn readdir(c: &mut Criterion) {
    let mut group = c.benchmark_group("readdir");
    group.throughput(Throughput::Elements(ENTRIES as u64));
    for lowers in [1, 8, 50] {
        let layers = Layers::new(lowers).unwrap();
        for lower in 0..lowers {
            let prefix = format!("l{lower}-");
            fill(&layers.lower(lower), &prefix, ENTRIES / lowers, 0).unwrap();
        }
        let union = layers.union().unwrap();
        group.bench_function(BenchmarkId::new("merged", lowers), |b| {
            b.iter(|| union.read_dir("").unwrap().len());
        });
    }
    let layers = Layers::new(1).unwrap();
    fill(&layers.lower(0), "f", ENTRIES, 0).unwrap();
    let union = layers.union().unwrap();
    for index in 0..ENTRIES / 2 {
        union.remove_file(format!("f{index}")).unwrap();
    }
    group.bench_function("half whited out", |b| {
        b.iter(|| union.read_dir("").unwrap().len());
    });
    group.finish();
}

criterion_group!(benches, readdir);
criterion_main!(benches);
