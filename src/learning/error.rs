//! Errors of learning.

/// Error of learning a head.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LearningError {
    /// An array of another length than the tracks ask for.
    #[error("{what}: expected {expected} values, found {found}")]
    Length {
        /// The array.
        what: &'static str,
        /// Expected length.
        expected: usize,
        /// Its length.
        found: usize,
    },
    /// A feature that is NaN or infinite.
    #[error("track {track}, feature {feature}: not a finite number")]
    NotFinite {
        /// Track, from 0.
        track: usize,
        /// Feature, from 0.
        feature: usize,
    },
    /// A tag that all tracks have, or none.
    #[error("the tag {tag:?}: expected tracks with and without it, found {positives} of {tracks} with it")]
    OneClass {
        /// The tag.
        tag: String,
        /// Number of tracks with the tag.
        positives: usize,
        /// Number of tracks.
        tracks: usize,
    },
    /// A penalty that is not a positive number.
    #[error("the penalty {found}: expected a number above 0")]
    Penalty {
        /// The penalty.
        found: f64,
    },
    /// The regression did not converge.
    #[error("the tag {tag:?}: the regression does not converge: use a larger penalty")]
    NoConvergence {
        /// The tag.
        tag: String,
    },
}
