//! Low-pass filter at a quarter of the rate, for filters that are then used at every second sample: what they let through
//! above that would be heard as images.

use std::f64::consts::PI;

/// Number of odd taps of one half: a sinc under a Hann window. The even ones are 0, except the one in the middle.
const ODD_TAPS: usize = 128;

/// Taps of the filter.
pub(super) struct HalfBand {
    odd: [f64; ODD_TAPS],
}

impl HalfBand {
    pub(super) fn new() -> HalfBand {
        let odd = std::array::from_fn(|i| {
            let turn = PI * (2 * i + 1) as f64;
            let sign = if i % 2 == 0 { 1.0 } else { -1.0 };
            sign / turn * (0.5 + 0.5 * (turn / (2 * ODD_TAPS) as f64).cos())
        });
        HalfBand { odd }
    }

    /// Value `at` of the filtered signal; `signal` is 0 where it ends.
    pub(super) fn value(&self, at: i64, signal: impl Fn(i64) -> f64) -> f64 {
        let odd = (1..).step_by(2).zip(&self.odd).map(|(n, tap)| tap * (signal(at - n) + signal(at + n)));
        0.5 * signal(at) + odd.sum::<f64>()
    }
}
