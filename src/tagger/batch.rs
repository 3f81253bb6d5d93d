//! Many sources at once: decoded on several threads, run in batches of clips, given back in order.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::{ClipResult, Grouping, Tagger, Track, check};
use crate::audio::{Clip, ClipReader, Source};
use crate::error::Error;
use crate::models::{EMBEDDING, SCORES, STATS};
use crate::tensor::HostTensor;

/// Sources that may be ahead of the oldest unfinished one, or more where a batch is large: bounds what waits
/// for its turn.
const LEAST_WINDOW: usize = 64;
/// A spectrogram whose values deviate less than this, in dB, is silence.
const SILENCE_DB: f32 = 1e-5;

/// What a decoding thread has to say of source `index`.
enum Message {
    Clip(usize, Clip),
    Done(usize, Result<Ending, Error>),
}

/// What is known of a track once its clips are read.
struct Ending {
    track_s: Option<f64>,
    warnings: Vec<String>,
}

/// The sources that are left, and how far the results have come.
struct Queue<I> {
    /// Apart from the state: a caller's iterator may take its time.
    sources: Mutex<I>,
    state: Mutex<QueueState>,
    moved: Condvar,
    window: usize,
}

struct QueueState {
    taken: usize,
    finished: usize,
    closed: bool,
}

impl<I> Queue<I> {
    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self, count: usize) {
        self.state().finished = count;
        self.moved.notify_all();
    }

    /// Nothing more is taken, and nobody waits any longer.
    fn close(&self) {
        self.state().closed = true;
        self.moved.notify_all();
    }
}

impl<I: Iterator<Item = Source>> Queue<I> {
    /// The next source, once it is not too far ahead.
    fn take(&self) -> Option<(usize, Source)> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state();
        while !state.closed && state.taken >= state.finished + self.window {
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return None;
        }
        drop(state);
        let source = sources.next()?;
        let mut state = self.state();
        state.taken += 1;
        Some((state.taken - 1, source))
    }
}

/// Closes the queue however the collector ends, a panic of the caller's among the ways.
struct CloseOnDrop<'a, I>(&'a Queue<I>);

impl<I> Drop for CloseOnDrop<'_, I> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Calls `each` with the result of every source, in order.
pub(super) fn run<I: Iterator<Item = Source> + Send>(
    tagger: &Tagger,
    sources: I,
    each: impl FnMut(usize, Result<Track, Error>),
) {
    let (_, most) = sources.size_hint();
    let queue = Queue {
        sources: Mutex::new(sources),
        state: Mutex::new(QueueState { taken: 0, finished: 0, closed: false }),
        moved: Condvar::new(),
        window: match tagger.grouping {
            // The batch ends with the call; what does not fit the device is refused as it comes.
            Grouping::Call => usize::MAX / 2,
            _ => LEAST_WINDOW.max(4 * tagger.max_batch()),
        },
    };
    // Clips that depend on each other are batched in the order of their sources: one thread keeps it.
    let threads = match tagger.grouping {
        Grouping::Free => {
            thread::available_parallelism().map_or(1, usize::from).min(most.unwrap_or(usize::MAX)).max(1)
        }
        Grouping::Clips(_) | Grouping::Call => 1,
    };
    thread::scope(|scope| {
        // At most a batch of clips waits while another one runs.
        let (sender, receiver) = sync_channel(tagger.max_batch());
        for _ in 0..threads {
            let (sender, queue) = (sender.clone(), &queue);
            scope.spawn(move || decode(tagger, queue, &sender));
        }
        drop(sender);
        // Dropped before the receiver: threads that wait for room must see that nobody listens any more.
        let receiver = receiver;
        let _closing = CloseOnDrop(&queue);
        Collector { tagger, files: BTreeMap::new(), pending: Vec::new(), refused: 0, next: 0, each }
            .collect(&receiver, &queue);
    });
}

/// A decoding thread: source after source, clip after clip.
fn decode<I: Iterator<Item = Source>>(tagger: &Tagger, queue: &Queue<I>, sender: &SyncSender<Message>) {
    while let Some((index, source)) = queue.take() {
        // A decoder that panics costs its own source only.
        let result = catch_unwind(AssertUnwindSafe(|| read(tagger, index, source, sender)))
            .unwrap_or(Err(Error::Panicked));
        if tagger.cancel.is_cancelled() {
            // The others may be waiting for room that nobody will make.
            queue.close();
            return;
        }
        if sender.send(Message::Done(index, result)).is_err() {
            return;
        }
    }
}

fn read(
    tagger: &Tagger,
    index: usize,
    source: Source,
    sender: &SyncSender<Message>,
) -> Result<Ending, Error> {
    let mut reader = ClipReader::open(source, &tagger.request, &tagger.resamplers)?;
    for clip in &mut reader {
        let clip = clip?;
        if tagger.cancel.is_cancelled() || sender.send(Message::Clip(index, clip)).is_err() {
            return Err(Error::Cancelled);
        }
    }
    let warnings = reader.warnings().iter().map(ToString::to_string).collect();
    Ok(Ending { track_s: reader.track_seconds(), warnings })
}

/// A source on its way.
#[derive(Default)]
struct File {
    clips: Vec<ClipResult>,
    /// Clips that were read and have not been run.
    waiting: usize,
    silent: usize,
    ending: Option<Result<Ending, Error>>,
    failure: Option<Error>,
}

/// Gathers clips into batches and results into tracks.
struct Collector<'a, F> {
    tagger: &'a Tagger,
    files: BTreeMap<usize, File>,
    pending: Vec<(usize, Clip)>,
    /// Clips of one call's batch that the device cannot take with the others.
    refused: usize,
    next: usize,
    each: F,
}

impl<F: FnMut(usize, Result<Track, Error>)> Collector<'_, F> {
    fn collect<I: Iterator<Item = Source>>(mut self, receiver: &Receiver<Message>, queue: &Queue<I>) {
        for message in receiver {
            if self.tagger.cancel.is_cancelled() {
                break;
            }
            match message {
                Message::Clip(index, clip) => {
                    self.files.entry(index).or_default().waiting += 1;
                    self.pending.push((index, clip));
                    self.run_full();
                }
                Message::Done(index, ending) => self.files.entry(index).or_default().ending = Some(ending),
            }
            // A source may wait for the rest of its batch only as long as others may still be read.
            if self.tagger.grouping == Grouping::Free
                && self.next + queue.window <= queue.state().taken
                && self.stuck()
            {
                self.run_pending();
            }
            self.give(queue);
        }
        // After a cancellation nothing new is begun: part of a batch might even get other tags than the whole.
        if !self.tagger.cancel.is_cancelled() {
            self.run_pending();
        }
        self.give(queue);
    }

    /// Runs the batch if it is complete.
    fn run_full(&mut self) {
        let full = self.pending.len() >= self.tagger.max_batch();
        match self.tagger.grouping {
            Grouping::Free | Grouping::Clips(_) if full => self.run_pending(),
            // One clip too many: no part of the batch would get the tags that the whole would.
            Grouping::Call if self.pending.len() > self.tagger.max_batch() => {
                self.refused += self.pending.len();
                self.run_pending();
            }
            _ => {}
        }
    }

    /// Whether the oldest source waits for clips of this batch alone.
    fn stuck(&self) -> bool {
        self.files.get(&self.next).is_some_and(|file| file.ending.is_some() && file.waiting > 0)
    }

    /// Runs the clips that are waiting, and sorts the results to their files.
    fn run_pending(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.pending);
        match self.outputs(&batch) {
            Ok(results) => {
                for ((index, _), (result, stats)) in batch.into_iter().zip(results) {
                    let Some(file) = self.files.get_mut(&index) else { continue };
                    file.waiting -= 1;
                    file.silent += usize::from(stats.get(2).is_some_and(|&deviation| deviation < SILENCE_DB));
                    match check(&result, &stats) {
                        Ok(()) => file.clips.push(result),
                        Err(error) => file.failure = Some(error),
                    }
                }
            }
            Err(error) => {
                let error = std::sync::Arc::new(error);
                for (index, _) in batch {
                    let Some(file) = self.files.get_mut(&index) else { continue };
                    file.waiting -= 1;
                    file.failure = Some(Error::Batch(error.clone()));
                }
            }
        }
    }

    fn outputs(&self, batch: &[(usize, Clip)]) -> Result<Vec<(ClipResult, Vec<f32>)>, Error> {
        let most = self.tagger.max_batch();
        if self.refused > 0 {
            return Err(self.tagger.engine.too_many(self.refused.max(most + 1)));
        }
        let length = self.tagger.request.length_samples;
        let samples = batch.iter().flat_map(|(_, clip)| clip.samples.iter().copied()).collect();
        let outputs = self.tagger.engine.run(HostTensor::new([batch.len(), length], samples)?)?;
        let find = |name: &str| outputs.iter().find(|(output, _)| output == name).map(|(_, tensor)| tensor);
        let row = |name: &str, clip: usize| find(name).map_or(Vec::new(), |tensor| tensor.row(clip).to_vec());
        let rate = f64::from(self.tagger.request.rate_hz);
        let results = batch.iter().enumerate().map(|(place, (_, clip))| {
            let result = ClipResult {
                start_s: clip.start_samples as f64 / rate,
                scores: row(SCORES, place),
                embedding: row(EMBEDDING, place),
                tap: self.tagger.tap.as_deref().map_or(Vec::new(), |name| row(name, place)),
            };
            (result, row(STATS, place))
        });
        Ok(results.collect())
    }

    /// Gives away every finished source whose turn it is.
    fn give<I: Iterator<Item = Source>>(&mut self, queue: &Queue<I>) {
        while self.files.get(&self.next).is_some_and(|file| file.ending.is_some() && file.waiting == 0) {
            let Some(file) = self.files.remove(&self.next) else { return };
            (self.each)(self.next, track(self.tagger, file));
            self.next += 1;
            queue.finish(self.next);
        }
    }
}

/// A track from all that was gathered of it.
fn track(tagger: &Tagger, file: File) -> Result<Track, Error> {
    let ending = file.ending.unwrap_or(Err(Error::Cancelled))?;
    if let Some(failure) = file.failure {
        return Err(failure);
    }
    let mut warnings = ending.warnings;
    if file.silent > 0 {
        warnings.push(match file.clips.len() {
            1 => "silent".to_string(),
            clips => format!("silent in {} of {clips} clips", file.silent),
        });
    }
    let rows = |row: fn(&ClipResult) -> &Vec<f32>| {
        file.clips.iter().map(|clip| row(clip).clone()).collect::<Vec<_>>()
    };
    Ok(Track {
        scores: tagger.aggregation.apply(&rows(|clip| &clip.scores)),
        embedding: tagger.aggregation.apply(&rows(|clip| &clip.embedding)),
        tap: tagger.aggregation.apply(&rows(|clip| &clip.tap)),
        clips: file.clips,
        track_s: ending.track_s,
        warnings,
    })
}
