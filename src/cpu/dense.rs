//! Dense layers.

use pulp::{Arch, Simd, WithSimd};

use super::kernel::{CpuKernel, KernelContext};
use super::product::{Panels, Product};
use super::scratch::{Buffer, Scratch};
use super::simd::{activate, load, store};
use crate::kernels::{Activation, Dense};
use crate::tensor::HostTensor;

/// Prepared dense layer.
#[derive(Debug)]
pub(super) struct DenseLayer {
    activation: Activation,
    /// Number of inputs and outputs.
    extents: [usize; 2],
    panels: Panels,
    bias: Buffer,
}

impl DenseLayer {
    /// Packs weights `[D, O]` and bias `[O]`.
    pub(super) fn new(arch: Arch, op: &Dense, [w, b]: [&HostTensor; 2]) -> DenseLayer {
        let extents = [0, 1].map(|axis| w.shape().extent(axis));
        let panels = Panels::new(arch, extents[0], extents[1], |row, column| w.row(row)[column]);
        DenseLayer { activation: op.activation, extents, panels, bias: Buffer::of(b.data()) }
    }
}

impl CpuKernel for DenseLayer {
    fn run(&self, context: &KernelContext, x: &[&[f32]], y: &mut [f32]) {
        let work =
            |scratch: &mut Scratch| context.arch.dispatch(DenseTask { layer: self, x: x[0], y, scratch });
        context.scratch.with(Scratch::default, work);
    }

    fn kernel(&self) -> &'static str {
        "dense"
    }
}

struct DenseTask<'a> {
    layer: &'a DenseLayer,
    x: &'a [f32],
    y: &'a mut [f32],
    scratch: &'a mut Scratch,
}

impl WithSimd for DenseTask<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let DenseLayer { activation, extents: [inputs, outputs], ref panels, ref bias } = *self.layer;
        let rows = self.x.len() / inputs;
        let width = panels.width();
        let products = self.scratch.products.at_least(rows * width);
        for panel in 0..panels.count() {
            simd.vectorize(Product {
                x: self.x,
                starts: &[0],
                stride: inputs,
                run: inputs,
                rows,
                panel: panels.part(panel, 0, inputs),
                y: products,
                y_stride: width,
            });
            let first = panel * width;
            let end = outputs.min(first + width);
            for (products, y) in products.chunks_exact(width).zip(self.y.chunks_exact_mut(outputs)) {
                let lanes = S::F32_LANES;
                let parts = y[first..end].chunks_mut(lanes).zip(bias[first..end].chunks(lanes));
                for ((y, bias), products) in parts.zip(products.chunks(lanes)) {
                    let v = simd.add_f32s(load(simd, products), load(simd, bias));
                    store(simd, y, activate(simd, activation, v));
                }
            }
        }
    }
}
