//! Kernel benchmarks: layers of the models in isolation, checked against the reference implementation and then timed.
//!
//! Shared by `tagwave bench kernels`, `tagwave lab` and `tagwave tune`. A kernel is timed only after it was checked.

mod contract;
mod layer;
mod measure;
mod peaks;
mod tune;

pub use contract::{contract, kernel_names, template};
pub use layer::{
    Layer, filled_plan, front_end, layers, network, probe_layer, synthetic_input, synthetic_weights,
};
pub use measure::{Bench, LONGEST, Measurement, check_test_cases, configs, forced, unobtrusive_batch};
pub use peaks::{Peaks, peaks};
pub use tune::{Effort, Tuned, tune};
