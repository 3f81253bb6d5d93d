//! Ranking metrics: areas under the ROC and the precision-recall curve, and cuts of a ranking.

use super::confusion::Confusion;
use super::error::EvaluationError;

/// Items of one tag, or pairs of item and tag, sorted by score, highest first.
///
/// Sorted once, so that a metric is one pass over the items, also with the weights of a bootstrap replicate: a weight
/// counts an item as often as if it were repeated.
#[derive(Clone, Debug)]
pub struct Ranking {
    scores: Vec<f64>,
    truth: Vec<bool>,
    /// Item of each entry, whose weight counts.
    items: Vec<u32>,
}

/// Areas under the curves of a ranking.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Areas {
    /// See [`Ranking::roc_auc`].
    pub roc_auc: Option<f64>,
    /// See [`Ranking::average_precision`].
    pub average_precision: Option<f64>,
}

/// Part of a ranking that is predicted, and its counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cut {
    /// Scores of at least this are predicted: halfway between the lowest score above the cut and the next one below
    /// it, so that rounded scores fall on the same side.
    pub threshold: f64,
    /// Lowest score that is predicted.
    pub score: f64,
    /// Counts at the cut.
    pub confusion: Confusion,
}

impl Ranking {
    /// Ranks the items of one tag.
    ///
    /// # Errors
    /// [`EvaluationError::Length`], [`EvaluationError::NotFinite`], [`EvaluationError::TooMany`].
    pub fn new(scores: &[f64], truth: &[bool]) -> Result<Ranking, EvaluationError> {
        if scores.len() != truth.len() {
            let (expected, found) = (scores.len(), truth.len());
            return Err(EvaluationError::Length { what: "labels", expected, found });
        }
        if u32::try_from(scores.len()).is_err() {
            return Err(EvaluationError::TooMany { found: scores.len() });
        }
        if let Some(index) = scores.iter().position(|score| !score.is_finite()) {
            return Err(EvaluationError::NotFinite { index, found: scores[index] });
        }
        Ok(Ranking::sorted(scores, truth, 1))
    }

    /// Ranks finite scores; `stride` consecutive entries belong to one item.
    pub(super) fn sorted(scores: &[f64], truth: &[bool], stride: usize) -> Ranking {
        let mut order: Vec<u32> = (0..scores.len() as u32).collect();
        let score = |entry: u32| scores[entry as usize];
        order.sort_unstable_by(|&a, &b| score(b).total_cmp(&score(a)).then(a.cmp(&b)));
        Ranking {
            scores: order.iter().map(|&entry| score(entry)).collect(),
            truth: order.iter().map(|&entry| truth[entry as usize]).collect(),
            items: order.iter().map(|&entry| entry / stride as u32).collect(),
        }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.scores.len()
    }

    /// True without entries.
    pub fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }

    /// Number of true entries.
    pub fn positives(&self) -> u64 {
        self.truth.iter().filter(|&&truth| truth).count() as u64
    }

    /// Calls `each` with the numbers of true and false entries of each distinct score, highest first, and the end of
    /// its entries.
    fn for_each_score(&self, weights: Option<&[u32]>, mut each: impl FnMut(u64, u64, usize)) {
        let weight = |place: usize| {
            weights.map_or(1, |weights| weights.get(self.items[place] as usize).copied().unwrap_or(0).into())
        };
        let mut start = 0;
        while start < self.scores.len() {
            let (mut positive, mut negative, mut end) = (0, 0, start);
            // -0.0 and 0.0 are neighbours, and equal.
            while end < self.scores.len() && self.scores[end] == self.scores[start] {
                if self.truth[end] {
                    positive += weight(end);
                } else {
                    negative += weight(end);
                }
                end += 1;
            }
            each(positive, negative, end);
            start = end;
        }
    }

    /// [`Ranking::roc_auc`] and [`Ranking::average_precision`] in one pass.
    pub fn areas(&self, weights: Option<&[u32]>) -> Areas {
        // Twice the number of ordered pairs, which is an integer.
        let (mut positives, mut negatives, mut pairs, mut sum) = (0u64, 0u64, 0u128, 0.0);
        self.for_each_score(weights, |positive, negative, _| {
            pairs += u128::from(negative) * u128::from(2 * positives + positive);
            positives += positive;
            negatives += negative;
            if positive > 0 {
                sum += positive as f64 * (positives as f64 / (positives + negatives) as f64);
            }
        });
        let all = 2 * u128::from(positives) * u128::from(negatives);
        Areas {
            roc_auc: (all > 0).then(|| pairs as f64 / all as f64),
            average_precision: (positives > 0).then(|| sum / positives as f64),
        }
    }

    /// Area under the ROC curve: the probability that a true entry scores above a false one, ties counting half.
    /// `None` without true or without false entries.
    pub fn roc_auc(&self, weights: Option<&[u32]>) -> Option<f64> {
        self.areas(weights).roc_auc
    }

    /// Average precision: the sum of `(R_n - R_(n-1)) P_n` over distinct scores, where precision `P` and recall `R` are
    /// those of all entries with at least this score. `None` without true entries.
    pub fn average_precision(&self, weights: Option<&[u32]>) -> Option<f64> {
        self.areas(weights).average_precision
    }

    /// Points (false positive rate, true positive rate) of the ROC curve from (0, 0) to (1, 1), one per distinct score;
    /// empty without true or without false entries.
    pub fn roc_curve(&self) -> Vec<(f64, f64)> {
        let positives = self.positives() as f64;
        let negatives = self.len() as f64 - positives;
        if positives == 0.0 || negatives == 0.0 {
            return Vec::new();
        }
        let mut points = vec![(0.0, 0.0)];
        let (mut hits, mut alarms) = (0, 0);
        self.for_each_score(None, |positive, negative, _| {
            hits += positive;
            alarms += negative;
            points.push((alarms as f64 / negatives, hits as f64 / positives));
        });
        points
    }

    /// All cuts between distinct scores, highest threshold first.
    fn cuts(&self) -> Vec<Cut> {
        let positives = self.positives();
        let negatives = self.len() as u64 - positives;
        let (mut hits, mut alarms) = (0, 0);
        let mut cuts = Vec::new();
        self.for_each_score(None, |positive, negative, end| {
            hits += positive;
            alarms += negative;
            let score = self.scores[end - 1];
            // Below the lowest score there is none, and scores are not negative.
            let next = self.scores.get(end).copied().unwrap_or(0.0f64.min(score));
            let confusion = Confusion {
                true_positives: hits,
                false_positives: alarms,
                false_negatives: positives - hits,
                true_negatives: negatives - alarms,
            };
            cuts.push(Cut { threshold: between(next, score), score, confusion });
        });
        cuts
    }

    /// Cut with the largest F1, of equal ones the highest. `None` without true entries.
    pub fn best_f1(&self) -> Option<Cut> {
        let better = |best: Cut, cut: Cut| {
            if cut.confusion.f1() > best.confusion.f1() { cut } else { best }
        };
        self.cuts().into_iter().reduce(better).filter(|cut| cut.confusion.true_positives > 0)
    }

    /// Cut with the largest recall whose precision is at least `least`, of equal ones the highest. `None` if no cut with
    /// a true entry has it.
    pub fn at_precision(&self, least: f64) -> Option<Cut> {
        let is_precise = |cut: &Cut| {
            cut.confusion.true_positives > 0 && cut.confusion.precision().is_some_and(|found| found >= least)
        };
        let better = |best: Cut, cut: Cut| {
            if cut.confusion.true_positives > best.confusion.true_positives { cut } else { best }
        };
        self.cuts().into_iter().filter(is_precise).reduce(better)
    }
}

/// Threshold between two scores, the higher of which passes.
fn between(low: f64, high: f64) -> f64 {
    let middle = low + (high - low) / 2.0;
    // Of neighbouring numbers the middle may be the lower one.
    if middle > low { middle } else { high }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranking(scores: &[f64], truth: &[u8]) -> Ranking {
        let truth: Vec<bool> = truth.iter().map(|&truth| truth == 1).collect();
        Ranking::new(scores, &truth).unwrap()
    }

    #[test]
    fn ties_count_half() {
        assert_eq!(ranking(&[0.5, 0.5], &[0, 1]).roc_auc(None), Some(0.5));
        assert_eq!(ranking(&[0.5, 0.5], &[0, 1]).average_precision(None), Some(0.5));
        assert_eq!(ranking(&[0.0, -0.0], &[0, 1]).roc_auc(None), Some(0.5));
        assert_eq!(ranking(&[0.9, 0.1], &[1, 0]).roc_auc(None), Some(1.0));
        assert_eq!(ranking(&[0.9, 0.1], &[0, 1]).roc_auc(None), Some(0.0));
        assert_eq!(ranking(&[0.9, 0.1], &[0, 1]).average_precision(None), Some(0.5));
    }

    #[test]
    fn one_class_and_nothing_are_not_defined() {
        for (scores, truth) in [(&[][..], &[][..]), (&[0.1, 0.2], &[0, 0])] {
            let found = ranking(scores, truth);
            assert_eq!((found.roc_auc(None), found.average_precision(None)), (None, None));
            assert!(found.roc_curve().is_empty());
            assert!(found.best_f1().is_none() && found.at_precision(0.1).is_none());
        }
        let all = ranking(&[0.1, 0.2], &[1, 1]);
        assert_eq!((all.roc_auc(None), all.average_precision(None)), (None, Some(1.0)));
        assert_eq!(all.best_f1().unwrap().threshold, 0.05);
        assert!(Ranking::new(&[f64::NAN], &[true]).is_err());
        assert!(Ranking::new(&[0.5], &[]).is_err());
    }

    #[test]
    fn a_weight_repeats_an_item() {
        let (scores, truth, weights) = ([0.9, 0.4, 0.4, 0.2, 0.8], [1, 0, 1, 1, 0], [2, 0, 3, 1, 4]);
        let repeat = |of: &dyn Fn(usize) -> f64| -> Vec<f64> {
            (0..5).flat_map(|i| vec![of(i); weights[i] as usize]).collect()
        };
        let repeated_truth: Vec<u8> =
            repeat(&|i| f64::from(truth[i])).into_iter().map(|truth| truth as u8).collect();
        let repeated = ranking(&repeat(&|i| scores[i]), &repeated_truth);
        let weighted = ranking(&scores, &truth);
        assert_eq!(weighted.roc_auc(Some(&weights)), repeated.roc_auc(None));
        let (a, b) = (weighted.average_precision(Some(&weights)), repeated.average_precision(None));
        assert!((a.unwrap() - b.unwrap()).abs() < 1e-15, "{a:?} {b:?}");
        assert_eq!(weighted.roc_auc(Some(&[0, 0, 0, 0, 1])), None);
    }

    #[test]
    fn cuts_lie_between_scores() {
        let found = ranking(&[0.9, 0.7, 0.6, 0.2], &[1, 0, 1, 0]);
        let best = found.best_f1().unwrap();
        assert!((best.threshold - 0.4).abs() < 1e-15 && best.score == 0.6);
        assert_eq!(best.confusion.f1(), Some(0.8));
        let precise = found.at_precision(0.9).unwrap();
        assert!((precise.threshold - 0.8).abs() < 1e-15);
        assert_eq!(found.at_precision(0.6).unwrap().score, 0.6);
        assert!(ranking(&[0.9, 0.1], &[0, 1]).at_precision(0.9).is_none());
        // Neighbouring numbers.
        let low = 0.5f64;
        let high = low.next_up();
        assert_eq!(ranking(&[low, high], &[0, 1]).best_f1().unwrap().threshold, high);
    }

    #[test]
    fn the_curve_ends_in_the_corners() {
        let curve = ranking(&[0.9, 0.7, 0.7, 0.2], &[1, 0, 1, 0]).roc_curve();
        assert_eq!(curve, [(0.0, 0.0), (0.0, 0.5), (0.5, 1.0), (1.0, 1.0)]);
    }
}
