//! Batch normalisation with statistics that are known beforehand: a scale and a shift.

use super::{
    Binding, Call, Dispatch, DispatchError, INDEX, Kernel, KernelConfig, Limits, Operation, Packed, Params,
    Role, ShapeError, elementwise, expect_count, expect_rank, expect_shape, pad_channels,
};
use crate::tensor::{HostTensor, Shape, stored_channels};

static KERNEL: Kernel = Kernel {
    name: "batch_norm",
    source: include_str!("../../shaders/layers/batch_norm.wgsl"),
    includes: &[&INDEX],
    bindings: &[
        Binding { name: "x", role: Role::Input(0) },
        Binding { name: "scale", role: Role::Weight(0) },
        Binding { name: "shift", role: Role::Weight(1) },
        Binding { name: "y", role: Role::Output },
    ],
};

/// The axis of `[N, C, F, T]` that has a scale and a shift of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// C.
    Channel,
    /// T.
    Time,
}

/// `[N, C, F, T]` with scale and shift `[C]` or `[T]` to the same shape: `x * scale + shift`.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNorm {
    /// The axis that scale and shift run along.
    pub axis: Axis,
}

impl BatchNorm {
    fn extent(&self, x: Shape) -> usize {
        match self.axis {
            Axis::Channel => x.extent(1),
            Axis::Time => x.extent(3),
        }
    }
}

impl Operation for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn output_shape(&self, inputs: &[Shape], weights: &[Shape]) -> Result<Shape, ShapeError> {
        let [x] = expect_count(self.name(), "number of inputs", inputs)?;
        let [scale, shift] = expect_count(self.name(), "number of weights", weights)?;
        expect_rank(self.name(), "x", 4, x)?;
        expect_shape(self.name(), "scale", [self.extent(x)], scale)?;
        expect_shape(self.name(), "shift", [self.extent(x)], shift)?;
        Ok(x)
    }

    fn dispatch(
        &self,
        call: &Call,
        _config: KernelConfig,
        limits: &Limits,
    ) -> Result<Dispatch, DispatchError> {
        let x = call.inputs[0];
        let params = Params::new()
            .u32("LEN", x.stored_len())
            .u32("T", x.extent(3))
            .u32("C", stored_channels(x.extent(1)));
        let axis = f64::from(u8::from(self.axis == Axis::Time));
        elementwise(&KERNEL, call, &[("AXIS", axis)], params, limits)
    }

    /// Scale and shift have a value for every channel as it is stored, or for every frame.
    fn max_index(&self, call: &Call, _config: KernelConfig, _packed: &[Packed]) -> Option<Vec<usize>> {
        let x = call.inputs[0];
        let extent = match self.axis {
            Axis::Channel => stored_channels(x.extent(1)),
            Axis::Time => x.extent(3),
        };
        Some(vec![x.stored_len(), extent, extent, x.stored_len()])
    }

    fn pack(&self, _call: &Call, _config: KernelConfig, weights: &[&HostTensor]) -> Vec<Packed> {
        weights.iter().map(|w| Packed::F32(pad_channels(w.data()))).collect()
    }
}
