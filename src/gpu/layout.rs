//! Host order to stored order and back: `[N, C, F, T]` row-major to channels last, padded, f32 or f16.

use std::borrow::Cow;

use crate::kernels::Packed;
use crate::tensor::{DType, Shape, stored_channels};

/// Rows of a tensor: how many times a run of channels is stored, and how logical indices step through it.
struct Rows {
    clips: usize,
    places: usize,
    channels: usize,
    stored: usize,
}

impl Rows {
    fn of(shape: Shape) -> Rows {
        let channels = shape.channels();
        let stored = stored_channels(channels);
        match shape.rank() {
            4 => Rows { clips: shape.extent(0), places: shape.extent(2) * shape.extent(3), channels, stored },
            _ => Rows { clips: shape.len() / channels.max(1), places: 1, channels, stored },
        }
    }

    /// Returns true if the host's order is the stored order.
    fn is_identity(&self) -> bool {
        self.stored == self.channels && (self.places == 1 || self.channels == 1)
    }

    /// Calls `visit(logical index, stored index)` for every element.
    fn each(&self, mut visit: impl FnMut(usize, usize)) {
        for clip in 0..self.clips {
            for channel in 0..self.channels {
                for place in 0..self.places {
                    let logical = (clip * self.channels + channel) * self.places + place;
                    visit(logical, (clip * self.places + place) * self.stored + channel);
                }
            }
        }
    }
}

/// `data` of `shape` as the device stores it, padded to four bytes; borrowed where that is the same.
pub(super) fn to_stored(shape: Shape, dtype: DType, data: &[f32]) -> Cow<'_, [u8]> {
    let rows = Rows::of(shape);
    if rows.is_identity() {
        return match dtype {
            DType::F32 => Cow::Borrowed(bytemuck::cast_slice(data)),
            DType::F16 => Cow::Owned(element_bytes(data, dtype)),
        };
    }
    let mut stored = vec![0.0; shape.stored_len()];
    rows.each(|logical, place| stored[place] = data[logical]);
    Cow::Owned(element_bytes(&stored, dtype))
}

/// Values as bytes, padded to four.
fn element_bytes(values: &[f32], dtype: DType) -> Vec<u8> {
    let mut bytes: Vec<u8> = match dtype {
        DType::F32 => bytemuck::cast_slice(values).to_vec(),
        DType::F16 => values.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect(),
    };
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Stored bytes of a tensor back in the order of its shape.
pub(super) fn from_stored(shape: Shape, dtype: DType, bytes: &[u8]) -> Vec<f32> {
    let mut stored: Vec<f32> = match dtype {
        DType::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        DType::F16 => {
            bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
        }
    };
    let rows = Rows::of(shape);
    if rows.is_identity() {
        // What pads the bytes to four is no value.
        stored.truncate(shape.len());
        return stored;
    }
    let mut data = vec![0.0; shape.len()];
    rows.each(|logical, place| data[logical] = stored[place]);
    data
}

/// A weight array as bytes, padded to four.
pub(super) fn weight_bytes(packed: &Packed, element: DType) -> Vec<u8> {
    match packed {
        Packed::Element(values) => element_bytes(values, element),
        Packed::F32(values) => element_bytes(values, DType::F32),
        Packed::U32(values) => bytemuck::cast_slice(values).to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for shape in [[2, 3, 5, 7].into(), [2, 1, 5, 7].into(), Shape::from([3, 5]), [2, 7, 5].into()] {
            let data: Vec<f32> = (0..shape.len()).map(|v| v as f32).collect();
            for dtype in [DType::F32, DType::F16] {
                let stored = to_stored(shape, dtype, &data);
                assert_eq!(stored.len(), (shape.stored_len() * dtype.size()).next_multiple_of(4));
                assert_eq!(from_stored(shape, dtype, &stored), data);
            }
        }
    }

    #[test]
    fn channels_go_last() {
        let stored = to_stored([1, 2, 1, 2].into(), DType::F32, &[1.0, 2.0, 3.0, 4.0]);
        let stored: &[f32] = bytemuck::cast_slice(&stored);
        assert_eq!(stored, [1.0, 3.0, 0.0, 0.0, 2.0, 4.0, 0.0, 0.0]);
    }
}
