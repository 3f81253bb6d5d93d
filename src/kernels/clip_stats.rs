//! Maximum, mean and standard deviation of each clip's spectrogram.

use super::reduction::{Reduction, shared, subgroup};
use super::{
    Call, Dispatch, DispatchError, Kernel, KernelConfig, Limits, Operation, Packed, Params, ShapeError,
    Tolerance, expect_count, expect_rank,
};
use crate::tensor::{DType, HostTensor, Shape};

const SOURCE: &str = include_str!("../../shaders/frontend/clip_stats.wgsl");
static SHARED: Kernel = shared("clip_stats", SOURCE);
static SUBGROUP: Kernel = subgroup("clip_stats_subgroup", SOURCE);

impl Reduction for ClipStats {
    const SHARED: &'static Kernel = &SHARED;
    const SUBGROUP: &'static Kernel = &SUBGROUP;

    fn workgroups(call: &Call) -> usize {
        call.inputs[0].extent(0)
    }
}

/// Threads that share one clip: a power of two. One workgroup waits for memory less the more threads it has.
fn threads(limits: &Limits) -> u32 {
    if !limits.software && limits.max_workgroup_threads >= 1024 { 1024 } else { 256 }
}

/// Values over which a clip's maximum is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Its own.
    #[default]
    Clip,
    /// All clips of the batch.
    Batch,
}

/// `[N, 1, F, T]` in dB to `[N, 3]`: maximum, then mean and standard deviation of the values floored at
/// `maximum - range_db`.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipStats {
    /// Distance of the floor from the clip's maximum, in dB.
    pub range_db: f32,
    /// Values over which the maximum is taken.
    pub scope: Scope,
}

impl Operation for ClipStats {
    fn name(&self) -> &'static str {
        "clip_stats"
    }

    fn output_shape(&self, inputs: &[Shape], weights: &[Shape]) -> Result<Shape, ShapeError> {
        let [x] = expect_count(self.name(), "number of inputs", inputs)?;
        let [] = expect_count(self.name(), "number of weights", weights)?;
        expect_rank(self.name(), "x", 4, x)?;
        super::expect_shape(self.name(), "x", [x.extent(0), 1, x.extent(2), x.extent(3)], x)?;
        Ok([x.extent(0), 3].into())
    }

    fn output_dtype(&self, _inputs: &[DType], _precision: DType) -> DType {
        DType::F32
    }

    fn depends_on_batch(&self) -> bool {
        self.scope == Scope::Batch
    }

    fn reads_element(&self, _index: usize) -> bool {
        false
    }

    fn configs(&self, call: &Call, limits: &Limits) -> Vec<KernelConfig> {
        Self::VARIANTS.configs(self, call, limits)
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
            element: DType::F32,
            constants: vec![
                ("WG", f64::from(threads(limits))),
                ("SCOPE", f64::from(u8::from(self.scope == Scope::Batch))),
            ],
            params: Params::new()
                .u32("N", x.extent(0))
                .u32("L", x.len() / x.extent(0))
                .f32("range_db", self.range_db),
            ..variant.dispatch(self, call, config, limits)?
        })
    }

    /// Every index is below the end of its clip, or of the batch.
    fn max_index(&self, call: &Call, _config: KernelConfig, _packed: &[Packed]) -> Option<Vec<usize>> {
        Some(vec![call.inputs[0].len(), 4 * call.inputs[0].extent(0)])
    }

    fn tolerance(&self) -> Tolerance {
        // Sums over a clip in f32 against f64.
        Tolerance { absolute: 1e-4, relative: 3e-6 }
    }

    fn pack(&self, _call: &Call, _config: KernelConfig, _weights: &[&HostTensor]) -> Vec<Packed> {
        Vec::new()
    }

    fn flops(&self, call: &Call) -> u64 {
        6 * call.inputs[0].len() as u64
    }
}
