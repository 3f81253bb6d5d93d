//! Loading the weights of a model.

use std::path::Path;

use super::error::WeightsError;
use super::file::{read_file, sha256_hex};
use super::info::WeightsFormat;
use super::manifest::{DigestCheck, Manifest};
use super::named::Weights;
use super::raw::RawWeights;
use super::table::TensorSpec;

/// Loads the weights of one model from a file of either format, detected by its first bytes.
///
/// The digest of the file is compared with the manifest; see [`WeightsInfo::digest`](super::WeightsInfo::digest). A modified file with a published
/// name is loaded if possible.
///
/// # Errors
/// [`WeightsError::Io`], or [`WeightsError::File`] with the error of the contents (see
/// [`Checkpoint::from_bytes`](super::Checkpoint::from_bytes) and [`Weights::from_checkpoint`]).
pub fn load(path: &Path, specs: &[TensorSpec], manifest: &Manifest) -> Result<Weights, WeightsError> {
    let bytes = read_file(path)?;
    let sha256 = sha256_hex(&bytes);
    let digest = manifest.check(path, &sha256);
    let weights = parse(bytes, specs, Some(&manifest.model)).map_err(|error| match &digest {
        DigestCheck::Mismatch { file, expected, found } => WeightsError::Altered {
            file: file.clone(),
            expected: expected.clone(),
            found: found.clone(),
            source: Box::new(error),
        },
        _ => error,
    });
    let mut weights = weights.map_err(|error| error.in_file(path))?;
    let info = &mut weights.info;
    info.path = Some(path.to_path_buf());
    if info.format == Some(WeightsFormat::Keras) {
        info.source_sha256 = Some(sha256.clone());
        if let DigestCheck::Known { .. } = digest {
            info.licence = Some(manifest.licence.clone());
            info.origin = Some(manifest.origin());
        }
    }
    info.model.get_or_insert_with(|| manifest.model.clone());
    info.sha256 = Some(sha256);
    info.digest = digest;
    Ok(weights)
}

/// Loads the weights of one model from bytes built into the program.
///
/// # Errors
/// As [`load`]; the digest must be that of the manifest.
pub fn load_embedded(
    bytes: &[u8],
    specs: &[TensorSpec],
    manifest: &Manifest,
) -> Result<Weights, WeightsError> {
    let sha256 = sha256_hex(bytes);
    let Some(file) = manifest.embedded.as_ref().filter(|file| file.sha256 == sha256) else {
        let reason = format!("no embedded file has the SHA-256 {sha256}");
        return Err(WeightsError::Manifest { reason });
    };
    let mut weights = parse(bytes.to_vec(), specs, Some(&manifest.model))?;
    weights.info.digest = DigestCheck::Known { file: file.name.clone() };
    weights.info.sha256 = Some(sha256);
    Ok(weights)
}

/// Reads weights from the bytes of a file of either format, detected by its first bytes.
///
/// # Errors
/// As [`load`].
pub fn from_bytes(bytes: Vec<u8>, specs: &[TensorSpec]) -> Result<Weights, WeightsError> {
    RawWeights::read(bytes)?.into_weights(specs)
}

/// Reads arrays and metadata of either format. Metadata that names a model must name `model`.
pub(super) fn parse(
    bytes: Vec<u8>,
    specs: &[TensorSpec],
    model: Option<&str>,
) -> Result<Weights, WeightsError> {
    let raw = RawWeights::read(bytes)?;
    if let (Some(found), Some(expected)) = (raw.metadata("model"), model)
        && found != expected
    {
        let (expected, found) = (format!("\"{expected}\""), format!("\"{found}\""));
        return Err(WeightsError::Metadata { key: "model", expected, found });
    }
    raw.into_weights(specs)
}
