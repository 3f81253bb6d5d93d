//! A track that is tagged clip by clip, so that its caller can show progress and stop.

use js_sys::{Array, Float32Array};
use tagwave::Error;
use tagwave::audio::{ClipReader, ClipRequest, ExternalDecoder, Placement, Resamplers, Source};
use tagwave::models::ClipSpec;
use tagwave::tagger::ClipResult;
use tagwave::tags::Aggregation;
use wasm_bindgen::prelude::*;

use crate::WebTagger;
use crate::error::js_error;

/// A track whose clips are being tagged.
#[wasm_bindgen]
pub struct WebTrack {
    reader: ClipReader,
    clip: ClipSpec,
    starts_s: Vec<f64>,
    scores: Vec<Vec<f32>>,
    embeddings: Vec<Vec<f32>>,
    /// Spectrograms `[M, T]` in dB.
    spectrograms: Vec<Vec<f32>>,
}

impl WebTrack {
    pub(crate) fn open(clip: ClipSpec, source: Source, all: bool) -> Result<WebTrack, Error> {
        let stride_samples = clip.samples;
        let placement = if all { Placement::All { stride_samples } } else { Placement::Centre };
        let request = ClipRequest {
            placement,
            external_decoder: ExternalDecoder::Disabled,
            ..ClipRequest::new(clip.sample_rate, clip.samples)
        };
        let reader = ClipReader::open(source, &request, &Resamplers::default())?;
        Ok(WebTrack {
            reader,
            clip,
            starts_s: Vec::new(),
            scores: Vec::new(),
            embeddings: Vec::new(),
            spectrograms: Vec::new(),
        })
    }

    fn seconds_of(&self, samples: u64) -> f64 {
        samples as f64 / f64::from(self.clip.sample_rate)
    }

    fn add(&mut self, start_samples: u64, found: ClipResult) {
        self.starts_s.push(self.seconds_of(start_samples));
        self.scores.push(found.scores);
        self.embeddings.push(found.embedding);
        self.spectrograms.push(found.tap);
    }
}

#[wasm_bindgen]
impl WebTrack {
    /// Reads and tags the next clip; false after the last one.
    pub async fn next(&mut self, tagger: &mut WebTagger) -> Result<bool, JsValue> {
        let Some(clip) = self.reader.next() else { return Ok(false) };
        let clip = clip.map_err(|error| js_error(&error.into()))?;
        let found = tagger.device.engine.tag(&clip.samples, self.clip.sample_rate).await?;
        self.add(clip.start_samples, found);
        Ok(true)
    }

    /// Number of clips, as far as it is known.
    pub fn total(&self) -> usize {
        let clips = self
            .reader
            .track_seconds()
            .map_or(1.0, |track_s| (track_s / self.seconds_of(self.clip.samples as u64)).ceil());
        (clips as usize).max(self.starts_s.len()).max(1)
    }

    /// Number of clips that are tagged.
    pub fn done(&self) -> usize {
        self.starts_s.len()
    }

    /// Length of the track in seconds, if known.
    pub fn seconds(&self) -> Option<f64> {
        self.reader.track_seconds()
    }

    /// Name of the decoder.
    pub fn decoder(&self) -> String {
        self.reader.decoder_name().into()
    }

    /// Warnings about the track.
    pub fn warnings(&self) -> Vec<String> {
        self.reader.warnings().iter().map(ToString::to_string).collect()
    }

    /// Start of each clip in seconds.
    pub fn starts(&self) -> Vec<f64> {
        self.starts_s.clone()
    }

    /// Scores of each clip, a `Float32Array` each.
    #[wasm_bindgen(js_name = clipScores)]
    pub fn clip_scores(&self) -> Array {
        self.scores.iter().map(|scores| Float32Array::from(&scores[..])).collect()
    }

    /// Spectrogram of each clip in dB, `[bands, frames]`, a `Float32Array` each.
    pub fn spectrograms(&self) -> Array {
        self.spectrograms.iter().map(|values| Float32Array::from(&values[..])).collect()
    }

    /// Mean scores over the clips.
    pub fn scores(&self) -> Vec<f32> {
        Aggregation::Mean.apply(&self.scores)
    }

    /// Mean embedding over the clips.
    pub fn embedding(&self) -> Vec<f32> {
        Aggregation::Mean.apply(&self.embeddings)
    }
}
