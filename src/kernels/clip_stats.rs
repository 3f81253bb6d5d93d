//! Maximum, mean and standard deviation of each clip's spectrogram.

use super::{
    Binding, Call, Dispatch, DispatchError, INDEX, Kernel, Limits, Operation, Packed, Params, REDUCE,
    REDUCE_SUBGROUP, Role, ShapeError, Strategy, Way, Ways, expect_count, expect_rank, fold,
};
use crate::tensor::{DType, HostTensor, Shape};

static SHARED: Kernel = Kernel {
    name: "clip_stats",
    source: include_str!("../../shaders/frontend/clip_stats.wgsl"),
    appends: &[&INDEX, &REDUCE],
    bindings: &[Binding { name: "x", role: Role::Input(0) }, Binding { name: "y", role: Role::Output }],
};

static SUBGROUP: Kernel =
    Kernel { name: "clip_stats_subgroup", appends: &[&INDEX, &REDUCE_SUBGROUP], ..SHARED };

const THROUGH_SHARED: Way<ClipStats> = Way {
    kernel: &SHARED,
    strategies: |_, _, _| vec![Strategy::new(SHARED.name, &[])],
    workgroups: |_, call, _, limits| fold(&SHARED, call.inputs[0].extent(0), limits),
    own: (),
};

const THROUGH_SUBGROUPS: Way<ClipStats> = Way {
    kernel: &SUBGROUP,
    strategies: |_, _, limits| match limits.subgroup_ids {
        true => vec![Strategy::new(SUBGROUP.name, &[])],
        false => Vec::new(),
    },
    ..THROUGH_SHARED
};

const WAYS: Ways<ClipStats> = Ways(&[THROUGH_SUBGROUPS, THROUGH_SHARED]);

/// Threads that share one clip: a power of two. One workgroup waits for memory less the more threads it has.
fn threads(limits: &Limits) -> u32 {
    if !limits.software && limits.max_workgroup_threads >= 1024 { 1024 } else { 256 }
}

/// Which values a clip's maximum is taken over.
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
    /// How far below the clip's maximum values are cut, in dB.
    pub range_db: f32,
    /// What the maximum is taken over.
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

    fn couples_clips(&self) -> bool {
        self.scope == Scope::Batch
    }

    fn reads_element(&self, _index: usize) -> bool {
        false
    }

    fn strategies(&self, call: &Call, limits: &Limits) -> Vec<Strategy> {
        WAYS.strategies(self, call, limits)
    }

    fn dispatch(&self, call: &Call, strategy: Strategy, limits: &Limits) -> Result<Dispatch, DispatchError> {
        let x = call.inputs[0];
        let (strategy, way) = WAYS.choose(strategy, &self.strategies(call, limits), call)?;
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
            ..way.dispatch(self, call, strategy, limits)?
        })
    }

    /// Every index is below the end of its clip, or of the batch.
    fn bounds(&self, call: &Call, _strategy: Strategy, _packed: &[Packed]) -> Option<Vec<usize>> {
        Some(vec![call.inputs[0].len(), 4 * call.inputs[0].extent(0)])
    }

    fn pack(&self, _call: &Call, _strategy: Strategy, _weights: &[&HostTensor]) -> Vec<Packed> {
        Vec::new()
    }

    fn flops(&self, call: &Call) -> u64 {
        6 * call.inputs[0].len() as u64
    }
}
