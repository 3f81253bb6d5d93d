//! Thread that computes the updates of a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::input::StreamCounters;
use super::state::{Stream, StreamUpdate};
use crate::error::{Cause, Error};

/// Number of updates that wait for the caller; then the oldest is dropped, or, with every hop wanted, the thread waits.
const MAX_WAITING: usize = 64;
/// Longest time between two looks at the ring buffer. The audio thread cannot signal without a system call.
const MAX_PAUSE_S: f64 = 0.05;

/// Result of a hop.
type UpdateResult = Result<StreamUpdate, Error>;

/// Result of a hop, with the position of the reset before it.
type SentUpdate = (u64, UpdateResult);

/// Handle of a stream that runs on a thread of its own ([`Stream::spawn`]). Dropping it stops the thread, and waits for
/// the window that is being computed.
#[derive(Debug)]
pub struct StreamWorker {
    updates: Receiver<SentUpdate>,
    counters: Arc<StreamCounters>,
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stream {
    /// Starts a thread that does the work; updates are taken from the returned handle.
    ///
    /// # Errors
    /// [`ErrorKind::Resource`](crate::ErrorKind::Resource) if no thread can be started.
    pub fn spawn(self) -> Result<StreamWorker, Error> {
        StreamWorker::new(self)
    }
}

impl StreamWorker {
    fn new(stream: Stream) -> Result<StreamWorker, Error> {
        let (sender, updates) = bounded(MAX_WAITING);
        let counters = stream.counters().clone();
        let is_stopped = Arc::new(AtomicBool::new(false));
        let (oldest, stop) = (updates.clone(), is_stopped.clone());
        let thread = thread::Builder::new()
            .name("tagwave-stream".into())
            .spawn(move || run(stream, &sender, &oldest, &stop))
            .map_err(|error| Cause::Threads { what: "a stream", reason: error.to_string() })?;
        Ok(StreamWorker { updates, counters, is_stopped, thread: Some(thread) })
    }

    /// The next update if there is one; returns at once.
    ///
    /// # Errors
    /// As [`Stream::pump`].
    pub fn try_next(&self) -> Result<Option<StreamUpdate>, Error> {
        while let Ok(sent) = self.updates.try_recv() {
            if let Some(update) = self.current(sent) {
                return update.map(Some);
            }
        }
        Ok(None)
    }

    /// Waits at most `limit` for the next update; `None` if there was none, or none will come.
    ///
    /// # Errors
    /// As [`Stream::pump`].
    pub fn next_timeout(&self, limit: Duration) -> Result<Option<StreamUpdate>, Error> {
        let start = Instant::now();
        loop {
            match self.updates.recv_timeout(limit.saturating_sub(start.elapsed())) {
                Ok(sent) => {
                    if let Some(update) = self.current(sent) {
                        return update.map(Some);
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
    }

    /// The update, unless the input was reset after it.
    fn current(&self, (reset, update): SentUpdate) -> Option<UpdateResult> {
        (reset == self.counters.reset_at.load(Ordering::Acquire)).then_some(update)
    }

    /// True after the last update: the input was dropped, and all updates are taken.
    pub fn has_ended(&self) -> bool {
        self.updates.is_empty() && self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

/// Waits for updates until the input is dropped.
impl Iterator for StreamWorker {
    type Item = UpdateResult;

    fn next(&mut self) -> Option<UpdateResult> {
        loop {
            let sent = self.updates.recv().ok()?;
            if let Some(update) = self.current(sent) {
                return Some(update);
            }
        }
    }
}

impl Drop for StreamWorker {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // The thread may wait for room.
            while !thread.is_finished() {
                while self.updates.try_recv().is_ok() {}
                thread.thread().unpark();
                thread::sleep(Duration::from_millis(1));
            }
            // A panic there was reported by its hook.
            let _ = thread.join();
        }
    }
}

fn run(
    mut stream: Stream,
    sender: &Sender<SentUpdate>,
    oldest: &Receiver<SentUpdate>,
    is_stopped: &AtomicBool,
) {
    let pause = Duration::from_secs_f64((stream.config().hop_s / 8.0).min(MAX_PAUSE_S));
    while !is_stopped.load(Ordering::Acquire) {
        let update = match stream.pump_blocking() {
            Ok(Some(update)) => Ok(update),
            Ok(None) if stream.has_ended() => return,
            Ok(None) => {
                thread::park_timeout(pause);
                continue;
            }
            Err(error) => Err(error),
        };
        if sender.is_full() && !stream.config().every_hop {
            let _ = oldest.try_recv();
        }
        if sender.send((stream.reset_done(), update)).is_err() {
            return;
        }
    }
}
