//! Errors of audio inputs.

use crate::error_kind::ErrorKind;

/// Error of one audio input. It has no path: the caller adds it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AudioError {
    /// The file cannot be opened or read.
    #[error("cannot read: {0}")]
    Io(#[source] std::io::Error),
    /// The file does not exist, or may not be read.
    #[error("cannot open: {0}")]
    Open(#[source] std::io::Error),
    /// The path names a folder, a device or a named pipe.
    #[error("{found}, expected a regular file")]
    NotAFile {
        /// Type of the file.
        found: &'static str,
    },
    /// The file is empty.
    #[error("0 bytes, expected audio")]
    Empty,
    /// The temporary copy of a reader could not be written.
    #[error("cannot keep the input in a temporary file: {0}")]
    Spool(#[source] std::io::Error),
    /// The reader has more bytes than the limit of a temporary copy.
    #[error("input longer than {limit_bytes} bytes")]
    SpoolLimit {
        /// The limit.
        limit_bytes: u64,
    },
    /// No supported container or codec was detected.
    #[error("not a known audio format ({reason})")]
    UnknownFormat {
        /// Message of the format detection.
        reason: String,
    },
    /// A known container without an audio track.
    #[error("no audio track among {tracks} tracks")]
    NoAudioTrack {
        /// Number of tracks of other types.
        tracks: usize,
    },
    /// A known container with a codec that this build does not decode.
    #[error("no decoder for the audio track ({codec})")]
    UnknownCodec {
        /// Name or number of the codec.
        codec: String,
    },
    /// The container is damaged.
    #[error("damaged file: {reason}")]
    Damaged {
        /// Message of the reader.
        reason: String,
    },
    /// A container and a codec were found, but no sample could be decoded.
    #[error("no sample could be decoded ({damaged} damaged packets{})", reason.as_ref().map(|r| format!("; {r}")).unwrap_or_default())]
    NothingDecoded {
        /// Number of packets that failed to decode.
        damaged: u64,
        /// Message of the first failure, if any.
        reason: Option<String>,
    },
    /// A sample rate outside [`super::RATES_HZ`].
    #[error("sample rate {found_hz} Hz, expected {} to {} Hz", super::limits::RATES_HZ.start(), super::limits::RATES_HZ.end())]
    Rate {
        /// The rate found.
        found_hz: u32,
    },
    /// No channel, or more than [`super::MAX_CHANNELS`].
    #[error("{found} channels, expected 1 to {}", super::limits::MAX_CHANNELS)]
    Channels {
        /// The number found.
        found: usize,
    },
    /// A NaN or an infinity among the samples that a clip depends on.
    #[error("sample {index} is {value}, expected a finite number")]
    NonFinite {
        /// Position in the decoded mono track, at its own rate.
        index: u64,
        /// The sample.
        value: f32,
    },
    /// The requested clip starts after the end of the track.
    #[error("clip starts at {start_s} s, expected less than the track's {track_s:.3} s")]
    StartBeyondEnd {
        /// Requested start in seconds.
        start_s: f64,
        /// Length of the track in seconds.
        track_s: f64,
    },
    /// Invalid clip request.
    #[error("clip request: {field} is {found}, expected {expected}")]
    Request {
        /// The invalid field.
        field: &'static str,
        /// Its value.
        found: String,
        /// Valid values.
        expected: &'static str,
    },
    /// A decoder panicked; other files are not affected.
    #[error("decoder crashed while {doing}: {message}")]
    Crashed {
        /// Operation in progress.
        doing: &'static str,
        /// The panic's message.
        message: String,
    },
    /// The format needs `ffmpeg`, which is not installed.
    #[error("{reason}, and no ffmpeg on PATH: install ffmpeg to read it")]
    NeedsFfmpeg {
        /// Message of the built-in decoder.
        reason: String,
    },
    /// The decoder of limited bandwidth refused a frame; the others have to read the file.
    #[error("not decodable at a limited bandwidth: {reason}")]
    Refused {
        /// Fault of the frame.
        reason: String,
    },
    /// `ffmpeg` is not on PATH.
    #[error("no ffmpeg on PATH")]
    NoFfmpeg,
    /// `ffmpeg` failed.
    #[error("ffmpeg: {reason}")]
    Ffmpeg {
        /// Message of the failing component.
        reason: String,
    },
    /// `ffmpeg` was ended from outside, or crashed, before the end of the track.
    #[error("ffmpeg was interrupted before the end of the track")]
    FfmpegInterrupted,
    /// The audio is encrypted.
    #[error("protected by DRM: the audio is encrypted")]
    Protected,
    /// The file is a playlist or script: text that names other files.
    #[error("a playlist that names other files, expected audio")]
    Playlist,
    /// This build has no decoders.
    #[error(
        "this build of tagwave reads no audio files: build it with the feature `decode`, or pass samples"
    )]
    NoDecoder,
    /// The samples are a DTS stream.
    #[error("the samples are a DTS stream")]
    Dts,
    /// Neither a built-in decoder nor `ffmpeg` could read it.
    #[error("{first}; ffmpeg: {ffmpeg}")]
    Both {
        /// Error of the built-in decoder.
        #[source]
        first: Box<AudioError>,
        /// Message of `ffmpeg`.
        ffmpeg: String,
    },
    /// Cancelled by the caller, or by the watchdog of a decoder.
    #[error("cancelled")]
    Cancelled,
    /// The resampler for uncommon rates failed.
    #[error("resampler from {from_hz} to {to_hz} Hz: {reason}")]
    Resampler {
        /// Rate of the input in Hz.
        from_hz: u32,
        /// Rate of the output in Hz.
        to_hz: u32,
        /// Message of the failing component.
        reason: String,
    },
}

/// Error: the stream position is unknown after a failed seek; the track must be reopened.
pub(super) struct PositionLost;

impl AudioError {
    /// True for an error of the content that another decoder may not have.
    pub(super) fn is_of_content(&self) -> bool {
        matches!(
            self,
            AudioError::UnknownFormat { .. }
                | AudioError::UnknownCodec { .. }
                | AudioError::Dts
                | AudioError::NoAudioTrack { .. }
                | AudioError::Damaged { .. }
                | AudioError::NothingDecoded { .. }
                | AudioError::Rate { .. }
                | AudioError::Channels { .. }
                | AudioError::Crashed { .. }
        )
    }

    /// Category of the error, for callers that process many files.
    pub fn kind(&self) -> ErrorKind {
        match self {
            AudioError::UnknownFormat { .. }
            | AudioError::UnknownCodec { .. }
            | AudioError::NeedsFfmpeg { .. }
            | AudioError::NoFfmpeg
            | AudioError::Protected
            | AudioError::Playlist
            | AudioError::NoDecoder
            | AudioError::Dts
            | AudioError::Ffmpeg { .. } => ErrorKind::Unsupported,
            AudioError::Both { first, .. } => first.kind(),
            AudioError::Open(error) if may_open_later(error) => ErrorKind::Resource,
            AudioError::Cancelled => ErrorKind::Cancelled,
            AudioError::Io(_)
            | AudioError::Spool(_)
            | AudioError::SpoolLimit { .. }
            | AudioError::FfmpegInterrupted => ErrorKind::Resource,
            AudioError::Resampler { .. } => ErrorKind::Internal,
            _ => ErrorKind::Input,
        }
    }
}

/// True for files that exist: locked, not permitted, too many open files, a share that does not answer.
fn may_open_later(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidFilename, NotADirectory, NotFound};
    error.raw_os_error().is_some() && !matches!(error.kind(), NotFound | NotADirectory | InvalidFilename)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_may_open_later_are_not_invalid() {
        let kind = |error| AudioError::Open(error).kind();
        let missing = std::fs::metadata("no such file").unwrap_err();
        assert_eq!(kind(missing), ErrorKind::Input);
        // Input/output error on Unix, access denied on Windows.
        assert_eq!(kind(std::io::Error::from_raw_os_error(5)), ErrorKind::Resource);
        assert_eq!(kind(std::io::Error::other("a URL")), ErrorKind::Input);
    }

    #[test]
    fn messages_state_the_value_and_what_was_expected() {
        let error = AudioError::Rate { found_hz: 0 };
        assert_eq!(error.to_string(), "sample rate 0 Hz, expected 1000 to 768000 Hz");
        let error = AudioError::NonFinite { index: 123, value: f32::NAN };
        assert_eq!(error.to_string(), "sample 123 is NaN, expected a finite number");
        assert_eq!(error.kind(), ErrorKind::Input);
        let error = AudioError::NothingDecoded { damaged: 2, reason: Some("bad sync".into()) };
        assert_eq!(error.to_string(), "no sample could be decoded (2 damaged packets; bad sync)");
    }
}
