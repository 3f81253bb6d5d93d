//! Learning of tags of one's own: logistic regression on the embedding of a model, one output per tag.
//!
//! Pure functions of numbers, without files. [`LabelledFeatures`] are features and labels of tracks, [`fit`] makes a
//! [`LinearHead`] of them, and [`cross_validate`] gives scores of tracks that the head has not seen, for
//! [`evaluate`](crate::evaluation::evaluate).

mod cross_validation;
mod error;
mod features;
mod head;
mod logistic;

pub use cross_validation::cross_validate;
pub use error::LearningError;
pub use features::LabelledFeatures;
pub use head::{LearnOptions, LinearHead, fit};
