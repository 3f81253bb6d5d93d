//! Batch in flight: its result arrives from a device callback or a worker thread.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::{ExecuteError, PlanOutputs};

/// Result of a batch.
type BatchResult = Result<PlanOutputs, ExecuteError>;

/// Callback of a submission.
type Callback = Box<dyn FnOnce() + Send>;

/// Device of a submission: delivers its completion when polled.
pub trait Driver: fmt::Debug + Send + Sync {
    /// Delivers completions that have happened; returns at once. Does nothing on a device that its owner polls.
    fn poll(&self);

    /// Makes sure that completions are delivered without further calls. Does nothing on a device that its owner polls.
    fn poll_in_background(&self);

    /// Waits until the submission is complete, for at most `limit`, and delivers completions.
    ///
    /// # Errors
    /// [`ExecuteError::NotResponding`] after `limit`, [`ExecuteError::Failed`] if the device is lost.
    fn wait(&self, limit: Duration) -> Result<(), ExecuteError>;
}

/// Batch in flight. Dropping it cancels work that has not begun.
#[must_use = "a dropped submission is cancelled"]
pub struct Submission {
    slot: Arc<Slot>,
    driver: Option<Arc<dyn Driver>>,
    timeout: Duration,
}

/// Place of the result; locked for the length of a move only.
struct Slot(Mutex<SlotState>);

enum SlotState {
    Waiting {
        callbacks: Vec<Callback>,
        /// Task that polled last.
        waker: Option<Waker>,
    },
    Ready(BatchResult),
    Taken,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, SlotState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Submission {
    /// A submission and the promise of its result. `driver` is the device, `None` for threads that need no polling;
    /// `timeout` limits blocking waits.
    pub fn new(driver: Option<Arc<dyn Driver>>, timeout: Duration) -> (Submission, Promise) {
        let slot = Arc::new(Slot(Mutex::new(SlotState::Waiting { callbacks: Vec::new(), waker: None })));
        (Submission { slot: slot.clone(), driver, timeout }, Promise(Some(slot)))
    }

    /// A submission that is complete.
    pub fn ready(result: BatchResult) -> Submission {
        let slot = Arc::new(Slot(Mutex::new(SlotState::Ready(result))));
        Submission { slot, driver: None, timeout: Duration::MAX }
    }

    /// True if the result has arrived. Does not poll the device.
    pub fn is_ready(&self) -> bool {
        !matches!(*self.slot.lock(), SlotState::Waiting { .. })
    }

    /// Takes the result if it has arrived, and `None` otherwise. Polls a device that tagwave opened.
    ///
    /// After the result was taken it is [`ExecuteError::Cancelled`].
    pub fn try_take(&mut self) -> Option<BatchResult> {
        if let (false, Some(driver)) = (self.is_ready(), &self.driver) {
            driver.poll();
        }
        self.take()
    }

    fn take(&self) -> Option<BatchResult> {
        let mut state = self.slot.lock();
        match &*state {
            SlotState::Waiting { .. } => None,
            SlotState::Taken => Some(Err(ExecuteError::Cancelled)),
            SlotState::Ready(_) => match std::mem::replace(&mut *state, SlotState::Taken) {
                SlotState::Ready(result) => Some(result),
                _ => None,
            },
        }
    }

    /// Calls `callback` once the result has arrived, at once if it has. The callback runs on the thread that polls the
    /// device: that of the caller on a device of the caller, else a thread of tagwave. It must not block.
    pub fn on_ready(&self, callback: impl FnOnce() + Send + 'static) {
        self.notify(callback);
        self.poll_in_background();
    }

    /// Adds a callback without polling in the background.
    pub(super) fn notify(&self, callback: impl FnOnce() + Send + 'static) {
        let mut state = self.slot.lock();
        if let SlotState::Waiting { callbacks, .. } = &mut *state {
            callbacks.push(Box::new(callback));
            return;
        }
        drop(state);
        callback();
    }

    /// Has the completion delivered without further calls, if it has not arrived.
    fn poll_in_background(&self) {
        if let (false, Some(driver)) = (self.is_ready(), &self.driver) {
            driver.poll_in_background();
        }
    }

    pub(super) fn driver(&self) -> Option<&dyn Driver> {
        self.driver.as_deref()
    }

    /// Timeout of a blocking wait.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }
}

impl Drop for Submission {
    fn drop(&mut self) {
        // Buffers of work on the device are freed when its completion is delivered.
        self.poll_in_background();
    }
}

impl fmt::Debug for Submission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submission").field("ready", &self.is_ready()).finish_non_exhaustive()
    }
}

impl Future for Submission {
    type Output = BatchResult;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<BatchResult> {
        if let Some(result) = self.try_take() {
            return Poll::Ready(result);
        }
        if let SlotState::Waiting { waker, .. } = &mut *self.slot.lock() {
            match waker {
                Some(waker) => waker.clone_from(context.waker()),
                None => *waker = Some(context.waker().clone()),
            }
        }
        // It may have arrived before the waker was set.
        if let Some(result) = self.take() {
            return Poll::Ready(result);
        }
        self.poll_in_background();
        Poll::Pending
    }
}

/// The right to complete a submission. Dropped without a result, it completes with [`ExecuteError::Cancelled`].
pub struct Promise(Option<Arc<Slot>>);

impl Promise {
    /// True if the submission was dropped: nobody wants the result.
    pub fn is_abandoned(&self) -> bool {
        self.0.as_ref().is_none_or(|slot| Arc::strong_count(slot) == 1)
    }

    /// Delivers the result and runs the callbacks.
    pub fn complete(mut self, result: BatchResult) {
        self.deliver(result);
    }

    fn deliver(&mut self, result: BatchResult) {
        let Some(slot) = self.0.take() else { return };
        let before = std::mem::replace(&mut *slot.lock(), SlotState::Ready(result));
        if let SlotState::Waiting { callbacks, waker } = before {
            callbacks.into_iter().for_each(|callback| callback());
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.deliver(Err(ExecuteError::Cancelled));
    }
}

impl fmt::Debug for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Promise").field("abandoned", &self.is_abandoned()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    fn submission() -> (Submission, Promise) {
        Submission::new(None, Duration::MAX)
    }

    #[test]
    fn a_result_is_taken_once() {
        let (mut submission, promise) = submission();
        assert!(!submission.is_ready() && submission.try_take().is_none());
        promise.complete(Ok(PlanOutputs::default()));
        assert!(submission.is_ready());
        assert!(matches!(submission.try_take(), Some(Ok(_))));
        assert!(matches!(submission.try_take(), Some(Err(ExecuteError::Cancelled))));
    }

    #[test]
    fn a_dropped_promise_is_an_error_and_a_dropped_submission_is_noticed() {
        let (mut waiting, promise) = submission();
        assert!(!promise.is_abandoned());
        drop(promise);
        assert!(matches!(waiting.try_take(), Some(Err(ExecuteError::Cancelled))));
        let (waiting, promise) = submission();
        drop(waiting);
        assert!(promise.is_abandoned());
        promise.complete(Ok(PlanOutputs::default()));
    }

    #[test]
    fn callbacks_run_before_and_after_completion() {
        let called = Arc::new(AtomicUsize::new(0));
        let count = |called: &Arc<AtomicUsize>| {
            let called = called.clone();
            move || {
                called.fetch_add(1, Ordering::Relaxed);
            }
        };
        let (submission, promise) = submission();
        submission.on_ready(count(&called));
        assert_eq!(called.load(Ordering::Relaxed), 0);
        promise.complete(Ok(PlanOutputs::default()));
        submission.on_ready(count(&called));
        assert_eq!(called.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_future_that_is_polled_often_keeps_one_waker() {
        struct Count(AtomicUsize);
        impl std::task::Wake for Count {
            fn wake(self: Arc<Count>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(count.clone());
        let mut context = Context::from_waker(&waker);
        let (mut submission, promise) = submission();
        for _ in 0..100 {
            assert!(Pin::new(&mut submission).poll(&mut context).is_pending());
        }
        promise.complete(Ok(PlanOutputs::default()));
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(Pin::new(&mut submission).poll(&mut context).is_ready());
    }

    /// Completion, callbacks, futures and drops race on two threads; every callback runs once and nothing hangs.
    #[test]
    fn races() {
        let called = Arc::new(AtomicUsize::new(0));
        const ROUNDS: usize = 2000;
        for round in 0..ROUNDS {
            let (submission, promise) = submission();
            let counter = called.clone();
            let completer = thread::spawn(move || match round % 3 {
                0 => promise.complete(Ok(PlanOutputs::default())),
                1 => promise.complete(Err(ExecuteError::Failed { reason: "test".into() })),
                _ => drop(promise),
            });
            submission.on_ready(move || {
                counter.fetch_add(1, Ordering::Relaxed);
            });
            if round % 2 == 0 {
                let result = pollster::block_on(submission);
                assert_eq!(result.is_ok(), round % 3 == 0, "round {round}");
            }
            completer.join().unwrap();
        }
        assert_eq!(called.load(Ordering::Relaxed), ROUNDS);
    }
}
