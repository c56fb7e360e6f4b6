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

/// The cost of a directory by the number of layers that merge in it: each but
/// the lowest is asked for its marks. Many, so that the names are not found in
/// the processor's caches.
fn directory(c: &mut Criterion) {
    const COUNT: usize = 20_000;
    let mut group = c.benchmark_group("lookup_directory");
    for depth in [1, 8] {
        let layers = Layers::new(depth).unwrap();
        let names: Vec<String> = (0..COUNT).map(|index| format!("d{index}")).collect();
        for layer in (0..depth)
            .map(|lower| layers.lower(lower))
            .chain([layers.upper()])
        {
            for name in &names {
                std::fs::create_dir(layer.join(name)).unwrap();
            }
        }
        let union = layers.union().unwrap();
        let mut next = names.iter().cycle();
        group.bench_function(BenchmarkId::new("merged", depth + 1), |b| {
            b.iter(|| union.exists(next.next().unwrap()).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, lookup, directory);
criterion_main!(benches);
