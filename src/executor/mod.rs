//! Common interface of all executors: submit a batch, get its outputs later.
//!
//! [`Executor::submit`] never waits. The returned [`Submission`] is a [`Future`], and can also be asked
//! ([`Submission::try_take`]) or be given a callback ([`Submission::on_ready`]). Waiting is the module [`blocking`], for
//! callers that have a thread to spare. Not here: the executors themselves ([`crate::gpu`], [`crate::cpu`],
//! [`crate::reference`]).

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::plan::{InputError, Plan};
use crate::tensor::HostTensor;

pub mod blocking;
mod clock;
mod error;
mod outputs;
mod selection;
mod submission;

pub use clock::{Clock, SystemClock};
pub use error::ExecuteError;
pub use outputs::{PlanOutputs, StepTime, Times};
pub use selection::Selection;
pub use submission::{Driver, Promise, Submission};

/// Runs one plan on one device.
pub trait Executor: fmt::Debug + Send + Sync {
    /// Name of the device.
    fn device(&self) -> &str;

    /// The plan, for batches of [`Executor::max_batch`] clips.
    fn plan(&self) -> &Plan;

    /// Maximum number of clips of a submission.
    fn max_batch(&self) -> usize;

    /// Number of submissions that keep the device busy: one computes while the others are uploaded or read back.
    fn in_flight(&self) -> usize {
        1
    }

    /// Submits a batch and returns without waiting for a device, a thread or a lock held during work.
    ///
    /// # Errors
    /// [`ExecuteError::Input`] for inputs of other shapes than the plan's, [`ExecuteError::Batch`] for too many clips,
    /// [`ExecuteError::Busy`], and errors of the device that are known at once; others are in the result of the
    /// submission.
    fn submit(&self, inputs: &Inputs) -> Result<Submission, ExecuteError>;

    /// As [`Executor::submit`], with the time of each step in [`PlanOutputs::steps`], for benchmarks. The device may take
    /// fewer clips than given; the first ones are taken.
    ///
    /// # Errors
    /// As [`Executor::submit`]; [`ExecuteError::Unsupported`] if the device cannot time steps.
    fn submit_timed(&self, inputs: &Inputs) -> Result<Submission, ExecuteError> {
        let _ = inputs;
        Err(ExecuteError::Unsupported { device: self.device().to_string(), what: "times of steps" })
    }

    /// Bytes of activations and weights in memory of a GPU; zero for other executors.
    fn device_bytes(&self) -> u64 {
        0
    }

    /// Times since the executor was made.
    fn times(&self) -> Times {
        Times::default()
    }
}

/// Inputs of a batch: tensors of a plan, or consecutive clips of them. Cheap to clone; clones share the tensors.
#[derive(Clone, Debug)]
pub struct Inputs {
    tensors: Arc<[HostTensor]>,
    clips: Range<usize>,
}

impl Inputs {
    /// Number of clips.
    pub fn batch(&self) -> usize {
        self.clips.len()
    }

    /// Clips `range` of these inputs, at most as many as there are.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Inputs {
        let end = self.clips.end.min(self.clips.start.saturating_add(range.end));
        let start = end.min(self.clips.start.saturating_add(range.start));
        Inputs { tensors: self.tensors.clone(), clips: start..end }
    }

    /// The tensors that contain the clips; the first clip is number [`Inputs::first`].
    pub fn tensors(&self) -> &[HostTensor] {
        &self.tensors
    }

    /// Number of the first clip in [`Inputs::tensors`].
    pub fn first(&self) -> usize {
        self.clips.start
    }

    /// Checks number and shapes of the inputs against a plan.
    ///
    /// # Errors
    /// [`InputError`] with the input, the expected and the actual value.
    pub fn check(&self, plan: &Plan) -> Result<(), InputError> {
        let batch = self.tensors.first().map_or(0, |input| input.shape().extent(0));
        plan.with_batch(batch).check_inputs(&self.tensors)
    }

    /// The clips as tensors of their own.
    pub fn to_tensors(&self) -> Arc<[HostTensor]> {
        let whole = self.tensors.first().map_or(0, |input| input.shape().extent(0));
        if self.clips == (0..whole) {
            return self.tensors.clone();
        }
        let cut = |tensor: &HostTensor| {
            let row = tensor.shape().len() / tensor.shape().extent(0).max(1);
            let data = &tensor.data()[self.clips.start * row..self.clips.end * row];
            HostTensor::from_fn(tensor.shape().with_batch(self.clips.len()), |i| data[i])
        };
        self.tensors.iter().map(cut).collect()
    }
}

impl From<Arc<[HostTensor]>> for Inputs {
    fn from(tensors: Arc<[HostTensor]>) -> Inputs {
        let batch = tensors.first().map_or(0, |input| input.shape().extent(0));
        Inputs { tensors, clips: 0..batch }
    }
}

impl From<Vec<HostTensor>> for Inputs {
    fn from(tensors: Vec<HostTensor>) -> Inputs {
        Arc::<[HostTensor]>::from(tensors).into()
    }
}

impl From<HostTensor> for Inputs {
    fn from(tensor: HostTensor) -> Inputs {
        vec![tensor].into()
    }
}

/// Copies the tensors.
impl From<&[HostTensor]> for Inputs {
    fn from(tensors: &[HostTensor]) -> Inputs {
        tensors.to_vec().into()
    }
}

/// Copies the tensors.
impl From<&Vec<HostTensor>> for Inputs {
    fn from(tensors: &Vec<HostTensor>) -> Inputs {
        tensors.clone().into()
    }
}

/// Copies the tensors.
impl<const N: usize> From<&[HostTensor; N]> for Inputs {
    fn from(tensors: &[HostTensor; N]) -> Inputs {
        tensors.to_vec().into()
    }
}

impl From<&Inputs> for Inputs {
    fn from(inputs: &Inputs) -> Inputs {
        inputs.clone()
    }
}

/// Checks a batch before it is submitted: shapes, and the number of clips.
///
/// # Errors
/// [`ExecuteError::Input`], [`ExecuteError::Batch`] and [`ExecuteError::DependentBatch`].
pub fn check_batch<E: Executor + ?Sized>(executor: &E, inputs: &Inputs) -> Result<(), ExecuteError> {
    let (plan, batch, most) = (executor.plan(), inputs.batch(), executor.max_batch());
    inputs.check(plan)?;
    if batch <= most {
        return Ok(());
    }
    Err(if plan.depends_on_batch() {
        ExecuteError::DependentBatch { device: executor.device().to_string(), batch, most }
    } else {
        ExecuteError::Batch { batch, most }
    })
}

/// Executor that runs no model and returns no outputs: measures the upper bound set by decoding.
#[derive(Debug)]
pub struct DecodeOnly {
    plan: Plan,
}

impl DecodeOnly {
    /// Accepts the inputs of `plan`, in batches of at most `max_batch` clips.
    pub fn new(plan: &Plan, max_batch: usize) -> DecodeOnly {
        DecodeOnly { plan: plan.with_batch(max_batch.max(1)) }
    }
}

impl Executor for DecodeOnly {
    fn device(&self) -> &str {
        "none"
    }

    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn max_batch(&self) -> usize {
        self.plan.batch()
    }

    fn submit(&self, _: &Inputs) -> Result<Submission, ExecuteError> {
        Ok(Submission::ready(Ok(PlanOutputs::default())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_inputs() {
        let inputs = Inputs::from(HostTensor::from_fn([5, 2], |i| i as f32));
        let part = inputs.slice(1..4).slice(1..9);
        assert_eq!((part.batch(), part.first()), (2, 2));
        assert_eq!(part.to_tensors()[0].data(), [4.0, 5.0, 6.0, 7.0]);
        assert_eq!(inputs.slice(7..9).batch(), 0);
    }
}
