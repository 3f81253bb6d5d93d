//! Reading of weight files, and digests.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::error::WeightsError;

/// Maximum size of a weight file: 1 GiB. The published files have at most 4 MB.
pub const MAX_FILE_BYTES: u64 = 1 << 30;

/// Reads a regular file of at most [`MAX_FILE_BYTES`].
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, WeightsError> {
    // Checked before opening: opening a pipe would wait for a writer.
    let before = std::fs::metadata(path).map_err(WeightsError::io("read", path))?;
    if !before.is_file() {
        return Err(WeightsError::NotAFile.in_file(path));
    }
    let file = File::open(path).map_err(WeightsError::io("read", path))?;
    let too_large = |found| Err(WeightsError::TooLarge { limit: MAX_FILE_BYTES, found }.in_file(path));
    if before.len() > MAX_FILE_BYTES {
        return too_large(before.len());
    }
    let mut bytes = Vec::with_capacity(before.len() as usize + 1);
    // A file may grow while it is read.
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(WeightsError::io("read", path))?;
    if bytes.len() as u64 > MAX_FILE_BYTES { too_large(bytes.len() as u64) } else { Ok(bytes) }
}

/// SHA-256 of `bytes` as 64 lower-case hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
