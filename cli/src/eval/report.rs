//! Contents of a report, whatever its form.

use tagwave::evaluation::{Comparison, Evaluation, Fitted};

/// Tracks and tags that are left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unmatched {
    /// Paths of labels without a prediction.
    pub(crate) labels: Vec<String>,
    /// Paths of labels with several possible predictions.
    pub(crate) ambiguous: Vec<String>,
    /// Paths of predictions without labels.
    pub(crate) predictions: Vec<String>,
    /// Tags of the labels that are not predicted.
    pub(crate) label_tags: Vec<String>,
    /// Predicted tags that the labels do not have.
    pub(crate) predicted_tags: Vec<String>,
    /// Paths that only one of two compared predictions has.
    pub(crate) compared: Vec<String>,
}

impl Unmatched {
    /// Lists with their titles.
    pub(crate) fn lists(&self) -> [(&'static str, &[String]); 6] {
        [
            ("labelled tracks without a prediction", &self.labels),
            ("labelled tracks with several possible predictions", &self.ambiguous),
            ("predictions without labels", &self.predictions),
            ("labels that are not predicted", &self.label_tags),
            ("predicted tags without labels", &self.predicted_tags),
            ("tracks that are not in both predictions", &self.compared),
        ]
    }
}

/// A report.
#[derive(Debug)]
pub(crate) struct EvalReport {
    /// Predictions, as given.
    pub(crate) sources: Vec<String>,
    /// File of the labels.
    pub(crate) labels: String,
    /// Other predictions.
    pub(crate) compared: Option<String>,
    /// Column of the groups.
    pub(crate) group: Option<String>,
    /// Model and compatibility, if known.
    pub(crate) made: Option<(String, String)>,
    /// Number of files that failed.
    pub(crate) failed: usize,
    /// Number of bootstrap replicates.
    pub(crate) replicates: u32,
    /// Seed of the bootstrap.
    pub(crate) seed: u64,
    /// Tracks and tags that are left out.
    pub(crate) unmatched: Unmatched,
    /// Metrics.
    pub(crate) evaluation: Evaluation,
    /// Differences from other predictions.
    pub(crate) comparison: Option<Comparison>,
    /// Thresholds that were fitted.
    pub(crate) fitted: Option<Fitted>,
}
