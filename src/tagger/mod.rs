//! Joins audio, a model and an executor: from files or samples to tags and features.
//!
//! Decoding runs on a few threads, the model on the thread that called; clips of many files share a batch.
//! A file that fails is an error for that file alone. Not here: output formats and the command line.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::audio::{ClipRequest, DecoderMode, Padding, Placement, Resamplers, Source};
use crate::error::Error;
use crate::gpu::{Gpu, GpuError};
use crate::models::{self, EMBEDDING, Model, Reading, SCORES, STATS, Starts};
use crate::plan::Plan;
use crate::tags::{self, Aggregation, Tag, Vocabulary};
use crate::tensor::DType;
use crate::weights::{self, DigestCheck, Locator, Weights};

mod batch;
mod calibrate;
mod device;

pub use calibrate::measure_statistics;
pub use device::{Device, ParseDeviceError};

use device::Engine;

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

/// Settings of a [`Tagger`].
#[derive(Clone, Debug)]
pub struct TaggerBuilder {
    model: String,
    reading: Reading,
    weights: Locator,
    device: Device,
    gpu: Option<Gpu>,
    max_batch: usize,
    placement: Placement,
    padding: Padding,
    decoder: DecoderMode,
    aggregation: Aggregation,
    outputs: Outputs,
    tap: Option<String>,
    precision: DType,
    coupled_batch: Option<usize>,
    cancel: CancelToken,
}

impl TaggerBuilder {
    /// Name of the model; `crnn` by default.
    pub fn model(mut self, name: impl Into<String>) -> Self {
        self.model = name.into();
        self
    }

    /// How the weights are understood; [`Reading::Restored`] by default.
    pub fn reading(mut self, reading: Reading) -> Self {
        self.reading = reading;
        self
    }

    /// Weight file, or the folder that has it.
    pub fn weights(mut self, path: impl AsRef<Path>) -> Self {
        self.weights.explicit = Some(path.as_ref().to_path_buf());
        self
    }

    /// Where to look for weights, in full.
    pub fn locator(mut self, locator: Locator) -> Self {
        self.weights = locator;
        self
    }

    /// Where the model runs; [`Device::Auto`] by default.
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Runs on a device that the caller owns, instead of one of its own.
    pub fn gpu(mut self, gpu: Gpu) -> Self {
        self.gpu = Some(gpu);
        self
    }

    /// Most clips of one batch, 8 by default; fewer where the device cannot bind as many.
    pub fn max_batch(mut self, clips: usize) -> Self {
        self.max_batch = clips.max(1);
        self
    }

    /// Which part of a track is heard; the clip in its middle by default.
    pub fn placement(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }

    /// What becomes of tracks shorter than a clip.
    pub fn padding(mut self, padding: Padding) -> Self {
        self.padding = padding;
        self
    }

    /// How files are decoded.
    pub fn decoder(mut self, decoder: DecoderMode) -> Self {
        self.decoder = decoder;
        self
    }

    /// How the scores and features of several clips become a track's.
    pub fn aggregation(mut self, aggregation: Aggregation) -> Self {
        self.aggregation = aggregation;
        self
    }

    /// What is computed; scores and embedding by default.
    pub fn outputs(mut self, outputs: Outputs) -> Self {
        self.outputs = outputs;
        self
    }

    /// Hands out what the step called `name` of the model's plan makes, as [`ClipResult::tap`]: the features
    /// of any layer, up to the spectrogram itself.
    pub fn tap(mut self, name: impl Into<String>) -> Self {
        self.tap = Some(name.into());
        self
    }

    /// How activations and weights are stored on the device; f32 by default, sums are f32 always.
    pub fn precision(mut self, precision: DType) -> Self {
        self.precision = precision;
        self
    }

    /// Clips of a batch where they depend on each other (compact_cnn, [`Reading::Upstream`]), in the order of
    /// the sources. By default all clips of one call are one batch, at most [`TaggerBuilder::max_batch`] of them.
    pub fn coupled_batch(mut self, clips: usize) -> Self {
        self.coupled_batch = Some(clips.max(1));
        self
    }

    /// A token that stops the tagger from elsewhere.
    pub fn cancel_token(mut self, token: CancelToken) -> Self {
        self.cancel = token;
        self
    }

    /// Loads the weights, opens the device and compiles the kernels.
    ///
    /// # Errors
    /// [`Error::Model`] for an unknown model, [`Error::Weights`] for weights that are missing or wrong,
    /// [`Error::Plan`] for a tap that the model does not have, with the names there are,
    /// [`Error::NoScores`] for scores of weights that have features only,
    /// [`Error::Gpu`] when the device asked for cannot be had.
    pub fn build(self) -> Result<Tagger, Error> {
        let model = models::find(&self.model)?;
        let manifest = model.manifest()?;
        let path = self.weights.locate(&manifest)?;
        let weights = weights::load(&path, &model.architecture.tensors(), &manifest)?;
        self.build_from(model, &weights)
    }

    /// As [`TaggerBuilder::build`], with a model and weights that the caller has.
    ///
    /// # Errors
    /// As [`TaggerBuilder::build`].
    pub fn build_from(self, model: Model, weights: &Weights) -> Result<Tagger, Error> {
        if self.precision == DType::F16 && self.reading == Reading::Upstream {
            return Err(Error::Precision);
        }
        let plan = model.architecture.build(weights, self.reading, Starts::Samples)?;
        if self.outputs == Outputs::All && plan.output_index(SCORES).is_none() {
            return Err(Error::NoScores { model: model.name });
        }
        let plan = self.cut(&plan)?;
        let mut notes = Vec::new();
        if let DigestCheck::Mismatch { file, expected, found } = &weights.info().digest {
            notes.push(format!(
                "{file} is not the published file: expected SHA-256 {expected}, found {found}"
            ));
        }
        let coupled = plan.couples_clips();
        let max_batch = match self.coupled_batch {
            Some(clips) if coupled => clips,
            _ => self.max_batch,
        };
        let plan = plan.fused().with_precision(self.precision);
        let (engine, fallback) = Engine::new(&self.device, self.gpu.as_ref(), plan, max_batch)?;
        if coupled && self.coupled_batch.is_some_and(|batch| batch > engine.max_batch()) {
            return Err(GpuError::CoupledBatch { batch: max_batch, most: engine.max_batch() }.into());
        }
        notes.extend(fallback);
        let clip = model.architecture.clip();
        Ok(Tagger {
            vocabulary: model.vocabulary()?,
            request: ClipRequest {
                placement: self.placement,
                padding: self.padding,
                decoder: self.decoder,
                ..ClipRequest::new(clip.sample_rate, clip.samples)
            },
            model,
            reading: self.reading,
            engine,
            aggregation: self.aggregation,
            tap: self.tap,
            grouping: match self.coupled_batch {
                _ if !coupled => Grouping::Free,
                Some(clips) => Grouping::Clips(clips),
                None => Grouping::Call,
            },
            resamplers: Resamplers::new(),
            cancel: self.cancel,
            notes,
        })
    }

    /// The plan with the outputs that were asked for, and no step that none of them needs.
    fn cut(&self, plan: &Plan) -> Result<Plan, Error> {
        let mut names = match self.outputs {
            Outputs::All => vec![STATS, SCORES, EMBEDDING],
            Outputs::Embedding => vec![STATS, EMBEDDING],
            Outputs::Tap => vec![STATS],
        };
        names.extend(self.tap.as_deref());
        Ok(plan.tapped(self.tap.as_slice())?.only_outputs(&names))
    }
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
    engine: Engine,
    vocabulary: Vocabulary,
    request: ClipRequest,
    aggregation: Aggregation,
    tap: Option<String>,
    grouping: Grouping,
    resamplers: Resamplers,
    cancel: CancelToken,
    notes: Vec<String>,
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
    /// What was odd about the file, in words.
    pub warnings: Vec<String>,
}

impl Tagger {
    /// Settings to start from: `crnn`, restored, best device.
    pub fn builder() -> TaggerBuilder {
        TaggerBuilder {
            model: "crnn".into(),
            reading: Reading::default(),
            weights: Locator::default(),
            device: Device::Auto,
            gpu: None,
            max_batch: 8,
            placement: Placement::default(),
            padding: Padding::default(),
            decoder: DecoderMode::default(),
            aggregation: Aggregation::default(),
            outputs: Outputs::default(),
            tap: None,
            precision: DType::F32,
            coupled_batch: None,
            cancel: CancelToken::new(),
        }
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

    /// The tags of many sources, in their order; one that fails leaves the others alone.
    pub fn tag_batch(
        &self,
        sources: impl IntoIterator<Item = Source, IntoIter: Send>,
    ) -> Vec<Result<Track, Error>> {
        let mut results = Vec::new();
        self.tag_each(sources, |_, result| results.push(result));
        results
    }

    /// As [`Tagger::tag_batch`], each result given away as soon as it is its turn. Memory does not grow with
    /// the number of sources. After a cancellation the remaining sources are not called back.
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
    pub fn embed_batch(
        &self,
        sources: impl IntoIterator<Item = Source, IntoIter: Send>,
    ) -> Vec<Result<Vec<f32>, Error>> {
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

    /// Name of the device it runs on.
    pub fn device_name(&self) -> &str {
        self.engine.name()
    }

    /// Most clips of one batch.
    pub fn max_batch(&self) -> usize {
        self.engine.max_batch()
    }

    /// What the caller should be told once: a fallback that was taken, weights that are not the published ones.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// Fails when the scores are not numbers: nothing plausible may hide a broken device.
fn check_scores(result: &ClipResult) -> Result<(), Error> {
    let numbers = result.scores.iter().chain(&result.embedding).chain(&result.tap);
    match numbers.into_iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(index) => Err(Error::NotFinite { index }),
    }
}
