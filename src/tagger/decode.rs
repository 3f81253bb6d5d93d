//! The decoding threads: sources in, clips out. One that hangs is left behind and replaced.

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

/// Starts a thread that nobody joins; tests put one here that fails.
pub(super) type Spawn = fn(thread::Builder, Box<dyn FnOnce() + Send>) -> io::Result<()>;

/// [`thread::Builder::spawn`].
pub(super) fn spawn(builder: thread::Builder, work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    builder.spawn(work).map(drop)
}

/// What decoding needs to know; outlives the tagger if a thread hangs.
#[derive(Debug)]
pub(super) struct Decoding {
    pub(super) request: ClipRequest,
    pub(super) resamplers: Resamplers,
    pub(super) cancel: CancelToken,
    pub(super) stats: Stats,
    /// How long a decoder may work without a sign of life.
    pub(super) patience: Duration,
    pub(super) spawn: Spawn,
}

/// What a decoding thread has to say of source `index`.
pub(super) enum Decoded {
    Clip(usize, Clip),
    Done(usize, Result<Ending, Error>),
}

/// What is known of a track once its clips are read.
pub(super) struct Ending {
    pub(super) track_s: Option<f64>,
    pub(super) decoder: &'static str,
    pub(super) warnings: Vec<String>,
}

/// Sources that wait for a thread.
pub(super) type Jobs = Arc<Mutex<Receiver<(usize, Source)>>>;

/// How many clips may exist at a time: the bound on memory.
#[derive(Debug)]
pub(super) struct Room {
    free: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl Room {
    pub(super) fn new(clips: usize) -> Arc<Room> {
        Arc::new(Room { free: Mutex::new((clips, false)), changed: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, (usize, bool)> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place; `false` once nobody wants clips any more.
    fn take(&self) -> bool {
        let mut free = self.lock();
        while free.0 == 0 && !free.1 {
            free = self.changed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        free.0 = free.0.saturating_sub(1);
        !free.1
    }

    pub(super) fn give_back(&self, clips: usize) {
        self.lock().0 += clips;
        self.changed.notify_all();
    }

    /// Nobody waits any longer.
    pub(super) fn close(&self) {
        self.lock().1 = true;
        self.changed.notify_all();
    }
}

/// A decoding thread as the collector sees it.
struct Worker {
    id: usize,
    seat: Arc<Seat>,
    /// Signs of life, and when the last one was seen.
    seen: (u64, Instant),
}

/// What a thread is doing.
struct Seat {
    heartbeat: Heartbeat,
    /// The source that is being decoded, or [`IDLE`].
    index: AtomicUsize,
}

const IDLE: usize = usize::MAX;

/// The threads, under watch.
pub(super) struct Decoders<M> {
    decoding: Arc<Decoding>,
    jobs: Jobs,
    room: Arc<Room>,
    sender: Sender<M>,
    wrap: fn(usize, Decoded) -> M,
    workers: Vec<Worker>,
    next_id: usize,
    /// Threads that there should be.
    wanted: usize,
    /// Why the last thread could not be started.
    refusal: Option<String>,
}

impl<M: Send + 'static> Decoders<M> {
    /// Starts `threads` of them, or as many as the system allows; each message is wrapped together with the number of
    /// its thread.
    pub(super) fn start(
        decoding: Arc<Decoding>,
        jobs: Jobs,
        room: Arc<Room>,
        sender: Sender<M>,
        wrap: fn(usize, Decoded) -> M,
        threads: usize,
    ) -> Decoders<M> {
        let mut decoders = Decoders {
            decoding,
            jobs,
            room,
            sender,
            wrap,
            workers: Vec::new(),
            next_id: 0,
            wanted: threads,
            refusal: None,
        };
        decoders.fill();
        decoders
    }

    /// Starts the threads that are missing, as far as the system allows.
    fn fill(&mut self) {
        self.refusal = None;
        while self.workers.len() < self.wanted {
            if let Err(error) = self.hire() {
                self.refusal = Some(error.to_string());
                return;
            }
        }
    }

    /// The number of threads, and why there are not more of them where the system refused one.
    pub(super) fn shortage(&self) -> Option<(usize, &str)> {
        self.refusal.as_deref().map(|reason| (self.workers.len(), reason))
    }

    /// The sources that wait while there is no thread at all, each with the error that it ends with.
    pub(super) fn refused(&mut self) -> Vec<(usize, Error)> {
        if !self.workers.is_empty() {
            return Vec::new();
        }
        // The system may have recovered.
        self.fill();
        let Some((0, reason)) = self.shortage() else { return Vec::new() };
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let error = || Error::Threads { what: "decoding", reason: reason.to_string() };
        jobs.try_iter().map(|(index, _)| (index, error())).collect()
    }

    fn hire(&mut self) -> io::Result<()> {
        let id = self.next_id;
        self.next_id += 1;
        let seat = Arc::new(Seat { heartbeat: Heartbeat::default(), index: AtomicUsize::new(IDLE) });
        let thread = Thread {
            decoding: self.decoding.clone(),
            jobs: self.jobs.clone(),
            room: self.room.clone(),
            sender: self.sender.clone(),
            seat: seat.clone(),
            wrap: self.wrap,
            id,
        };
        // The name is how a program can tell a decoder's panic from its own.
        let builder = thread::Builder::new().name(super::DECODER_THREAD.into());
        (self.decoding.spawn)(builder, Box::new(move || thread.work()))?;
        self.workers.push(Worker { id, seat, seen: (0, Instant::now()) });
        Ok(())
    }

    /// Whether messages of this thread still count.
    pub(super) fn employs(&self, id: usize) -> bool {
        self.workers.iter().any(|worker| worker.id == id)
    }

    /// Leaves threads behind that show no sign of life, and returns the sources they hang on.
    pub(super) fn abandon_hung(&mut self) -> Vec<usize> {
        let (now, patience) = (Instant::now(), self.decoding.patience);
        let mut hung = Vec::new();
        self.workers.retain_mut(|worker| {
            let index = worker.seat.index.load(Ordering::Acquire);
            let beats = worker.seat.heartbeat.ticks();
            if index == IDLE || beats != worker.seen.0 {
                worker.seen = (beats, now);
            }
            let hangs = now.duration_since(worker.seen.1) > patience;
            if hangs {
                // If it comes to, it ends by itself.
                worker.seat.heartbeat.stop();
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
        self.room.close();
        self.workers.iter().for_each(|worker| worker.seat.heartbeat.stop());
    }
}

struct Thread<M> {
    decoding: Arc<Decoding>,
    jobs: Jobs,
    room: Arc<Room>,
    sender: Sender<M>,
    seat: Arc<Seat>,
    wrap: fn(usize, Decoded) -> M,
    id: usize,
}

impl<M> Thread<M> {
    /// Source after source.
    fn work(&self) {
        loop {
            let job = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((index, source)) = job else { return };
            self.seat.heartbeat.tick();
            self.seat.index.store(index, Ordering::Release);
            // A decoder that panics costs its own source only.
            let result = catch_unwind(AssertUnwindSafe(|| self.read(index, source)));
            self.seat.index.store(IDLE, Ordering::Release);
            let result = result.unwrap_or(Err(Error::Panicked));
            if self.seat.heartbeat.is_stopped() || self.decoding.cancel.is_cancelled() {
                return;
            }
            if self.send(Decoded::Done(index, result)).is_none() {
                return;
            }
        }
    }

    /// Clip after clip.
    fn read(&self, index: usize, source: Source) -> Result<Ending, Error> {
        let start = Instant::now();
        let mut waited = Duration::ZERO;
        let decoding = &*self.decoding;
        let reader =
            ClipReader::open_watched(source, &decoding.request, &decoding.resamplers, &self.seat.heartbeat);
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
                // Who waits for room does not hang.
                self.seat.index.store(IDLE, Ordering::Release);
                let room = self.room.take() && !decoding.cancel.is_cancelled();
                self.seat.heartbeat.tick();
                self.seat.index.store(index, Ordering::Release);
                let sent = room.then(|| self.send(Decoded::Clip(index, clip))).flatten();
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
        Ok(Ending { track_s: reader.track_seconds(), decoder: reader.decoder_name(), warnings })
    }

    fn send(&self, decoded: Decoded) -> Option<()> {
        self.sender.send((self.wrap)(self.id, decoded)).ok()
    }
}
