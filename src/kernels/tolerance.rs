//! Tolerance of kernels against the reference implementation.

/// Tolerance `|found - expected| <= absolute + relative * |expected|`; see docs/numerics.md.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Absolute tolerance.
    pub absolute: f32,
    /// Relative tolerance.
    pub relative: f32,
}

impl Tolerance {
    /// Tolerance of sums of a few hundred f32 products of magnitude one.
    pub const SUMS: Tolerance = Tolerance { absolute: 2e-5, relative: 2e-5 };
    /// Tolerance of one or two f32 operations.
    pub const ROUNDING: Tolerance = Tolerance { absolute: 1e-6, relative: 1e-6 };
    /// Tolerance in dB: a relative error of the mel power of about 1e-5, and leakage between paired frames.
    pub const DECIBELS: Tolerance = Tolerance { absolute: 2e-3, relative: 0.0 };
}
