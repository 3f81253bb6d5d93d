//! Frames of zeros before and after a spectrogram.

use super::{
    Binding, Call, Dispatch, DispatchError, INDEX, Kernel, KernelConfig, Limits, Operation, Packed, Params,
    Role, ShapeError, elementwise, expect_count, expect_rank,
};
use crate::tensor::{HostTensor, Shape, stored_channels};

static KERNEL: Kernel = Kernel {
    name: "pad_time",
    source: include_str!("../../shaders/layers/pad_time.wgsl"),
    includes: &[&INDEX],
    bindings: &[Binding { name: "x", role: Role::Input(0) }, Binding { name: "y", role: Role::Output }],
};

/// `[N, C, F, T]` to `[N, C, F, left + T + right]`.
#[derive(Clone, Debug, PartialEq)]
pub struct PadTime {
    /// Frames before.
    pub left: usize,
    /// Frames after.
    pub right: usize,
}

impl Operation for PadTime {
    fn name(&self) -> &'static str {
        "pad_time"
    }

    fn output_shape(&self, inputs: &[Shape], weights: &[Shape]) -> Result<Shape, ShapeError> {
        let [x] = expect_count(self.name(), "number of inputs", inputs)?;
        let [] = expect_count(self.name(), "number of weights", weights)?;
        expect_rank(self.name(), "x", 4, x)?;
        Ok([x.extent(0), x.extent(1), x.extent(2), self.left + x.extent(3) + self.right].into())
    }

    fn dispatch(
        &self,
        call: &Call,
        _config: KernelConfig,
        limits: &Limits,
    ) -> Result<Dispatch, DispatchError> {
        let (x, y) = (call.inputs[0], call.output);
        let params = Params::new()
            .u32("ROWS", x.extent(0) * x.extent(2))
            .u32("T", x.extent(3))
            .u32("C", stored_channels(x.extent(1)))
            .u32("TO", y.extent(3))
            .u32("LEFT", self.left);
        elementwise(&KERNEL, call, &[], params, limits)
    }

    /// Frames of x are guarded.
    fn max_index(&self, call: &Call, _config: KernelConfig, _packed: &[Packed]) -> Option<Vec<usize>> {
        Some(vec![call.inputs[0].stored_len(), call.output.stored_len()])
    }

    fn pack(&self, _call: &Call, _config: KernelConfig, _weights: &[&HostTensor]) -> Vec<Packed> {
        Vec::new()
    }
}
