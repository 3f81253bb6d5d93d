//! The mean of each channel over frequency and time.

use super::reduction::{Reduction, shared, subgroup};
use super::{
    Call, Dispatch, DispatchError, Kernel, KernelConfig, Limits, Operation, Packed, Params, ShapeError,
    Tolerance, expect_count, expect_rank,
};
use crate::tensor::{DType, HostTensor, Shape, stored_channels};

const SOURCE: &str = include_str!("../../shaders/layers/mean_pool2d.wgsl");
static SHARED: Kernel = shared("mean_pool2d", SOURCE);
static SUBGROUP: Kernel = subgroup("mean_pool2d_subgroup", SOURCE);

impl Reduction for MeanPool2d {
    const SHARED: &'static Kernel = &SHARED;
    const SUBGROUP: &'static Kernel = &SUBGROUP;

    fn workgroups(call: &Call) -> usize {
        call.inputs[0].extent(0) * blocks(call)
    }
}

/// Threads that share one clip's four channels; a power of two.
const THREADS: u32 = 64;

/// Blocks of four channels.
fn blocks(call: &Call) -> usize {
    stored_channels(call.inputs[0].extent(1)) / 4
}

/// `[N, C, F, T]` to `[N, C]`: the mean over frequency and time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MeanPool2d;

impl Operation for MeanPool2d {
    fn name(&self) -> &'static str {
        "mean_pool2d"
    }

    fn output_shape(&self, inputs: &[Shape], weights: &[Shape]) -> Result<Shape, ShapeError> {
        let [x] = expect_count(self.name(), "number of inputs", inputs)?;
        let [] = expect_count(self.name(), "number of weights", weights)?;
        expect_rank(self.name(), "x", 4, x)?;
        Ok([x.extent(0), x.extent(1)].into())
    }

    fn output_dtype(&self, _inputs: &[DType], _precision: DType) -> DType {
        DType::F32
    }

    fn configs(&self, call: &Call, limits: &Limits) -> Vec<KernelConfig> {
        // One channel is stored as plain scalars, which no kernel reads.
        match call.inputs[0].extent(1) {
            0 | 1 => Vec::new(),
            _ => Self::VARIANTS.configs(self, call, limits),
        }
    }

    fn dispatch(
        &self,
        call: &Call,
        config: KernelConfig,
        limits: &Limits,
    ) -> Result<Dispatch, DispatchError> {
        let x = call.inputs[0];
        let variant = Self::VARIANTS.find(config, call)?;
        Ok(Dispatch {
            constants: vec![("WG", f64::from(THREADS))],
            params: Params::new()
                .u32("ROWS", x.extent(0) * blocks(call))
                .u32("L", x.extent(2) * x.extent(3))
                .u32("C4", blocks(call)),
            ..variant.dispatch(self, call, config, limits)?
        })
    }

    /// A surplus workgroup repeats the last one.
    fn max_index(&self, call: &Call, _config: KernelConfig, _packed: &[Packed]) -> Option<Vec<usize>> {
        let x = call.inputs[0];
        let clips = x.extent(0) * 4 * blocks(call);
        Some(vec![x.extent(2) * x.extent(3) * clips, clips])
    }

    fn tolerance(&self) -> Tolerance {
        // Sums of values of up to 30.
        Tolerance { absolute: 2e-4, relative: 2e-5 }
    }

    fn pack(&self, _call: &Call, _config: KernelConfig, _weights: &[&HostTensor]) -> Vec<Packed> {
        Vec::new()
    }

    fn flops(&self, call: &Call) -> u64 {
        call.inputs[0].len() as u64
    }
}
