//! What can be wrong with one audio input.

use crate::error::ErrorKind;

/// Why no clip could be read. Carries no path: the caller knows it and adds it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AudioError {
    /// The file cannot be opened or read.
    #[error("cannot read: {0}")]
    Io(#[source] std::io::Error),
    /// There is no file of this name, or no right to read it.
    #[error("cannot open: {0}")]
    Open(#[source] std::io::Error),
    /// A folder, a device or a named pipe.
    #[error("{found}, expected a regular file")]
    NotAFile {
        /// What it is instead.
        found: &'static str,
    },
    /// Nothing in it.
    #[error("0 bytes, expected audio")]
    Empty,
    /// Standard input could not be kept on disk.
    #[error("cannot keep the input in a temporary file: {0}")]
    Spool(#[source] std::io::Error),
    /// Standard input did not end.
    #[error("input longer than {limit_bytes} bytes")]
    SpoolLimit {
        /// How much is kept at most.
        limit_bytes: u64,
    },
    /// No container or codec that this build knows was recognised.
    #[error("not a known audio format ({reason})")]
    UnknownFormat {
        /// What the prober said.
        reason: String,
    },
    /// A known container without an audio track.
    #[error("no audio track among {tracks} tracks")]
    NoAudioTrack {
        /// How many tracks of other kinds there are.
        tracks: usize,
    },
    /// A known container whose audio this build cannot decode.
    #[error("no decoder for the audio track ({codec})")]
    UnknownCodec {
        /// Name or number of the codec.
        codec: String,
    },
    /// The container is damaged beyond reading.
    #[error("damaged file: {reason}")]
    Damaged {
        /// What the reader said.
        reason: String,
    },
    /// A container and a codec were found, but not one sample came out.
    #[error("no sample could be decoded ({damaged} damaged packets{})", reason.as_ref().map(|r| format!("; {r}")).unwrap_or_default())]
    NothingDecoded {
        /// Packets that failed to decode.
        damaged: u64,
        /// What the first failure was, if any.
        reason: Option<String>,
    },
    /// A sample rate outside [`super::RATES_HZ`].
    #[error("sample rate {found_hz} Hz, expected {} to {} Hz", super::RATES_HZ.start(), super::RATES_HZ.end())]
    Rate {
        /// The rate found.
        found_hz: u32,
    },
    /// No channel, or more than [`super::MAX_CHANNELS`].
    #[error("{found} channels, expected 1 to {}", super::MAX_CHANNELS)]
    Channels {
        /// The number found.
        found: usize,
    },
    /// A NaN or an infinity among the samples that a clip is made of.
    #[error("sample {index} is {value}, expected a finite number")]
    NonFinite {
        /// Position in the decoded mono track, at its own rate.
        index: u64,
        /// The sample.
        value: f32,
    },
    /// The clip asked for starts after the track's end.
    #[error("clip starts at {start_s} s, expected less than the track's {track_s:.3} s")]
    StartBeyondEnd {
        /// Start asked for, in seconds.
        start_s: f64,
        /// Length of the track in seconds.
        track_s: f64,
    },
    /// A request that no file could fulfil.
    #[error("clip request: {field} is {found}, expected {expected}")]
    Request {
        /// The field at fault.
        field: &'static str,
        /// Its value.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A decoder gave up with a panic; only this file is lost.
    #[error("decoder crashed while {doing}: {message}")]
    Crashed {
        /// What it was asked to do.
        doing: &'static str,
        /// The panic's message.
        message: String,
    },
    /// The format is not read here, and no `ffmpeg` is there to read it.
    #[error("{reason}, and there is no ffmpeg on PATH to read it")]
    NeedsFfmpeg {
        /// What is not read here.
        reason: String,
    },
    /// There is no `ffmpeg` on the path.
    #[error("no ffmpeg on PATH")]
    NoFfmpeg,
    /// `ffmpeg` could not read it either.
    #[error("ffmpeg: {reason}")]
    Ffmpeg {
        /// What it said.
        reason: String,
    },
    /// The audio is encrypted.
    #[error(
        "protected by DRM: its audio is encrypted, and only the player that it was bought for can read it"
    )]
    Protected,
    /// A DTS stream in the place of samples.
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
    /// Who watches asked for an end.
    #[error("stopped")]
    Stopped,
    /// The resampler for uncommon rates refused its settings or its input.
    #[error("resampler from {from_hz} to {to_hz} Hz: {reason}")]
    Resampler {
        /// Rate of the input in Hz.
        from_hz: u32,
        /// Rate of the output in Hz.
        to_hz: u32,
        /// What it said.
        reason: String,
    },
}

impl AudioError {
    /// True for a fault of the content, of which another decoder may make more.
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

    /// What a batch should do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            AudioError::UnknownFormat { .. }
            | AudioError::UnknownCodec { .. }
            | AudioError::NeedsFfmpeg { .. }
            | AudioError::NoFfmpeg
            | AudioError::Protected
            | AudioError::Dts
            | AudioError::Ffmpeg { .. } => ErrorKind::Unsupported,
            AudioError::Both { first, .. } => first.kind(),
            AudioError::Stopped => ErrorKind::Cancelled,
            AudioError::Io(_) | AudioError::Spool(_) | AudioError::SpoolLimit { .. } => ErrorKind::Resource,
            AudioError::Resampler { .. } => ErrorKind::Internal,
            _ => ErrorKind::Input,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
