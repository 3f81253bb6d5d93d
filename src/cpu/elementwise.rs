//! Elementwise and copying ops: activation, batch_norm, last_state, max_pool2d, pad_time. In a fused plan only
//! `last_state` remains.

use pulp::{Simd, WithSimd};

use super::kernel::{CpuKernel, KernelContext};
use super::simd::{activate, load, store};
use crate::kernels::{Activation, Axis, BatchNorm, MaxPool2d, PadTime};
use crate::tensor::{HostTensor, Shape};

/// Op without weights; the shape is that of its input.
#[derive(Debug)]
pub(super) enum Elementwise {
    Activation(Activation),
    LastState,
    MaxPool2d(MaxPool2d, Shape),
    PadTime(PadTime, Shape),
}

impl CpuKernel for Elementwise {
    fn run(&self, context: &KernelContext, x: &[&[f32]], y: &mut [f32]) {
        let x = x[0];
        match self {
            Elementwise::Activation(op) => context.arch.dispatch(Map { op: *op, x, y }),
            Elementwise::LastState => y.copy_from_slice(&x[x.len() - y.len()..]),
            Elementwise::MaxPool2d(op, shape) => context.arch.dispatch(|| max_pool2d(op, *shape, x, y)),
            Elementwise::PadTime(op, shape) => pad_time(op, *shape, x, y),
        }
    }

    fn kernel(&self) -> &'static str {
        match self {
            Elementwise::Activation(_) => "activation",
            Elementwise::LastState => "last_state",
            Elementwise::MaxPool2d(..) => "max_pool2d",
            Elementwise::PadTime(..) => "pad_time",
        }
    }
}

struct Map<'a> {
    op: Activation,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl WithSimd for Map<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for (x, y) in self.x.chunks(S::F32_LANES).zip(self.y.chunks_mut(S::F32_LANES)) {
            store(simd, y, activate(simd, self.op, load(simd, x)));
        }
    }
}

#[inline(always)]
fn max_pool2d(op: &MaxPool2d, shape: Shape, x: &[f32], y: &mut [f32]) {
    let [channels, f, t] = [1, 2, 3].map(|axis| shape.extent(axis));
    let [pf, pt] = op.window;
    let columns = t / pt;
    let rows = y.chunks_exact_mut(columns * channels).take(f / pf);
    for (row, y) in rows.enumerate() {
        for (column, y) in y.chunks_exact_mut(channels).enumerate() {
            y.fill(f32::NEG_INFINITY);
            for k in 0..pf * pt {
                let place = (row * pf + k / pt) * t + column * pt + k % pt;
                for (y, &x) in y.iter_mut().zip(&x[place * channels..][..channels]) {
                    // NaN is kept.
                    *y = if *y > x || y.is_nan() { *y } else { x };
                }
            }
        }
    }
}

fn pad_time(op: &PadTime, shape: Shape, x: &[f32], y: &mut [f32]) {
    let [channels, _, t] = [1, 2, 3].map(|axis| shape.extent(axis));
    let columns = op.left + t + op.right;
    for (x, y) in x.chunks_exact(t * channels).zip(y.chunks_exact_mut(columns * channels)) {
        y.fill(0.0);
        y[op.left * channels..][..x.len()].copy_from_slice(x);
    }
}

/// Batch normalisation: scale and shift along one axis.
#[derive(Debug)]
pub(super) struct Affine {
    axis: Axis,
    channels: usize,
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl Affine {
    /// Scale and shift for inputs of shape `x`.
    pub(super) fn new(op: &BatchNorm, x: Shape, [scale, shift]: [&HostTensor; 2]) -> Affine {
        let (scale, shift) = (scale.data().to_vec(), shift.data().to_vec());
        Affine { axis: op.axis, channels: x.extent(1), scale, shift }
    }
}

impl Affine {
    #[inline(always)]
    fn map(&self, x: &[f32], y: &mut [f32]) {
        // One channel along time is a row of frames.
        if self.axis == Axis::Channel || self.channels == 1 {
            let row = self.scale.len();
            for (x, y) in x.chunks_exact(row).zip(y.chunks_exact_mut(row)) {
                for (((y, x), scale), shift) in y.iter_mut().zip(x).zip(&self.scale).zip(&self.shift) {
                    *y = x * scale + shift;
                }
            }
            return;
        }
        let rows = x.chunks_exact(self.channels).zip(y.chunks_exact_mut(self.channels));
        for ((x, y), frame) in rows.zip((0..self.scale.len()).cycle()) {
            for (y, x) in y.iter_mut().zip(x) {
                *y = x * self.scale[frame] + self.shift[frame];
            }
        }
    }
}

impl CpuKernel for Affine {
    fn run(&self, context: &KernelContext, x: &[&[f32]], y: &mut [f32]) {
        context.arch.dispatch(|| self.map(x[0], y));
    }

    fn kernel(&self) -> &'static str {
        "batch_norm"
    }
}
