//! Convolution of a patch of the input by products of f16 matrices that a subgroup multiplies as a whole:
//! `conv2d_patch`.

use super::super::{ACTIVATIONS, Call, DispatchError, Kernel, Limits, Strategy, fold};
use super::{BINDINGS, Conv2d, KERNEL, Own, Way, cooperative, direct};
use crate::tensor::{DType, stored_channels};

pub(super) const PATCH: Way = Way {
    kernel: &PATCH_KERNEL,
    strategies,
    workgroups,
    own: Own {
        channels4: |strategy| columns(strategy) / 4,
        depth: |strategy, channels| KERNEL * KERNEL * channels.next_multiple_of(strategy.get("KC").max(1)),
        header,
        pack: |_, strategy, w, padded_o| direct::pack(w, strategy.get("KC"), padded_o),
    },
};

static PATCH_KERNEL: Kernel = Kernel {
    name: "conv2d_patch",
    source: include_str!("../../../shaders/layers/conv2d_patch.wgsl"),
    appends: &[&ACTIVATIONS],
    bindings: BINDINGS,
};

/// Outputs of a workgroup of which tiles are made: about this many, by matrices of 16x16.
const OUTPUTS: [u32; 2] = [144, 256];

/// Subgroups along columns and matrices of each: 128, 64 and 32 channels for matrices of 16x16.
const COLUMNS: [[u32; 2]; 3] = [[4, 2], [4, 1], [2, 1]];

/// Most matrices of sums of a subgroup, and most along rows.
const MAX_SUMS: u32 = 20;

fn strategies(op: &Conv2d, call: &Call, limits: &Limits) -> Vec<Strategy> {
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
                let strategy = Strategy::new(PATCH_KERNEL.name, &constants);
                if fits(op, strategy, limits) && !tiles.contains(&strategy) {
                    tiles.push(strategy);
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
fn header(op: &Conv2d, strategy: Strategy) -> String {
    let [side, sr, ft, tt] = ["S", "SR", "FT", "TT"].map(|name| strategy.get(name).max(1));
    format!("{}const RM = {}u; ", cooperative::header(op, strategy), ft * tt / side / sr)
}

/// Channels that a workgroup makes.
fn columns(strategy: Strategy) -> usize {
    ["SC", "CM", "S"].map(|name| strategy.get(name)).iter().product()
}

/// Returns true if a workgroup's threads and shared memory fit the device and its tile holds whole windows.
fn fits(op: &Conv2d, strategy: Strategy, limits: &Limits) -> bool {
    let [side, sr, ft, tt, kc] = ["S", "SR", "FT", "TT", "KC"].map(|name| strategy.get(name).max(1));
    let patch = (ft + 2) * (tt + 2) * (kc + 8) * DType::F16.size();
    let sums = ft * tt * (side + 4) * DType::F32.size();
    let threads: usize = ["SR", "SC", "SG"].map(|name| strategy.get(name)).iter().product();
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
    strategy: Strategy,
    limits: &Limits,
) -> Result<[u32; 3], DispatchError> {
    if !fits(op, strategy, limits) {
        let call = format!("{} with {strategy}", call.inputs[0]);
        return Err(DispatchError::NotApplicable { kernel: PATCH_KERNEL.name, call });
    }
    let y = call.output;
    let down = (y.extent(2) * op.pool[0]).div_ceil(strategy.get("FT"));
    let across = (y.extent(3) * op.pool[1]).div_ceil(strategy.get("TT"));
    let blocks = stored_channels(y.extent(1)).div_ceil(columns(strategy));
    let [x, z, _] = fold(&PATCH_KERNEL, y.extent(0) * down * across, limits)?;
    Ok([x, blocks as u32, z])
}
