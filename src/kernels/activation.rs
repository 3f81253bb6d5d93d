//! Activation functions, alone or in the epilogue of another op.

use super::{
    ACTIVATIONS, Binding, Call, Dispatch, DispatchError, INDEX, Kernel, KernelConfig, Limits, Operation,
    Packed, Params, Role, ShapeError, Tolerance, elementwise, expect_count,
};
use crate::tensor::{HostTensor, Shape};

static KERNEL: Kernel = Kernel {
    name: "activation",
    source: include_str!("../../shaders/layers/activation.wgsl"),
    includes: &[&INDEX, &ACTIVATIONS],
    bindings: &[Binding { name: "x", role: Role::Input(0) }, Binding { name: "y", role: Role::Output }],
};

/// Any shape to the same shape, element by element. None of them decreases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// `v`.
    #[default]
    Identity,
    /// Exponential linear unit: `v` above zero, `exp(v) - 1` below.
    Elu,
    /// Logistic sigmoid: `1 / (1 + exp(-v))`.
    Sigmoid,
}

impl Activation {
    /// The `ACT` constant of `shaders/common/activation.wgsl`.
    pub(super) fn constant(self) -> (&'static str, f64) {
        let index = match self {
            Activation::Identity => 0.0,
            Activation::Elu => 1.0,
            Activation::Sigmoid => 2.0,
        };
        ("ACT", index)
    }
}

impl Operation for Activation {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn output_shape(&self, inputs: &[Shape], weights: &[Shape]) -> Result<Shape, ShapeError> {
        let [x] = expect_count(self.name(), "number of inputs", inputs)?;
        let [] = expect_count(self.name(), "number of weights", weights)?;
        Ok(x)
    }

    fn configs(&self, _call: &Call, _limits: &Limits) -> Vec<KernelConfig> {
        vec![KernelConfig::new(KERNEL.name, &[])]
    }

    fn dispatch(
        &self,
        call: &Call,
        _config: KernelConfig,
        limits: &Limits,
    ) -> Result<Dispatch, DispatchError> {
        let params = Params::new().u32("LEN", call.output.stored_len());
        elementwise(&KERNEL, call, &[self.constant()], params, limits)
    }

    /// One value of each for every thread that is not surplus.
    fn max_index(&self, call: &Call, _config: KernelConfig, _packed: &[Packed]) -> Option<Vec<usize>> {
        Some(vec![call.inputs[0].stored_len(), call.output.stored_len()])
    }

    fn tolerance(&self) -> Tolerance {
        // exp loses a little more than one rounding; SwiftShader and lavapipe stay within 2e-6 on -3..3.
        Tolerance { absolute: 4e-6, relative: 4e-6 }
    }

    fn pack(&self, _call: &Call, _config: KernelConfig, _weights: &[&HostTensor]) -> Vec<Packed> {
        Vec::new()
    }
}
