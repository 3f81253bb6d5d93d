//! Shapes and host tensors: row-major, owned, with no device behind them.
//!
//! Shapes are written as `[N, C, F, T]` (clip, channel, frequency, time). A [`HostTensor`] stores f32 in that order.
//! Devices store tensors channels last and padded: see [`Shape::stored_len`].

use std::fmt;

/// Maximum rank of a [`Shape`].
#[cfg_attr(not(feature = "unstable"), doc(hidden))]
pub const MAX_RANK: usize = 4;

/// Number of stored channels for `channels` channels: one channel is not padded, more are padded to a multiple of four
/// so that kernels can read `vec4`s.
#[cfg_attr(not(feature = "unstable"), doc(hidden))]
pub const fn stored_channels(channels: usize) -> usize {
    if channels <= 1 { channels } else { channels.next_multiple_of(4) }
}

/// Storage type of a tensor on a device. Host tensors are always f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DType {
    /// IEEE 754 binary32.
    #[default]
    F32,
    /// IEEE 754 binary16; sums are in f32.
    F16,
}

impl DType {
    /// Size of one element in bytes.
    pub const fn size(self) -> usize {
        match self {
            DType::F32 => 4,
            DType::F16 => 2,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F32 => "f32",
            DType::F16 => "f16",
        })
    }
}

/// Extents of a tensor, outermost axis first, at most [`MAX_RANK`] of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    rank: usize,
    extents: [usize; MAX_RANK],
}

impl Shape {
    /// Makes a shape from its extents.
    ///
    /// # Panics
    /// With more than [`MAX_RANK`] extents; ranks are fixed in code and never depend on data.
    pub const fn new(extents: &[usize]) -> Shape {
        assert!(extents.len() <= MAX_RANK, "a shape has at most four axes");
        let mut shape = Shape { rank: extents.len(), extents: [1; MAX_RANK] };
        let mut axis = 0;
        while axis < extents.len() {
            shape.extents[axis] = extents[axis];
            axis += 1;
        }
        shape
    }

    /// Extents, outermost first.
    pub fn extents(&self) -> &[usize] {
        &self.extents[..self.rank]
    }

    /// Number of axes.
    pub const fn rank(&self) -> usize {
        self.rank
    }

    /// Number of elements, or `None` if it does not fit a `usize`.
    pub fn checked_len(&self) -> Option<usize> {
        self.extents().iter().try_fold(1usize, |product, &extent| product.checked_mul(extent))
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.extents().iter().product()
    }

    /// True if any extent is zero.
    pub fn is_empty(&self) -> bool {
        self.extents().contains(&0)
    }

    /// Extent of `axis`, or 1 past the last axis.
    pub fn extent(&self, axis: usize) -> usize {
        self.extents().get(axis).copied().unwrap_or(1)
    }

    /// Returns the shape with another outermost extent (batch).
    #[cfg_attr(not(feature = "unstable"), doc(hidden))]
    pub fn with_batch(mut self, batch: usize) -> Shape {
        if self.rank > 0 {
            self.extents[0] = batch;
        }
        self
    }

    /// Channel axis: axis 1 of `[N, C, F, T]`, otherwise the last one.
    #[cfg_attr(not(feature = "unstable"), doc(hidden))]
    pub const fn channel_axis(&self) -> usize {
        if self.rank == 4 { 1 } else { self.rank.saturating_sub(1) }
    }

    /// Number of channels (see [`Shape::channel_axis`]).
    #[cfg_attr(not(feature = "unstable"), doc(hidden))]
    pub fn channels(&self) -> usize {
        self.extent(self.channel_axis())
    }

    /// Number of stored elements on a device: channels padded by [`stored_channels`].
    #[cfg_attr(not(feature = "unstable"), doc(hidden))]
    pub fn stored_len(&self) -> usize {
        match self.channels() {
            0 => 0,
            channels => self.len() / channels * stored_channels(channels),
        }
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.extents())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.extents())
    }
}

impl<const R: usize> From<[usize; R]> for Shape {
    fn from(extents: [usize; R]) -> Shape {
        Shape::new(&extents)
    }
}

/// Error of making a [`HostTensor`]: wrong number of elements.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("shape {shape} holds {expected} elements, found {found}")]
pub struct LengthError {
    /// Requested shape.
    pub shape: Shape,
    /// Expected number of elements.
    pub expected: usize,
    /// Actual number of elements.
    pub found: usize,
}

/// Tensor in host memory: row-major f32.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    shape: Shape,
    data: Vec<f32>,
}

impl HostTensor {
    /// Makes a tensor from its elements in row-major order.
    ///
    /// # Errors
    /// [`LengthError`] if the number of elements differs.
    pub fn new(shape: impl Into<Shape>, data: Vec<f32>) -> Result<HostTensor, LengthError> {
        let shape = shape.into();
        match shape.checked_len() {
            Some(expected) if expected == data.len() => Ok(HostTensor { shape, data }),
            expected => {
                Err(LengthError { shape, expected: expected.unwrap_or(usize::MAX), found: data.len() })
            }
        }
    }

    /// Makes a tensor of zeros.
    pub fn zeros(shape: impl Into<Shape>) -> HostTensor {
        let shape = shape.into();
        HostTensor { shape, data: vec![0.0; shape.len()] }
    }

    /// Makes a tensor whose element at row-major index `i` is `value(i)`.
    pub fn from_fn(shape: impl Into<Shape>, value: impl FnMut(usize) -> f32) -> HostTensor {
        let shape = shape.into();
        HostTensor { shape, data: (0..shape.len()).map(value).collect() }
    }

    /// Shape of the tensor.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Elements in row-major order.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// Mutable elements in row-major order.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// Converts to its elements in row-major order.
    pub fn into_data(self) -> Vec<f32> {
        self.data
    }

    /// Changes the shape to another one of the same length.
    ///
    /// # Errors
    /// [`LengthError`] if the lengths differ.
    pub fn reshaped(self, shape: impl Into<Shape>) -> Result<HostTensor, LengthError> {
        HostTensor::new(shape, self.data)
    }

    /// Row `index` along the outermost axis.
    pub fn row(&self, index: usize) -> &[f32] {
        let row = self.data.len() / self.shape.extent(0).max(1);
        &self.data[index * row..(index + 1) * row]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_len_pads_channels_only() {
        assert_eq!(Shape::from([2, 3, 5, 7]).stored_len(), 2 * 4 * 5 * 7);
        assert_eq!(Shape::from([2, 1, 5, 7]).stored_len(), 2 * 5 * 7);
        assert_eq!(Shape::from([2, 50]).stored_len(), 2 * 52);
        assert_eq!(Shape::from([2, 7, 5]).stored_len(), 2 * 7 * 8);
        assert_eq!(Shape::from([0, 3]).stored_len(), 0);
    }

    #[test]
    fn a_tensor_of_the_wrong_length_is_refused() {
        let error = HostTensor::new([2, 3], vec![0.0; 5]).unwrap_err();
        assert_eq!(error.to_string(), "shape [2, 3] holds 6 elements, found 5");
        assert!(HostTensor::new([usize::MAX, 3], vec![]).is_err());
    }
}
