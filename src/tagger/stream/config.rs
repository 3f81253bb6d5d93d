//! Settings of a stream.

use crate::audio::{MAX_CHANNELS, check_rate};
use crate::error::{Cause, Error};

/// Shortest and longest hop in seconds.
const HOPS_S: std::ops::RangeInclusive<f64> = 0.05..=3600.0;
/// Longest ring buffer in samples: 256 MB.
const MAX_RING: usize = 64 << 20;

/// Settings of a [`Stream`](super::Stream).
#[derive(Clone, Debug)]
pub struct StreamConfig {
    pub(super) sample_rate_hz: u32,
    pub(super) channels: usize,
    pub(super) hop_s: f64,
    pub(super) window_s: Option<f64>,
    pub(super) buffer_s: f64,
    pub(super) smoothing_s: f64,
    pub(super) every_hop: bool,
}

impl StreamConfig {
    /// Settings for audio of `sample_rate_hz` with `channels` channels: a hop of 1 s, windows of one clip of the model, a
    /// buffer of 4 s, no smoothing.
    pub fn new(sample_rate_hz: u32, channels: usize) -> StreamConfig {
        StreamConfig {
            sample_rate_hz,
            channels,
            hop_s: 1.0,
            window_s: None,
            buffer_s: 4.0,
            smoothing_s: 0.0,
            every_hop: false,
        }
    }

    /// Sets the time between updates in seconds, 0.05 to 3600.
    pub fn hop_s(mut self, seconds: f64) -> Self {
        self.hop_s = seconds;
        self
    }

    /// Sets the length of the window that an update describes, in seconds; at most, and by default, one clip of the model.
    /// A shorter window reacts faster; it is padded as a short track is, and its tags are less certain.
    pub fn window_s(mut self, seconds: f64) -> Self {
        self.window_s = Some(seconds);
        self
    }

    /// Sets how many seconds of audio wait between [`StreamInput`](super::StreamInput) and [`Stream`](super::Stream).
    pub fn buffer_s(mut self, seconds: f64) -> Self {
        self.buffer_s = seconds;
        self
    }

    /// Sets the time constant of exponential smoothing of the scores in seconds; 0 for none.
    pub fn smoothing_s(mut self, seconds: f64) -> Self {
        self.smoothing_s = seconds;
        self
    }

    /// With `true`, every hop gives an update, however late: for input that can wait, such as a file. With `false`, the
    /// default, hops are skipped if the device is too slow, so that updates describe what is heard now.
    pub fn every_hop(mut self, every_hop: bool) -> Self {
        self.every_hop = every_hop;
        self
    }

    /// Capacity of the ring buffer in samples of all channels.
    pub(super) fn ring_samples(&self) -> usize {
        let frames = (self.buffer_s * f64::from(self.sample_rate_hz)).ceil() as usize;
        frames.max(1) * self.channels
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        check_rate(self.sample_rate_hz)?;
        let refuse = |field, found: String, expected: &str| {
            Err(Cause::Stream { field, found, expected: expected.into() }.into())
        };
        let is_positive = |seconds: f64| seconds.is_finite() && seconds > 0.0;
        if self.channels == 0 || self.channels > MAX_CHANNELS {
            return refuse("channels", self.channels.to_string(), &format!("1 to {MAX_CHANNELS}"));
        }
        if !HOPS_S.contains(&self.hop_s) {
            return refuse("hop", format!("{} s", self.hop_s), "0.05 to 3600 s");
        }
        if let Some(window_s) = self.window_s.filter(|&window_s| !is_positive(window_s)) {
            return refuse("window", format!("{window_s} s"), "more than 0 s");
        }
        if !is_positive(self.buffer_s) || self.ring_samples() > MAX_RING {
            return refuse("buffer", format!("{} s", self.buffer_s), "more than 0 s and at most 256 MB");
        }
        if !(self.smoothing_s.is_finite() && self.smoothing_s >= 0.0) {
            return refuse("smoothing", format!("{} s", self.smoothing_s), "0 s or more");
        }
        Ok(())
    }
}
