//! Decoder threads: sources in, clips out. A stalled thread is abandoned and replaced.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::super::clips::TrackInfo;
use super::super::stats::Stats;
use super::event::{DecodeEvent, Event};
use super::tokens::Taker;
use super::watchdog::Watchdog;
use crate::audio::{ClipReader, ClipRequest, Heartbeat, Resamplers, Source};
use crate::cancel::CancelToken;
use crate::error::{Cause, Error};

/// Name of decoder threads. A panic hook can use it to ignore their panics, which become errors of files.
pub const DECODER_THREAD: &str = "tagwave decoder";

/// Function that starts a detached thread; tests use one that fails.
pub(in crate::tagger) type Spawn = fn(thread::Builder, Box<dyn FnOnce() + Send>) -> io::Result<()>;

/// Starts a detached thread with [`thread::Builder::spawn`].
pub(in crate::tagger) fn spawn(builder: thread::Builder, work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    builder.spawn(work).map(drop)
}

/// Settings and shared state of decoder threads; outlives the tagger if a thread hangs.
#[derive(Debug)]
pub(in crate::tagger) struct Decoding {
    pub(in crate::tagger) request: ClipRequest,
    pub(in crate::tagger) resamplers: Resamplers,
    pub(in crate::tagger) stats: Stats,
    /// Maximum time without a heartbeat.
    pub(in crate::tagger) decoder_timeout: Duration,
    pub(in crate::tagger) spawn: Spawn,
}

/// Handle of a decoder thread.
struct Worker {
    id: usize,
    state: Arc<WorkerState>,
    watchdog: Watchdog,
}

/// State shared with a decoder thread.
struct WorkerState {
    heartbeat: Heartbeat,
    /// Index of the source that is being decoded, [`IDLE`] or [`ABANDONED`].
    index: AtomicUsize,
}

const IDLE: usize = usize::MAX;
const ABANDONED: usize = usize::MAX - 1;

impl WorkerState {
    /// Replaces source `index` by `next`; `false` if the other side was faster. A worker that finishes and a watchdog that
    /// abandons it exclude each other, so that no source is lost or counted twice.
    fn leave(&self, index: usize, next: usize) -> bool {
        self.index.compare_exchange(index, next, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// Pool of decoder threads with a watchdog.
pub(super) struct Decoders {
    decoding: Arc<Decoding>,
    cancel: CancelToken,
    queue: Receiver<(usize, Source)>,
    /// One token per clip in memory.
    clip_tokens: Taker,
    sender: Sender<Event>,
    workers: Vec<Worker>,
    next_id: usize,
    /// Requested number of threads.
    wanted: usize,
    /// Error of the last thread that could not be started.
    spawn_error: Option<String>,
}

impl Decoders {
    /// Starts `threads` threads, or as many as the system allows.
    pub(super) fn start(
        decoding: Arc<Decoding>,
        cancel: CancelToken,
        queue: Receiver<(usize, Source)>,
        clip_tokens: Taker,
        sender: Sender<Event>,
        threads: usize,
    ) -> Decoders {
        let mut decoders = Decoders {
            decoding,
            cancel,
            queue,
            clip_tokens,
            sender,
            workers: Vec::new(),
            next_id: 0,
            wanted: threads,
            spawn_error: None,
        };
        decoders.fill();
        decoders
    }

    /// Starts missing threads, as many as the system allows.
    fn fill(&mut self) {
        self.spawn_error = None;
        while self.workers.len() < self.wanted {
            if let Err(error) = self.spawn_worker() {
                self.spawn_error = Some(error.to_string());
                return;
            }
        }
    }

    /// Number of running threads and the error, if a thread could not be started.
    pub(super) fn shortage(&self) -> Option<(usize, &str)> {
        self.spawn_error.as_deref().map(|reason| (self.workers.len(), reason))
    }

    /// Takes all queued sources, with an error for each, if there is no thread at all.
    pub(super) fn fail_queued(&mut self) -> Vec<(usize, Error)> {
        if !self.workers.is_empty() {
            return Vec::new();
        }
        // The system may allow threads again.
        self.fill();
        let Some((0, reason)) = self.shortage() else { return Vec::new() };
        let error = || Cause::Threads { what: "decoding", reason: reason.to_string() }.into();
        self.queue.try_iter().map(|(index, _)| (index, error())).collect()
    }

    fn spawn_worker(&mut self) -> io::Result<()> {
        let id = self.next_id;
        self.next_id += 1;
        let state = Arc::new(WorkerState { heartbeat: Heartbeat::default(), index: AtomicUsize::new(IDLE) });
        let thread = DecodeWorker {
            decoding: self.decoding.clone(),
            cancel: self.cancel.clone(),
            queue: self.queue.clone(),
            clip_tokens: self.clip_tokens.clone(),
            sender: self.sender.clone(),
            state: state.clone(),
            id,
        };
        // By its name a program can recognise a panic of a decoder.
        let builder = thread::Builder::new().name(DECODER_THREAD.into());
        (self.decoding.spawn)(builder, Box::new(move || thread.work()))?;
        self.workers.push(Worker { id, state, watchdog: Watchdog::new(Instant::now()) });
        Ok(())
    }

    /// True if the thread has not been replaced.
    pub(super) fn is_current(&self, id: usize) -> bool {
        self.workers.iter().any(|worker| worker.id == id)
    }

    /// Asks all threads to stop at their next packet.
    pub(super) fn stop(&self) {
        self.workers.iter().for_each(|worker| worker.state.heartbeat.cancel.cancel());
    }

    /// Abandons threads without a heartbeat, starts new ones, and returns the sources of the abandoned ones.
    pub(super) fn replace_stalled(&mut self) -> Vec<usize> {
        let (now, decoder_timeout) = (Instant::now(), self.decoding.decoder_timeout);
        let mut hung = Vec::new();
        self.workers.retain_mut(|worker| {
            let index = worker.state.index.load(Ordering::Acquire);
            let ticks = worker.state.heartbeat.ticks();
            let hangs = worker.watchdog.is_stalled(ticks, index == IDLE, now, decoder_timeout)
                && worker.state.leave(index, ABANDONED);
            if hangs {
                // If the thread continues, it ends by itself.
                worker.state.heartbeat.cancel.cancel();
                hung.push(index);
            }
            !hangs
        });
        if !hung.is_empty() {
            self.fill();
        }
        hung
    }
}

impl Drop for Decoders {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A decoder thread.
struct DecodeWorker {
    decoding: Arc<Decoding>,
    cancel: CancelToken,
    queue: Receiver<(usize, Source)>,
    clip_tokens: Taker,
    sender: Sender<Event>,
    state: Arc<WorkerState>,
    id: usize,
}

impl DecodeWorker {
    /// Main loop: decodes one source after the other.
    fn work(&self) {
        loop {
            let Ok((index, source)) = self.queue.recv() else { return };
            if self.state.heartbeat.cancel.is_cancelled() {
                return;
            }
            self.state.heartbeat.tick();
            self.state.index.store(index, Ordering::Release);
            // A panic of the decoder fails its own source only.
            let result = catch_unwind(AssertUnwindSafe(|| self.read(index, source)));
            let result = result.unwrap_or_else(|_| Err(Cause::Panicked.into()));
            if !self.state.leave(index, IDLE)
                || self.state.heartbeat.cancel.is_cancelled()
                || self.cancel.is_cancelled()
            {
                return;
            }
            if self.send(DecodeEvent::Done(index, result)).is_none() {
                return;
            }
        }
    }

    /// Decodes one source and sends its clips.
    fn read(&self, index: usize, source: Source) -> Result<TrackInfo, Error> {
        let start = Instant::now();
        let mut waited = Duration::ZERO;
        let decoding = &*self.decoding;
        let reader =
            ClipReader::open_watched(source, &decoding.request, &decoding.resamplers, &self.state.heartbeat);
        let mut reader = match reader {
            Ok(reader) => reader,
            Err(error) => {
                decoding.stats.add(|times| times.decode += start.elapsed());
                return Err(error.into());
            }
        };
        let mut outcome = Ok(());
        for clip in &mut reader {
            let waits = Instant::now();
            outcome = clip.map_err(Error::from).and_then(|clip| {
                // Blocking on back-pressure does not count as a stall.
                if !self.state.leave(index, IDLE) {
                    return Err(Cause::Cancelled.into());
                }
                let has_room = self.clip_tokens.take() && !self.cancel.is_cancelled();
                self.state.heartbeat.tick();
                self.state.index.store(index, Ordering::Release);
                let sent = has_room.then(|| self.send(DecodeEvent::Clip(index, clip))).flatten();
                sent.ok_or_else(|| Cause::Cancelled.into())
            });
            waited += waits.elapsed();
            if outcome.is_err() {
                break;
            }
        }
        let resample = reader.resample_time();
        decoding.stats.add(|times| {
            times.resample += resample;
            times.decode += start.elapsed().saturating_sub(resample + waited);
            times.decode_waits += waited;
        });
        outcome?;
        let warnings = reader.warnings();
        Ok(TrackInfo { track_s: reader.track_seconds(), decoder: reader.decoder_name(), warnings })
    }

    fn send(&self, decoded: DecodeEvent) -> Option<()> {
        self.sender.send(Event::Decoded(self.id, decoded)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_finishes_or_is_abandoned_but_not_both() {
        let state = |index| WorkerState { heartbeat: Heartbeat::default(), index: AtomicUsize::new(index) };
        let finished = state(5);
        assert!(finished.leave(5, IDLE) && !finished.leave(5, ABANDONED));
        let abandoned = state(5);
        assert!(abandoned.leave(5, ABANDONED) && !abandoned.leave(5, IDLE));
    }
}
