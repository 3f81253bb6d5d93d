//! Device threads, one per device: batches in, results out, two batches in flight.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::batch::Event;
use super::device::{Backend, BatchOutputs, Engine, PendingBatch};
use super::{ClipResult, Tagger};
use crate::audio::Clip;
use crate::error::Error;
use crate::models::{EMBEDDING, SCORES, STATS};
use crate::tensor::HostTensor;

/// Number of batches in flight per device: one computes while another is uploaded or read back.
pub(super) const IN_FLIGHT: usize = 2;

/// Largest magnitude of a sample. A single larger one overflows every spectrogram: its power is `0.25e40` in each bin
/// of a frame, and f32 ends at 3.4e38. The Fourier transform of much larger samples is NaN, which some drivers hide.
const MAX_SAMPLE: f32 = 1e20;

/// Clips of one batch, each with the index of its source.
pub(super) type ClipBatch = Vec<(usize, Clip)>;

/// Result of one clip of a batch.
pub(super) struct ClipOutput {
    pub(super) index: usize,
    pub(super) result: ClipResult,
    /// Statistics of its spectrogram.
    pub(super) stats: Vec<f32>,
}

/// Queue of batches for the device threads.
#[derive(Default)]
pub(super) struct BatchQueue {
    state: Mutex<(VecDeque<ClipBatch>, bool)>,
    changed: Condvar,
}

impl BatchQueue {
    fn lock(&self) -> MutexGuard<'_, (VecDeque<ClipBatch>, bool)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, batch: ClipBatch) {
        self.lock().0.push_back(batch);
        self.changed.notify_one();
    }

    /// Waits for the next batch; `None` once the queue is closed and empty.
    fn take(&self) -> Option<ClipBatch> {
        let mut state = self.lock();
        loop {
            match state.0.pop_front() {
                Some(batch) => return Some(batch),
                None if state.1 => return None,
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn try_take(&self) -> Option<ClipBatch> {
        self.lock().0.pop_front()
    }

    /// Closes the queue: no more batches will be added.
    pub(super) fn close(&self) {
        self.lock().1 = true;
        self.changed.notify_all();
    }

    /// Closes the queue and returns the batches in it.
    pub(super) fn clear(&self) -> Vec<ClipBatch> {
        let waiting = std::mem::take(&mut self.lock().0).into();
        self.close();
        waiting
    }
}

/// Clip of a submitted batch.
struct SubmittedClip {
    /// Index of its source.
    index: usize,
    /// Start in the source, in seconds.
    start_s: f64,
    /// True if a sample exceeds [`MAX_SAMPLE`].
    is_too_large: bool,
}

/// Batch that was submitted to a device.
struct InFlightBatch {
    clips: Vec<SubmittedClip>,
    input: HostTensor,
    /// Backend that it was submitted to.
    backend: Arc<Backend>,
    pending: Result<PendingBatch, Error>,
}

/// Runs batches on a device until the queue is closed.
pub(super) fn run(tagger: &Tagger, engine: &Engine, batches: &BatchQueue, sender: &Sender<Event>) {
    let stats = &tagger.decoding.stats;
    let mut in_flight: VecDeque<InFlightBatch> = VecDeque::new();
    loop {
        while in_flight.len() < IN_FLIGHT {
            let waits = Instant::now();
            let batch = if in_flight.is_empty() { batches.take() } else { batches.try_take() };
            stats.add(|times| times.model_waits += waits.elapsed());
            let Some(batch) = batch else { break };
            let start = Instant::now();
            let Some(submitted) = submit(tagger, engine, batch, sender) else { continue };
            let clips = submitted.clips.len() as u64;
            in_flight.push_back(submitted);
            stats.add(|times| {
                // Without overlap, submitting runs the model.
                if engine.overlaps() {
                    times.upload += start.elapsed();
                } else {
                    times.model += start.elapsed();
                }
                times.batches += 1;
                times.clips += clips;
            });
        }
        let Some(batch) = in_flight.pop_front() else { return };
        let start = Instant::now();
        let event = wait(tagger, engine, batch);
        stats.add(|times| times.model += start.elapsed());
        if sender.send(event).is_err() {
            return;
        }
    }
}

/// Submits a batch to the device; an invalid batch fails at once.
fn submit(
    tagger: &Tagger,
    engine: &Engine,
    batch: ClipBatch,
    sender: &Sender<Event>,
) -> Option<InFlightBatch> {
    let rate = f64::from(tagger.decoding.request.rate_hz);
    let length = tagger.decoding.request.length_samples;
    let sent = |(index, clip): &(usize, Clip)| SubmittedClip {
        index: *index,
        start_s: clip.start_samples as f64 / rate,
        is_too_large: clip.samples.iter().any(|v| v.is_nan() || v.abs() > MAX_SAMPLE),
    };
    let clips: Vec<SubmittedClip> = batch.iter().map(sent).collect();
    let mut samples = Vec::with_capacity(batch.len() * length);
    // Each clip is freed after it is copied, so that the batch is in memory once.
    batch.into_iter().for_each(|(_, clip)| samples.extend_from_slice(&clip.samples));
    match HostTensor::new([clips.len(), length], samples) {
        Ok(input) => {
            let backend = engine.backend();
            Some(InFlightBatch { clips, backend, pending: engine.submit(&input), input })
        }
        Err(error) => {
            let indices = clips.into_iter().map(|clip| clip.index).collect();
            // Fails if the collector has ended.
            let _ = sender.send(Event::Failed(indices, Arc::new(error.into())));
            None
        }
    }
}

/// Waits for a batch, with retry and fallback, and splits its outputs by clip.
fn wait(tagger: &Tagger, engine: &Engine, batch: InFlightBatch) -> Event {
    let outputs = match batch.pending.and_then(|pending| engine.wait(pending)) {
        Ok(outputs) => Ok(outputs),
        Err(error) => engine.retry(&batch.input, batch.backend, error),
    };
    match outputs {
        Ok(outputs) => Event::Completed(rows(tagger, &batch.clips, &outputs)),
        Err(error) => {
            let indices = batch.clips.into_iter().map(|clip| clip.index).collect();
            Event::Failed(indices, Arc::new(error))
        }
    }
}

fn rows(tagger: &Tagger, clips: &[SubmittedClip], outputs: &BatchOutputs) -> Vec<ClipOutput> {
    let find =
        |name: &str| outputs.tensors.iter().find(|(output, _)| output == name).map(|(_, tensor)| tensor);
    let row = |name: &str, clip: usize| find(name).map_or(Vec::new(), |tensor| tensor.row(clip).to_vec());
    let ran = clips.iter().enumerate().map(|(place, clip)| {
        let result = ClipResult {
            start_s: clip.start_s,
            scores: row(SCORES, place),
            embedding: row(EMBEDDING, place),
            tap: tagger.tap.as_deref().map_or(Vec::new(), |name| row(name, place)),
            device: outputs.device.clone(),
        };
        let stats = if clip.is_too_large { vec![f32::INFINITY; 3] } else { row(STATS, place) };
        ClipOutput { index: clip.index, result, stats }
    });
    ran.collect()
}
