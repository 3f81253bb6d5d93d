//! Errors of evaluation.

/// Error of scores and labels that cannot be evaluated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluationError {
    /// A score that is NaN or infinite.
    #[error("score {index}: expected a finite number, found {found}")]
    NotFinite {
        /// Index of the score, from 0.
        index: usize,
        /// The score.
        found: f64,
    },
    /// Arrays that do not belong together.
    #[error("expected {expected} {what}, found {found}")]
    Length {
        /// Name of the array.
        what: &'static str,
        /// Length that fits the other arrays.
        expected: usize,
        /// Length of the array.
        found: usize,
    },
    /// More items than an index of 32 bits can count.
    #[error("expected at most {} scores, found {found}", u32::MAX)]
    TooMany {
        /// Number of scores.
        found: usize,
    },
    /// Two evaluations of other tags or items.
    #[error("the compared predictions have other {what}")]
    Unequal {
        /// Name of the differing part.
        what: &'static str,
    },
}
