//! Error type of the public API, with a category for callers that process many files.

use std::sync::Arc;

use crate::audio::AudioError;
use crate::cpu::CpuError;
use crate::gpu::GpuError;
use crate::models::ModelError;
use crate::plan::PlanError;
use crate::reference::ReferenceError;
use crate::tensor::LengthError;
use crate::weights::WeightsError;

/// Category of an error: tells the caller of a batch what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Invalid input: skip this file.
    Input,
    /// Unsupported format: skip this file and count it.
    Unsupported,
    /// Memory, disk, device or weights are not available: retry with a smaller batch, or stop.
    Resource,
    /// A defect of tagwave: stop and report it.
    Internal,
    /// Cancelled by the caller.
    Cancelled,
}

impl ErrorKind {
    /// Name in machine-readable output.
    pub const fn as_str(self) -> &'static str {
        match self {
            ErrorKind::Input => "input",
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::Resource => "resource",
            ErrorKind::Internal => "internal",
            ErrorKind::Cancelled => "cancelled",
        }
    }
}

/// Any error of the library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Reading audio.
    #[error(transparent)]
    Audio(#[from] AudioError),
    /// Finding or reading weights.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Building a model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Building or tapping a plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The device.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// The CPU executor.
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// The reference executor.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A tensor of the wrong length.
    #[error(transparent)]
    Length(#[from] LengthError),
    /// The batch of a clip failed; each of its files has the same error.
    #[error("{0}")]
    Batch(Arc<Error>),
    /// Samples so large that the power of the spectrogram overflows.
    #[error("samples are too large, the spectrogram overflows: expected -1 to 1")]
    TooLoud,
    /// Reading a source panicked: a bug of tagwave or of a decoder; other sources are not affected.
    #[error("the decoder panicked: this is a bug, please report the file")]
    Panicked,
    /// A decoder had no heartbeat for the decoder timeout; other sources are not affected.
    #[error("decoder timed out after {timeout_s} s")]
    DecoderTimeout {
        /// The timeout in seconds.
        timeout_s: u64,
    },
    /// A thread could not be started.
    #[error("cannot start a thread for {what}: {reason}: end other programs, or raise the limit on threads")]
    Threads {
        /// Purpose of the thread.
        what: &'static str,
        /// Message of the system.
        reason: String,
    },
    /// No clip could be read.
    #[error("no clip could be read")]
    NoClips,
    /// An output of the model is not finite.
    #[error("output {index} is not finite: the device or its driver is broken, try another device")]
    NotFinite {
        /// Index among scores and embedding.
        index: usize,
    },
    /// Scores were requested of weights without the last layer.
    #[error("the weights of {model} lack the last layer: they give features (`embed`), not tags")]
    NoScores {
        /// Name of the model.
        model: &'static str,
    },
    /// The number of labels differs from the number of scores.
    #[error(
        "{model} has {scores} scores and {labels} labels: pass a list with one label per score to \
         `TaggerBuilder::labels`"
    )]
    Labels {
        /// Name of the model.
        model: &'static str,
        /// Number of scores of a clip.
        scores: usize,
        /// Number of labels in the list.
        labels: usize,
    },
    /// A kernel differs from the reference implementation.
    #[error("{kernel} differs from the reference implementation: {difference}")]
    Kernel {
        /// Test case or layer, and the kernel.
        kernel: String,
        /// Position and size of the difference.
        difference: String,
    },
    /// f16 cannot represent the activations.
    #[error(
        "f16 ends at 65504 and the activations of `upstream` reach 210000: use f32, or the restored reading"
    )]
    Precision,
    /// Cancelled with a [`crate::tagger::CancelToken`].
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// Category of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Audio(error) => error.kind(),
            Error::Weights(error) => error.kind(),
            Error::Model(error) => error.kind(),
            Error::Plan(error) => error.kind(),
            Error::Gpu(error) => error.kind(),
            Error::Cpu(error) => error.kind(),
            Error::Reference(error) => error.kind(),
            Error::Batch(error) => error.kind(),
            Error::TooLoud | Error::NoClips | Error::DecoderTimeout { .. } | Error::Labels { .. } => {
                ErrorKind::Input
            }
            Error::Length(_) | Error::NotFinite { .. } | Error::Panicked | Error::Kernel { .. } => {
                ErrorKind::Internal
            }
            Error::Threads { .. } => ErrorKind::Resource,
            Error::NoScores { .. } | Error::Precision => ErrorKind::Unsupported,
            Error::Cancelled => ErrorKind::Cancelled,
        }
    }
}
