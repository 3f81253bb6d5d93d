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
use std::time::Duration;

use budget::Budget;
use part::{Batch, BatchPart, Progress};
use program::{Program, Staging};

use super::layout::{to_stored, weight_bytes};
use super::select::{SelectedKernel, select_kernel};
use super::shader::{Pipeline, Pipelines};
use super::{Gpu, GpuError, failed};
use crate::executor::{
    self, Clock, ExecuteError, Inputs, PlanOutputs, Submission, SystemClock, Times, check_batch,
};
use crate::kernels::{KernelConfig, Kernels, Limits, Packed};
use crate::plan::{Arena, Plan};
use crate::tensor::HostTensor;

mod budget;
mod part;
mod program;

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
    /// Kernels to run; `None` for the device's own ([`Gpu::with_kernels`]).
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
    /// Maximum number of batches in flight; more are [`ExecuteError::Busy`].
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
            in_flight: MAX_IN_FLIGHT,
            clock: Arc::new(SystemClock::default()),
        }
    }
}

/// A plan prepared for a device.
#[derive(Debug)]
pub struct Executor {
    gpu: Gpu,
    /// The plan for the largest batch.
    plan: Plan,
    arena: Arena,
    options: Options,
    pipelines: Vec<Pipeline>,
    weights: Vec<Vec<wgpu::Buffer>>,
    slots: Vec<wgpu::Buffer>,
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
    pub fn new(gpu: &Gpu, plan: &Plan, options: &Options) -> Result<Executor, GpuError> {
        let f16 = plan.tensors().iter().any(|tensor| tensor.dtype == crate::tensor::DType::F16);
        if f16 && !gpu.summary().limits.f16 {
            return Err(GpuError::MissingFeature {
                adapter: gpu.summary().name.clone(),
                feature: "16-bit floats in shaders",
                advice: "use f32",
            });
        }
        let max_batch = largest_batch(gpu, plan, options)?;
        let plan = plan.with_batch(max_batch);
        let arena = Arena::new(&plan);
        let mut cache = Pipelines::default();
        let (mut pipelines, mut weights) = (Vec::new(), Vec::new());
        for step in plan.steps() {
            let chosen = select_kernel(gpu, &plan, step, options)?;
            let (packed, trusted) = chosen.packed(&plan, step, options);
            pipelines.push(cache.get(gpu, &chosen, trusted)?);
            weights.push(upload_weights(gpu, &packed, &chosen)?);
        }
        if let Some(cache) = &gpu.cache {
            cache.save();
        }
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        let slots = arena.slot_bytes().iter().map(|&bytes| gpu.buffer("activations", bytes, usage));
        let slots = slots.collect::<Result<_, _>>()?;
        let limits = options.limits.as_ref().unwrap_or(&gpu.summary().limits);
        let limited = !limits.software && !plan.depends_on_batch();
        Ok(Executor {
            gpu: gpu.clone(),
            arena,
            options: options.clone(),
            pipelines,
            weights,
            slots,
            programs: Mutex::default(),
            progress: Arc::new(Progress::new(
                options.clock.clone(),
                Budget::new(limited.then_some(options.submission)),
            )),
            plan,
        })
    }

    /// The device.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Number of clips of the next submission when `rest` are left.
    fn part(&self, rest: usize) -> usize {
        self.progress.budget.clips().unwrap_or(rest).min(self.plan.batch()).min(rest)
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
        let timeout = self.options.timeout.unwrap_or_else(|| self.gpu.default_timeout(clips));
        self.gpu.check_responding(timeout)?;
        let slot = self.progress.enter(self.options.in_flight)?;
        let shapes =
            self.plan.outputs().iter().map(|(_, id)| self.plan.tensors()[*id].shape.with_batch(clips));
        let batch = Arc::new(Batch::new(shapes.collect(), sizes.len(), slot));
        let mut first = inputs.first();
        let mut last = None;
        for (index, &size) in sizes.iter().enumerate() {
            last = Some(self.submit_part(inputs.tensors(), first, size, is_timed, (batch.clone(), index))?);
            first += size;
        }
        let driver = last.map(|index| Arc::new(self.gpu.driver(index)) as Arc<dyn executor::Driver>);
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
                let program = Arc::new(Program::new(self, clips)?);
                programs.insert(clips, program.clone());
                program
            }
        };
        let staging = match program.free_staging(is_timed) {
            Some(staging) => staging,
            None => Staging::new(&self.gpu, &program, is_timed)?,
        };
        let failed = |error: wgpu::Error| match error {
            wgpu::Error::OutOfMemory { .. } => {
                ExecuteError::OutOfMemory { what: "a batch", bytes: program.output_bytes }
            }
            error => ExecuteError::Failed { reason: error.to_string() },
        };
        upload(&program, &staging, inputs, first)?;
        let submitted = self.gpu.scoped(|| {
            let index = program.submit(&self.gpu, &self.slots, &staging);
            BatchPart::new(self.gpu.clone(), self.progress.clone(), program.clone(), staging, batch).map();
            index
        });
        submitted.map_err(failed)
    }
}

impl executor::Executor for Executor {
    fn device(&self) -> &str {
        &self.gpu.summary().name
    }

    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn max_batch(&self) -> usize {
        self.plan.batch()
    }

    fn in_flight(&self) -> usize {
        2
    }

    fn submit(&self, inputs: &Inputs) -> Result<Submission, ExecuteError> {
        check_batch(self, inputs)?;
        self.submit_parts(
            inputs,
            &self.sizes(inputs.batch()),
            self.options.timed && self.gpu.summary().timestamps,
        )
    }

    fn submit_timed(&self, inputs: &Inputs) -> Result<Submission, ExecuteError> {
        inputs.check(&self.plan)?;
        if !self.gpu.summary().timestamps {
            let device = self.gpu.summary().name.clone();
            return Err(ExecuteError::Unsupported { device, what: "timestamps inside compute passes" });
        }
        match self.part(inputs.batch()) {
            0 => Ok(Submission::ready(Ok(PlanOutputs::default()))),
            clips => self.submit_parts(inputs, &[clips], true),
        }
    }

    fn device_bytes(&self) -> u64 {
        self.slots.iter().chain(self.weights.iter().flatten()).map(wgpu::Buffer::size).sum()
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

/// Bytes that one thread copies to mapped memory, which one thread alone fills at a few GB/s.
const COPIED: usize = 256 << 10;

/// Copies to mapped memory of the same length, long arrays with several threads.
fn copy(from: &[u8], to: wgpu::WriteOnly<'_, [u8]>) {
    let (parts, mut rest) = to.into_chunks::<COPIED>();
    let from = from.chunks_exact(COPIED);
    rest.copy_from_slice(from.remainder());
    rayon::in_place_scope(|scope| {
        for (from, part) in from.zip(parts) {
            scope.spawn(move |_| wgpu::WriteOnly::<[u8]>::from(part).copy_from_slice(from));
        }
    });
}

pub(super) fn binding(buffer: &wgpu::Buffer, offset: u64, bytes: u64) -> wgpu::BindingResource<'_> {
    wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size: wgpu::BufferSize::new(bytes) })
}

pub(super) fn upload_weights(
    gpu: &Gpu,
    packed: &[Packed],
    chosen: &SelectedKernel,
) -> Result<Vec<wgpu::Buffer>, GpuError> {
    let buffers = packed.iter().map(|array| {
        let bytes = weight_bytes(array, chosen.dispatch.element);
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
        let buffer = gpu.buffer("weights", bytes.len() as u64, usage)?;
        gpu.scoped(|| gpu.queue.write_buffer(&buffer, 0, &bytes)).map_err(failed)?;
        Ok(buffer)
    });
    buffers.collect()
}

/// The largest batch up to `options.max_batch` whose tensors the device can bind.
fn largest_batch(gpu: &Gpu, plan: &Plan, options: &Options) -> Result<usize, GpuError> {
    let fits = |batch: usize| {
        let plan = plan.with_batch(batch);
        plan.steps().iter().try_for_each(|step| select_kernel(gpu, &plan, step, options).map(drop))
    };
    fits(1)?;
    let (mut good, mut bad) = (1, options.max_batch.max(1) + 1);
    while good + 1 < bad {
        let middle = good + (bad - good) / 2;
        if fits(middle).is_ok() { good = middle } else { bad = middle }
    }
    Ok(good)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::Executor as _;
    use crate::executor::blocking::{self, Run};
    use crate::kernels::{Conv2d, Op};
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
        let shared = Gpu::from_device(gpu.device.clone(), gpu.queue.clone());
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
