//! Convolution straight from memory, no shared memory: `conv2d_direct` and, for one input channel, `conv2d_plane`.

use super::super::{
    ACTIVATIONS, CONV2D, Call, DispatchError, Kernel, KernelConfig, Limits, split_workgroups,
};
use super::{BINDINGS, Conv2d, KERNEL, KernelVariant, Specific};
use crate::tensor::{HostTensor, stored_channels};

pub(super) const DIRECT: KernelVariant = KernelVariant {
    kernel: &DIRECT_KERNEL,
    configs: |op, call, limits| match call.inputs[0].extent(1) {
        1 => Vec::new(),
        _ => direct_strategies(op, limits),
    },
    workgroups,
    specific: Specific {
        channels4: |config| config.get("OV"),
        depth: |_, channels| KERNEL * KERNEL * channels,
        header: |_, _| String::new(),
        pack: |_, _, w, padded| pack(w, 1, padded),
    },
};

pub(super) const PLANE: KernelVariant = KernelVariant {
    kernel: &PLANE_KERNEL,
    configs: |_, call, limits| match call.inputs[0].extent(1) {
        1 => vec![KernelConfig::new(PLANE_KERNEL.name, &[("WG", threads(limits)), ("QT", 1), ("OV", 4)])],
        _ => Vec::new(),
    },
    ..DIRECT
};

static DIRECT_KERNEL: Kernel = Kernel {
    name: "conv2d_direct",
    source: include_str!("../../../shaders/layers/conv2d_direct.wgsl"),
    includes: &[&ACTIVATIONS, &CONV2D],
    bindings: BINDINGS,
};

static PLANE_KERNEL: Kernel = Kernel {
    name: "conv2d_plane",
    source: include_str!("../../../shaders/layers/conv2d_plane.wgsl"),
    includes: &[&ACTIVATIONS, &CONV2D],
    bindings: BINDINGS,
};

/// A software driver runs a workgroup as one vector of the processor.
fn threads(limits: &Limits) -> u32 {
    if limits.software { 8 } else { 64 }
}

/// Convolution outputs and `vec4`s of channels of a thread. Software drivers load weights once per thread and
/// keep sums in the processor's cache, so that large tiles win there; a GPU keeps them in registers.
const SOFTWARE_TILES: [[u32; 2]; 2] = [[36, 2], [8, 2]];
const HARDWARE_TILES: [[u32; 2]; 2] = [[8, 2], [4, 1]];

fn direct_strategies(op: &Conv2d, limits: &Limits) -> Vec<KernelConfig> {
    let tiles = if limits.software { SOFTWARE_TILES } else { HARDWARE_TILES };
    let mut configs = Vec::new();
    for [outputs, channels4] in tiles {
        let windows = (outputs / (op.pool[0] * op.pool[1]) as u32).max(1);
        let constants = [("WG", threads(limits)), ("QT", windows), ("OV", channels4)];
        let config = KernelConfig::new(DIRECT_KERNEL.name, &constants);
        // A large window makes some tiles equal.
        if !configs.contains(&config) {
            configs.push(config);
        }
    }
    configs
}

fn workgroups(
    _: &Conv2d,
    call: &Call,
    config: KernelConfig,
    limits: &Limits,
) -> Result<[u32; 3], DispatchError> {
    let y = call.output;
    let kernel = if call.inputs[0].extent(1) == 1 { &PLANE_KERNEL } else { &DIRECT_KERNEL };
    let blocks = (stored_channels(y.extent(1)) / 4).div_ceil(config.get("OV"));
    let threads = y.extent(0) * y.extent(2) * y.extent(3).div_ceil(config.get("QT"));
    let [x, z, _] = split_workgroups(kernel, threads.div_ceil(config.get("WG")), limits)?;
    Ok([x, blocks as u32, z])
}

/// `[3 * 3, C, O]`, padded with zeros: C to a multiple of `channels`, O to `padded_o`.
pub(super) fn pack(w: &HostTensor, channels: usize, padded_o: usize) -> Vec<f32> {
    const TAPS: usize = KERNEL * KERNEL;
    let c = w.shape().extent(1);
    let padded_c = stored_channels(c).next_multiple_of(channels.max(1));
    let mut packed = vec![0.0; TAPS * padded_c * padded_o];
    for (index, &value) in w.data().iter().enumerate() {
        let (tap, channel, output) = (index % TAPS, index / TAPS % c, index / TAPS / c);
        packed[(tap * padded_c + channel) * padded_o + output] = value;
    }
    packed
}
