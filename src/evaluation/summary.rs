//! Evaluation of predictions: metrics of every tag, and their averages.

use super::areas::{Rankings, flat};
use super::bootstrap::{Interval, intervals};
use super::calibration::{Reliability, brier, reliability};
use super::confusion::Confusion;
use super::error::EvaluationError;
use super::labelled::LabelledScores;
use super::mean::{DefinedMean, mean_of_defined};
use super::top_k::{TopK, top_k};

/// Settings of an evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluationOptions {
    /// Threshold of each tag; `None` if a tag is never predicted.
    pub thresholds: Vec<Option<f64>>,
    /// Numbers of tags of the top-k metrics.
    pub top: Vec<usize>,
    /// Number of bins of reliability diagrams.
    pub bins: usize,
    /// Number of bootstrap replicates; 0 for no intervals.
    pub replicates: usize,
    /// Seed of the bootstrap.
    pub seed: u64,
}

/// Value with its confidence interval; `None` if not defined.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// The value.
    pub value: Option<f64>,
    /// Its interval, if requested and defined.
    pub interval: Option<Interval>,
}

/// Metrics of one tag.
#[derive(Clone, Debug, PartialEq)]
pub struct TagMetrics {
    /// The tag.
    pub tag: String,
    /// Number of items that have the tag.
    pub positives: u64,
    /// Area under the ROC curve.
    pub roc_auc: Estimate,
    /// Average precision.
    pub average_precision: Estimate,
    /// Threshold of the decisions.
    pub threshold: Option<f64>,
    /// Decisions at the threshold.
    pub confusion: Confusion,
    /// Expected calibration error.
    pub calibration_error: Option<f64>,
    /// Brier score.
    pub brier: Option<f64>,
}

/// Averages over tags.
#[derive(Clone, Debug, PartialEq)]
pub struct Overall {
    /// Number of tags whose ROC-AUC is defined.
    pub defined_tags: usize,
    /// Mean of the tags' ROC-AUC.
    pub macro_roc_auc: Estimate,
    /// Mean of the tags' average precision.
    pub macro_average_precision: Estimate,
    /// ROC-AUC of all pairs of item and tag.
    pub micro_roc_auc: Estimate,
    /// Average precision of all pairs of item and tag.
    pub micro_average_precision: Estimate,
    /// Mean of the tags' precision, over tags that are predicted.
    pub macro_precision: Option<DefinedMean>,
    /// Mean of the tags' recall, over tags that an item has.
    pub macro_recall: Option<DefinedMean>,
    /// Mean of the tags' F1, over tags that are predicted or that an item has.
    pub macro_f1: Option<DefinedMean>,
    /// Decisions of all tags.
    pub confusion: Confusion,
    /// Top-k metrics; those that are not defined are left out.
    pub top: Vec<TopK>,
    /// Reliability diagram of all pairs.
    pub reliability: Reliability,
    /// Brier score of all pairs.
    pub brier: Option<f64>,
}

/// Metrics of predictions.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Number of items.
    pub items: usize,
    /// Number of groups of items.
    pub groups: usize,
    /// Metrics of each tag.
    pub tags: Vec<TagMetrics>,
    /// Averages.
    pub overall: Overall,
}

/// Evaluates predictions; `groups` has the group of each item, numbered from 0.
///
/// # Errors
/// [`EvaluationError::Length`] if groups or thresholds do not fit the data.
pub fn evaluate(
    data: &LabelledScores,
    groups: &[usize],
    options: &EvaluationOptions,
) -> Result<Evaluation, EvaluationError> {
    check_length("groups", data.items(), groups.len())?;
    check_length("thresholds", data.tags().len(), options.thresholds.len())?;
    let rankings = Rankings::new(data);
    let values = flat(&rankings.areas(None));
    let statistics = |weights: &[u32]| flat(&rankings.areas(Some(weights)));
    let intervals = intervals(groups, options.replicates, options.seed, statistics);
    let mut estimates = values.into_iter().enumerate().map(|(index, value)| Estimate {
        value,
        interval: intervals.get(index).copied().flatten().filter(|_| value.is_some()),
    });
    let mut next = || estimates.next().unwrap_or_default();
    let mut tags = Vec::new();
    for (index, (tag, &threshold)) in data.tags().iter().zip(&options.thresholds).enumerate() {
        let (scores, truth) = data.column(index);
        let entries = || scores.iter().copied().zip(truth.iter().copied());
        tags.push(TagMetrics {
            tag: tag.clone(),
            positives: truth.iter().filter(|&&truth| truth).count() as u64,
            roc_auc: next(),
            average_precision: next(),
            threshold,
            confusion: Confusion::at(entries(), threshold.unwrap_or(f64::INFINITY)),
            calibration_error: reliability(entries(), options.bins).expected_error(),
            brier: brier(entries()),
        });
    }
    let mean = |of: fn(&Confusion) -> Option<f64>| mean_of_defined(tags.iter().map(|tag| of(&tag.confusion)));
    let entries = || data.scores().iter().copied().zip(data.truth().iter().copied());
    let overall = Overall {
        defined_tags: rankings.defined(),
        macro_roc_auc: next(),
        macro_average_precision: next(),
        micro_roc_auc: next(),
        micro_average_precision: next(),
        macro_precision: mean(Confusion::precision),
        macro_recall: mean(Confusion::recall),
        macro_f1: mean(Confusion::f1),
        confusion: tags.iter().map(|tag| tag.confusion).sum(),
        top: options.top.iter().filter_map(|&k| top_k(data, k)).collect(),
        reliability: reliability(entries(), options.bins),
        brier: brier(entries()),
    };
    let groups = groups.iter().max().map_or(0, |last| last + 1);
    Ok(Evaluation { items: data.items(), groups, tags, overall })
}

/// Checks the length of an array.
pub(super) fn check_length(what: &'static str, expected: usize, found: usize) -> Result<(), EvaluationError> {
    if found == expected { Ok(()) } else { Err(EvaluationError::Length { what, expected, found }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(tags: usize) -> EvaluationOptions {
        EvaluationOptions {
            thresholds: vec![Some(0.5); tags],
            top: vec![1],
            bins: 10,
            replicates: 20,
            seed: 1,
        }
    }

    #[test]
    fn no_items_and_no_positives_are_not_numbers() {
        let tags = || vec!["a".to_string(), "b".to_string()];
        let empty = LabelledScores::new(tags(), vec![], vec![]).unwrap();
        let found = evaluate(&empty, &[], &options(2)).unwrap();
        assert_eq!(
            (found.items, found.overall.macro_roc_auc, found.overall.brier),
            (0, Estimate::default(), None)
        );
        assert!(found.overall.top.is_empty());
        let one_sided =
            LabelledScores::new(tags(), vec![0.1, 0.9, 0.7, 0.3], vec![true, false, false, false]).unwrap();
        let found = evaluate(&one_sided, &[0, 1], &options(2)).unwrap();
        assert_eq!(found.overall.defined_tags, 1);
        assert_eq!(found.overall.macro_roc_auc.value, Some(0.0));
        assert_eq!(
            (found.tags[1].roc_auc, found.tags[1].average_precision),
            (Estimate::default(), Estimate::default())
        );
        assert_eq!(found.overall.macro_precision.unwrap().count, 2);
        assert!(evaluate(&one_sided, &[0], &options(2)).is_err());
        assert!(evaluate(&one_sided, &[0, 1], &options(1)).is_err());
    }
}
