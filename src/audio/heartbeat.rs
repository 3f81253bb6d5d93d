//! Heartbeat of a decoder thread, seen by its watchdog.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::AudioError;
use crate::cancel::CancelToken;

/// Heartbeat of a decoder, with its cancellation. The decoder ticks once per packet; a watchdog that sees no tick for a
/// while knows that the decoder hangs, and can cancel it. Clones share the state.
#[derive(Clone, Debug, Default)]
pub struct Heartbeat {
    ticks: Arc<AtomicU64>,
    /// Cancelled: reading fails with [`AudioError::Cancelled`] at the next packet.
    pub cancel: CancelToken,
}

impl Heartbeat {
    /// Records that the decoder made progress.
    pub fn tick(&self) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
    }

    /// Number of ticks so far.
    pub fn ticks(&self) -> u64 {
        self.ticks.load(Ordering::Relaxed)
    }

    /// Ticks, or fails with [`AudioError::Cancelled`] after a cancellation.
    pub(super) fn check(&self) -> Result<(), AudioError> {
        self.tick();
        if self.cancel.is_cancelled() { Err(AudioError::Cancelled) } else { Ok(()) }
    }
}
