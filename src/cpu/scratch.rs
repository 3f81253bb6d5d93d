//! Memory that is kept from clip to clip.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

/// A cache line, which is also the widest vector.
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Numbers that begin on a cache line: a vector that straddles two costs twice.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    /// `len` zeros.
    pub(super) fn zeros(len: usize) -> Buffer {
        let mut buffer = Buffer::default();
        buffer.at_least(len);
        buffer
    }

    /// The numbers `values`.
    pub(super) fn of(values: &[f32]) -> Buffer {
        let mut buffer = Buffer::zeros(values.len());
        buffer.copy_from_slice(values);
        buffer
    }

    /// The first `len` numbers, whatever they hold; allocates only when it never held as many.
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

/// What one thread needs inside a layer.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// A strip of the input with its border.
    pub(super) strip: Buffer,
    /// Transformed input tiles, or anything that one op makes for itself.
    pub(super) tiles: Buffer,
    /// Products of a matrix product.
    pub(super) products: Buffer,
    /// Convolution outputs before pooling.
    pub(super) sums: Buffer,
}

/// Values that are lent out and come back: as many as there are borrowers at a time.
#[derive(Debug)]
pub(super) struct Shelf<T> {
    spare: Mutex<Vec<T>>,
}

impl<T> Default for Shelf<T> {
    fn default() -> Shelf<T> {
        Shelf { spare: Mutex::default() }
    }
}

impl<T> Shelf<T> {
    /// Calls `work` with a value from the shelf, or with a new one.
    pub(super) fn lend<R>(&self, new: impl FnOnce() -> T, work: impl FnOnce(&mut T) -> R) -> R {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut value = spare.unwrap_or_else(new);
        let result = work(&mut value);
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(value);
        result
    }
}
