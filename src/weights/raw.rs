//! Arrays of a weight file before it is known which model they belong to.

use std::collections::BTreeMap;

#[cfg(feature = "keras")]
use super::checkpoint::Checkpoint;
use super::checkpoint::HDF5_SIGNATURE;
use super::error::WeightsError;
use super::file::sha256_hex;
use super::info::{WeightsFormat, WeightsInfo};
use super::named::{Weights, select};
use super::safetensors;
use super::table::TensorSpec;
use crate::tensor::{HostTensor, Shape};

/// Arrays and metadata of a file of either format.
#[derive(Clone, Debug)]
pub struct RawWeights {
    kind: RawKind,
    sha256: String,
}

#[derive(Clone, Debug)]
enum RawKind {
    #[cfg(feature = "keras")]
    Keras(Checkpoint),
    Safetensors {
        tensors: BTreeMap<String, HostTensor>,
        info: Box<WeightsInfo>,
        metadata: BTreeMap<String, String>,
    },
}

impl RawWeights {
    /// Reads a file of either format, detected by its first bytes.
    ///
    /// # Errors
    /// As [`load`](super::load), without those of a model.
    pub fn read(bytes: Vec<u8>) -> Result<RawWeights, WeightsError> {
        let sha256 = sha256_hex(&bytes);
        let kind = match format_of(&bytes)? {
            #[cfg(feature = "keras")]
            WeightsFormat::Keras => RawKind::Keras(Checkpoint::from_bytes(bytes)?),
            #[cfg(not(feature = "keras"))]
            WeightsFormat::Keras => return Err(WeightsError::NoKeras),
            WeightsFormat::Safetensors => {
                let (tensors, info, metadata) = safetensors::read(&bytes)?;
                RawKind::Safetensors { tensors, info: Box::new(info), metadata }
            }
        };
        Ok(RawWeights { kind, sha256 })
    }

    fn tensors(&self) -> &BTreeMap<String, HostTensor> {
        match &self.kind {
            #[cfg(feature = "keras")]
            RawKind::Keras(checkpoint) => checkpoint.tensors(),
            RawKind::Safetensors { tensors, .. } => tensors,
        }
    }

    /// Names in the file, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors().keys().map(String::as_str)
    }

    /// Shape of an array: `name` in safetensors, `checkpoint` in Keras files.
    pub fn shape(&self, name: &str, checkpoint: &str) -> Option<Shape> {
        #[cfg(not(feature = "keras"))]
        let _ = checkpoint;
        let name = match &self.kind {
            #[cfg(feature = "keras")]
            RawKind::Keras(_) => checkpoint,
            RawKind::Safetensors { .. } => name,
        };
        self.tensors().get(name).map(HostTensor::shape)
    }

    /// Metadata of a safetensors file.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        match &self.kind {
            #[cfg(feature = "keras")]
            RawKind::Keras(_) => None,
            RawKind::Safetensors { metadata, .. } => metadata.get(key).map(String::as_str),
        }
    }

    /// The arrays of `specs`, as [`load`](super::load) checks them.
    ///
    /// # Errors
    /// Missing arrays, other shapes, numbers that are not finite.
    pub fn into_weights(self, specs: &[TensorSpec]) -> Result<Weights, WeightsError> {
        let mut weights = match self.kind {
            #[cfg(feature = "keras")]
            RawKind::Keras(checkpoint) => Weights::from_checkpoint(specs, checkpoint)?,
            RawKind::Safetensors { mut tensors, info, .. } => {
                let selected = select(specs, &mut tensors, |spec| &spec.name)?;
                let info = WeightsInfo { ignored: tensors.into_keys().collect(), ..*info };
                Weights { tensors: selected, info }
            }
        };
        weights.info.sha256 = Some(self.sha256);
        Ok(weights)
    }
}

/// Format of a file by its first bytes.
pub(super) fn format_of(bytes: &[u8]) -> Result<WeightsFormat, WeightsError> {
    if bytes.starts_with(&HDF5_SIGNATURE) {
        Ok(WeightsFormat::Keras)
    } else if bytes.get(8) == Some(&b'{') {
        Ok(WeightsFormat::Safetensors)
    } else {
        Err(WeightsError::UnknownFormat { first: bytes.iter().take(8).copied().collect() })
    }
}
