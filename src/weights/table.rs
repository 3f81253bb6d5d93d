//! Tensor specs: the arrays that a model needs.
//!
//! Only the types are here. The specs are in the model files, the only place with names of checkpoints.

use super::error::WeightsError;
use crate::tensor::Shape;

/// Role of an array in training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TensorRole {
    /// Trained by gradient descent.
    Trainable,
    /// Running statistic of batch normalisation.
    Statistic,
}

/// Transformation of an array when a checkpoint is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transform {
    /// None.
    #[default]
    None,
    /// Convolution kernel `[O, C, F, T]`. Kernels of the Theano backend are rotated by 180 degrees over the last two axes
    /// to become correlation kernels.
    ConvolutionKernel,
}

/// Specification of one array of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TensorSpec {
    /// Name in this project, such as `conv1.kernel`.
    pub name: String,
    /// Name in the checkpoint without backend suffixes, such as `conv1_W`.
    pub checkpoint: String,
    /// Shape in the checkpoint and in the model.
    pub shape: Shape,
    /// Role in training.
    pub role: TensorRole,
    /// Transformation when a checkpoint is read.
    pub transform: Transform,
    /// True if files without it are invalid.
    pub required: bool,
}

impl TensorSpec {
    /// A required, trainable array without transformation.
    #[cfg_attr(not(feature = "unstable"), doc(hidden))]
    pub fn trainable(
        name: impl Into<String>,
        checkpoint: impl Into<String>,
        shape: impl Into<Shape>,
    ) -> TensorSpec {
        TensorSpec {
            name: name.into(),
            checkpoint: checkpoint.into(),
            shape: shape.into(),
            role: TensorRole::Trainable,
            transform: Transform::None,
            required: true,
        }
    }

    /// A required, trainable convolution kernel `[O, C, F, T]` (see [`Transform::ConvolutionKernel`]).
    #[cfg_attr(not(feature = "unstable"), doc(hidden))]
    pub fn kernel(
        name: impl Into<String>,
        checkpoint: impl Into<String>,
        shape: impl Into<Shape>,
    ) -> TensorSpec {
        TensorSpec {
            transform: Transform::ConvolutionKernel,
            ..TensorSpec::trainable(name, checkpoint, shape)
        }
    }

    /// A required running statistic.
    #[cfg_attr(not(feature = "unstable"), doc(hidden))]
    pub fn statistic(
        name: impl Into<String>,
        checkpoint: impl Into<String>,
        shape: impl Into<Shape>,
    ) -> TensorSpec {
        TensorSpec { role: TensorRole::Statistic, ..TensorSpec::trainable(name, checkpoint, shape) }
    }

    /// Makes the array optional.
    #[cfg_attr(not(feature = "unstable"), doc(hidden))]
    pub fn optional(self) -> TensorSpec {
        TensorSpec { required: false, ..self }
    }
}

/// Number of elements of all tensors of `role`, or of all tensors.
pub fn parameter_count(specs: &[TensorSpec], role: impl Into<Option<TensorRole>>) -> usize {
    let role = role.into();
    specs.iter().filter(|spec| role.is_none_or(|role| spec.role == role)).map(|spec| spec.shape.len()).sum()
}

/// Rotates every `[F, T]` plane of a row-major `[.., F, T]` array by 180 degrees. Arrays of fewer than two
/// axes stay as they are.
pub(crate) fn rotate_planes(shape: Shape, data: &mut [f32]) {
    let rank = shape.rank();
    if rank < 2 {
        return;
    }
    let plane = shape.extent(rank - 2) * shape.extent(rank - 1);
    if plane > 0 {
        data.chunks_exact_mut(plane).for_each(<[f32]>::reverse);
    }
}

/// Checks that all values are finite.
///
/// # Errors
/// [`WeightsError::NotFinite`] with the first index of a NaN or infinity.
pub(super) fn finite(name: &str, data: &[f32]) -> Result<(), WeightsError> {
    match data.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(WeightsError::NotFinite { name: name.to_string(), index, value: data[index] }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_go_by_role() {
        let specs = [
            TensorSpec::kernel("conv1.kernel", "conv1_W", [3, 2, 5, 7]),
            TensorSpec::trainable("dense.bias", "dense_b", [11]).optional(),
            TensorSpec::statistic("bn1.mean", "bn1_running_mean", [3]),
        ];
        assert_eq!(parameter_count(&specs, TensorRole::Trainable), 3 * 2 * 5 * 7 + 11);
        assert_eq!(parameter_count(&specs, TensorRole::Statistic), 3);
        assert_eq!(parameter_count(&specs, None), 3 * 2 * 5 * 7 + 11 + 3);
    }

    #[test]
    fn planes_turn_one_by_one() {
        let mut data: Vec<f32> = (0..12).map(|i| i as f32).collect();
        rotate_planes(Shape::from([1, 2, 2, 3]), &mut data);
        assert_eq!(data, [5., 4., 3., 2., 1., 0., 11., 10., 9., 8., 7., 6.]);
        let mut vector = [1.0, 2.0];
        rotate_planes(Shape::from([2]), &mut vector);
        assert_eq!(vector, [1.0, 2.0]);
        rotate_planes(Shape::from([2, 0]), &mut []);
    }
}
