//! Loudness of decoded audio before and after mixing to mono.

/// Level loss by mixing, in dB, above which a warning is given. Uncorrelated channels lose 3 dB.
const CANCELLATION_DB: f64 = 12.0;
/// RMS level without DC offset, in dBFS, below which a clip is quiet.
const QUIET_DBFS: f64 = -50.0;
/// Level in dBFS below which a clip is silent: a third of the least significant bit of 16.
const SILENT_DBFS: f64 = -100.0;

/// Power of the channels and of their mean, summed over samples.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MixPower {
    channels: f64,
    mono: f64,
}

impl MixPower {
    /// Takes sums of squares: the mean of the channels', and that of the channels' mean.
    pub(super) fn new(channels: f64, mono: f64) -> MixPower {
        MixPower { channels, mono }
    }

    /// Computes the power of one block; `mono` is the mean of the channels.
    pub(super) fn of(interleaved: &[f32], channels: usize, mono: &[f32]) -> MixPower {
        if channels < 2 {
            return MixPower::default();
        }
        let power = |samples: &[f32]| samples.iter().map(|x| x * x).sum::<f32>();
        // Short sums in f32 are fast and accurate enough; their total is f64.
        let sum = |samples: &[f32]| samples.chunks(256).map(|piece| f64::from(power(piece))).sum::<f64>();
        MixPower { channels: sum(interleaved) / channels as f64, mono: sum(mono) }
    }

    pub(super) fn add(&mut self, other: MixPower) {
        self.channels += other.channels;
        self.mono += other.mono;
    }

    /// Level loss by mixing in dB, if it exceeds [`CANCELLATION_DB`].
    pub(super) fn cancellation_db(self) -> Option<f64> {
        let loss = 10.0 * (self.channels / self.mono.max(f64::MIN_POSITIVE)).log10();
        (self.channels > 1e-6 && loss > CANCELLATION_DB).then_some(loss.min(200.0))
    }
}

/// Loudness class of a clip.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Loudness {
    Normal,
    Quiet { level_dbfs: f64 },
    Silent,
}

/// Classifies the loudness of mono samples, ignoring DC offset.
pub(super) fn loudness(samples: &[f32]) -> Loudness {
    if samples.is_empty() {
        return Loudness::Silent;
    }
    let count = samples.len() as f64;
    let mean = samples.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let power = samples.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
    let level_dbfs = 10.0 * power.max(1e-30).log10();
    match level_dbfs {
        level if level < SILENT_DBFS => Loudness::Silent,
        level if level < QUIET_DBFS => Loudness::Quiet { level_dbfs },
        _ => Loudness::Normal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_is_silent() {
        assert_eq!(loudness(&[0.25; 999]), Loudness::Silent);
        assert_eq!(loudness(&[]), Loudness::Silent);
        let tone: Vec<f32> = (0..999).map(|i| 0.25 + 1e-3 * (i as f32).sin()).collect();
        let Loudness::Quiet { level_dbfs } = loudness(&tone) else { panic!("not quiet") };
        assert!((level_dbfs + 63.0).abs() < 0.5, "{level_dbfs}");
        assert_eq!(loudness(&tone.iter().map(|x| x * 99.0).collect::<Vec<_>>()), Loudness::Normal);
    }

    #[test]
    fn opposite_channels_cancel() {
        let loss = |right: f32| {
            let stereo: Vec<f32> =
                (0..999).flat_map(|i| [(i as f32).sin(), right * (i as f32).sin()]).collect();
            let mono: Vec<f32> = stereo.chunks(2).map(|x| 0.5 * (x[0] + x[1])).collect();
            MixPower::of(&stereo, 2, &mono).cancellation_db()
        };
        assert_eq!(loss(1.0), None);
        assert_eq!(loss(0.0), None);
        assert!(loss(-1.0).is_some_and(|db| db > 60.0));
        assert!(loss(-0.9).is_some_and(|db| (db - 25.6).abs() < 0.2), "{:?}", loss(-0.9));
    }
}
