//! Accumulated position of the original's resampler.

/// Running sum of `1 / ratio` after `k` additions, as in the original.
#[derive(Clone, Debug)]
pub(super) struct PhaseAccumulator {
    pub(super) k: u64,
    t: f64,
    increment: f64,
}

impl PhaseAccumulator {
    pub(super) fn new(from_hz: u32, to_hz: u32) -> PhaseAccumulator {
        PhaseAccumulator { k: 0, t: 0.0, increment: 1.0 / (f64::from(to_hz) / f64::from(from_hz)) }
    }

    /// Advances by `count` outputs. Returns those whose sum lies below an integer that it would equal if it were exact,
    /// counted from the first, with that integer. `(l, m)` is the reduced ratio: output `k` lies at `k * m / l`.
    pub(super) fn below_integers(&mut self, (l, m): (u64, u64), count: usize) -> Vec<(usize, u64)> {
        let (start, end) = (self.k, self.k + count as u64);
        let mut below = Vec::new();
        for k in (start.next_multiple_of(l)..end).step_by(l as usize) {
            self.advance_to(k);
            let position = k / l * m;
            if self.t < position as f64 {
                below.push(((k - start) as usize, position));
            }
        }
        self.advance_to(end);
        below
    }

    pub(super) fn step(&mut self) {
        self.t += self.increment;
        self.k += 1;
    }

    /// Advances to output `k` with the same bits as single steps. Between two powers of two the sum has a fixed
    /// spacing, so after a tie has been rounded to even each addition adds the same rounded increment, and many
    /// additions can be done at once.
    pub(super) fn advance_to(&mut self, k: u64) {
        while self.k < k {
            for _settling in 0..3.min(k - self.k) {
                self.step();
            }
            if self.k == k {
                return;
            }
            let rounded = (self.t + self.increment) - self.t;
            let next_power = f64::from_bits(((self.t.to_bits() >> 52) + 1) << 52);
            let fit = ((next_power - self.t) / rounded) as u64;
            let steps = fit.saturating_sub(2).min(k - self.k);
            self.t += steps as f64 * rounded;
            self.k += steps;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phase_accumulator_advances_with_the_bits_of_single_steps() {
        for (from_hz, to_hz) in [(44_100, 12_000), (22_050, 12_000), (8_000, 12_000), (96_000, 12_000)] {
            let mut stepped = PhaseAccumulator::new(from_hz, to_hz);
            for target in [1u64, 2, 3, 5, 97, 98, 4_099, 250_007, 1_000_003] {
                while stepped.k < target {
                    stepped.step();
                }
                let mut jumped = PhaseAccumulator::new(from_hz, to_hz);
                jumped.advance_to(target);
                assert_eq!(jumped.k, target);
                assert_eq!(jumped.t.to_bits(), stepped.t.to_bits(), "{from_hz} Hz, output {target}");
            }
        }
    }

    #[test]
    fn sums_below_integers_are_those_of_single_steps() {
        for (from_hz, to_hz, l, m) in
            [(44_100, 12_000, 40, 147), (48_000, 12_000, 1, 4), (8_000, 12_000, 3, 2)]
        {
            let (mut stepped, mut time) =
                (PhaseAccumulator::new(from_hz, to_hz), PhaseAccumulator::new(from_hz, to_hz));
            let mut sum_of_found = 0;
            for count in [0, 1, 39, 40, 41, 1_000, 349_440] {
                let mut expected = Vec::new();
                for i in 0..count {
                    let position = stepped.k * m / l;
                    if stepped.k * m % l == 0 && stepped.t < position as f64 {
                        expected.push((i, position));
                    }
                    stepped.step();
                }
                assert_eq!(time.below_integers((l, m), count), expected, "{from_hz} Hz, {count}");
                assert_eq!((time.k, time.t.to_bits()), (stepped.k, stepped.t.to_bits()));
                sum_of_found += expected.len();
            }
            assert_eq!(sum_of_found > 0, from_hz == 44_100 || from_hz == 8_000, "{from_hz} Hz");
        }
    }
}
