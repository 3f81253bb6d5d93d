//! Finds workers that show no progress.

use std::time::{Duration, Instant};

/// Progress of one worker, as last seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watchdog {
    ticks: u64,
    changed: Instant,
}

impl Watchdog {
    pub(super) fn new(now: Instant) -> Watchdog {
        Watchdog { ticks: 0, changed: now }
    }

    /// True if a worker that is not idle had the same number of `ticks` for longer than `timeout`.
    pub(super) fn is_stalled(&mut self, ticks: u64, is_idle: bool, now: Instant, timeout: Duration) -> bool {
        if is_idle || ticks != self.ticks {
            *self = Watchdog { ticks, changed: now };
        }
        now.duration_since(self.changed) > timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_without_progress_is_stalled() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let timeout = Duration::from_secs(60);
        let mut watchdog = Watchdog::new(start);
        assert!(!watchdog.is_stalled(1, false, at(50), timeout));
        assert!(!watchdog.is_stalled(1, false, at(110), timeout));
        assert!(watchdog.is_stalled(1, false, at(111), timeout));
        // Progress and idleness start the time anew.
        assert!(!watchdog.is_stalled(2, false, at(112), timeout));
        assert!(!watchdog.is_stalled(2, true, at(500), timeout));
        assert!(!watchdog.is_stalled(2, false, at(560), timeout));
        assert!(watchdog.is_stalled(2, false, at(561), timeout));
    }
}
