//! Hybrid filter bank: lines of a granule to samples, by inverse MDCTs in each subband and polyphase synthesis.
//!
//! Both transforms are products with small matrices, computed with vectors over subbands and over samples. At these
//! sizes that needs less time than fast transforms, whose steps do not fill the vectors.
//!
//! With `W` of 16 instead of 32 subbands the synthesis computes every second sample: the polyphase filters of the lower
//! 16 subbands at half the rate are the formula for 16 subbands with every second value of the window. The values of the
//! standard are rounded to 16 bits, which leaves -107 dB at all frequencies: before every second one is taken, those above a
//! quarter of the rate are removed.

use std::f64::consts::PI;

use pulp::{Arch, Simd, WithSimd};

use super::super::half_band::HalfBand;
use super::side::{BlockType, LINES};
use super::tables::{ALIAS, PROTOTYPE};

/// Lines of a subband, and samples of a subband in a granule.
pub(super) const SLOTS: usize = 18;
/// Slots before the present one that its samples depend on.
const HISTORY: usize = 15;

/// Windowed inverse MDCT of a subband: sample `n` of 36 is the sum over `k` of `matrix[k][n] * line[k]`.
type Imdct = [[f32; 2 * SLOTS]; SLOTS];

/// Tables of the filter bank with `W` subbands.
pub(super) struct FilterTables<const W: usize> {
    /// Of blocks `Long`, `Start`, `Short` and `Stop`.
    imdcts: [Imdct; 4],
    alias: [[f32; 2]; 8],
    /// Synthesis: part `p` of two, sample `i`, is the sum over subbands `k` of `matrix[k][p][i] * value[k]`.
    matrix: [[[f32; W]; 2]; W],
    /// Window of the parts of the slots `2 * j` and `2 * j + 1` before the present one.
    window: [[[f32; W]; 2]; 8],
}

impl<const W: usize> FilterTables<W> {
    pub(super) fn new() -> FilterTables<W> {
        let turn = |eighths: usize, of: usize| (2.0 * PI * eighths as f64 / of as f64).cos();
        let cosines: [f64; 144] = std::array::from_fn(|i| turn(i, 144));
        let cosine = |numerator: usize| cosines[numerator % 144];
        // Half as many subbands take every second sample of the window.
        let step = 32 / W;
        let synthesis: Vec<f64> = (0..4 * W).map(|i| turn(i, 4 * W)).collect();
        let matrix = std::array::from_fn(|k| {
            std::array::from_fn(|part| {
                std::array::from_fn(|i| synthesis[(W / 2 + part * W + i) * (2 * k + 1) % (4 * W)] as f32)
            })
        });
        let half_band = HalfBand::new();
        let window = std::array::from_fn(|j| {
            std::array::from_fn(|part| {
                std::array::from_fn(|i| {
                    let at = 64 * j + 32 * part + i * step;
                    let at = at as i64;
                    let value = if step == 1 { prototype(at) } else { half_band.value(at, prototype) };
                    let sign = if j % 2 == 0 { 1.0 } else { -1.0 };
                    (sign * value) as f32
                })
            })
        });
        FilterTables {
            imdcts: [BlockType::Long, BlockType::Start, BlockType::Short, BlockType::Stop]
                .map(|block| imdct(block, cosine)),
            alias: ALIAS.map(|c| {
                let norm = (1.0 + c * c).sqrt();
                [(1.0 / norm) as f32, (c / norm) as f32]
            }),
            matrix,
            window,
        }
    }
}

/// Value of the prototype filter, which is 0 outside of 0..512.
fn prototype(at: i64) -> f64 {
    usize::try_from(at.min(512 - at)).map_or(0.0, |at| f64::from(PROTOTYPE[at]) / 65_536.0)
}

/// Windowed inverse MDCT of a block; `cosine` takes 144ths of a turn.
fn imdct(block: BlockType, cosine: impl Fn(usize) -> f64) -> Imdct {
    let sine = |n: usize, of: usize| (PI * (n as f64 + 0.5) / of as f64).sin();
    let mut matrix = [[0.0; 2 * SLOTS]; SLOTS];
    if block.is_short() {
        // Lines of the three windows alternate.
        for (line, row) in matrix.iter_mut().enumerate() {
            let (k, window) = (line / 3, line % 3);
            for n in 0..12 {
                // cos(pi / 24 * (2n + 1 + 6) * (2k + 1))
                let value = sine(n, 12) * cosine(3 * (2 * n + 7) * (2 * k + 1));
                row[6 + 6 * window + n] += value as f32;
            }
        }
        return matrix;
    }
    for (k, row) in matrix.iter_mut().enumerate() {
        for (n, value) in row.iter_mut().enumerate() {
            let window = match (block, n) {
                (BlockType::Start, 18..24) | (BlockType::Stop, 12..18) => 1.0,
                (BlockType::Start, 24..30) => sine(n - 18, 12),
                (BlockType::Stop, 6..12) => sine(n - 6, 12),
                (BlockType::Start, 30..) | (BlockType::Stop, ..6) => 0.0,
                _ => sine(n, 36),
            };
            // cos(pi / 72 * (2n + 1 + 18) * (2k + 1))
            *value = (window * cosine((2 * n + 19) * (2 * k + 1))) as f32;
        }
    }
    matrix
}

/// State of the filter bank of one channel, and its buffers.
pub(super) struct FilterBank<const W: usize> {
    arch: Arch,
    /// Number of subbands that are used, at most `W`.
    subbands: usize,
    /// Second half of the previous granule's transforms.
    overlap: [[f32; W]; SLOTS],
    /// Transforms of this granule; its first half becomes the subband samples.
    transforms: Box<[[f32; W]; 2 * SLOTS]>,
    /// Lines in the order of the transform: `[line in the subband][subband]`.
    lines: Box<[[f32; W]; SLOTS]>,
    /// Both parts of the synthesis of the last slots.
    parts: Box<[[[f32; W]; 2]; HISTORY + SLOTS]>,
}

impl<const W: usize> FilterBank<W> {
    pub(super) fn new(arch: Arch, subbands: usize) -> FilterBank<W> {
        FilterBank {
            arch,
            subbands: subbands.min(W),
            overlap: [[0.0; W]; SLOTS],
            transforms: Box::new([[0.0; W]; 2 * SLOTS]),
            lines: Box::new([[0.0; W]; SLOTS]),
            parts: Box::new([[[0.0; W]; 2]; HISTORY + SLOTS]),
        }
    }

    /// Adds the transforms of `lines`, in the order of frequency, to those of this granule. Several spectra may be
    /// added before [`FilterBank::synthesise`]. `lines` is changed.
    pub(super) fn add(&mut self, tables: &FilterTables<W>, block: BlockType, lines: &mut [f32; LINES]) {
        reduce_aliases(&tables.alias, block, self.subbands, lines);
        let of = |block| match block {
            BlockType::Long => 0,
            BlockType::Start => 1,
            BlockType::Short | BlockType::Mixed => 2,
            BlockType::Stop => 3,
        };
        match block {
            BlockType::Mixed => {
                self.transform(&tables.imdcts[0], lines, 0, 2.min(self.subbands));
                self.transform(&tables.imdcts[2], lines, 2, self.subbands);
            }
            _ => self.transform(&tables.imdcts[of(block)], lines, 0, self.subbands),
        }
    }

    /// Adds the transforms of the subbands `from..to`.
    fn transform(&mut self, imdct: &Imdct, lines: &[f32; LINES], from: usize, to: usize) {
        for row in self.lines.iter_mut() {
            row[..from].fill(0.0);
            row[to..].fill(0.0);
        }
        for (subband, lines) in lines.as_chunks::<SLOTS>().0.iter().enumerate().take(to).skip(from) {
            for (row, &line) in self.lines.iter_mut().zip(lines) {
                row[subband] = line;
            }
        }
        self.arch.dispatch(ImdctProducts { imdct, lines: &self.lines, y: &mut self.transforms });
    }

    /// Ends the granule and appends its samples: 18 times `W`.
    pub(super) fn synthesise(&mut self, tables: &FilterTables<W>, out: &mut Vec<f32>) {
        let start = out.len();
        out.resize(start + SLOTS * W, 0.0);
        self.parts.copy_within(SLOTS.., 0);
        let (first, second) = self.transforms.split_at_mut(SLOTS);
        for (slot, (values, before)) in first.iter_mut().zip(&mut self.overlap).enumerate() {
            values.iter_mut().zip(before.iter()).for_each(|(value, before)| *value += before);
            // The frequencies of every second subband are inverted.
            if slot % 2 == 1 {
                values.iter_mut().skip(1).step_by(2).for_each(|value| *value = -*value);
            }
            *before = second[slot];
        }
        let y = &mut out[start..];
        self.arch.dispatch(Synthesis {
            tables,
            subbands: self.subbands,
            values: first,
            parts: &mut self.parts,
            y,
        });
        self.transforms.fill([0.0; W]);
    }
}

/// Reduces the aliases between neighbouring subbands.
fn reduce_aliases(alias: &[[f32; 2]; 8], block: BlockType, subbands: usize, lines: &mut [f32; LINES]) {
    let count = match block {
        BlockType::Short => 0,
        BlockType::Mixed => 1,
        _ => subbands.saturating_sub(1),
    };
    for edge in (1..=count).map(|subband| subband * SLOTS) {
        let (below, above) = lines.split_at_mut(edge);
        for ((below, above), [cs, ca]) in below.iter_mut().rev().zip(above).zip(alias) {
            (*below, *above) = (*below * cs - *above * ca, *above * cs + *below * ca);
        }
    }
}

/// Adds the products of the transform to `y`.
struct ImdctProducts<'a, const W: usize> {
    imdct: &'a Imdct,
    lines: &'a [[f32; W]; SLOTS],
    y: &'a mut [[f32; W]; 2 * SLOTS],
}

impl<const W: usize> WithSimd for ImdctProducts<'_, W> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        /// Samples at a time: as many as fit the registers.
        const ROWS: usize = 12;
        for column in 0..W / S::F32_LANES {
            for (rows, y) in self.y.as_chunks_mut::<ROWS>().0.iter_mut().enumerate() {
                let mut sums = [simd.splat_f32s(0.0); ROWS];
                for (line, weights) in self.lines.iter().zip(self.imdct) {
                    let x = S::as_simd_f32s(line).0[column];
                    let weights = &weights.as_chunks::<ROWS>().0[rows];
                    for (sum, &weight) in sums.iter_mut().zip(weights) {
                        *sum = simd.mul_add_e_f32s(simd.splat_f32s(weight), x, *sum);
                    }
                }
                for (y, sum) in y.iter_mut().zip(sums) {
                    let y = &mut S::as_mut_simd_f32s(y).0[column];
                    *y = simd.add_f32s(*y, sum);
                }
            }
        }
    }
}

/// Polyphase synthesis of the slots of a granule.
struct Synthesis<'a, const W: usize> {
    tables: &'a FilterTables<W>,
    subbands: usize,
    values: &'a [[f32; W]],
    parts: &'a mut [[[f32; W]; 2]; HISTORY + SLOTS],
    y: &'a mut [f32],
}

impl<const W: usize> WithSimd for Synthesis<'_, W> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Synthesis { tables, subbands, values, parts, y } = self;
        for (values, parts) in values.as_chunks::<2>().0.iter().zip(parts[HISTORY..].as_chunks_mut::<2>().0) {
            products(simd, &tables.matrix[..subbands], values, parts);
        }
        for (slot, y) in y.chunks_exact_mut(W).enumerate() {
            let parts = &parts[slot..][..HISTORY + 1];
            for (column, y) in S::as_mut_simd_f32s(y).0.iter_mut().enumerate() {
                let mut sums = [simd.splat_f32s(0.0); 2];
                for (j, window) in tables.window.iter().enumerate() {
                    for (p, sum) in sums.iter_mut().enumerate() {
                        let part = S::as_simd_f32s(&parts[HISTORY - 2 * j - p][p]).0[column];
                        *sum = simd.mul_add_e_f32s(S::as_simd_f32s(&window[p]).0[column], part, *sum);
                    }
                }
                *y = simd.add_f32s(sums[0], sums[1]);
            }
        }
    }
}

/// Multiplies the values of two slots with the matrix of the synthesis.
#[inline(always)]
fn products<S: Simd, const W: usize>(
    simd: S,
    matrix: &[[[f32; W]; 2]],
    values: &[[f32; W]; 2],
    parts: &mut [[[f32; W]; 2]; 2],
) {
    for column in 0..W / S::F32_LANES {
        let mut sums = [[simd.splat_f32s(0.0); 2]; 2];
        for (k, row) in matrix.iter().enumerate() {
            let row: [S::f32s; 2] = std::array::from_fn(|p| S::as_simd_f32s(&row[p]).0[column]);
            for (slot, sums) in sums.iter_mut().enumerate() {
                let value = simd.splat_f32s(values[slot][k]);
                for (sum, &weight) in sums.iter_mut().zip(&row) {
                    *sum = simd.mul_add_e_f32s(weight, value, *sum);
                }
            }
        }
        for (parts, sums) in parts.iter_mut().zip(sums) {
            for (part, sum) in parts.iter_mut().zip(sums) {
                S::as_mut_simd_f32s(part).0[column] = sum;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Filter bank as the standard writes it.
    struct Reference {
        overlap: [[f64; SLOTS]; 32],
        v: Vec<f64>,
    }

    impl Reference {
        fn new() -> Reference {
            Reference { overlap: [[0.0; SLOTS]; 32], v: vec![0.0; 1024] }
        }

        /// Windowed transform of a subband (2.4.3.4.10.2 and 2.4.3.4.10.3).
        fn transform(block: BlockType, x: &[f64]) -> [f64; 36] {
            let cosine = |n: usize, i: usize, k: usize| {
                (PI / (2 * n) as f64 * (2 * i + 1 + n / 2) as f64 * (2 * k + 1) as f64).cos()
            };
            let mut y = [0.0; 36];
            if block.is_short() {
                for window in 0..3 {
                    for i in 0..12 {
                        let sum: f64 = (0..6).map(|k| x[3 * k + window] * cosine(12, i, k)).sum();
                        y[6 * window + 6 + i] += sum * (PI / 12.0 * (i as f64 + 0.5)).sin();
                    }
                }
                return y;
            }
            for (i, y) in y.iter_mut().enumerate() {
                let sum: f64 = (0..18).map(|k| x[k] * cosine(36, i, k)).sum();
                let long = (PI / 36.0 * (i as f64 + 0.5)).sin();
                let window = match block {
                    BlockType::Start if i >= 30 => 0.0,
                    BlockType::Start if i >= 24 => (PI / 12.0 * (i as f64 - 18.0 + 0.5)).sin(),
                    BlockType::Start if i >= 18 => 1.0,
                    BlockType::Stop if i < 6 => 0.0,
                    BlockType::Stop if i < 12 => (PI / 12.0 * (i as f64 - 6.0 + 0.5)).sin(),
                    BlockType::Stop if i < 18 => 1.0,
                    _ => long,
                };
                *y = sum * window;
            }
            y
        }

        fn granule(&mut self, block: BlockType, lines: &[f32; LINES]) -> Vec<f64> {
            let mut x: Vec<f64> = lines.iter().map(|&x| f64::from(x)).collect();
            let edges = match block {
                BlockType::Short => 0,
                BlockType::Mixed => 1,
                _ => 31,
            };
            for subband in 1..=edges {
                for (i, c) in ALIAS.iter().enumerate() {
                    let (cs, ca) = (1.0 / (1.0 + c * c).sqrt(), c / (1.0 + c * c).sqrt());
                    let (a, b) = (x[18 * subband - 1 - i], x[18 * subband + i]);
                    x[18 * subband - 1 - i] = a * cs - b * ca;
                    x[18 * subband + i] = b * cs + a * ca;
                }
            }
            let mut values = [[0.0; 32]; SLOTS];
            for subband in 0..32 {
                let own = if block == BlockType::Mixed && subband < 2 { BlockType::Long } else { block };
                let y = Reference::transform(own, &x[18 * subband..][..18]);
                for slot in 0..SLOTS {
                    let sign = if slot % 2 == 1 && subband % 2 == 1 { -1.0 } else { 1.0 };
                    values[slot][subband] = sign * (y[slot] + self.overlap[subband][slot]);
                    self.overlap[subband][slot] = y[18 + slot];
                }
            }
            values.iter().flat_map(|values| self.slot(values)).collect()
        }

        /// Polyphase synthesis (figure A.2).
        fn slot(&mut self, values: &[f64; 32]) -> Vec<f64> {
            self.v.copy_within(..960, 64);
            for i in 0..64 {
                let cosine = |k: usize| ((16 + i) as f64 * (2 * k + 1) as f64 * PI / 64.0).cos();
                self.v[i] = (0..32).map(|k| cosine(k) * values[k]).sum();
            }
            let d = |i: usize| {
                let value = PROTOTYPE[if i > 256 { 512 - i } else { i }];
                f64::from(if (i / 64).is_multiple_of(2) { value } else { -value }) / 65_536.0
            };
            let u = |i: usize| {
                self.v[if i % 64 < 32 { i / 64 * 128 + i % 64 } else { i / 64 * 128 + 64 + i % 64 }]
            };
            (0..32).map(|j| (0..16).map(|i| u(j + 32 * i) * d(j + 32 * i)).sum()).collect()
        }
    }

    fn granules(subbands: usize) -> Vec<(BlockType, [f32; LINES])> {
        use BlockType::{Long, Mixed, Short, Start, Stop};
        let mut state = 1u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        let blocks =
            [Long, Long, Start, Short, Short, Stop, Long, Start, Mixed, Short, Mixed, Stop, Long, Mixed];
        blocks
            .map(|block| (block, std::array::from_fn(|i| if i < 18 * subbands { random() } else { 0.0 })))
            .into()
    }

    fn archs() -> Vec<Arch> {
        let mut archs = vec![Arch::Scalar, Arch::new()];
        #[cfg(target_arch = "x86_64")]
        archs.extend(pulp::x86::V3::try_new().map(Arch::V3));
        archs
    }

    #[test]
    fn samples_are_those_of_the_standard() {
        for arch in archs() {
            let (tables, mut bank, mut reference) =
                (FilterTables::<32>::new(), FilterBank::<32>::new(arch, 32), Reference::new());
            for (block, lines) in granules(32) {
                let expected = reference.granule(block, &lines);
                let mut found = Vec::new();
                bank.add(&tables, block, &mut lines.clone());
                bank.synthesise(&tables, &mut found);
                assert_eq!(found.len(), expected.len());
                for (a, b) in found.iter().zip(expected) {
                    assert!((f64::from(*a) - b).abs() < 5e-6, "{block:?}: {a} {b}");
                }
            }
        }
    }

    /// The spectra of all samples and of every second one are the same up to 6 kHz (at 44.1 kHz).
    #[test]
    fn half_rate_has_the_same_spectrum() {
        let transform = |samples: &[f32], turns: f64| {
            let parts = samples.iter().zip(0..).map(|(&sample, n)| {
                let (sine, cosine) = (2.0 * PI * turns * f64::from(n)).sin_cos();
                [f64::from(sample) * cosine, f64::from(sample) * sine]
            });
            parts.fold([0.0; 2], |sum, part| [sum[0] + part[0], sum[1] + part[1]])
        };
        // Tones near the highest subband have images near to them.
        for (subbands, limit) in [(4, 1e-6), (10, 1e-5)] {
            for arch in archs() {
                let (full, half) = (FilterTables::<32>::new(), FilterTables::<16>::new());
                let (mut bank, mut half_bank) =
                    (FilterBank::<32>::new(arch, 10), FilterBank::<16>::new(arch, 10));
                let (mut all, mut second) = (Vec::new(), Vec::new());
                let end = [(BlockType::Long, [0.0; LINES]); 2];
                for (block, lines) in granules(subbands).into_iter().chain(end) {
                    bank.add(&full, block, &mut lines.clone());
                    half_bank.add(&half, block, &mut lines.clone());
                    bank.synthesise(&full, &mut all);
                    half_bank.synthesise(&half, &mut second);
                }
                assert_eq!(all.len(), 2 * second.len());
                let (mut largest, mut difference) = (0.0f64, 0.0f64);
                for hz in (0..6_000).step_by(53) {
                    let turns = f64::from(hz) / 44_100.0;
                    let (all, second) = (transform(&all, turns), transform(&second, 2.0 * turns));
                    largest = largest.max(all[0].hypot(all[1]));
                    difference = difference.max((all[0] - 2.0 * second[0]).hypot(all[1] - 2.0 * second[1]));
                }
                assert!(difference < limit * largest, "{subbands} subbands: {difference:e} of {largest:e}");
            }
        }
    }

    #[test]
    fn spectra_add_up() {
        let (tables, arch) = (FilterTables::<32>::new(), Arch::new());
        let [mut a, mut b, mut both] = std::array::from_fn(|_| FilterBank::<32>::new(arch, 32));
        let other: Vec<_> = granules(32).into_iter().rev().collect();
        for ((block, x), (other, y)) in granules(32).into_iter().zip(other) {
            both.add(&tables, block, &mut x.clone());
            both.add(&tables, other, &mut y.clone());
            a.add(&tables, block, &mut x.clone());
            b.add(&tables, other, &mut y.clone());
            let mut samples = [const { Vec::new() }; 3];
            for (bank, samples) in [&mut a, &mut b, &mut both].into_iter().zip(&mut samples) {
                bank.synthesise(&tables, samples);
            }
            let [a, b, both] = samples;
            for ((a, b), both) in a.iter().zip(b).zip(both) {
                assert!((a + b - both).abs() < 5e-6 * both.abs().max(1.0), "{a} + {b}: {both}");
            }
        }
    }
}
