//! Settings of a tagger, and making it from them.

use std::path::Path;

use super::device::Engine;
use super::{CancelToken, Device, Grouping, Outputs, Tagger};
use crate::audio::{ClipRequest, DecoderMode, Padding, Placement, Resamplers};
use crate::error::Error;
use crate::gpu::Gpu;
use crate::models::{self, EMBEDDING, Model, Reading, SCORES, STATS, Starts};
use crate::plan::Plan;
use crate::tags::Aggregation;
use crate::tensor::DType;
use crate::weights::{self, DigestCheck, Locator, Weights};

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

impl Default for TaggerBuilder {
    /// `crnn`, restored, the clip in the middle of a track, the best device.
    fn default() -> TaggerBuilder {
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

    /// Hands out what the step called `name` of the model's plan makes, as [`super::ClipResult::tap`]: the features
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
            return Err(engine.too_many(max_batch));
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
