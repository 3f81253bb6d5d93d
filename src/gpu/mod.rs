//! Everything that touches a device: the only module that names `wgpu`.
//!
//! [`Context`] is a device with its queue, asked for here or handed over by the caller; [`Executor`] runs a
//! [`crate::plan::Plan`] on it. Kernels and plans are plain data made elsewhere.

use crate::error_kind::ErrorKind;
use crate::executor::ExecuteError;
use crate::kernels::DispatchError;

mod batch;
mod bind;
mod blocking;
mod cache;
#[cfg(feature = "unstable")]
mod compiler;
mod device;
mod executor;
mod layout;
mod options;
mod pipeline_files;
mod probe;
mod recorder;
mod select;
mod shader;
mod timing;
mod trial;

pub use crate::executor::Selection;
pub use blocking::adapters;
pub use device::{AdapterSummary, AdapterType, Adapters, Context, required_limits, wanted_features};
pub use recorder::{RecorderInput, StepProgress};

pub(crate) use select::check_plan;
// Types of the caller, for signatures of other modules.
pub(crate) use wgpu::{Buffer, CommandEncoder};

#[cfg(feature = "unstable")]
pub use self::{
    batch::suitable_batch,
    compiler::{Uncompiled, compile, select},
    executor::Executor,
    options::Options,
    probe::Probe,
    recorder::PlanRecorder,
    trial::{Prepared, Trial},
};
#[cfg(not(feature = "unstable"))]
pub(crate) use self::{
    batch::suitable_batch, executor::Executor, options::Options, recorder::PlanRecorder, trial::Trial,
};

#[cfg(test)]
pub(crate) use tests::adapter;

/// Error of opening a device or of running a plan on it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GpuError {
    /// No adapter at all.
    #[error(
        "no GPU adapter found: install a Vulkan driver (a software one is mesa-vulkan-drivers), or use `cpu`"
    )]
    NoAdapter,
    /// No adapter of that name or number.
    #[error("no GPU adapter matches {wanted:?}: found {}", if found.is_empty() { "none".into() } else { found.join(", ") })]
    NoMatch {
        /// Requested adapter.
        wanted: String,
        /// Adapters there are.
        found: Vec<String>,
    },
    /// The adapter gives no device.
    #[error("adapter {adapter:?} gives no device: {reason}: update its driver or choose another device")]
    Device {
        /// Name of the adapter.
        adapter: String,
        /// Message of the driver.
        reason: String,
    },
    /// A kernel cannot run on the device.
    #[error("step {step:?}: {source}")]
    Dispatch {
        /// Name of the step.
        step: String,
        /// Reason.
        source: DispatchError,
    },
    /// The adapter lacks a feature.
    #[error("adapter {adapter:?} lacks {feature}: {advice}")]
    MissingFeature {
        /// Name of the adapter.
        adapter: String,
        /// Missing feature.
        feature: &'static str,
        /// Advice to the user.
        advice: &'static str,
    },
    /// A shader does not compile, or a binding does not fit it: a defect of tagwave or of the driver.
    #[error("kernel {kernel:?}: {reason}")]
    Shader {
        /// Name of the kernel.
        kernel: String,
        /// Message of the compiler.
        reason: String,
    },
    /// A device that was asked for by name cannot run the model.
    #[error("{adapter:?} cannot run the model: {source}: use {}", advice.join(", "))]
    Unusable {
        /// Name of the adapter.
        adapter: String,
        /// Devices to try in its place.
        advice: Vec<String>,
        /// Failed operation.
        source: Box<GpuError>,
    },
    /// Allocating memory or recording commands on the device failed.
    #[error(transparent)]
    Execute(#[from] ExecuteError),
}

impl GpuError {
    /// Returns the kind, by which a batch decides how to go on.
    pub fn kind(&self) -> ErrorKind {
        match self {
            GpuError::Dispatch { source, .. } => source.kind(),
            GpuError::Unusable { source, .. } => source.kind(),
            GpuError::Execute(error) => error.kind(),
            GpuError::Shader { .. } => ErrorKind::Internal,
            _ => ErrorKind::Device,
        }
    }
}

impl From<GpuError> for ExecuteError {
    fn from(error: GpuError) -> ExecuteError {
        match error {
            GpuError::Execute(error) => error,
            error => ExecuteError::Failed { reason: error.to_string() },
        }
    }
}

/// Error of a command that the device rejected.
fn failed(error: wgpu::Error) -> GpuError {
    ExecuteError::Failed { reason: error.to_string() }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The best adapter, or the one that `TAGWAVE_TEST_ADAPTER` names. Without one the test is skipped, or fails under
    /// `REQUIRE_GPU=1`.
    pub(crate) fn adapter() -> Option<Context> {
        let selection = std::env::var("TAGWAVE_TEST_ADAPTER").map_or(Selection::Best, Selection::Name);
        match Context::request(&selection) {
            Ok(gpu) => Some(gpu),
            Err(error) => {
                let is_required =
                    std::env::var_os("REQUIRE_GPU").is_some_and(|value| value != "0" && !value.is_empty());
                assert!(!is_required, "REQUIRE_GPU is set: {error}");
                println!("skipped: no adapter ({error})");
                None
            }
        }
    }

    #[test]
    fn an_unusable_device_is_of_the_kind_of_its_cause() {
        let source = Box::new(GpuError::Shader { kernel: "gru".into(), reason: "no".into() });
        let advice = vec!["auto".into(), "cpu".into()];
        let error = GpuError::Unusable { adapter: "card".into(), advice, source };
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(error.to_string().ends_with("use auto, cpu"), "{error}");
        let late = ExecuteError::NotResponding { limit_s: 120 };
        assert_eq!(GpuError::from(late).kind(), ErrorKind::Device);
    }
}
