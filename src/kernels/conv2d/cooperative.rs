//! Convolution as a product of f16 matrices that a subgroup multiplies as a whole: `conv2d_cooperative`.

use super::super::{
    ACTIVATIONS, CONV2D, Call, DispatchError, Kernel, KernelConfig, Limits, split_workgroups,
};
use super::{BINDINGS, Conv2d, KernelVariant, Specific, direct};
use crate::tensor::{DType, stored_channels};

pub(super) const COOPERATIVE: KernelVariant = KernelVariant {
    kernel: &COOPERATIVE_KERNEL,
    configs,
    workgroups,
    specific: Specific { channels4: |config| columns(config) / 4, header, ..direct::DIRECT.specific },
};

static COOPERATIVE_KERNEL: Kernel = Kernel {
    name: "conv2d_cooperative",
    source: include_str!("../../../shaders/layers/conv2d_cooperative.wgsl"),
    includes: &[&ACTIVATIONS, &CONV2D],
    bindings: BINDINGS,
};

/// Subgroups along rows and columns, matrices of each along them: 64x64 outputs for matrices of 16x16, then twice as
/// many, 128x128, and half.
const TILES: [[u32; 4]; 5] = [[2, 2, 2, 2], [2, 4, 2, 2], [4, 2, 2, 2], [2, 2, 4, 4], [2, 1, 2, 2]];

fn configs(op: &Conv2d, call: &Call, limits: &Limits) -> Vec<KernelConfig> {
    // The number of subgroups in a workgroup must be known.
    let threads = match limits.subgroup {
        Some([least, most]) if least == most && most > 0 => most,
        _ => return Vec::new(),
    };
    if call.inputs[0].extent(1) == 1 || call.element != DType::F16 {
        return Vec::new();
    }
    let sides = limits.matrices.iter().rev().filter(|&&side| side > 0);
    let tiles = sides.flat_map(|&side| {
        TILES.map(|[sr, sc, rm, cm]| {
            let constants = [("S", side), ("SG", threads), ("SR", sr), ("SC", sc), ("RM", rm), ("CM", cm)];
            KernelConfig::new(COOPERATIVE_KERNEL.name, &constants)
        })
    });
    tiles.filter(|tile| fits(op, *tile, limits)).collect()
}

/// Rows and columns of the product that a workgroup makes.
fn rows(config: KernelConfig) -> usize {
    ["SR", "RM", "S"].map(|name| config.get(name)).iter().product()
}

fn columns(config: KernelConfig) -> usize {
    ["SC", "CM", "S"].map(|name| config.get(name)).iter().product()
}

/// Matrix types of the configuration, and the `enable` line that they need.
pub(super) fn header(_: &Conv2d, config: KernelConfig) -> String {
    let side = config.get("S");
    let alias = |name: &str, element: &str, role: &str| {
        format!("alias {name} = coop_mat{side}x{side}<{element}, {role}>; ")
    };
    let matrices =
        [alias("MatrixA", "f16", "A"), alias("MatrixB", "f16", "B"), alias("Sum", "f32", "C")].concat();
    format!("enable wgpu_cooperative_matrix; {matrices}")
}

/// Returns true if a workgroup's threads, shared memory and at least one window fit the device.
fn fits(op: &Conv2d, config: KernelConfig, limits: &Limits) -> bool {
    let (rows, columns, side) = (rows(config), columns(config), config.get("S"));
    let staged = rows * (2 * side + 8) + 2 * side * (columns + 8);
    let sums = rows * (side + 4);
    let threads: usize = ["SR", "SC", "SG"].map(|name| config.get(name)).iter().product();
    threads <= limits.max_workgroup_threads as usize
        && staged * DType::F16.size() + sums * DType::F32.size() <= limits.max_shared_bytes as usize
        && op.pool[0] * op.pool[1] <= rows
}

fn workgroups(
    op: &Conv2d,
    call: &Call,
    config: KernelConfig,
    limits: &Limits,
) -> Result<[u32; 3], DispatchError> {
    if !fits(op, config, limits) {
        let call = format!("{} with {config}", call.inputs[0]);
        return Err(DispatchError::NotApplicable { kernel: COOPERATIVE_KERNEL.name, call });
    }
    let y = call.output;
    let windows = y.extent(0) * y.extent(2) * y.extent(3);
    let blocks = stored_channels(y.extent(1)).div_ceil(columns(config));
    let of_workgroup = rows(config) / (op.pool[0] * op.pool[1]);
    let [x, z, _] = split_workgroups(&COOPERATIVE_KERNEL, windows.div_ceil(of_workgroup), limits)?;
    Ok([x, blocks as u32, z])
}
