//! Arrays of a Keras 1 weight file.

use std::collections::BTreeMap;
use std::fmt;

use crate::tensor::HostTensor;

/// The first bytes of an HDF5 file.
pub(super) const HDF5_SIGNATURE: [u8; 8] = *b"\x89HDF\r\n\x1a\n";

/// Backend of Keras that wrote a checkpoint; determines names and orientation of kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// Plain names; kernels for convolution.
    Theano,
    /// Names with `:0`; kernels for correlation.
    TensorFlow,
}

impl Variant {
    /// Name in file names, manifests and metadata.
    pub const fn as_str(self) -> &'static str {
        match self {
            Variant::Theano => "theano",
            Variant::TensorFlow => "tensorflow",
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Arrays of a Keras 1 weight file, unmodified and not checked against a model.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    variant: Variant,
    tensors: BTreeMap<String, HostTensor>,
}

impl Checkpoint {
    pub(super) fn new(variant: Variant, tensors: BTreeMap<String, HostTensor>) -> Checkpoint {
        Checkpoint { variant, tensors }
    }

    /// Backend that wrote the file.
    pub fn variant(&self) -> Variant {
        self.variant
    }

    /// Arrays by name without backend suffixes, such as `conv1_W`.
    pub fn tensors(&self) -> &BTreeMap<String, HostTensor> {
        &self.tensors
    }

    /// Converts to variant and arrays.
    pub fn into_parts(self) -> (Variant, BTreeMap<String, HostTensor>) {
        (self.variant, self.tensors)
    }
}
