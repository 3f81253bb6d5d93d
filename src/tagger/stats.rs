//! Times of the pipeline stages.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Time of each stage, summed over its threads, since the tagger was made.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct StageTimes {
    /// Opening, finding the clip, decoding and mixing to mono.
    pub decode: Duration,
    /// Resampling to the model's rate.
    pub resample: Duration,
    /// Time that decoder threads were blocked because the model was slower.
    pub decode_waits: Duration,
    /// Uploading and submitting batches.
    pub upload: Duration,
    /// Waiting for the device, including readback. On the CPU: running the model.
    pub model: Duration,
    /// Part of `model` spent on reading outputs back after the device was done.
    pub readback: Duration,
    /// Time of each kernel by name. On a GPU measured with timestamps, if supported and enabled with
    /// [`kernel_times`](super::TaggerBuilder::kernel_times); on the CPU always, summed over threads.
    pub kernels: BTreeMap<&'static str, Duration>,
    /// Time that device threads waited for clips because decoding was slower.
    pub model_waits: Duration,
    /// Number of batches.
    pub batches: u64,
    /// Number of clips in them.
    pub clips: u64,
}

impl StageTimes {
    /// Difference to `before`, an earlier value of the same tagger; saturates at zero.
    pub fn since(&self, before: &StageTimes) -> StageTimes {
        let kernels = self.kernels.iter().map(|(&name, &time)| {
            (name, time.saturating_sub(before.kernels.get(name).copied().unwrap_or_default()))
        });
        StageTimes {
            decode: self.decode.saturating_sub(before.decode),
            resample: self.resample.saturating_sub(before.resample),
            decode_waits: self.decode_waits.saturating_sub(before.decode_waits),
            upload: self.upload.saturating_sub(before.upload),
            model: self.model.saturating_sub(before.model),
            // The times of a device that was lost meanwhile are unknown.
            readback: self.readback.saturating_sub(before.readback),
            kernels: kernels.collect(),
            model_waits: self.model_waits.saturating_sub(before.model_waits),
            batches: self.batches.saturating_sub(before.batches),
            clips: self.clips.saturating_sub(before.clips),
        }
    }
}

/// Stage times shared between threads.
#[derive(Debug, Default)]
pub(super) struct Stats(Mutex<StageTimes>);

impl Stats {
    pub(super) fn add(&self, change: impl FnOnce(&mut StageTimes)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn times(&self) -> StageTimes {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_another_tagger_are_no_negative_times() {
        let second = Duration::from_secs(1);
        let later = StageTimes {
            decode: second,
            resample: second,
            decode_waits: second,
            upload: second,
            model: second,
            readback: second,
            kernels: BTreeMap::from([("gru", second)]),
            model_waits: second,
            batches: 1,
            clips: 1,
        };
        assert_eq!(StageTimes::default().since(&later), StageTimes::default());
        assert_eq!(later.since(&StageTimes::default()), later);
    }
}
