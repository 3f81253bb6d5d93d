//! Warnings: problems of a track that did not prevent reading its clips.

use std::fmt;

/// Problem of a track that did not prevent reading its clips.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Warning {
    /// Packets that could not be decoded were skipped, without a gap.
    DamagedPackets {
        /// Number of packets.
        count: u64,
    },
    /// The file ends, or becomes unreadable, before the end of the track.
    Truncated {
        /// Message of the reader.
        reason: String,
    },
    /// The length that the container states differs from the decoded length.
    LengthWrong {
        /// Length in seconds as stated.
        stated_s: f64,
        /// Length in seconds as decoded.
        found_s: f64,
    },
    /// Part of the track has another sample rate and was resampled to the rate of the track.
    RateChange {
        /// Rate of the track in Hz.
        from_hz: u32,
        /// Rate of the part in Hz.
        to_hz: u32,
    },
    /// Bytes, pages or a stretch of time that hold no audio because the file is damaged.
    Damaged {
        /// Extent of the damage.
        extent: String,
    },
    /// Message of the external decoder about damage, without control characters.
    External {
        /// The message, at most some hundred characters.
        message: String,
    },
    /// The channels cancel each other when they are mixed to mono.
    Cancellation {
        /// Level that mixing loses, in dB.
        loss_db: f64,
    },
    /// The clip is so quiet that its tags may describe noise.
    Quiet {
        /// RMS level without DC offset, in dBFS.
        level_dbfs: f64,
    },
    /// The clip is silent or constant.
    Silent,
    /// Some clips are silent.
    SilentClips {
        /// Number of silent clips.
        silent: usize,
        /// Number of clips.
        clips: usize,
    },
    /// The ratio of the rates is not a small fraction, so samples differ slightly from those of the original's
    /// resampler.
    FallbackResampler {
        /// Rate of the track in Hz.
        from_hz: u32,
        /// Rate of the clips in Hz.
        to_hz: u32,
    },
    /// The track, or the part of it after the requested start, is shorter than a clip.
    Padded {
        /// Seconds of audio in the clip.
        audio_s: f64,
        /// Length of the clip in seconds.
        clip_s: f64,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::DamagedPackets { count: 1 } => f.write_str("1 damaged packet skipped"),
            Warning::DamagedPackets { count } => write!(f, "{count} damaged packets skipped"),
            Warning::Truncated { reason } => write!(f, "file ends early: {reason}"),
            Warning::LengthWrong { stated_s, found_s } => {
                write!(f, "file states {stated_s:.3} s, found {found_s:.3} s")
            }
            Warning::RateChange { from_hz, to_hz } => {
                write!(f, "sample rate changes from {from_hz} to {to_hz} Hz inside the file")
            }
            Warning::Damaged { extent } => write!(f, "damaged: {extent}"),
            Warning::External { message } => write!(f, "ffmpeg: {message}"),
            Warning::Cancellation { loss_db } => {
                write!(f, "channels cancel each other: mixing to mono loses {loss_db:.1} dB")
            }
            Warning::Quiet { level_dbfs } => write!(f, "very quiet: {level_dbfs:.1} dBFS"),
            Warning::Silent => f.write_str("silent"),
            Warning::SilentClips { silent, clips } => write!(f, "silent in {silent} of {clips} clips"),
            Warning::FallbackResampler { from_hz, to_hz } => {
                write!(
                    f,
                    "uncommon rate: {from_hz} to {to_hz} Hz by interpolated sinc, not the original's filter"
                )
            }
            Warning::Padded { audio_s, clip_s } => {
                write!(f, "shorter than a clip: {audio_s:.2} of {clip_s:.2} s, padded")
            }
        }
    }
}
