//! compact_cnn against its goldens: both framings, batch statistics, and frozen ones.
#![cfg(all(feature = "cpu", feature = "gpu"))]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::npz;
use tagwave::executor::ExecuteError;
use tagwave::executor::blocking::Run;
use tagwave::gpu::{Context, Executor, Options};
use tagwave::models::{self, Architecture, Compat, Starts, compact};
use tagwave::plan::Plan;
use tagwave::tensor::HostTensor;
use tagwave::test_cases::{Tolerance, compare, synthetic_clip};
use tagwave::weights::{self, Weights};

const SCORES: Tolerance = Tolerance { absolute: 1e-4, relative: 0.0 };
const FEATURES: Tolerance = Tolerance { absolute: 1e-4, relative: 1e-4 };
const SPECTROGRAM: Tolerance = Tolerance { absolute: 0.01, relative: 0.0 };
const SAMPLES: usize = 348_000;

fn load(variant: &str) -> Option<Weights> {
    let model = models::find("compact").unwrap();
    let load = |variant: &str| {
        let path = common::fixture(&format!("weights/weights_{variant}.hdf5"))?;
        Some(weights::load(&path, &model.architecture().tensors(), &model.manifest().unwrap()).unwrap())
    };
    let mut weights = load(variant)?;
    // The TensorFlow file has no dense layer; the goldens take the other file's.
    if weights.get_optional("output.weight").is_none() {
        let theano = load("theano")?;
        for name in ["output.weight", "output.bias"] {
            weights.insert(name, theano.get(name).unwrap().clone());
        }
    }
    Some(weights)
}

fn build(weights: &Weights, compat: Compat) -> Plan {
    compact::Config::default().build(weights, compat, Starts::Samples).unwrap()
}

/// Outputs on the adapter. The unchecked shaders of release builds must give the same bits as the checked ones.
fn run(gpu: &Context, plan: &Plan, clips: &[HostTensor]) -> BTreeMap<String, HostTensor> {
    let [outputs, unchecked] = [true, false].map(|checked| {
        let options = Options { max_batch: clips.len(), checked, ..Options::default() };
        Executor::new(gpu, plan, &options).unwrap().run(&[npz::stack(clips)]).unwrap()
    });
    assert!(outputs == unchecked, "unchecked shaders give other values");
    plan.outputs().iter().map(|(name, _)| name.clone()).zip(outputs).collect()
}

/// The same on the CPU executor.
fn run_on_cpu(plan: &Plan, clips: &[HostTensor]) -> BTreeMap<String, HostTensor> {
    let executor = tagwave::cpu::Executor::new(plan, &tagwave::cpu::Options::default()).unwrap();
    let outputs = executor.run(&[npz::stack(clips)]).unwrap();
    plan.outputs().iter().map(|(name, _)| name.clone()).zip(outputs).collect()
}

fn check(what: &str, found: &HostTensor, golden: &HostTensor, tolerance: Tolerance) {
    let found = found.clone().reshaped(golden.shape()).unwrap();
    let difference = compare(&found, golden, tolerance);
    println!("{what}: {difference}");
    assert!(difference.within, "{what}: {difference}");
}

/// The original's own clip, 12 kHz samples.
fn original_clip() -> Option<HostTensor> {
    let bytes = std::fs::read(common::fixture("audio/1100103.clip.npy")?).unwrap();
    let data = npyz::NpyFile::new(&bytes[..]).unwrap().into_vec::<f32>().unwrap();
    Some(HostTensor::new([1, SAMPLES], data).unwrap())
}

/// The clips of `compact_clips`, in the order of its rows.
fn clips() -> Option<Vec<HostTensor>> {
    let audio = common::fixture("golden/audio12k_bensound.npz")?;
    let named = ["cute", "actionable", "dubstep", "thejazzpiano"];
    let mut clips: Vec<HostTensor> = named
        .iter()
        .map(|clip| npz::array(&audio, &format!("audio_{clip}")).reshaped([1, SAMPLES]).unwrap())
        .collect();
    clips.push(original_clip()?);
    clips.push(HostTensor::new([1, SAMPLES], synthetic_clip(SAMPLES)).unwrap());
    Some(clips)
}

#[test]
fn every_layer_of_the_originals_clip_in_both_framings() {
    let Some(gpu) = common::gpu() else { return };
    for variant in ["theano", "tensorflow"] {
        let (Some(weights), Some(clip)) = (load(variant), original_clip()) else { return };
        let Some(file) = common::fixture(&format!("golden/compact_1100103_{variant}.npz")) else { return };
        let layers: Vec<String> = npz::names(&file)
            .iter()
            .filter_map(|name| Some(name.strip_prefix("layer_")?.to_string()))
            .collect();
        let plan = build(&weights, Compat::Original).tapped(&layers).unwrap().fused();
        let outputs = run(&gpu, &plan, std::slice::from_ref(&clip));
        check(&format!("{variant} mel"), &outputs["input"], &npz::array(&file, "mel_full"), SPECTROGRAM);
        for layer in &layers {
            let golden = npz::array(&file, &format!("layer_{layer}"));
            let (count, data) = (golden.data().len(), outputs[layer].data());
            let sampled = HostTensor::from_fn([count], |k| data[k * data.len() / count]);
            let largest = golden.data().iter().fold(0f32, |m, v| m.max(v.abs()));
            let tolerance = Tolerance { absolute: 2e-5 * largest.max(1.0), relative: 1e-4 };
            check(&format!("{variant} {layer}"), &sampled, &golden, tolerance);
        }
        let on_cpu = run_on_cpu(&build(&weights, Compat::Original).fused(), &[clip]);
        for (how, outputs) in [("gpu", outputs), ("cpu", on_cpu)] {
            check(
                &format!("{variant} scores, {how}"),
                &outputs["scores"],
                &npz::array(&file, "probs"),
                SCORES,
            );
            let features = npz::array(&file, "feat160");
            check(&format!("{variant} features, {how}"), &outputs["embedding"], &features, FEATURES);
        }
    }
}

#[test]
fn a_batch_shares_its_statistics_and_its_maximum() {
    let Some(gpu) = common::gpu() else { return };
    let (Some(weights), Some(clips)) = (load("theano"), clips()) else { return };
    let Some(file) = common::fixture("golden/compact_clips.npz") else { return };
    let plan = build(&weights, Compat::Original);
    let row = |array: &HostTensor, clip: usize| {
        HostTensor::new([1, array.shape().extent(1)], array.row(clip).to_vec()).unwrap()
    };
    for (clip, samples) in clips.iter().enumerate() {
        let mut tapped = plan.clone();
        let name = ["cute", "actionable", "dubstep", "thejazzpiano", "", "synth"][clip];
        if !name.is_empty() {
            tapped = plan.tapped(&["input"]).unwrap();
        }
        let outputs = run(&gpu, &tapped.fused(), std::slice::from_ref(samples));
        check(
            &format!("alone, clip {clip}"),
            &outputs["scores"],
            &row(&npz::array(&file, "probs_b1"), clip),
            SCORES,
        );
        let features = row(&npz::array(&file, "feat160_b1"), clip);
        check(&format!("alone, features of clip {clip}"), &outputs["embedding"], &features, FEATURES);
        if !name.is_empty() {
            check(
                &format!("mel of {name}"),
                &outputs["input"],
                &npz::array(&file, &format!("mel_{name}")),
                SPECTROGRAM,
            );
        }
    }
    let outputs = run(&gpu, &plan.fused(), &clips[..4]);
    check("four together", &outputs["scores"], &npz::array(&file, "probs_b4"), SCORES);
    check("four together, features", &outputs["embedding"], &npz::array(&file, "feat160_b4"), FEATURES);

    // Such a batch cannot be cut into parts.
    let executor =
        Executor::new(&gpu, &plan.fused(), &Options { max_batch: 3, ..Options::default() }).unwrap();
    let refused = executor.run(&[npz::stack(&clips[..4])]).unwrap_err();
    assert!(matches!(refused, ExecuteError::DependentBatch { batch: 4, most: 3, .. }), "{refused}");
}

#[test]
fn frozen_statistics_give_the_calibrated_tags() {
    let Some(gpu) = common::gpu() else { return };
    let (Some(mut weights), Some(clips)) = (load("theano"), clips()) else { return };
    let Some(file) = common::fixture("golden/compact_calibrated.npz") else { return };
    for number in 1..=5 {
        for (ours, theirs) in [("mean", "mean"), ("variance", "var")] {
            weights.insert(format!("bn{number}.{ours}"), npz::array(&file, &format!("{theirs}{number}")));
        }
    }
    let plan = build(&weights, Compat::Corrected).fused();
    assert!(!plan.depends_on_batch());
    let outputs = run(&gpu, &plan, &clips[..5]);
    for (how, outputs) in [("gpu", outputs), ("cpu", run_on_cpu(&plan, &clips[..5]))] {
        check(&format!("calibrated, {how}"), &outputs["scores"], &npz::array(&file, "probs"), SCORES);
        let features = npz::array(&file, "feat160");
        check(&format!("calibrated, features, {how}"), &outputs["embedding"], &features, FEATURES);
    }
}

#[test]
fn frozen_statistics_with_f16_storage() {
    let Some(gpu) = common::gpu() else { return };
    if !gpu.summary().limits.f16 {
        return println!("f16: not run on this adapter");
    }
    let (Some(weights), Some(clips)) = (load("theano"), clips()) else { return };
    let plan = build(&weights, Compat::Corrected).fused();
    let single = run(&gpu, &plan, &clips[..5]);
    let half = run(&gpu, &plan.with_precision(tagwave::tensor::DType::F16), &clips[..5]);
    let tolerance = Tolerance { absolute: 5e-3, relative: 0.0 };
    check("f16", &half["scores"], &single["scores"], tolerance);
}

/// Runs the measurement of `tagwave calibrate` on the corpus of the golden statistics: five clips.
#[test]
fn measured_statistics_are_the_golden_ones() {
    let Some(gpu) = common::gpu() else { return };
    let (Some(weights), Some(clips)) = (load("theano"), clips()) else { return };
    let Some(file) = common::fixture("golden/compact_calibrated.npz") else { return };
    let samples = clips[..5].iter().map(|clip| clip.data().to_vec());
    let statistics = tagwave::tagger::measure_statistics(&weights, samples, &gpu, |_, _| ()).unwrap();
    for (layer, found) in statistics.layers.iter().enumerate() {
        for (values, name) in [(&found.mean, "mean"), (&found.variance, "var")] {
            let golden = npz::array(&file, &format!("{name}{}", layer + 1));
            let found = HostTensor::new([values.len()], values.clone()).unwrap();
            let largest = golden.data().iter().fold(0f32, |m, v| m.max(v.abs()));
            let tolerance = Tolerance { absolute: 1e-5 * largest.max(1.0), relative: 1e-4 };
            check(&format!("{name}{}", layer + 1), &found, &golden, tolerance);
        }
    }
}

#[test]
fn the_built_in_statistics_fit_the_network() {
    let statistics = compact::Statistics::published().unwrap();
    assert_eq!(statistics.layers.len(), 5);
    for layer in &statistics.layers {
        assert_eq!([layer.mean.len(), layer.variance.len()], [32, 32]);
        assert!(layer.variance.iter().all(|variance| *variance > 0.0));
    }
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/compact/statistics.toml").exists());
}
