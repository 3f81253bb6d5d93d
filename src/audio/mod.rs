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

mod adts;
mod bytes;
mod clips;
mod codec;
mod decode;
mod detect;
mod dot;
mod dts;
mod ending;
mod error;
mod ffmpeg;
mod frames;
mod heartbeat;
mod level;
mod mp3;
mod ogg;
mod packets;
mod polyphase;
mod repair;
mod resample;
mod sinc;
mod source;
mod track;

pub use clips::{Clip, ClipReader, ClipRequest, Padding, Placement, SeekMode, Warning};
pub use decode::DecoderMode;
pub use error::AudioError;
pub use ffmpeg::ExternalDecoder;
pub use heartbeat::Heartbeat;
pub use polyphase::{PolyphaseFilter, Resamplers};
pub use source::Source;

use source::SPOOL_LIMIT_BYTES;

/// Supported sample rates in Hz. Lower rates hold no music and make the resampling ratio very large; no recorder
/// uses higher ones.
pub const RATES_HZ: std::ops::RangeInclusive<u32> = 1_000..=768_000;

/// Maximum number of channels that are mixed to mono.
pub const MAX_CHANNELS: usize = 64;
