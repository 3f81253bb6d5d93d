//! Error of running a plan.

use crate::error_kind::ErrorKind;
use crate::plan::InputError;
use crate::tensor::LengthError;

/// Error of running a plan.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecuteError {
    /// The inputs do not match the plan.
    #[error(transparent)]
    Input(#[from] InputError),
    /// More clips than a submission can hold.
    #[error("{batch} clips in a batch, expected at most {most}: submit them in parts")]
    Batch {
        /// Number of clips.
        batch: usize,
        /// Maximum number of clips.
        most: usize,
    },
    /// A batch whose clips depend on each other is larger than a submission can hold.
    #[error(
        "{batch} clips depend on each other and {device} takes at most {most}: use fewer, or another device"
    )]
    DependentBatch {
        /// Name of the device.
        device: String,
        /// Number of clips.
        batch: usize,
        /// Maximum number of clips.
        most: usize,
    },
    /// Too many batches are in flight.
    #[error("{in_flight} batches are in flight: wait for one of them")]
    Busy {
        /// Number of batches in flight.
        in_flight: usize,
    },
    /// The device lacks a feature.
    #[error("{device} does not support {what}")]
    Unsupported {
        /// Name of the device.
        device: String,
        /// Missing feature.
        what: &'static str,
    },
    /// The device has not enough memory.
    #[error("the device has not enough memory for {what} ({bytes} bytes): use a smaller batch")]
    OutOfMemory {
        /// Purpose of the memory.
        what: &'static str,
        /// Requested bytes.
        bytes: u64,
    },
    /// The device was lost or rejected a command.
    #[error("the device failed: {reason}")]
    Failed {
        /// Message of the driver.
        reason: String,
    },
    /// The device did not finish its work in time.
    #[error("the device did not answer within {limit_s} s: update its driver, or choose another device")]
    NotResponding {
        /// Timeout in seconds.
        limit_s: u64,
    },
    /// An output has another length than in the plan: a bug of tagwave.
    #[error("{output:?}: {source}")]
    Output {
        /// Name of the output or step.
        output: String,
        /// Expected and actual length.
        source: LengthError,
    },
    /// The submission was dropped.
    #[error("cancelled")]
    Cancelled,
}

impl ExecuteError {
    /// Category of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ExecuteError::Input(_) | ExecuteError::Output { .. } | ExecuteError::Batch { .. } => {
                ErrorKind::Internal
            }
            ExecuteError::DependentBatch { .. } | ExecuteError::Unsupported { .. } => ErrorKind::Unsupported,
            ExecuteError::Busy { .. } | ExecuteError::OutOfMemory { .. } => ErrorKind::Resource,
            ExecuteError::Failed { .. } | ExecuteError::NotResponding { .. } => ErrorKind::Device,
            ExecuteError::Cancelled => ErrorKind::Cancelled,
        }
    }
}
