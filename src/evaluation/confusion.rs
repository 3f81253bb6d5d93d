//! Counts of decisions, and precision, recall and F1.

use std::iter::Sum;

/// Counts of decisions against labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confusion {
    /// Predicted and true.
    pub true_positives: u64,
    /// Predicted and not true.
    pub false_positives: u64,
    /// Not predicted and true.
    pub false_negatives: u64,
    /// Not predicted and not true.
    pub true_negatives: u64,
}

impl Confusion {
    /// Counts the decisions `score >= threshold`.
    pub fn at(entries: impl IntoIterator<Item = (f64, bool)>, threshold: f64) -> Confusion {
        let mut counts = Confusion::default();
        for (score, truth) in entries {
            *match (score >= threshold, truth) {
                (true, true) => &mut counts.true_positives,
                (true, false) => &mut counts.false_positives,
                (false, true) => &mut counts.false_negatives,
                (false, false) => &mut counts.true_negatives,
            } += 1;
        }
        counts
    }

    /// Precision `tp / (tp + fp)`; `None` if nothing is predicted.
    pub fn precision(&self) -> Option<f64> {
        ratio(self.true_positives, self.true_positives + self.false_positives)
    }

    /// Recall `tp / (tp + fn)`; `None` if nothing is true.
    pub fn recall(&self) -> Option<f64> {
        ratio(self.true_positives, self.true_positives + self.false_negatives)
    }

    /// F1 `2 tp / (2 tp + fp + fn)`; `None` if nothing is predicted or true.
    pub fn f1(&self) -> Option<f64> {
        let twice = 2 * self.true_positives;
        ratio(twice, twice + self.false_positives + self.false_negatives)
    }
}

impl Sum for Confusion {
    fn sum<I: Iterator<Item = Confusion>>(counts: I) -> Confusion {
        counts.fold(Confusion::default(), |a, b| Confusion {
            true_positives: a.true_positives + b.true_positives,
            false_positives: a.false_positives + b.false_positives,
            false_negatives: a.false_negatives + b.false_negatives,
            true_negatives: a.true_negatives + b.true_negatives,
        })
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_itself_passes() {
        let counts = Confusion::at([(0.5, true), (0.5, false), (0.4, true), (0.1, false)], 0.5);
        let (precision, recall, f1) = (counts.precision(), counts.recall(), counts.f1());
        assert_eq!((precision, recall, f1), (Some(0.5), Some(0.5), Some(0.5)));
        assert_eq!(counts.true_negatives, 1);
    }

    #[test]
    fn nothing_predicted_has_no_precision() {
        let counts = Confusion::at([(0.1, true)], 0.5);
        assert_eq!((counts.precision(), counts.recall(), counts.f1()), (None, Some(0.0), Some(0.0)));
        let counts = Confusion::at([(0.1, false)], 0.5);
        assert_eq!((counts.precision(), counts.recall(), counts.f1()), (None, None, None));
        assert_eq!(Confusion::at([], 0.5), Confusion::default());
    }
}
