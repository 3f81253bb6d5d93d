//! Winograd's minimal filtering F(4x4, 3x3): four by four outputs of a 3x3 convolution from 36 products a channel
//! in place of 144 (A. Lavin, S. Gray, "Fast algorithms for convolutional neural networks", arXiv:1509.09308).
//!
//! `y = A^T [(G g G^T) * (B^T d B)] A` by interpolation at 0, +-3/4, +-3/2 and infinity. The usual points 0, +-1,
//! +-2 and infinity need fewer multiplications in the transforms, which cost little here, and have twice the
//! rounding error (four times the largest one). Constants are exact in f32.

use pulp::Simd;

/// Outputs of a tile along an axis.
pub(super) const OUTPUTS: usize = 4;
/// Inputs of a tile along an axis.
pub(super) const INPUTS: usize = 6;
/// Products of a tile and channel.
pub(super) const PRODUCTS: usize = INPUTS * INPUTS;

/// The interpolation points.
const P: f32 = 0.75;
const Q: f32 = 1.5;
const P2: f32 = P * P;
const Q2: f32 = Q * Q;

/// `G g G^T` of a 3x3 kernel, in f64 and then rounded once.
pub(super) fn kernel(g: &[f32]) -> [f32; PRODUCTS] {
    let (p, q) = (f64::from(P), f64::from(Q));
    let (p2, q2) = (p * p, q * q);
    let row = |point: f64, scale: f64| [1.0 / scale, point / scale, point * point / scale];
    let rows = [
        row(0.0, p2 * q2),
        row(p, 2.0 * p2 * (p2 - q2)),
        row(-p, 2.0 * p2 * (p2 - q2)),
        row(q, 2.0 * q2 * (q2 - p2)),
        row(-q, 2.0 * q2 * (q2 - p2)),
        [0.0, 0.0, 1.0],
    ];
    std::array::from_fn(|index| {
        let (i, j) = (index / INPUTS, index % INPUTS);
        let terms = (0..9).map(|k| rows[i][k / 3] * f64::from(g[k]) * rows[j][k % 3]);
        terms.sum::<f64>() as f32
    })
}

/// `B^T d` of one column.
#[inline(always)]
fn input_1d<S: Simd>(simd: S, d: [S::f32s; INPUTS]) -> [S::f32s; INPUTS] {
    let constant = |v: f32| simd.splat_f32s(v);
    let fma = |a, b, c| simd.mul_add_e_f32s(a, b, c);
    let (product, sum) = (constant(P2 * Q2), constant(-(P2 + Q2)));
    let first = fma(d[0], product, fma(d[2], sum, d[4]));
    let last = fma(d[1], product, fma(d[3], sum, d[5]));
    let even = fma(d[2], constant(-Q2), d[4]);
    let odd = fma(d[1], constant(-Q2), d[3]);
    let even_q = fma(d[2], constant(-P2), d[4]);
    let odd_q = fma(d[1], constant(-P2), d[3]);
    [
        first,
        fma(odd, constant(P), even),
        fma(odd, constant(-P), even),
        fma(odd_q, constant(Q), even_q),
        fma(odd_q, constant(-Q), even_q),
        last,
    ]
}

/// `A^T m` of one column.
#[inline(always)]
fn output_1d<S: Simd>(simd: S, m: [S::f32s; INPUTS]) -> [S::f32s; OUTPUTS] {
    let constant = |v: f32| simd.splat_f32s(v);
    let fma = |a, b, c| simd.mul_add_e_f32s(a, b, c);
    let (sum_p, difference_p) = (simd.add_f32s(m[1], m[2]), simd.sub_f32s(m[1], m[2]));
    let (sum_q, difference_q) = (simd.add_f32s(m[3], m[4]), simd.sub_f32s(m[3], m[4]));
    [
        simd.add_f32s(simd.add_f32s(m[0], sum_p), sum_q),
        fma(difference_p, constant(P), simd.mul_f32s(difference_q, constant(Q))),
        fma(sum_p, constant(P2), simd.mul_f32s(sum_q, constant(Q2))),
        fma(difference_p, constant(P * P2), fma(difference_q, constant(Q * Q2), m[5])),
    ]
}

/// `B^T d B` of one vector of channels: `tile[i][j]` is read at `i * row + j * column`, product `k` is written
/// at `k * plane`.
#[inline(always)]
pub(super) fn input<S: Simd>(
    simd: S,
    strip: &[f32],
    [row, column]: [usize; 2],
    tiles: &mut [f32],
    plane: usize,
) {
    let zero = simd.splat_f32s(0.0);
    let mut columns = [[zero; INPUTS]; INPUTS];
    for (j, out) in columns.iter_mut().enumerate() {
        let d = std::array::from_fn(|i| S::as_simd_f32s(&strip[i * row + j * column..][..S::F32_LANES]).0[0]);
        *out = input_1d(simd, d);
    }
    for i in 0..INPUTS {
        let v = input_1d(simd, std::array::from_fn(|j| columns[j][i]));
        for (j, &v) in v.iter().enumerate() {
            let place = &mut tiles[(i * INPUTS + j) * plane..][..S::F32_LANES];
            S::as_mut_simd_f32s(place).0[0] = v;
        }
    }
}

/// `A^T m A` of one vector of maps: product `k` is read at `k * plane`.
#[inline(always)]
pub(super) fn output<S: Simd>(simd: S, products: &[f32], plane: usize) -> [[S::f32s; OUTPUTS]; OUTPUTS] {
    let zero = simd.splat_f32s(0.0);
    let mut columns = [[zero; OUTPUTS]; INPUTS];
    for (j, out) in columns.iter_mut().enumerate() {
        let m = std::array::from_fn(|i| {
            S::as_simd_f32s(&products[(i * INPUTS + j) * plane..][..S::F32_LANES]).0[0]
        });
        *out = output_1d(simd, m);
    }
    std::array::from_fn(|i| output_1d(simd, std::array::from_fn(|j| columns[j][i])))
}
