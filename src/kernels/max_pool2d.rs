//! Max-pooling over frequency and time.

use super::{
    Binding, Call, Dispatch, DispatchError, INDEX, Kernel, KernelConfig, Limits, Operation, Packed, Params,
    Role, ShapeError, elementwise, expect_count, expect_rank,
};
use crate::tensor::{HostTensor, Shape, stored_channels};

static KERNEL: Kernel = Kernel {
    name: "max_pool2d",
    source: include_str!("../../shaders/layers/max_pool2d.wgsl"),
    includes: &[&INDEX],
    bindings: &[Binding { name: "x", role: Role::Input(0) }, Binding { name: "y", role: Role::Output }],
};

/// `[N, C, F, T]` to `[N, C, floor(F / pf), floor(T / pt)]`: "valid", the remainder is dropped.
#[derive(Clone, Debug, PartialEq)]
pub struct MaxPool2d {
    /// Window along frequency and time, which is also the stride.
    pub window: [usize; 2],
}

impl MaxPool2d {
    /// Extents along frequency and time after pooling.
    pub(super) fn pooled(
        op: &'static str,
        window: [usize; 2],
        extents: [usize; 2],
    ) -> Result<[usize; 2], ShapeError> {
        if window[0] == 0 || window[1] == 0 || window[0] > extents[0] || window[1] > extents[1] {
            return Err(ShapeError {
                op,
                what: "pool window",
                expected: format!("at least [1, 1] and at most {extents:?}"),
                found: format!("{window:?}"),
            });
        }
        Ok([extents[0] / window[0], extents[1] / window[1]])
    }
}

impl Operation for MaxPool2d {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn output_shape(&self, inputs: &[Shape], weights: &[Shape]) -> Result<Shape, ShapeError> {
        let [x] = expect_count(self.name(), "number of inputs", inputs)?;
        let [] = expect_count(self.name(), "number of weights", weights)?;
        expect_rank(self.name(), "x", 4, x)?;
        let [f, t] = Self::pooled(self.name(), self.window, [x.extent(2), x.extent(3)])?;
        Ok([x.extent(0), x.extent(1), f, t].into())
    }

    fn dispatch(
        &self,
        call: &Call,
        _config: KernelConfig,
        limits: &Limits,
    ) -> Result<Dispatch, DispatchError> {
        let (x, y) = (call.inputs[0], call.output);
        let params = Params::new()
            .u32("N", x.extent(0))
            .u32("F", x.extent(2))
            .u32("T", x.extent(3))
            .u32("C", stored_channels(x.extent(1)))
            .u32("FO", y.extent(2))
            .u32("TO", y.extent(3))
            .u32("PF", self.window[0])
            .u32("PT", self.window[1]);
        elementwise(&KERNEL, call, &[], params, limits)
    }

    /// Windows are whole, and lie inside x.
    fn max_index(&self, call: &Call, _config: KernelConfig, _packed: &[Packed]) -> Option<Vec<usize>> {
        Some(vec![call.inputs[0].stored_len(), call.output.stored_len()])
    }

    fn pack(&self, _call: &Call, _config: KernelConfig, _weights: &[&HostTensor]) -> Vec<Packed> {
        Vec::new()
    }

    fn flops(&self, call: &Call) -> u64 {
        call.inputs[0].len() as u64
    }
}
