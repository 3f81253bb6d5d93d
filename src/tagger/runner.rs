//! The threads of the model, one per device: batches in, results out, two batches on their way at a time.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::batch::Message;
use super::device::{Engine, Outputs, Running, Ticket};
use super::{ClipResult, Tagger};
use crate::audio::Clip;
use crate::error::Error;
use crate::models::{EMBEDDING, SCORES, STATS};
use crate::tensor::HostTensor;

/// Batches on a device at a time: one computes while the next one is uploaded and the last one is read back.
pub(super) const IN_FLIGHT: usize = 2;

/// Magnitude of a sample past which every spectrogram overflows, also where the mel power is not squared: one sample
/// alone has the power `0.25e40` in each bin of a frame around it, and f32 ends at 3.4e38. A Fourier transform in f32
/// holds such samples, but not much larger ones, of which it makes NaN, which some drivers hide.
const LOUDEST: f32 = 1e20;

/// Clips with the source each is of.
pub(super) type Batch = Vec<(usize, Clip)>;

/// What one clip of a batch gave.
pub(super) struct Ran {
    pub(super) index: usize,
    pub(super) result: ClipResult,
    /// The statistics of its spectrogram.
    pub(super) stats: Vec<f32>,
}

/// Batches that wait for a device.
#[derive(Default)]
pub(super) struct Feed {
    state: Mutex<(VecDeque<Batch>, bool)>,
    changed: Condvar,
}

impl Feed {
    fn lock(&self) -> MutexGuard<'_, (VecDeque<Batch>, bool)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, batch: Batch) {
        self.lock().0.push_back(batch);
        self.changed.notify_one();
    }

    /// The next batch, waiting for it; `None` once the feed is closed and empty.
    fn take(&self) -> Option<Batch> {
        let mut state = self.lock();
        loop {
            match state.0.pop_front() {
                Some(batch) => return Some(batch),
                None if state.1 => return None,
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn try_take(&self) -> Option<Batch> {
        self.lock().0.pop_front()
    }

    /// No more batches come.
    pub(super) fn close(&self) {
        self.lock().1 = true;
        self.changed.notify_all();
    }

    /// Forgets what waits, and closes.
    pub(super) fn clear(&self) -> Vec<Batch> {
        let waiting = std::mem::take(&mut self.lock().0).into();
        self.close();
        waiting
    }
}

/// A clip of a batch that was handed over.
struct Sent {
    /// Its source.
    index: usize,
    /// Where it begins in the source, in seconds.
    start_s: f64,
    /// True if its samples are past [`LOUDEST`].
    is_too_loud: bool,
}

/// A batch on a device.
struct Flying {
    clips: Vec<Sent>,
    input: HostTensor,
    /// Where it went.
    running: Arc<Running>,
    ticket: Result<Ticket, Error>,
}

/// A device at work until the feed ends.
pub(super) fn run(tagger: &Tagger, engine: &Engine, feed: &Feed, sender: &Sender<Message>) {
    let stats = &tagger.decoding.stats;
    let mut flying: VecDeque<Flying> = VecDeque::new();
    loop {
        while flying.len() < IN_FLIGHT {
            let waits = Instant::now();
            let batch = if flying.is_empty() { feed.take() } else { feed.try_take() };
            stats.add(|times| times.model_waits += waits.elapsed());
            let Some(batch) = batch else { break };
            let start = Instant::now();
            let Some(begun) = begin(tagger, engine, batch, sender) else { continue };
            let clips = begun.clips.len() as u64;
            flying.push_back(begun);
            stats.add(|times| {
                // Where nothing overlaps, beginning is all there is.
                if engine.overlaps() {
                    times.upload += start.elapsed();
                } else {
                    times.model += start.elapsed();
                }
                times.batches += 1;
                times.clips += clips;
            });
        }
        let Some(batch) = flying.pop_front() else { return };
        let start = Instant::now();
        let finished = finish(tagger, engine, batch);
        stats.add(|times| times.model += start.elapsed());
        if sender.send(finished).is_err() {
            return;
        }
    }
}

/// Hands a batch to the device; one that cannot even be made is answered at once.
fn begin(tagger: &Tagger, engine: &Engine, batch: Batch, sender: &Sender<Message>) -> Option<Flying> {
    let rate = f64::from(tagger.decoding.request.rate_hz);
    let length = tagger.decoding.request.length_samples;
    let sent = |(index, clip): &(usize, Clip)| Sent {
        index: *index,
        start_s: clip.start_samples as f64 / rate,
        is_too_loud: clip.samples.iter().any(|v| v.is_nan() || v.abs() > LOUDEST),
    };
    let clips: Vec<Sent> = batch.iter().map(sent).collect();
    let mut samples = Vec::with_capacity(batch.len() * length);
    // Each clip is freed once it is copied: a batch is in memory once.
    batch.into_iter().for_each(|(_, clip)| samples.extend_from_slice(&clip.samples));
    match HostTensor::new([clips.len(), length], samples) {
        Ok(input) => {
            let running = engine.now();
            Some(Flying { clips, running, ticket: engine.begin(&input), input })
        }
        Err(error) => {
            let indices = clips.into_iter().map(|clip| clip.index).collect();
            // Nobody listens when the collector is gone.
            let _ = sender.send(Message::Failed(indices, Arc::new(error.into())));
            None
        }
    }
}

/// Waits for a batch and takes it apart.
fn finish(tagger: &Tagger, engine: &Engine, batch: Flying) -> Message {
    let outputs = match batch.ticket.and_then(|ticket| engine.finish(ticket)) {
        Ok(outputs) => Ok(outputs),
        Err(error) => engine.again(&batch.input, batch.running, error),
    };
    match outputs {
        Ok(outputs) => Message::Ran(rows(tagger, &batch.clips, &outputs)),
        Err(error) => {
            let indices = batch.clips.into_iter().map(|clip| clip.index).collect();
            Message::Failed(indices, Arc::new(error))
        }
    }
}

fn rows(tagger: &Tagger, clips: &[Sent], outputs: &Outputs) -> Vec<Ran> {
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
        let stats = if clip.is_too_loud { vec![f32::INFINITY; 3] } else { row(STATS, place) };
        Ran { index: clip.index, result, stats }
    });
    ran.collect()
}
