//! A sign of life from whoever decodes, and a word to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::error::AudioError;

/// Beats as packets are read; clones share it. Who watches can tell work from a hang, and ask for an end.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<State>);

#[derive(Debug, Default)]
struct State {
    beats: AtomicU64,
    stopped: AtomicBool,
}

impl Pulse {
    /// Shows that something was done.
    pub fn beat(&self) {
        self.0.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// Signs of life so far.
    pub fn beats(&self) -> u64 {
        self.0.beats.load(Ordering::Relaxed)
    }

    /// Asks for an end: reading fails at the next packet.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether an end was asked for.
    pub fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::Relaxed)
    }

    /// Beats, or ends what is being done.
    pub(super) fn go_on(&self) -> Result<(), AudioError> {
        self.beat();
        if self.is_stopped() { Err(AudioError::Stopped) } else { Ok(()) }
    }
}
