//! Format and origin of weights.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::checkpoint::Variant;
use super::manifest::DigestCheck;
use crate::tensor::DType;

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
    /// Further metadata of a safetensors file, such as the labels of a model file. They are written as well.
    pub metadata: BTreeMap<String, String>,
}
