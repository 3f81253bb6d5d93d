//! Encoded bytes of one input: a file or memory from an offset on, with patches applied.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use symphonia::core::io::MediaSource;

use crate::audio::encoded::EncodedAudio;

/// Replacement for bytes of the file at an offset.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Patch {
    pub(super) at: u64,
    pub(super) bytes: Vec<u8>,
}

/// Reader of encoded audio. Offsets count from `base`.
#[derive(Clone, Debug)]
pub(super) struct Bytes {
    input: EncodedAudio,
    base: u64,
    len: u64,
    at: u64,
    patches: Arc<[Patch]>,
}

impl Bytes {
    /// The whole input, unchanged.
    pub(super) fn new(input: EncodedAudio) -> io::Result<Bytes> {
        let len = input.len()?;
        Ok(Bytes { input, base: 0, len, at: 0, patches: Arc::new([]) })
    }

    /// The same input without its first `skipped` bytes and without patches, at its start.
    pub(super) fn skipping(&self, skipped: u64) -> Bytes {
        let skipped = skipped.min(self.len);
        Bytes {
            base: self.base + skipped,
            len: self.len - skipped,
            at: 0,
            patches: Arc::new([]),
            ..self.clone()
        }
    }

    /// The same input with `patches` applied, at its start.
    pub(super) fn patched(&self, patches: Vec<Patch>) -> Bytes {
        Bytes { at: 0, patches: patches.into(), ..self.clone() }
    }

    /// The same input at its start.
    pub(super) fn rewound(&self) -> Bytes {
        Bytes { at: 0, ..self.clone() }
    }

    /// Number of bytes.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Reads up to `count` bytes at `at`; fewer at the end.
    pub(super) fn get(&self, at: u64, count: usize) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut reader = Bytes { at, ..self.clone() };
        reader.by_ref().take(count as u64).read_to_end(&mut out)?;
        Ok(out)
    }

    /// Reads exactly `N` bytes at `at`, or `None` if the input ends before.
    pub(super) fn array<const N: usize>(&self, at: u64) -> io::Result<Option<[u8; N]>> {
        Ok(self.get(at, N)?.try_into().ok())
    }
}

impl Read for Bytes {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = self.len.saturating_sub(self.at);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(out.len());
        if count == 0 {
            return Ok(0);
        }
        let read = self.input.read_at(&mut out[..count], self.base + self.at)?;
        let range = self.at..self.at + read as u64;
        for patch in &*self.patches {
            let (start, end) =
                (patch.at.max(range.start), (patch.at + patch.bytes.len() as u64).min(range.end));
            if start < end {
                let from = &patch.bytes[(start - patch.at) as usize..(end - patch.at) as usize];
                out[(start - range.start) as usize..(end - range.start) as usize].copy_from_slice(from);
            }
        }
        self.at = range.end;
        Ok(read)
    }
}

impl Seek for Bytes {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

impl MediaSource for Bytes {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.len)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn patches_replace_bytes_wherever_reading_starts() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"xx0123456789").unwrap();
        let bytes = Bytes::new(file.into()).unwrap().skipping(2);
        let patched = bytes.patched(vec![Patch { at: 3, bytes: b"abc".to_vec() }]);
        assert_eq!(patched.get(0, 99).unwrap(), b"012abc6789");
        assert_eq!(patched.get(4, 1).unwrap(), b"b");
        assert_eq!(patched.get(5, 3).unwrap(), b"c67");
        assert_eq!(patched.array::<3>(8).unwrap(), None);
        assert_eq!(bytes.get(0, 99).unwrap(), b"0123456789");
        assert_eq!(bytes.skipping(99).len(), 0);
        let mut reader = patched.rewound();
        assert_eq!(reader.seek(SeekFrom::End(-2)).unwrap(), 8);
        assert!(reader.seek(SeekFrom::Current(-9)).is_err());
        assert_eq!(reader.seek(SeekFrom::Start(99)).unwrap(), 99);
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    }
}
