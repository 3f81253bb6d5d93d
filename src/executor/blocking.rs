//! Waiting for submissions, for callers that have a thread to spare.

use std::sync::mpsc;
use std::time::Duration;

use super::{ExecuteError, Executor, Inputs, PlanOutputs, StepTime, Submission};
use crate::tensor::HostTensor;

/// Timeout for a callback after the device has completed its submission.
const CALLBACK_TIMEOUT: Duration = Duration::from_secs(10);

/// Waits for a submission.
///
/// # Errors
/// Those of the submission; [`ExecuteError::NotResponding`] after [`Submission::timeout`].
pub fn wait(mut submission: Submission) -> Result<PlanOutputs, ExecuteError> {
    let timeout = submission.timeout();
    let limit = match submission.driver() {
        Some(driver) if !submission.is_ready() => {
            driver.wait(timeout)?;
            // Another thread may have polled the device and be about to deliver.
            CALLBACK_TIMEOUT
        }
        _ => timeout,
    };
    if let Some(result) = submission.try_take() {
        return result;
    }
    let (sender, receiver) = mpsc::channel();
    // Fails if the wait has ended.
    submission.notify(move || {
        let _ = sender.send(());
    });
    let arrived =
        if limit == Duration::MAX { receiver.recv().is_ok() } else { receiver.recv_timeout(limit).is_ok() };
    if !arrived {
        return Err(ExecuteError::NotResponding { limit_s: limit.as_secs() });
    }
    submission.try_take().unwrap_or(Err(ExecuteError::Cancelled))
}

/// Submits a batch, waiting while the device is busy.
///
/// # Errors
/// As [`Executor::submit`], without [`ExecuteError::Busy`].
pub fn submit<E: Executor + ?Sized>(executor: &E, inputs: &Inputs) -> Result<Submission, ExecuteError> {
    loop {
        match executor.submit(inputs) {
            Err(ExecuteError::Busy { .. }) => std::thread::sleep(Duration::from_millis(1)),
            outcome => return outcome,
        }
    }
}

/// Blocking calls of every executor.
pub trait Run: Executor {
    /// Runs a batch of any size, in parts if a submission holds fewer clips, and returns the plan's outputs in its
    /// order.
    ///
    /// # Errors
    /// As [`Executor::submit`] and [`wait`].
    fn run(&self, inputs: impl Into<Inputs>) -> Result<Vec<HostTensor>, ExecuteError>;

    /// Runs a batch and returns the time of each step. The device may take fewer clips than given.
    ///
    /// # Errors
    /// As [`Executor::submit_timed`] and [`wait`].
    fn profile(&self, inputs: impl Into<Inputs>) -> Result<Vec<StepTime>, ExecuteError> {
        Ok(wait(self.submit_timed(&inputs.into())?)?.steps)
    }
}

impl<E: Executor + ?Sized> Run for E {
    fn run(&self, inputs: impl Into<Inputs>) -> Result<Vec<HostTensor>, ExecuteError> {
        run(self, &inputs.into())
    }
}

fn run<E: Executor + ?Sized>(executor: &E, inputs: &Inputs) -> Result<Vec<HostTensor>, ExecuteError> {
    let (batch, most) = (inputs.batch(), executor.max_batch().max(1));
    if batch <= most || executor.plan().depends_on_batch() {
        return Ok(wait(submit(executor, inputs)?)?.tensors);
    }
    let mut parts = Vec::new();
    let mut ahead = None;
    for first in (0..batch).step_by(most) {
        let next = submit(executor, &inputs.slice(first..first + most))?;
        if let Some(submission) = ahead.replace(next) {
            parts.push(wait(submission)?.tensors);
        }
    }
    if let Some(submission) = ahead {
        parts.push(wait(submission)?.tensors);
    }
    join(&parts, batch)
}

/// Joins the outputs of parts of a batch.
fn join(parts: &[Vec<HostTensor>], batch: usize) -> Result<Vec<HostTensor>, ExecuteError> {
    let count = parts.first().map_or(0, Vec::len);
    let joined = (0..count).map(|output| {
        let shape = parts[0][output].shape().with_batch(batch);
        let data = parts.iter().filter_map(|part| part.get(output)).flat_map(|part| part.data());
        HostTensor::new(shape, data.copied().collect())
            .map_err(|source| ExecuteError::Output { output: format!("output {output}"), source })
    });
    joined.collect()
}
