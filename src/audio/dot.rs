//! Sums of products for the resampler, several outputs at a time in vector registers.
//!
//! The bits are those of [`LANES`] partial sums of separate products and additions, never fused, added up in
//! the order of their lanes: on any processor, and however many outputs are computed together.

use pulp::{Arch, Simd, WithSimd};

/// Sums run side by side. Fixed: it decides the rounding.
pub(super) const LANES: usize = 8;

/// Outputs that share a row of taps: output `i` is the sum of products of `taps` and
/// `x[first + i * stride..]`.
pub(super) struct Products<'a> {
    /// A multiple of [`LANES`] of them.
    pub(super) taps: &'a [f64],
    pub(super) x: &'a [f64],
    pub(super) first: usize,
    pub(super) stride: usize,
    pub(super) y: &'a mut [f64],
}

impl Products<'_> {
    pub(super) fn compute(self, arch: Arch) {
        arch.dispatch(self);
    }
}

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Products { taps, x, first, stride, y } = self;
        let input = |output: usize| &x[first + output * stride..][..taps.len()];
        let mut done = 0;
        // As many outputs at a time as there are registers for their sums.
        match S::F64_LANES {
            8 => {
                while y.len() - done >= 8 {
                    let sums = side_by_side::<S, 1, 8>(simd, taps, std::array::from_fn(|i| input(done + i)));
                    y[done..done + 8].copy_from_slice(&sums);
                    done += 8;
                }
                while done < y.len() {
                    [y[done]] = side_by_side::<S, 1, 1>(simd, taps, [input(done)]);
                    done += 1;
                }
            }
            4 => {
                while y.len() - done >= 4 {
                    let sums = side_by_side::<S, 2, 4>(simd, taps, std::array::from_fn(|i| input(done + i)));
                    y[done..done + 4].copy_from_slice(&sums);
                    done += 4;
                }
                while done < y.len() {
                    [y[done]] = side_by_side::<S, 2, 1>(simd, taps, [input(done)]);
                    done += 1;
                }
            }
            2 => {
                while y.len() - done >= 4 {
                    let sums = side_by_side::<S, 4, 4>(simd, taps, std::array::from_fn(|i| input(done + i)));
                    y[done..done + 4].copy_from_slice(&sums);
                    done += 4;
                }
                while done < y.len() {
                    [y[done]] = side_by_side::<S, 4, 1>(simd, taps, [input(done)]);
                    done += 1;
                }
            }
            _ => {
                for (output, y) in y.iter_mut().enumerate() {
                    *y = plain(taps, input(output));
                }
            }
        }
    }
}

/// `OUTPUTS` sums at once, each in `VECTORS` registers that hold [`LANES`] numbers together.
#[inline(always)]
fn side_by_side<S: Simd, const VECTORS: usize, const OUTPUTS: usize>(
    simd: S,
    taps: &[f64],
    x: [&[f64]; OUTPUTS],
) -> [f64; OUTPUTS] {
    let zero = simd.splat_f64s(0.0);
    let mut sums = [[zero; VECTORS]; OUTPUTS];
    let taps = S::as_simd_f64s(taps).0;
    let mut vectors = [&[][..]; OUTPUTS];
    for output in 0..OUTPUTS {
        vectors[output] = S::as_simd_f64s(x[output]).0;
    }
    let mut at = 0;
    while at + VECTORS <= taps.len() {
        for vector in 0..VECTORS {
            let w = taps[at + vector];
            for output in 0..OUTPUTS {
                let product = simd.mul_f64s(w, vectors[output][at + vector]);
                sums[output][vector] = simd.add_f64s(sums[output][vector], product);
            }
        }
        at += VECTORS;
    }
    let mut totals = [0.0; OUTPUTS];
    for output in 0..OUTPUTS {
        let mut lanes = [0.0; LANES];
        for (lanes, sums) in S::as_mut_simd_f64s(&mut lanes).0.iter_mut().zip(sums[output]) {
            *lanes = sums;
        }
        totals[output] = lanes.iter().sum();
    }
    totals
}

/// The definition.
fn plain(taps: &[f64], x: &[f64]) -> f64 {
    let mut sums = [0.0f64; LANES];
    for (w, x) in taps.chunks_exact(LANES).zip(x.chunks_exact(LANES)) {
        for lane in 0..LANES {
            sums[lane] += w[lane] * x[lane];
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_processors_give_the_same_bits() {
        let mut s = 1u32;
        let mut next = || {
            s = s.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(s) / 4_294_967_296.0 - 0.5
        };
        let taps: Vec<f64> = (0..472).map(|_| next()).collect();
        let x: Vec<f64> = (0..4_000).map(|_| next()).collect();
        let mut arches = vec![Arch::Scalar, Arch::new()];
        #[cfg(target_arch = "x86_64")]
        arches.extend(pulp::x86::V3::try_new().map(Arch::V3));
        for count in [1, 3, 4, 7, 8, 23] {
            let expected: Vec<f64> = (0..count).map(|i| plain(&taps, &x[5 + 147 * i..][..472])).collect();
            for &arch in &arches {
                let mut y = vec![0.0; count];
                Products { taps: &taps, x: &x, first: 5, stride: 147, y: &mut y }.compute(arch);
                assert!(y.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits()), "{arch:?}");
            }
        }
    }
}
