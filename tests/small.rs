//! The default model: its weights are in the repository, so everything here runs without fixtures.
#![cfg(all(feature = "cpu", feature = "decode", feature = "gpu", feature = "small"))]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::executors::makers;
use common::npz;
use tagwave::executor::blocking::Run;
use tagwave::models::{self, Compat, ModelError, Starts};
use tagwave::tagger::{Device, Tagger};
use tagwave::tags::TagSelection;
use tagwave::tensor::HostTensor;
use tagwave::test_cases::{Tolerance, compare, synthetic_clip};
use tagwave::weights::{self, Locator, TensorRole, Weights};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn embedded() -> (models::Model, Weights) {
    let model = models::find(models::DEFAULT).unwrap();
    let weights = model.weights(&Locator::default()).unwrap();
    (model, weights)
}

/// All stored layers from samples on, on every executor, against tests/golden/small/make.py.
#[test]
fn golden_layers_features_and_scores() {
    let golden = file("tests/golden/small/synthetic.npz");
    let layers: BTreeMap<String, HostTensor> =
        npz::names(&golden).into_iter().map(|name| (name.clone(), npz::array(&golden, &name))).collect();
    assert_eq!(layers["probs"].data().len(), 50);
    let (model, weights) = embedded();
    let plan = model.architecture().build(&weights, Compat::Corrected, Starts::Samples).unwrap();
    let tapped = plan.tapped(&layers.keys().collect::<Vec<_>>()).unwrap();
    let samples = model.architecture().clip().samples;
    let input = [HostTensor::new([1, samples], synthetic_clip(samples)).unwrap()];
    for maker in makers(common::gpu()) {
        let outputs = maker.make(&tapped.fused(), 1).run(&input).unwrap();
        for ((name, _), output) in tapped.outputs().iter().zip(&outputs) {
            let Some(expected) = layers.get(name) else { continue };
            let (count, size) = (expected.data().len(), output.data().len());
            let sampled: Vec<f32> = (0..count).map(|k| output.data()[k * size / count]).collect();
            let sampled = HostTensor::new([count], sampled).unwrap();
            let largest = expected.data().iter().fold(0f32, |most, value| most.max(value.abs()));
            // From samples on: the front end's own tolerance, 0.01 dB of 80, is in it.
            let tolerance = Tolerance { absolute: 2e-4 * largest.max(1.0), relative: 1e-4 };
            let difference = compare(&sampled, expected, tolerance);
            println!("{} {name}: {difference}", maker.name);
            assert!(difference.within, "{} {name}: {difference}", maker.name);
        }
        // What a user gets: all layers fused, no taps.
        let outputs = maker.make(&plan.fused(), 1).run(&input).unwrap();
        let scores = &outputs[plan.output_index(models::SCORES).unwrap()];
        let scores = HostTensor::new([50], scores.data().to_vec()).unwrap();
        let difference = compare(&scores, &layers["probs"], Tolerance { absolute: 1e-4, relative: 0.0 });
        assert!(difference.within, "{}: {difference}", maker.name);
    }
}

#[test]
fn the_manifest_is_that_of_the_file() {
    let bytes = std::fs::read(file("weights/small/tagwave-small.safetensors")).unwrap();
    assert!(bytes.len() < 650_000);
    let (model, weights) = embedded();
    let manifest = model.manifest().unwrap();
    let stated = manifest.embedded.unwrap();
    assert_eq!((stated.size, stated.sha256), (bytes.len() as u64, weights::sha256_hex(&bytes)));
    let specs = model.architecture().tensors();
    assert_eq!(weights::parameter_count(&specs, TensorRole::Trainable), 293_242);
    assert!(weights.info().ignored.is_empty());
}

#[test]
fn it_supports_corrected_only() {
    let error = Tagger::builder().device(Device::Cpu).compat(Compat::Original).build().unwrap_err();
    assert!(error.to_string().contains("original"), "{error}");
    let (model, _) = embedded();
    assert!(matches!(model.check_compat(Compat::Original), Err(ModelError::Compat { .. })));
}

/// The first command of the README; the demo is electronic music.
#[test]
fn the_demo_is_tagged() {
    let tagger = Tagger::builder().device(Device::Cpu).build().unwrap();
    let track = tagger.tag_file(file("assets/demo.ogg")).unwrap();
    let tags = tagger.tags(&track, TagSelection::Top(3));
    println!("{tags:?}");
    assert_eq!(tags[0].label, "electronic");
}
