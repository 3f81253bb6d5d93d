//! Maximum that keeps NaN.

/// Maximum of two values; NaN if either is NaN, unlike [`f64::max`].
pub(super) fn larger(a: f64, b: f64) -> f64 {
    if a > b || a.is_nan() { a } else { b }
}
