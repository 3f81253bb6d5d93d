//! The original's resampler as a polyphase filter.
//!
//! The published tags were made from audio resampled by resampy 0.2 (`kaiser_best`: a sinc of 64 zero
//! crossings under a Kaiser window, tabulated 512 times per crossing and interpolated linearly) and cut or
//! padded by librosa 0.4.3 to `ceil(len * ratio)`. One defect is reproduced: when downsampling, the step through the
//! table, `512 * ratio`, is truncated to an integer, which makes 44.1 kHz about 0.17 % too loud.
//!
//! For a rational ratio L/M the filter has L phases, so all taps are tabulated once in f64, one row per phase. Sums
//! are f64; outputs are rounded to f32 as the original's are.
//!
//! **Position.** The original accumulates `1 / ratio` in f64 and drifts away from `k * M / L` by some 1e-5 input
//! samples in a few minutes. The exact position is used here, with one exception: at integer positions the accumulated
//! sum may lie just below the integer. The original then centres its filter on the sample before, and because the
//! truncated step makes the two halves of the filter different, all taps of one half move by a third of a table entry.
//! [`PhaseAccumulator`] reproduces the sum bit for bit to decide this.
//!
//! Maximum difference from the original for noise of amplitude 0.5: none where the ratio is a power of two (96 and
//! 48 kHz to 12); at 44.1 kHz below 1e-7 in the first quarter of a second, 1e-6 in 20 s and 7e-5 in three minutes, all
//! of it by drift. Without the exception it would be 6e-4 (44.1 kHz) to 1e-3 (22.05 kHz) from the start.

use std::collections::HashMap;
use std::f64::consts::PI;
use std::sync::{Arc, Mutex, PoisonError};

use pulp::Arch;

use super::dot::{LANES, TILE, Tiles};
use super::half_rate::{HalfRateFilter, RowLayout};
use super::phase::PhaseAccumulator;
use super::spacing::Spacing;

const ZERO_CROSSINGS: usize = 64;
const TABLE_STEPS: usize = 512;
const ROLLOFF: f64 = 0.947_593_716_739_959_6;
const KAISER_BETA: f64 = 14.769_656_459_379_492;

/// Maximum number of phases.
const MAX_PHASES: u64 = 1024;
/// Maximum size of a table in taps: 32 MB.
const MAX_TAPS: u64 = 4 << 20;
/// Number of outputs computed together: enough to share taps, few enough for their inputs to stay in the L1 cache.
const OUTPUTS_AT_A_TIME: usize = 480;

/// Polyphase filter of one pair of rates: a table of taps.
///
/// Outputs are computed in tiles of four. The rows of a tile are padded with zeros so that they begin at the same input
/// sample and share loads.
#[derive(Debug)]
pub struct PolyphaseFilter {
    from_hz: u32,
    to_hz: u32,
    /// Reduced ratio: output `k` lies at input position `k * m / l`.
    l: u64,
    m: u64,
    /// Taps of one half of the filter.
    half_taps: usize,
    /// Number of taps of one row including padding, a multiple of [`LANES`].
    width: usize,
    /// Taps of all tiles of one period.
    tiles: Vec<f64>,
    /// Taps for an accumulated position just below an integer.
    below: Vec<f64>,
}

impl PolyphaseFilter {
    /// Computes the filter from `from_hz` to `to_hz`; `None` if the rates are equal or zero, or their ratio is not a
    /// small fraction.
    pub fn new(from_hz: u32, to_hz: u32) -> Option<PolyphaseFilter> {
        if from_hz == to_hz || from_hz == 0 || to_hz == 0 {
            return None;
        }
        let divisor = gcd(from_hz.into(), to_hz.into());
        let (l, m) = (u64::from(to_hz) / divisor, u64::from(from_hz) / divisor);
        let ratio = f64::from(to_hz) / f64::from(from_hz);
        let scale = ratio.min(1.0);
        let step = (scale * TABLE_STEPS as f64) as usize;
        if l > MAX_PHASES || step == 0 {
            return None;
        }
        let half_taps = (ZERO_CROSSINGS * TABLE_STEPS + 1) / step;
        let row_shift = ((TILE as u64 - 1) * m).div_ceil(l) as usize;
        let width = ((2 * half_taps).next_multiple_of(LANES) + row_shift).next_multiple_of(LANES);
        let period = l / gcd(l, TILE as u64) * TILE as u64;
        if period * width as u64 > MAX_TAPS {
            return None;
        }
        let (tiles, below) = (Vec::new(), Vec::new());
        let mut filter = PolyphaseFilter { from_hz, to_hz, l, m, half_taps, width, tiles, below };
        let table = half_window(scale);
        let mut tiles = vec![0.0; period as usize * width];
        for (k, row) in (0..).zip(tiles.chunks_exact_mut(width)) {
            let tile_position = k / TILE as u64 * TILE as u64 * m / l;
            filter.fill(&mut row[(k * m / l - tile_position) as usize..], k * m % l, &table);
        }
        let mut below = vec![0.0; (2 * half_taps).next_multiple_of(LANES)];
        filter.fill(&mut below, l, &table);
        (filter.tiles, filter.below) = (tiles, below);
        Some(filter)
    }

    /// Fills a row with the taps of a phase.
    fn fill(&self, row: &mut [f64], phase: u64, table: &[f64]) {
        let scale = self.scale();
        let step = (scale * TABLE_STEPS as f64) as usize;
        let before = scale * (phase as f64 / self.l as f64);
        let (left, right) = row[..2 * self.half_taps].split_at_mut(self.half_taps);
        fill_half(left.iter_mut().rev(), before, step, table);
        fill_half(right.iter_mut(), scale - before, step, table);
    }

    /// Stretch of the filter when downsampling.
    fn scale(&self) -> f64 {
        (f64::from(self.to_hz) / f64::from(self.from_hz)).min(1.0)
    }

    /// The filter for a track of which every second sample is computed.
    fn halved(&self, spacing: Spacing) -> HalfRateFilter {
        let table = half_window(self.scale());
        let layout = RowLayout { ratio: (self.l, self.m), half_taps: self.half_taps, spacing };
        HalfRateFilter::new(layout, |row, phase| self.fill(row, phase, &table))
    }

    /// Input and output rate in Hz.
    pub fn rates_hz(&self) -> (u32, u32) {
        (self.from_hz, self.to_hz)
    }

    /// Number of phases and number of taps per phase.
    pub fn size(&self) -> (usize, usize) {
        (self.l as usize, self.below.len())
    }

    /// Range of input samples that the tile of output `k` depends on: first index (negative before the start of the
    /// track) and count. Samples outside the track are zero.
    pub(super) fn input_range(&self, k: u64) -> (i64, usize) {
        let tile = k / TILE as u64 * TILE as u64;
        // One sample earlier than the exact position: the accumulated position may lie just below an integer.
        (self.position(tile) as i64 - self.half_taps as i64, self.width + 1)
    }

    /// Index of the input sample at or before output `k`.
    fn position(&self, k: u64) -> u64 {
        (u128::from(k) * u128::from(self.m) / u128::from(self.l)) as u64
    }

    /// Fills `y` with the outputs from position `time` on. `x` begins with the first input sample of the first output's
    /// [`PolyphaseFilter::input_range`].
    pub(super) fn outputs(&self, arch: Arch, time: &mut PhaseAccumulator, x: &[f64], y: &mut [f32]) {
        let k = time.k;
        let tile = k / TILE as u64 * TILE as u64;
        // Whole tiles are computed.
        let before = (k - tile) as usize;
        let mut all = vec![0.0; (before + y.len()).next_multiple_of(TILE)];
        self.tiles(arch, tile, x, &mut all);
        y.copy_from_slice(&all[before..][..y.len()]);
        let start = self.position(tile);
        for (i, position) in time.below_integers((self.l, self.m), y.len()) {
            let (taps, first, y) = (&self.below[..], (position - start) as usize, &mut y[i..=i]);
            Tiles { taps, rows: 1, x, first, stride: 0, y, spacing: 1 }.compute(arch);
        }
    }

    /// Computes whole tiles from output `k` on, the first of a tile; `x` as in [`PolyphaseFilter::outputs`].
    fn tiles(&self, arch: Arch, k: u64, x: &[f64], y: &mut [f32]) {
        let start = self.position(k);
        let period = self.tiles.len() / self.width;
        let stride = (period as u64 * self.m / self.l) as usize;
        let stretch = period * (OUTPUTS_AT_A_TIME / period).max(12);
        for (at, y) in (0..).step_by(stretch).zip(y.chunks_mut(stretch)) {
            for offset in (0..period.min(y.len())).step_by(TILE) {
                let place = k + at + offset as u64;
                let row = (place % period as u64) as usize;
                let taps = &self.tiles[row * self.width..][..TILE * self.width];
                let first = (self.position(place) - start) as usize + 1;
                let last = (y.len() - offset - TILE) / period * period + offset + TILE;
                let y = &mut y[offset..last];
                Tiles { taps, rows: TILE, x, first, stride, y, spacing: period }.compute(arch);
            }
        }
    }
}

/// Number of outputs for `n_in` inputs as `(computed, total)`: the original computes the floor of `n_in * ratio` and
/// appends zeros up to the ceiling. Computed in f64 like the original, because rounding matters near an integer.
pub(super) fn output_lens(n_in: u64, from_hz: u32, to_hz: u32) -> (u64, u64) {
    if from_hz == to_hz {
        return (n_in, n_in);
    }
    let product = n_in as f64 * (f64::from(to_hz) / f64::from(from_hz));
    (product.floor() as u64, product.ceil() as u64)
}

/// Cached filter, or `None` for rates without one.
type CachedFilter = Option<Arc<PolyphaseFilter>>;
/// Rates and spacing of a filter for every second sample.
type HalfRateKey = (u32, u32, Spacing);

/// Cache of polyphase filters, one per pair of rates. Clones share the cache.
#[derive(Clone, Debug, Default)]
pub struct Resamplers {
    filters: Arc<Mutex<HashMap<(u32, u32), CachedFilter>>>,
    half_rate: Arc<Mutex<HashMap<HalfRateKey, Arc<HalfRateFilter>>>>,
}

impl Resamplers {
    /// An empty cache.
    pub fn new() -> Resamplers {
        Resamplers::default()
    }

    /// The filter from `from_hz` to `to_hz`, computed on first use; `None` as for [`PolyphaseFilter::new`].
    pub fn filter(&self, from_hz: u32, to_hz: u32) -> Option<Arc<PolyphaseFilter>> {
        // A panic while the lock was held leaves at worst a missing filter.
        let mut filters = self.filters.lock().unwrap_or_else(PoisonError::into_inner);
        if filters.len() >= 64 {
            // Files with many different rates must not fill the memory.
            filters.clear();
        }
        filters
            .entry((from_hz, to_hz))
            .or_insert_with(|| PolyphaseFilter::new(from_hz, to_hz).map(Arc::new))
            .clone()
    }

    /// The filter for every second sample of a track, computed on first use.
    pub(super) fn half_rate_filter(&self, filter: &PolyphaseFilter, spacing: Spacing) -> Arc<HalfRateFilter> {
        let mut filters = self.half_rate.lock().unwrap_or_else(PoisonError::into_inner);
        if filters.len() >= 64 {
            filters.clear();
        }
        let (from_hz, to_hz) = filter.rates_hz();
        filters.entry((from_hz, to_hz, spacing)).or_insert_with(|| Arc::new(filter.halved(spacing))).clone()
    }
}

/// Fills one half of a row: taps at `position`, `position + step / 512`, ... crossings from the centre.
fn fill_half<'a>(taps: impl Iterator<Item = &'a mut f64>, position: f64, step: usize, table: &[f64]) {
    let index = position * TABLE_STEPS as f64;
    let offset = index as usize;
    let eta = index - offset as f64;
    let count = (table.len() - offset) / step;
    for (i, tap) in taps.take(count).enumerate() {
        let at = offset + i * step;
        let slope = table.get(at + 1).map_or(0.0, |next| next - table[at]);
        *tap = table[at] + eta * slope;
    }
}

/// Right half of the windowed sinc, scaled for downsampling.
fn half_window(scale: f64) -> Vec<f64> {
    let n = ZERO_CROSSINGS * TABLE_STEPS;
    let norm = bessel_i0(KAISER_BETA);
    (0..=n)
        .map(|i| {
            let x = ROLLOFF * (i as f64 / TABLE_STEPS as f64);
            let sinc = if i == 0 { 1.0 } else { (PI * x).sin() / (PI * x) };
            let r = i as f64 / n as f64;
            scale * ROLLOFF * sinc * bessel_i0(KAISER_BETA * (1.0 - r * r).max(0.0).sqrt()) / norm
        })
        .collect()
}

/// Modified Bessel function of order 0 by its power series (DLMF 10.25.2).
fn bessel_i0(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let (mut sum, mut term, mut k) = (1.0, 1.0, 1.0);
    while term > sum * 1e-18 {
        term *= quarter / (k * k);
        sum += term;
        k += 1.0;
    }
    sum
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_follow_the_products_rounding() {
        // One second at 44.1 kHz: the product is 12000.000000000002, and the original adds a zero.
        assert_eq!(output_lens(44_100, 44_100, 12_000), (12_000, 12_001));
        assert_eq!(output_lens(48_000, 48_000, 12_000), (12_000, 12_000));
        assert_eq!(output_lens(44_101, 44_100, 12_000), (12_000, 12_001));
        assert_eq!(output_lens(0, 44_100, 12_000), (0, 0));
        assert_eq!(output_lens(7, 12_000, 12_000), (7, 7));
    }

    #[test]
    fn only_small_ratios_have_a_filter() {
        assert_eq!(PolyphaseFilter::new(44_100, 12_000).map(|b| b.size()), Some((40, 472)));
        assert_eq!(PolyphaseFilter::new(48_000, 12_000).map(|b| b.size().0), Some(1));
        for (from_hz, to_hz) in [(44_099, 12_000), (12_000, 12_000), (0, 12_000), (44_100, 0)] {
            assert!(PolyphaseFilter::new(from_hz, to_hz).is_none());
        }
        assert!(PolyphaseFilter::new(768_000, 1_000).is_none(), "the original's step would be 0");
    }

    #[test]
    fn a_filter_is_computed_once() {
        let resamplers = Resamplers::new();
        let (a, b) = (resamplers.filter(44_100, 12_000), resamplers.filter(44_100, 12_000));
        assert!(Arc::ptr_eq(&a.unwrap(), &b.unwrap()));
    }
}
