//! Parts of a track with another sample rate than its own.

use crate::audio::error::AudioError;
use crate::audio::polyphase::Resamplers;
use crate::audio::resample::Resampling;
use crate::audio::spacing::Spacing;

/// Resamples parts of a track with another rate to the track's own.
#[derive(Default)]
pub(super) struct RateAdapter {
    /// Rate in Hz of the present part, if it is another, and its resampler.
    part: Option<(u32, Resampling)>,
    /// Rate in Hz of the latest such part.
    other_rate_hz: Option<u32>,
}

impl RateAdapter {
    /// True within a part with another rate.
    pub(super) fn is_active(&self) -> bool {
        self.part.is_some()
    }

    /// Rate in Hz of the latest part with another rate.
    pub(super) fn other_rate_hz(&self) -> Option<u32> {
        self.other_rate_hz
    }

    /// Resamples `out` from `from_hz` to the track's rate.
    pub(super) fn adapt(
        &mut self,
        from_hz: u32,
        track_hz: u32,
        out: &mut Vec<f32>,
    ) -> Result<(), AudioError> {
        let is_own = from_hz == track_hz;
        if is_own && self.part.is_none() {
            return Ok(());
        }
        let mut samples = std::mem::take(out);
        if self.part.as_ref().is_none_or(|(part_hz, _)| *part_hz != from_hz) {
            self.end(out)?;
            if is_own {
                out.append(&mut samples);
                return Ok(());
            }
            // Such files are rare: the filter is not cached.
            let resampling = Resampling::new(from_hz, track_hz, Spacing::ALL, &Resamplers::new())?;
            self.part = Some((from_hz, resampling));
            self.other_rate_hz = Some(from_hz);
        }
        if let Some((_, resampling)) = &mut self.part {
            resampling.push(&samples, samples.len() as u64)?;
            pull(resampling, out)?;
        }
        Ok(())
    }

    /// Ends a part with another rate and appends its last samples.
    pub(super) fn end(&mut self, out: &mut Vec<f32>) -> Result<(), AudioError> {
        if let Some((_, mut resampling)) = self.part.take() {
            resampling.finish()?;
            pull(&mut resampling, out)?;
        }
        Ok(())
    }
}

/// Appends all samples that can be computed.
fn pull(resampling: &mut Resampling, out: &mut Vec<f32>) -> Result<(), AudioError> {
    let wanted = out.len().saturating_add(resampling.computable().min(1 << 24) as usize);
    resampling.pull(out, wanted)
}
