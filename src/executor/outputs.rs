//! Outputs of a batch, and times.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::tensor::HostTensor;

/// Outputs of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlanOutputs {
    /// The outputs of the plan, in its order.
    pub tensors: Vec<HostTensor>,
    /// Time of each step; empty unless [`Executor::submit_timed`](super::Executor::submit_timed) was used.
    pub steps: Vec<StepTime>,
}

/// Time of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepTime {
    /// Name of the step.
    pub step: String,
    /// Name of the kernel.
    pub kernel: &'static str,
    /// Time of all clips of the batch.
    pub time: Duration,
    /// Floating-point operations of the direct algorithm, for all clips of the batch.
    pub flops: u64,
}

/// Times of an executor since it was made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Times {
    /// Time of each kernel by name, summed over threads. On a GPU empty unless enabled.
    pub kernels: BTreeMap<&'static str, Duration>,
    /// Time spent on reading outputs back after the device was done.
    pub readback: Duration,
}
