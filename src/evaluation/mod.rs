//! Evaluation of scores against labels: metrics, confidence intervals, thresholds and calibration. Pure functions of
//! numbers, without files.
//!
//! A module of the library and not of the program, because everything that fits or compares models needs the same
//! numbers: programs in Rust, other bindings, and commands beside `tagwave eval`.
//!
//! A metric that the data do not define (the area under a curve of a tag that no item has, the precision of no
//! prediction) is `None`, never NaN and never a substitute such as 0.5. Scores that are NaN or infinite are refused
//! ([`EvaluationError::NotFinite`]). Where scikit-learn defines a value, it is the same (tests/evaluation.rs).

mod areas;
mod bootstrap;
mod calibration;
mod comparison;
mod confusion;
mod error;
mod fitting;
mod folds;
mod labelled;
mod mapping;
mod mean;
mod random;
mod ranking;
mod summary;
mod thresholds;
mod top_k;

pub use bootstrap::{Interval, LEVEL, Resampler, intervals};
pub use calibration::{Platt, Reliability, ReliabilityBin, Temperature, brier, logit, reliability, sigmoid};
pub use comparison::{AreaDifferences, Comparison, MetricDifference, compare};
pub use confusion::Confusion;
pub use error::EvaluationError;
pub use fitting::{CalibrationMethod, FitOptions, Fitted, FittedTag, Goal, HeldOut, fit};
pub use folds::Folds;
pub use labelled::LabelledScores;
pub use mapping::{BoundSource, Mapping, MappingError, TagSource};
pub use mean::{DefinedMean, mean_of_defined};
pub use ranking::{Areas, Cut, Ranking};
pub use summary::{Estimate, Evaluation, EvaluationOptions, Overall, TagMetrics, evaluate};
pub use thresholds::{BoundRules, TagRule, TagRules, TagRulesError};
pub use top_k::{TopK, top_k};
