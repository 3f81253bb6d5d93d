//! Results of a track and of its clips.

use std::sync::Arc;

use crate::audio::Warning;

/// Result of one clip.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ClipResult {
    /// Start of the clip in the track, in seconds.
    pub start_s: f64,
    /// A score in 0..1 for each label.
    pub scores: Vec<f32>,
    /// The features before the last dense layer.
    pub embedding: Vec<f32>,
    /// Output of the step selected with [`TaggerBuilder::tap`](super::TaggerBuilder::tap), flattened in C order; empty without a tap.
    pub tap: Vec<f32>,
    /// Name of the device that the clip ran on.
    pub device: Arc<str>,
}

/// Result of one track.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Track {
    /// Results of the clips.
    pub clips: Vec<ClipResult>,
    /// A score in 0..1 for each label, aggregated over clips.
    pub scores: Vec<f32>,
    /// The features before the last dense layer, aggregated over clips.
    pub embedding: Vec<f32>,
    /// The output of the tapped step, aggregated over clips; empty without a tap.
    pub tap: Vec<f32>,
    /// Length of the track in seconds, if known.
    pub track_s: Option<f64>,
    /// Name of the decoder: `tagwave`, `tagwave-full`, `symphonia`, `ffmpeg`, or `none` for samples from memory.
    pub decoder: &'static str,
    /// Warnings about the file.
    pub warnings: Vec<Warning>,
}
