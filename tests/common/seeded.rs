//! Synthetic weights and audio files for tests without fixtures.

use std::path::{Path, PathBuf};

use super::audio::wav_i16;
use tagwave::lab;
use tagwave::models::{self, Architecture};
use tagwave::tags::Vocabulary;
use tagwave::tensor::DType;
use tagwave::weights::{self, Weights};

/// Synthetic weights.
pub fn weights_of(architecture: &dyn Architecture) -> Weights {
    lab::synthetic_weights(architecture, 0)
}

/// Writes synthetic weights of the full-size model `name` to `folder`.
pub fn export(name: &str, folder: &Path) {
    let model = models::find(name).unwrap();
    std::fs::create_dir_all(folder).unwrap();
    let path = folder.join(weights::own_file_name(name));
    weights::export(&weights_of(model.architecture()), &path, DType::F32).unwrap();
}

/// Writes a 16-bit mono WAV file of `seconds` at 12 kHz: a chirp that depends on `seed`, louder towards its end.
pub fn wav(path: &Path, seconds: f64, seed: u32) -> PathBuf {
    let rate = 12_000u32;
    let count = (seconds * f64::from(rate)) as u32;
    let sample = |i: u32| {
        let t = f64::from(i) / f64::from(rate);
        let tone = (6.0 * t * (150.0 + 90.0 * f64::from(seed) + 15.0 * t)).sin();
        let value = 30_000.0 * tone * (0.1 + 0.9 * t / seconds);
        value as i16
    };
    let samples: Vec<i16> = (0..count).map(sample).collect();
    std::fs::write(path, wav_i16(1, rate, &samples)).unwrap();
    path.to_path_buf()
}

/// A small network with `count` scores, and synthetic weights.
pub fn tiny(count: usize) -> (models::Model, Weights) {
    let config = models::crnn::Config { labels: count, ..models::crnn::Config::tiny() };
    let model = models::Model::new("tiny", config, Vocabulary::lastfm50().unwrap());
    let weights = weights_of(model.architecture());
    (model, weights)
}

/// `count` labels: `label 0` and so on.
pub fn labels(count: usize) -> Vocabulary {
    let lines: Vec<String> = (0..count).map(|index| format!("label {index}")).collect();
    Vocabulary::parse(&lines.join("\n")).unwrap()
}
