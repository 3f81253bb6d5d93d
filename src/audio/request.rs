//! Clip requests: sample rate, length and position of the clips to read from a track.

use super::error::AudioError;
use super::limits::RATES_HZ;

/// Upper limit of [`Placement::At`] in seconds: 115 days.
const MAX_START_S: f64 = 1e7;

/// Position of the clips in a track.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Placement {
    /// One clip from the middle: it starts at `floor((track - clip) / 2)`, in samples at the clip's rate.
    #[default]
    Centre,
    /// One clip that starts this many seconds into the track.
    At(f64),
    /// Clips from the track's start on, one every `stride_samples` (at the clip's rate), as long as a whole
    /// clip fits. If more than half a stride then remains uncovered, one more clip ends with the track.
    All {
        /// Distance between the starts of two clips, in samples at the clip's rate; not 0.
        stride_samples: usize,
    },
}

/// Padding of a clip from a track that is shorter than the clip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClipPadding {
    /// Zeros after the audio.
    #[default]
    Zeros,
    /// The audio, repeated.
    Repeat,
}

impl ClipPadding {
    /// Pads `samples` to `length_samples`. An empty clip is padded by zeros.
    pub(crate) fn pad(self, samples: &mut Vec<f32>, length_samples: usize) {
        let audio_samples = samples.len();
        match self {
            ClipPadding::Repeat if audio_samples > 0 => {
                samples.reserve_exact(length_samples.saturating_sub(audio_samples));
                for i in audio_samples..length_samples {
                    samples.push(samples[i - audio_samples]);
                }
            }
            _ => samples.resize(length_samples.max(audio_samples), 0.0),
        }
    }
}

/// Method of reaching a clip in the middle of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SeekMode {
    /// Seek, where the format has sample-accurate positions; otherwise decode from the start.
    #[default]
    Seek,
    /// Decode everything before the clip and drop it.
    DecodeAll,
}

/// Treatment of encoder delay and rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DecoderMode {
    /// Without the encoder delay and padding that the file states. Of MP3 only what is heard at the clip's rate is
    /// decoded: the frequencies below half that rate, of the mean of the channels.
    #[default]
    Plain,
    /// As `Plain`, but all frequencies and channels are decoded.
    FullBand,
    /// As the original's decoder: nothing is trimmed, and each channel is rounded to 16-bit integers with saturation.
    /// Of MP3 the first 529 samples are dropped and 529 zeros are appended; other codecs are not shifted.
    Original,
}

/// Decoder of formats without a built-in decoder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExternalDecoder {
    /// `ffmpeg`, if it is on PATH.
    #[default]
    Ffmpeg,
    /// None: such formats are an error.
    Disabled,
}

/// Description of the clips to read from a track.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClipRequest {
    /// Sample rate of the clips in Hz.
    pub rate_hz: u32,
    /// Length of each clip in samples at that rate.
    pub length_samples: usize,
    /// Position of the clips in the track.
    pub placement: Placement,
    /// Padding of tracks shorter than a clip.
    pub padding: ClipPadding,
    /// Decoder behaviour; has no effect on samples from memory.
    pub decoder: DecoderMode,
    /// Method of reaching a clip in the middle of a file.
    pub seek_mode: SeekMode,
    /// External decoder for formats without a built-in decoder.
    pub external_decoder: ExternalDecoder,
}

impl ClipRequest {
    /// Request for one clip from the centre, zero-padded, with the default decoder settings.
    pub fn new(rate_hz: u32, length_samples: usize) -> ClipRequest {
        ClipRequest {
            rate_hz,
            length_samples,
            placement: Placement::default(),
            padding: ClipPadding::default(),
            decoder: DecoderMode::default(),
            seek_mode: SeekMode::default(),
            external_decoder: ExternalDecoder::default(),
        }
    }

    pub(super) fn check(&self) -> Result<(), AudioError> {
        let refuse = |field, found: String, expected| Err(AudioError::Request { field, found, expected });
        if !RATES_HZ.contains(&self.rate_hz) {
            return refuse("rate_hz", self.rate_hz.to_string(), "1000 to 768000");
        }
        if self.length_samples == 0 {
            return refuse("length_samples", "0".into(), "1 or more");
        }
        match self.placement {
            Placement::All { stride_samples: 0 } => refuse("stride_samples", "0".into(), "1 or more"),
            Placement::At(seconds) if !(0.0..=MAX_START_S).contains(&seconds) => {
                refuse("start in seconds", seconds.to_string(), "0 to 10000000")
            }
            _ => Ok(()),
        }
    }
}

/// Checks the sample rate of an input.
///
/// # Errors
/// [`AudioError::Rate`].
pub(crate) fn check_rate(found_hz: u32) -> Result<(), AudioError> {
    if RATES_HZ.contains(&found_hz) { Ok(()) } else { Err(AudioError::Rate { found_hz }) }
}
