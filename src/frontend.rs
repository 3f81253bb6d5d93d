//! Audio front end of the models: window, mel filters and the steps of a spectrogram.
//!
//! Tables are computed in f64. The transform is [`crate::kernels::LogMel`].

use crate::kernels::{ClipStats, FrameCount, Level, LogMel, Normalize, Padding, Scope};
use crate::plan::{Builder, PlanError, TensorId};
use crate::tensor::HostTensor;

/// Parameters of a mel spectrogram.
#[derive(Clone, Debug, PartialEq)]
pub struct MelConfig {
    /// Samples per second.
    pub sample_rate: u32,
    /// Length of the window in samples.
    pub n_fft: usize,
    /// Distance between frames in samples.
    pub hop_length: usize,
    /// Number of mel bands.
    pub n_mels: usize,
    /// Lower edge of the lowest band, in Hz.
    pub f_min_hz: f64,
    /// Upper edge of the highest band, in Hz.
    pub f_max_hz: f64,
    /// Exponent of the mel energies under the logarithm, 1 or 2.
    pub exponent: u32,
    /// Position of the frames.
    pub framing: Framing,
}

/// Position of frames in a clip, and padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Centred on multiples of the hop, the clip reflected about its ends (librosa).
    Reflect,
    /// A strided convolution that Theano pads by half a window, its kernels reversed in time.
    ZerosReversed,
    /// A strided convolution with TensorFlow's padding "same".
    ZerosSame,
}

/// Input of a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Starts {
    /// `[N, S]` mono samples at the model's rate.
    #[default]
    Samples,
    /// `[N, 1, F, T]` log-mel spectrograms in dB.
    Mel,
}

/// Minimum power under the logarithm.
const POWER_FLOOR: f32 = 1e-10;
/// Dynamic range in dB: lower values are clamped.
pub const RANGE_DB: f32 = 80.0;
/// Epsilon added to a clip's standard deviation.
pub const DEVIATION_EPSILON: f32 = 1e-8;

impl MelConfig {
    /// Adds the spectrogram `[N, 1, n_mels, T]` in dB: an input of the plan, or computed from samples.
    ///
    /// # Errors
    /// [`PlanError::Shape`] for clips shorter than a window.
    #[cfg_attr(not(feature = "unstable"), doc(hidden))]
    pub fn input(
        &self,
        builder: &mut Builder,
        starts: Starts,
        samples: usize,
    ) -> Result<TensorId, PlanError> {
        match starts {
            Starts::Samples => {
                let samples = builder.input("samples", [1, samples]);
                self.spectrogram(builder, samples)
            }
            Starts::Mel => Ok(builder.input("mel", [1, 1, self.n_mels, self.frames(samples)])),
        }
    }

    /// Number of frames of a clip of `samples` samples.
    pub fn frames(&self, samples: usize) -> usize {
        match self.framing {
            Framing::Reflect => 1 + samples / self.hop_length,
            Framing::ZerosReversed | Framing::ZerosSame => samples.div_ceil(self.hop_length),
        }
    }

    /// Adds step `mel`: `[N, S]` samples to `[N, 1, n_mels, T]` dB, without floor.
    ///
    /// # Errors
    /// [`PlanError::Shape`] for clips shorter than a window.
    #[cfg_attr(not(feature = "unstable"), doc(hidden))]
    pub fn spectrogram(&self, builder: &mut Builder, samples: TensorId) -> Result<TensorId, PlanError> {
        let length = builder.shape(samples).extent(1);
        let same_frames = length.div_ceil(self.hop_length);
        let covered = same_frames.saturating_sub(1) * self.hop_length + self.n_fft;
        let (padding, frames, left_samples) = match self.framing {
            Framing::Reflect => (Padding::Reflect, FrameCount::Centred, self.n_fft / 2),
            Framing::ZerosReversed => (Padding::Zeros, FrameCount::Same, self.n_fft / 2),
            Framing::ZerosSame => (Padding::Zeros, FrameCount::Same, covered.saturating_sub(length) / 2),
        };
        let op = LogMel {
            hop_length: self.hop_length,
            left_samples,
            padding,
            frames,
            exponent: self.exponent,
            power_floor: POWER_FLOOR,
        };
        builder.log_mel("mel", samples, op, self.window(), self.filters())
    }

    /// Window `[n_fft]`: a periodic Hann window, reversed for Theano framing.
    pub fn window(&self) -> HostTensor {
        let n = self.n_fft;
        let hann = |k: usize| (0.5 - 0.5 * (std::f64::consts::TAU * k as f64 / n as f64).cos()) as f32;
        match self.framing {
            // Reversing the kernels of a transform conjugates it and reverses the window; its power sees
            // only the window.
            Framing::ZerosReversed => HostTensor::from_fn([n], |k| hann(n - 1 - k)),
            _ => HostTensor::from_fn([n], hann),
        }
    }

    /// Triangular mel filters over the FFT bins, `[n_mels, n_fft / 2 + 1]`, each of unit area over Hz
    /// (Slaney, Auditory Toolbox, 1998).
    pub fn filters(&self) -> HostTensor {
        let bins = self.n_fft / 2 + 1;
        let (low, high) = (hz_to_mel(self.f_min_hz), hz_to_mel(self.f_max_hz));
        let edge = |i: usize| mel_to_hz(low + (high - low) * i as f64 / (self.n_mels + 1) as f64);
        HostTensor::from_fn([self.n_mels, bins], |index| {
            let (band, bin) = (index / bins, index % bins);
            let hz = f64::from(self.sample_rate) * bin as f64 / self.n_fft as f64;
            let [left, centre, right] = [edge(band), edge(band + 1), edge(band + 2)];
            let rise = (hz - left) / (centre - left);
            let fall = (right - hz) / (right - centre);
            (rise.min(fall).max(0.0) * 2.0 / (right - left)) as f32
        })
    }
}

/// Adds steps `stats` and `input`: a dB spectrogram, floored [`RANGE_DB`] below the maximum of the clip (or batch) and
/// normalised by `level`. Returns the spectrogram and the statistics `[N, 3]`.
///
/// # Errors
/// [`PlanError::Shape`].
pub fn level(
    builder: &mut Builder,
    mel: TensorId,
    level: Level,
    scope: Scope,
) -> Result<(TensorId, TensorId), PlanError> {
    let stats = builder.clip_stats("stats", mel, ClipStats { range_db: RANGE_DB, scope })?;
    let op = Normalize { level, range_db: RANGE_DB, epsilon: DEVIATION_EPSILON, pad: [0, 0] };
    Ok((builder.normalize("input", mel, stats, op)?, stats))
}

/// Slaney's scale: linear below 1 kHz (15 mel), logarithmic above, 27 steps to a factor of 6.4.
fn hz_to_mel(hz: f64) -> f64 {
    if hz < 1000.0 { hz * 3.0 / 200.0 } else { 15.0 + (hz / 1000.0).ln() * 27.0 / 6.4f64.ln() }
}

fn mel_to_hz(mel: f64) -> f64 {
    if mel < 15.0 { mel * 200.0 / 3.0 } else { 1000.0 * ((mel - 15.0) * 6.4f64.ln() / 27.0).exp() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mel_scale_and_back() {
        assert_eq!(hz_to_mel(1000.0), 15.0);
        assert!((hz_to_mel(6400.0) - 42.0).abs() < 1e-12);
        for hz in [0.0, 440.0, 1000.0, 5999.0] {
            assert!((mel_to_hz(hz_to_mel(hz)) - hz).abs() < 1e-9);
        }
    }
}
