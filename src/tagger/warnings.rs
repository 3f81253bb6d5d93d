//! Warnings for the caller of a tagger.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Maximum number of warnings that are kept until the caller takes them.
const MAX_WARNINGS: usize = 100;

/// Problem of weights, devices or threads that did not prevent tagging. Problems of a file are
/// [`Track::warnings`](super::Track::warnings).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaggerWarning {
    /// A weight file is not the published one.
    UnpublishedWeights {
        /// Name of the file.
        file: String,
        /// Published SHA-256.
        expected: String,
        /// SHA-256 of the file.
        found: String,
    },
    /// Adapters that [`Device::Auto`](super::Device::Auto) did not take, and the one that it took.
    Refused {
        /// Adapters and reasons.
        refused: String,
        /// Name of the device that runs the model.
        device: String,
    },
    /// [`Device::Auto`](super::Device::Auto) took the CPU.
    NoGpu {
        /// Reason.
        reason: String,
    },
    /// The device ran out of memory; the batch was made smaller.
    BatchReduced {
        /// Name of the device.
        device: String,
        /// Failed allocation.
        reason: String,
        /// New batch size in clips.
        clips: usize,
    },
    /// A device failed and was opened again.
    Reopened {
        /// Name of the device.
        device: String,
        /// Failure.
        reason: String,
    },
    /// A failed device could not be opened again.
    NotReopened {
        /// Name of the device.
        device: String,
        /// Reason.
        reason: String,
    },
    /// A device failed, and the CPU took over.
    CpuFallback {
        /// Name of the device.
        device: String,
        /// Failure.
        reason: String,
    },
    /// Fewer decoder threads than requested.
    FewerThreads {
        /// Number of threads that started.
        started: usize,
        /// Requested number.
        wanted: usize,
        /// Message of the system.
        reason: String,
    },
    /// Warnings beyond the number that is kept.
    More {
        /// Number of warnings.
        count: usize,
    },
}

impl fmt::Display for TaggerWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaggerWarning::UnpublishedWeights { file, expected, found } => {
                write!(f, "{file} is not the published file: expected SHA-256 {expected}, found {found}")
            }
            TaggerWarning::Refused { refused, device } => write!(f, "{refused}; running on {device}"),
            TaggerWarning::NoGpu { reason } => write!(f, "{reason}; running on the CPU"),
            TaggerWarning::BatchReduced { device, reason, clips } => {
                write!(f, "{device}: {reason}: batch size reduced to {clips}")
            }
            TaggerWarning::Reopened { device, reason } => write!(f, "{device}: {reason}: device reopened"),
            TaggerWarning::NotReopened { device, reason } => {
                write!(f, "{device}: cannot reopen the device: {reason}")
            }
            TaggerWarning::CpuFallback { device, reason } => {
                write!(f, "{device}: {reason}: falling back to the CPU")
            }
            TaggerWarning::FewerThreads { started, wanted, reason } => {
                write!(f, "only {started} of {wanted} decoder threads could be started: {reason}")
            }
            TaggerWarning::More { count } => write!(f, "{count} more warnings were left out"),
        }
    }
}

/// Warnings for the caller, and the number of those left out.
#[derive(Clone, Debug, Default)]
pub(super) struct Warnings(Arc<Mutex<(Vec<TaggerWarning>, usize)>>);

impl Warnings {
    pub(super) fn add(&self, warning: TaggerWarning) {
        let mut warnings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if warnings.0.len() < MAX_WARNINGS {
            warnings.0.push(warning);
        } else {
            warnings.1 += 1;
        }
    }

    pub(super) fn take(&self) -> Vec<TaggerWarning> {
        let (mut warnings, left_out) =
            std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if left_out > 0 {
            warnings.push(TaggerWarning::More { count: left_out });
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_bounded() {
        let warnings = Warnings::default();
        (0..1000).for_each(|_| warnings.add(TaggerWarning::NoGpu { reason: "none".into() }));
        let taken = warnings.take();
        assert_eq!(taken.len(), MAX_WARNINGS + 1);
        assert_eq!(taken[MAX_WARNINGS], TaggerWarning::More { count: 900 });
        assert!(warnings.take().is_empty());
    }
}
