//! The cost of a name by the number of layers: found in the top one, found
//! in the lowest, and not there at all.
#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use overlay_benches::{Layers, fill};

fn lookup(c: &mut Criterion) {
    let mut group = c.benchmark_group("lookup");
    for depth in [1, 8, 50, 200, 500] {
        let layers = Layers::new(depth).unwrap();
        fill(&layers.lower(0), "top", 1, 10).unwrap();
        fill(&layers.lower(depth - 1), "lowest", 1, 10).unwrap();
        let union = layers.union().unwrap();
        for name in ["top0", "lowest0", "missing"] {
            group.bench_function(BenchmarkId::new(name, depth), |b| {
                b.iter(|| union.exists(name).unwrap());
            });
        }
    }
    group.finish();
}

criterion_group!(benches, lookup);
criterion_main!(benches);
