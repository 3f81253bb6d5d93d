//! Fallback resampler for rates whose ratio is not a small fraction (44 099 Hz, say): an interpolated windowed sinc
//! by `rubato`. It is not the original's filter, so the caller adds a warning. `rubato`'s default (FFT) resampler is
//! not used: from 44.1 to 12 kHz it removes everything above 4.5 kHz.

use std::collections::VecDeque;

use audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Async, FixedAsync, Resampler, SincInterpolationParameters, SincInterpolationType, WindowFunction,
};

use super::error::AudioError;

/// Input samples per call; fixed so that the result does not depend on the size of packets.
const CHUNK: usize = 1024;
/// Zero crossings of the sinc on both sides together, at the lower of the two rates.
const CROSSINGS: f64 = 192.0;
/// Maximum length of the sinc in input samples, for rates far apart.
const MAX_SINC: usize = 16_384;

/// Interpolated windowed-sinc resampler.
pub(super) struct SincResampler {
    from_hz: u32,
    to_hz: u32,
    resampler: Async<f32>,
    sinc_len: usize,
    pending: Vec<f32>,
    outputs: Vec<f32>,
    /// Output samples still to be dropped: the delay of the filter.
    delay: usize,
    /// Index of the first of `ready`.
    first_ready: u64,
    ready: VecDeque<f32>,
}

impl SincResampler {
    pub(super) fn new(from_hz: u32, to_hz: u32) -> Result<SincResampler, AudioError> {
        let ratio = f64::from(to_hz) / f64::from(from_hz);
        let sinc_len = ((CROSSINGS / ratio.min(1.0)) as usize).next_multiple_of(8).min(MAX_SINC);
        let parameters = SincInterpolationParameters::new(sinc_len, WindowFunction::BlackmanHarris2)
            .oversampling_factor(256)
            .interpolation(SincInterpolationType::Cubic);
        let resampler = Async::new_sinc(ratio, 1.0, &parameters, CHUNK, 1, FixedAsync::Input)
            .map_err(|error| AudioError::Resampler { from_hz, to_hz, reason: error.to_string() })?;
        let delay = resampler.output_delay();
        let outputs = vec![0.0; resampler.output_frames_max()];
        let (pending, ready) = (Vec::new(), VecDeque::new());
        Ok(SincResampler {
            from_hz,
            to_hz,
            resampler,
            sinc_len,
            pending,
            outputs,
            delay,
            first_ready: 0,
            ready,
        })
    }

    /// Range of input samples that output `k` depends on: first index and count.
    pub(super) fn input_range(&self, k: u64) -> (i64, usize) {
        let centre = (u128::from(k) * u128::from(self.from_hz) / u128::from(self.to_hz)) as i64;
        (centre - self.sinc_len as i64 / 2, self.sinc_len)
    }

    /// Processes input samples; output before index `needed` is discarded.
    pub(super) fn push(&mut self, x: &[f32], needed: u64) -> Result<(), AudioError> {
        // A NaN would spread over the whole sinc; the caller keeps track of non-finite samples.
        self.pending.extend(x.iter().map(|&x| if x.is_finite() { x } else { 0.0 }));
        let mut at = 0;
        while self.pending.len() - at >= CHUNK {
            self.process(at, needed)?;
            at += CHUNK;
        }
        self.pending.drain(..at);
        Ok(())
    }

    /// Appends silence until `total` output samples exist.
    pub(super) fn finish(&mut self, total: u64, needed: u64) -> Result<(), AudioError> {
        while self.first_ready + (self.ready.len() as u64) < total {
            let silence = CHUNK - self.pending.len() % CHUNK;
            self.push(&vec![0.0; silence], needed)?;
        }
        Ok(())
    }

    /// Returns output `k`, if it has been computed.
    pub(super) fn pull(&mut self, k: u64) -> Option<f32> {
        self.forget_before(k);
        self.ready.front().copied()
    }

    fn process(&mut self, at: usize, needed: u64) -> Result<(), AudioError> {
        let (from_hz, to_hz) = (self.from_hz, self.to_hz);
        let failed = |reason: String| AudioError::Resampler { from_hz, to_hz, reason };
        let frames = self.outputs.len();
        let x = InterleavedSlice::new(&self.pending[at..at + CHUNK], 1, CHUNK)
            .map_err(|error| failed(error.to_string()))?;
        let mut y = InterleavedSlice::new_mut(&mut self.outputs, 1, frames)
            .map_err(|error| failed(error.to_string()))?;
        let (_, made) = self
            .resampler
            .process_into_buffer(&x, &mut y, None)
            .map_err(|error| failed(error.to_string()))?;
        let dropped = self.delay.min(made);
        self.delay -= dropped;
        self.ready.extend(&self.outputs[dropped..made]);
        self.forget_before(needed);
        Ok(())
    }

    fn forget_before(&mut self, k: u64) {
        let skipped = k.saturating_sub(self.first_ready).min(self.ready.len() as u64);
        self.ready.drain(..skipped as usize);
        self.first_ready += skipped;
    }
}
