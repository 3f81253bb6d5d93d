//! The spectrogram of CNN and CRNN against values made outside this project.
#![cfg(all(feature = "cpu", feature = "gpu"))]

mod common;

use std::path::Path;

use common::npz;
use tagwave::executor::blocking::Run;
use tagwave::frontend;
use tagwave::gpu::{Executor, Options};
use tagwave::models::{self, Architecture};
use tagwave::plan::{Builder, Level, Plan, Scope};
use tagwave::reference;
use tagwave::tensor::HostTensor;
use tagwave::test_cases::{Tolerance, compare, synthetic_clip};

/// Tolerance of docs/numerics.md: 0.01 dB, also for the floor, which is relative to the maximum.
const SPECTROGRAM: Tolerance = Tolerance { absolute: 0.01, relative: 0.0 };

fn golden() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/frontend/synthetic.npz")
}

/// Plan from samples to floored dB, as in the published CNN and CRNN.
fn plan(samples: usize) -> Plan {
    let config = models::crnn::Config::default();
    let mut builder = Builder::new();
    let x = builder.input("samples", [1, samples]);
    let mel = config.mel.spectrogram(&mut builder, x).unwrap();
    let (db, stats) = frontend::level(&mut builder, mel, Level::Absolute, Scope::Clip).unwrap();
    builder.output("db", db);
    builder.output("stats", stats);
    builder.finish()
}

fn input() -> HostTensor {
    let samples = models::crnn::Config::default().clip().samples;
    HostTensor::new([1, samples], synthetic_clip(samples)).unwrap()
}

/// Compares a spectrogram with the sampled values of the golden file.
fn compare_picked(what: &str, db: &HostTensor) {
    let golden = npz::array(&golden(), "mel");
    let count = golden.data().len();
    let picked = HostTensor::from_fn([count], |k| db.data()[k * db.data().len() / count]);
    let difference = compare(&picked, &golden, SPECTROGRAM);
    println!("{what}: {difference}");
    assert!(difference.within, "{what}: {difference}");
}

#[test]
fn the_synthetic_clip_is_the_golden_one() {
    let clip = input();
    for (name, range) in [("head", 0..512), ("tail", clip.data().len() - 512..clip.data().len())] {
        let found = HostTensor::new([512], clip.data()[range].to_vec()).unwrap();
        let tolerance = Tolerance { absolute: 1e-7, relative: 0.0 };
        let difference = compare(&found, &npz::array(&golden(), name), tolerance);
        assert!(difference.within, "{name}: {difference}");
    }
}

#[test]
fn filters_have_the_golden_sums() {
    let filters = models::crnn::Config::default().mel.filters();
    let sums = HostTensor::from_fn([96], |band| filters.row(band).iter().sum());
    let tolerance = Tolerance { absolute: 0.0, relative: 1e-5 };
    let difference = compare(&sums, &npz::array(&golden(), "filter_sums"), tolerance);
    assert!(difference.within, "{difference}");
}

#[test]
fn the_reference_executor_makes_the_golden_spectrogram() {
    let outputs = reference::run(&plan(input().data().len()), &[input()]).unwrap();
    compare_picked("reference", &outputs[0]);
}

#[test]
fn the_gpu_makes_the_golden_spectrogram() {
    let Some(gpu) = common::gpu() else { return };
    let executor = Executor::new(&gpu, &plan(input().data().len()), &Options::default()).unwrap();
    let outputs = executor.run(&[input()]).unwrap();
    compare_picked("gpu", &outputs[0]);
    // The whole array, where the fixtures have it.
    if let Some(file) = common::fixture("golden/mel_inputs.npz") {
        let whole = npz::array(&file, "mel_synth").reshaped([1, 1, 96, 1366]).unwrap();
        let difference = compare(&outputs[0], &whole, SPECTROGRAM);
        println!("gpu, whole: {difference}");
        assert!(difference.within, "{difference}");
    }
}
