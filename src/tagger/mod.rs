//! Tagging of files and samples: joins audio, a model and an executor.
//!
//! Files are decoded on several threads, each device has a thread, and clips of many files share a batch. A file that
//! fails does not affect others. Not here: output formats and the command line.

use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::audio::Source;
use crate::cancel::CancelToken;
use crate::error::{Cause, Error};
use crate::models::{Compat, EMBEDDING, Model};
use crate::tags::{self, Aggregation, Tag, Vocabulary};
use crate::tensor::{HostTensor, Shape};

mod active;
mod builder;
#[cfg(feature = "wgpu")]
mod calibrate;
mod clips;
mod device;
mod engine;
mod factory;
#[cfg(feature = "wgpu")]
mod gpus;
#[cfg(not(feature = "wgpu"))]
#[path = "no_gpus.rs"]
mod gpus;
mod original_batch;
mod pending;
mod pipeline;
#[cfg(feature = "wgpu")]
mod recorder;
mod results;
mod stats;
mod stream;
mod warnings;

#[cfg(all(feature = "unstable", feature = "wgpu"))]
pub use self::calibrate::measure_statistics;
#[cfg(all(feature = "wgpu", feature = "unstable"))]
pub use self::gpus::device_finding;
#[cfg(feature = "wgpu")]
pub use self::recorder::{Reading, Recorder};
#[cfg(feature = "unstable")]
pub use self::{
    original_batch::{OriginalBatch, OriginalClip},
    pipeline::decoders::DECODER_THREAD,
};
pub use builder::{Outputs, TaggerBuilder};
pub use device::{Device, ParseDeviceError};
pub use factory::Fallback;
pub use pending::Pending;
pub use results::{ClipResult, Track};
pub use stats::StageTimes;
pub use stream::{Stream, StreamConfig, StreamInput, StreamUpdate, StreamWorker};
pub use warnings::TaggerWarning;

use engine::Engine;
use pipeline::decoders::Decoding;
use stream::SharedFrames;
use warnings::Warnings;

/// Tags audio with one model on one or more devices. `Send` and `Sync`: threads may share it.
///
/// ```
/// use tagwave::audio::Source;
/// use tagwave::tagger::{Device, Tagger};
///
/// # fn main() -> Result<(), tagwave::Error> {
/// let tagger = Tagger::builder().device(Device::Cpu).build()?;
/// let tone: Vec<f32> = (0..44_100 * 30).map(|n| (n as f32 * 0.06).sin()).collect();
/// let tracks = tagger.tag_batch([
///     Source::path("assets/demo.ogg"),
///     Source::samples(tone, 44_100),
///     Source::path("missing.mp3"),
/// ]);
/// assert_eq!(tracks[0].as_ref().unwrap().scores.len(), tagger.labels().len());
/// assert_eq!(tracks[1].as_ref().unwrap().embedding.len(), tagger.embedding_len());
/// assert!(tracks[2].is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Tagger {
    model: Model,
    compat: Compat,
    /// At least one.
    engines: Vec<Arc<Engine>>,
    /// Spectrogram of streams, made for the first one; `None` inside if the plan has none.
    stream_frames: Mutex<Option<Option<SharedFrames>>>,
    vocabulary: Vocabulary,
    weights_digest: Option<String>,
    decoding: Arc<Decoding>,
    decode_threads: usize,
    aggregation: Aggregation,
    tap: Option<String>,
    warnings: Warnings,
}

impl Tagger {
    /// Builder with default settings: [`models::DEFAULT`](crate::models::DEFAULT) on the best device.
    pub fn builder() -> TaggerBuilder {
        TaggerBuilder::default()
    }

    /// Tags a file.
    ///
    /// # Errors
    /// Those of the file ([`ErrorKind::Input`](crate::ErrorKind::Input), `Unsupported`) and of the device.
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
        self.tag_batch([source]).pop().unwrap_or_else(|| Err(Cause::Cancelled.into()))
    }

    /// Tags many sources and returns results in their order; a source that fails does not affect others.
    pub fn tag_batch(&self, sources: impl IntoIterator<Item = Source>) -> Vec<Result<Track, Error>> {
        let sources: Vec<Source> = sources.into_iter().collect();
        let mut results: Vec<_> = sources.iter().map(|_| Err(Cause::Cancelled.into())).collect();
        self.tag_each(sources, |index, result| results[index] = result);
        results
    }

    /// Tags many sources and calls `each` with every result in order, as soon as it is available. Memory does not grow
    /// with the number of sources.
    pub fn tag_each(
        &self,
        sources: impl IntoIterator<Item = Source, IntoIter: Send>,
        each: impl FnMut(usize, Result<Track, Error>),
    ) {
        self.tag_each_until(&CancelToken::new(), sources, each);
    }

    /// As [`Tagger::tag_each`], until `cancel` is cancelled: then `each` is still called for finished sources, and not
    /// for the others. The tagger can be used again.
    pub fn tag_each_until(
        &self,
        cancel: &CancelToken,
        sources: impl IntoIterator<Item = Source, IntoIter: Send>,
        each: impl FnMut(usize, Result<Track, Error>),
    ) {
        pipeline::run(self, sources.into_iter(), cancel, each);
    }

    /// Tags mono samples, nominally in -1..1, at `rate_hz`, without waiting for the device: resamples and submits in the
    /// call, and returns a future.
    ///
    /// A failed device is an error of the future, while the blocking calls retry and fall back to the CPU.
    ///
    /// ```
    /// use tagwave::tagger::{Device, Tagger};
    ///
    /// # fn main() -> Result<(), tagwave::Error> {
    /// let tagger = Tagger::builder().device(Device::Cpu).build()?;
    /// let mut pending = tagger.submit(&vec![0.1; 22_050 * 30], 22_050)?;
    /// // Once per frame of a game, or `pending.await`:
    /// let track = loop {
    ///     match pending.try_take() {
    ///         Some(result) => break result?,
    ///         None => std::thread::yield_now(),
    ///     }
    /// };
    /// assert_eq!(track.scores.len(), 50);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Input`](crate::ErrorKind::Input) for samples that cannot be tagged, and errors of the device that
    /// are known at once.
    pub fn submit(&self, samples: &[f32], rate_hz: u32) -> Result<Pending, Error> {
        Pending::new(self, Source::samples(samples, rate_hz))
    }

    /// Opens a stream of live audio: its input for the audio thread, and the half that computes.
    ///
    /// ```
    /// use tagwave::tagger::{Device, StreamConfig, Tagger};
    ///
    /// # fn main() -> Result<(), tagwave::Error> {
    /// let tagger = Tagger::builder().device(Device::Cpu).build()?;
    /// let (mut input, mut stream) = tagger.stream(StreamConfig::new(48_000, 2).hop_s(0.5))?;
    /// // On the audio thread, for every block:
    /// input.push_interleaved(&[0.1; 2 * 30_000]);
    /// // On a thread with time, or `stream.spawn()?` for one of tagwave's own:
    /// let update = loop {
    ///     if let Some(update) = stream.pump()? {
    ///         break update;
    ///     }
    /// };
    /// assert_eq!((update.heard_s, update.scores.len()), (0.5, 50));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Input`](crate::ErrorKind::Input) for invalid settings; errors of the device, on which the first stream
    /// of a tagger prepares the model once more, without the spectrogram.
    pub fn stream(&self, config: StreamConfig) -> Result<(StreamInput, Stream), Error> {
        Stream::open(self, config)
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

    /// The labels, in the order of the scores.
    pub fn labels(&self) -> &[String] {
        self.vocabulary.labels()
    }

    /// Sample rate of the model, in Hz.
    pub fn sample_rate_hz(&self) -> u32 {
        self.decoding.request.rate_hz
    }

    /// Length of a clip, in samples at [`Tagger::sample_rate_hz`].
    pub fn clip_samples(&self) -> usize {
        self.decoding.request.length_samples
    }

    /// Length of an embedding; zero without one.
    pub fn embedding_len(&self) -> usize {
        let plan = self.engines[0].plan();
        let output = plan.output_index(EMBEDDING).and_then(|index| plan.outputs().get(index));
        output.map_or(0, |(_, id)| plan.tensors()[*id].shape.with_batch(1).len())
    }

    /// Shape of the tap of a clip, such as `[C, F, T]`; `None` without a tap.
    pub fn tap_shape(&self) -> Option<Shape> {
        let plan = self.engines[0].plan();
        let (_, id) = plan.outputs().get(plan.output_index(self.tap.as_deref()?)?)?;
        plan.tensors()[*id].shape.extents().get(1..).map(Shape::new)
    }

    /// Bytes of activations and weights in memory of GPUs.
    pub fn device_bytes(&self) -> u64 {
        self.engines.iter().map(|engine| engine.device_bytes()).sum()
    }

    /// Runs a silent clip on every device, so that the next call does not pay for the first use.
    ///
    /// # Errors
    /// Those of the device.
    pub fn warm_up(&self) -> Result<(), Error> {
        for engine in &self.engines {
            let silence = HostTensor::zeros([1, self.clip_samples()]);
            engine.wait(engine.submit(silence.into()))?;
        }
        Ok(())
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Compatibility with the original.
    pub fn compat(&self) -> Compat {
        self.compat
    }

    /// Name of the device, or names of all devices.
    pub fn device_name(&self) -> String {
        self.engines.iter().map(|engine| engine.name()).collect::<Vec<_>>().join(", ")
    }

    /// SHA-256 of the weight file, if the weights come from one.
    pub fn weights_digest(&self) -> Option<&str> {
        self.weights_digest.as_deref()
    }

    /// Maximum number of clips per batch.
    pub fn max_batch(&self) -> usize {
        self.engines.iter().map(|engine| engine.max_batch()).min().unwrap_or(1)
    }

    /// Takes the warnings since the last call: a fallback to another device, weights that are not the published ones, a
    /// device that was lost or ran out of memory.
    pub fn take_warnings(&self) -> Vec<TaggerWarning> {
        self.warnings.take()
    }

    /// Times of the pipeline stages since the tagger was made.
    pub fn stage_times(&self) -> StageTimes {
        let mut times = self.decoding.stats.times();
        self.engines.iter().for_each(|engine| engine.add_times(&mut times));
        times
    }
}
