//! From a file to clips: decode, mix to mono, resample to the model's rate, cut into clips of one length.
//!
//! [`ClipReader::open`] takes a [`Source`] and a [`ClipRequest`] and yields [`Clip`]s. Data goes one way and
//! in small pieces: packets are decoded, mixed and resampled as clips ask for them, so memory does not grow
//! with the length of the file, and decoding stops once the last wanted sample is there.
//!
//! [`Resamplers`] holds the filter tables, one [`Bank`] per pair of rates; whoever tags many files owns one
//! and passes it on.
//!
//! What comes before a wanted clip is passed over where the format allows it to the sample: the reader seeks to
//! a little before, and what the codec needs to settle is decoded and dropped. Elsewhere, and where a seek fails,
//! everything before is decoded, with the same samples ([`Access`]).
//!
//! What is not here: spectrograms and everything after them, models (a request states rate and length), and any
//! reading of tags or pictures.

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
mod fallback;
mod foreign;
mod frames;
mod level;
mod mp3;
mod ogg;
mod packets;
mod pulse;
mod repair;
mod resample;
mod source;
mod stream;
mod track;

pub use clips::{Access, Clip, ClipReader, ClipRequest, Padding, Placement, Warning};
pub use decode::DecoderMode;
pub use error::AudioError;
pub use foreign::Foreign;
pub use pulse::Pulse;
pub use resample::{Bank, Resamplers};
pub use source::Source;

use source::SPOOL_LIMIT_BYTES;

/// Lowest and highest sample rate in Hz that is read or made. Below, nothing musical is left and the
/// resampling ratio explodes; above, no recorder exists.
pub const RATES_HZ: std::ops::RangeInclusive<u32> = 1_000..=768_000;

/// Largest number of channels that is mixed to mono.
pub const MAX_CHANNELS: usize = 64;
