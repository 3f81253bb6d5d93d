//! Paired comparison of two predictions for the same items.

use super::areas::{Rankings, flat};
use super::bootstrap::{Interval, intervals};
use super::error::EvaluationError;
use super::labelled::LabelledScores;
use super::summary::check_length;

/// Metric of two predictions, and their difference.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MetricDifference {
    /// Value of the first predictions.
    pub first: Option<f64>,
    /// Value of the second predictions.
    pub second: Option<f64>,
    /// `first - second`.
    pub difference: Option<f64>,
    /// Interval of the difference over replicates with the same items for both.
    pub interval: Option<Interval>,
}

/// Differences of the areas of one tag, or of an average.
#[derive(Clone, Debug, PartialEq)]
pub struct AreaDifferences {
    /// ROC-AUC.
    pub roc_auc: MetricDifference,
    /// Average precision.
    pub average_precision: MetricDifference,
}

/// Paired comparison of two predictions.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Differences of each tag.
    pub tags: Vec<(String, AreaDifferences)>,
    /// Differences of the means over tags.
    pub macro_average: AreaDifferences,
    /// Differences over all pairs of item and tag.
    pub micro_average: AreaDifferences,
}

/// Compares predictions of the same items and tags by a paired bootstrap over groups.
///
/// # Errors
/// [`EvaluationError::Unequal`] for other tags or labels, [`EvaluationError::Length`] for groups that do not fit.
pub fn compare(
    first: &LabelledScores,
    second: &LabelledScores,
    groups: &[usize],
    replicates: usize,
    seed: u64,
) -> Result<Comparison, EvaluationError> {
    check_length("groups", first.items(), groups.len())?;
    if first.tags() != second.tags() {
        return Err(EvaluationError::Unequal { what: "tags" });
    }
    if first.truth() != second.truth() {
        return Err(EvaluationError::Unequal { what: "labels" });
    }
    let rankings = [first, second].map(Rankings::new);
    let values = |weights: Option<&[u32]>| -> Vec<MetricDifference> {
        let [first, second] = [0, 1].map(|index| flat(&rankings[index].areas(weights)));
        let pair = |(first, second): (Option<f64>, Option<f64>)| MetricDifference {
            first,
            second,
            difference: first.zip(second).map(|(first, second)| first - second),
            interval: None,
        };
        first.into_iter().zip(second).map(pair).collect()
    };
    let statistics =
        |weights: &[u32]| values(Some(weights)).into_iter().map(|value| value.difference).collect();
    let intervals = intervals(groups, replicates, seed, statistics);
    let mut differences = values(None).into_iter().enumerate().map(|(index, value)| MetricDifference {
        interval: intervals.get(index).copied().flatten().filter(|_| value.difference.is_some()),
        ..value
    });
    let mut next = || differences.next().unwrap_or_default();
    let mut both = || AreaDifferences { roc_auc: next(), average_precision: next() };
    Ok(Comparison {
        tags: first.tags().iter().map(|tag| (tag.clone(), both())).collect(),
        macro_average: both(),
        micro_average: both(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(scores: &[f64]) -> LabelledScores {
        let truth = (0..scores.len()).map(|index| index % 2 == 0).collect();
        LabelledScores::new(vec!["a".into()], scores.into(), truth).unwrap()
    }

    #[test]
    fn equal_predictions_do_not_differ() {
        let scores: Vec<f64> = (0..40).map(|index| f64::from(index * 7 % 41) / 41.0).collect();
        let groups: Vec<usize> = (0..40).collect();
        let found = compare(&data(&scores), &data(&scores), &groups, 50, 3).unwrap();
        let difference = found.macro_average.roc_auc;
        assert_eq!(difference.difference, Some(0.0));
        let interval = difference.interval.unwrap();
        assert_eq!((interval.low, interval.high), (0.0, 0.0));
    }

    #[test]
    fn the_better_one_is_found() {
        let good: Vec<f64> = (0..40).map(|index| if index % 2 == 0 { 0.9 } else { 0.1 }).collect();
        let groups: Vec<usize> = (0..40).collect();
        let found = compare(&data(&good), &data(&[0.5; 40]), &groups, 50, 3).unwrap();
        let (tag, areas) = &found.tags[0];
        assert_eq!((tag.as_str(), areas.roc_auc.difference), ("a", Some(0.5)));
        assert!(areas.roc_auc.interval.unwrap().low > 0.4);
        assert!(compare(&data(&good), &data(&[0.5; 39]), &groups, 5, 3).is_err());
    }
}
