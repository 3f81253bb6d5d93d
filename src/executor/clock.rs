//! Source of time for executors.

use std::fmt;
use std::time::Duration;

use crate::instant::Instant;

/// Monotonic clock.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Time since an arbitrary fixed moment.
    fn now(&self) -> Duration;
}

/// The clock of the platform.
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
