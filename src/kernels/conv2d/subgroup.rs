//! Convolution straight from memory, the weights handed around in subgroups: `conv2d_subgroup`, for software drivers.

use super::super::{ACTIVATIONS, CONV2D, Call, Kernel, KernelConfig, Limits};
use super::{BINDINGS, Conv2d, KernelVariant, direct};

pub(super) const SUBGROUP: KernelVariant =
    KernelVariant { kernel: &SUBGROUP_KERNEL, configs, ..direct::DIRECT };

static SUBGROUP_KERNEL: Kernel = Kernel {
    name: "conv2d_subgroup",
    source: include_str!("../../../shaders/layers/conv2d_subgroup.wgsl"),
    includes: &[&ACTIVATIONS, &CONV2D],
    bindings: BINDINGS,
};

/// Convolution outputs and `vec4`s of channels of a thread.
const TILES: [[u32; 2]; 2] = [[8, 4], [18, 8]];

fn configs(op: &Conv2d, call: &Call, limits: &Limits) -> Vec<KernelConfig> {
    // A workgroup is one subgroup, whose size must be known: software drivers have one size.
    let threads = match limits.subgroup {
        Some([least, most]) if least == most && most > 0 && limits.software => most,
        _ => return Vec::new(),
    };
    if call.inputs[0].extent(1) == 1 {
        return Vec::new();
    }
    let tiles = TILES.iter().filter(|[_, channels4]| 4 * channels4 % threads == 0);
    let tiles = tiles.map(|&[outputs, channels4]| {
        let windows = (outputs / (op.pool[0] * op.pool[1]) as u32).max(1);
        KernelConfig::new(SUBGROUP_KERNEL.name, &[("WG", threads), ("QT", windows), ("OV", channels4)])
    });
    tiles.collect()
}
