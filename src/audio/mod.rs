//! Decoding: audio files to mono clips of one length at the model's sample rate.
//!
//! [`ClipReader::open`] takes a [`Source`] and a [`ClipRequest`] and yields [`Clip`]s. Packets are
//! decoded, mixed and resampled on demand, so memory does not grow with the length of the file, and decoding stops
//! after the last sample that a clip needs.
//!
//! [`Resamplers`] caches one [`PolyphaseFilter`] per pair of rates; share one cache between all files.
//!
//! To reach a clip in the middle of a file, the reader seeks to a position before it where the format has
//! sample-accurate positions, and decodes and drops the samples that the codec needs to settle. In other formats, and
//! where a seek fails, it decodes everything before the clip; the samples are the same ([`SeekMode`]).
//!
//! Not here: spectrograms, models (a request states rate and length), metadata tags and pictures.

mod clips;
mod decoded;
mod dot;
mod encoded;
mod error;
#[cfg(feature = "decode")]
mod files;
#[cfg(not(feature = "decode"))]
#[path = "no_files.rs"]
mod files;
mod half_band;
mod half_rate;
mod heartbeat;
mod level;
mod limits;
mod mix;
#[cfg(feature = "decode")]
mod mp3;
mod phase;
mod polyphase;
mod request;
mod resample;
mod sinc;
mod source;
mod spacing;
mod track;
mod warning;

#[cfg(not(feature = "unstable"))]
pub(crate) use self::{
    clips::{Clip, ClipReader},
    error::AudioError,
    heartbeat::Heartbeat,
    polyphase::Resamplers,
    request::ClipRequest,
};
#[cfg(feature = "unstable")]
pub use self::{
    clips::{Clip, ClipReader},
    error::AudioError,
    heartbeat::Heartbeat,
    polyphase::{PolyphaseFilter, Resamplers},
    request::ClipRequest,
};
pub(crate) use self::{mix::mix, request::check_rate, resample::Resampling, spacing::Spacing};
pub use limits::{MAX_CHANNELS, RATES_HZ};
pub use request::{ClipPadding, DecoderMode, ExternalDecoder, Placement, SeekMode};
pub use source::Source;
pub use warning::Warning;
