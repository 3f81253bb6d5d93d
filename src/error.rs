//! The one error type of the public API, and what a batch should do about each error.

use std::sync::Arc;

use crate::audio::AudioError;
use crate::cpu::CpuError;
use crate::gpu::GpuError;
use crate::models::ModelError;
use crate::plan::PlanError;
use crate::reference::ReferenceError;
use crate::tensor::LengthError;
use crate::weights::WeightsError;

/// What the caller of a batch should do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input is at fault: skip this file.
    Input,
    /// The input is of a kind this build cannot read: skip and count it.
    Unsupported,
    /// Memory, disk, device or weights are missing: retry smaller, or stop.
    Resource,
    /// A defect of tagwave: stop and report it.
    Internal,
    /// The caller asked for it.
    Cancelled,
}

impl ErrorKind {
    /// The word used in machine-readable output.
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
    /// The batch that a clip was part of failed; the same error for each of its files.
    #[error("{0}")]
    Batch(Arc<Error>),
    /// Samples so large that the power of the spectrogram overflows.
    #[error("the samples are so large that their spectrogram overflows: expected -1 to 1")]
    TooLoud,
    /// Reading a source panicked: a defect of tagwave or of a decoder; other sources are not touched.
    #[error("reading it crashed: a defect, please report the file")]
    Panicked,
    /// A decoder showed no sign of life; other sources are not touched.
    #[error("its decoder did nothing for {patience_s} s and was given up")]
    Hung {
        /// How long it was waited for, in seconds.
        patience_s: u64,
    },
    /// The system starts no more threads.
    #[error(
        "no thread can be started for {what}: {reason}: end other programs, or raise the limit on threads"
    )]
    Threads {
        /// Purpose of the thread.
        what: &'static str,
        /// What the system says.
        reason: String,
    },
    /// There is no clip to measure.
    #[error("no clip could be heard")]
    NoClips,
    /// The model gave something that is not a number.
    #[error("output {index} is not a number: the device or its driver is broken, try another one")]
    NotFinite {
        /// Place among scores, embedding and tap.
        index: usize,
    },
    /// Weights without the last layer were asked for scores.
    #[error("these weights of {model} lack the last layer: they give features (`embed`), not tags")]
    NoScores {
        /// Name of the model.
        model: &'static str,
    },
    /// Another number of labels than of scores.
    #[error(
        "{model} gives {scores} scores and has {labels} labels: hand a list with one label per score to \
         `TaggerBuilder::labels`"
    )]
    Labels {
        /// Name of the model.
        model: &'static str,
        /// Scores of a clip.
        scores: usize,
        /// Labels in the list.
        labels: usize,
    },
    /// A kernel does not do what its reference implementation does.
    #[error("{kernel} disagrees with its reference implementation: {difference}")]
    Kernel {
        /// Problem or layer, and the kernel.
        kernel: String,
        /// Where and how far.
        difference: String,
    },
    /// f16 was asked for where it cannot hold the numbers.
    #[error(
        "f16 ends at 65504 and the activations of `upstream` reach 210000: use f32, or the restored reading"
    )]
    Precision,
    /// A [`crate::tagger::CancelToken`] was used.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// What a batch should do about it.
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
            Error::TooLoud | Error::NoClips | Error::Hung { .. } | Error::Labels { .. } => ErrorKind::Input,
            Error::Length(_) | Error::NotFinite { .. } | Error::Panicked | Error::Kernel { .. } => {
                ErrorKind::Internal
            }
            Error::Threads { .. } => ErrorKind::Resource,
            Error::NoScores { .. } | Error::Precision => ErrorKind::Unsupported,
            Error::Cancelled => ErrorKind::Cancelled,
        }
    }
}
