//! Convolution as a matrix product through shared memory: `conv2d_tiled`.

use super::super::{
    ACTIVATIONS, CONV2D, Call, DispatchError, Kernel, KernelConfig, Limits, split_workgroups,
};
use super::{BINDINGS, Conv2d, KernelVariant, Specific, direct};
use crate::tensor::{DType, stored_channels};

pub(super) const TILED: KernelVariant = KernelVariant {
    kernel: &TILED_KERNEL,
    configs,
    workgroups,
    specific: Specific { channels4: |config| config.get("TX") * config.get("OV"), ..direct::DIRECT.specific },
};

static TILED_KERNEL: Kernel = Kernel {
    name: "conv2d_tiled",
    source: include_str!("../../../shaders/layers/conv2d_tiled.wgsl"),
    includes: &[&ACTIVATIONS, &CONV2D],
    bindings: BINDINGS,
};

/// Threads along channels and rows, `vec4`s of input channels of a stage, and slices: the larger tiles for large
/// layers, then a small one whose four slices share the taps and input channels out.
const TILES: [[u32; 4]; 6] =
    [[16, 8, 2, 1], [16, 16, 4, 1], [16, 8, 4, 1], [8, 16, 2, 1], [8, 8, 2, 1], [4, 4, 2, 4]];

/// Most sums of four channels that a thread keeps in registers.
const MAX_SUMS: u32 = 18;

fn configs(op: &Conv2d, call: &Call, limits: &Limits) -> Vec<KernelConfig> {
    if call.inputs[0].extent(1) == 1 {
        return Vec::new();
    }
    // About eight rows of eight channels a thread, whatever the window; four channels where the window is large or
    // the channels are few.
    let window = (op.pool[0] * op.pool[1]) as u32;
    let windows = (8 / window).max(1);
    let outputs4 = (stored_channels(call.output.extent(1)) / 4) as u32;
    let tiles = TILES.iter().map(|&[tx, ty, bk, slices]| {
        let is_two = 2 * windows * window <= MAX_SUMS && 2 * tx <= outputs4;
        let channels4 = if is_two { 2 } else { 1 };
        let constants =
            [("TX", tx), ("TY", ty), ("QT", windows), ("OV", channels4), ("BK", bk), ("KS", slices)];
        KernelConfig::new(TILED_KERNEL.name, &constants)
    });
    tiles.filter(|tile| fits(op, call, *tile, limits)).collect()
}

/// Returns true if a workgroup's threads and shared memory fit the device.
fn fits(op: &Conv2d, call: &Call, config: KernelConfig, limits: &Limits) -> bool {
    let [tx, ty, windows, channels4, bk, slices] =
        ["TX", "TY", "QT", "OV", "BK", "KS"].map(|name| config.get(name));
    let rows = windows * op.pool[0] * op.pool[1];
    let staged = slices * bk * (ty * rows + 4 * tx * channels4) * 4 * call.element.size();
    let partial = ((slices - 1).min(1) * tx * ty * rows * channels4 + 1) * 4 * DType::F32.size();
    tx * ty * slices <= limits.max_workgroup_threads as usize
        && staged + partial <= limits.max_shared_bytes as usize
}

fn workgroups(
    op: &Conv2d,
    call: &Call,
    config: KernelConfig,
    limits: &Limits,
) -> Result<[u32; 3], DispatchError> {
    if !fits(op, call, config, limits) {
        let call = format!("{} with {config}", call.inputs[0]);
        return Err(DispatchError::NotApplicable { kernel: TILED_KERNEL.name, call });
    }
    let y = call.output;
    let windows = y.extent(0) * y.extent(2) * y.extent(3);
    let blocks = (stored_channels(y.extent(1)) / 4).div_ceil(config.get("TX") * config.get("OV"));
    let [x, z, _] =
        split_workgroups(&TILED_KERNEL, windows.div_ceil(config.get("TY") * config.get("QT")), limits)?;
    Ok([x, blocks as u32, z])
}
