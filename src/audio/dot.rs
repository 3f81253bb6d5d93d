//! SIMD dot products of the resampler, computed in tiles of outputs.
//!
//! An output is the tree sum of [`LANES`] partial sums of fused multiply-adds, so its bits are the same on every
//! processor with fused multiplication and independent of the tile. Without fused multiplication about one output in
//! 10^8 differs after rounding to f32.

use pulp::{Arch, Simd, WithSimd};

/// Number of partial sums. Fixed, because it determines the rounding.
pub(super) const LANES: usize = 8;
/// Number of consecutive outputs whose taps begin at the same input.
pub(super) const TILE: usize = 4;

/// Tiles that share their taps: output `i` of tile `t` is the dot product of row `i` of `taps` and
/// `x[first + t * stride..]`.
pub(super) struct Tiles<'a> {
    /// Rows of the same width, a multiple of [`LANES`].
    pub(super) taps: &'a [f64],
    /// [`TILE`], or 1.
    pub(super) rows: usize,
    pub(super) x: &'a [f64],
    pub(super) first: usize,
    pub(super) stride: usize,
    /// Outputs; each tile begins `spacing` outputs after the one before.
    pub(super) y: &'a mut [f32],
    pub(super) spacing: usize,
}

impl Tiles<'_> {
    pub(super) fn compute(self, arch: Arch) {
        arch.dispatch(self);
    }
}

impl WithSimd for Tiles<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        // As many rows and tiles at a time as fit the registers.
        match S::F64_LANES {
            8 => self.in_blocks::<S, 1, TILE, 4>(simd),
            4 => self.in_blocks::<S, 2, 2, 3>(simd),
            2 => self.in_blocks::<S, 4, 2, 2>(simd),
            _ => self.scalar_tiles(),
        }
    }
}

impl Tiles<'_> {
    /// Computes blocks of `ROWS` rows and `TILES` tiles; [`LANES`] sums take `VECTORS` registers.
    #[inline(always)]
    fn in_blocks<S: Simd, const VECTORS: usize, const ROWS: usize, const TILES: usize>(&mut self, simd: S) {
        let tiles = self.y.len().div_ceil(self.spacing);
        let mut tile = 0;
        while self.rows == TILE && tile + TILES <= tiles {
            self.block::<S, VECTORS, ROWS, TILES>(simd, tile);
            tile += TILES;
        }
        while self.rows == TILE && tile < tiles {
            self.block::<S, VECTORS, ROWS, 1>(simd, tile);
            tile += 1;
        }
        while tile < tiles {
            self.block::<S, VECTORS, 1, 1>(simd, tile);
            tile += 1;
        }
    }

    #[inline(always)]
    fn block<S: Simd, const VECTORS: usize, const ROWS: usize, const TILES: usize>(
        &mut self,
        simd: S,
        tile: usize,
    ) {
        let width = self.taps.len() / self.rows;
        let mut x = [&[][..]; TILES];
        for (t, x) in x.iter_mut().enumerate() {
            *x = S::as_simd_f64s(&self.x[self.first + (tile + t) * self.stride..][..width]).0;
        }
        for row in (0..self.rows).step_by(ROWS) {
            let mut taps = [&[][..]; ROWS];
            for (r, taps) in taps.iter_mut().enumerate() {
                *taps = S::as_simd_f64s(&self.taps[(row + r) * width..][..width]).0;
            }
            let sums = products::<S, VECTORS, ROWS, TILES>(simd, taps, x);
            for (t, sums) in sums.iter().enumerate() {
                for (r, sum) in sums.iter().enumerate() {
                    self.y[(tile + t) * self.spacing + row + r] = *sum as f32;
                }
            }
        }
    }

    fn scalar_tiles(&mut self) {
        let width = self.taps.len() / self.rows;
        for (tile, y) in self.y.chunks_mut(self.spacing).enumerate() {
            let x = &self.x[self.first + tile * self.stride..][..width];
            for (taps, y) in self.taps.chunks_exact(width).zip(y) {
                *y = scalar(taps, x, |w, x, sum| w * x + sum) as f32;
            }
        }
    }
}

/// Dot products of each row with each range of inputs.
#[inline(always)]
fn products<S: Simd, const VECTORS: usize, const ROWS: usize, const TILES: usize>(
    simd: S,
    taps: [&[S::f64s]; ROWS],
    x: [&[S::f64s]; TILES],
) -> [[f64; ROWS]; TILES] {
    let mut sums = [[[simd.splat_f64s(0.0); VECTORS]; ROWS]; TILES];
    let mut at = 0;
    while at + VECTORS <= taps[0].len() {
        for vector in 0..VECTORS {
            for t in 0..TILES {
                let x = x[t][at + vector];
                for r in 0..ROWS {
                    // Fused where there is an instruction for it: elsewhere a fused product is a function call.
                    sums[t][r][vector] = simd.mul_add_e_f64s(taps[r][at + vector], x, sums[t][r][vector]);
                }
            }
        }
        at += VECTORS;
    }
    let mut totals = [[0.0; ROWS]; TILES];
    for t in 0..TILES {
        for r in 0..ROWS {
            let mut lanes = [0.0; LANES];
            for (lanes, sum) in S::as_mut_simd_f64s(&mut lanes).0.iter_mut().zip(sums[t][r]) {
                *lanes = sum;
            }
            totals[t][r] = tree(lanes);
        }
    }
    totals
}

#[inline(always)]
fn tree(x: [f64; LANES]) -> f64 {
    ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]))
}

/// Scalar implementation, the definition of the SIMD one.
fn scalar(taps: &[f64], x: &[f64], add: impl Fn(f64, f64, f64) -> f64) -> f64 {
    let mut sums = [0.0f64; LANES];
    for (w, x) in taps.as_chunks::<LANES>().0.iter().zip(x.as_chunks::<LANES>().0) {
        for lane in 0..LANES {
            sums[lane] = add(w[lane], x[lane], sums[lane]);
        }
    }
    tree(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_simd_levels_give_the_same_bits() {
        const WIDTH: usize = 472;
        const SPACING: usize = 40;
        let mut s = 1u32;
        let mut next = || {
            s = s.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(s) / 4_294_967_296.0 - 0.5
        };
        let taps: Vec<f64> = (0..TILE * WIDTH).map(|_| next()).collect();
        let x: Vec<f64> = (0..4_000).map(|_| next()).collect();
        let compute = |arch: Arch, tiles: usize| {
            let mut y = vec![0.0; (tiles - 1) * SPACING + TILE];
            let (first, stride) = (5, 147);
            Tiles { taps: &taps, rows: TILE, x: &x, first, stride, y: &mut y, spacing: SPACING }
                .compute(arch);
            y
        };
        let mut fused = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            fused.extend(pulp::x86::V3::try_new().map(Arch::V3));
            fused.extend(pulp::x86::V4::try_new().map(Arch::V4));
        }
        #[cfg(not(target_arch = "x86_64"))]
        fused.push(Arch::new());
        for tiles in [1, 2, 3, 4, 7, 8, 23] {
            let at = |place: usize| (place / SPACING, place % SPACING);
            let expected: Vec<f64> = (0..(tiles - 1) * SPACING + TILE)
                .map(|place| match at(place) {
                    (tile, row) if row < TILE => {
                        let x = &x[5 + 147 * tile..][..WIDTH];
                        scalar(&taps[row * WIDTH..][..WIDTH], x, f64::mul_add)
                    }
                    _ => 0.0,
                })
                .collect();
            for &arch in &fused {
                let y = compute(arch, tiles);
                assert!(
                    y.iter().zip(&expected).all(|(a, &b)| a.to_bits() == (b as f32).to_bits()),
                    "{arch:?}"
                );
            }
            let y = compute(Arch::Scalar, tiles);
            assert!(y.iter().zip(&expected).all(|(&a, b)| (f64::from(a) - b).abs() < 1e-6));
        }
    }
}
