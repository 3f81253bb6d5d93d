//! Computations on a device as plain data: ops, the kernels that run them, and everything a
//! dispatch needs. Nothing here touches a device; see [`crate::gpu`] for that.
//!
//! One file per op: its config, shape rule and host half. [`Op`] is the enum over all of them, so that a new
//! op makes the compiler list the places to fill in. Not here: which op follows which (see [`crate::plan`])
//! and what an op means in numbers (its reference implementation of the same name in [`crate::reference`]).

use crate::tensor::Shape;

mod activation;
mod batch_norm;
mod batch_stats;
mod clip_stats;
mod concat;
mod config;
mod conv2d;
mod dense;
mod dispatch;
mod gru;
mod last_state;
mod log_mel;
mod max_pool2d;
mod mean_pool2d;
mod normalize;
mod normalize_channels;
mod op;
mod pad_time;
mod reduction;
mod tolerance;
mod tuning;
mod unroll;
mod user_kernel;
mod variant;

pub use activation::Activation;
pub use batch_norm::{Axis, BatchNorm};
pub use batch_stats::BatchStats;
pub use clip_stats::{ClipStats, Scope};
pub use concat::Concat;
pub use config::KernelConfig;
pub use conv2d::Conv2d;
pub use dense::Dense;
pub use dispatch::{
    ACTIVATIONS, Binding, CONV2D, Dispatch, DispatchError, INDEX, Include, Kernel, Limits, Params, REDUCE,
    REDUCE_SUBGROUP, Role, Value, Vendor, is_within_bounds,
};
pub use gru::Gru;
pub use last_state::LastState;
pub use log_mel::{FrameCount, LogMel, Padding};
pub use max_pool2d::MaxPool2d;
pub use mean_pool2d::MeanPool2d;
pub use normalize::{Level, Normalize};
pub use normalize_channels::NormalizeChannels;
pub use op::{Call, Fused, Op, Operation, Packed};
pub use pad_time::PadTime;
pub use tolerance::Tolerance;
pub use tuning::{Kernels, LayerKey, TuningTable};
pub use user_kernel::{UserKernel, UserKernelError, parse_constant};

use dispatch::{FIRST_WORKGROUP, elementwise, split_workgroups};
use variant::{KernelVariant, KernelVariants};

/// Error of an op that was given tensors of the wrong shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{op}: {what}: expected {expected}, found {found}")]
pub struct ShapeError {
    /// Name of the op.
    pub op: &'static str,
    /// Tensor or property.
    pub what: &'static str,
    /// Expected shape.
    pub expected: String,
    /// Shape that was given.
    pub found: String,
}

/// Fails unless `found` has `rank` axes.
fn expect_rank(op: &'static str, what: &'static str, rank: usize, found: Shape) -> Result<(), ShapeError> {
    if found.rank() == rank {
        return Ok(());
    }
    Err(ShapeError { op, what, expected: format!("{rank} axes"), found: found.to_string() })
}

/// Fails unless `found` is `expected`.
fn expect_shape(
    op: &'static str,
    what: &'static str,
    expected: impl Into<Shape>,
    found: Shape,
) -> Result<(), ShapeError> {
    let expected = expected.into();
    if found == expected {
        return Ok(());
    }
    Err(ShapeError { op, what, expected: expected.to_string(), found: found.to_string() })
}

/// The `count` inputs or weights of an op, as an array.
fn expect_count<const COUNT: usize>(
    op: &'static str,
    what: &'static str,
    found: &[Shape],
) -> Result<[Shape; COUNT], ShapeError> {
    found.try_into().map_err(|_| ShapeError {
        op,
        what,
        expected: COUNT.to_string(),
        found: found.len().to_string(),
    })
}

/// `values` padded with zeros to the stored number of channels.
fn pad_channels(values: &[f32]) -> Vec<f32> {
    let mut padded = values.to_vec();
    padded.resize(crate::tensor::stored_channels(values.len()), 0.0);
    padded
}
