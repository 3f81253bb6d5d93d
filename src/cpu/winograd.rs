//! Winograd's minimal filtering F(4x4, 3x3): 4x4 outputs of a 3x3 convolution with 36 instead of 144 products per channel (A. Lavin, S. Gray, "Fast algorithms for convolutional neural networks", arXiv:1509.09308).
//!
//! `y = A^T [(G g G^T) * (B^T d B)] A` by interpolation at 0, +-3/4, +-3/2 and infinity. The usual points 0, +-1,
//! +-2 and infinity need fewer multiplications in the transforms, which cost little here, and have twice the
//! rounding error (four times the largest one). Constants are exact in f32.

use pulp::Simd;

/// Number of outputs of a tile along an axis.
pub(super) const OUTPUTS: usize = 4;
/// Number of inputs of a tile along an axis.
pub(super) const INPUTS: usize = 6;
/// Number of products per tile and channel.
pub(super) const PRODUCTS: usize = INPUTS * INPUTS;

/// Interpolation points.
const P: f32 = 0.75;
const Q: f32 = 1.5;
const P2: f32 = P * P;
const Q2: f32 = Q * Q;

/// `G g G^T` of a 3x3 kernel, computed in f64.
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
    let [p, q, minus_p, minus_q] = splats(simd, [P, Q, -P, -Q]);
    let [minus_p2, minus_q2, product, sum] = splats(simd, [-P2, -Q2, P2 * Q2, -(P2 + Q2)]);
    let even = simd.mul_add_e_f32s(d[2], minus_q2, d[4]);
    let odd = simd.mul_add_e_f32s(d[1], minus_q2, d[3]);
    let even_q = simd.mul_add_e_f32s(d[2], minus_p2, d[4]);
    let odd_q = simd.mul_add_e_f32s(d[1], minus_p2, d[3]);
    [
        simd.mul_add_e_f32s(d[0], product, simd.mul_add_e_f32s(d[2], sum, d[4])),
        simd.mul_add_e_f32s(odd, p, even),
        simd.mul_add_e_f32s(odd, minus_p, even),
        simd.mul_add_e_f32s(odd_q, q, even_q),
        simd.mul_add_e_f32s(odd_q, minus_q, even_q),
        simd.mul_add_e_f32s(d[1], product, simd.mul_add_e_f32s(d[3], sum, d[5])),
    ]
}

/// `A^T m` of one column.
#[inline(always)]
fn output_1d<S: Simd>(simd: S, m: [S::f32s; INPUTS]) -> [S::f32s; OUTPUTS] {
    let [p, q, p2, q2] = splats(simd, [P, Q, P2, Q2]);
    let [p3, q3] = splats(simd, [P * P2, Q * Q2]);
    let (sum_p, difference_p) = (simd.add_f32s(m[1], m[2]), simd.sub_f32s(m[1], m[2]));
    let (sum_q, difference_q) = (simd.add_f32s(m[3], m[4]), simd.sub_f32s(m[3], m[4]));
    [
        simd.add_f32s(simd.add_f32s(m[0], sum_p), sum_q),
        simd.mul_add_e_f32s(difference_p, p, simd.mul_f32s(difference_q, q)),
        simd.mul_add_e_f32s(sum_p, p2, simd.mul_f32s(sum_q, q2)),
        simd.mul_add_e_f32s(difference_p, p3, simd.mul_add_e_f32s(difference_q, q3, m[5])),
    ]
}

/// Splats constants. Loops instead of closures in this module: a closure that is not inlined is compiled without the
/// instruction set of its caller.
#[inline(always)]
fn splats<S: Simd, const COUNT: usize>(simd: S, constants: [f32; COUNT]) -> [S::f32s; COUNT] {
    let mut splats = [simd.splat_f32s(0.0); COUNT];
    for (splat, constant) in splats.iter_mut().zip(constants) {
        *splat = simd.splat_f32s(constant);
    }
    splats
}

/// Loads six vectors, `stride` apart.
#[inline(always)]
fn column<S: Simd>(_simd: S, from: &[f32], stride: usize) -> [S::f32s; INPUTS] {
    let at = [0, 1, 2, 3, 4, 5].map(|i| i * stride);
    [
        S::as_simd_f32s(&from[at[0]..][..S::F32_LANES]).0[0],
        S::as_simd_f32s(&from[at[1]..][..S::F32_LANES]).0[0],
        S::as_simd_f32s(&from[at[2]..][..S::F32_LANES]).0[0],
        S::as_simd_f32s(&from[at[3]..][..S::F32_LANES]).0[0],
        S::as_simd_f32s(&from[at[4]..][..S::F32_LANES]).0[0],
        S::as_simd_f32s(&from[at[5]..][..S::F32_LANES]).0[0],
    ]
}

/// `B^T d B` of one vector of channels: `tile[i][j]` is read at `i * row + j * column`, product `k` is written
/// at `k * plane`.
#[inline(always)]
pub(super) fn input<S: Simd>(
    simd: S,
    strip: &[f32],
    [row, step]: [usize; 2],
    tiles: &mut [f32],
    plane: usize,
) {
    // Written out: an array that is first cleared and then filled goes through memory.
    let c = [
        input_1d(simd, column(simd, strip, row)),
        input_1d(simd, column(simd, &strip[step..], row)),
        input_1d(simd, column(simd, &strip[2 * step..], row)),
        input_1d(simd, column(simd, &strip[3 * step..], row)),
        input_1d(simd, column(simd, &strip[4 * step..], row)),
        input_1d(simd, column(simd, &strip[5 * step..], row)),
    ];
    for i in 0..INPUTS {
        let v = input_1d(simd, [c[0][i], c[1][i], c[2][i], c[3][i], c[4][i], c[5][i]]);
        for (j, &v) in v.iter().enumerate() {
            let place = &mut tiles[(i * INPUTS + j) * plane..][..S::F32_LANES];
            S::as_mut_simd_f32s(place).0[0] = v;
        }
    }
}

/// `A^T m A` of one vector of output channels: product `k` is read at `k * plane`.
#[inline(always)]
pub(super) fn output<S: Simd>(simd: S, products: &[f32], plane: usize) -> [[S::f32s; OUTPUTS]; OUTPUTS] {
    let row = INPUTS * plane;
    let c = [
        output_1d(simd, column(simd, products, row)),
        output_1d(simd, column(simd, &products[plane..], row)),
        output_1d(simd, column(simd, &products[2 * plane..], row)),
        output_1d(simd, column(simd, &products[3 * plane..], row)),
        output_1d(simd, column(simd, &products[4 * plane..], row)),
        output_1d(simd, column(simd, &products[5 * plane..], row)),
    ];
    [
        output_1d(simd, [c[0][0], c[1][0], c[2][0], c[3][0], c[4][0], c[5][0]]),
        output_1d(simd, [c[0][1], c[1][1], c[2][1], c[3][1], c[4][1], c[5][1]]),
        output_1d(simd, [c[0][2], c[1][2], c[2][2], c[3][2], c[4][2], c[5][2]]),
        output_1d(simd, [c[0][3], c[1][3], c[2][3], c[3][3], c[4][3], c[5][3]]),
    ]
}
