//! Settings of a tagger, and making it from them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::decode::{self, Decoding};
use super::device::{Engine, KernelsOf, Notes, Opener};
use super::stats::Stats;
use super::{CancelToken, Device, Grouping, Outputs, Tagger};
use crate::audio::{Access, ClipRequest, DecoderMode, Foreign, Padding, Placement, Resamplers};
use crate::error::Error;
use crate::gpu::Gpu;
use crate::kernels::Kernels;
use crate::models::{self, EMBEDDING, Model, Reading, SCORES, STATS, Starts};
use crate::plan::Plan;
use crate::tags::{Aggregation, Vocabulary};
use crate::tensor::DType;
use crate::weights::{DigestCheck, Locator, Weights};

/// How long a decoder may be silent by default: longer than a disk takes to spin up, or a server to come back.
const PATIENCE: Duration = Duration::from_secs(60);

/// Settings of a [`Tagger`].
#[derive(Clone, Debug)]
pub struct TaggerBuilder {
    model: String,
    reading: Reading,
    weights: Locator,
    labels: Option<Vocabulary>,
    devices: Vec<Device>,
    gpu: Option<Gpu>,
    pipeline_cache: Option<PathBuf>,
    device_verdicts: Option<PathBuf>,
    device_timeout: Option<Duration>,
    kernels: Option<KernelsOf>,
    kernel_times: bool,
    max_batch: Option<usize>,
    placement: Placement,
    padding: Padding,
    decoder: DecoderMode,
    access: Access,
    foreign: Foreign,
    decode_threads: Option<usize>,
    patience: Duration,
    aggregation: Aggregation,
    outputs: Outputs,
    tap: Option<String>,
    precision: DType,
    coupled_batch: Option<usize>,
    cancel: CancelToken,
}

impl Default for TaggerBuilder {
    /// [`models::DEFAULT`], restored, the clip in the middle of a track, the best device.
    fn default() -> TaggerBuilder {
        TaggerBuilder {
            model: models::DEFAULT.into(),
            reading: Reading::default(),
            weights: Locator::default(),
            labels: None,
            devices: vec![Device::Auto],
            gpu: None,
            max_batch: None,
            placement: Placement::default(),
            padding: Padding::default(),
            decoder: DecoderMode::default(),
            access: Access::default(),
            foreign: Foreign::default(),
            decode_threads: None,
            patience: PATIENCE,
            aggregation: Aggregation::default(),
            outputs: Outputs::default(),
            tap: None,
            pipeline_cache: None,
            device_verdicts: None,
            device_timeout: None,
            kernels: None,
            kernel_times: false,
            precision: DType::F32,
            coupled_batch: None,
            cancel: CancelToken::new(),
        }
    }
}

impl TaggerBuilder {
    /// Name of the model; [`models::DEFAULT`] by default.
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

    /// Labels of the scores, in their order, for weights that were trained on others than the model's own.
    pub fn labels(mut self, labels: Vocabulary) -> Self {
        self.labels = Some(labels);
        self
    }

    /// Where the model runs; [`Device::Auto`] by default.
    pub fn device(self, device: Device) -> Self {
        self.devices([device])
    }

    /// Devices that share the work; [`Device::Auto`] if there is none among them.
    pub fn devices(mut self, devices: impl IntoIterator<Item = Device>) -> Self {
        self.devices = devices.into_iter().collect();
        self
    }

    /// Keeps compiled pipelines in a folder, for devices that the tagger opens and whose backend hands them out
    /// (Vulkan); nothing is kept by default.
    pub fn pipeline_cache(mut self, folder: impl AsRef<Path>) -> Self {
        self.pipeline_cache = Some(folder.as_ref().to_path_buf());
        self
    }

    /// Remembers in a folder which devices [`Device::Auto`] found unable to run models (a kernel that their driver does
    /// not compile, wrong numbers, no answer), so that the next tagger does not try them again; a new driver or a new
    /// version of this library is tried. Nothing is remembered by default.
    pub fn device_verdicts(mut self, folder: impl AsRef<Path>) -> Self {
        self.device_verdicts = Some(folder.as_ref().to_path_buf());
        self
    }

    /// Time limit of a wait for a device, after which it counts as lost. By default two minutes on hardware; on a
    /// software driver a minute for each clip of a batch, and at least ten minutes.
    pub fn device_timeout(mut self, limit: Duration) -> Self {
        self.device_timeout = Some(limit);
        self
    }

    /// Which kernels run on the devices that the tagger opens: asked for each of them, and again for one that was
    /// lost. By default the built-in choice.
    pub fn kernels(mut self, kernels: impl Fn(&Gpu) -> Kernels + Send + Sync + 'static) -> Self {
        self.kernels = Some(KernelsOf(Arc::new(kernels)));
        self
    }

    /// Has GPUs time each kernel ([`StageTimes::kernels`](super::StageTimes::kernels)), which costs a little.
    pub fn kernel_times(mut self, timed: bool) -> Self {
        self.kernel_times = timed;
        self
    }

    /// Runs on a device that the caller owns, instead of one of its own.
    pub fn gpu(mut self, gpu: Gpu) -> Self {
        self.gpu = Some(gpu);
        self
    }

    /// Most clips of one batch; by default what suits the device, 8 on a processor and up to 64 on a GPU. Fewer where
    /// the device cannot bind as many.
    pub fn max_batch(mut self, clips: usize) -> Self {
        self.max_batch = Some(clips.max(1));
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

    /// Whether what comes before a clip is passed over or decoded; passed over by default.
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// What becomes of formats that are not read here; given to `ffmpeg` where there is one by default.
    pub fn foreign(mut self, foreign: Foreign) -> Self {
        self.foreign = foreign;
        self
    }

    /// Threads that decode; one per core by default.
    pub fn decode_threads(mut self, threads: usize) -> Self {
        self.decode_threads = Some(threads.max(1));
        self
    }

    /// How long a decoder may work without a sign of life before its file is given up; a minute by default.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
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
    /// [`Error::NoScores`] for scores of weights that have features only, [`Error::Labels`] for another number of
    /// labels than of scores,
    /// [`Error::Gpu`] when the device asked for cannot be had.
    pub fn build(self) -> Result<Tagger, Error> {
        let model = models::find(&self.model)?;
        let weights = model.weights(&self.weights)?;
        self.build_from(model, &weights)
    }

    /// As [`TaggerBuilder::build`], with a model and weights that the caller has.
    ///
    /// # Errors
    /// As [`TaggerBuilder::build`].
    pub fn build_from(self, model: Model, weights: &Weights) -> Result<Tagger, Error> {
        if self.precision == DType::F16 && !self.reading.fits_f16() {
            return Err(Error::Precision);
        }
        model.check_reading(self.reading)?;
        let plan = model.architecture.build(weights, self.reading, Starts::Samples)?;
        if self.outputs == Outputs::All && plan.output_index(SCORES).is_none() {
            return Err(Error::NoScores { model: model.name });
        }
        let vocabulary = self.vocabulary(&model, &plan)?;
        let plan = self.cut(&plan)?;
        let notes = Arc::new(Notes::default());
        if let DigestCheck::Mismatch { file, expected, found } = &weights.info().digest {
            notes
                .add(format!("{file} is not the published file: expected SHA-256 {expected}, found {found}"));
        }
        let coupled = plan.depends_on_batch();
        let plan = plan.fused().with_precision(self.precision);
        let max_batch = self.coupled_batch.filter(|_| coupled).or(self.max_batch);
        // A device of the caller's stands for all others.
        let devices =
            if self.gpu.is_some() || self.devices.is_empty() { &[Device::Auto] } else { &*self.devices };
        let engine = |device: &Device| {
            let opener = Opener {
                device: device.clone(),
                pipeline_cache: self.pipeline_cache.clone(),
                kernels: self.kernels.clone(),
                kernel_times: self.kernel_times,
                timeout: self.device_timeout,
                verdicts: self.device_verdicts.clone(),
                picked: None,
            };
            Engine::new(opener, self.gpu.as_ref(), plan.clone(), max_batch, notes.clone())
        };
        let engines = devices.iter().map(engine).collect::<Result<Vec<_>, _>>()?;
        if let Some(engine) =
            engines.iter().find(|engine| coupled && self.coupled_batch > Some(engine.max_batch()))
        {
            return Err(engine.too_many(self.coupled_batch.unwrap_or_default()));
        }
        let clip = model.architecture.clip();
        let request = ClipRequest {
            placement: self.placement,
            padding: self.padding,
            decoder: self.decoder,
            access: self.access,
            foreign: self.foreign,
            ..ClipRequest::new(clip.sample_rate, clip.samples)
        };
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Tagger {
            vocabulary,
            model,
            reading: self.reading,
            engines,
            weights_digest: weights.info().sha256.clone().or(weights.info().source_sha256.clone()),
            decoding: Arc::new(Decoding {
                request,
                resamplers: Resamplers::new(),
                cancel: self.cancel,
                stats: Stats::default(),
                patience: self.patience,
                spawn: decode::spawn,
            }),
            decode_threads: self.decode_threads.unwrap_or_else(cores),
            aggregation: self.aggregation,
            tap: self.tap,
            grouping: match self.coupled_batch {
                _ if !coupled => Grouping::Free,
                Some(clips) => Grouping::Clips(clips),
                None => Grouping::Call,
            },
            notes,
        })
    }

    /// The labels, one for each score of `plan`.
    fn vocabulary(&self, model: &Model, plan: &Plan) -> Result<Vocabulary, Error> {
        let vocabulary = match &self.labels {
            Some(labels) => labels.clone(),
            None => model.vocabulary()?,
        };
        // Without scores the model's own list is nothing that could be wrong.
        let is_used = self.labels.is_some() || self.outputs == Outputs::All;
        let scores = plan.outputs().iter().find(|(name, _)| name == SCORES).filter(|_| is_used);
        let scores = scores.map(|(_, id)| plan.tensors()[*id].shape.channels());
        match scores {
            Some(scores) if scores != vocabulary.labels().len() => {
                Err(Error::Labels { model: model.name, scores, labels: vocabulary.labels().len() })
            }
            _ => Ok(vocabulary),
        }
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
