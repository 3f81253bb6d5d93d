//! Tagging of files and samples: joins audio, a model and an executor.
//!
//! Files are decoded on several threads, each device has a thread, and clips of many files share a batch. A file that
//! fails does not affect others. Not here: output formats and the command line.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::audio::Source;
use crate::error::Error;
use crate::models::{Model, Reading};
use crate::tags::{self, Aggregation, Tag, Vocabulary};

mod auto;
mod batch;
mod builder;
mod calibrate;
mod decode;
mod device;
mod refused;
mod runner;
mod stats;

pub use builder::TaggerBuilder;
pub use calibrate::measure_statistics;
pub use device::{Device, ParseDeviceError};
pub use stats::StageTimes;

use decode::Decoding;
use device::{Engine, Warnings};

/// Name of decoder threads. A panic hook can use it to ignore their panics, which become errors of files.
pub const DECODER_THREAD: &str = "tagwave decoder";

/// Cancellation flag of a [`Tagger`]; clones share the state.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A token that is not cancelled.
    pub fn new() -> CancelToken {
        CancelToken::default()
    }

    /// Requests a stop: clips on the device are finished, nothing new is started.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// True once a stop was requested.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Results that a [`Tagger`] computes besides a tap. Layers that no result needs are removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outputs {
    /// Scores and embedding.
    #[default]
    All,
    /// The embedding only: later layers, and their weights, are not needed.
    Embedding,
    /// The tap only.
    Tap,
}

/// Grouping of clips into batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grouping {
    /// Any clips: they do not depend on each other.
    Free,
    /// Exactly this many neighbours; the last batch may have fewer.
    Clips(usize),
    /// All clips of one call.
    Call,
}

/// Tags audio with one model on one or more devices. `Send` and `Sync`: threads may share it.
///
/// ```no_run
/// use tagwave::tagger::Tagger;
/// use tagwave::tags::TagSelection;
///
/// # fn main() -> Result<(), tagwave::Error> {
/// let tagger = Tagger::builder().model("crnn").weights("weights-of-the-original").build()?;
/// let track = tagger.tag_file("song.mp3")?;
/// for tag in tagger.tags(&track, TagSelection::Top(5)) {
///     println!("{} {:.3}", tag.label, tag.score);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Tagger {
    model: Model,
    reading: Reading,
    /// At least one.
    engines: Vec<Engine>,
    vocabulary: Vocabulary,
    weights_digest: Option<String>,
    decoding: Arc<Decoding>,
    decode_threads: usize,
    aggregation: Aggregation,
    tap: Option<String>,
    grouping: Grouping,
    warnings: Arc<Warnings>,
}

/// Result of one clip.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipResult {
    /// Start of the clip in the track, in seconds.
    pub start_s: f64,
    /// A score in 0..1 for each label.
    pub scores: Vec<f32>,
    /// The features before the last dense layer.
    pub embedding: Vec<f32>,
    /// Output of the step selected with [`TaggerBuilder::tap`], flattened in C order; empty without a tap.
    pub tap: Vec<f32>,
    /// Name of the device that the clip ran on.
    pub device: Arc<str>,
}

/// Result of one track.
#[derive(Clone, Debug, PartialEq)]
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
    /// Name of the decoder: `symphonia`, `nanomp3`, `ffmpeg`, or `none` for samples from memory.
    pub decoder: &'static str,
    /// Warnings about the file.
    pub warnings: Vec<String>,
}

impl Tagger {
    /// Builder with default settings: [`models::DEFAULT`](crate::models::DEFAULT) on the best device.
    pub fn builder() -> TaggerBuilder {
        TaggerBuilder::default()
    }

    /// Tags a file.
    ///
    /// # Errors
    /// [`Error::Audio`] for the file, [`Error::Gpu`] for the device, [`Error::Cancelled`].
    pub fn tag_file(&self, path: impl AsRef<Path>) -> Result<Track, Error> {
        self.tag(Source::path(path.as_ref()))
    }

    /// Tags mono samples, nominally in -1..1, at `rate_hz`.
    ///
    /// # Errors
    /// As [`Tagger::tag_file`].
    pub fn tag_samples(&self, samples: &[f32], rate_hz: u32) -> Result<Track, Error> {
        self.tag(Source::samples(samples, rate_hz))
    }

    /// Tags one source.
    ///
    /// # Errors
    /// As [`Tagger::tag_file`].
    pub fn tag(&self, source: Source) -> Result<Track, Error> {
        self.tag_batch([source]).pop().unwrap_or(Err(Error::Cancelled))
    }

    /// Tags many sources and returns results in their order; a source that fails does not affect others. After a
    /// cancellation, unfinished sources are [`Error::Cancelled`].
    pub fn tag_batch(&self, sources: impl IntoIterator<Item = Source>) -> Vec<Result<Track, Error>> {
        let sources: Vec<Source> = sources.into_iter().collect();
        let mut results: Vec<_> = sources.iter().map(|_| Err(Error::Cancelled)).collect();
        self.tag_each(sources, |index, result| results[index] = result);
        results
    }

    /// Tags many sources and calls `each` with every result in order, as soon as it is available. Memory does not grow
    /// with the number of sources. After a cancellation `each` is still called for finished sources, and not for the
    /// others.
    pub fn tag_each(
        &self,
        sources: impl IntoIterator<Item = Source, IntoIter: Send>,
        each: impl FnMut(usize, Result<Track, Error>),
    ) {
        batch::run(self, sources.into_iter(), each);
    }

    /// Computes the embedding of a file: the features before the last dense layer.
    ///
    /// # Errors
    /// As [`Tagger::tag_file`].
    pub fn embed_file(&self, path: impl AsRef<Path>) -> Result<Vec<f32>, Error> {
        Ok(self.tag_file(path)?.embedding)
    }

    /// Computes the embedding of mono samples at `rate_hz`.
    ///
    /// # Errors
    /// As [`Tagger::tag_file`].
    pub fn embed_samples(&self, samples: &[f32], rate_hz: u32) -> Result<Vec<f32>, Error> {
        Ok(self.tag_samples(samples, rate_hz)?.embedding)
    }

    /// Computes the embeddings of many sources, in their order.
    pub fn embed_batch(&self, sources: impl IntoIterator<Item = Source>) -> Vec<Result<Vec<f32>, Error>> {
        self.tag_batch(sources).into_iter().map(|result| result.map(|track| track.embedding)).collect()
    }

    /// Selects tags of a track, highest score first.
    pub fn tags(&self, track: &Track, selection: tags::TagSelection) -> Vec<Tag> {
        tags::select(&self.vocabulary, &track.scores, selection)
    }

    /// Selects tags of a clip, highest score first.
    pub fn clip_tags(&self, clip: &ClipResult, selection: tags::TagSelection) -> Vec<Tag> {
        tags::select(&self.vocabulary, &clip.scores, selection)
    }

    /// The labels, in the order of the scores.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Compatibility with the original.
    pub fn reading(&self) -> Reading {
        self.reading
    }

    /// Name of the device, or names of all devices.
    pub fn device_name(&self) -> String {
        self.engines.iter().map(Engine::name).collect::<Vec<_>>().join(", ")
    }

    /// SHA-256 of the weight file, if the weights come from one.
    pub fn weights_digest(&self) -> Option<&str> {
        self.weights_digest.as_deref()
    }

    /// Maximum number of clips per batch.
    pub fn max_batch(&self) -> usize {
        self.engines.iter().map(Engine::max_batch).min().unwrap_or(1)
    }

    /// Takes the warnings since the last call: a fallback to another device, weights that are not the published ones, a
    /// device that was lost or ran out of memory.
    pub fn take_warnings(&self) -> Vec<String> {
        self.warnings.take()
    }

    /// Times of the pipeline stages since the tagger was made.
    pub fn stage_times(&self) -> StageTimes {
        let mut times = self.decoding.stats.times();
        self.engines.iter().for_each(|engine| engine.add_times(&mut times));
        times
    }
}

/// Fails for results that are not finite, so that an overflow or a broken device is not hidden. The statistics of the
/// spectrogram are checked first, because max pooling may drop a NaN.
fn check_finite(result: &ClipResult, stats: &[f32]) -> Result<(), Error> {
    if stats.iter().any(|v| !v.is_finite()) {
        return Err(Error::TooLoud);
    }
    match result.scores.iter().chain(&result.embedding).position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(index) => Err(Error::NotFinite { index }),
    }
}
