//! Learning of tags: the scores of scikit-learn (tests/golden/learning/make.py), cross-validation, and errors.
#![cfg(feature = "learning")]

use std::path::Path;

use serde::Deserialize;
use tagwave::evaluation::Folds;
use tagwave::learning::{LabelledFeatures, LearnOptions, LearningError, LinearHead, cross_validate, fit};

/// Largest difference of a score. The golden scores are rounded to 1e-7, and the solvers stop near the minimum.
const TOLERANCE: f64 = 1e-6;

#[derive(Deserialize)]
struct GoldenCase {
    tracks: usize,
    dimensions: usize,
    tags: usize,
    seed: u64,
    truth: Vec<u8>,
    fits: Vec<GoldenFit>,
}

#[derive(Deserialize)]
struct GoldenFit {
    penalty: f64,
    balanced: bool,
    scores: Vec<f64>,
}

/// SplitMix64, as numbers in -1 to 1.
fn numbers(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as f64 / 2f64.powi(63) - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Features of different scales and means.
fn features(tracks: usize, dimensions: usize, seed: u64) -> Vec<f64> {
    let scaled = |(place, value): (usize, f64)| {
        let feature = (place % dimensions) as f64;
        value * (1.0 + feature) + 0.5 * feature
    };
    numbers(tracks * dimensions, seed).into_iter().enumerate().map(scaled).collect()
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|tag| format!("tag {tag}")).collect()
}

fn scores(head: &LinearHead, features: &[f64], dimensions: usize) -> Vec<f64> {
    features.chunks_exact(dimensions).flat_map(|row| head.scores(row)).collect()
}

#[test]
fn scores_are_those_of_scikit_learn() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/learning/learning.json");
    let cases: Vec<GoldenCase> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let features = features(case.tracks, case.dimensions, case.seed);
        let truth = case.truth.iter().map(|&label| label == 1).collect();
        let data = LabelledFeatures::new(names(case.tags), case.dimensions, features.clone(), truth).unwrap();
        for GoldenFit { penalty, balanced, scores: expected } in case.fits {
            let head = fit(&data, &LearnOptions { penalty, balanced }).unwrap();
            let found = scores(&head, &features, case.dimensions);
            assert_eq!(found.len(), expected.len());
            let largest = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            println!("{} tracks, penalty {penalty}: largest difference {largest:.1e}", case.tracks);
            assert!(largest < TOLERANCE, "{largest}");
        }
    }
}

#[test]
fn scores_of_cross_validation_are_of_tracks_left_out() {
    // One informative feature of two, and a tag that only one track has.
    let features = features(90, 2, 3);
    let truth: Vec<bool> =
        features.chunks_exact(2).enumerate().flat_map(|(track, row)| [row[0] > 0.0, track == 8]).collect();
    let data = LabelledFeatures::new(names(2), 2, features.clone(), truth.clone()).unwrap();
    let groups: Vec<usize> = (0..90).map(|track| track / 2).collect();
    let folds = Folds::new(&groups, 5, 1).unwrap();
    let options = LearnOptions::default();
    let found = cross_validate(&data, &folds, &options).unwrap();
    let right = (0..90).filter(|track| (found[2 * track] > 0.5) == truth[2 * track]).count();
    assert!(right > 80, "{right} of 90");
    // The folds without that track have no track with its tag: scores of 0.
    let fold = folds.of(8);
    assert!((0..90).filter(|&track| folds.of(track) == fold).all(|track| found[2 * track + 1] == 0.0));
    assert!((0..90).filter(|&track| folds.of(track) != fold).all(|track| found[2 * track + 1] > 0.0));
    // Labels without relation to the features are not learned.
    let random: Vec<bool> = numbers(90, 77).iter().map(|value| *value > 0.0).collect();
    let data = LabelledFeatures::new(names(1), 2, features, random.clone()).unwrap();
    let found = cross_validate(&data, &folds, &options).unwrap();
    let right = found.iter().zip(random).filter(|(score, is_true)| (**score > 0.5) == *is_true).count();
    assert!((25..65).contains(&right), "{right} of 90");
}

#[test]
fn heads_are_joined() {
    let mut own = LinearHead { tags: names(2), weight: vec![1.0, 2.0, 3.0, 4.0], bias: vec![5.0, 6.0] };
    let mut other = own.clone();
    other.tags = vec!["tag 1".into(), "jazz".into()];
    own.extend(&other).unwrap();
    assert_eq!(own.tags, ["tag 0", "tag 1", "jazz"]);
    assert_eq!((own.weight, own.bias), (vec![1.0, 2.0, 2.0, 3.0, 4.0, 4.0], vec![5.0, 6.0, 6.0]));
    other.weight.pop();
    other.weight.pop();
    let mut head = LinearHead { tags: names(2), weight: vec![1.0; 4], bias: vec![0.0; 2] };
    assert!(matches!(head.extend(&other), Err(LearningError::Length { expected: 2, found: 1, .. })));
}

#[test]
fn impossible_data_are_refused() {
    let new = |features: Vec<f64>, truth: Vec<bool>| LabelledFeatures::new(names(1), 2, features, truth);
    assert!(matches!(new(vec![0.0; 3], vec![true]), Err(LearningError::Length { .. })));
    assert!(matches!(new(vec![0.0; 4], vec![true]), Err(LearningError::Length { .. })));
    let nan = new(vec![0.0, 1.0, 2.0, f64::NAN], vec![true, false]);
    assert_eq!(nan, Err(LearningError::NotFinite { track: 1, feature: 1 }));
    let same = new(vec![0.0, 1.0, 2.0, 3.0], vec![true, true]).unwrap();
    let options = LearnOptions::default();
    assert!(matches!(fit(&same, &options), Err(LearningError::OneClass { positives: 2, tracks: 2, .. })));
    let data = new(vec![0.0, 7.0, 2.0, 7.0], vec![true, false]).unwrap();
    for penalty in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let found = fit(&data, &LearnOptions { penalty, ..options });
        assert!(matches!(found, Err(LearningError::Penalty { .. })), "{penalty}");
    }
    // A constant feature has no weight.
    let head = fit(&data, &options).unwrap();
    assert!(head.weight[0] < 0.0 && head.weight[1] == 0.0, "{head:?}");
    // Separable tracks with hardly any penalty.
    let head = fit(&data, &LearnOptions { penalty: 1e-9, ..options }).unwrap();
    assert!(head.weight.iter().chain(&head.bias).all(|value| value.is_finite()), "{head:?}");
}
