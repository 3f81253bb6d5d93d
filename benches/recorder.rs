//! CPU time of recording a clip into an encoder of the host, and finishing it; it is not submitted.
//!
//! `cargo bench --bench recorder`; model `small`, the best adapter.

use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

use tagwave::gpu::{Context, RecorderInput};
use tagwave::tagger::Tagger;
use tagwave::test_cases::synthetic_clip;
use tagwave::wgpu;

fn recording(criterion: &mut Criterion) {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&Default::default())).unwrap();
    println!("{}", adapter.get_info().name);
    let (device, queue) = pollster::block_on(adapter.request_device(&Default::default())).unwrap();
    let context = Context::from_device(device.clone(), queue.clone());
    let mut recorder = Tagger::builder().gpu(context).build_recorder().unwrap();
    let clip = synthetic_clip(recorder.clip_samples());
    let size = 4 * clip.len() as u64;
    let usage = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
    let buffer =
        device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false });
    let mut group = criterion.benchmark_group("recorder");
    let encoder = || device.create_command_encoder(&Default::default());
    group.bench_function("encode a clip in a buffer", |bencher| {
        bencher.iter_batched(
            encoder,
            |mut encoder| {
                recorder.encode(&mut encoder, RecorderInput::Buffer(&buffer, 0)).unwrap();
                encoder.finish()
            },
            BatchSize::PerIteration,
        );
    });
    group.bench_function("encode one step", |bencher| {
        recorder.begin(RecorderInput::Buffer(&buffer, 0)).unwrap();
        bencher.iter_batched(
            encoder,
            |mut encoder| {
                if !recorder.is_recording() {
                    recorder.begin(RecorderInput::Buffer(&buffer, 0)).unwrap();
                }
                recorder.step(&mut encoder, Duration::ZERO).unwrap();
                encoder.finish()
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, recording);
criterion_main!(benches);
