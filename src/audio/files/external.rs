//! Second attempt of reading a track: decodes it with `ffmpeg` after the built-in decoders failed.

use std::fs::File;
use std::io::{BufWriter, Seek, Write};

use super::bytes::Bytes;
use super::decode::Decoder;
use super::detect::may_be_script;
use super::ffmpeg::{self, Encoded};
use crate::audio::error::AudioError;
use crate::audio::heartbeat::Heartbeat;
use crate::audio::source::{SourceKind, spool};
use crate::error_kind::ErrorKind;

/// Decodes a track with `ffmpeg` after the built-in decoder failed with `first`; fails with both errors.
pub(in crate::audio) fn decode_externally(
    source: &SourceKind,
    first: AudioError,
    heartbeat: &Heartbeat,
) -> Result<SourceKind, AudioError> {
    // Of a known format `ffmpeg` opens no other file.
    let is_unknown = matches!(first, AudioError::UnknownFormat { .. } | AudioError::NoAudioTrack { .. });
    if is_unknown
        && may_be_script(&Bytes::new(source.open()?).map_err(AudioError::Io)?).map_err(AudioError::Io)?
    {
        return Err(AudioError::Playlist);
    }
    let decoded = if matches!(first, AudioError::Dts) {
        let words = dts_stream(source, heartbeat)?;
        ffmpeg::decode(Encoded::Dts(words), heartbeat)
    } else {
        match encoded(source)? {
            Some(encoded) => ffmpeg::decode(encoded, heartbeat),
            None => return Err(first),
        }
    };
    match decoded {
        Ok(decoded) => Ok(SourceKind::Decoded(decoded)),
        Err(AudioError::NoFfmpeg) if first.kind() == ErrorKind::Unsupported => {
            Err(AudioError::NeedsFfmpeg { reason: first.to_string() })
        }
        Err(AudioError::NoFfmpeg) => Err(first),
        Err(AudioError::Ffmpeg { reason }) => {
            Err(AudioError::Both { first: Box::new(first), ffmpeg: reason })
        }
        Err(error) => Err(error),
    }
}

/// Extracts the DTS stream stored as 16-bit samples into a file.
fn dts_stream(source: &SourceKind, heartbeat: &Heartbeat) -> Result<File, AudioError> {
    let mut decoder = Decoder::open_words(source.open()?)?;
    let mut file = BufWriter::new(tempfile::tempfile().map_err(AudioError::Spool)?);
    let mut words = Vec::new();
    while decoder.next_words(&mut words)? {
        heartbeat.check()?;
        file.write_all(&words).map_err(AudioError::Spool)?;
    }
    let mut file = file.into_inner().map_err(|error| AudioError::Spool(error.into_error()))?;
    file.rewind().map_err(AudioError::Spool)?;
    Ok(file)
}

/// Encoded audio of a source, if it has any.
fn encoded(source: &SourceKind) -> Result<Option<Encoded<'_>>, AudioError> {
    Ok(match source {
        SourceKind::Path(path) => Some(Encoded::Path(path)),
        SourceKind::Spooled(file) => {
            let mut file = file.try_clone().map_err(AudioError::Spool)?;
            file.rewind().map_err(AudioError::Spool)?;
            Some(Encoded::File(file))
        }
        SourceKind::Memory(bytes) => {
            let mut file = spool(&bytes[..], u64::MAX)?;
            file.rewind().map_err(AudioError::Spool)?;
            Some(Encoded::File(file))
        }
        _ => None,
    })
}
