//! What a copy-up costs by size: through the first write, through a change of
//! mode, and through O_TRUNC, which copies no data.
#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use overlay_benches::{Layers, fill};
use overlay_core::SetAttr;
use overlay_core::fs::UnionFs;
use overlay_core::union::OpenOptions;

fn fresh(size: usize) -> (Layers, UnionFs) {
    let layers = Layers::new(1).unwrap();
    fill(&layers.lower(0), "f", 1, size).unwrap();
    let union = layers.union().unwrap();
    (layers, union)
}

fn copy_up(c: &mut Criterion) {
    let mut group = c.benchmark_group("copy_up");
    group.sample_size(20);
    for size in [0, 4 << 10, 1 << 20, 32 << 20] {
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("open for writing", size), |b| {
            b.iter_batched(
                || fresh(size),
                |(layers, union)| {
                    let options = OpenOptions {
                        write: true,
                        truncate: false,
                        append: false,
                    };
                    let file = union.open_with("f0", options).unwrap();
                    (file, union, layers)
                },
                BatchSize::PerIteration,
            );
        });
    }
    let size = 1 << 20;
    group.bench_function("truncate 1 MiB", |b| {
        b.iter_batched(
            || fresh(size),
            |(layers, union)| (union.create("f0").unwrap(), union, layers),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("chmod 1 MiB", |b| {
        b.iter_batched(
            || fresh(size),
            |(layers, union)| {
                let set = SetAttr {
                    mode: Some(0o600),
                    ..SetAttr::default()
                };
                union.set_attr("f0", &set).unwrap();
                (union, layers)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, copy_up);
criterion_main!(benches);
