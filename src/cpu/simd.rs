//! SIMD math functions, generic over the vector width.

use pulp::Simd;

use crate::kernels::Activation;

/// `ln(2)` in two parts: products of the first with integers of up to 15 bits are exact.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];

/// Number of lanes of a vector and number of vector registers.
pub(super) struct Registers;

impl pulp::WithSimd for Registers {
    type Output = (usize, usize);

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> (usize, usize) {
        (S::F32_LANES, S::REGISTER_COUNT)
    }
}

/// Loads the first vector of `values`, padded with zeros.
#[inline(always)]
pub(super) fn load<S: Simd>(simd: S, values: &[f32]) -> S::f32s {
    match S::as_simd_f32s(values).0.first() {
        Some(&v) => v,
        None => simd.partial_load_f32s(values),
    }
}

/// Stores as many lanes of `v` as `values` can hold.
#[inline(always)]
pub(super) fn store<S: Simd>(simd: S, values: &mut [f32], v: S::f32s) {
    match S::as_mut_simd_f32s(values) {
        ([first, ..], _) => *first = v,
        (_, rest) => simd.partial_store_f32s(rest, v),
    }
}

/// `2^n` and `2^f` with `exp(x) = 2^n * 2^f`, with a relative error of 2e-7; `x` is clamped to -87..88.
#[inline(always)]
fn exp_parts<S: Simd>(simd: S, x: S::f32s) -> [S::f32s; 2] {
    // Adding 1.5 * 2^23 rounds to an integer, which is then in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    // Rounding error of log2(e) in f32.
    const LOG2_E_REST: f32 = 1.925_963e-8;
    // (2^f - 1) / f for f in -0.5..0.5, the largest relative error of 2^f made least: 2e-9.
    const TERMS: [f32; 6] =
        [1.535_336_2e-4, 1.339_887_4e-3, 9.618_437e-3, 5.550_332_5e-2, 2.402_264_8e-1, 6.931_472e-1];
    let x = simd.min_f32s(simd.max_f32s(x, simd.splat_f32s(-87.0)), simd.splat_f32s(88.0));
    let log2_e = simd.splat_f32s(std::f32::consts::LOG2_E);
    let shifted = simd.mul_add_e_f32s(x, log2_e, simd.splat_f32s(ROUND));
    let minus_n = simd.sub_f32s(simd.splat_f32s(ROUND), shifted);
    let f = if S::F32_LANES > 1 && !cfg!(target_arch = "wasm32") {
        let f = simd.mul_add_e_f32s(x, log2_e, minus_n);
        simd.mul_add_e_f32s(x, simd.splat_f32s(LOG2_E_REST), f)
    } else {
        // Scalar code and SIMD128 do not fuse: `x * log2(e)` would be rounded at the magnitude of `n`.
        let rest = simd.mul_add_e_f32s(minus_n, simd.splat_f32s(LN_2[0]), x);
        let rest = simd.mul_add_e_f32s(minus_n, simd.splat_f32s(LN_2[1]), rest);
        simd.mul_f32s(rest, log2_e)
    };
    let mut p = simd.splat_f32s(TERMS[0]);
    for &term in &TERMS[1..] {
        p = simd.mul_add_e_f32s(p, f, simd.splat_f32s(term));
    }
    let p = simd.mul_add_e_f32s(p, f, simd.splat_f32s(1.0));
    let exponent = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    let power = simd.add_u32s(exponent, simd.splat_u32s(127 << 23));
    [simd.transmute_f32s_u32s(power), p]
}

/// Lane-wise maximum; `b` if either is NaN. `max_f32s` is platform-dependent for NaN.
#[inline(always)]
pub(super) fn larger<S: Simd>(simd: S, a: S::f32s, b: S::f32s) -> S::f32s {
    simd.select_f32s(simd.greater_than_f32s(a, b), a, b)
}

/// `ln(x)` of a normal number, with an absolute or relative error of 2e-7; infinity and NaN are kept. The polynomial is
/// that of Cephes' `logf` (Moshier, 1989).
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
    let p = simd.mul_add_e_f32s(e, simd.splat_f32s(LN_2[1]), p);
    let p = simd.mul_add_e_f32s(square, simd.splat_f32s(-0.5), p);
    let y = simd.mul_add_e_f32s(e, simd.splat_f32s(LN_2[0]), simd.add_f32s(r, p));
    // The exponent of infinity and NaN is that of no number.
    simd.select_f32s(simd.less_than_f32s(x, simd.splat_f32s(f32::INFINITY)), y, x)
}

/// Applies an activation function; NaN stays NaN.
#[inline(always)]
pub(super) fn activate<S: Simd>(simd: S, op: Activation, v: S::f32s) -> S::f32s {
    let (zero, one) = (simd.splat_f32s(0.0), simd.splat_f32s(1.0));
    match op {
        Activation::Identity => v,
        Activation::Elu => {
            let [power, rest] = exp_parts(simd, simd.min_f32s(v, zero));
            let below = simd.mul_add_e_f32s(power, rest, simd.splat_f32s(-1.0));
            simd.select_f32s(simd.less_than_or_equal_f32s(v, zero), below, v)
        }
        Activation::Sigmoid => {
            let [power, rest] = exp_parts(simd, simd.sub_f32s(zero, v));
            let y = simd.div_f32s(one, simd.mul_add_e_f32s(power, rest, one));
            simd.select_f32s(simd.equal_f32s(v, v), y, v)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::SimdLevel;

    struct Each<'a>(&'a mut [f32], bool);

    impl pulp::WithSimd for Each<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            for chunk in self.0.chunks_mut(S::F32_LANES) {
                let v = load(simd, chunk);
                let [power, rest] = exp_parts(simd, v);
                store(simd, chunk, if self.1 { simd.mul_f32s(power, rest) } else { ln(simd, v) });
            }
        }
    }

    #[test]
    fn exponentials_and_logarithms() {
        let x: Vec<f32> = (0..200_001).map(|i| (i - 100_000) as f32 * 8.6e-4).collect();
        for simd_level in SimdLevel::available() {
            let arch = simd_level.arch().unwrap();
            let mut y = x.clone();
            arch.dispatch(Each(&mut y, true));
            for (&x, &y) in x.iter().zip(&y) {
                let exact = f64::from(x).exp();
                assert!((f64::from(y) - exact).abs() < 2e-7 * exact, "{simd_level:?}, exp {x}: {y}");
            }
            arch.dispatch(Each(&mut y, false));
            for (&x, &y) in x.iter().zip(&y) {
                assert!((x - y).abs() < 5e-7 * x.abs().max(1.0), "{simd_level:?}, ln exp {x}: {y}");
            }
        }
    }

    #[test]
    fn the_ends_of_exp() {
        let mut y = [-1e9, -87.5, 0.0, 88.5];
        pulp::Arch::new().dispatch(Each(&mut y, true));
        assert!(y[0] >= 0.0 && y[0] < 1e-37 && y[1] < 1e-37, "{y:?}");
        assert!(y[2] == 1.0 && y[3].is_finite(), "{y:?}");
    }

    struct Apply<'a>(&'a mut [f32], Activation);

    impl pulp::WithSimd for Apply<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            for chunk in self.0.chunks_mut(S::F32_LANES) {
                let v = load(simd, chunk);
                store(simd, chunk, activate(simd, self.1, v));
            }
        }
    }

    #[test]
    fn infinity_and_nan_have_no_plausible_value() {
        for arch in SimdLevel::available().into_iter().filter_map(|set| set.arch().ok()) {
            let mut y = [f32::INFINITY, f32::NAN, -f32::NAN];
            arch.dispatch(Each(&mut y, false));
            assert!(y[0] == f32::INFINITY && y[1].is_nan() && y[2].is_nan(), "ln: {y:?}");
            for op in [Activation::Identity, Activation::Elu, Activation::Sigmoid] {
                let mut y = [f32::NAN, f32::INFINITY];
                arch.dispatch(Apply(&mut y, op));
                let largest = if op == Activation::Sigmoid { 1.0 } else { f32::INFINITY };
                assert!(y[0].is_nan() && y[1] == largest, "{op:?}: {y:?}");
            }
        }
    }
}
