//! Clips per submission, limited so that a driver that also draws a desktop does not reset the device.
//!
//! Long submissions freeze a desktop and can trigger the driver's watchdog (TDR) reset. On hardware a submission should
//! end within [`Options::submission`](super::Options::submission): until one was measured it has one clip, later as many
//! as the measured time of a clip allows.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Clips that fit a submission, by what was measured.
#[derive(Debug)]
pub(super) struct Budget {
    /// `None` where a submission may take any time.
    limit: Option<Duration>,
    /// Least seconds of a clip so far: a batch that was waited for late seems slower than it was.
    clip: Mutex<Option<f64>>,
}

impl Budget {
    pub(super) fn new(limit: Option<Duration>) -> Budget {
        Budget { limit, clip: Mutex::new(None) }
    }

    /// Clips of the next submission, at least one; `None` for any number.
    ///
    /// A power of two, since each number of clips has bind groups and readback buffers of its own.
    pub(super) fn clips(&self) -> Option<usize> {
        let limit = self.limit?;
        let clip = *self.clip.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting =
            clip.map_or(1.0, |clip| limit.as_secs_f64() / clip.max(1e-9)).min(f64::from(1 << 20)) as usize;
        Some(1 << fitting.max(1).ilog2())
    }

    /// Remembers how long a submission of `clips` took.
    pub(super) fn record(&self, clips: usize, time: Duration) {
        let measured = time.as_secs_f64() / clips.max(1) as f64;
        let mut clip = self.clip.lock().unwrap_or_else(PoisonError::into_inner);
        *clip = Some(clip.map_or(measured, |least| least.min(measured)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_clip_then_as_many_as_fit() {
        let budget = Budget::new(Some(Duration::from_millis(100)));
        assert_eq!(budget.clips(), Some(1));
        budget.record(1, Duration::from_millis(30));
        assert_eq!(budget.clips(), Some(2));
        budget.record(2, Duration::from_millis(20));
        assert_eq!(budget.clips(), Some(8));
        // Waited for late.
        budget.record(8, Duration::from_secs(3));
        assert_eq!(budget.clips(), Some(8));
        let slow = Budget::new(Some(Duration::from_millis(100)));
        slow.record(1, Duration::from_secs(2));
        assert_eq!(slow.clips(), Some(1));
    }

    #[test]
    fn without_a_limit_any_number() {
        let budget = Budget::new(None);
        budget.record(1, Duration::from_secs(60));
        assert_eq!(budget.clips(), None);
    }
}
