//! Scratch memory that is reused between clips.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

/// A cache line, which is also the widest SIMD vector.
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Buffer aligned to cache lines, because vectors that straddle two lines cost twice.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    /// Makes a buffer of `len` zeros.
    pub(super) fn zeros(len: usize) -> Buffer {
        let mut buffer = Buffer::default();
        buffer.at_least(len);
        buffer
    }

    /// Makes a buffer of `values`.
    pub(super) fn of(values: &[f32]) -> Buffer {
        let mut buffer = Buffer::zeros(values.len());
        buffer.copy_from_slice(values);
        buffer
    }

    /// Returns `len` elements with unspecified content; grows if needed.
    pub(super) fn at_least(&mut self, len: usize) -> &mut [f32] {
        if len > self.len {
            self.lines.resize(len.div_ceil(16), Line::default());
            self.len = len;
        }
        &mut self[..len]
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

/// Scratch memory of one thread.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Strip of the input with its border.
    pub(super) strip: Buffer,
    /// Transformed input tiles, or buffers of other ops.
    pub(super) tiles: Buffer,
    /// Products of a matrix product.
    pub(super) products: Buffer,
    /// Convolution outputs before pooling.
    pub(super) sums: Buffer,
}

/// Pool of values that are reused; grows to the number of concurrent users.
#[derive(Debug)]
pub(super) struct ScratchPool<T> {
    spare: Mutex<Vec<T>>,
}

impl<T> Default for ScratchPool<T> {
    fn default() -> ScratchPool<T> {
        ScratchPool { spare: Mutex::default() }
    }
}

impl<T> ScratchPool<T> {
    /// Calls `work` with a value from the pool, or with a new one.
    pub(super) fn with<R>(&self, new: impl FnOnce() -> T, work: impl FnOnce(&mut T) -> R) -> R {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut value = spare.unwrap_or_else(new);
        let result = work(&mut value);
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(value);
        result
    }
}
