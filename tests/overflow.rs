//! Infinity and NaN: no executor may turn them into finite numbers.
#![cfg(all(feature = "cpu", feature = "gpu", feature = "small"))]

mod common;

use tagwave::Error;
use tagwave::cpu::{self, Convolution, SimdLevel};
use tagwave::error::Cause;
use tagwave::executor::blocking::Run;
use tagwave::gpu;
use tagwave::reference;
use tagwave::tagger::{Device, Outputs, Tagger};
use tagwave::tensor::HostTensor;
use tagwave::test_cases::{self, TestCase};

/// All test cases except large ones, with `value` in the middle of each input in turn.
fn poisoned(value: f32) -> Vec<(TestCase, Vec<HostTensor>)> {
    let mut cases = Vec::new();
    for case in test_cases::all().into_iter().filter(|case| case.inputs[0].data().len() < 1 << 15) {
        for index in 0..case.inputs.len() {
            let mut inputs = case.inputs.clone();
            let middle = inputs[index].data().len() / 2;
            inputs[index].data_mut()[middle] = value;
            cases.push((case.clone(), inputs));
        }
    }
    cases
}

/// Number of finite elements of `found` for which `is_lost` holds in the reference.
fn hidden(expected: &HostTensor, found: &HostTensor, is_lost: fn(f32) -> bool) -> usize {
    let pairs = expected.data().iter().zip(found.data());
    pairs.filter(|(expected, found)| is_lost(**expected) && found.is_finite()).count()
}

#[test]
fn the_cpu_hides_neither_infinity_nor_nan() {
    let mut failures = Vec::new();
    for value in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
        for (case, inputs) in poisoned(value) {
            if case.plan.depends_on_batch() && case.plan.batch() > 1 {
                continue;
            }
            let expected = reference::run(&case.plan, &inputs).unwrap();
            for simd_level in SimdLevel::available() {
                for convolution in [Convolution::Direct, Convolution::Winograd] {
                    let options = cpu::Options {
                        threads: Some(1),
                        convolution: Some(convolution),
                        simd_level: Some(simd_level),
                        ..Default::default()
                    };
                    let executor = cpu::Executor::new(&case.plan, &options).unwrap();
                    let found = executor.run(&inputs).unwrap();
                    let count = hidden(&expected[0], &found[0], |v| !v.is_finite());
                    if count > 0 {
                        failures.push(format!(
                            "{value} in {} ({simd_level:?}, {convolution:?}): {count} hidden",
                            case.name
                        ));
                    }
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

/// WGSL lets a driver assume that there is no NaN, and pools begin with the lowest finite number, so only positive
/// infinity is compared. Samples that a Fourier transform cannot take are refused on the host; those whose power
/// overflows are given here.
#[test]
fn the_gpu_does_not_hide_infinity() {
    let Some(gpu) = common::gpu() else { return };
    let mut failures = Vec::new();
    let cases = poisoned(f32::INFINITY).into_iter().filter(|(case, _)| !case.name.starts_with("log_mel"));
    let spectrograms = poisoned(1e19).into_iter().filter(|(case, _)| case.name.starts_with("log_mel"));
    for (case, inputs) in cases.chain(spectrograms) {
        let expected = reference::run(&case.plan, &inputs).unwrap();
        let options = gpu::Options { max_batch: case.plan.batch(), ..Default::default() };
        let executor = gpu::Executor::new(&gpu, &case.plan, &options).unwrap();
        let found = executor.run(&inputs).unwrap();
        let count = hidden(&expected[0], &found[0], |v| v == f32::INFINITY);
        if count > 0 {
            failures.push(format!("{}: {count} hidden", case.name));
        }
    }
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

/// Gains that overflow the squared power of the spectrogram, and a single large sample.
#[test]
fn overflowing_samples_are_an_error_on_every_device() {
    let quiet = test_cases::synthetic_clip(349_440);
    let mut one = quiet.clone();
    one[100_000] = f32::MAX;
    let mut clips: Vec<(String, Vec<f32>)> = [1e12f32, 1e15, 1e30, 1e38]
        .map(|gain| (format!("gain {gain:e}"), quiet.iter().map(|v| v * gain).collect()))
        .into();
    clips.push(("one sample".into(), one));
    let gpu = common::gpu();
    for device in [Device::Cpu, Device::Gpu, Device::Reference] {
        if device == Device::Gpu && gpu.is_none() {
            continue;
        }
        // The statistics alone: everything before the convolutions.
        let outputs = if device == Device::Cpu { Outputs::All } else { Outputs::Tap };
        let tagger = Tagger::builder().device(device.clone()).outputs(outputs).tap("input").build().unwrap();
        for (name, samples) in &clips {
            let result = tagger.tag_samples(samples, 12_000);
            let is_too_loud = matches!(result.as_ref().map_err(Error::cause), Err(Cause::TooLoud));
            assert!(is_too_loud, "{device}, {name}: {result:.1?}");
        }
    }
}
