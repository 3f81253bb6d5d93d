//! Audio sources: a file, a reader, samples in memory.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use super::decoded::DecodedTrack;
use super::encoded::EncodedAudio;
use super::error::AudioError;
use super::limits::{MAX_CHANNELS, SPOOL_LIMIT_BYTES};
use super::mix::mix;

/// Bytes copied at a time from a pipe to its temporary file.
const SPOOL_BUFFER_BYTES: usize = 64 << 10;

/// Source of audio.
pub struct Source(pub(super) SourceKind);

pub(super) enum SourceKind {
    Path(PathBuf),
    Reader(Box<dyn Read + Send>),
    Spooled(File),
    Memory(Arc<[u8]>),
    Samples {
        samples: Arc<[f32]>,
        rate_hz: u32,
    },
    /// Audio decoded by another program.
    Decoded(DecodedTrack),
    /// A file that was not found.
    Missing(io::Error),
    /// Samples of a number of channels that cannot be mixed.
    Channels(usize),
}

impl Source {
    /// An audio file, opened by [`super::ClipReader::open`].
    pub fn path(path: impl Into<PathBuf>) -> Source {
        Source(SourceKind::Path(path.into()))
    }

    /// A reader that cannot seek, such as standard input. [`super::ClipReader::open`] copies it to an unnamed temporary
    /// file, because a track may be read twice and some containers have their index at the end.
    pub fn reader(reader: impl Read + Send + 'static) -> Source {
        Source(SourceKind::Reader(Box::new(reader)))
    }

    /// An audio file in memory.
    pub fn bytes(bytes: impl Into<Arc<[u8]>>) -> Source {
        Source(SourceKind::Memory(bytes.into()))
    }

    /// A file that could not be found: reading it fails with [`AudioError::Open`].
    pub fn missing(reason: io::Error) -> Source {
        Source(SourceKind::Missing(reason))
    }

    /// Mono samples in memory, in -1..1, at `rate_hz`.
    pub fn samples(samples: impl Into<Arc<[f32]>>, rate_hz: u32) -> Source {
        Source(SourceKind::Samples { samples: samples.into(), rate_hz })
    }
}

/// Samples of several channels.
impl Source {
    /// Interleaved samples of `channels` channels in memory, in -1..1, at `rate_hz`; mixed to mono here. An incomplete
    /// frame at the end is dropped. Reading fails for no channel, or more than [`MAX_CHANNELS`](super::MAX_CHANNELS).
    pub fn interleaved(samples: &[f32], channels: usize, rate_hz: u32) -> Source {
        if channels == 0 || channels > MAX_CHANNELS {
            return Source(SourceKind::Channels(channels));
        }
        let whole = samples.len() / channels * channels;
        let mut mono = Vec::with_capacity(samples.len() / channels);
        mix(&samples[..whole], channels, &mut mono);
        Source::samples(mono, rate_hz)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            SourceKind::Path(path) => write!(f, "Source::path({path:?})"),
            SourceKind::Reader(_) => f.write_str("Source::reader(..)"),
            SourceKind::Spooled(file) => write!(f, "Source::reader({file:?})"),
            SourceKind::Memory(bytes) => write!(f, "Source::bytes({} bytes)", bytes.len()),
            SourceKind::Samples { samples, rate_hz } => {
                write!(f, "Source::samples({} at {rate_hz} Hz)", samples.len())
            }
            SourceKind::Decoded(decoded) => write!(f, "Source::decoded({decoded:?})"),
            SourceKind::Missing(reason) => write!(f, "Source::missing({reason:?})"),
            SourceKind::Channels(channels) => write!(f, "Source::interleaved({channels} channels)"),
        }
    }
}

impl SourceKind {
    /// Makes the source readable more than once: copies a reader to a temporary file.
    ///
    /// # Errors
    /// [`AudioError::Io`] when reading fails, [`AudioError::Spool`] when writing fails,
    /// [`AudioError::SpoolLimit`] for a reader that is too long, [`AudioError::Empty`].
    pub(super) fn rereadable(self) -> Result<SourceKind, AudioError> {
        match self {
            SourceKind::Reader(reader) => spool(reader, SPOOL_LIMIT_BYTES).map(SourceKind::Spooled),
            SourceKind::Missing(reason) => Err(AudioError::Open(reason)),
            SourceKind::Channels(found) => Err(AudioError::Channels { found }),
            kind => Ok(kind),
        }
    }

    /// Opens the encoded audio.
    pub(super) fn open(&self) -> Result<EncodedAudio, AudioError> {
        match self {
            SourceKind::Path(path) => {
                // Checked before opening, because opening a named pipe waits for its writer.
                let found = std::fs::metadata(path).map_err(AudioError::Open)?;
                if found.is_dir() {
                    return Err(AudioError::NotAFile { found: "a folder" });
                }
                if !found.is_file() {
                    return Err(AudioError::NotAFile { found: "a pipe or device" });
                }
                if found.len() == 0 {
                    return Err(AudioError::Empty);
                }
                File::open(path).map(EncodedAudio::from).map_err(AudioError::Open)
            }
            SourceKind::Memory(bytes) if bytes.is_empty() => Err(AudioError::Empty),
            SourceKind::Memory(bytes) => Ok(EncodedAudio::Memory(bytes.clone())),
            SourceKind::Spooled(file) => Ok(file.try_clone().map_err(AudioError::Spool)?.into()),
            SourceKind::Reader(_)
            | SourceKind::Decoded(_)
            | SourceKind::Samples { .. }
            | SourceKind::Missing(_)
            | SourceKind::Channels(_) => Err(AudioError::Empty),
        }
    }
}

pub(super) fn spool(mut reader: impl Read, limit_bytes: u64) -> Result<File, AudioError> {
    let mut file = tempfile::tempfile().map_err(AudioError::Spool)?;
    let mut buffer = vec![0; SPOOL_BUFFER_BYTES];
    let mut total = 0u64;
    loop {
        let read = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(AudioError::Io(error)),
        };
        total += read as u64;
        if total > limit_bytes {
            return Err(AudioError::SpoolLimit { limit_bytes });
        }
        // A broken reader may claim more than the size of the buffer.
        file.write_all(&buffer[..read.min(SPOOL_BUFFER_BYTES)]).map_err(AudioError::Spool)?;
    }
    if total == 0 { Err(AudioError::Empty) } else { Ok(file) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_is_kept_whole_and_bounded() {
        let bytes: Vec<u8> = (0..200_000u32).map(|i| (i % 251) as u8).collect();
        let kind = Source::reader(io::Cursor::new(bytes.clone())).0.rereadable().unwrap();
        for _pass in 0..2 {
            let mut again = Vec::new();
            let encoded = kind.open().unwrap();
            again.resize(encoded.len().unwrap() as usize, 0);
            assert_eq!(encoded.read_at(&mut again, 0).unwrap(), bytes.len());
            assert_eq!(again, bytes);
        }
        assert!(matches!(spool(io::repeat(1), 1 << 20), Err(AudioError::SpoolLimit { .. })));
        assert!(matches!(Source::reader(io::empty()).0.rereadable(), Err(AudioError::Empty)));
    }

    #[test]
    fn other_file_types_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = Source::path(folder.path()).0.open().unwrap_err();
        assert_eq!(error.to_string(), "a folder, expected a regular file");
        assert!(matches!(Source::path(folder.path().join("none")).0.open(), Err(AudioError::Open(_))));
    }
}
