//! Events for the calling thread.

use std::sync::Arc;

use super::super::clips::{ClipOutput, TrackInfo};
use crate::audio::Clip;
use crate::error::Error;

/// Event for the calling thread.
pub(super) enum Event {
    /// Event of decoder thread `.0`.
    Decoded(usize, DecodeEvent),
    /// Total number of sources.
    Fed(usize),
    Completed(Vec<ClipOutput>),
    /// A whole batch with clips of these sources failed.
    Failed(Vec<usize>, Arc<Error>),
}

/// Event of a decoder thread: source index, and a clip or the end of the source.
pub(super) enum DecodeEvent {
    Clip(usize, Clip),
    Done(usize, Result<TrackInfo, Error>),
}
