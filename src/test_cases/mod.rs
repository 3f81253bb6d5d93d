//! Test cases: small plans of one op with fill patterns as inputs, for comparing kernels with the reference
//! implementation.
//!
//! One file per group of ops. Tests and `tagwave selftest` loop over [`all`]. Extents are unequal primes, so that a swapped
//! axis is detected, and sizes around the limits of a workgroup.

pub use crate::kernels::Tolerance;
use crate::kernels::{KernelConfig, Limits, Op, Operation};
use crate::plan::{Builder, Plan};
use crate::tensor::{DType, HostTensor, Shape};

mod elementwise;
mod frontend;
mod layers;

/// Test case of one op.
#[derive(Clone, Debug)]
pub struct TestCase {
    /// Op and description of the case.
    pub name: String,
    /// Plan of one step with one output.
    pub plan: Plan,
    /// Inputs of the plan.
    pub inputs: Vec<HostTensor>,
}

impl TestCase {
    /// Makes a test case of `op` with inputs and weights.
    fn new(case: &str, op: Op, inputs: Vec<HostTensor>, weights: Vec<HostTensor>) -> TestCase {
        let name = format!("{} {case}", op.name());
        let mut builder = Builder::new();
        let ids: Vec<_> = inputs.iter().map(|input| builder.input("x", input.shape())).collect();
        // The cases are written next to the ops' shape rules: one that does not build is a mistake in this file.
        let y = builder.step("y", op, &ids, weights).unwrap_or_else(|error| panic!("{name}: {error}"));
        builder.output("y", y);
        TestCase { name, plan: builder.finish(), inputs }
    }
}

impl TestCase {
    /// The op of the only step.
    pub fn op(&self) -> &Op {
        &self.plan.steps()[0].op
    }

    /// Returns the test case with activations and weights stored as `precision`.
    pub fn stored_as(&self, precision: DType) -> TestCase {
        let name = match precision {
            DType::F32 => self.name.clone(),
            DType::F16 => format!("{}, f16", self.name),
        };
        TestCase { name, plan: self.plan.with_precision(precision), ..self.clone() }
    }

    /// Kernel configurations to test on a device with these limits. Test cases of more than a million inputs are for the
    /// splitting of large dispatches and use the default kernel only.
    pub fn configs(&self, limits: &Limits) -> Vec<KernelConfig> {
        let step = &self.plan.steps()[0];
        let shapes = self.plan.shapes(step);
        let mut configs = step.op.configs(&self.plan.call(step, &shapes), limits);
        if self.inputs[0].data().len() >= 1 << 20 {
            let first = configs.first().map(KernelConfig::kernel);
            configs.retain(|config| Some(config.kernel()) == first);
        }
        configs
    }

    /// Compares the output of a kernel with that of the reference implementation.
    pub fn compare(&self, found: &HostTensor, expected: &HostTensor) -> Difference {
        compare_output(&self.plan, found, expected)
    }
}

/// Compares the output of a kernel with that of the reference implementation, within the tolerance of the only op of a
/// plan and of its storage type.
pub fn compare_output(plan: &Plan, found: &HostTensor, expected: &HostTensor) -> Difference {
    let mut tolerance = plan.steps()[0].op.tolerance();
    if plan.precision() == DType::F16 {
        // Weights and outputs of the kernel are rounded to 11 bits, those of the reference are not.
        let largest = expected.data().iter().fold(0f32, |m, v| m.max(v.abs()));
        tolerance.absolute += 2e-3 * largest.max(1.0);
        tolerance.relative += 2e-3;
    }
    compare(found, expected, tolerance)
}

/// All test cases of all ops.
pub fn all() -> Vec<TestCase> {
    [elementwise::cases(), frontend::cases(), layers::cases()].concat()
}

/// Largest difference of two tensors, relative to the tolerance.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Largest absolute difference.
    pub largest: f32,
    /// Row-major index of the worst element.
    pub index: usize,
    /// Worst element, found and expected.
    pub values: [f32; 2],
    /// Shape of the tensors.
    pub shape: Shape,
    /// True if every element is within the tolerance.
    pub within: bool,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Difference { largest, index, values: [found, expected], shape, .. } = self;
        write!(f, "largest difference {largest:.3e}; worst at {index} of {shape}: {found} for {expected}")
    }
}

/// Compares two tensors; NaN is never within a tolerance.
pub fn compare(found: &HostTensor, expected: &HostTensor, tolerance: Tolerance) -> Difference {
    let mut worst = 0.0;
    let mut difference = Difference {
        largest: 0.0,
        index: 0,
        values: [0.0; 2],
        shape: expected.shape(),
        within: found.shape() == expected.shape(),
    };
    for (index, (&a, &b)) in found.data().iter().zip(expected.data()).enumerate() {
        let apart = (a - b).abs();
        let share = apart / (tolerance.absolute + tolerance.relative * b.abs());
        let share = if share.is_nan() { f32::INFINITY } else { share };
        if share > worst {
            worst = share;
            difference.index = index;
            difference.values = [a, b];
        }
        difference.largest = difference.largest.max(if apart.is_nan() { f32::INFINITY } else { apart });
    }
    difference.within &= worst <= 1.0;
    difference
}

/// Fill pattern: a ramp modulo 251 in -1..1, so that neighbours differ and wrong indices are detected.
pub fn fill(shape: impl Into<Shape>, seed: usize) -> HostTensor {
    HostTensor::from_fn(shape, |i| ((i * 97 + seed * 31) % 251) as f32 / 125.5 - 1.0)
}

/// Scaled fill pattern.
fn fill_scaled(shape: impl Into<Shape>, seed: usize, scale: f32) -> HostTensor {
    let mut tensor = fill(shape, seed);
    tensor.data_mut().iter_mut().for_each(|v| *v *= scale);
    tensor
}

/// Synthetic weights: fill pattern of typical magnitude, with positive scales and deviations. `name` is the name of the
/// array in the tensor specs, `seed` its index.
pub fn fill_weight(name: &str, shape: impl Into<Shape>, seed: usize) -> HostTensor {
    let mut tensor = fill(shape, seed);
    let fan_in = tensor.shape().extents().iter().skip(1).product::<usize>().max(1) as f32;
    let positive = matches!(name.rsplit('.').next(), Some("deviation" | "gamma" | "variance"));
    for value in tensor.data_mut() {
        *value = if positive { 1.0 + 0.5 * *value } else { *value / fan_in.sqrt() };
    }
    tensor
}

/// A deterministic test signal at 12 kHz: a chirp, a gated tone and decaying bursts of noise.
pub fn synthetic_clip(samples: usize) -> Vec<f32> {
    use std::f64::consts::TAU;
    // The noise is a linear congruential generator (Numerical Recipes' constants), started at 1.
    let mut state = 1u32;
    let signal = (0..samples).map(|n| {
        let t = n as f64 / 12_000.0;
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = f64::from(state) / 4_294_967_296.0 - 0.5;
        let chirp = 0.25 * (TAU * (200.0 * t + 30.0 * t * t)).sin();
        let gate = if (2.0 * t).floor() % 2.0 == 0.0 { 0.15 } else { 0.0 };
        let tone = gate * (TAU * 440.0 * t).sin();
        (chirp + tone + 0.3 * (-6.0 * (2.0 * t % 1.0)).exp() * noise) as f32
    });
    signal.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerances_are_those_of_the_documentation() {
        let page = include_str!("../../docs/numerics.md");
        let row = |op: &str| {
            let name = format!("`{op}`");
            page.lines()
                .map(|line| line.split('|').map(str::trim).collect::<Vec<_>>())
                .find(|cells| cells.len() > 5 && cells[1].split(", ").any(|cell| cell == name))
                .unwrap_or_else(|| panic!("docs/numerics.md has no row for {op}"))
        };
        for case in all() {
            let (name, Tolerance { absolute, relative }) = (case.op().name(), case.op().tolerance());
            let documented = [row(name)[2], row(name)[3]].map(|cell| {
                let number = cell.split(' ').next().unwrap_or_default();
                number.parse::<f32>().unwrap_or_else(|_| panic!("docs/numerics.md, {name}: {cell:?}"))
            });
            assert_eq!(documented, [absolute, relative], "{name} in docs/numerics.md");
        }
    }

    #[test]
    fn nan_and_a_wrong_shape_are_never_within() {
        let a = HostTensor::new([2], vec![1.0, f32::NAN]).unwrap();
        assert!(!compare(&a, &a, Tolerance::SUMS).within);
        let b = HostTensor::zeros([2, 1]);
        assert!(!compare(&HostTensor::zeros([2]), &b, Tolerance::SUMS).within);
        assert!(compare(&b, &b, Tolerance::SUMS).within);
    }
}
