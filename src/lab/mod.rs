//! The laboratory: layers of the models one at a time, their kernels checked against the reference implementations and then timed.
//!
//! Shared by `tagwave bench kernels`, `tagwave lab` and `tagwave tune`. Nothing is timed before it agrees with
//! its reference implementation. Not here: how results are shown.

mod layer;
mod measure;
mod peaks;
mod tune;

pub use layer::{Layer, filled_plan, front_end, layers, probe_layer};
pub use measure::{Bench, LONGEST, Measurement, check_test_cases, forced, unobtrusive_batch};
pub use peaks::{Peaks, peaks};
pub use tune::{Effort, Tuned, tune};
