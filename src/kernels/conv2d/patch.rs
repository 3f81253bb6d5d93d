//! Convolution of a patch of the input by products of f16 matrices that a subgroup multiplies as a whole:
//! `conv2d_patch`.

use super::super::{
    ACTIVATIONS, CONV2D, Call, DispatchError, Kernel, KernelConfig, Limits, split_workgroups,
};
use super::{BINDINGS, Conv2d, KERNEL, KernelVariant, Specific, cooperative, direct};
use crate::tensor::{DType, stored_channels};

pub(super) const PATCH: KernelVariant = KernelVariant {
    kernel: &PATCH_KERNEL,
    configs,
    workgroups,
    specific: Specific {
        channels4: |config| columns(config) / 4,
        depth: |config, channels| KERNEL * KERNEL * channels.next_multiple_of(config.get("KC").max(1)),
        header,
        pack: |_, config, w, padded_o| direct::pack(w, config.get("KC"), padded_o),
    },
};

static PATCH_KERNEL: Kernel = Kernel {
    name: "conv2d_patch",
    source: include_str!("../../../shaders/layers/conv2d_patch.wgsl"),
    includes: &[&ACTIVATIONS, &CONV2D],
    bindings: BINDINGS,
};

/// Outputs of a workgroup of which tiles are made: about this many, by matrices of 16x16.
const OUTPUTS: [u32; 2] = [144, 256];

/// Subgroups along columns and matrices of each: 128, 64 and 32 channels for matrices of 16x16.
const COLUMNS: [[u32; 2]; 3] = [[4, 2], [4, 1], [2, 1]];

/// Most matrices of sums of a subgroup, and most along rows.
const MAX_SUMS: u32 = 20;

fn configs(op: &Conv2d, call: &Call, limits: &Limits) -> Vec<KernelConfig> {
    // The number of subgroups in a workgroup must be known.
    let threads = match limits.subgroup {
        Some([least, most]) if least == most && most > 0 => most,
        _ => return Vec::new(),
    };
    let channels = stored_channels(call.inputs[0].extent(1)) as u32;
    if channels < 4 || call.element != DType::F16 {
        return Vec::new();
    }
    let mut tiles = Vec::new();
    for &side in limits.matrices.iter().rev().filter(|&&side| side >= 4) {
        for outputs in OUTPUTS {
            let Some([ft, tt]) = extents(op, outputs, side) else { continue };
            for [sc, cm] in COLUMNS {
                let rows = ft * tt / side;
                let split = (1..=4).find(|sr| rows.is_multiple_of(*sr) && rows / sr * cm <= MAX_SUMS);
                let Some(sr) = split else { continue };
                let kc = if channels >= 2 * side { 2 * side } else { side };
                let constants = [
                    ("S", side),
                    ("SG", threads),
                    ("SR", sr),
                    ("SC", sc),
                    ("CM", cm),
                    ("FT", ft),
                    ("TT", tt),
                    ("KC", kc),
                ];
                let config = KernelConfig::new(PATCH_KERNEL.name, &constants);
                if fits(op, config, limits) && !tiles.contains(&config) {
                    tiles.push(config);
                }
            }
        }
    }
    tiles
}

/// Rows and frames of about `outputs` outputs: whole windows, and frames in whole matrices.
fn extents(op: &Conv2d, outputs: u32, side: u32) -> Option<[u32; 2]> {
    let [pf, pt] = op.pool.map(|extent| u32::try_from(extent).unwrap_or(u32::MAX));
    let frames = (1..=side).map(|count| count * pt).find(|frames| frames.is_multiple_of(side))?;
    let rows = if pf == 1 { 4 } else { pf };
    let across = (outputs / rows / frames).max(1);
    (rows.checked_mul(frames)? <= 2 * outputs).then_some([rows, frames * across])
}

/// The matrices, and how many of them a subgroup has along rows.
fn header(op: &Conv2d, config: KernelConfig) -> String {
    let [side, sr, ft, tt] = ["S", "SR", "FT", "TT"].map(|name| config.get(name).max(1));
    format!("{}const RM = {}u; ", cooperative::header(op, config), ft * tt / side / sr)
}

/// Channels that a workgroup makes.
fn columns(config: KernelConfig) -> usize {
    ["SC", "CM", "S"].map(|name| config.get(name)).iter().product()
}

/// Returns true if a workgroup's threads and shared memory fit the device and its tile holds whole windows.
fn fits(op: &Conv2d, config: KernelConfig, limits: &Limits) -> bool {
    let [side, sr, ft, tt, kc] = ["S", "SR", "FT", "TT", "KC"].map(|name| config.get(name).max(1));
    let patch = (ft + 2) * (tt + 2) * (kc + 8) * DType::F16.size();
    let sums = ft * tt * (side + 4) * DType::F32.size();
    let threads: usize = ["SR", "SC", "SG"].map(|name| config.get(name)).iter().product();
    threads <= limits.max_workgroup_threads as usize
        && patch + sums <= limits.max_shared_bytes as usize
        && ft.is_multiple_of(op.pool[0])
        && tt.is_multiple_of(op.pool[1])
        && tt.is_multiple_of(side)
        && (ft * tt / side).is_multiple_of(sr)
        && kc.is_multiple_of(side)
}

fn workgroups(
    op: &Conv2d,
    call: &Call,
    config: KernelConfig,
    limits: &Limits,
) -> Result<[u32; 3], DispatchError> {
    if !fits(op, config, limits) {
        let call = format!("{} with {config}", call.inputs[0]);
        return Err(DispatchError::NotApplicable { kernel: PATCH_KERNEL.name, call });
    }
    let y = call.output;
    let down = (y.extent(2) * op.pool[0]).div_ceil(config.get("FT"));
    let across = (y.extent(3) * op.pool[1]).div_ceil(config.get("TT"));
    let blocks = stored_channels(y.extent(1)).div_ceil(columns(config));
    let [x, z, _] = split_workgroups(&PATCH_KERNEL, y.extent(0) * down * across, limits)?;
    Ok([x, blocks as u32, z])
}
