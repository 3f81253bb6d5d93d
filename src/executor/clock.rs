//! Source of time for executors, because the standard clock does not exist on every target.

use std::fmt;
use std::time::{Duration, Instant};

/// Monotonic clock.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Time since an arbitrary fixed moment.
    fn now(&self) -> Duration;
}

/// The clock of the standard library.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}
