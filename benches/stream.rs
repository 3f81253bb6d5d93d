//! CPU time of one update of a stream, beside tagging the same window from its samples.
//!
//! `cargo bench --bench stream`; 48 kHz stereo, a hop of 1 s, model `small`, one thread.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

use tagwave::tagger::{Device, Stream, StreamConfig, StreamInput, Tagger};

const RATE_HZ: usize = 48_000;

fn noise(frames: usize) -> Vec<f32> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state as f32 / u32::MAX as f32 - 0.5
    };
    (0..2 * frames).map(|_| next()).collect()
}

fn updates(criterion: &mut Criterion) {
    let tagger = Tagger::builder().device(Device::Cpu).cpu_threads(1).build().unwrap();
    let mut group = criterion.benchmark_group("stream");
    let samples = noise(30 * RATE_HZ);
    let second = &samples[..2 * RATE_HZ];
    let config = StreamConfig::new(RATE_HZ as u32, 2).buffer_s(31.0);
    let (mut input, mut stream) = tagger.stream(config).unwrap();
    input.push_interleaved(&samples);
    while stream.pump().unwrap().is_some() {}
    group.bench_function("update", |bencher| {
        bencher.iter(|| {
            input.push_interleaved(second);
            stream.pump().unwrap().unwrap()
        });
    });
    group.bench_function("push 300 blocks of 512 frames", |bencher| {
        let open = || tagger.stream(StreamConfig::new(RATE_HZ as u32, 2)).unwrap();
        let push = |(mut input, stream): (StreamInput, Stream)| {
            (0..300).for_each(|_| assert_eq!(input.push_interleaved(&second[..1024]), 512));
            (input, stream)
        };
        bencher.iter_batched(open, push, BatchSize::PerIteration);
    });
    group.bench_function("whole window anew", |bencher| {
        let mono = || samples.as_chunks::<2>().0.iter().map(|[l, r]| 0.5 * l + 0.5 * r).collect::<Vec<f32>>();
        bencher.iter_batched(mono, |mono| tagger.tag_samples(&mono, RATE_HZ as u32), BatchSize::LargeInput);
    });
    group.finish();
}

criterion_group!(benches, updates);
criterion_main!(benches);
