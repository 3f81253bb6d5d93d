//! Audio files: formats, codecs, seeking, damage. The rest of [`super`] sees a [`Decoder`] of mono samples.
//!
//! Data flow: `bytes` (a file, repaired where needed) -> `detect` (its format) -> `packets` (demuxer) -> `codec` ->
//! `decode` (mono samples at the track's rate). What these refuse goes to `external`.

mod adts;
mod bytes;
mod codec;
mod decode;
mod detect;
mod dts;
mod ending;
mod external;
mod ffmpeg;
mod frames;
mod mp3;
mod ogg;
mod packets;
mod rate_change;
mod repair;
mod trim;

pub(super) use decode::{Decoder, count_frames};
pub(super) use external::decode_externally;
