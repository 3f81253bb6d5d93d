//! Audio of a stream: mixed, resampled, and kept for one clip.

use std::collections::VecDeque;

use crate::audio::{Resamplers, Resampling, Spacing, mix};
use crate::error::Error;
use crate::tagger::clips::MAX_SAMPLE;

/// Number of outputs that are resampled together, unless an update waits for fewer.
const STRIP: u64 = 4096;
/// Maximum number of outputs of one call of the resampler.
const MAX_OUTPUTS: usize = 1 << 16;

/// Samples that no model can take, and those between them.
#[derive(Clone, Copy, Debug)]
pub(super) struct InvalidSamples {
    /// First and last frame since the last reset.
    pub(super) frames: [u64; 2],
    /// The first of them.
    pub(super) value: f32,
}

/// Distance in frames below which invalid samples are taken together, so that their number stays bounded.
const TOGETHER: u64 = 4096;

/// Mono samples at the model's rate, of at least the last `keep` positions.
pub(super) struct LiveAudio {
    channels: usize,
    keep: usize,
    resampling: Resampling,
    mono: Vec<f32>,
    samples: Vec<f32>,
    /// Position of the first sample that is kept.
    base: u64,
    /// Invalid samples, which were replaced by zeros.
    pub(super) invalid: VecDeque<InvalidSamples>,
}

impl LiveAudio {
    pub(super) fn new(
        rates_hz: [u32; 2],
        channels: usize,
        keep: usize,
        resamplers: &Resamplers,
    ) -> Result<LiveAudio, Error> {
        let resampling = Resampling::new(rates_hz[0], rates_hz[1], Spacing::ALL, resamplers)?;
        let (mono, samples) = (Vec::new(), Vec::new());
        Ok(LiveAudio { channels, keep, resampling, mono, samples, base: 0, invalid: VecDeque::new() })
    }

    /// Forgets all audio; positions begin at zero again.
    pub(super) fn reset(&mut self) -> Result<(), Error> {
        self.resampling = self.resampling.restarted()?;
        self.samples.clear();
        self.base = 0;
        self.invalid.clear();
        Ok(())
    }

    /// Appends interleaved samples, and resamples if it pays or if position `due` is reached.
    pub(super) fn push(&mut self, interleaved: &[f32], due: u64) -> Result<(), Error> {
        mix(interleaved, self.channels, &mut self.mono);
        let is_invalid = |sample: f32| sample.is_nan() || sample.abs() > MAX_SAMPLE;
        if self.mono.iter().any(|&sample| is_invalid(sample)) {
            for (frame, sample) in (self.resampling.received()..).zip(&mut self.mono) {
                if is_invalid(*sample) {
                    match self.invalid.back_mut() {
                        Some(last) if frame - last.frames[1] < TOGETHER => last.frames[1] = frame,
                        _ => self.invalid.push_back(InvalidSamples { frames: [frame; 2], value: *sample }),
                    }
                    *sample = 0.0;
                }
            }
        }
        self.resampling.push(&self.mono, self.mono.len() as u64)?;
        let computable = self.resampling.computable();
        if computable >= STRIP || self.end().saturating_add(computable) >= due {
            self.resample()?;
        }
        Ok(())
    }

    /// Ends the audio.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        self.resampling.finish()?;
        self.resample()
    }

    fn resample(&mut self) -> Result<(), Error> {
        loop {
            let before = self.samples.len();
            self.resampling.pull(&mut self.samples, before + MAX_OUTPUTS)?;
            if self.samples.len() < before + MAX_OUTPUTS {
                break;
            }
        }
        // Seldom, because it moves all that is kept.
        if self.samples.len() > 2 * self.keep + MAX_OUTPUTS {
            let unused = self.samples.len() - self.keep;
            self.samples.drain(..unused);
            self.base += unused as u64;
        }
        Ok(())
    }

    /// Position after the last sample.
    pub(super) fn end(&self) -> u64 {
        self.base + self.samples.len() as u64
    }

    /// The `length` samples from position `start` on; fewer where they are not kept.
    pub(super) fn slice(&self, start: u64, length: usize) -> &[f32] {
        let first = start.saturating_sub(self.base) as usize;
        let kept = self.samples.get(first..).unwrap_or_default();
        kept.get(..length).unwrap_or(kept)
    }
}
