//! The interface of ops and the enum over all of them.

use super::dispatch::check;
use super::{
    Activation, BatchNorm, BatchStats, ClipStats, Concat, Conv2d, Dense, Dispatch, DispatchError, Gru,
    KernelConfig, LastState, Limits, LogMel, MaxPool2d, MeanPool2d, Normalize, NormalizeChannels, PadTime,
    ShapeError, Tolerance,
};
use crate::tensor::{DType, HostTensor, Shape};

/// An op on given tensors: what its host half plans from.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Shapes of the input tensors.
    pub inputs: &'a [Shape],
    /// Shapes of the weight tensors.
    pub weights: &'a [Shape],
    /// Shape of the output tensor.
    pub output: Shape,
    /// Storage type behind `Element`.
    pub element: DType,
}

/// A weight array as a kernel wants it.
#[derive(Clone, Debug, PartialEq)]
pub enum Packed {
    /// Stored in the plan's `Element` type.
    Element(Vec<f32>),
    /// Always f32.
    F32(Vec<f32>),
    /// Always u32.
    U32(Vec<u32>),
}

impl Packed {
    /// Values in the array.
    pub fn len(&self) -> usize {
        match self {
            Packed::Element(values) | Packed::F32(values) => values.len(),
            Packed::U32(values) => values.len(),
        }
    }

    /// Returns true if the array has no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Result of fusing two ops: the op and its weights.
pub type Fused = (Op, Vec<HostTensor>);

/// Interface of an op: shapes, kernels, weights and cost, as plain data.
pub trait Operation {
    /// Name of the op, as in its file names.
    fn name(&self) -> &'static str;

    /// Output shape, or why the op cannot take these tensors.
    ///
    /// # Errors
    /// [`ShapeError`] naming the tensor, what was expected and what was found.
    fn output_shape(&self, inputs: &[Shape], weights: &[Shape]) -> Result<Shape, ShapeError>;

    /// Storage type of the output in a plan that stores activations as `precision`.
    fn output_dtype(&self, inputs: &[DType], precision: DType) -> DType {
        inputs.first().copied().unwrap_or(precision)
    }

    /// Returns true if the kernels read input `index` in the plan's `Element` type; others are always f32.
    fn reads_element(&self, _index: usize) -> bool {
        true
    }

    /// Returns true if a clip's result depends on the other clips of its batch.
    fn depends_on_batch(&self) -> bool {
        false
    }

    /// The configurations that can run `call`, the default first; empty if no kernel can. By default the one kernel with
    /// the name of the op.
    fn configs(&self, _call: &Call, _limits: &Limits) -> Vec<KernelConfig> {
        vec![KernelConfig::new(self.name(), &[])]
    }

    /// Everything needed to run this on a device with these limits. `config` has a kernel of [`Operation::configs`], with
    /// its own values of the tile constants.
    ///
    /// # Errors
    /// [`DispatchError`] when the device or the configuration cannot.
    fn dispatch(&self, call: &Call, config: KernelConfig, limits: &Limits)
    -> Result<Dispatch, DispatchError>;

    /// Largest index plus one that the kernel may touch in each binding, worked out from what it is given (`Params`, tiles, packed
    /// weights), or `None` where nobody has worked it out: such a kernel runs with its indices checked on the device.
    fn max_index(&self, _call: &Call, _config: KernelConfig, _packed: &[Packed]) -> Option<Vec<usize>> {
        None
    }

    /// The weights as the configuration's kernel wants them, for a configuration that [`Operation::dispatch`] takes, in the order of its [`super::Role::Weight`]s.
    fn pack(&self, call: &Call, config: KernelConfig, weights: &[&HostTensor]) -> Vec<Packed>;

    /// This op with the op after it taken into it, or `None` when one kernel cannot do both.
    fn fuse(&self, _weights: &[&HostTensor], _next: &Op, _next_weights: &[&HostTensor]) -> Option<Fused> {
        None
    }

    /// Tolerance of kernels against the reference implementation: on the test cases, and on layers of the models for
    /// inputs in -1..1. docs/numerics.md has the same numbers.
    fn tolerance(&self) -> Tolerance {
        Tolerance::ROUNDING
    }

    /// Floating-point operations (a multiplication and an addition are two) of one call, epilogues not counted.
    fn flops(&self, call: &Call) -> u64 {
        call.output.len() as u64
    }
}

/// Defines [`Op`], the registry of ops.
macro_rules! ops {
    ($($op:ident),* $(,)?) => {
        /// Every op there is.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        #[allow(missing_docs, reason = "each variant is documented at its config")]
        pub enum Op {
            $($op($op)),*
        }

        impl Op {
            fn operation(&self) -> &dyn Operation {
                match self {
                    $(Op::$op(op) => op),*
                }
            }
        }
    };
}

ops! {
    Activation,
    BatchNorm,
    BatchStats,
    ClipStats,
    Concat,
    Conv2d,
    Dense,
    Gru,
    LastState,
    LogMel,
    MaxPool2d,
    MeanPool2d,
    Normalize,
    NormalizeChannels,
    PadTime,
}

impl Operation for Op {
    fn name(&self) -> &'static str {
        self.operation().name()
    }

    fn output_shape(&self, inputs: &[Shape], weights: &[Shape]) -> Result<Shape, ShapeError> {
        let shape = self.operation().output_shape(inputs, weights)?;
        match shape.checked_len() {
            Some(len) if len > 0 => Ok(shape),
            _ => Err(ShapeError {
                op: self.name(),
                what: "output",
                expected: "at least one element".into(),
                found: shape.to_string(),
            }),
        }
    }

    fn output_dtype(&self, inputs: &[DType], precision: DType) -> DType {
        self.operation().output_dtype(inputs, precision)
    }

    fn reads_element(&self, index: usize) -> bool {
        self.operation().reads_element(index)
    }

    fn depends_on_batch(&self) -> bool {
        self.operation().depends_on_batch()
    }

    fn configs(&self, call: &Call, limits: &Limits) -> Vec<KernelConfig> {
        self.operation().configs(call, limits)
    }

    fn dispatch(
        &self,
        call: &Call,
        config: KernelConfig,
        limits: &Limits,
    ) -> Result<Dispatch, DispatchError> {
        if !self.configs(call, limits).iter().any(|known| config.has_form_of(known)) {
            return Err(DispatchError::not_applicable(config.kernel(), call));
        }
        let dispatch = self.operation().dispatch(call, config, limits)?;
        check(&dispatch, call, limits)?;
        Ok(dispatch)
    }

    fn max_index(&self, call: &Call, config: KernelConfig, packed: &[Packed]) -> Option<Vec<usize>> {
        self.operation().max_index(call, config, packed)
    }

    fn pack(&self, call: &Call, config: KernelConfig, weights: &[&HostTensor]) -> Vec<Packed> {
        self.operation().pack(call, config, weights)
    }

    fn fuse(&self, weights: &[&HostTensor], next: &Op, next_weights: &[&HostTensor]) -> Option<Fused> {
        self.operation().fuse(weights, next, next_weights)
    }

    fn tolerance(&self) -> Tolerance {
        self.operation().tolerance()
    }

    fn flops(&self, call: &Call) -> u64 {
        self.operation().flops(call)
    }
}
