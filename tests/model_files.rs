//! Model files: sizes from the arrays, labels from the metadata, heads on another model's embedding.
#![cfg(all(feature = "cpu", feature = "gpu", feature = "small"))]

mod common;

use std::collections::HashMap;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tagwave::ErrorKind;
use tagwave::lab::synthetic_weights;
use tagwave::models::{self, Architecture, Compat, Model, cnn, compact, crnn};
use tagwave::tagger::{Device, Tagger, TaggerBuilder};
use tagwave::tags::{TagSelection, Vocabulary};
use tagwave::tensor::HostTensor;
use tagwave::test_cases::synthetic_clip;
use tagwave::weights::{FORMAT_VERSION, LAYOUT, Locator, Weights};

type Metadata = HashMap<String, String>;

fn metadata(entries: &[(&str, &str)]) -> Metadata {
    let fixed = [("tagwave_format", FORMAT_VERSION), ("layout", LAYOUT)];
    fixed.iter().chain(entries).map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

/// A file as the safetensors package of Python writes it.
fn file(tensors: &[(String, HostTensor)], metadata: Metadata) -> Vec<u8> {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, tensor)| tensor.data().iter().flat_map(|v| v.to_le_bytes()).collect())
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, tensor), bytes)| {
        let shape = tensor.shape().extents().to_vec();
        (name.clone(), TensorView::new(Dtype::F32, shape, bytes).unwrap())
    });
    safetensors::serialize(views, Some(metadata)).unwrap()
}

/// Synthetic weights; compact also needs the statistics of its normalisation.
fn weights_of(architecture: &dyn Architecture) -> Weights {
    let mut weights = synthetic_weights(architecture, 3);
    if !weights.names().any(|name| name == "bn1.mean") {
        let channels = weights.get("conv1.bias").unwrap().shape().extent(0);
        for number in 1..=5 {
            weights.insert(format!("bn{number}.mean"), HostTensor::from_fn([channels], |i| 0.1 * i as f32));
            weights
                .insert(format!("bn{number}.variance"), HostTensor::from_fn([channels], |i| 1.0 + i as f32));
        }
    }
    weights
}

fn file_of(architecture: &dyn Architecture, metadata: Metadata) -> Vec<u8> {
    let weights = weights_of(architecture);
    let tensors: Vec<_> = weights.iter().map(|(name, tensor)| (name.to_string(), tensor.clone())).collect();
    file(&tensors, metadata)
}

fn cpu() -> TaggerBuilder {
    Tagger::builder().device(Device::Cpu).cpu_threads(1)
}

fn labels() -> Vocabulary {
    Vocabulary::parse("birdsong\nrain\nspeech").unwrap()
}

const LABELS: &str = r#"["birdsong", "rain", "speech"]"#;

#[test]
fn sizes_are_read_from_the_arrays() {
    let (channels, count) = (vec![6, 9, 4, 8], 3);
    let architectures: [(&str, Box<dyn Architecture>, Model); 3] = {
        let crnn =
            crnn::Config { out_channels: channels.clone(), units: 7, labels: count, ..Default::default() };
        let cnn =
            cnn::Config { out_channels: [channels, vec![5]].concat(), labels: count, ..Default::default() };
        let compact = compact::Config { out_channels: 6, labels: count, ..Default::default() };
        [
            ("crnn", Box::new(crnn.clone()), Model::new("mine", crnn, labels())),
            ("cnn", Box::new(cnn.clone()), Model::new("mine", cnn, labels())),
            ("compact", Box::new(compact.clone()), Model::new("mine", compact, labels())),
        ]
    };
    let clip = synthetic_clip(12_000 * 31);
    for (name, architecture, model) in architectures {
        let weights = weights_of(&*architecture);
        let expected = cpu().build_from(model, &weights).unwrap().tag_samples(&clip, 12_000).unwrap();
        let bytes = file_of(&*architecture, metadata(&[("labels", LABELS), ("model", "field recordings")]));
        let tagger = cpu().model_bytes(bytes.clone()).build().unwrap();
        let found = tagger.tag_samples(&clip, 12_000).unwrap();
        assert_eq!(found.scores, expected.scores, "{name}");
        assert_eq!((tagger.labels(), tagger.model().name()), (labels().labels(), "field recordings"));
        // From a path, with labels of the caller.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own.safetensors");
        std::fs::write(&path, file_of(&*architecture, metadata(&[]))).unwrap();
        let tagger = cpu().model_file(&path).labels(labels()).build().unwrap();
        assert_eq!(tagger.tag_samples(&clip, 12_000).unwrap().scores, expected.scores);
        assert_eq!(tagger.model().name(), "own");
        let error = cpu().model_file(&path).build().unwrap_err();
        assert!(error.to_string().contains("the file has 3 scores and no labels"), "{error}");
    }
}

/// A head is a dense layer with a sigmoid on the embedding.
#[test]
fn heads_score_the_embedding() {
    let clip = synthetic_clip(12_000 * 31);
    let base = cpu().build().unwrap();
    let embedding = base.tag_samples(&clip, 12_000).unwrap().embedding;
    let weight = HostTensor::from_fn([64, 3], |i| ((i * 37 % 101) as f32 - 50.0) / 80.0);
    let bias = HostTensor::from_fn([3], |i| i as f32 - 1.0);
    let tensors = [("head.weight".to_string(), weight.clone()), ("head.bias".to_string(), bias.clone())];
    let digest = base.weights_digest().unwrap();
    let bytes = file(&tensors, metadata(&[("labels", LABELS), ("base", "small"), ("base_sha256", digest)]));
    for device in [Device::Cpu, Device::Reference] {
        let tagger = cpu().device(device).model_bytes(bytes.clone()).build().unwrap();
        let track = tagger.tag_samples(&clip, 12_000).unwrap();
        for label in 0..3 {
            let sum: f64 =
                (0..64).map(|i| f64::from(embedding[i]) * f64::from(weight.data()[i * 3 + label])).sum();
            let expected = 1.0 / (1.0 + (-sum - f64::from(bias.data()[label])).exp());
            assert!((f64::from(track.scores[label]) - expected).abs() < 2e-5);
        }
        assert_eq!(tagger.embedding_len(), 64);
        assert_eq!(tagger.tags(&track, TagSelection::Top(9)).len(), 3);
    }
    // Weights of another base, an unknown base, another number of features.
    let refused = |entries: &[(&str, &str)], tensors: &[(String, HostTensor)]| {
        let labels = [("labels", LABELS)];
        cpu()
            .model_bytes(file(tensors, metadata(&[&labels, entries].concat())))
            .build()
            .unwrap_err()
            .to_string()
    };
    let error = refused(&[("base_sha256", "00")], &tensors);
    assert!(error.contains("expected weights of small with the SHA-256 00"), "{error}");
    let error = refused(&[("base", "large")], &tensors);
    assert!(error.contains("unknown model \"large\""), "{error}");
    let extra = [&tensors[..], &[("head.gamma".to_string(), HostTensor::zeros([3]))]].concat();
    let error = refused(&[], &extra);
    assert!(error.contains("expected those of a head only, found head.gamma"), "{error}");
    let transposed = [("head.weight".to_string(), HostTensor::zeros([3, 64])), tensors[1].clone()];
    let error = refused(&[], &transposed);
    assert!(error.contains("expected [64, 3], found [3, 64]"), "{error}");
    let short = [("head.weight".to_string(), HostTensor::zeros([32, 3])), tensors[1].clone()];
    let error = refused(&[], &short);
    assert!(error.contains("expected [64, 3], found [32, 3]"), "{error}");
}

#[test]
fn invalid_files_say_what_was_expected() {
    let config = crnn::Config { out_channels: vec![4; 4], units: 4, labels: 3, ..Default::default() };
    let read =
        |bytes: Vec<u8>| models::read(bytes, None, &Locator::default()).map(|_| "no error").unwrap_err();
    let broken = |entries: &[(&str, &str)], change: fn(&mut Vec<(String, HostTensor)>)| {
        let weights = synthetic_weights(&config, 3);
        let mut tensors = weights.iter().map(|(name, tensor)| (name.to_string(), tensor.clone())).collect();
        change(&mut tensors);
        read(file(&tensors, metadata(entries)))
    };
    let labels = [("labels", LABELS)];
    let none: fn(&mut Vec<(String, HostTensor)>) = |_| {};
    for (error, message) in [
        (
            broken(&[("labels", "[\"a\"]")], none),
            "metadata \"labels\": expected a JSON list of 3 names, found a list of 1",
        ),
        (broken(&[("labels", "a, b, c")], none), "expected a JSON list of 3 names, found expected value"),
        (
            broken(&[("labels", r#"["a", "a", "b"]"#)], none),
            "expected a unique, non-empty label, found \"a\"",
        ),
        (broken(&labels, |t| t.retain(|(name, _)| name != "conv2.bias")), "missing weights: \"conv2.bias\""),
        (broken(&labels, |t| t.retain(|(name, _)| !name.starts_with("output"))), "unknown architecture"),
        (
            broken(&labels, |t| t.retain(|(name, _)| !name.ends_with("4.bias"))),
            "missing weights: \"conv4.bias\"",
        ),
        (broken(&labels, |t| t.retain(|(name, _)| !name.starts_with("conv4"))), "bn4"),
        (
            broken(&labels, |t| t.push(("conv5.kernel".into(), HostTensor::zeros([4, 4, 3, 3])))),
            "unknown arrays: expected those of crnn only, found conv5.kernel",
        ),
        (
            broken(&labels, |t| {
                let bias = t.iter_mut().find(|(name, _)| name == "conv2.bias").unwrap();
                bias.1 = HostTensor::zeros([5]);
            }),
            "expected [4], found [5]",
        ),
        (broken(&labels, |t| t[0].1.data_mut()[0] = f32::NAN), "NaN"),
    ] {
        assert!(error.to_string().contains(message), "{error}");
        assert!(matches!(error.kind(), ErrorKind::Input | ErrorKind::Unsupported), "{error}");
    }
    let empty = crnn::Config { out_channels: vec![4; 4], units: 4, labels: 0, ..Default::default() };
    let error = read(file_of(&empty, metadata(&[("labels", "[]")])));
    assert!(error.to_string().contains("array \"output.bias\" is empty"), "{error}");
    let empty = crnn::Config { units: 0, ..config.clone() };
    let error = read(file_of(&empty, metadata(&labels)));
    assert!(error.to_string().contains("is empty, expected one value or more"), "{error}");
    assert!(read(b"no weights at all".to_vec()).to_string().contains("expected Keras 1 HDF5 or safetensors"));
    assert_eq!(read(Vec::new()).kind(), ErrorKind::Unsupported);
}

/// The published weights as files of no name, where they are at hand.
#[test]
fn published_files_are_model_files() {
    let Some(weights) = common::fixture("weights") else { return };
    let clip = synthetic_clip(12_000 * 31);
    let mut checked = 0;
    for entry in std::fs::read_dir(&weights).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Some(model) = ["crnn", "cnn"].into_iter().find(|model| name.contains(&format!("tagger_{model}")))
        else {
            continue;
        };
        if !name.ends_with(".h5") {
            continue;
        }
        let named = cpu().model(model).weights(&path).compat(Compat::Corrected).build().unwrap();
        let file = cpu().model_file(&path).labels(Vocabulary::lastfm50().unwrap()).build().unwrap();
        let [named, file] = [named, file].map(|tagger| tagger.tag_samples(&clip, 12_000).unwrap().scores);
        assert_eq!(named, file, "{name}");
        checked += 1;
    }
    assert!(checked >= 2, "{checked} files of crnn and cnn under {}", weights.display());
}
