//! Heartbeat and cancellation flag shared by a decoder thread and its watchdog.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::error::AudioError;

/// Heartbeat and cancellation flag of a decoder. The decoder ticks once per packet; a watchdog that sees no tick for a
/// while knows that the decoder hangs, and can ask it to stop. Clones share the state.
#[derive(Clone, Debug, Default)]
pub struct Heartbeat(Arc<State>);

#[derive(Debug, Default)]
struct State {
    ticks: AtomicU64,
    stopped: AtomicBool,
}

impl Heartbeat {
    /// Records that the decoder made progress.
    pub fn tick(&self) {
        self.0.ticks.fetch_add(1, Ordering::Relaxed);
    }

    /// Number of ticks so far.
    pub fn ticks(&self) -> u64 {
        self.0.ticks.load(Ordering::Relaxed)
    }

    /// Requests a stop: reading fails with [`AudioError::Stopped`] at the next packet.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }

    /// True once a stop was requested.
    pub fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::Relaxed)
    }

    /// Ticks, or fails with [`AudioError::Stopped`] if a stop was requested.
    pub(super) fn check_stopped(&self) -> Result<(), AudioError> {
        self.tick();
        if self.is_stopped() { Err(AudioError::Stopped) } else { Ok(()) }
    }
}
