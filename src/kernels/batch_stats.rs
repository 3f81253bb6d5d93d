//! Mean and variance of each channel over a whole batch.

use super::reduction::{Reduction, shared, subgroup};
use super::{
    Call, Dispatch, DispatchError, Kernel, KernelConfig, Limits, Operation, Packed, Params, ShapeError,
    Tolerance, expect_count, expect_rank,
};
use crate::tensor::{DType, HostTensor, Shape, stored_channels};

const SOURCE: &str = include_str!("../../shaders/layers/batch_stats.wgsl");
static SHARED: Kernel = shared("batch_stats", SOURCE);
static SUBGROUP: Kernel = subgroup("batch_stats_subgroup", SOURCE);

impl Reduction for BatchStats {
    const SHARED: &'static Kernel = &SHARED;
    const SUBGROUP: &'static Kernel = &SUBGROUP;

    fn workgroups(call: &Call) -> usize {
        blocks(call)
    }
}

/// Threads that share four channels; a power of two.
const THREADS: u32 = 256;

/// Blocks of four channels.
fn blocks(call: &Call) -> usize {
    stored_channels(call.inputs[0].extent(1)) / 4
}

/// `[N, C, F, T]` to `[N, 2 C]`: the means of all channels over the whole batch, then their variances, the same
/// row for every clip. It couples the clips of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchStats;

impl Operation for BatchStats {
    fn name(&self) -> &'static str {
        "batch_stats"
    }

    fn output_shape(&self, inputs: &[Shape], weights: &[Shape]) -> Result<Shape, ShapeError> {
        let [x] = expect_count(self.name(), "number of inputs", inputs)?;
        let [] = expect_count(self.name(), "number of weights", weights)?;
        expect_rank(self.name(), "x", 4, x)?;
        Ok([x.extent(0), 2 * x.extent(1)].into())
    }

    fn output_dtype(&self, _inputs: &[DType], _precision: DType) -> DType {
        DType::F32
    }

    fn depends_on_batch(&self) -> bool {
        true
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
                .u32("N", x.extent(0))
                .u32("ROWS", x.extent(0) * x.extent(2) * x.extent(3))
                .u32("C", x.extent(1))
                .u32("C4", blocks(call))
                .u32("YS", stored_channels(call.output.extent(1))),
            ..variant.dispatch(self, call, config, limits)?
        })
    }

    /// Rows and channels are guarded; every clip's row of statistics has its padding.
    fn max_index(&self, call: &Call, _config: KernelConfig, _packed: &[Packed]) -> Option<Vec<usize>> {
        let x = call.inputs[0];
        let rows = x.extent(0) * x.extent(2) * x.extent(3);
        Some(vec![rows * 4 * blocks(call), x.extent(0) * stored_channels(call.output.extent(1))])
    }

    fn tolerance(&self) -> Tolerance {
        // Sums of values of up to 30, and of their squares.
        Tolerance { absolute: 2e-4, relative: 2e-5 }
    }

    fn pack(&self, _call: &Call, _config: KernelConfig, _weights: &[&HostTensor]) -> Vec<Packed> {
        Vec::new()
    }

    fn flops(&self, call: &Call) -> u64 {
        5 * call.inputs[0].len() as u64
    }
}
