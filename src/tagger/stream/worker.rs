//! Thread that computes the updates of a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::state::{Stream, StreamUpdate};
use crate::error::{Cause, Error};

/// Number of updates that wait for the caller; then the oldest is dropped, or, with every hop wanted, the thread waits.
const MAX_WAITING: usize = 64;
/// Longest time between two looks at the ring buffer. The audio thread cannot signal without a system call.
const MAX_PAUSE_S: f64 = 0.05;

/// Result of a hop.
type UpdateResult = Result<StreamUpdate, Error>;

/// Handle of a stream that runs on a thread of its own ([`Stream::spawn`]). Dropping it stops the thread, and waits for
/// the window that is being computed.
#[derive(Debug)]
pub struct StreamWorker {
    updates: Receiver<UpdateResult>,
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
        let is_stopped = Arc::new(AtomicBool::new(false));
        let (oldest, stop) = (updates.clone(), is_stopped.clone());
        let thread = thread::Builder::new()
            .name("tagwave-stream".into())
            .spawn(move || run(stream, &sender, &oldest, &stop))
            .map_err(|error| Cause::Threads { what: "a stream", reason: error.to_string() })?;
        Ok(StreamWorker { updates, is_stopped, thread: Some(thread) })
    }

    /// The next update if there is one; returns at once.
    ///
    /// # Errors
    /// As [`Stream::pump`].
    pub fn try_next(&self) -> Result<Option<StreamUpdate>, Error> {
        self.updates.try_recv().ok().transpose()
    }

    /// Waits at most `limit` for the next update; `None` if there was none, or none will come.
    ///
    /// # Errors
    /// As [`Stream::pump`].
    pub fn next_timeout(&self, limit: Duration) -> Result<Option<StreamUpdate>, Error> {
        match self.updates.recv_timeout(limit) {
            Ok(update) => update.map(Some),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Ok(None),
        }
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
        self.updates.recv().ok()
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
    sender: &Sender<UpdateResult>,
    oldest: &Receiver<UpdateResult>,
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
        if sender.send(update).is_err() {
            return;
        }
    }
}
