//! Runs a plan on a device: one upload, one compute pass, one readback per batch.
//!
//! Weights and pipelines are made once per executor; parameters and bind groups once per batch size; after that a batch
//! creates no GPU object. Nothing here waits for the device: outputs are delivered by the callback of their readback.
//!
//! The next batch is uploaded and queued while another computes. Each batch in flight has its own staging buffers;
//! activations are shared, since a queue runs batches in the order of their submission. A batch that would occupy the
//! device for too long is split into several submissions ([`Options::submission`]).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use budget::Budget;
use part::{Batch, BatchPart, Progress};
use program::Staging;

use super::layout::to_stored;
use super::options::Options;
use super::{Context, GpuError};
use crate::executor::{self, ExecuteError, Inputs, PlanOutputs, Submission, Times, check_batch};
use crate::plan::Plan;
use crate::tensor::HostTensor;
pub(super) use prepared::DevicePlan;
pub(super) use program::Program;

mod budget;
mod part;
mod prepared;
mod program;

/// A plan prepared for a device.
#[derive(Debug)]
pub struct Executor {
    prepared: DevicePlan,
    /// Locked while a batch is recorded: the slots are shared by all batch sizes.
    programs: Mutex<HashMap<usize, Arc<Program>>>,
    progress: Arc<Progress>,
}

impl Executor {
    /// Compiles the kernels of `plan` and uploads its weights.
    ///
    /// # Errors
    /// [`GpuError::Dispatch`] when not even one clip fits the device, [`GpuError::MissingFeature`] for an f16
    /// plan on a device without f16, [`GpuError::Execute`], [`GpuError::Shader`].
    pub fn new(gpu: &Context, plan: &Plan, options: &Options) -> Result<Executor, GpuError> {
        let prepared = DevicePlan::new(gpu, plan, options)?;
        let limits = options.limits.as_ref().unwrap_or(&gpu.summary().limits);
        let limited = !limits.software && !prepared.plan.depends_on_batch();
        Ok(Executor {
            prepared,
            programs: Mutex::default(),
            progress: Arc::new(Progress::new(
                options.clock.clone(),
                Budget::new(limited.then_some(options.submission)),
            )),
        })
    }

    /// The device.
    pub fn gpu(&self) -> &Context {
        &self.prepared.gpu
    }

    /// Number of clips of the next submission when `rest` are left.
    fn part(&self, rest: usize) -> usize {
        self.progress.budget.clips().unwrap_or(rest).min(self.prepared.plan.batch()).min(rest)
    }

    /// Numbers of clips of the submissions of a batch.
    fn sizes(&self, batch: usize) -> Vec<usize> {
        let mut sizes = Vec::new();
        let mut rest = batch;
        while rest > 0 {
            let size = self.part(rest).max(1);
            sizes.push(size);
            rest -= size;
        }
        sizes
    }

    /// Submits a batch, in parts if it would occupy the device for too long.
    fn submit_parts(
        &self,
        inputs: &Inputs,
        sizes: &[usize],
        is_timed: bool,
    ) -> Result<Submission, ExecuteError> {
        let clips: usize = sizes.iter().sum();
        let timeout =
            self.prepared.options.timeout.unwrap_or_else(|| self.prepared.gpu.default_timeout(clips));
        self.prepared.gpu.check_responding(timeout)?;
        let slot = self.progress.enter(self.prepared.options.in_flight)?;
        let shapes = self
            .prepared
            .plan
            .outputs()
            .iter()
            .map(|(_, id)| self.prepared.plan.tensors()[*id].shape.with_batch(clips));
        let batch = Arc::new(Batch::new(shapes.collect(), sizes.len(), slot));
        let mut first = inputs.first();
        let mut last = None;
        for (index, &size) in sizes.iter().enumerate() {
            last = Some(self.submit_part(inputs.tensors(), first, size, is_timed, (batch.clone(), index))?);
            first += size;
        }
        let driver = last.map(|index| Arc::new(self.prepared.gpu.driver(index)) as Arc<dyn executor::Driver>);
        let (submission, promise) = Submission::new(driver, timeout);
        batch.promise(promise);
        Ok(submission)
    }

    /// Queues clips `first..first + clips` of the inputs.
    fn submit_part(
        &self,
        inputs: &[HostTensor],
        first: usize,
        clips: usize,
        is_timed: bool,
        batch: (Arc<Batch>, usize),
    ) -> Result<wgpu::SubmissionIndex, ExecuteError> {
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        let program = match programs.get(&clips) {
            Some(program) => program.clone(),
            None => {
                let program = Arc::new(Program::new(&self.prepared, clips)?);
                programs.insert(clips, program.clone());
                program
            }
        };
        let staging = match program.free_staging(is_timed) {
            Some(staging) => staging,
            None => Staging::new(&self.prepared.gpu, &program, is_timed)?,
        };
        let failed = |error: wgpu::Error| match error {
            wgpu::Error::OutOfMemory { .. } => {
                ExecuteError::OutOfMemory { what: "a batch", bytes: program.output_bytes }
            }
            error => ExecuteError::Failed { reason: error.to_string() },
        };
        upload(&program, &staging, inputs, first)?;
        let submitted = self.prepared.gpu.scoped(|| {
            let index = program.submit(&self.prepared.gpu, &self.prepared.slots, &staging);
            BatchPart::new(self.prepared.gpu.clone(), self.progress.clone(), program.clone(), staging, batch)
                .map();
            index
        });
        submitted.map_err(failed)
    }
}

impl executor::Executor for Executor {
    fn device(&self) -> &str {
        &self.prepared.gpu.summary().name
    }

    fn plan(&self) -> &Plan {
        &self.prepared.plan
    }

    fn max_batch(&self) -> usize {
        self.prepared.plan.batch()
    }

    fn in_flight(&self) -> usize {
        2
    }

    fn submit(&self, inputs: &Inputs) -> Result<Submission, ExecuteError> {
        check_batch(self, inputs)?;
        self.submit_parts(
            inputs,
            &self.sizes(inputs.batch()),
            self.prepared.options.timed && self.prepared.gpu.summary().timestamps,
        )
    }

    fn submit_timed(&self, inputs: &Inputs) -> Result<Submission, ExecuteError> {
        inputs.check(&self.prepared.plan)?;
        if !self.prepared.gpu.summary().timestamps {
            let device = self.prepared.gpu.summary().name.clone();
            return Err(ExecuteError::Unsupported { device, what: "timestamps inside compute passes" });
        }
        match self.part(inputs.batch()) {
            0 => Ok(Submission::ready(Ok(PlanOutputs::default()))),
            clips => self.submit_parts(inputs, &[clips], true),
        }
    }

    fn device_bytes(&self) -> u64 {
        self.prepared.slots.iter().chain(self.prepared.weights.iter().flatten()).map(wgpu::Buffer::size).sum()
    }

    fn times(&self) -> Times {
        self.progress.times()
    }
}

/// Writes clips `first..` of the inputs to their staging buffers, as the device stores them.
fn upload(
    program: &Program,
    staging: &Staging,
    inputs: &[HostTensor],
    first: usize,
) -> Result<(), ExecuteError> {
    for ((input, &id), buffer) in inputs.iter().zip(program.plan.inputs()).zip(&staging.inputs) {
        let tensor = &program.plan.tensors()[id];
        let row = input.shape().len() / input.shape().extent(0);
        let data = &input.data()[first * row..][..tensor.shape.len()];
        {
            let view = buffer.get_mapped_range_mut(..);
            let mut view = view.map_err(|error| ExecuteError::Failed { reason: error.to_string() })?;
            let stored = to_stored(tensor.shape, tensor.dtype, data);
            copy(&stored, view.slice(..stored.len()));
        }
        buffer.unmap();
    }
    Ok(())
}

/// Copies to mapped memory of the same length; in parallel, because one thread fills mapped memory at a few GB/s.
#[cfg(feature = "gpu")]
fn copy(from: &[u8], to: wgpu::WriteOnly<'_, [u8]>) {
    /// Number of bytes of a task.
    const TASK_BYTES: usize = 256 << 10;
    let (parts, mut rest) = to.into_chunks::<TASK_BYTES>();
    let from = from.chunks_exact(TASK_BYTES);
    rest.copy_from_slice(from.remainder());
    rayon::in_place_scope(|scope| {
        for (from, part) in from.zip(parts) {
            scope.spawn(move |_| wgpu::WriteOnly::<[u8]>::from(part).copy_from_slice(from));
        }
    });
}

/// Copies to mapped memory of the same length; browsers have no threads for it.
#[cfg(not(feature = "gpu"))]
fn copy(from: &[u8], mut to: wgpu::WriteOnly<'_, [u8]>) {
    to.copy_from_slice(from);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::executor::Executor as _;
    use crate::executor::blocking::{self, Run};
    use crate::kernels::{Conv2d, Limits, Op};
    use crate::plan::Builder;
    use crate::tensor::Shape;

    fn filled(extents: &[usize]) -> HostTensor {
        HostTensor::from_fn(Shape::new(extents), |i| (i * 97 % 251) as f32 / 125.5 - 1.0)
    }

    fn one_convolution() -> Plan {
        let mut builder = Builder::new();
        let x = builder.input("x", [1, 4, 6, 7]);
        let weights = vec![filled(&[8, 4, 3, 3]), filled(&[8])];
        let y = builder.step("conv", Op::Conv2d(Conv2d::default()), &[x], weights).unwrap();
        builder.output("y", y);
        builder.finish()
    }

    /// Timed and untimed submissions take turns, and both give the same.
    #[test]
    fn kernels_are_timed_where_that_is_asked_for() {
        let Some(gpu) = crate::gpu::adapter() else { return };
        let plan = one_convolution();
        let input = [filled(&[3, 4, 6, 7])];
        let untimed = Executor::new(&gpu, &plan, &Options::default()).unwrap();
        let timed = Executor::new(&gpu, &plan, &Options { timed: true, ..Options::default() }).unwrap();
        let expected = untimed.run(&input).unwrap();
        assert!(untimed.times().kernels.is_empty());
        for round in 1..4 {
            assert_eq!(timed.run(&input).unwrap(), expected);
            let kernels = timed.times().kernels;
            assert_eq!(kernels.len(), usize::from(gpu.summary().timestamps));
            if gpu.summary().timestamps {
                let steps = untimed.profile(&input).unwrap();
                assert_eq!(*kernels.first_key_value().unwrap().0, steps[0].kernel, "round {round}");
            }
        }
        assert!(timed.times().readback > Duration::ZERO);
    }

    /// A batch that may not keep the device goes clip by clip, and nothing of it is lost or mixed up.
    #[test]
    fn submissions_keep_their_time() {
        let Some(gpu) = crate::gpu::adapter() else { return };
        let plan = one_convolution();
        let input = [filled(&[5, 4, 6, 7])];
        let limits = Some(Limits { software: false, ..gpu.summary().limits.clone() });
        let run = |submission: Duration| {
            let options = Options { submission, limits: limits.clone(), ..Options::default() };
            let executor = Executor::new(&gpu, &plan, &options).unwrap();
            let inputs = Inputs::from(&input);
            // Before anything was measured, each clip is a submission.
            assert_eq!(executor.sizes(5), [1; 5]);
            let submitted = blocking::wait(executor.submit(&inputs).unwrap()).unwrap().tensors;
            assert_eq!(submitted, executor.run(&inputs).unwrap());
            (executor.sizes(5), submitted)
        };
        let (few, expected) = run(Duration::from_secs(3600));
        let (many, found) = run(Duration::from_nanos(1));
        assert_eq!((few, many), (vec![5], vec![1; 5]));
        assert_eq!(found, expected);
    }

    /// Callbacks and futures complete without a caller that polls, and dropped batches free their buffers.
    #[test]
    fn submissions_complete_in_the_background() {
        let Some(gpu) = crate::gpu::adapter() else { return };
        let plan = one_convolution();
        let input = Inputs::from(&[filled(&[3, 4, 6, 7])]);
        let executor = Executor::new(&gpu, &plan, &Options::default()).unwrap();
        let expected = executor.run(&input).unwrap();
        let outputs = pollster::block_on(executor.submit(&input).unwrap()).unwrap();
        assert_eq!(outputs.tensors, expected);
        let (sender, receiver) = std::sync::mpsc::channel();
        let submission = executor.submit(&input).unwrap();
        submission.on_ready(move || sender.send(()).unwrap());
        receiver.recv_timeout(Duration::from_secs(60)).unwrap();
        drop(submission);
        for _ in 0..3 {
            drop(executor.submit(&input).unwrap());
        }
        assert_eq!(executor.run(&input).unwrap(), expected);
    }

    /// Polling from a loop, as a game does, is enough.
    #[test]
    fn submissions_can_be_asked() {
        let Some(gpu) = crate::gpu::adapter() else { return };
        let plan = one_convolution();
        let input = Inputs::from(&[filled(&[3, 4, 6, 7])]);
        // A device of the caller.
        let shared = Context::from_device(gpu.device.clone(), gpu.queue.clone());
        let executor = Executor::new(&shared, &plan, &Options::default()).unwrap();
        let mut submission = executor.submit(&input).unwrap();
        let start = std::time::Instant::now();
        let result = loop {
            if let Some(result) = submission.try_take() {
                break result;
            }
            gpu.device.poll(wgpu::PollType::Poll).unwrap();
            assert!(start.elapsed() < Duration::from_secs(60));
        };
        assert_eq!(result.unwrap().tensors, executor.run(&input).unwrap());
    }

    #[test]
    fn too_many_batches_are_busy() {
        let Some(gpu) = crate::gpu::adapter() else { return };
        let plan = one_convolution();
        let input = Inputs::from(&[filled(&[1, 4, 6, 7])]);
        let options = Options { in_flight: 2, ..Options::default() };
        let executor = Executor::new(&gpu, &plan, &options).unwrap();
        let guards: Vec<_> = (0..2).map(|_| executor.progress.enter(2).unwrap()).collect();
        assert!(matches!(executor.submit(&input), Err(ExecuteError::Busy { in_flight: 2 })));
        drop(guards);
        blocking::wait(executor.submit(&input).unwrap()).unwrap();
    }

    /// No time at all stands for a driver that never answers.
    #[test]
    fn a_device_that_does_not_answer_is_given_up() {
        let Some(gpu) = crate::gpu::adapter() else { return };
        let plan = one_convolution();
        let input = [filled(&[64, 4, 6, 7])];
        let options = Options { max_batch: 64, timeout: Some(Duration::ZERO), ..Options::default() };
        let executor = Executor::new(&gpu, &plan, &options).unwrap();
        let start = std::time::Instant::now();
        let error = executor.run(&input).unwrap_err();
        assert!(matches!(error, ExecuteError::NotResponding { limit_s: 0 }), "{error}");
        // Nothing is queued or waited for any more, whatever the limit.
        let patient = Executor::new(&gpu, &plan, &Options::default()).unwrap();
        for executor in [&executor, &patient] {
            let error = executor.run(&input).unwrap_err();
            assert!(matches!(error, ExecuteError::NotResponding { .. }), "{error}");
            assert!(executor.submit(&Inputs::from(&input)).is_err());
        }
        assert!(start.elapsed() < Duration::from_secs(60));
    }
}
