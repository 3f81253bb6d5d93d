//! Runs a [`crate::plan::Plan`] on the processor, fast.
//!
//! The second executor of the same plans: what [`crate::gpu`] does with shaders, this module does with vector
//! instructions, chosen when it starts (AVX-512, AVX2, NEON or plain code; no compiler flags needed). Clips go
//! through the plan one by one, so that what one layer writes is still in the cache when the next one reads
//! it; threads share out whole clips first, and the parts of a layer when there are fewer clips than threads.
//! How the work is cut up depends on shapes only: a clip gives the same bits alone, in any batch, and with any
//! number of threads.
//!
//! Activations are channels-last without padding, f32. One file per op, or per few small ones. Not here: what
//! an op means (its reference implementation in [`crate::reference`]); f16 storage, which a processor gains nothing from.

use crate::error::ErrorKind;
use crate::plan::InputError;
use crate::tensor::LengthError;

mod conv2d;
mod conv_task;
mod dense;
mod elementwise;
mod executor;
mod features;
mod gru;
mod instructions;
mod layer;
mod log_mel;
mod product;
mod scratch;
mod simd;
mod winograd;

pub use conv2d::Convolution;
pub use executor::{Executor, Options, StepTime};
pub use instructions::Instructions;

/// Why the processor cannot run a plan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CpuError {
    /// The plan stores activations as f16.
    #[error("step {step:?}: the CPU executor stores f32 only, the plan asks for f16: use f32, or a GPU")]
    Precision {
        /// Name of the first such step.
        step: String,
    },
    /// The processor lacks the instructions asked for.
    #[error("this processor has no {wanted} instructions: leave the choice to tagwave")]
    Instructions {
        /// What was asked for.
        wanted: &'static str,
    },
    /// The threads cannot be started.
    #[error("{threads} threads cannot be started: {reason}")]
    Threads {
        /// Number asked for.
        threads: usize,
        /// What the system says.
        reason: String,
    },
    /// Clips that depend on each other came together: the executor takes them one at a time.
    #[error(
        "{batch} clips depend on each other and the CPU executor takes one at a time: use a GPU or the reference"
    )]
    DependentBatch {
        /// Clips given.
        batch: usize,
    },
    /// The inputs do not fit the plan.
    #[error(transparent)]
    Input(#[from] InputError),
    /// An output has another length than the plan says: a defect of tagwave.
    #[error("output {output:?}: {source}")]
    Output {
        /// Name of the output.
        output: String,
        /// What the lengths were.
        source: LengthError,
    },
}

impl CpuError {
    /// What a batch should do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            CpuError::Precision { .. } => ErrorKind::Unsupported,
            CpuError::DependentBatch { .. } | CpuError::Threads { .. } | CpuError::Instructions { .. } => {
                ErrorKind::Resource
            }
            CpuError::Input(_) | CpuError::Output { .. } => ErrorKind::Internal,
        }
    }
}
