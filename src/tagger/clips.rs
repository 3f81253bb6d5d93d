//! Clips and their results, without audio files, devices or threads: batches in, rows of outputs out, tracks together.

use std::sync::Arc;

use super::results::{ClipResult, Track};
use crate::audio::{Clip, Warning};
use crate::error::{Cause, Error};
use crate::executor::Inputs;
use crate::models::{EMBEDDING, SCORES, STATS};
use crate::plan::Plan;
use crate::tags::Aggregation;
use crate::tensor::HostTensor;

/// Largest magnitude of a sample. A single larger one overflows every spectrogram: its power is `0.25e40` in each bin
/// of a frame, and f32 ends at 3.4e38. The Fourier transform of much larger samples is NaN, which some drivers hide.
pub(super) const MAX_SAMPLE: f32 = 1e20;
/// Standard deviation of a spectrogram, in dB, below which a clip is silent.
const SILENCE_DB: f32 = 1e-5;

/// Clips of one batch, each with the index of its source.
pub(super) type ClipBatch = Vec<(usize, Clip)>;

/// Properties of a track, known after its clips are read.
#[derive(Clone, Debug)]
pub(super) struct TrackInfo {
    pub(super) track_s: Option<f64>,
    pub(super) decoder: &'static str,
    pub(super) warnings: Vec<Warning>,
}

/// Clip of a submitted batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct SubmittedClip {
    /// Index of its source.
    pub(super) index: usize,
    /// Start in the source, in seconds.
    start_s: f64,
    /// True if a sample exceeds [`MAX_SAMPLE`].
    is_too_large: bool,
}

impl SubmittedClip {
    /// The only clip of a batch, whose samples were checked.
    pub(super) fn single(start_s: f64) -> SubmittedClip {
        SubmittedClip { index: 0, start_s, is_too_large: false }
    }
}

/// Result of one clip of a batch.
#[derive(Clone, Debug)]
pub(super) struct ClipOutput {
    pub(super) index: usize,
    pub(super) result: ClipResult,
    /// Statistics of its spectrogram.
    pub(super) stats: Vec<f32>,
}

impl ClipOutput {
    /// True for a constant spectrogram.
    pub(super) fn is_silent(&self) -> bool {
        self.stats.get(2).is_some_and(|&deviation| deviation < SILENCE_DB)
    }
}

/// Makes the input `[N, S]` of a batch.
pub(super) fn stack(
    batch: ClipBatch,
    rate_hz: u32,
    length_samples: usize,
) -> Result<(Vec<SubmittedClip>, Inputs), (Vec<SubmittedClip>, Error)> {
    let submitted = |(index, clip): &(usize, Clip)| SubmittedClip {
        index: *index,
        start_s: clip.start_samples as f64 / f64::from(rate_hz),
        is_too_large: is_too_large(&clip.samples),
    };
    let clips: Vec<SubmittedClip> = batch.iter().map(submitted).collect();
    let mut samples = Vec::with_capacity(batch.len() * length_samples);
    // Each clip is freed after it is copied, so that the batch is in memory once.
    batch.into_iter().for_each(|(_, clip)| samples.extend_from_slice(&clip.samples));
    match HostTensor::new([clips.len(), length_samples], samples) {
        Ok(input) => Ok((clips, input.into())),
        Err(error) => Err((clips, error.into())),
    }
}

/// True if a sample is NaN or exceeds [`MAX_SAMPLE`].
pub(super) fn is_too_large(samples: &[f32]) -> bool {
    samples.iter().any(|v| v.is_nan() || v.abs() > MAX_SAMPLE)
}

/// Splits the outputs of a batch by clip.
pub(super) fn split(
    plan: &Plan,
    tap: Option<&str>,
    clips: &[SubmittedClip],
    outputs: &[HostTensor],
    device: &Arc<str>,
) -> Vec<ClipOutput> {
    let find = |name: &str| plan.output_index(name).and_then(|index| outputs.get(index));
    let row = |name: &str, clip: usize| find(name).map_or(Vec::new(), |tensor| tensor.row(clip).to_vec());
    let ran = clips.iter().enumerate().map(|(place, clip)| {
        let result = ClipResult {
            start_s: clip.start_s,
            scores: row(SCORES, place),
            embedding: row(EMBEDDING, place),
            tap: tap.map_or(Vec::new(), |name| row(name, place)),
            device: device.clone(),
        };
        let stats = if clip.is_too_large { vec![f32::INFINITY; 3] } else { row(STATS, place) };
        ClipOutput { index: clip.index, result, stats }
    });
    ran.collect()
}

/// Fails for results that are not finite, so that an overflow or a broken device is not hidden. The statistics of the
/// spectrogram are checked first, because max pooling may drop a NaN.
pub(super) fn check_finite(clip: &ClipOutput) -> Result<(), Error> {
    if clip.stats.iter().any(|v| !v.is_finite()) {
        return Err(Cause::TooLoud.into());
    }
    match clip.result.scores.iter().chain(&clip.result.embedding).position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(index) => Err(Cause::NotFinite { index }.into()),
    }
}

/// Assembles the result of a track from its clips, in any order; `silent` of them are silent.
pub(super) fn assemble(
    info: TrackInfo,
    mut clips: Vec<ClipResult>,
    silent: usize,
    aggregation: Aggregation,
) -> Track {
    let mut warnings = info.warnings;
    // The decoder may have warned already.
    if silent > 0 && !warnings.contains(&Warning::Silent) {
        warnings.push(match clips.len() {
            1 => Warning::Silent,
            clips => Warning::SilentClips { silent, clips },
        });
    }
    clips.sort_by(|a, b| a.start_s.total_cmp(&b.start_s));
    let rows =
        |row: fn(&ClipResult) -> &Vec<f32>| clips.iter().map(|clip| row(clip).clone()).collect::<Vec<_>>();
    Track {
        scores: aggregation.apply(&rows(|clip| &clip.scores)),
        embedding: aggregation.apply(&rows(|clip| &clip.embedding)),
        tap: aggregation.apply(&rows(|clip| &clip.tap)),
        track_s: info.track_s,
        decoder: info.decoder,
        warnings,
        clips,
    }
}
