//! Weight files: reading, checking, storing and downloading.
//!
//! | input | function | output |
//! |---|---|---|
//! | weight file of either format, tensor specs of a model | [`load`] | [`Weights`] |
//! | bytes of Keras 1 HDF5 | [`Checkpoint::from_bytes`], [`Weights::from_checkpoint`] | [`Weights`] |
//! | [`Weights`] | [`export`] | a safetensors file |
//! | a model's [`Manifest`] | [`Locator::locate`], `fetch` | a path |
//!
//! Kernels in [`Weights`] are for correlation, all shapes are those of the model, and all numbers are finite. Files are
//! not trusted: a damaged file is an error, and memory is bounded by the size of the file, not by its headers.
//!
//! Not here: tensor specs of the models, folding of batch normalisation, packing for a device.

mod error;
mod keras;
mod manifest;
mod safetensors;
mod store;
mod table;

#[cfg(feature = "fetch")]
mod fetch;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::tensor::{DType, HostTensor};

pub use error::{FetchError, WeightsError};
#[cfg(feature = "fetch")]
pub use fetch::{DownloadProgress, FetchOptions, Fetched, ProxyPolicy, fetch};
pub use keras::{Checkpoint, Variant};
pub use manifest::{DigestCheck, EmbeddedFile, Manifest, ManifestFile};
pub use safetensors::{FORMAT_VERSION, LAYOUT};
pub use store::{
    Contents, ImportReport, Locator, StoreEntry, VerifyReport, export, import, list, own_file_name, verify,
};
pub use table::{TensorRole, TensorSpec, Transform, parameter_count};

/// Maximum size of a weight file: 1 GiB. The published files have at most 4 MB.
pub const MAX_FILE_BYTES: u64 = 1 << 30;

/// File format of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WeightsFormat {
    /// Keras 1 HDF5.
    Keras,
    /// safetensors with metadata of tagwave.
    Safetensors,
}

impl fmt::Display for WeightsFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WeightsFormat::Keras => "keras hdf5",
            WeightsFormat::Safetensors => "safetensors",
        })
    }
}

/// Origin of weights. All fields are optional: weights made in memory have no file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WeightsInfo {
    /// The file.
    pub path: Option<PathBuf>,
    /// Its format.
    pub format: Option<WeightsFormat>,
    /// SHA-256 of the file, 64 lower-case hexadecimal digits.
    pub sha256: Option<String>,
    /// Comparison of the file's digest with the manifest. Callers should report a [`DigestCheck::Mismatch`].
    pub digest: DigestCheck,
    /// Storage type in the file; f16 is rounded.
    pub dtype: DType,
    /// Backend of the Keras file that the arrays were imported from.
    pub variant: Option<Variant>,
    /// SHA-256 of the file that the arrays were imported from.
    pub source_sha256: Option<String>,
    /// Name of the model, if known.
    pub model: Option<String>,
    /// Licence of the weights.
    pub licence: Option<String>,
    /// Repository and commit of the weights.
    pub origin: Option<String>,
    /// Names in the file that the model does not use.
    pub ignored: Vec<String>,
}

/// Named arrays of one model, checked against its tensor specs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights {
    tensors: BTreeMap<String, HostTensor>,
    info: WeightsInfo,
}

impl Weights {
    /// Makes weights from arrays in memory, without checks.
    pub fn from_tensors(tensors: impl IntoIterator<Item = (String, HostTensor)>) -> Weights {
        Weights { tensors: tensors.into_iter().collect(), info: WeightsInfo::default() }
    }

    /// Selects the arrays of `specs` and converts kernels to correlation kernels.
    ///
    /// # Errors
    /// [`WeightsError::Missing`] with all missing required arrays, [`WeightsError::Shape`],
    /// [`WeightsError::NotFinite`].
    pub fn from_checkpoint(specs: &[TensorSpec], checkpoint: Checkpoint) -> Result<Weights, WeightsError> {
        let (variant, mut raw) = checkpoint.into_parts();
        let mut tensors = select(specs, &mut raw, |spec| &spec.checkpoint)?;
        if variant == Variant::Theano {
            for spec in specs.iter().filter(|spec| spec.transform == Transform::ConvolutionKernel) {
                if let Some(tensor) = tensors.get_mut(&spec.name) {
                    table::rotate_planes(spec.shape, tensor.data_mut());
                }
            }
        }
        let info = WeightsInfo {
            format: Some(WeightsFormat::Keras),
            variant: Some(variant),
            ignored: raw.into_keys().collect(),
            ..WeightsInfo::default()
        };
        Ok(Weights { tensors, info })
    }

    /// Returns an array by name, such as `conv1.kernel`.
    ///
    /// # Errors
    /// [`WeightsError::Absent`] if there is none.
    pub fn get(&self, name: &str) -> Result<&HostTensor, WeightsError> {
        self.tensors.get(name).ok_or_else(|| WeightsError::Absent {
            name: name.to_string(),
            origin: match (&self.info.path, self.info.variant) {
                (Some(path), Some(variant)) => format!("{} (variant {variant})", path.display()),
                (Some(path), None) => path.display().to_string(),
                (None, Some(variant)) => format!("a {variant} checkpoint"),
                (None, None) => "this set".to_string(),
            },
            count: self.tensors.len(),
        })
    }

    /// Returns an array by name, if there is one.
    pub fn get_optional(&self, name: &str) -> Option<&HostTensor> {
        self.tensors.get(name)
    }

    /// Adds or replaces an array, measured statistics for example.
    ///
    /// If this changes the weights, [`WeightsInfo`] keeps path, variant, model and licence, and loses both digests, the
    /// result of their check, and the origin.
    pub fn insert(&mut self, name: impl Into<String>, tensor: HostTensor) {
        let name = name.into();
        if self.tensors.get(&name) == Some(&tensor) {
            return;
        }
        self.tensors.insert(name, tensor);
        self.info.sha256 = None;
        self.info.source_sha256 = None;
        self.info.origin = None;
        self.info.digest = DigestCheck::Unknown;
    }

    /// All names, sorted.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// All names and arrays, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &HostTensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Total number of elements of all arrays.
    pub fn parameter_count(&self) -> usize {
        self.tensors.values().map(|tensor| tensor.shape().len()).sum()
    }

    /// Origin of the weights.
    pub fn info(&self) -> &WeightsInfo {
        &self.info
    }
}

/// Loads the weights of one model from a file of either format, detected by its first bytes.
///
/// The digest of the file is compared with the manifest; see [`WeightsInfo::digest`]. A modified file with a published
/// name is loaded if possible.
///
/// # Errors
/// [`WeightsError::Io`], or [`WeightsError::File`] with the error of the contents (see
/// [`Checkpoint::from_bytes`] and [`Weights::from_checkpoint`]).
pub fn load(path: &Path, specs: &[TensorSpec], manifest: &Manifest) -> Result<Weights, WeightsError> {
    let bytes = read_file(path)?;
    let sha256 = sha256_hex(&bytes);
    let digest = manifest.check(path, &sha256);
    let weights = parse(bytes, specs, manifest).map_err(|error| match &digest {
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
    let mut weights = parse(bytes.to_vec(), specs, manifest)?;
    weights.info.digest = DigestCheck::Known { file: file.name.clone() };
    weights.info.sha256 = Some(sha256);
    Ok(weights)
}

/// Reads arrays and metadata of either format.
fn parse(bytes: Vec<u8>, specs: &[TensorSpec], manifest: &Manifest) -> Result<Weights, WeightsError> {
    match format_of(&bytes)? {
        WeightsFormat::Keras => Weights::from_checkpoint(specs, Checkpoint::from_bytes(bytes)?),
        WeightsFormat::Safetensors => {
            let (mut raw, mut info) = safetensors::read(&bytes)?;
            drop(bytes);
            if let Some(model) = info.model.as_ref().filter(|model| **model != manifest.model) {
                let expected = format!("\"{}\"", manifest.model);
                return Err(WeightsError::Metadata { key: "model", expected, found: format!("\"{model}\"") });
            }
            let tensors = select(specs, &mut raw, |spec| &spec.name)?;
            info.ignored = raw.into_keys().collect();
            Ok(Weights { tensors, info })
        }
    }
}

fn format_of(bytes: &[u8]) -> Result<WeightsFormat, WeightsError> {
    if bytes.starts_with(&keras::SIGNATURE) {
        Ok(WeightsFormat::Keras)
    } else if bytes.get(8) == Some(&b'{') {
        Ok(WeightsFormat::Safetensors)
    } else {
        Err(WeightsError::UnknownFormat { first: bytes.iter().take(8).copied().collect() })
    }
}

/// Takes the arrays of `specs` out of `raw`. `key` returns the name in `raw`.
fn select(
    specs: &[TensorSpec],
    raw: &mut BTreeMap<String, HostTensor>,
    key: impl Fn(&TensorSpec) -> &String,
) -> Result<BTreeMap<String, HostTensor>, WeightsError> {
    let mut tensors = BTreeMap::new();
    let mut missing = Vec::new();
    for spec in specs {
        match raw.remove(key(spec)) {
            Some(tensor) if tensor.shape() != spec.shape => {
                let (name, found) = (spec.name.clone(), tensor.shape());
                return Err(WeightsError::Shape { name, expected: spec.shape, found });
            }
            Some(tensor) => {
                keras::finite(&spec.name, tensor.data())?;
                tensors.insert(spec.name.clone(), tensor);
            }
            None if spec.required => missing.push((spec.name.clone(), key(spec).clone())),
            None => {}
        }
    }
    if missing.is_empty() { Ok(tensors) } else { Err(WeightsError::Missing { missing }) }
}

/// Reads a regular file of at most [`MAX_FILE_BYTES`].
fn read_file(path: &Path) -> Result<Vec<u8>, WeightsError> {
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
