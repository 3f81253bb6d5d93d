//! Winograd's minimal filtering: `conv2d_winograd`, F(2x2, 3x3) and F(4x4, 3x3).
//!
//! The weights are transformed here, in f64; the kernel transforms tiles of the input and the products back. F(4x4)
//! interpolates at 0, +-3/4, +-3/2 and infinity as [`crate::cpu`] does, for half the rounding error of the usual
//! points 0, +-1, +-2.

use super::super::{
    ACTIVATIONS, CONV2D, Call, DispatchError, Kernel, KernelConfig, Limits, split_workgroups,
};
use super::{BINDINGS, Conv2d, KERNEL, KernelVariant, Specific};
use crate::tensor::{DType, HostTensor, stored_channels};

pub(super) const WINOGRAD: KernelVariant = KernelVariant {
    kernel: &WINOGRAD_KERNEL,
    configs,
    workgroups,
    specific: Specific {
        channels4: |config| config.get("TK"),
        depth: |config, channels| products(config.get("M")) * channels,
        header,
        pack,
    },
};

static WINOGRAD_KERNEL: Kernel = Kernel {
    name: "conv2d_winograd",
    source: include_str!("../../../shaders/layers/conv2d_winograd.wgsl"),
    includes: &[&ACTIVATIONS, &CONV2D],
    bindings: BINDINGS,
};

/// Outputs of a tile along an axis, tiles and `vec4`s of channels of a workgroup, those of a thread, and `vec4`s of
/// input channels of a stage: what fits 16 KiB of shared memory, then what larger devices hold.
const TILES: [[u32; 6]; 7] = [
    [2, 32, 8, 8, 2, 1],
    [4, 16, 2, 8, 1, 1],
    [2, 32, 16, 8, 2, 2],
    [4, 32, 4, 8, 2, 1],
    [4, 32, 8, 8, 2, 1],
    [4, 32, 8, 8, 4, 1],
    [4, 64, 4, 8, 2, 1],
];

/// Products of a tile with so many outputs along an axis.
fn products(outputs: usize) -> usize {
    (outputs + KERNEL - 1).pow(2)
}

/// Tiles along frequency and time that hold whole pool windows.
fn unit(op: &Conv2d, outputs: usize) -> [usize; 2] {
    op.pool.map(|window| {
        // A tile is two or four long.
        let common = [4, 2, 1]
            .into_iter()
            .find(|common| outputs.is_multiple_of(*common) && window.is_multiple_of(*common));
        window / common.unwrap_or(1)
    })
}

fn configs(op: &Conv2d, call: &Call, limits: &Limits) -> Vec<KernelConfig> {
    // One input channel has no sum to gain from, and transformed weights are too wide apart for f16.
    if call.inputs[0].extent(1) == 1 || call.element == DType::F16 {
        return Vec::new();
    }
    let tiles = TILES.iter().filter_map(|&[m, tiles, channels4, rows, columns, bk]| {
        let [uy, ux] = unit(op, m as usize).map(|extent| extent as u32);
        let units = tiles / (uy * ux);
        let constants =
            [("M", m), ("UN", units), ("TK", channels4), ("RT", rows), ("CT", columns), ("BK", bk)];
        (units > 0).then(|| KernelConfig::new(WINOGRAD_KERNEL.name, &constants))
    });
    tiles.filter(|tile| fits(op, *tile, limits)).collect()
}

/// The header's constants that follow from the window: tiles of a unit.
fn header(op: &Conv2d, config: KernelConfig) -> String {
    let [uy, ux] = unit(op, config.get("M"));
    format!("const UY = {uy}u; const UX = {ux}u; ")
}

/// Returns true if a workgroup's threads and shared memory fit the device.
fn fits(op: &Conv2d, config: KernelConfig, limits: &Limits) -> bool {
    let [m, units, channels4, rt, ct, bk] = ["M", "UN", "TK", "RT", "CT", "BK"].map(|name| config.get(name));
    let [uy, ux] = unit(op, m);
    let (tiles, products) = (units * uy * ux, products(m));
    let blocks = tiles.div_ceil(rt);
    let stage = products * bk * (blocks * rt + 4 * channels4);
    let threads = products * blocks * (channels4 / ct);
    // A thread transforms one line of one tile of a stage at most.
    let lines = bk * (m + KERNEL - 1) * blocks * rt;
    threads <= limits.max_workgroup_threads as usize
        && lines <= threads
        && stage.max(products * blocks * rt) * 4 * DType::F32.size() <= limits.max_shared_bytes as usize
}

fn workgroups(
    op: &Conv2d,
    call: &Call,
    config: KernelConfig,
    limits: &Limits,
) -> Result<[u32; 3], DispatchError> {
    if !fits(op, config, limits) {
        let call = format!("{} with {config}", call.inputs[0]);
        return Err(DispatchError::NotApplicable { kernel: WINOGRAD_KERNEL.name, call });
    }
    let (y, m) = (call.output, config.get("M"));
    let [down, across] = [0, 1].map(|axis| {
        let unit = unit(op, m)[axis] * m;
        (y.extent(2 + axis) * op.pool[axis]).div_ceil(unit)
    });
    let blocks = (stored_channels(y.extent(1)) / 4).div_ceil(config.get("TK"));
    let units = y.extent(0) * down * across;
    let [x, z, _] = split_workgroups(&WINOGRAD_KERNEL, units.div_ceil(config.get("UN")), limits)?;
    Ok([x, blocks as u32, z])
}

/// `[A * A, C, O]`: `G g G^T` of each 3x3 kernel, in f64 and rounded once; C and O padded with zeros.
fn pack(_: &Conv2d, config: KernelConfig, w: &HostTensor, padded_o: usize) -> Vec<f32> {
    let rows = points(config.get("M"));
    let c = w.shape().extent(1);
    let padded_c = stored_channels(c);
    let mut packed = vec![0.0; rows.len() * rows.len() * padded_c * padded_o];
    for (index, g) in w.data().chunks_exact(KERNEL * KERNEL).enumerate() {
        let (channel, output) = (index % c, index / c);
        for (product, (a, b)) in rows.iter().flat_map(|a| rows.iter().map(move |b| (a, b))).enumerate() {
            let terms = (0..9).map(|k| a[k / 3] * f64::from(g[k]) * b[k % 3]);
            packed[(product * padded_c + channel) * padded_o + output] = terms.sum::<f64>() as f32;
        }
    }
    packed
}

/// The rows of `G`.
fn points(outputs: usize) -> Vec<[f64; 3]> {
    let row = |point: f64, scale: f64| [1.0 / scale, point / scale, point * point / scale];
    let infinity = [0.0, 0.0, 1.0];
    if outputs == 2 {
        return vec![row(0.0, 1.0), row(1.0, 2.0), row(-1.0, 2.0), infinity];
    }
    let (p, q) = (0.75, 1.5);
    let scale = |point: f64, other: f64| 2.0 * point * point * (point * point - other * other);
    vec![
        row(0.0, p * p * q * q),
        row(p, scale(p, q)),
        row(-p, scale(p, q)),
        row(q, scale(q, p)),
        row(-q, scale(q, p)),
        infinity,
    ]
}
