//! Track that was decoded as a whole into a file, by an external decoder.

use std::fs::File;
use std::io::{self, Seek};

use super::level::MixPower;
use super::warning::Warning;

/// Tolerated difference between stated and decoded length in seconds.
const TOLERATED_S: f64 = 0.5;

/// Mono samples as little-endian f32 in a file.
#[derive(Debug)]
pub(super) struct DecodedTrack {
    /// Its handles share one position.
    pub(super) file: File,
    pub(super) frames: u64,
    pub(super) rate_hz: u32,
    /// Power before and after mixing, over the whole track.
    pub(super) power: MixPower,
    /// Error messages.
    pub(super) messages: Vec<String>,
    /// Stated length in seconds.
    pub(super) stated_s: Option<f64>,
}

impl DecodedTrack {
    /// Opens the samples at their start. Handles of earlier calls must not be used any more.
    pub(super) fn open(&self) -> io::Result<File> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        Ok(file)
    }

    /// Warning if the stated length differs from the decoded one.
    pub(super) fn length_warning(&self) -> Option<Warning> {
        let stated_s = self.stated_s?;
        let found_s = self.frames as f64 / f64::from(self.rate_hz);
        let tolerated_s = TOLERATED_S.max(0.01 * stated_s);
        ((stated_s - found_s).abs() > tolerated_s).then_some(Warning::LengthWrong { stated_s, found_s })
    }
}
