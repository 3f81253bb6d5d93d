//! Matrix product of convolutions and dense layers.
//!
//! The weights are packed once into panels as wide as the registers; the other factor is read in place, so that a
//! convolution needs no im2col copy of its input. Libraries pack both factors on every call: of the 249 GFLOP/s of one core (EPYC with AVX-512, November 2026; 24 to 960
//! rows, K 64 to 192, 128 columns) `gemm` 0.19 reached 228-243, `matrixmultiply` 0.3 115-180, this kernel 243-250.

use pulp::{Arch, Simd, WithSimd};

use super::scratch::Buffer;
use super::simd::Registers;

/// Number of vector registers from which on 24 vectors of sums fit; with fewer, 12.
pub(super) const MANY_REGISTERS: usize = 32;

/// Weights `[K, N]` as panels of [`Panels::width`] columns, each `[K, width]`, zeros past N.
#[derive(Debug)]
pub(super) struct Panels {
    data: Buffer,
    rows: usize,
    /// Number of vectors in a row of a panel.
    vectors: usize,
    width: usize,
    count: usize,
}

impl Panels {
    /// Packs `rows` rows of `columns` columns, `value(row, column)` each.
    pub(super) fn new(
        arch: Arch,
        rows: usize,
        columns: usize,
        value: impl Fn(usize, usize) -> f32,
    ) -> Panels {
        let (lanes, registers) = arch.dispatch(Registers);
        let widest = if registers >= MANY_REGISTERS { [4, 2, 1] } else { [2, 1, 1] };
        let padded = |vectors: usize| columns.next_multiple_of(vectors * lanes);
        // The widest panels that waste nothing beyond what a single vector would.
        let vectors = widest.into_iter().min_by_key(|&vectors| padded(vectors)).unwrap_or(1);
        let (width, count) = (vectors * lanes, padded(vectors) / (vectors * lanes));
        let mut data = Buffer::zeros(count * rows * width);
        for (index, value_at) in data.iter_mut().enumerate() {
            let (panel, row, column) = (index / (rows * width), index / width % rows, index % width);
            let column = panel * width + column;
            if column < columns {
                *value_at = value(row, column);
            }
        }
        Panels { data, rows, vectors, width, count }
    }

    /// Number of columns of a panel.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Number of panels.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Total number of columns of all panels.
    pub(super) fn padded_columns(&self) -> usize {
        self.count * self.width
    }

    /// Rows `first..first + rows` of panel `index`.
    pub(super) fn part(&self, index: usize, first: usize, rows: usize) -> Panel<'_> {
        let data = &self.data[(index * self.rows + first) * self.width..][..rows * self.width];
        Panel { data, vectors: self.vectors }
    }
}

/// Range of rows of a panel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panel<'a> {
    data: &'a [f32],
    vectors: usize,
}

impl<'a> Panel<'a> {
    /// Values, row by row.
    pub(super) fn data(&self) -> &'a [f32] {
        self.data
    }
}

/// `y[m, n] = sum over runs r and k of x[starts[r] + m * stride + k] * panel[r * K + k, n]`.
pub(super) struct Product<'a> {
    /// Input; rows may overlap.
    pub(super) x: &'a [f32],
    /// Start of each run of the first row.
    pub(super) starts: &'a [usize],
    /// Distance between rows.
    pub(super) stride: usize,
    /// Length of a run.
    pub(super) run: usize,
    /// Number of rows.
    pub(super) rows: usize,
    /// Weights; as many rows as all runs have elements.
    pub(super) panel: Panel<'a>,
    /// Output; each row is as wide as the panel.
    pub(super) y: &'a mut [f32],
    /// Distance between rows of the output.
    pub(super) y_stride: usize,
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        // As many sums as leave registers for a row of the panel and one number of x.
        match (self.panel.vectors, S::REGISTER_COUNT >= MANY_REGISTERS) {
            (4, _) => self.blocks::<S, 6, 4>(simd),
            (2, true) => self.blocks::<S, 12, 2>(simd),
            (2, false) => self.blocks::<S, 6, 2>(simd),
            _ => self.blocks::<S, 12, 1>(simd),
        }
    }
}

impl Product<'_> {
    /// Computes rows in blocks of `ROWS`, then the rest in smaller blocks. Sums do not depend on the block.
    #[inline(always)]
    fn blocks<S: Simd, const ROWS: usize, const VECTORS: usize>(&mut self, simd: S) {
        let mut row = 0;
        while self.rows - row >= ROWS {
            self.block::<S, ROWS, VECTORS>(simd, row);
            row += ROWS;
        }
        while self.rows > row {
            let left = self.rows - row;
            match left {
                1 => self.block::<S, 1, VECTORS>(simd, row),
                2 => self.block::<S, 2, VECTORS>(simd, row),
                3 => self.block::<S, 3, VECTORS>(simd, row),
                4 => self.block::<S, 4, VECTORS>(simd, row),
                5 => self.block::<S, 5, VECTORS>(simd, row),
                _ => self.block::<S, 6, VECTORS>(simd, row),
            }
            row += left.min(6);
        }
    }

    #[inline(always)]
    fn block<S: Simd, const ROWS: usize, const VECTORS: usize>(&mut self, simd: S, row: usize) {
        let width = VECTORS * S::F32_LANES;
        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
        for (panel, &start) in self.panel.data.chunks_exact(self.run * width).zip(self.starts) {
            let mut x: [&[f32]; ROWS] = [&[]; ROWS];
            for (m, x) in x.iter_mut().enumerate() {
                *x = &self.x[start + (row + m) * self.stride..][..self.run];
            }
            let (weights, _) = S::as_simd_f32s(panel);
            for (k, weights) in weights.chunks_exact(VECTORS).enumerate() {
                for m in 0..ROWS {
                    let x = simd.splat_f32s(x[m][k]);
                    for v in 0..VECTORS {
                        sums[m][v] = simd.mul_add_e_f32s(x, weights[v], sums[m][v]);
                    }
                }
            }
        }
        for (m, sums) in sums.iter().enumerate() {
            let (y, _) = S::as_mut_simd_f32s(&mut self.y[(row + m) * self.y_stride..][..width]);
            y.copy_from_slice(sums);
        }
    }
}
