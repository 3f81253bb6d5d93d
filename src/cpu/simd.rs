//! Functions of whole vectors, for whatever vectors the processor has.

use pulp::Simd;

use crate::kernels::Activation;

/// Numbers of a vector.
pub(super) struct Lanes;

impl pulp::WithSimd for Lanes {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> usize {
        S::F32_LANES
    }
}

/// The first vector of `values`, zeros where they end.
#[inline(always)]
pub(super) fn load<S: Simd>(simd: S, values: &[f32]) -> S::f32s {
    match S::as_simd_f32s(values).0.first() {
        Some(&v) => v,
        None => simd.partial_load_f32s(values),
    }
}

/// Writes as much of `v` as `values` can hold.
#[inline(always)]
pub(super) fn store<S: Simd>(simd: S, values: &mut [f32], v: S::f32s) {
    match S::as_mut_simd_f32s(values) {
        ([first, ..], _) => *first = v,
        (_, rest) => simd.partial_store_f32s(rest, v),
    }
}

/// `exp(x)`, within 2e-7 of it relatively; `x` is cut to -87..88.
///
/// `2^n p(r)` with `x = n ln 2 + r`; the polynomial is that of Cephes' `expf` (Moshier, 1989).
#[inline(always)]
pub(super) fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // Adding 1.5 * 2^23 rounds to an integer, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const TERMS: [f32; 6] =
        [1.987_569_1e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_6e-1, 5.000_000_1e-1];
    let x = simd.min_f32s(simd.max_f32s(x, simd.splat_f32s(-87.0)), simd.splat_f32s(88.0));
    let shifted = simd.mul_add_e_f32s(x, simd.splat_f32s(std::f32::consts::LOG2_E), simd.splat_f32s(ROUND));
    let n = simd.sub_f32s(shifted, simd.splat_f32s(ROUND));
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(-LN_2_HIGH), x);
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(-LN_2_LOW), r);
    let mut p = simd.splat_f32s(TERMS[0]);
    for &term in &TERMS[1..] {
        p = simd.mul_add_e_f32s(p, r, simd.splat_f32s(term));
    }
    let p = simd.mul_add_e_f32s(p, simd.mul_f32s(r, r), simd.add_f32s(r, simd.splat_f32s(1.0)));
    let exponent = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    let power = simd.add_u32s(exponent, simd.splat_u32s(127 << 23));
    simd.mul_f32s(p, simd.transmute_f32s_u32s(power))
}

/// `ln(x)` of a normal number, within 2e-7 of it absolutely or relatively; the polynomial is that of Cephes'
/// `logf` (Moshier, 1989).
#[inline(always)]
pub(super) fn ln<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const TERMS: [f32; 9] = [
        7.037_683_6e-2,
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_7e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ];
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // 2^23 with an integer in its lowest bits, less 2^23, is that integer.
    const INTEGER: u32 = 0x4b00_0000;
    let bits = simd.transmute_u32s_f32s(x);
    let raised =
        simd.or_u32s(simd.wrapping_dyn_shr_u32s(bits, simd.splat_u32s(23)), simd.splat_u32s(INTEGER));
    let exponent = simd.sub_f32s(simd.transmute_f32s_u32s(raised), simd.splat_f32s(8_388_608.0 + 127.0));
    let fraction =
        simd.or_u32s(simd.and_u32s(bits, simd.splat_u32s(0x007f_ffff)), simd.splat_u32s(0x3f80_0000));
    let m = simd.transmute_f32s_u32s(fraction);
    // A mantissa of 0.7..1.4 keeps the polynomial's argument small on both sides of one.
    let large = simd.greater_than_f32s(m, simd.splat_f32s(std::f32::consts::SQRT_2));
    let m = simd.select_f32s(large, simd.mul_f32s(m, simd.splat_f32s(0.5)), m);
    let one = simd.splat_f32s(1.0);
    let e = simd.select_f32s(large, simd.add_f32s(exponent, one), exponent);
    let r = simd.sub_f32s(m, one);
    let mut p = simd.splat_f32s(TERMS[0]);
    for &term in &TERMS[1..] {
        p = simd.mul_add_e_f32s(p, r, simd.splat_f32s(term));
    }
    let square = simd.mul_f32s(r, r);
    let p = simd.mul_f32s(simd.mul_f32s(p, r), square);
    let p = simd.mul_add_e_f32s(e, simd.splat_f32s(LN_2_LOW), p);
    let p = simd.mul_add_e_f32s(square, simd.splat_f32s(-0.5), p);
    simd.mul_add_e_f32s(e, simd.splat_f32s(LN_2_HIGH), simd.add_f32s(r, p))
}

/// The activation function of a vector.
#[inline(always)]
pub(super) fn activate<S: Simd>(simd: S, op: Activation, v: S::f32s) -> S::f32s {
    let (zero, one) = (simd.splat_f32s(0.0), simd.splat_f32s(1.0));
    match op {
        Activation::Identity => v,
        Activation::Elu => {
            let below = simd.sub_f32s(exp(simd, simd.min_f32s(v, zero)), one);
            simd.select_f32s(simd.greater_than_f32s(v, zero), v, below)
        }
        Activation::Sigmoid => simd.div_f32s(one, simd.add_f32s(one, exp(simd, simd.sub_f32s(zero, v)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Each<'a>(&'a mut [f32], bool);

    impl pulp::WithSimd for Each<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            for chunk in self.0.chunks_mut(S::F32_LANES) {
                let v = load(simd, chunk);
                store(simd, chunk, if self.1 { exp(simd, v) } else { ln(simd, v) });
            }
        }
    }

    #[test]
    fn exponentials_and_logarithms() {
        let x: Vec<f32> = (0..200_001).map(|i| (i - 100_000) as f32 * 8.6e-4).collect();
        let mut y = x.clone();
        pulp::Arch::new().dispatch(Each(&mut y, true));
        for (&x, &y) in x.iter().zip(&y) {
            let exact = f64::from(x).exp();
            assert!((f64::from(y) - exact).abs() < 2e-7 * exact, "exp {x}: {y}");
        }
        pulp::Arch::new().dispatch(Each(&mut y, false));
        for (&x, &y) in x.iter().zip(&y) {
            assert!((x - y).abs() < 3e-7 * x.abs().max(1.0), "ln exp {x}: {y}");
        }
    }

    #[test]
    fn the_ends_of_exp() {
        let mut y = [-1e9, -87.5, 0.0, 88.5];
        pulp::Arch::new().dispatch(Each(&mut y, true));
        assert!(y[0] >= 0.0 && y[0] < 1e-37 && y[1] < 1e-37, "{y:?}");
        assert!(y[2] == 1.0 && y[3].is_finite(), "{y:?}");
    }
}
