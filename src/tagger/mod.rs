//! Joins audio, a model and an executor: from files or samples to tags and features.
//!
//! Decoding runs on a few threads, the model on the thread that called; clips of many files share a batch.
//! A file that fails is an error for that file alone. Not here: output formats and the command line.

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
mod runner;
mod stats;
mod verdicts;

pub use builder::TaggerBuilder;
pub use calibrate::measure_statistics;
pub use device::{Device, ParseDeviceError};
pub use stats::StageTimes;

use decode::Decoding;
use device::{Engine, Notes};

/// Name of the threads that decode: a program can keep quiet about their panics, which become errors of files.
pub const DECODER_THREAD: &str = "tagwave decoder";

/// Stops whatever a [`Tagger`] is doing; clones share the state.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A token that nobody has cancelled.
    pub fn new() -> CancelToken {
        CancelToken::default()
    }

    /// Asks for a stop: clips on the device are finished, nothing new is begun.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether a stop was asked for.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Which of its results a [`Tagger`] computes, beside a tap. Layers that nothing needs are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outputs {
    /// Scores and embedding.
    #[default]
    All,
    /// The embedding: the layers after it, and their weights, are not needed.
    Embedding,
    /// Nothing but the tap.
    Tap,
}

/// Which clips may share a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grouping {
    /// Any: they do not depend on each other.
    Free,
    /// This many neighbours, no more and no fewer as long as there are more.
    Clips(usize),
    /// All of one call.
    Call,
}

/// Tags audio with one model on one device. `Send` and `Sync`: threads may share it.
///
/// ```no_run
/// use tagwave::tagger::Tagger;
/// use tagwave::tags::Selection;
///
/// # fn main() -> Result<(), tagwave::Error> {
/// let tagger = Tagger::builder().model("crnn").weights("weights-of-the-original").build()?;
/// let track = tagger.tag_file("song.mp3")?;
/// for tag in tagger.tags(&track, Selection::Top(5)) {
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
    notes: Arc<Notes>,
}

/// What a model found in one clip.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipResult {
    /// Where the clip begins, in seconds from the track's start.
    pub start_s: f64,
    /// A score in 0..1 for each label.
    pub scores: Vec<f32>,
    /// The features before the last dense layer.
    pub embedding: Vec<f32>,
    /// The output of the step asked for with [`TaggerBuilder::tap`], `[C, F, T]` and the like flattened in C
    /// order; else empty.
    pub tap: Vec<f32>,
    /// Name of the device that it ran on.
    pub device: Arc<str>,
}

/// What a model found in one track.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// The clips it was heard in.
    pub clips: Vec<ClipResult>,
    /// A score in 0..1 for each label, over all clips.
    pub scores: Vec<f32>,
    /// The features before the last dense layer, over all clips.
    pub embedding: Vec<f32>,
    /// The output of the tapped step over all clips; empty without a tap.
    pub tap: Vec<f32>,
    /// Length of the track in seconds, where the container or the decoder says it.
    pub track_s: Option<f64>,
    /// What decoded the file: `symphonia`, `nanomp3`, `ffmpeg`, or `none` for samples from memory.
    pub decoder: &'static str,
    /// What was odd about the file, in words.
    pub warnings: Vec<String>,
}

impl Tagger {
    /// Settings to start from: [`models::DEFAULT`](crate::models::DEFAULT), restored, the best device.
    pub fn builder() -> TaggerBuilder {
        TaggerBuilder::default()
    }

    /// The tags of a file.
    ///
    /// # Errors
    /// [`Error::Audio`] for the file, [`Error::Gpu`] for the device, [`Error::Cancelled`].
    pub fn tag_file(&self, path: impl AsRef<Path>) -> Result<Track, Error> {
        self.tag(Source::path(path.as_ref()))
    }

    /// The tags of mono samples, nominally in -1..1, at `rate_hz`.
    ///
    /// # Errors
    /// As [`Tagger::tag_file`].
    pub fn tag_samples(&self, samples: &[f32], rate_hz: u32) -> Result<Track, Error> {
        self.tag(Source::samples(samples, rate_hz))
    }

    /// The tags of one source.
    ///
    /// # Errors
    /// As [`Tagger::tag_file`].
    pub fn tag(&self, source: Source) -> Result<Track, Error> {
        self.tag_batch([source]).pop().unwrap_or(Err(Error::Cancelled))
    }

    /// The tags of many sources, in their order; one that fails leaves the others alone. After a cancellation
    /// what was not finished is [`Error::Cancelled`].
    pub fn tag_batch(&self, sources: impl IntoIterator<Item = Source>) -> Vec<Result<Track, Error>> {
        let sources: Vec<Source> = sources.into_iter().collect();
        let mut results: Vec<_> = sources.iter().map(|_| Err(Error::Cancelled)).collect();
        self.tag_each(sources, |index, result| results[index] = result);
        results
    }

    /// As [`Tagger::tag_batch`], each result given away as soon as it is its turn. Memory does not grow with
    /// the number of sources. After a cancellation what is finished is still given away, also behind a source that is
    /// not; the remaining sources are not called back.
    pub fn tag_each(
        &self,
        sources: impl IntoIterator<Item = Source, IntoIter: Send>,
        each: impl FnMut(usize, Result<Track, Error>),
    ) {
        batch::run(self, sources.into_iter(), each);
    }

    /// The embedding of a file: the features before the last dense layer.
    ///
    /// # Errors
    /// As [`Tagger::tag_file`].
    pub fn embed_file(&self, path: impl AsRef<Path>) -> Result<Vec<f32>, Error> {
        Ok(self.tag_file(path)?.embedding)
    }

    /// The embedding of mono samples at `rate_hz`.
    ///
    /// # Errors
    /// As [`Tagger::tag_file`].
    pub fn embed_samples(&self, samples: &[f32], rate_hz: u32) -> Result<Vec<f32>, Error> {
        Ok(self.tag_samples(samples, rate_hz)?.embedding)
    }

    /// The embeddings of many sources, in their order.
    pub fn embed_batch(&self, sources: impl IntoIterator<Item = Source>) -> Vec<Result<Vec<f32>, Error>> {
        self.tag_batch(sources).into_iter().map(|result| result.map(|track| track.embedding)).collect()
    }

    /// A track's tags, the highest first.
    pub fn tags(&self, track: &Track, selection: tags::Selection) -> Vec<Tag> {
        tags::select(&self.vocabulary, &track.scores, selection)
    }

    /// A clip's tags, the highest first.
    pub fn clip_tags(&self, clip: &ClipResult, selection: tags::Selection) -> Vec<Tag> {
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

    /// How its weights are understood.
    pub fn reading(&self) -> Reading {
        self.reading
    }

    /// Name of the device it runs on, or of all of them.
    pub fn device_name(&self) -> String {
        self.engines.iter().map(Engine::name).collect::<Vec<_>>().join(", ")
    }

    /// SHA-256 of the weight file, where the weights come from one.
    pub fn weights_digest(&self) -> Option<&str> {
        self.weights_digest.as_deref()
    }

    /// Most clips of one batch.
    pub fn max_batch(&self) -> usize {
        self.engines.iter().map(Engine::max_batch).min().unwrap_or(1)
    }

    /// What the caller should be told and was not yet: a fallback that was taken, weights that are not the
    /// published ones; while it runs, a device that was lost or is short of memory.
    pub fn take_notes(&self) -> Vec<String> {
        self.notes.take()
    }

    /// Where the time went since the tagger was made.
    pub fn stage_times(&self) -> StageTimes {
        let mut times = self.decoding.stats.times();
        self.engines.iter().for_each(|engine| engine.add_times(&mut times));
        times
    }
}

/// Fails when something is not a number: nothing plausible may hide an overflow or a broken device. A maximum
/// may swallow what is not a number, so the clip's statistics are looked at first.
fn check(result: &ClipResult, stats: &[f32]) -> Result<(), Error> {
    if stats.iter().any(|v| !v.is_finite()) {
        return Err(Error::TooLoud);
    }
    match result.scores.iter().chain(&result.embedding).position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(index) => Err(Error::NotFinite { index }),
    }
}
