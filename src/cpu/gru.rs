//! Recurrence of a gated recurrent unit.

use super::kernel::{CpuKernel, KernelContext};
use super::scratch::Scratch;
use crate::kernels::Gru;
use crate::tensor::HostTensor;

/// Prepared recurrence.
#[derive(Debug)]
pub(super) struct Recurrence {
    units: usize,
    /// Weights `[U, 2 U]` of gates z and r.
    gates: Vec<f32>,
    /// Weights `[U, U]` of candidate h.
    candidate: Vec<f32>,
    /// Recurrent bias of candidate h, if the reset gate comes after the product.
    bias: Option<Vec<f32>>,
}

impl Recurrence {
    /// Splits recurrent weights `[U, 3 U]`.
    pub(super) fn new(op: &Gru, [u, b]: [&HostTensor; 2]) -> Recurrence {
        let units = u.shape().extent(0);
        let rows = || u.data().chunks_exact(3 * units);
        Recurrence {
            units,
            gates: rows().flat_map(|row| &row[..2 * units]).copied().collect(),
            candidate: rows().flat_map(|row| &row[2 * units..]).copied().collect(),
            bias: op.reset_after.then(|| b.data().to_vec()),
        }
    }

    #[inline(always)]
    fn states(&self, x: &[f32], y: &mut [f32], scratch: &mut [f32]) {
        let units = self.units;
        let (h, scratch) = scratch.split_at_mut(units);
        let (gates, scratch) = scratch.split_at_mut(2 * units);
        let (reset, candidate) = scratch.split_at_mut(units);
        h.fill(0.0);
        for (x, y) in x.chunks_exact(3 * units).zip(y.chunks_exact_mut(units)) {
            gates.copy_from_slice(&x[..2 * units]);
            add_product(gates, h, &self.gates);
            if let Some(bias) = &self.bias {
                gates.iter_mut().for_each(|gate| *gate = 1.0 / (1.0 + (-*gate).exp()));
                candidate.copy_from_slice(bias);
                add_product(candidate, h, &self.candidate);
                let (r, x) = (&gates[units..], &x[2 * units..]);
                candidate.iter_mut().zip(r).zip(x).for_each(|((c, r), x)| *c = x + r * *c);
            } else {
                gates.iter_mut().for_each(|gate| *gate = (0.2 * *gate + 0.5).clamp(0.0, 1.0));
                let r = &gates[units..];
                reset.iter_mut().zip(&*h).zip(r).for_each(|((reset, h), r)| *reset = r * h);
                candidate.copy_from_slice(&x[2 * units..]);
                add_product(candidate, reset, &self.candidate);
            }
            let z = &gates[..units];
            for ((h, z), c) in h.iter_mut().zip(z).zip(&*candidate) {
                *h = z * *h + (1.0 - z) * c.tanh();
            }
            y.copy_from_slice(h);
        }
    }
}

/// `sums[j] += sum over k of h[k] * weights[k, j]`.
#[inline(always)]
fn add_product(sums: &mut [f32], h: &[f32], weights: &[f32]) {
    for (&h, weights) in h.iter().zip(weights.chunks_exact(sums.len())) {
        for (sum, weight) in sums.iter_mut().zip(weights) {
            *sum += h * weight;
        }
    }
}

impl CpuKernel for Recurrence {
    fn run(&self, context: &KernelContext, x: &[&[f32]], y: &mut [f32]) {
        context.scratch.with(Scratch::default, |scratch| {
            let scratch = scratch.products.at_least(5 * self.units);
            context.arch.dispatch(|| self.states(x[0], y, scratch));
        });
    }

    fn kernel(&self) -> &'static str {
        "gru"
    }
}
