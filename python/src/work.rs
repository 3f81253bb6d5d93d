//! Work on threads of its own, while the calling thread looks for signals.

use std::collections::BTreeMap;
use std::process;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use pyo3::prelude::*;
use tagwave::{CancelToken, ErrorKind};

use crate::errors;

/// Longest time for which a signal such as Ctrl-C is not seen.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(50);
/// Longest wait at the end of the interpreter.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);

/// Threads that are running, for the end of the interpreter: a process that exits under a thread that uses a driver may
/// crash.
static RUNNING: Running =
    Running { process: OnceLock::new(), threads: Mutex::new((0, BTreeMap::new())), ended: Condvar::new() };

struct Running {
    /// The process whose threads these are.
    process: OnceLock<u32>,
    /// The next number, and the token of each thread by its number.
    threads: Mutex<(u64, BTreeMap<u64, CancelToken>)>,
    ended: Condvar,
}

impl Running {
    fn threads(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, CancelToken>)> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Entry of a thread in [`RUNNING`].
struct Entry(u64);

impl Entry {
    fn new(cancel: CancelToken) -> Entry {
        RUNNING.process.get_or_init(process::id);
        let mut threads = RUNNING.threads();
        let number = threads.0;
        threads.0 += 1;
        threads.1.insert(number, cancel);
        Entry(number)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        RUNNING.threads().1.remove(&self.0);
        RUNNING.ended.notify_all();
    }
}

/// Runs `work`, which ends soon after `cancel` is cancelled, on a thread.
pub(crate) fn spawn(cancel: CancelToken, work: impl FnOnce() + Send + 'static) -> PyResult<()> {
    let entry = Entry::new(cancel);
    let run = move || {
        let _entry = entry;
        work();
    };
    thread::Builder::new().name("tagwave".into()).spawn(run).map(drop).map_err(|error| {
        errors::other(
            format!("cannot start a thread: {error}: end other programs, or raise the limit on threads"),
            ErrorKind::Resource,
        )
    })
}

/// Runs `work` on a thread and waits for its result. On a signal the token is cancelled, and its exception is raised at
/// once.
pub(crate) fn run<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce(&CancelToken) -> T + Send + 'static,
) -> PyResult<T> {
    let (sender, receiver) = bounded(1);
    let cancel = CancelToken::new();
    let token = cancel.clone();
    spawn(cancel.clone(), move || {
        // Fails if the caller no longer waits.
        let _ = sender.send(work(&token));
    })?;
    match receive(py, &receiver, None) {
        Ok(Some(result)) => Ok(result),
        Ok(None) => Err(panicked()),
        Err(interrupt) => {
            cancel.cancel();
            Err(interrupt)
        }
    }
}

/// Waits for a message, at most for `limit`; `None` if there is none in time, or none will come.
///
/// # Errors
/// The exception of a signal.
pub(crate) fn receive<T: Send>(
    py: Python<'_>,
    receiver: &Receiver<T>,
    limit: Option<Duration>,
) -> PyResult<Option<T>> {
    poll(py, limit, |pause| match receiver.recv_timeout(pause) {
        Ok(message) => Some(Some(message)),
        Err(RecvTimeoutError::Disconnected) => Some(None),
        Err(RecvTimeoutError::Timeout) => None,
    })
    .map(Option::flatten)
}

/// Calls `wait`, which takes at most the time given to it, until it has a result or `limit` is over.
///
/// # Errors
/// The exception of a signal.
pub(crate) fn poll<T: Send>(
    py: Python<'_>,
    limit: Option<Duration>,
    mut wait: impl FnMut(Duration) -> Option<T> + Send,
) -> PyResult<Option<T>> {
    let start = Instant::now();
    loop {
        let left = limit.map(|limit| limit.saturating_sub(start.elapsed()));
        let pause = left.map_or(SIGNAL_INTERVAL, |left| left.min(SIGNAL_INTERVAL));
        if let Some(result) = py.detach(|| wait(pause)) {
            return Ok(Some(result));
        }
        py.check_signals()?;
        if left.is_some_and(|left| left <= pause) {
            return Ok(None);
        }
    }
}

/// Error of a thread that ended without a result.
pub(crate) fn panicked() -> PyErr {
    errors::other("tagwave panicked: this is a bug, please report it", ErrorKind::Internal)
}

/// Ends all work, at the end of the interpreter. Waits for batches on devices, at most 5 s.
#[pyfunction]
pub(crate) fn finish(py: Python<'_>) {
    if RUNNING.process.get() != Some(&process::id()) {
        return;
    }
    py.detach(|| {
        let threads = RUNNING.threads();
        threads.1.values().for_each(CancelToken::cancel);
        // A thread that does not end is left behind.
        let _ = RUNNING.ended.wait_timeout_while(threads, FINISH_TIMEOUT, |threads| !threads.1.is_empty());
    });
}
