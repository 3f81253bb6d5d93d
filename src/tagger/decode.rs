//! Decoder threads: sources in, clips out. A stalled thread is abandoned and replaced.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::CancelToken;
use super::stats::Stats;
use crate::audio::{Clip, ClipReader, ClipRequest, Heartbeat, Resamplers, Source};
use crate::error::Error;

/// Function that starts a detached thread; tests use one that fails.
pub(super) type Spawn = fn(thread::Builder, Box<dyn FnOnce() + Send>) -> io::Result<()>;

/// Starts a detached thread with [`thread::Builder::spawn`].
pub(super) fn spawn(builder: thread::Builder, work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    builder.spawn(work).map(drop)
}

/// Settings and shared state of decoder threads; outlives the tagger if a thread hangs.
#[derive(Debug)]
pub(super) struct Decoding {
    pub(super) request: ClipRequest,
    pub(super) resamplers: Resamplers,
    pub(super) cancel: CancelToken,
    pub(super) stats: Stats,
    /// Maximum time without a heartbeat.
    pub(super) decoder_timeout: Duration,
    pub(super) spawn: Spawn,
}

/// Event of a decoder thread: source index, and a clip or the end of the source.
pub(super) enum DecodeEvent {
    Clip(usize, Clip),
    Done(usize, Result<TrackInfo, Error>),
}

/// Properties of a track, known after its clips are read.
pub(super) struct TrackInfo {
    pub(super) track_s: Option<f64>,
    pub(super) decoder: &'static str,
    pub(super) warnings: Vec<String>,
}

/// Queue of sources for the decoder threads.
pub(super) type SourceQueue = Arc<Mutex<Receiver<(usize, Source)>>>;

/// Semaphore that limits the number of clips in memory.
#[derive(Debug)]
pub(super) struct ClipPermits {
    free: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl ClipPermits {
    pub(super) fn new(clips: usize) -> Arc<ClipPermits> {
        Arc::new(ClipPermits { free: Mutex::new((clips, false)), changed: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, (usize, bool)> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a permit; `false` once the semaphore is closed.
    fn acquire(&self) -> bool {
        let mut free = self.lock();
        while free.0 == 0 && !free.1 {
            free = self.changed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        free.0 = free.0.saturating_sub(1);
        !free.1
    }

    pub(super) fn release(&self, clips: usize) {
        self.lock().0 += clips;
        self.changed.notify_all();
    }

    /// Closes the semaphore and wakes all waiting threads.
    pub(super) fn close(&self) {
        self.lock().1 = true;
        self.changed.notify_all();
    }
}

/// Handle of a decoder thread.
struct Worker {
    id: usize,
    state: Arc<WorkerState>,
    /// Number of heartbeat ticks, and the time of the last change.
    seen: (u64, Instant),
}

/// State shared with a decoder thread.
struct WorkerState {
    heartbeat: Heartbeat,
    /// Index of the source that is being decoded, or [`IDLE`].
    index: AtomicUsize,
}

const IDLE: usize = usize::MAX;

/// Pool of decoder threads with a watchdog.
pub(super) struct Decoders<M> {
    decoding: Arc<Decoding>,
    queue: SourceQueue,
    permits: Arc<ClipPermits>,
    sender: Sender<M>,
    wrap: fn(usize, DecodeEvent) -> M,
    workers: Vec<Worker>,
    next_id: usize,
    /// Requested number of threads.
    wanted: usize,
    /// Error of the last thread that could not be started.
    spawn_error: Option<String>,
}

impl<M: Send + 'static> Decoders<M> {
    /// Starts `threads` threads, or as many as the system allows. Events are sent as `wrap(thread id, event)`.
    pub(super) fn start(
        decoding: Arc<Decoding>,
        queue: SourceQueue,
        permits: Arc<ClipPermits>,
        sender: Sender<M>,
        wrap: fn(usize, DecodeEvent) -> M,
        threads: usize,
    ) -> Decoders<M> {
        let mut decoders = Decoders {
            decoding,
            queue,
            permits,
            sender,
            wrap,
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
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let error = || Error::Threads { what: "decoding", reason: reason.to_string() };
        queue.try_iter().map(|(index, _)| (index, error())).collect()
    }

    fn spawn_worker(&mut self) -> io::Result<()> {
        let id = self.next_id;
        self.next_id += 1;
        let state = Arc::new(WorkerState { heartbeat: Heartbeat::default(), index: AtomicUsize::new(IDLE) });
        let thread = DecodeWorker {
            decoding: self.decoding.clone(),
            queue: self.queue.clone(),
            permits: self.permits.clone(),
            sender: self.sender.clone(),
            state: state.clone(),
            wrap: self.wrap,
            id,
        };
        // By its name a program can recognise a panic of a decoder.
        let builder = thread::Builder::new().name(super::DECODER_THREAD.into());
        (self.decoding.spawn)(builder, Box::new(move || thread.work()))?;
        self.workers.push(Worker { id, state, seen: (0, Instant::now()) });
        Ok(())
    }

    /// True if the thread has not been replaced.
    pub(super) fn is_current(&self, id: usize) -> bool {
        self.workers.iter().any(|worker| worker.id == id)
    }

    /// Abandons threads without a heartbeat, starts new ones, and returns the sources of the abandoned ones.
    pub(super) fn replace_stalled(&mut self) -> Vec<usize> {
        let (now, decoder_timeout) = (Instant::now(), self.decoding.decoder_timeout);
        let mut hung = Vec::new();
        self.workers.retain_mut(|worker| {
            let index = worker.state.index.load(Ordering::Acquire);
            let beats = worker.state.heartbeat.ticks();
            if index == IDLE || beats != worker.seen.0 {
                worker.seen = (beats, now);
            }
            let hangs = now.duration_since(worker.seen.1) > decoder_timeout;
            if hangs {
                // If the thread continues, it ends by itself.
                worker.state.heartbeat.stop();
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

impl<M> Drop for Decoders<M> {
    fn drop(&mut self) {
        self.permits.close();
        self.workers.iter().for_each(|worker| worker.state.heartbeat.stop());
    }
}

/// A decoder thread.
struct DecodeWorker<M> {
    decoding: Arc<Decoding>,
    queue: SourceQueue,
    permits: Arc<ClipPermits>,
    sender: Sender<M>,
    state: Arc<WorkerState>,
    wrap: fn(usize, DecodeEvent) -> M,
    id: usize,
}

impl<M> DecodeWorker<M> {
    /// Main loop: decodes one source after the other.
    fn work(&self) {
        loop {
            let job = self.queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((index, source)) = job else { return };
            self.state.heartbeat.tick();
            self.state.index.store(index, Ordering::Release);
            // A panic of the decoder fails its own source only.
            let result = catch_unwind(AssertUnwindSafe(|| self.read(index, source)));
            self.state.index.store(IDLE, Ordering::Release);
            let result = result.unwrap_or(Err(Error::Panicked));
            if self.state.heartbeat.is_stopped() || self.decoding.cancel.is_cancelled() {
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
                self.state.index.store(IDLE, Ordering::Release);
                let permits = self.permits.acquire() && !decoding.cancel.is_cancelled();
                self.state.heartbeat.tick();
                self.state.index.store(index, Ordering::Release);
                let sent = permits.then(|| self.send(DecodeEvent::Clip(index, clip))).flatten();
                sent.ok_or(Error::Cancelled)
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
        let warnings = reader.warnings().iter().map(ToString::to_string).collect();
        Ok(TrackInfo { track_s: reader.track_seconds(), decoder: reader.decoder_name(), warnings })
    }

    fn send(&self, decoded: DecodeEvent) -> Option<()> {
        self.sender.send((self.wrap)(self.id, decoded)).ok()
    }
}
