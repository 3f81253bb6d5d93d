//! Error type of the public API, with a category for callers that process many files.

use std::fmt;
use std::sync::Arc;

use crate::audio::AudioError;
#[cfg(feature = "cpu")]
use crate::cpu::CpuError;
use crate::error_kind::ErrorKind;
use crate::executor::ExecuteError;
#[cfg(feature = "wgpu")]
use crate::gpu::GpuError;
use crate::models::ModelError;
use crate::plan::PlanError;
use crate::tensor::LengthError;
use crate::weights::WeightsError;

/// Any error of the library: a category, a message, and a [`source`](std::error::Error::source) with the cause.
///
/// ```
/// use tagwave::ErrorKind;
/// use tagwave::tagger::{Device, Tagger};
///
/// # fn main() -> Result<(), tagwave::Error> {
/// let tagger = Tagger::builder().device(Device::Cpu).build()?;
/// let error = tagger.tag_file("missing.mp3").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Input); // of this file: others can still be tagged
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Error(Box<Cause>);

impl Error {
    /// Category of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind()
    }

    /// The cause, whose variants may change in any version.
    #[cfg_attr(not(feature = "unstable"), doc(hidden))]
    pub fn cause(&self) -> &Cause {
        &self.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.0 {
            Cause::Audio(error) => Some(error),
            Cause::Weights(error) => Some(error),
            Cause::Model(error) => Some(error),
            Cause::Plan(error) => Some(error),
            #[cfg(feature = "wgpu")]
            Cause::Gpu(error) => Some(error),
            #[cfg(feature = "cpu")]
            Cause::Cpu(error) => Some(error),
            Cause::Execute(error) => Some(error),
            Cause::Length(error) => Some(error),
            Cause::Batch(error) => error.source(),
            _ => None,
        }
    }
}

/// Converts an error of a module, or a cause, into an [`Error`].
macro_rules! from {
    ($($error:ty),*) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Error {
                Error(Box::new(error.into()))
            }
        }
    )*};
}
from!(Cause, AudioError, WeightsError, ModelError, PlanError, ExecuteError, LengthError);
#[cfg(feature = "cpu")]
from!(CpuError);
#[cfg(feature = "wgpu")]
from!(GpuError);

/// Cause of an [`Error`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
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
    #[cfg(feature = "wgpu")]
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// The CPU executor.
    #[cfg(feature = "cpu")]
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// Running a plan.
    #[error(transparent)]
    Execute(#[from] ExecuteError),
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
        model: String,
    },
    /// The scores of a clip depend on the other clips of its batch.
    #[error(
        "with compatibility `original`, scores of {model} depend on the batch: use `corrected`, or `OriginalBatch` for \
         the results of the original"
    )]
    DependentClips {
        /// Name of the model.
        model: String,
    },
    /// The number of labels differs from the number of scores.
    #[error(
        "{model} has {scores} scores and {labels} labels: pass a list with one label per score to \
         `TaggerBuilder::labels`"
    )]
    Labels {
        /// Name of the model.
        model: String,
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
    /// The executor is not part of this build.
    #[error(
        "this build of tagwave has no {executor}: build it with the feature `{feature}`, or use another device"
    )]
    NotBuilt {
        /// Missing executor.
        executor: &'static str,
        /// Feature of the library that adds it.
        feature: &'static str,
    },
    /// A clip of another length than the model's.
    #[error("{found} samples, expected {expected}: one clip at the model's rate")]
    ClipLength {
        /// Length of a clip in samples.
        expected: usize,
        /// Number of samples.
        found: usize,
    },
    /// A recorder without a device of the caller.
    #[error("a recorder needs a device of the caller: set it with `TaggerBuilder::gpu`")]
    NoDevice,
    /// Invalid setting of a stream.
    #[error("stream: {field} is {found}, expected {expected}")]
    Stream {
        /// The invalid setting.
        field: &'static str,
        /// Its value.
        found: String,
        /// Valid values.
        expected: String,
    },
    /// f16 cannot represent the activations.
    #[error(
        "f16 ends at 65504 and activations with compatibility `original` reach 210000: use f32, or `corrected`"
    )]
    Precision,
    /// Cancelled with a [`crate::CancelToken`].
    #[error("cancelled")]
    Cancelled,
}

impl Cause {
    /// Category of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Cause::Audio(error) => error.kind(),
            Cause::Weights(error) => error.kind(),
            Cause::Model(error) => error.kind(),
            Cause::Plan(error) => error.kind(),
            #[cfg(feature = "wgpu")]
            Cause::Gpu(error) => error.kind(),
            #[cfg(feature = "cpu")]
            Cause::Cpu(error) => error.kind(),
            Cause::Execute(error) => error.kind(),
            Cause::Batch(error) => error.kind(),
            Cause::TooLoud
            | Cause::NoClips
            | Cause::DecoderTimeout { .. }
            | Cause::Labels { .. }
            | Cause::ClipLength { .. }
            | Cause::NoDevice
            | Cause::Stream { .. } => ErrorKind::Input,
            Cause::NotFinite { .. } => ErrorKind::Device,
            Cause::Length(_) | Cause::Panicked | Cause::Kernel { .. } => ErrorKind::Internal,
            Cause::Threads { .. } => ErrorKind::Resource,
            Cause::NoScores { .. }
            | Cause::DependentClips { .. }
            | Cause::NotBuilt { .. }
            | Cause::Precision => ErrorKind::Unsupported,
            Cause::Cancelled => ErrorKind::Cancelled,
        }
    }
}
