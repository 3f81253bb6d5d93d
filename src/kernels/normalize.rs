//! Flooring, standardising and padding of spectrograms, with a scale and shift per frame.

use super::{Axis, INDEX, Tolerance};
use super::{
    Binding, Call, Dispatch, DispatchError, Fused, Kernel, KernelConfig, Limits, Op, Operation, Packed,
    Params, Role, ShapeError, elementwise, expect_count, expect_rank, expect_shape,
};
use crate::tensor::{DType, HostTensor, Shape};

static KERNEL: Kernel = Kernel {
    name: "normalize",
    source: include_str!("../../shaders/frontend/normalize.wgsl"),
    includes: &[&INDEX],
    bindings: &[
        Binding { name: "x", role: Role::Input(0) },
        Binding { name: "stats", role: Role::Input(1) },
        Binding { name: "scale", role: Role::Weight(0) },
        Binding { name: "shift", role: Role::Weight(1) },
        Binding { name: "y", role: Role::Output },
    ],
};

/// Reference level of a clip's values, after they are floored at `maximum - range_db`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Nothing: dB as they are.
    Absolute,
    /// The clip's maximum: dB below it.
    BelowMaximum,
    /// The clip's mean and standard deviation: `(x - mean) / (deviation + epsilon)`.
    Standardised,
}

/// `[N, 1, F, T]` in dB and `[N, 3]` from [`super::ClipStats`] to `[N, 1, F, left + T + right]`.
///
/// Weights: none, or a scale and a shift for each output frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalize {
    /// Reference level of the values.
    pub level: Level,
    /// Distance of the floor from the clip's maximum, in dB.
    pub range_db: f32,
    /// Added to the standard deviation, so that a constant clip becomes zeros.
    pub epsilon: f32,
    /// Frames of zeros before and after, put there before scale and shift.
    pub pad: [usize; 2],
}

impl Normalize {
    fn frames(&self, x: Shape) -> usize {
        self.pad[0] + x.extent(3) + self.pad[1]
    }
}

impl Operation for Normalize {
    fn name(&self) -> &'static str {
        "normalize"
    }

    fn output_shape(&self, inputs: &[Shape], weights: &[Shape]) -> Result<Shape, ShapeError> {
        let [x, stats] = expect_count(self.name(), "number of inputs", inputs)?;
        expect_rank(self.name(), "x", 4, x)?;
        expect_shape(self.name(), "x", [x.extent(0), 1, x.extent(2), x.extent(3)], x)?;
        expect_shape(self.name(), "stats", [x.extent(0), 3], stats)?;
        if !weights.is_empty() {
            let [scale, shift] = expect_count(self.name(), "number of weights", weights)?;
            expect_shape(self.name(), "scale", [self.frames(x)], scale)?;
            expect_shape(self.name(), "shift", [self.frames(x)], shift)?;
        }
        Ok([x.extent(0), 1, x.extent(2), self.frames(x)].into())
    }

    fn output_dtype(&self, _inputs: &[DType], precision: DType) -> DType {
        precision
    }

    fn reads_element(&self, _index: usize) -> bool {
        false
    }

    fn dispatch(
        &self,
        call: &Call,
        _config: KernelConfig,
        limits: &Limits,
    ) -> Result<Dispatch, DispatchError> {
        let (x, y) = (call.inputs[0], call.output);
        let level = match self.level {
            Level::Absolute => 0.0,
            Level::BelowMaximum => 1.0,
            Level::Standardised => 2.0,
        };
        let params = Params::new()
            .u32("N", x.extent(0))
            .u32("F", x.extent(2))
            .u32("T", x.extent(3))
            .u32("TO", y.extent(3))
            .u32("LEFT", self.pad[0])
            .f32("range_db", self.range_db)
            .f32("epsilon", self.epsilon);
        elementwise(&KERNEL, call, &[("LEVEL", level)], params, limits)
    }

    /// Frames of x are guarded; scale and shift have a value for every frame of y.
    fn max_index(&self, call: &Call, _config: KernelConfig, _packed: &[Packed]) -> Option<Vec<usize>> {
        let y = call.output;
        Some(vec![call.inputs[0].len(), 4 * y.extent(0), y.extent(3), y.extent(3), y.len()])
    }

    fn tolerance(&self) -> Tolerance {
        // Differences of values of up to 140 dB.
        Tolerance { absolute: 3e-5, relative: 1e-6 }
    }

    fn pack(&self, call: &Call, _config: KernelConfig, weights: &[&HostTensor]) -> Vec<Packed> {
        match weights {
            [scale, shift] => vec![Packed::F32(scale.data().to_vec()), Packed::F32(shift.data().to_vec())],
            _ => {
                let frames = call.output.extent(3);
                vec![Packed::F32(vec![1.0; frames]), Packed::F32(vec![0.0; frames])]
            }
        }
    }

    fn fuse(&self, weights: &[&HostTensor], next: &Op, next_weights: &[&HostTensor]) -> Option<Fused> {
        if !weights.is_empty() {
            return None;
        }
        match next {
            Op::PadTime(pad) if self.pad == [0, 0] => {
                Some((Op::Normalize(Normalize { pad: [pad.left, pad.right], ..self.clone() }), Vec::new()))
            }
            Op::BatchNorm(norm) if norm.axis == Axis::Time => {
                Some((Op::Normalize(self.clone()), next_weights.iter().map(|&w| w.clone()).collect()))
            }
            _ => None,
        }
    }
}
