//! The polyphase filter for a track of which every second sample is computed.
//!
//! In such a track nothing lies above a quarter of its rate, so what the other samples would add to the filter's output
//! equals what these add, up to images that the filter lets through. The taps are low-passed first ([`HalfBand`]), which
//! removes them: those at the computed samples, doubled, then have the same response. Sums are f32: the samples are those of a decoder in f32.

use pulp::{Arch, Simd, WithSimd};

use super::dot::TILE;
use super::half_band::HalfBand;
use super::phase::PhaseAccumulator;
use super::spacing::Spacing;

/// Taps of a row are padded to a multiple of the widest vector.
const LANES: usize = 16;
/// Number of outputs computed together: their inputs stay in the L1 cache.
const OUTPUTS_AT_A_TIME: usize = 960;

/// Polyphase filter of one pair of rates for every second sample.
///
/// Rows are grouped in tiles of four outputs that begin at the same sample, as in the filter for all samples.
#[derive(Debug)]
pub(super) struct HalfRateFilter {
    layout: RowLayout,
    width: usize,
    /// Outputs after which the taps repeat.
    period: usize,
    tiles: Vec<f32>,
    /// Taps for a position just below an integer that is even or odd.
    below: [Vec<f32>; 2],
}

/// Arrangement of the taps.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowLayout {
    /// Reduced ratio L and M: output `k` lies at position `k * m / l`.
    pub(super) ratio: (u64, u64),
    /// Taps of one half of the filter for all samples.
    pub(super) half_taps: usize,
    pub(super) spacing: Spacing,
}

impl RowLayout {
    /// Position of the sample at or before output `k`.
    fn position(&self, k: u64) -> u64 {
        (u128::from(k) * u128::from(self.ratio.1) / u128::from(self.ratio.0)) as u64
    }

    /// Index of the first computed sample of the taps of output `k`.
    fn first(&self, k: u64) -> i64 {
        self.spacing.index(self.first_tap(k))
    }

    /// Position of the first tap of output `k`.
    fn first_tap(&self, k: u64) -> i64 {
        self.position(k) as i64 - self.half_taps as i64 + 1
    }
}

impl HalfRateFilter {
    /// Takes every second tap of the rows of another filter; `fill_row` computes the row of a phase.
    pub(super) fn new(layout: RowLayout, fill_row: impl Fn(&mut [f64], u64)) -> HalfRateFilter {
        let RowLayout { ratio: (l, m), half_taps, spacing } = layout;
        // Whole tiles, and an even number of samples.
        let period = (1..).map(|i| i * TILE as u64).find(|p| p * m % (2 * l) == 0).unwrap_or(8 * l);
        let shift = (TILE as u64 * m).div_ceil(2 * l) as usize + 1;
        let width = (half_taps + shift).next_multiple_of(LANES);
        let mut tiles = vec![0.0; period as usize * width];
        let mut row = vec![0.0; 2 * half_taps];
        let half_band = HalfBand::new();
        for (k, taps) in (0..).zip(tiles.chunks_exact_mut(width)) {
            fill_row(&mut row, k * m % l);
            let tile = k / TILE as u64 * TILE as u64;
            let offset = layout.first(k) - layout.first(tile);
            fill(&mut taps[offset as usize..], &half_band, spacing, layout.first_tap(k), &row);
        }
        fill_row(&mut row, l);
        let below = [0, 1].map(|position| {
            let mut taps = vec![0.0; width];
            fill(&mut taps, &half_band, spacing, position - half_taps as i64, &row);
            taps
        });
        HalfRateFilter { layout, width, period: period as usize, tiles, below }
    }

    /// Index of the first computed sample that the tile of output `k` depends on; negative before the track.
    pub(super) fn first_index(&self, k: u64) -> i64 {
        let tile = k / TILE as u64 * TILE as u64;
        self.layout.spacing.index(self.layout.first_tap(tile) - 1)
    }

    /// Number of positions from the first sample of a tile to the end of its padded rows.
    pub(super) fn span(&self) -> usize {
        2 * (self.width + 2)
    }

    /// Fills `y` with the outputs from position `time` on. `x` begins at [`HalfRateFilter::first_index`] of the first.
    pub(super) fn outputs(&self, arch: Arch, time: &mut PhaseAccumulator, x: &[f32], y: &mut [f32]) {
        let k = time.k;
        let tile = k / TILE as u64 * TILE as u64;
        let before = (k - tile) as usize;
        let mut all = vec![0.0; (before + y.len()).next_multiple_of(TILE)];
        self.tiles(arch, tile, x, &mut all);
        y.copy_from_slice(&all[before..][..y.len()]);
        let start = self.first_index(k);
        for (i, position) in time.below_integers(self.layout.ratio, y.len()) {
            let first = self.layout.spacing.index(self.layout.first_tap(k + i as u64) - 1) - start;
            let (taps, y) = (&self.below[(position % 2) as usize], &mut y[i..=i]);
            let x = x.get(first as usize..).unwrap_or_default();
            arch.dispatch(HalfTiles { taps, rows: 1, x, stride: 0, y, spacing: 1 });
        }
    }

    /// Computes whole tiles from output `k` on, the first of a tile.
    fn tiles(&self, arch: Arch, k: u64, x: &[f32], y: &mut [f32]) {
        let start = self.first_index(k);
        let stride = (self.layout.position(self.period as u64) / 2) as usize;
        let stretch = self.period * (OUTPUTS_AT_A_TIME / self.period).max(12);
        for (at, y) in (0..).step_by(stretch).zip(y.chunks_mut(stretch)) {
            for offset in (0..self.period.min(y.len())).step_by(TILE) {
                let place = k + at + offset as u64;
                let row = (place % self.period as u64) as usize;
                let taps = &self.tiles[row * self.width..][..TILE * self.width];
                let first = self.layout.first(place) - start;
                let last = (y.len() - offset - TILE) / self.period * self.period + offset + TILE;
                let y = &mut y[offset..last];
                let x = x.get(first as usize..).unwrap_or_default();
                arch.dispatch(HalfTiles { taps, rows: TILE, x, stride, y, spacing: self.period });
            }
        }
    }
}

/// Sets the taps at computed samples, doubled; the first of `row` is at position `first`. The row lets through -95 dB
/// around half the rate, because the original's table is read in whole steps: this is removed first.
fn fill(taps: &mut [f32], half_band: &HalfBand, spacing: Spacing, first: i64, row: &[f64]) {
    let skipped = spacing.position(spacing.index(first)) - first;
    let value = |i: i64| usize::try_from(i).ok().and_then(|i| row.get(i)).copied().unwrap_or(0.0);
    for (tap, i) in taps.iter_mut().zip((skipped..row.len() as i64).step_by(2)) {
        *tap = (2.0 * half_band.value(i, value)) as f32;
    }
}

/// Tiles that share their taps, as [`super::dot::Tiles`], in f32.
struct HalfTiles<'a> {
    taps: &'a [f32],
    rows: usize,
    x: &'a [f32],
    stride: usize,
    y: &'a mut [f32],
    spacing: usize,
}

impl WithSimd for HalfTiles<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let tiles = self.y.len().div_ceil(self.spacing);
        let mut tile = 0;
        // Four rows of three tiles fill 16 registers.
        while self.rows == TILE && tile + 3 <= tiles {
            self.block::<S, TILE, 3>(simd, tile);
            tile += 3;
        }
        while self.rows == TILE && tile < tiles {
            self.block::<S, TILE, 1>(simd, tile);
            tile += 1;
        }
        while tile < tiles {
            self.block::<S, 1, 1>(simd, tile);
            tile += 1;
        }
    }
}

impl HalfTiles<'_> {
    #[inline(always)]
    fn block<S: Simd, const ROWS: usize, const TILES: usize>(&mut self, simd: S, tile: usize) {
        let width = self.taps.len() / self.rows;
        let mut x = [&[][..]; TILES];
        for (t, x) in x.iter_mut().enumerate() {
            *x = S::as_simd_f32s(&self.x[(tile + t) * self.stride..][..width]).0;
        }
        let mut taps = [&[][..]; ROWS];
        for (r, taps) in taps.iter_mut().enumerate() {
            *taps = S::as_simd_f32s(&self.taps[r * width..][..width]).0;
        }
        let vectors = width / S::F32_LANES;
        let taps: [&[S::f32s]; ROWS] = taps.map(|taps| &taps[..vectors]);
        let x: [&[S::f32s]; TILES] = x.map(|x| &x[..vectors]);
        let mut sums = [[simd.splat_f32s(0.0); TILES]; ROWS];
        for v in 0..vectors {
            for (sums, taps) in sums.iter_mut().zip(&taps) {
                for (sum, x) in sums.iter_mut().zip(&x) {
                    *sum = simd.mul_add_e_f32s(taps[v], x[v], *sum);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (t, &sum) in sums.iter().enumerate() {
                self.y[(tile + t) * self.spacing + r] = simd.reduce_sum_f32s(sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::polyphase::{PolyphaseFilter, Resamplers};

    /// Outputs of both filters for tones below half the output rate.
    #[test]
    fn outputs_are_those_of_all_taps() {
        for (from_hz, to_hz) in [(44_100, 12_000), (48_000, 12_000), (32_000, 12_000), (44_100, 16_000)] {
            let filter = PolyphaseFilter::new(from_hz, to_hz).unwrap();
            for spacing in [Spacing::halves(0), Spacing::halves(1)] {
                let half = Resamplers::new().half_rate_filter(&filter, spacing);
                for start in [0, 1, 1_001, 40_000] {
                    let (mut time, mut half_time) =
                        (PhaseAccumulator::new(from_hz, to_hz), PhaseAccumulator::new(from_hz, to_hz));
                    time.advance_to(start);
                    half_time.advance_to(start);
                    let (mut y, mut half_y) = (vec![0.0; 700], vec![0.0; 700]);
                    let first = filter.input_range(start).0;
                    let sample = |i: i64| {
                        let turn = i as f64 * std::f64::consts::TAU / f64::from(from_hz);
                        (0.5 * (90.0 * turn).sin()
                            + 0.3 * (1_733.0 * turn).sin()
                            + 0.1 * (5_000.0 * turn).sin()) as f32
                    };
                    let x: Vec<f64> = (first..first + 8_000).map(|i| sample(i).into()).collect();
                    let index = half.first_index(start);
                    let half_x: Vec<f32> =
                        (index..index + 4_000).map(|i| sample(spacing.position(i))).collect();
                    let arch = Arch::new();
                    filter.outputs(arch, &mut time, &x, &mut y);
                    half.outputs(arch, &mut half_time, &half_x, &mut half_y);
                    for (k, (a, b)) in y.iter().zip(&half_y).enumerate() {
                        assert!((a - b).abs() < 2e-6, "{from_hz} Hz, {spacing:?}, {start} + {k}: {a} {b}");
                    }
                }
            }
        }
    }
}
