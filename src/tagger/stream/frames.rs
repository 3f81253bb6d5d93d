//! Spectrogram frames of a stream, each computed once.
//!
//! Windows begin at multiples of the hop length, so that frame `j` of a window that begins at frame `k` is frame `k + j`
//! of the stream, unless it reaches over an end of the window, where a clip is padded. Frames are computed by the plan's
//! own step on chunks of the stream: one at the start of the window and one at its end, which give the padded frames, and
//! as many before the end as there are new frames. The CPU executor computes each frame independently of its place, so
//! the scores have the bits of the same window in a file.

use std::sync::Arc;

use super::live::LiveAudio;
use crate::error::Error;
use crate::executor::Executor;
use crate::executor::blocking::Run;
use crate::kernels::{LogMel, Op};
use crate::models::{EMBEDDING, SCORES, STATS};
use crate::plan::{Builder, Plan, Step};
use crate::tagger::engine::Engine;
use crate::tensor::HostTensor;

/// New frames of a chunk.
const CHUNK_FRAMES: usize = 64;

/// Executors of the two halves of a plan, which all streams of a tagger share.
#[derive(Clone, Debug)]
pub(crate) struct SharedFrames {
    /// Spectrogram of chunks, on the CPU.
    spectrogram: Arc<dyn Executor>,
    /// The plan from the spectrogram on.
    pub(super) engine: Arc<Engine>,
    shape: FrameShape,
}

/// Lengths and positions of frames.
#[derive(Clone, Copy, Debug)]
struct FrameShape {
    hop_length: usize,
    left_samples: usize,
    n_fft: usize,
    n_mels: usize,
    clip_samples: usize,
    clip_frames: usize,
    chunk_samples: usize,
    chunk_frames: usize,
}

impl FrameShape {
    /// First frame of a clip that does not reach over its start.
    fn first_inner(&self) -> usize {
        self.left_samples.div_ceil(self.hop_length)
    }

    /// Frame after the last one that does not reach over the end of `samples` samples.
    fn end_inner(&self, samples: usize) -> usize {
        (samples + self.left_samples).saturating_sub(self.n_fft) / self.hop_length + 1
    }
}

impl SharedFrames {
    /// Splits the plan of `engine`; `None` for a plan without a spectrogram of its samples.
    pub(crate) fn new(engine: &Engine) -> Result<Option<SharedFrames>, Error> {
        let plan = engine.plan();
        let Some((step, op)) = plan.steps().first().and_then(|step| match &step.op {
            Op::LogMel(op) if step.inputs == plan.inputs() => Some((step, op)),
            _ => None,
        }) else {
            return Ok(None);
        };
        let Some(shape) = shape(plan, step, op) else { return Ok(None) };
        let mut builder = Builder::new();
        let samples = builder.input("samples", [1, shape.chunk_samples]);
        let weights = step.weights.iter().filter_map(|&id| plan.weight(id)).map(|weight| (**weight).clone());
        let mel = builder.step(&step.name, step.op.clone(), &[samples], weights.collect())?;
        builder.output(&step.name, mel);
        let spectrogram = host_executor(&builder.finish())?;
        let chunk_frames = spectrogram.plan().tensors()[mel].shape.extent(3);
        let rest = plan.only_outputs(&[STATS, SCORES, EMBEDDING]);
        let rest = rest.starting_at(&plan.tensors()[step.output].name)?;
        let engine = Arc::new(engine.with_plan(rest, 1)?);
        Ok(Some(SharedFrames { spectrogram, engine, shape: FrameShape { chunk_frames, ..shape } }))
    }
}

/// The CPU executor with one thread, which computes in the call; the reference implementation where it is not built.
fn host_executor(plan: &Plan) -> Result<Arc<dyn Executor>, Error> {
    #[cfg(feature = "cpu")]
    let executor = crate::cpu::Executor::new(
        plan,
        &crate::cpu::Options { max_batch: 1, threads: Some(1), ..Default::default() },
    )?;
    #[cfg(not(feature = "cpu"))]
    let executor = crate::reference::Executor::new(plan, 1);
    Ok(Arc::new(executor))
}

/// Lengths of the step's frames; `None` for clips too short to have chunks.
fn shape(plan: &Plan, step: &Step, op: &LogMel) -> Option<FrameShape> {
    let clip_samples = plan.tensors()[*plan.inputs().first()?].shape.extent(1);
    let mel = plan.tensors()[step.output].shape;
    let n_fft = plan.weight(*step.weights.first()?)?.data().len();
    let hop_length = op.hop_length;
    // A chunk may end where a clip ends.
    let around = (op.left_samples + n_fft).div_ceil(hop_length);
    let chunk_samples = (CHUNK_FRAMES + around) * hop_length + clip_samples % hop_length;
    (chunk_samples <= clip_samples).then_some(FrameShape {
        hop_length,
        left_samples: op.left_samples,
        n_fft,
        n_mels: mel.extent(2),
        clip_samples,
        clip_frames: mel.extent(3),
        chunk_samples,
        chunk_frames: 0,
    })
}

/// Frames of one stream.
pub(super) struct FrameCache {
    pub(super) shared: SharedFrames,
    /// Position of the first frame that is kept, in frames of the stream.
    first: usize,
    /// Frames `[T, M]` in dB.
    rows: Vec<f32>,
}

impl FrameCache {
    pub(super) fn new(shared: SharedFrames) -> FrameCache {
        FrameCache { shared, first: 0, rows: Vec::new() }
    }

    pub(super) fn reset(&mut self) {
        self.rows.clear();
    }

    /// Start of the last window that ends at or before sample `end`.
    pub(super) fn start(&self, end: u64) -> u64 {
        let shape = &self.shared.shape;
        let hop = shape.hop_length as u64;
        end.saturating_sub(shape.clip_samples as u64) / hop * hop
    }

    /// Spectrogram `[1, 1, M, T]` of the window that begins at `start`, which [`FrameCache::start`] gave.
    pub(super) fn window(&mut self, audio: &LiveAudio, start: u64) -> Result<HostTensor, Error> {
        let shape = self.shared.shape;
        let window = start as usize / shape.hop_length;
        let (first_inner, end_inner) = (shape.first_inner(), shape.end_inner(shape.clip_samples));
        let chunk_inner = shape.end_inner(shape.chunk_samples) - first_inner;
        self.forget_before(window + first_inner);
        let known =
            (self.first + self.rows.len() / shape.n_mels).clamp(window + first_inner, window + end_inner);
        let missing = window + end_inner - known;
        // Frame of the window at which each chunk begins: the first one, then from the end backwards.
        let last = (shape.clip_samples - shape.chunk_samples) / shape.hop_length;
        let backwards =
            (0..missing.div_ceil(chunk_inner).max(1)).map(|i| last.saturating_sub(i * chunk_inner));
        let places: Vec<usize> = std::iter::once(0).chain(backwards).collect();
        let chunks = places.iter().map(|place| self.chunk(audio, start as usize + place * shape.hop_length));
        let chunks = chunks.collect::<Result<Vec<_>, _>>()?;
        self.rows.resize((window + end_inner - self.first) * shape.n_mels, 0.0);
        for (&place, chunk) in places.iter().zip(&chunks).skip(1) {
            let inner = (first_inner..first_inner + chunk_inner).map(|frame| (frame, window + place + frame));
            for (frame, position) in
                inner.filter(|(_, position)| (known..window + end_inner).contains(position))
            {
                let row = &mut self.rows[(position - self.first) * shape.n_mels..][..shape.n_mels];
                for (band, value) in row.iter_mut().enumerate() {
                    *value = chunk[band * shape.chunk_frames + frame];
                }
            }
        }
        let mut mel = HostTensor::zeros([1, 1, shape.n_mels, shape.clip_frames]);
        for (band, row) in mel.data_mut().chunks_exact_mut(shape.clip_frames).enumerate() {
            let [start, end] = [0, 1].map(|chunk: usize| &chunks[chunk][band * shape.chunk_frames..]);
            row[..first_inner].copy_from_slice(&start[..first_inner]);
            let inner = self.rows.chunks_exact(shape.n_mels).map(|frame| frame[band]);
            row[first_inner..end_inner].iter_mut().zip(inner).for_each(|(value, frame)| *value = frame);
            row[end_inner..].copy_from_slice(&end[end_inner - last..shape.clip_frames - last]);
        }
        Ok(mel)
    }

    /// Spectrogram `[M, T]` of the chunk that begins at sample `start`.
    fn chunk(&self, audio: &LiveAudio, start: usize) -> Result<Vec<f32>, Error> {
        let samples = audio.slice(start as u64, self.shared.shape.chunk_samples);
        let input = HostTensor::new([1, self.shared.shape.chunk_samples], samples.to_vec())?;
        let outputs = self.shared.spectrogram.run(input)?;
        Ok(outputs.into_iter().next().map_or_else(Vec::new, HostTensor::into_data))
    }

    /// Drops frames before position `first`, or all if there is a gap.
    fn forget_before(&mut self, first: usize) {
        let n_mels = self.shared.shape.n_mels;
        let end = self.first + self.rows.len() / n_mels;
        if first >= end || first < self.first {
            self.rows.clear();
        } else {
            self.rows.drain(..(first - self.first) * n_mels);
        }
        self.first = first;
    }
}
