//! Lookups and creations by 1 to 8 threads: the same work in all, shared out.
#![allow(missing_docs, clippy::unwrap_used)]

use std::thread;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use overlay_benches::{Layers, fill};

const LOOKUPS: usize = 8000;
const CREATIONS: usize = 800;

fn threads(c: &mut Criterion) {
    let mut group = c.benchmark_group("threads");
    group.sample_size(20);
    for threads in [1, 2, 4, 8] {
        let layers = Layers::new(8).unwrap();
        fill(&layers.lower(7), "f", 100, 10).unwrap();
        let union = layers.union().unwrap();
        group.throughput(Throughput::Elements(LOOKUPS as u64));
        group.bench_function(BenchmarkId::new("lookup", threads), |b| {
            b.iter(|| {
                thread::scope(|scope| {
                    for _ in 0..threads {
                        scope.spawn(|| {
                            for index in 0..LOOKUPS / threads {
                                assert!(union.exists(format!("f{}", index % 100)).unwrap());
                            }
                        });
                    }
                });
            });
        });
        group.throughput(Throughput::Elements(CREATIONS as u64));
        group.bench_function(BenchmarkId::new("create", threads), |b| {
            b.iter_batched(
                || {
                    let layers = Layers::new(1).unwrap();
                    let union = layers.union().unwrap();
                    (layers, union)
                },
                |(layers, union)| {
                    thread::scope(|scope| {
                        for thread in 0..threads {
                            let union = &union;
                            scope.spawn(move || {
                                let directory = format!("d{thread}");
                                union.create_dir(&directory).unwrap();
                                for index in 0..CREATIONS / threads {
                                    union.create(format!("{directory}/f{index}")).unwrap();
                                }
                            });
                        }
                    });
                    (union, layers)
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, threads);
criterion_main!(benches);
