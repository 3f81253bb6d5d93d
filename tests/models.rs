//! Whole models against results made outside this project, on every executor.
//!
//! Goldens of the published weights are fixtures; the tiny models need none.
#![cfg(all(feature = "cpu", feature = "gpu", feature = "keras"))]

mod common;

use std::collections::BTreeMap;

use common::executors::makers;
use common::npz;
use tagwave::cpu;
use tagwave::executor::blocking::Run;
use tagwave::models::{self, Compat, Starts};
use tagwave::plan::Plan;
use tagwave::tensor::{DType, HostTensor};
use tagwave::test_cases::{Tolerance, compare};
use tagwave::weights::{self, Weights};

/// A golden file with its model, compatibility and weight file.
struct Golden {
    model: &'static str,
    compat: Compat,
    file: &'static str,
    weights: &'static str,
}

const GOLDENS: &[Golden] = &[
    Golden {
        model: "crnn",
        compat: Compat::Corrected,
        file: "golden/crnn_trained.npz",
        weights: "weights/music_tagger_crnn_weights_theano.h5",
    },
    Golden {
        model: "crnn",
        compat: Compat::Original,
        file: "golden/crnn_published.npz",
        weights: "weights/music_tagger_crnn_weights_tensorflow.h5",
    },
    Golden {
        model: "cnn",
        compat: Compat::Corrected,
        file: "golden/cnn_trained.npz",
        weights: "weights/music_tagger_cnn_weights_theano.h5",
    },
    Golden {
        model: "cnn",
        compat: Compat::Original,
        file: "golden/cnn_raw106.npz",
        weights: "weights/music_tagger_cnn_weights_tensorflow.h5",
    },
];

/// Clips of the golden files, in the order of their rows.
const CLIPS: [&str; 5] =
    ["mel_npy_cute", "mel_npy_actionable", "mel_npy_dubstep", "mel_npy_thejazzpiano", "mel_synth"];

/// Tolerance of scores.
const SCORES: Tolerance = Tolerance { absolute: 1e-4, relative: 0.0 };

fn plan(golden: &Golden) -> Option<Plan> {
    let model = models::find(golden.model).unwrap();
    let path = common::fixture(golden.weights)?;
    let weights = weights::load(&path, &model.architecture().tensors(), &model.manifest().unwrap()).unwrap();
    Some(model.architecture().build(&weights, golden.compat, Starts::Mel).unwrap())
}

/// The golden clips' spectrograms, `[1, 1, 96, 1366]` each.
fn mels() -> Option<Vec<HostTensor>> {
    let file = common::fixture("golden/mel_inputs.npz")?;
    let mel = |name: &&str| npz::array(&file, name).reshaped([1, 1, 96, 1366]).unwrap();
    Some(CLIPS.iter().map(mel).collect())
}

#[test]
fn golden_scores_and_features() {
    let Some(mels) = mels() else { return };
    for maker in makers(common::gpu()) {
        for golden in GOLDENS {
            let (Some(plan), Some(file)) = (plan(golden), common::fixture(golden.file)) else { return };
            let what = format!("{} {} ({})", golden.model, golden.compat.as_str(), maker.name);
            let outputs = maker.make(&plan.fused(), 5).run(&[npz::stack(&mels)]).unwrap();
            let scores = compare(&outputs[0], &npz::array(&file, "probs"), SCORES);
            println!("{what}: scores: {scores}");
            assert!(scores.within, "{what}: {scores}");
            let tolerance = Tolerance { absolute: 5e-4, relative: 1e-4 };
            let features = compare(&outputs[1], &npz::array(&file, "features"), tolerance);
            println!("{what}: features: {features}");
            assert!(features.within, "{what}: {features}");
        }
    }
}

/// f16 storage with f32 sums, `corrected`: within 5e-3 of the golden scores.
#[test]
fn golden_scores_with_f16_storage() {
    let (Some(gpu), Some(mels)) = (common::gpu(), mels()) else { return };
    if !gpu.summary().limits.f16 {
        return println!("f16: not run on this adapter");
    }
    for golden in GOLDENS.iter().filter(|golden| golden.compat == Compat::Corrected) {
        let (Some(plan), Some(file)) = (plan(golden), common::fixture(golden.file)) else { return };
        let plan = plan.fused().with_precision(DType::F16);
        for checked in [true, false] {
            let options = tagwave::gpu::Options { max_batch: 5, checked, ..Default::default() };
            let executor = tagwave::gpu::Executor::new(&gpu, &plan, &options).unwrap();
            let outputs = executor.run(&[npz::stack(&mels)]).unwrap();
            let tolerance = Tolerance { absolute: 5e-3, relative: 0.0 };
            let scores = compare(&outputs[0], &npz::array(&file, "probs"), tolerance);
            println!("{} f16, checked {checked}: scores: {scores}", golden.model);
            assert!(scores.within, "{} f16, checked {checked}: {scores}", golden.model);
        }
    }
}

/// Layers of the first golden clip, as far as the file stores them: whole, or sampled over their C order.
fn golden_layers(file: &std::path::Path) -> BTreeMap<String, HostTensor> {
    npz::names(file)
        .into_iter()
        .filter_map(|name| Some((name.strip_prefix("layer_")?.to_string(), npz::array(file, &name))))
        .collect()
}

/// Compares every stored layer with a plan's taps; the tolerance is relative to the layer's largest value.
fn compare_layers(what: &str, layers: &BTreeMap<String, HostTensor>, taps: &BTreeMap<String, HostTensor>) {
    for (name, golden) in layers {
        let tap = &taps[name];
        let count = golden.data().len();
        let size = tap.data().len();
        let sampled: Vec<f32> = (0..count).map(|k| tap.data()[k * size / count]).collect();
        let sampled = HostTensor::new(golden.shape(), sampled).unwrap();
        let largest = golden.data().iter().fold(0f32, |m, v| m.max(v.abs()));
        // f32 sums of up to 1,152 products: errors grow with the sums, not with the single value.
        let tolerance = Tolerance { absolute: 1e-5 * largest.max(1.0), relative: 1e-4 };
        let difference = compare(&sampled, golden, tolerance);
        println!("{what} {name}: {difference}");
        assert!(difference.within, "{what} {name}: {difference}");
    }
}

fn taps(plan: &Plan, outputs: Vec<HostTensor>) -> BTreeMap<String, HostTensor> {
    plan.outputs().iter().map(|(name, _)| name.clone()).zip(outputs).collect()
}

#[test]
fn golden_layers_on_every_executor() {
    let Some(mels) = mels() else { return };
    for maker in makers(common::gpu()) {
        for golden in GOLDENS {
            let (Some(plan), Some(file)) = (plan(golden), common::fixture(golden.file)) else { return };
            let what = format!("{} {} ({})", golden.model, golden.compat.as_str(), maker.name);
            let layers = golden_layers(&file);
            let plan = plan.tapped(&layers.keys().collect::<Vec<_>>()).unwrap().fused();
            let outputs = maker.make(&plan, 1).run(mels[0].clone()).unwrap();
            compare_layers(&what, &layers, &taps(&plan, outputs));
        }
    }
}

#[test]
fn golden_layers_on_the_reference_executor() {
    let Some(mels) = mels() else { return };
    for golden in GOLDENS {
        let (Some(plan), Some(file)) = (plan(golden), common::fixture(golden.file)) else { return };
        let layers = golden_layers(&file);
        let plan = plan.tapped(&layers.keys().collect::<Vec<_>>()).unwrap();
        let outputs = tagwave::reference::run(&plan, &mels[..1]).unwrap();
        compare_layers(
            &format!("{} {}", golden.model, golden.compat.as_str()),
            &layers,
            &taps(&plan, outputs),
        );
    }
}

/// Small models of each architecture with seeded weights.
fn tiny() -> Vec<(&'static str, Box<dyn models::Architecture>)> {
    vec![
        ("crnn", Box::new(models::crnn::Config::tiny())),
        ("cnn", Box::new(models::cnn::Config::tiny())),
        ("compact", Box::new(models::compact::Config::tiny())),
    ]
}

/// Synthetic weights, as in tests/golden/models/make.py.
fn seeded(architecture: &dyn models::Architecture) -> Weights {
    let specs = architecture.tensors();
    let mut weights = common::seeded::weights_of(architecture);
    // Only compact_cnn looks for these: its table has no statistics, they are frozen apart.
    for number in 1..=5 {
        for (part, seed) in [("mean", 100), ("variance", 200)] {
            let name = format!("bn{number}.{part}");
            if specs.iter().all(|spec| spec.name != name) {
                // A mean is not scaled: its fan-in is one.
                weights.insert(name.clone(), tagwave::test_cases::fill_weight(&name, [5], seed + number));
            }
        }
    }
    weights
}

/// Clips of the tiny models: chirps that differ from clip to clip, one of them silent.
fn clips(count: usize, samples: usize) -> HostTensor {
    HostTensor::from_fn([count, samples], |i| {
        let (clip, t) = (i / samples, (i % samples) as f32 / 12_000.0);
        if clip == 2 { 0.0 } else { 0.5 * (6.0 * t * (200.0 + 150.0 * clip as f32 + 900.0 * t)).sin() }
    })
}

/// The tiny models against an implementation in NumPy: tests/golden/models/make.py.
#[test]
fn tiny_models_give_the_golden_layers() {
    let makers = makers(common::gpu());
    for (name, architecture) in tiny() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("tests/golden/models/{name}_tiny.npz"));
        let mel = npz::array(&file, "mel");
        let weights = seeded(&*architecture);
        for compat in [Compat::Corrected, Compat::Original] {
            let prefix = format!("{}.", compat.as_str());
            let layers: BTreeMap<String, HostTensor> = npz::names(&file)
                .into_iter()
                .filter_map(|array| {
                    Some((array.strip_prefix(&prefix)?.to_string(), npz::array(&file, &array)))
                })
                .collect();
            let plan = architecture.build(&weights, compat, Starts::Mel).unwrap().with_batch(2);
            let plan = plan.tapped(&layers.keys().collect::<Vec<_>>()).unwrap();
            let what = format!("tiny {name} {}", compat.as_str());
            let outputs = tagwave::reference::run(&plan, std::slice::from_ref(&mel)).unwrap();
            compare_layers(&format!("{what}, reference,"), &layers, &taps(&plan, outputs));
            // The processor takes clips that depend on each other one at a time.
            for maker in
                makers.iter().filter(|maker| maker.name.starts_with("gpu") || !plan.depends_on_batch())
            {
                let outputs = maker.make(&plan.fused(), 2).run(mel.clone()).unwrap();
                compare_layers(&format!("{what}, {},", maker.name), &layers, &taps(&plan, outputs));
            }
        }
    }
}

#[test]
fn tiny_models_agree_with_the_reference_fused_and_unfused() {
    let makers = makers(common::gpu());
    for (name, architecture) in tiny() {
        let weights = seeded(&*architecture);
        for compat in [Compat::Corrected, Compat::Original] {
            let plan = architecture.build(&weights, compat, Starts::Samples).unwrap().with_batch(3);
            let inputs = [clips(3, architecture.clip().samples)];
            let expected = tagwave::reference::run(&plan, &inputs).unwrap();
            let fused = tagwave::reference::run(&plan.fused(), &inputs).unwrap();
            let fewer = plan.depends_on_batch() || plan.fused().steps().len() < plan.steps().len() / 2 + 4;
            assert!(fewer, "{name}: little was fused");
            let mut found = vec![("reference, fused".to_string(), fused)];
            // The processor takes clips that depend on each other one at a time.
            for maker in
                makers.iter().filter(|maker| maker.name.starts_with("gpu") || !plan.depends_on_batch())
            {
                found.push((
                    format!("{}, fused", maker.name),
                    maker.make(&plan.fused(), 3).run(&inputs).unwrap(),
                ));
                found.push((format!("{}, unfused", maker.name), maker.make(&plan, 3).run(&inputs).unwrap()));
            }
            for (index, (output, _)) in plan.outputs().iter().enumerate() {
                // `original` multiplies decibels: its statistics keep fewer digits.
                let tolerance = Tolerance { absolute: 2e-4, relative: 1e-4 };
                for (how, found) in &found {
                    let difference = compare(&found[index], &expected[index], tolerance);
                    assert!(difference.within, "{name} {compat:?} {how}, {output}: {difference}");
                }
            }
        }
    }
}

#[test]
fn the_same_clip_gives_the_same_bits_in_any_batch() {
    for (maker, (name, architecture)) in
        makers(common::gpu()).iter().flat_map(|maker| tiny().into_iter().map(move |tiny| (maker, tiny)))
    {
        let name = format!("{name} ({})", maker.name);
        let weights = seeded(&*architecture);
        let plan = architecture.build(&weights, Compat::Corrected, Starts::Samples).unwrap().fused();
        assert!(!plan.depends_on_batch(), "{name}");
        let samples = architecture.clip().samples;
        let batch = clips(7, samples);
        let together = maker.make(&plan, 7).run(batch.clone()).unwrap();
        // Batches of three, three and one: `run` cuts what does not fit.
        let cut = maker.make(&plan, 3).run(batch.clone()).unwrap();
        let alone = maker.make(&plan, 1);
        for (index, (output, _)) in plan.outputs().iter().enumerate() {
            assert_eq!(together[index], cut[index], "{name}: {output} depends on the batch");
            for clip in 0..7 {
                let one = HostTensor::new([1, samples], batch.row(clip).to_vec()).unwrap();
                let found = alone.run(&[one]).unwrap();
                assert_eq!(found[index].row(0), together[index].row(clip), "{name}: {output} of clip {clip}");
            }
        }
    }
}

#[test]
fn the_cpu_executor_gives_the_same_bits_with_any_number_of_threads() {
    // Published sizes: layers that are cut into many tasks. Three clips on two threads are one each, then one shared.
    let architectures: [Box<dyn models::Architecture>; 2] =
        [Box::<models::crnn::Config>::default(), Box::<models::cnn::Config>::default()];
    for architecture in architectures {
        let plan = architecture.build(&seeded(&*architecture), Compat::Corrected, Starts::Samples).unwrap();
        let inputs = [clips(3, architecture.clip().samples)];
        let run = |threads: usize| {
            let options = cpu::Options { threads: Some(threads), ..Default::default() };
            cpu::Executor::new(&plan.fused(), &options).unwrap().run(&inputs).unwrap()
        };
        let alone = run(1);
        for threads in [2, 3, 5] {
            assert_eq!(run(threads), alone, "{threads} threads");
        }
    }
}

#[test]
fn parameter_counts_are_the_published_ones() {
    for (name, parameters, features) in
        [("cnn", 865_950, 256), ("crnn", 396_786, 32), ("compact", 39_282, 160)]
    {
        let model = models::find(name).unwrap();
        let specs = model.architecture().tensors();
        assert_eq!(weights::parameter_count(&specs, weights::TensorRole::Trainable), parameters, "{name}");
        assert_eq!(model.architecture().embedding_len(), features, "{name}");
    }
}
