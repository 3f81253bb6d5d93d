//! CPU executor: runs a [`crate::plan::Plan`] with SIMD instructions.
//!
//! The SIMD level is selected at run time (AVX-512, AVX2, NEON or scalar; no compiler flags needed). Clips run through
//! the plan one by one, so that the output of a layer is still in the cache when the next layer reads it. Threads take
//! whole clips first, and parts of a layer when there are fewer clips than threads. The partition depends on shapes
//! only: a clip gives the same bits alone, in any batch, and with any number of threads.
//!
//! Activations are f32, channels last without padding. One file per op, or per group of small ops. Not here: the
//! definition of ops ([`crate::reference`]); f16 storage, which has no benefit on a CPU.

use crate::error_kind::ErrorKind;

mod conv2d;
mod conv_prepared;
mod conv_task;
mod dense;
mod elementwise;
mod executor;
mod features;
mod gru;
mod kernel;
mod log_mel;
mod prepare;
mod product;
mod scratch;
mod simd;
mod simd_level;
mod winograd;

pub use conv_prepared::Convolution;
pub use executor::{Executor, Options};
pub use simd_level::SimdLevel;

/// Error of the CPU executor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CpuError {
    /// The plan stores activations as f16.
    #[error("step {step:?}: the CPU executor stores f32 only, the plan asks for f16: use f32, or a GPU")]
    Precision {
        /// Name of the first such step.
        step: String,
    },
    /// The CPU does not support the requested SIMD level.
    #[error("this CPU does not support {wanted}: use the default SIMD level")]
    SimdLevel {
        /// Requested SIMD level.
        wanted: &'static str,
    },
    /// Threads could not be started.
    #[error("cannot start {threads} threads: {reason}")]
    Threads {
        /// Requested number.
        threads: usize,
        /// Message of the system.
        reason: String,
    },
}

impl CpuError {
    /// Category of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            CpuError::Precision { .. } => ErrorKind::Unsupported,
            CpuError::Threads { .. } | CpuError::SimdLevel { .. } => ErrorKind::Resource,
        }
    }
}
