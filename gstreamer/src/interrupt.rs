//! End of waiting.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Reason not to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Between FLUSH_START and FLUSH_STOP.
    Flushing = 0,
    /// From PAUSED to READY.
    Stopping = 1,
}

/// Flags that end the waiting of the streaming thread. Other threads set them without its locks.
#[derive(Debug, Default)]
pub(crate) struct Interrupt {
    reasons: Mutex<[bool; 2]>,
    changed: Condvar,
}

impl Interrupt {
    pub(crate) fn set(&self, reason: Reason, is_set: bool) {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner)[reason as usize] = is_set;
        self.changed.notify_all();
    }

    /// Waits for `limit`, or until there is a reason not to; true if there is one.
    pub(crate) fn wait(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if reasons.contains(&true) || left.is_zero() {
                return reasons.contains(&true);
            }
            reasons = self.changed.wait_timeout(reasons, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(crate) fn is_set(&self) -> bool {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner).contains(&true)
    }
}
