//! Dense layers: a matrix product with bias and activation.

use super::{
    ACTIVATIONS, Activation, Binding, Call, Dispatch, DispatchError, Fused, INDEX, Kernel, KernelConfig,
    KernelVariant, KernelVariants, Limits, Op, Operation, Packed, Params, Role, ShapeError, Tolerance,
    expect_count, expect_shape, pad_channels, split_workgroups,
};
use crate::tensor::{DType, HostTensor, Shape, stored_channels};

/// Bindings of every kernel of the op.
const BINDINGS: &[Binding] = &[
    Binding { name: "x", role: Role::Input(0) },
    Binding { name: "w", role: Role::Weight(0) },
    Binding { name: "b", role: Role::Weight(1) },
    Binding { name: "y", role: Role::Output },
];

static DIRECT: Kernel = Kernel {
    name: "dense_direct",
    source: include_str!("../../shaders/layers/dense_direct.wgsl"),
    includes: &[&INDEX, &ACTIVATIONS],
    bindings: BINDINGS,
};

static TILED: Kernel = Kernel {
    name: "dense_tiled",
    source: include_str!("../../shaders/layers/dense_tiled.wgsl"),
    includes: &[&INDEX, &ACTIVATIONS],
    bindings: BINDINGS,
};

static SPLIT: Kernel = Kernel {
    name: "dense_split",
    source: include_str!("../../shaders/layers/dense_split.wgsl"),
    includes: &[&INDEX, &ACTIVATIONS],
    bindings: BINDINGS,
};

const VARIANTS: KernelVariants<Dense> = KernelVariants(&[
    KernelVariant {
        kernel: &DIRECT,
        configs: |_, _, _| vec![KernelConfig::new(DIRECT.name, &[("WG", 64)])],
        workgroups: |_, call, config, limits| {
            let (rows, columns4) = extents(call);
            split_workgroups(&DIRECT, (rows * columns4).div_ceil(config.get("WG")), limits)
        },
        specific: (),
    },
    KernelVariant {
        kernel: &TILED,
        configs: |_, call, limits| {
            let tiles = TILES.map(|[tx, ty, rm, ov, bk]| {
                KernelConfig::new(TILED.name, &[("TX", tx), ("TY", ty), ("RM", rm), ("OV", ov), ("BK", bk)])
            });
            tiles.into_iter().filter(|tile| fits(call, *tile, limits)).collect()
        },
        workgroups: |_, call, config, limits| {
            if !fits(call, config, limits) {
                let call = format!("{} with {config}", call.inputs[0]);
                return Err(DispatchError::NotApplicable { kernel: TILED.name, call });
            }
            let (rows, columns4) = extents(call);
            let rows = rows.div_ceil(config.get("TY") * config.get("RM"));
            split_workgroups(&TILED, rows * columns4.div_ceil(config.get("TX") * config.get("OV")), limits)
        },
        specific: (),
    },
    KernelVariant {
        kernel: &SPLIT,
        // A slice without a share of the sum only costs.
        configs: |_, call, limits| {
            let depth4 = stored_channels(call.inputs[0].channels()) / 4;
            let shared = SLICES.into_iter().filter(|[tx, slices]| {
                *slices as usize <= depth4 && tx * slices <= limits.max_workgroup_threads
            });
            shared.map(|[tx, slices]| KernelConfig::new(SPLIT.name, &[("TX", tx), ("KS", slices)])).collect()
        },
        workgroups: |_, call, config, limits| {
            let (rows, columns4) = extents(call);
            split_workgroups(&SPLIT, rows * columns4.div_ceil(config.get("TX")), limits)
        },
        specific: (),
    },
]);

/// Threads along columns and rows, rows and `vec4`s of columns of a thread, `vec4`s of D of a stage: 64 rows of 96
/// columns, which are the gates of a GRU of 32 units, then 64 of 32.
const TILES: [[u32; 5]; 2] = [[8, 8, 8, 3, 2], [8, 16, 4, 1, 4]];

/// Threads along columns, and slices of the sum.
const SLICES: [[u32; 2]; 2] = [[16, 8], [8, 32]];

/// Rows of the whole batch, and `vec4`s of columns.
fn extents(call: &Call) -> (usize, usize) {
    let x = call.inputs[0];
    (x.len() / x.channels(), stored_channels(call.output.channels()).div_ceil(4))
}

/// Returns true if a tile's threads and shared memory fit the device.
fn fits(call: &Call, config: KernelConfig, limits: &Limits) -> bool {
    let [tx, ty, rm, ov, bk] = ["TX", "TY", "RM", "OV", "BK"].map(|name| config.get(name));
    let staged = bk * ty * rm * call.element.size() + 4 * bk * tx * ov * DType::F32.size();
    tx * ty <= limits.max_workgroup_threads as usize && 4 * staged <= limits.max_shared_bytes as usize
}

/// `[N, ..., D]`, weights `[D, O]` and bias `[O]` to `[N, ..., O]`: `act(x w + b)`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dense {
    /// Applied to each output.
    pub activation: Activation,
}

impl Operation for Dense {
    fn name(&self) -> &'static str {
        "dense"
    }

    fn output_shape(&self, inputs: &[Shape], weights: &[Shape]) -> Result<Shape, ShapeError> {
        let [x] = expect_count(self.name(), "number of inputs", inputs)?;
        let [w, b] = expect_count(self.name(), "number of weights", weights)?;
        if x.rank() != 2 && x.rank() != 3 {
            return Err(ShapeError {
                op: self.name(),
                what: "x",
                expected: "[N, D] or [N, T, D]".into(),
                found: x.to_string(),
            });
        }
        expect_shape(self.name(), "w", [x.channels(), w.extent(1)], w)?;
        expect_shape(self.name(), "b", [w.extent(1)], b)?;
        let mut extents = x.extents().to_vec();
        extents[x.rank() - 1] = w.extent(1);
        Ok(Shape::new(&extents))
    }

    fn output_dtype(&self, _inputs: &[DType], _precision: DType) -> DType {
        DType::F32
    }

    fn configs(&self, call: &Call, limits: &Limits) -> Vec<KernelConfig> {
        // One channel is stored as a plain scalar, which no kernel reads or writes.
        match call.inputs[0].channels().min(call.output.channels()) {
            0 | 1 => Vec::new(),
            _ => VARIANTS.configs(self, call, limits),
        }
    }

    fn dispatch(
        &self,
        call: &Call,
        config: KernelConfig,
        limits: &Limits,
    ) -> Result<Dispatch, DispatchError> {
        let variant = VARIANTS.find(config, call)?;
        let (rows, columns4) = extents(call);
        Ok(Dispatch {
            constants: vec![self.activation.constant()],
            params: Params::new()
                .u32("R", rows)
                .u32("D4", stored_channels(call.inputs[0].channels()) / 4)
                .u32("O4", columns4),
            ..variant.dispatch(self, call, config, limits)?
        })
    }

    /// Rows, depth and columns are guarded wherever a tile may pass them.
    fn max_index(&self, call: &Call, _config: KernelConfig, _packed: &[Packed]) -> Option<Vec<usize>> {
        let (rows, columns4) = extents(call);
        let depth = stored_channels(call.inputs[0].channels());
        Some(vec![rows * depth, depth * 4 * columns4, 4 * columns4, rows * 4 * columns4])
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }

    fn pack(&self, call: &Call, _config: KernelConfig, weights: &[&HostTensor]) -> Vec<Packed> {
        let (d, o) = (weights[0].shape().extent(0), weights[0].shape().extent(1));
        let mut w = Vec::new();
        for row in 0..stored_channels(d) {
            let values = if row < d { weights[0].row(row) } else { &[] };
            w.extend_from_slice(values);
            w.resize((row + 1) * stored_channels(o), 0.0);
        }
        debug_assert_eq!(stored_channels(call.output.channels()), stored_channels(o));
        vec![Packed::F32(w), Packed::F32(pad_channels(weights[1].data()))]
    }

    fn fuse(&self, weights: &[&HostTensor], next: &Op, _next_weights: &[&HostTensor]) -> Option<Fused> {
        match next {
            Op::Activation(activation) if self.activation == Activation::Identity => {
                let fused = Dense { activation: *activation };
                Some((Op::Dense(fused), weights.iter().map(|&w| w.clone()).collect()))
            }
            _ => None,
        }
    }

    fn flops(&self, call: &Call) -> u64 {
        2 * (call.output.len() * call.inputs[0].channels()) as u64
    }
}
