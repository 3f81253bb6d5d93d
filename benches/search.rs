//! Search in a library of a million tracks on one core.
//!
//! `cargo bench --bench search --features search`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tagwave::search::Vectors;

const TRACKS: usize = 1_000_000;
/// Length of a whitened vector, at most.
const DIMENSIONS: usize = 64;

/// Reproducible vectors of length 1.
fn library() -> Vectors {
    let mut state = 1u64;
    let mut values = vec![0.0f32; TRACKS * DIMENSIONS];
    for row in values.chunks_exact_mut(DIMENSIONS) {
        for value in row.iter_mut() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *value = (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
        }
        let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
        row.iter_mut().for_each(|value| *value /= length);
    }
    Vectors::new(values, DIMENSIONS).unwrap()
}

/// Tracks per second are `elem/s`.
fn search(criterion: &mut Criterion) {
    let vectors = library();
    // Check first: a track is nearest to itself, and every other cosine is lower.
    let hits = vectors.nearest(vectors.row(777_777), 20, |_| true);
    assert!(hits.len() == 20 && hits[0].row == 777_777 && hits.is_sorted_by(|a, b| a.cosine >= b.cosine));
    let mut group = criterion.benchmark_group("search");
    group.throughput(Throughput::Elements(TRACKS as u64)).sample_size(20);
    group.bench_function("20 of a million", |bencher| {
        bencher.iter(|| vectors.nearest(black_box(vectors.row(12_345)), 20, |_| true));
    });
    group.bench_function("20 of a million, every tenth qualifies", |bencher| {
        bencher.iter(|| vectors.nearest(black_box(vectors.row(12_345)), 20, |row| row % 10 == 0));
    });
}

criterion_group!(benches, search);
criterion_main!(benches);
