//! The last frame of a sequence.

use super::{
    Binding, Call, Dispatch, DispatchError, INDEX, Kernel, KernelConfig, Limits, Operation, Packed, Params,
    Role, ShapeError, elementwise, expect_count, expect_rank,
};
use crate::tensor::{DType, HostTensor, Shape, stored_channels};

static KERNEL: Kernel = Kernel {
    name: "last_state",
    source: include_str!("../../shaders/layers/last_state.wgsl"),
    includes: &[&INDEX],
    bindings: &[Binding { name: "x", role: Role::Input(0) }, Binding { name: "y", role: Role::Output }],
};

/// `[N, T, D]` to `[N, D]`: frame `T - 1`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LastState;

impl Operation for LastState {
    fn name(&self) -> &'static str {
        "last_state"
    }

    fn output_shape(&self, inputs: &[Shape], weights: &[Shape]) -> Result<Shape, ShapeError> {
        let [x] = expect_count(self.name(), "number of inputs", inputs)?;
        let [] = expect_count(self.name(), "number of weights", weights)?;
        expect_rank(self.name(), "x", 3, x)?;
        Ok([x.extent(0), x.extent(2)].into())
    }

    fn output_dtype(&self, _inputs: &[DType], _precision: DType) -> DType {
        DType::F32
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
        let x = call.inputs[0];
        let params =
            Params::new().u32("N", x.extent(0)).u32("T", x.extent(1)).u32("D", stored_channels(x.extent(2)));
        elementwise(&KERNEL, call, &[], params, limits)
    }

    /// Rows with their padding.
    fn max_index(&self, call: &Call, _config: KernelConfig, _packed: &[Packed]) -> Option<Vec<usize>> {
        Some(vec![call.inputs[0].stored_len(), call.output.stored_len()])
    }

    fn pack(&self, _call: &Call, _config: KernelConfig, _weights: &[&HostTensor]) -> Vec<Packed> {
        Vec::new()
    }
}
