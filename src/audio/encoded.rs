//! Encoded audio: a file, or bytes in memory.

use std::fs::File;
use std::io;
use std::sync::Arc;

/// Encoded audio. Reads are positioned, so clones are independent of each other.
#[derive(Clone, Debug)]
pub(super) enum EncodedAudio {
    File(Arc<File>),
    Memory(Arc<[u8]>),
}

impl EncodedAudio {
    /// Number of bytes.
    pub(super) fn len(&self) -> io::Result<u64> {
        match self {
            EncodedAudio::File(file) => Ok(file.metadata()?.len()),
            EncodedAudio::Memory(bytes) => Ok(bytes.len() as u64),
        }
    }

    /// Reads up to `out.len()` bytes at the offset `at`, perhaps fewer; 0 at the end.
    pub(super) fn read_at(&self, out: &mut [u8], at: u64) -> io::Result<usize> {
        match self {
            EncodedAudio::File(file) => read_at(file, out, at),
            EncodedAudio::Memory(bytes) => {
                let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
                let count = rest.len().min(out.len());
                out[..count].copy_from_slice(&rest[..count]);
                Ok(count)
            }
        }
    }
}

impl From<File> for EncodedAudio {
    fn from(file: File) -> EncodedAudio {
        EncodedAudio::File(Arc::new(file))
    }
}

#[cfg(unix)]
fn read_at(file: &File, out: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, out, at)
}

#[cfg(windows)]
fn read_at(file: &File, out: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, out, at)
}

/// Platforms without positioned reads, such as browsers, have no files either.
#[cfg(not(any(unix, windows)))]
fn read_at(_: &File, _: &mut [u8], _: u64) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}
