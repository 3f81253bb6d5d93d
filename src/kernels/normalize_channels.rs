//! Batch normalisation with statistics that are made on the device.

use super::{
    Binding, Call, Dispatch, DispatchError, INDEX, Kernel, KernelConfig, Limits, Operation, Packed, Params,
    Role, ShapeError, Tolerance, elementwise, expect_count, expect_rank, expect_shape,
};
use crate::tensor::{DType, HostTensor, Shape, stored_channels};

static KERNEL: Kernel = Kernel {
    name: "normalize_channels",
    source: include_str!("../../shaders/layers/normalize_channels.wgsl"),
    includes: &[&INDEX],
    bindings: &[
        Binding { name: "x", role: Role::Input(0) },
        Binding { name: "stats", role: Role::Input(1) },
        Binding { name: "gamma", role: Role::Weight(0) },
        Binding { name: "beta", role: Role::Weight(1) },
        Binding { name: "y", role: Role::Output },
    ],
};

/// `[N, C, F, T]`, `[N, 2 C]` from [`super::BatchStats`], gamma `[C]` and beta `[C]` to `[N, C, F, T]`:
/// `(x - mean) * gamma / sqrt(variance + epsilon) + beta`.
#[derive(Clone, Debug, PartialEq)]
pub struct NormalizeChannels {
    /// Added to the variance.
    pub epsilon: f32,
}

impl Operation for NormalizeChannels {
    fn name(&self) -> &'static str {
        "normalize_channels"
    }

    fn output_shape(&self, inputs: &[Shape], weights: &[Shape]) -> Result<Shape, ShapeError> {
        let [x, stats] = expect_count(self.name(), "number of inputs", inputs)?;
        let [gamma, beta] = expect_count(self.name(), "number of weights", weights)?;
        expect_rank(self.name(), "x", 4, x)?;
        expect_shape(self.name(), "stats", [x.extent(0), 2 * x.extent(1)], stats)?;
        expect_shape(self.name(), "gamma", [x.extent(1)], gamma)?;
        expect_shape(self.name(), "beta", [x.extent(1)], beta)?;
        Ok(x)
    }

    fn output_dtype(&self, inputs: &[DType], _precision: DType) -> DType {
        inputs[0]
    }

    fn reads_element(&self, index: usize) -> bool {
        index == 0
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
            .u32("L", x.extent(2) * x.extent(3))
            .u32("C", x.extent(1))
            .u32("CS", stored_channels(x.extent(1)))
            .u32("SS", stored_channels(2 * x.extent(1)))
            .f32("epsilon", self.epsilon);
        elementwise(&KERNEL, call, &[], params, limits)
    }

    /// Channels are guarded; rows of statistics have their padding.
    fn max_index(&self, call: &Call, _config: KernelConfig, _packed: &[Packed]) -> Option<Vec<usize>> {
        let x = call.inputs[0];
        let channels = x.extent(1);
        Some(vec![
            x.stored_len(),
            x.extent(0) * stored_channels(2 * channels),
            channels,
            channels,
            x.stored_len(),
        ])
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }

    fn pack(&self, _call: &Call, _config: KernelConfig, weights: &[&HostTensor]) -> Vec<Packed> {
        weights.iter().map(|w| Packed::F32(w.data().to_vec())).collect()
    }
}
