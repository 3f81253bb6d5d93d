//! Named arrays of a model.

use std::collections::BTreeMap;

use super::checkpoint::{Checkpoint, Variant};
use super::error::WeightsError;
use super::info::{WeightsFormat, WeightsInfo};
use super::manifest::DigestCheck;
use super::table::{TensorSpec, Transform, finite, rotate_planes};
use crate::tensor::HostTensor;

/// Named arrays of one model, checked against its tensor specs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights {
    pub(super) tensors: BTreeMap<String, HostTensor>,
    pub(super) info: WeightsInfo,
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
    #[cfg_attr(not(feature = "unstable"), doc(hidden))]
    pub fn from_checkpoint(specs: &[TensorSpec], checkpoint: Checkpoint) -> Result<Weights, WeightsError> {
        let (variant, mut raw) = checkpoint.into_parts();
        let mut tensors = select(specs, &mut raw, |spec| &spec.checkpoint)?;
        if variant == Variant::Theano {
            for spec in specs.iter().filter(|spec| spec.transform == Transform::ConvolutionKernel) {
                if let Some(tensor) = tensors.get_mut(&spec.name) {
                    rotate_planes(spec.shape, tensor.data_mut());
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

    /// The same arrays with another origin.
    pub(crate) fn with_info(self, info: WeightsInfo) -> Weights {
        Weights { info, ..self }
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
    #[cfg_attr(not(feature = "unstable"), doc(hidden))]
    pub fn info(&self) -> &WeightsInfo {
        &self.info
    }
}

/// Takes the arrays of `specs` out of `raw`. `key` returns the name in `raw`.
pub(super) fn select(
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
                finite(&spec.name, tensor.data())?;
                tensors.insert(spec.name.clone(), tensor);
            }
            None if spec.required => missing.push((spec.name.clone(), key(spec).clone())),
            None => {}
        }
    }
    if missing.is_empty() { Ok(tensors) } else { Err(WeightsError::Missing { missing }) }
}
