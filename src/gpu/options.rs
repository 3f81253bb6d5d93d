//! Options of an executor.

use std::sync::Arc;
use std::time::Duration;

use crate::executor::{Clock, SystemClock};
use crate::kernels::{KernelConfig, Kernels, Limits};

/// Default of [`Options::in_flight`].
const MAX_IN_FLIGHT: usize = 64;

/// Options of an executor.
#[derive(Clone, Debug)]
pub struct Options {
    /// Most clips of one batch; fewer where the device's limits say so.
    pub max_batch: usize,
    /// A configuration to force wherever it can run; otherwise each op's default.
    pub config: Option<KernelConfig>,
    /// Tighter limits to plan with than the device's own: tests fold dispatches and change tiles with them.
    pub limits: Option<Limits>,
    /// Kernels to run; `None` for the device's own ([`Context::with_kernels`](super::Context::with_kernels)).
    pub kernels: Option<Arc<Kernels>>,
    /// True to check indices on the device even where the plan keeps them within bounds; by default
    /// in debug builds alone.
    pub checked: bool,
    /// Longest time that one submission may take on hardware; a longer batch is submitted in parts. A software driver
    /// has no desktop to disturb, and clips that depend on each other cannot be parted: neither is limited.
    pub submission: Duration,
    /// Time limit of a wait for a submission, after which the device counts as not responding. `None` for 120 s on
    /// hardware, and a minute for each clip but at least ten on a software driver.
    pub timeout: Option<Duration>,
    /// True to time every submission kernel by kernel, where the device has timestamps; they keep kernels from
    /// overlapping.
    pub timed: bool,
    /// Floating-point operations above which a dispatch is cut into slices, where its kernel can be; `None` for never. The
    /// results are the same.
    pub slice_flops: Option<u64>,
    /// Maximum number of batches in flight; more are [`ExecuteError::Busy`](crate::executor::ExecuteError::Busy).
    pub in_flight: usize,
    /// Source of time for limiting submissions.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            max_batch: 8,
            config: None,
            limits: None,
            kernels: None,
            // Tests are built with debug assertions.
            checked: cfg!(debug_assertions),
            submission: Duration::from_millis(100),
            timeout: None,
            timed: false,
            slice_flops: None,
            in_flight: MAX_IN_FLIGHT,
            clock: Arc::new(SystemClock::default()),
        }
    }
}
