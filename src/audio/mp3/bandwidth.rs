//! Bandwidth of decoding.

/// Number of subbands of the filter bank.
pub(super) const SUBBANDS: usize = 32;
/// Subbands of the synthesis of every second sample.
pub(super) const HALF_SUBBANDS: usize = 16;
/// Start of the resampler's stop band (-140 dB) as a fraction of the output rate: its cutoff is at 0.474, and its
/// transition, of 64 zero crossings under a Kaiser window, ends 0.037 higher.
const STOP: f64 = 0.511;
/// Least bandwidth above the start of the stop band, in Hz, where subbands are narrow: the transitions of their own
/// filters are as narrow.
const MARGIN_HZ: f64 = 600.0;

/// The subbands that are decoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::audio) struct Bandwidth {
    /// Number of subbands, of 32.
    pub(super) subbands: usize,
    /// Only every second sample is computed.
    pub(in crate::audio) is_half_rate: bool,
}

impl Bandwidth {
    /// All subbands.
    pub(in crate::audio) const FULL: Bandwidth = Bandwidth { subbands: SUBBANDS, is_half_rate: false };

    /// The subbands that are heard after resampling from `rate_hz` to `to_hz`: those with frequencies below the
    /// resampler's stop band, one more, and at least 600 Hz. The error of what is left out then lies in the stop bands of the
    /// resampler or of the subbands' own filters (-96 dB).
    ///
    /// | rate in Hz | subbands at 12 kHz | up to | samples |
    /// |---|---|---|---|
    /// | 48000 | 10 | 7500 Hz | every second |
    /// | 44100 | 10 | 6891 Hz | every second |
    /// | 32000 | 14 | 7000 Hz | every second |
    /// | 24000 | 18 | 6750 Hz | all |
    /// | 22050 | 20 | 6891 Hz | all |
    /// | 16000 | 27 | 6750 Hz | all |
    /// | 12000 and less | 32 | half the rate | all |
    ///
    /// Every second sample is enough if the image of the highest subband, and of the transition above it, lies in the
    /// stop band.
    pub(in crate::audio) fn heard(rate_hz: u32, to_hz: u32) -> Bandwidth {
        let width_hz = f64::from(rate_hz) / 64.0;
        let stop_hz = STOP * f64::from(to_hz);
        let end_hz = ((stop_hz / width_hz).ceil() * width_hz + width_hz).max(stop_hz + MARGIN_HZ);
        let subbands = ((end_hz / width_hz).ceil() as usize).min(SUBBANDS);
        let image_hz = f64::from(rate_hz) / 2.0 - (subbands as f64 + 1.0) * width_hz;
        Bandwidth { subbands, is_half_rate: subbands < HALF_SUBBANDS && image_hz >= stop_hz }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subbands_follow_the_rates() {
        let heard = |rate_hz| {
            let bandwidth = Bandwidth::heard(rate_hz, 12_000);
            (bandwidth.subbands, bandwidth.is_half_rate)
        };
        let expected = [
            (48_000, (10, true)),
            (44_100, (10, true)),
            (32_000, (14, true)),
            (24_000, (18, false)),
            (22_050, (20, false)),
            (16_000, (27, false)),
            (12_000, (32, false)),
            (8_000, (32, false)),
        ];
        for (rate_hz, subbands) in expected {
            assert_eq!(heard(rate_hz), subbands, "{rate_hz} Hz");
        }
        assert_eq!(Bandwidth::heard(44_100, 44_100), Bandwidth::FULL);
        assert_eq!(Bandwidth::heard(8_000, 768_000), Bandwidth::FULL);
    }
}
