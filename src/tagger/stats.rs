//! Where the time goes, stage by stage.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Time of each stage, summed over its threads, since the tagger was made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StageTimes {
    /// Opening, finding the clip, decoding and mixing to mono.
    pub decode: Duration,
    /// Resampling to the model's rate.
    pub resample: Duration,
    /// Decoding threads that waited for room because the model was slower.
    pub decode_waits: Duration,
    /// Handing batches to the device.
    pub upload: Duration,
    /// Waiting for the device: what is left of its work, and the readback. On the CPU: the model.
    pub model: Duration,
    /// The part of `model` that is reading outputs back, once the device was done.
    pub readback: Duration,
    /// Time of each kernel by its name: by the device's own clock where it is a GPU that has one and
    /// [`kernel_times`](super::TaggerBuilder::kernel_times) were asked for; on the CPU always, summed over threads.
    pub kernels: BTreeMap<&'static str, Duration>,
    /// Threads of the model that waited for clips because decoding was slower.
    pub model_waits: Duration,
    /// Batches that were run.
    pub batches: u64,
    /// Clips in them.
    pub clips: u64,
}

impl StageTimes {
    /// What came after `before`, an earlier state of the same tagger; zero where `before` is the later one.
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
            // What a device spent that was lost meanwhile is not known any more.
            readback: self.readback.saturating_sub(before.readback),
            kernels: kernels.collect(),
            model_waits: self.model_waits.saturating_sub(before.model_waits),
            batches: self.batches.saturating_sub(before.batches),
            clips: self.clips.saturating_sub(before.clips),
        }
    }
}

/// Stage times that several threads add to.
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
