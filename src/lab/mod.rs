//! The laboratory: layers of the models one at a time, their kernels checked against the twins and then timed.
//!
//! What `tagwave bench kernels`, `tagwave lab` and `tagwave tune` share. Nothing is timed before it agrees with
//! its twin. Not here: how results are shown.

mod layer;
mod measure;
mod peaks;
mod tune;

pub use layer::{Layer, front_end, layers, painted_plan, probe_layer};
pub use measure::{Bench, LONGEST, Measurement, check_problems, forced, unobtrusive_batch};
pub use peaks::{Peaks, peaks};
pub use tune::{Effort, Tuned, tune};
