//! Recording into encoders of a host: the bits of the tagger, whole or in steps, on the host's device.
#![cfg(all(feature = "cpu", feature = "gpu", feature = "small"))]

mod common;

use std::time::{Duration, Instant};

use tagwave::ErrorKind;
use tagwave::executor::blocking::Run;
use tagwave::gpu::{self, Context, Executor, Options, RecorderInput};
use tagwave::kernels::Operation;
use tagwave::lab::synthetic_weights;
use tagwave::models;
use tagwave::tagger::{ClipResult, Device, Fallback, Reading, Recorder, Tagger, TaggerBuilder};
use tagwave::tensor::DType;
use tagwave::test_cases::{self, synthetic_clip};
use tagwave::wgpu;

/// Device of a host application.
struct Host {
    device: wgpu::Device,
    queue: wgpu::Queue,
}

impl Host {
    /// With the limits and features of `request`; `None` without an adapter.
    fn new(request: impl FnOnce(&wgpu::Adapter) -> (wgpu::Limits, wgpu::Features)) -> Option<Host> {
        common::gpu()?;
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
        let (required_limits, required_features) = request(&adapters[0]);
        let descriptor = wgpu::DeviceDescriptor { required_limits, required_features, ..Default::default() };
        let (device, queue) = pollster::block_on(adapters[0].request_device(&descriptor)).unwrap();
        Some(Host { device, queue })
    }

    /// With all that tagwave can use.
    fn full() -> Option<Host> {
        Host::new(|adapter| (wgpu::Limits::default(), gpu::wanted_features(adapter)))
    }

    fn builder(&self) -> TaggerBuilder {
        Tagger::builder().gpu(Context::from_device(self.device.clone(), self.queue.clone()))
    }

    fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.create_command_encoder(&Default::default())
    }

    fn submit(&self, encoder: wgpu::CommandEncoder) {
        self.queue.submit([encoder.finish()]);
    }

    /// Polls as a frame loop does, until the reading has arrived.
    fn wait(&self, reading: &mut Reading) -> Result<ClipResult, tagwave::Error> {
        let start = Instant::now();
        loop {
            if let Some(result) = reading.try_take() {
                return result;
            }
            let _ = self.device.poll(wgpu::PollType::Poll);
            std::thread::sleep(Duration::from_micros(100));
            assert!(start.elapsed() < Duration::from_secs(120));
        }
    }

    fn encode(&self, recorder: &mut Recorder, input: RecorderInput<'_>) -> ClipResult {
        let mut encoder = self.encoder();
        recorder.encode(&mut encoder, input).unwrap();
        let mut reading = recorder.read(&mut encoder).unwrap();
        assert!(reading.try_take().is_none());
        self.submit(encoder);
        self.wait(&mut reading).unwrap()
    }
}

fn clip() -> Vec<f32> {
    synthetic_clip(349_440)
}

#[test]
fn a_recorded_clip_has_the_bits_of_the_tagger() {
    let Some(host) = Host::full() else { return };
    let clip = clip();
    let expected = host.builder().build().unwrap().tag_samples(&clip, 12_000).unwrap();
    let mut recorder = host.builder().tap("mel").build_recorder().unwrap();
    assert_eq!((recorder.clip_samples(), recorder.sample_rate_hz()), (349_440, 12_000));
    for _again in 0..2 {
        let found = host.encode(&mut recorder, RecorderInput::Samples(&clip));
        assert_eq!((&found.scores, &found.embedding), (&expected.scores, &expected.embedding));
        assert_eq!(found.tap.len(), 96 * 1366);
    }
    // Samples in a buffer of the host, which begin after others.
    let usage = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::STORAGE;
    let size = 4 * (clip.len() as u64 + 4);
    let buffer = host.device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size,
        usage,
        mapped_at_creation: false,
    });
    host.queue.write_buffer(&buffer, 16, bytemuck::cast_slice(&clip));
    let found = host.encode(&mut recorder, RecorderInput::Buffer(&buffer, 16));
    assert_eq!(found.scores, expected.scores);
    // Outputs stay on the device, where the host can bind and copy them.
    let (outputs, range) = recorder.output("scores").unwrap();
    assert!(range.start.is_multiple_of(256) && range.end - range.start >= 200);
    let readback = host.device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 200,
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let mut encoder = host.encoder();
    encoder.copy_buffer_to_buffer(outputs, range.start, &readback, 0, 200);
    encoder.map_buffer_on_submit(&readback, wgpu::MapMode::Read, .., |mapped| mapped.unwrap());
    host.submit(encoder);
    host.device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    let scores: Vec<f32> = bytemuck::pod_collect_to_vec(&readback.get_mapped_range(..).unwrap());
    assert_eq!(scores, expected.scores);
    assert!(recorder.output("mel").is_some() && recorder.output("nothing").is_none());
    assert!(recorder.device_bytes() > 4 << 20);
}

/// A clip in many frames, with and without measured times, between work of the host.
#[test]
fn steps_fit_their_budget_and_change_nothing() {
    let Some(host) = Host::full() else { return };
    let clip = clip();
    let mut recorder = host.builder().build_recorder().unwrap();
    let expected = host.encode(&mut recorder, RecorderInput::Samples(&clip));
    for (budget, is_warm) in [(Duration::ZERO, false), (Duration::from_millis(5), true)] {
        if is_warm {
            // On a loading thread, which gives the recorder back.
            let loading = std::thread::spawn(move || recorder.warm_up().map(|()| recorder));
            recorder = loading.join().unwrap().unwrap();
        }
        recorder.begin(RecorderInput::Samples(&clip)).unwrap();
        let mut frames = 0;
        let mut reading = loop {
            let mut encoder = host.encoder();
            let progress = recorder.step(&mut encoder, budget).unwrap();
            frames += 1;
            assert!(progress.dispatches == 1 || progress.expected <= budget, "{progress:?}");
            assert_eq!(recorder.is_recording(), !progress.is_complete);
            if progress.is_complete {
                let reading = recorder.read(&mut encoder).unwrap();
                host.submit(encoder);
                break reading;
            }
            host.submit(encoder);
            let _ = host.device.poll(wgpu::PollType::Poll);
        };
        let found = host.wait(&mut reading).unwrap();
        assert_eq!(found.scores, expected.scores);
        println!("budget {budget:?}: {frames} frames");
        assert!(frames > 3);
    }
}

#[test]
fn misuse_and_dropped_encoders_are_errors() {
    let Some(host) = Host::full() else { return };
    let clip = clip();
    let mut recorder = host.builder().build_recorder().unwrap();
    let mut encoder = host.encoder();
    assert_eq!(recorder.read(&mut encoder).unwrap_err().kind(), ErrorKind::Cancelled);
    let progress = recorder.step(&mut encoder, Duration::MAX).unwrap();
    assert!(progress.dispatches == 0 && !progress.is_complete);
    let error = recorder.begin(RecorderInput::Samples(&clip[1..])).unwrap_err();
    assert_eq!(
        (error.kind(), &*error.to_string()),
        (ErrorKind::Input, "349439 samples, expected 349440: one clip at the model's rate")
    );
    let broken: Vec<f32> = clip.iter().map(|_| f32::NAN).collect();
    assert_eq!(recorder.begin(RecorderInput::Samples(&broken)).unwrap_err().kind(), ErrorKind::Input);
    // A dropped encoder cancels its reading; the next clip is not affected.
    recorder.encode(&mut encoder, RecorderInput::Samples(&clip)).unwrap();
    let mut reading = recorder.read(&mut encoder).unwrap();
    drop(encoder);
    assert_eq!(reading.try_take().unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
    // A clip that is begun anew drops the one before.
    recorder.begin(RecorderInput::Samples(&vec![0.0; 349_440])).unwrap();
    let mut encoder = host.encoder();
    recorder.step(&mut encoder, Duration::ZERO).unwrap();
    host.submit(encoder);
    let found = host.encode(&mut recorder, RecorderInput::Samples(&clip));
    let expected = host.builder().build().unwrap().tag_samples(&clip, 12_000).unwrap();
    assert_eq!(found.scores, expected.scores);
    // Samples of the host that are not finite are found by the statistics of the spectrogram.
    let buffer = host.device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 4 * 349_440,
        usage: wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    host.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(&vec![1e30f32; 349_440]));
    let mut encoder = host.encoder();
    recorder.encode(&mut encoder, RecorderInput::Buffer(&buffer, 0)).unwrap();
    let mut reading = recorder.read(&mut encoder).unwrap();
    host.submit(encoder);
    assert_eq!(host.wait(&mut reading).unwrap_err().kind(), ErrorKind::Input);
    assert_eq!(Tagger::builder().build_recorder().unwrap_err().kind(), ErrorKind::Input, "no device");
}

/// The reading of a lost device is an error of its kind; another device takes the clip.
#[test]
fn a_lost_device_is_told() {
    let Some(host) = Host::full() else { return };
    let clip = clip();
    let mut recorder = host.builder().build_recorder().unwrap();
    host.device
        .on_uncaptured_error(std::sync::Arc::new(|error: wgpu::Error| println!("host was told: {error}")));
    let mut encoder = host.encoder();
    recorder.encode(&mut encoder, RecorderInput::Samples(&clip)).unwrap();
    let mut reading = recorder.read(&mut encoder).unwrap();
    host.device.destroy();
    host.submit(encoder);
    let kind = host.wait(&mut reading).unwrap_err().kind();
    assert!(matches!(kind, ErrorKind::Device | ErrorKind::Cancelled), "{kind:?}");
    let Some(next) = Host::full() else { return };
    let mut recorder = next.builder().build_recorder().unwrap();
    assert_eq!(next.encode(&mut recorder, RecorderInput::Samples(&clip)).scores.len(), 50);
}

/// Devices with the stated minimum run every model; with less, the error names what is missing, or the CPU takes over.
#[test]
fn the_stated_limits_are_enough() {
    let Some(least) = Host::new(|_| (gpu::required_limits(), wgpu::Features::empty())) else { return };
    let context = Context::from_device(least.device.clone(), least.queue.clone());
    for model in models::all() {
        let builder = least.builder().model(model.name());
        builder.check_gpu(&context).unwrap();
        let error = builder.precision(DType::F16).check_gpu(&context).unwrap_err();
        assert!(error.to_string().contains("16-bit floats"), "{error}");
        let weights = synthetic_weights(model.architecture(), 1);
        if model.name() != "compact" {
            least.builder().build_from(model, &weights).unwrap();
        }
    }
    let mut recorder = least.builder().build_recorder().unwrap();
    recorder.warm_up().unwrap();
    let found = least.encode(&mut recorder, RecorderInput::Samples(&clip()));
    assert_eq!(found.scores.len(), 50);
    let Some(less) = Host::new(|_| (wgpu::Limits::downlevel_defaults(), wgpu::Features::empty())) else {
        return;
    };
    let context = Context::from_device(less.device.clone(), less.queue.clone());
    let message = "needs 6 storage buffers, the device has 4";
    let error = less.builder().check_gpu(&context).unwrap_err();
    assert!(error.to_string().contains(message), "{error}");
    for builder in [less.builder(), less.builder().fallback(Fallback::Error)] {
        let error = builder.build().unwrap_err();
        assert!(error.to_string().contains(message) && error.kind() == ErrorKind::Resource, "{error}");
    }
    let tagger = less.builder().fallback(Fallback::Cpu).build().unwrap();
    assert!(tagger.take_warnings().iter().any(|warning| warning.to_string().contains(message)));
    let expected = Tagger::builder().device(Device::Cpu).build().unwrap();
    let [found, expected] = [tagger, expected].map(|tagger| tagger.tag_samples(&clip(), 12_000).unwrap());
    assert_eq!(found.scores, expected.scores);
}

/// With `Fallback::Error` a device that fails later is an error, too.
#[test]
fn the_host_chooses_what_follows_a_loss() {
    for (fallback, is_ok) in [(Fallback::Error, false), (Fallback::Cpu, true)] {
        let Some(host) = Host::full() else { return };
        let tagger = host.builder().fallback(fallback).build().unwrap();
        assert_eq!(tagger.max_batch(), 1, "memory for one clip");
        host.device.destroy();
        let result = tagger.tag_samples(&clip(), 12_000);
        assert_eq!(result.is_ok(), is_ok);
        if let Err(error) = result {
            assert_eq!(error.kind(), ErrorKind::Device);
        }
    }
}

/// Every kernel of the convolution gives the same bits in slices.
#[test]
fn slices_change_nothing() {
    let Some(gpu) = common::gpu() else { return };
    let mut kernels = std::collections::BTreeSet::new();
    let cases = test_cases::all()
        .into_iter()
        .filter(|case| case.plan.steps()[0].op.name() == "conv2d" && case.inputs[0].data().len() < 1 << 16);
    for case in cases.step_by(5) {
        let step = &case.plan.steps()[0];
        let shapes = case.plan.shapes(step);
        let mut configs = step.op.configs(&case.plan.call(step, &shapes), &gpu.summary().limits);
        configs.dedup_by_key(|config| config.kernel());
        for config in configs {
            let [whole, sliced] = [None, Some(1)].map(|slice_flops| {
                let options = Options { config: Some(config), slice_flops, ..Options::default() };
                Executor::new(&gpu, &case.plan, &options).unwrap().run(&case.inputs).unwrap()
            });
            assert_eq!(whole, sliced, "{} ({config})", case.name);
            kernels.insert(config.kernel());
        }
    }
    println!("{kernels:?}");
    assert!(kernels.len() > 3);
}
