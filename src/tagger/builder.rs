//! Builder of a tagger.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::active::Context;
use super::engine::Engine;
use super::factory::{DeviceFactory, Fallback};
use super::gpus::GpuSettings;
#[cfg(feature = "wgpu")]
use super::gpus::KernelPolicy;
use super::pipeline::decoders::{self, Decoding};
#[cfg(feature = "wgpu")]
use super::recorder::Recorder;
use super::stats::Stats;
use super::warnings::{TaggerWarning, Warnings};
use super::{Device, Tagger};
use crate::audio::{ClipPadding, ClipRequest, DecoderMode, ExternalDecoder, Placement, Resamplers, SeekMode};
use crate::error::{Cause, Error};
#[cfg(feature = "wgpu")]
use crate::gpu;
#[cfg(feature = "wgpu")]
use crate::kernels::Kernels;
use crate::models::{self, Compat, EMBEDDING, Model, SCORES, STATS, Starts};
use crate::plan::Plan;
use crate::tags::{Aggregation, Vocabulary};
use crate::tensor::DType;
#[cfg(feature = "wgpu")]
use crate::tensor::HostTensor;
#[cfg(feature = "wgpu")]
use crate::weights::TensorSpec;
use crate::weights::{DigestCheck, Locator, Weights};

/// Default decoder timeout: longer than a disk takes to spin up, or a server to recover.
const DECODER_TIMEOUT: Duration = Duration::from_secs(60);

/// Results that a [`Tagger`] computes besides a tap. Layers that no result needs are removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outputs {
    /// Scores and embedding.
    #[default]
    All,
    /// The embedding only: later layers, and their weights, are not needed.
    Embedding,
    /// The tap only.
    Tap,
}

/// Source of a model.
#[derive(Clone, Debug)]
enum ModelSource {
    Name(String),
    File(PathBuf),
    Bytes(Arc<[u8]>),
}

/// Settings of a [`Tagger`].
#[derive(Clone, Debug)]
pub struct TaggerBuilder {
    model: ModelSource,
    compat: Compat,
    weights: Locator,
    labels: Option<Vocabulary>,
    devices: Vec<Device>,
    gpu: Option<Context>,
    gpus: GpuSettings,
    cpu_threads: Option<usize>,
    fallback: Option<Fallback>,
    max_batch: Option<usize>,
    placement: Placement,
    padding: ClipPadding,
    decoder: DecoderMode,
    seek_mode: SeekMode,
    external_decoder: ExternalDecoder,
    decode_threads: Option<usize>,
    decoder_timeout: Duration,
    aggregation: Aggregation,
    outputs: Outputs,
    tap: Option<String>,
    precision: DType,
}

impl Default for TaggerBuilder {
    /// [`models::DEFAULT`], the clip in the middle of a track, the best device.
    fn default() -> TaggerBuilder {
        TaggerBuilder {
            model: ModelSource::Name(models::DEFAULT.into()),
            compat: Compat::default(),
            weights: Locator::default(),
            labels: None,
            devices: vec![Device::Auto],
            gpu: None,
            gpus: GpuSettings::default(),
            cpu_threads: None,
            fallback: None,
            max_batch: None,
            placement: Placement::default(),
            padding: ClipPadding::default(),
            decoder: DecoderMode::default(),
            seek_mode: SeekMode::default(),
            external_decoder: ExternalDecoder::default(),
            decode_threads: None,
            decoder_timeout: DECODER_TIMEOUT,
            aggregation: Aggregation::default(),
            outputs: Outputs::default(),
            tap: None,
            precision: DType::F32,
        }
    }
}

/// Settings of GPUs.
#[cfg(feature = "wgpu")]
impl TaggerBuilder {
    /// Sets a folder for compiled pipelines, for devices that the tagger opens and whose backend supports it (Vulkan);
    /// none by default.
    pub fn pipeline_cache(mut self, folder: impl AsRef<Path>) -> Self {
        self.gpus.pipeline_cache = Some(folder.as_ref().to_path_buf());
        self
    }

    /// Sets a folder for what [`Device::Auto`] finds out about devices: that one cannot run models (a kernel does not
    /// compile, wrong results, no answer), or how fast a GPU without memory of its own is beside the CPU. The next tagger
    /// does not try again until the driver or the version of this library changes. None by default.
    pub fn known_devices(mut self, folder: impl AsRef<Path>) -> Self {
        self.gpus.known_devices = Some(folder.as_ref().to_path_buf());
        self
    }

    /// Sets the timeout of a wait for a device, after which it counts as lost. By default two minutes on hardware; on a
    /// software driver one minute per clip of a batch, at least ten minutes.
    pub fn device_timeout(mut self, limit: Duration) -> Self {
        self.gpus.timeout = Some(limit);
        self
    }

    /// Sets a function that selects the kernels of each device that the tagger opens or reopens. The built-in selection
    /// by default.
    #[cfg_attr(not(feature = "unstable"), doc(hidden))]
    pub fn kernels(mut self, kernels: impl Fn(&Context) -> Kernels + Send + Sync + 'static) -> Self {
        self.gpus.kernels = Some(KernelPolicy(Arc::new(kernels)));
        self
    }

    /// Enables timing of each kernel on GPUs ([`StageTimes::kernels`](super::StageTimes::kernels)), at a small cost.
    #[cfg_attr(not(feature = "unstable"), doc(hidden))]
    pub fn kernel_times(mut self, timed: bool) -> Self {
        self.gpus.kernel_times = timed;
        self
    }

    /// Sets a device of the caller to run on, by default one clip at a time.
    pub fn gpu(mut self, gpu: Context) -> Self {
        self.gpu = Some(gpu);
        self
    }

    /// Checks that a device can run the model, without compiling anything. Weights are read of a model file only.
    ///
    /// # Errors
    /// The missing limit or feature, and the kernel that needs it.
    pub fn check_gpu(&self, gpu: &Context) -> Result<(), Error> {
        let (model, weights) = match &self.model {
            // Only the shapes matter.
            ModelSource::Name(name) => {
                let model = models::find(name)?;
                let zeros = |spec: TensorSpec| (spec.name, HostTensor::zeros(spec.shape));
                let weights = Weights::from_tensors(model.architecture().tensors().into_iter().map(zeros));
                (model, weights)
            }
            _ => self.load()?,
        };
        let (plan, _) = self.plan(&model, &weights)?;
        Ok(gpu::check_plan(gpu, &plan)?)
    }

    /// Builds a recorder in place of a tagger: it records clips into command encoders of the caller, on the device given
    /// by [`TaggerBuilder::gpu`].
    ///
    /// # Errors
    /// As [`TaggerBuilder::build`]; [`ErrorKind::Input`](crate::ErrorKind::Input) without a device.
    pub fn build_recorder(self) -> Result<Recorder, Error> {
        let Some(gpu) = &self.gpu else { return Err(Cause::NoDevice.into()) };
        let (model, weights) = self.load()?;
        let (plan, vocabulary) = self.plan(&model, &weights)?;
        Recorder::new(gpu, &plan, model, vocabulary, self.tap)
    }
}

impl TaggerBuilder {
    /// Sets the model by name; [`models::DEFAULT`] by default.
    pub fn model(mut self, name: impl Into<String>) -> Self {
        self.model = ModelSource::Name(name.into());
        self
    }

    /// Sets a model file: safetensors or Keras weights with sizes and labels of their own, or a head on the embedding of
    /// another model (docs/models.md).
    pub fn model_file(mut self, path: impl AsRef<Path>) -> Self {
        self.model = ModelSource::File(path.as_ref().to_path_buf());
        self
    }

    /// Sets the bytes of a model file, as [`TaggerBuilder::model_file`].
    pub fn model_bytes(mut self, bytes: impl Into<Arc<[u8]>>) -> Self {
        self.model = ModelSource::Bytes(bytes.into());
        self
    }

    /// Sets the compatibility with the original; [`Compat::Corrected`] by default.
    pub fn compat(mut self, compat: Compat) -> Self {
        self.compat = compat;
        self
    }

    /// Sets the weight file, or a folder that contains it.
    pub fn weights(mut self, path: impl AsRef<Path>) -> Self {
        self.weights.explicit = Some(path.as_ref().to_path_buf());
        self
    }

    /// Sets all locations that are searched for weights.
    pub fn locator(mut self, locator: Locator) -> Self {
        self.weights = locator;
        self
    }

    /// Sets the labels of the scores, for weights trained with other labels than the model's own.
    pub fn labels(mut self, labels: Vocabulary) -> Self {
        self.labels = Some(labels);
        self
    }

    /// Sets the device; [`Device::Auto`] by default.
    pub fn device(self, device: Device) -> Self {
        self.devices([device])
    }

    /// Sets the devices that share the work; [`Device::Auto`] if empty.
    pub fn devices(mut self, devices: impl IntoIterator<Item = Device>) -> Self {
        self.devices = devices.into_iter().collect();
        self
    }

    /// Sets the number of threads of the CPU executor; one per core by default.
    pub fn cpu_threads(mut self, threads: usize) -> Self {
        self.cpu_threads = Some(threads.max(1));
        self
    }

    /// Sets what replaces a GPU that lacks something or fails. By default a device of the caller that cannot run the model
    /// is an error of [`TaggerBuilder::build`], and the CPU takes over from one that fails later.
    pub fn fallback(mut self, fallback: Fallback) -> Self {
        self.fallback = Some(fallback);
        self
    }

    /// Sets the maximum number of clips per batch. The default depends on the device: 8 on a CPU and up to 64 on a GPU;
    /// fewer if the device cannot bind as many.
    pub fn max_batch(mut self, clips: usize) -> Self {
        self.max_batch = Some(clips.max(1));
        self
    }

    /// Sets the position of clips in a track; one clip in the middle by default.
    pub fn placement(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }

    /// Sets the padding of tracks shorter than a clip.
    pub fn padding(mut self, padding: ClipPadding) -> Self {
        self.padding = padding;
        self
    }

    /// Sets the decoder mode.
    pub fn decoder(mut self, decoder: DecoderMode) -> Self {
        self.decoder = decoder;
        self
    }

    /// Sets the method of reaching a clip: seek (default) or decode everything before it.
    pub fn seek_mode(mut self, seek_mode: SeekMode) -> Self {
        self.seek_mode = seek_mode;
        self
    }

    /// Sets the decoder of formats without a built-in decoder; `ffmpeg`, if installed, by default.
    pub fn external_decoder(mut self, external_decoder: ExternalDecoder) -> Self {
        self.external_decoder = external_decoder;
        self
    }

    /// Sets the number of decoder threads; one per core by default.
    pub fn decode_threads(mut self, threads: usize) -> Self {
        self.decode_threads = Some(threads.max(1));
        self
    }

    /// Sets the time without a heartbeat after which a decoder is abandoned; one minute by default.
    pub fn decoder_timeout(mut self, decoder_timeout: Duration) -> Self {
        self.decoder_timeout = decoder_timeout;
        self
    }

    /// Sets the aggregation of clips to a track.
    pub fn aggregation(mut self, aggregation: Aggregation) -> Self {
        self.aggregation = aggregation;
        self
    }

    /// Sets the computed outputs; scores and embedding by default.
    pub fn outputs(mut self, outputs: Outputs) -> Self {
        self.outputs = outputs;
        self
    }

    /// Selects a step of the model's plan whose output is returned as [`super::ClipResult::tap`]: the features of any
    /// layer, or the spectrogram.
    pub fn tap(mut self, name: impl Into<String>) -> Self {
        self.tap = Some(name.into());
        self
    }

    /// Sets the storage type of activations and weights on the device; f32 by default. Sums are always f32.
    pub fn precision(mut self, precision: DType) -> Self {
        self.precision = precision;
        self
    }

    /// Builds the tagger: loads the weights, opens the device and compiles the kernels.
    ///
    /// # Errors
    /// An unknown model, missing or invalid weights, an unknown tap, scores of weights without the last layer, a wrong
    /// number of labels, a model whose clips depend on each other ([`OriginalBatch`](super::OriginalBatch)), a device that
    /// cannot be opened.
    pub fn build(self) -> Result<Tagger, Error> {
        let (model, weights) = self.load()?;
        self.build_from(model, &weights)
    }

    /// Loads the model.
    fn load(&self) -> Result<(Model, Weights), Error> {
        let labels = self.labels.as_ref();
        Ok(match &self.model {
            ModelSource::Name(name) => {
                let model = models::find(name)?;
                let weights = model.weights(&self.weights)?;
                (model, weights)
            }
            ModelSource::File(path) => models::open(path, labels, &self.weights)?,
            ModelSource::Bytes(bytes) => models::read(bytes.to_vec(), labels, &self.weights)?,
        })
    }

    /// Fused plan of the requested outputs, and the labels of its scores.
    fn plan(&self, model: &Model, weights: &Weights) -> Result<(Plan, Vocabulary), Error> {
        if self.precision == DType::F16 && !self.compat.fits_f16() {
            return Err(Cause::Precision.into());
        }
        model.check_compat(self.compat)?;
        let plan = model.architecture().build(weights, self.compat, Starts::Samples)?;
        if self.outputs == Outputs::All && plan.output_index(SCORES).is_none() {
            return Err(Cause::NoScores { model: model.name().to_string() }.into());
        }
        let vocabulary = self.vocabulary(model, &plan)?;
        let plan = self.select_outputs(&plan)?;
        if plan.depends_on_batch() {
            return Err(Cause::DependentClips { model: model.name().to_string() }.into());
        }
        Ok((plan.fused().with_precision(self.precision), vocabulary))
    }

    /// As [`TaggerBuilder::build`], with a model and weights of the caller.
    ///
    /// # Errors
    /// As [`TaggerBuilder::build`].
    pub fn build_from(self, model: Model, weights: &Weights) -> Result<Tagger, Error> {
        let (plan, vocabulary) = self.plan(&model, weights)?;
        let warnings = Warnings::default();
        if let DigestCheck::Mismatch { file, expected, found } = &weights.info().digest {
            warnings.add(TaggerWarning::UnpublishedWeights {
                file: file.clone(),
                expected: expected.clone(),
                found: found.clone(),
            });
        }
        // A device of the caller replaces all others.
        let devices =
            if self.gpu.is_some() || self.devices.is_empty() { &[Device::Auto] } else { &*self.devices };
        let engine = |device: &Device| {
            let (gpus, cpu_threads) = (self.gpus.clone(), self.cpu_threads);
            let factory =
                DeviceFactory { device: device.clone(), gpus, cpu_threads, fallback: self.fallback };
            Engine::new(factory, self.gpu.as_ref(), plan.clone(), self.max_batch, warnings.clone())
                .map(Arc::new)
        };
        let engines = devices.iter().map(engine).collect::<Result<Vec<_>, _>>()?;
        let clip = model.architecture().clip();
        // Published results came from all frequencies and channels.
        let decoder = match (self.compat, self.decoder) {
            (Compat::Original, DecoderMode::Plain) => DecoderMode::FullBand,
            (_, decoder) => decoder,
        };
        let request = ClipRequest {
            placement: self.placement,
            padding: self.padding,
            decoder,
            seek_mode: self.seek_mode,
            external_decoder: self.external_decoder,
            ..ClipRequest::new(clip.sample_rate, clip.samples)
        };
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Tagger {
            vocabulary,
            model,
            compat: self.compat,
            engines,
            stream_frames: Mutex::default(),
            weights_digest: weights.info().sha256.clone().or(weights.info().source_sha256.clone()),
            decoding: Arc::new(Decoding {
                request,
                resamplers: Resamplers::new(),
                stats: Stats::default(),
                decoder_timeout: self.decoder_timeout,
                spawn: decoders::spawn,
            }),
            decode_threads: self.decode_threads.unwrap_or_else(cores),
            aggregation: self.aggregation,
            tap: self.tap,
            warnings,
        })
    }

    /// Labels of the scores of `plan`.
    fn vocabulary(&self, model: &Model, plan: &Plan) -> Result<Vocabulary, Error> {
        let vocabulary = match &self.labels {
            Some(labels) => labels.clone(),
            None => model.vocabulary()?,
        };
        // Without scores the model's own list is not checked.
        let is_used = self.labels.is_some() || self.outputs == Outputs::All;
        let scores = plan.outputs().iter().find(|(name, _)| name == SCORES).filter(|_| is_used);
        let scores = scores.map(|(_, id)| plan.tensors()[*id].shape.channels());
        match scores {
            Some(scores) if scores != vocabulary.labels().len() => {
                let labels = vocabulary.labels().len();
                Err(Cause::Labels { model: model.name().to_string(), scores, labels }.into())
            }
            _ => Ok(vocabulary),
        }
    }

    /// Reduces the plan to the requested outputs and the steps that they need.
    fn select_outputs(&self, plan: &Plan) -> Result<Plan, Error> {
        let mut names = match self.outputs {
            Outputs::All => vec![STATS, SCORES, EMBEDDING],
            Outputs::Embedding => vec![STATS, EMBEDDING],
            Outputs::Tap => vec![STATS],
        };
        names.extend(self.tap.as_deref());
        Ok(plan.tapped(self.tap.as_slice())?.only_outputs(&names))
    }
}
