//! Two feature vectors, one behind the other.

use super::{
    Binding, Call, Dispatch, DispatchError, INDEX, Kernel, KernelConfig, Limits, Operation, Packed, Params,
    Role, ShapeError, elementwise, expect_count, expect_rank, expect_shape,
};
use crate::tensor::{DType, HostTensor, Shape, stored_channels};

static KERNEL: Kernel = Kernel {
    name: "concat",
    source: include_str!("../../shaders/layers/concat.wgsl"),
    includes: &[&INDEX],
    bindings: &[
        Binding { name: "a", role: Role::Input(0) },
        Binding { name: "b", role: Role::Input(1) },
        Binding { name: "y", role: Role::Output },
    ],
};

/// `[N, A]` and `[N, B]` to `[N, A + B]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Concat;

impl Operation for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn output_shape(&self, inputs: &[Shape], weights: &[Shape]) -> Result<Shape, ShapeError> {
        let [a, b] = expect_count(self.name(), "number of inputs", inputs)?;
        let [] = expect_count(self.name(), "number of weights", weights)?;
        expect_rank(self.name(), "a", 2, a)?;
        expect_shape(self.name(), "b", [a.extent(0), b.extent(1)], b)?;
        Ok([a.extent(0), a.extent(1) + b.extent(1)].into())
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
        let [a, b] = [call.inputs[0], call.inputs[1]];
        let params = Params::new()
            .u32("N", a.extent(0))
            .u32("DA", a.extent(1))
            .u32("AS", stored_channels(a.extent(1)))
            .u32("DB", b.extent(1))
            .u32("BS", stored_channels(b.extent(1)))
            .u32("YS", stored_channels(call.output.extent(1)));
        elementwise(&KERNEL, call, &[], params, limits)
    }

    /// Rows with their padding.
    fn max_index(&self, call: &Call, _config: KernelConfig, _packed: &[Packed]) -> Option<Vec<usize>> {
        Some(vec![call.inputs[0].stored_len(), call.inputs[1].stored_len(), call.output.stored_len()])
    }

    fn pack(&self, _call: &Call, _config: KernelConfig, _weights: &[&HostTensor]) -> Vec<Packed> {
        Vec::new()
    }
}
