//! Contents of a report, whatever its form.

use tagwave::evaluation::{Comparison, Evaluation, Fitted};

/// Number of names that are shown of a list.
const SHOWN: usize = 5;

/// Tracks and tags that are left out.
#[derive(Clone, Debug, Default)]
pub(super) struct Unmatched {
    /// Paths of labels without a prediction.
    pub(super) labels: Vec<String>,
    /// Paths of labels with several possible predictions.
    pub(super) ambiguous: Vec<String>,
    /// Paths of predictions without labels.
    pub(super) predictions: Vec<String>,
    /// Tags of the labels that are not predicted.
    pub(super) label_tags: Vec<String>,
    /// Predicted tags that the labels do not have.
    pub(super) predicted_tags: Vec<String>,
    /// Paths that only one of two compared predictions has.
    pub(super) compared: Vec<String>,
}

impl Unmatched {
    /// Lists with their titles.
    pub(super) fn lists(&self) -> [(&'static str, &[String]); 6] {
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
pub(super) struct EvalReport {
    /// Predictions, as given.
    pub(super) sources: Vec<String>,
    /// File of the labels.
    pub(super) labels: String,
    /// Other predictions.
    pub(super) compared: Option<String>,
    /// Column of the groups.
    pub(super) group: Option<String>,
    /// Model and compatibility, if known.
    pub(super) made: Option<(String, String)>,
    /// Number of files that failed.
    pub(super) failed: usize,
    /// Number of bootstrap replicates.
    pub(super) replicates: u32,
    /// Seed of the bootstrap.
    pub(super) seed: u64,
    /// Tracks and tags that are left out.
    pub(super) unmatched: Unmatched,
    /// Metrics.
    pub(super) evaluation: Evaluation,
    /// Differences from other predictions.
    pub(super) comparison: Option<Comparison>,
    /// Thresholds that were fitted.
    pub(super) fitted: Option<Fitted>,
}

/// The first names of a list. File names may contain escape sequences for the terminal.
pub(super) fn some(names: &[String]) -> String {
    let shown: Vec<String> =
        names.iter().take(SHOWN).map(|name| name.replace(char::is_control, "\u{fffd}")).collect();
    let rest = if names.len() > SHOWN { ", ..." } else { "" };
    shown.join(", ") + rest
}
