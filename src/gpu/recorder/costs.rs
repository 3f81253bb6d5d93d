//! Expected device time of each dispatch of a clip.

/// Floating-point operations per second that are expected of an unmeasured device: those of a slow integrated GPU.
const ASSUMED_FLOPS: f64 = 2e11;
/// Seconds that each dispatch takes at least on an unmeasured device.
const ASSUMED_DISPATCH_S: f64 = 2e-5;
/// Largest change by one correction.
const MAX_CORRECTION: f64 = 4.0;

/// Seconds of each dispatch, estimated at first, then measured, then corrected by what passes took.
#[derive(Clone, Debug)]
pub(in crate::gpu) struct Costs(Vec<f64>);

impl Costs {
    /// Estimates from the floating-point operations of each dispatch.
    pub(in crate::gpu) fn estimated(flops: impl Iterator<Item = u64>) -> Costs {
        Costs(flops.map(|flops| ASSUMED_DISPATCH_S + flops as f64 / ASSUMED_FLOPS).collect())
    }

    /// Replaces the estimates by measured seconds, one per dispatch.
    pub(in crate::gpu) fn set(&mut self, measured_s: &[f64]) {
        for (cost, &seconds) in self.0.iter_mut().zip(measured_s) {
            *cost = seconds.max(1e-9);
        }
    }

    /// Expected seconds of dispatches `first..end`.
    pub(in crate::gpu) fn of(&self, first: usize, end: usize) -> f64 {
        self.0.get(first..end).unwrap_or_default().iter().sum()
    }

    /// End of the dispatches from `first` on that fit `budget_s`; at least one, so that every call makes progress.
    pub(in crate::gpu) fn fitting(&self, first: usize, budget_s: f64) -> usize {
        let mut total = 0.0;
        let fits = |cost: &&f64| {
            total += **cost;
            total <= budget_s
        };
        let count = self.0.get(first..).unwrap_or_default().iter().take_while(fits).count();
        (first + count.max(1)).min(self.0.len())
    }

    /// Corrects the expectation for dispatches `first..end`, which took `measured_s`: halfway, because a measurement
    /// includes what else the device did.
    pub(in crate::gpu) fn correct(&mut self, first: usize, end: usize, measured_s: f64) {
        let expected = self.of(first, end);
        if expected > 0.0 && measured_s.is_finite() && measured_s > 0.0 {
            let ratio = (measured_s / expected).clamp(1.0 / MAX_CORRECTION, MAX_CORRECTION).sqrt();
            self.0.iter_mut().take(end).skip(first).for_each(|cost| *cost *= ratio);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dispatches_fill_a_budget() {
        let mut costs = Costs::estimated([0; 5].into_iter());
        costs.set(&[1e-3, 1e-3, 5e-3, 1e-3, 1e-3]);
        assert_eq!(costs.fitting(0, 2.5e-3), 2);
        assert_eq!(costs.fitting(2, 2.5e-3), 3, "one dispatch that is larger than the budget");
        assert_eq!(costs.fitting(3, 1.0), 5);
        assert_eq!(costs.fitting(4, 0.0), 5);
        assert_eq!(costs.fitting(5, 1.0), 5);
    }

    #[test]
    fn corrections_move_halfway_and_stay_bounded() {
        let mut costs = Costs::estimated([200_000_000, 200_000_000].into_iter());
        costs.set(&[1e-3, 1e-3]);
        costs.correct(0, 1, 4e-3);
        assert!((costs.of(0, 1) - 2e-3).abs() < 1e-12 && costs.of(1, 2) == 1e-3);
        costs.correct(0, 1, 1e3);
        assert!((costs.of(0, 1) - 4e-3).abs() < 1e-12);
        for wrong in [f64::NAN, 0.0, -1.0, f64::INFINITY] {
            costs.correct(0, 2, wrong);
        }
        assert!((costs.of(0, 1) - 4e-3).abs() < 1e-12);
    }
}
