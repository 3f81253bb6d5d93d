//! Runs a plan on a device: one upload, one compute pass, one readback per batch.
//!
//! Weights and pipelines are made once per executor; parameters and bind groups once per batch size; then a
//! batch creates no GPU object. A batch that is too large for the device's bindings runs in parts.
//!
//! [`Executor::submit`] hands a batch over without waiting and [`Executor::collect`] waits for one, so that the
//! next batch is uploaded and queued while this one computes. Each batch in flight has staging buffers of its
//! own out of a ring; activations are shared, since the device takes batches in the order of their submission.
//! A batch that would keep the device too long goes in several submissions ([`Options::submission`]).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use budget::Budget;
use program::{Program, Staging};

use super::layout::{from_stored, to_stored, weight_bytes};
use super::select::{SelectedKernel, select_kernel};
use super::shader::{Pipeline, Pipelines};
use super::timing::StepTime;
use super::{Gpu, GpuError};
use crate::kernels::{KernelConfig, Kernels, Limits, Operation, Packed};
use crate::plan::{Arena, Plan};
use crate::tensor::HostTensor;

mod budget;
mod program;

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
        }
    }
}

/// Times of an executor since it was made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Times {
    /// Time of each kernel on the device, by its name; empty unless [`Options::timed`].
    pub kernels: BTreeMap<&'static str, Duration>,
    /// Reading outputs back, once the device was done.
    pub readback: Duration,
}

/// Timeout for the `map_async` callback after a submission has completed.
pub(super) const MAPPING: Duration = Duration::from_secs(10);

/// A plan made ready on a device.
#[derive(Debug)]
pub struct Executor {
    gpu: Gpu,
    plan: Plan,
    arena: Arena,
    options: Options,
    max_batch: usize,
    pipelines: Vec<Pipeline>,
    weights: Vec<Vec<wgpu::Buffer>>,
    slots: Vec<wgpu::Buffer>,
    /// Locked while a batch is recorded: the slots are shared by all batch sizes.
    programs: Mutex<HashMap<usize, Arc<Program>>>,
    budget: Budget,
    /// End of the last submission that was waited for.
    idle: Mutex<Option<Instant>>,
    times: Mutex<Times>,
}

/// A submitted batch.
#[derive(Debug)]
pub struct SubmittedBatch {
    batch: usize,
    /// Outputs of the parts that had to be waited for.
    done: Vec<Vec<f32>>,
    pending: Vec<Pending>,
}

/// A submission that was not waited for yet.
#[derive(Debug)]
struct Pending {
    program: Arc<Program>,
    staging: Staging,
    submission: wgpu::SubmissionIndex,
    mapped: Mapped,
    /// Of the inputs, which the next batch writes.
    writable: Vec<Mapped>,
    /// Of the timestamps, where there are any.
    stamped: Option<Mapped>,
    began: Instant,
}

/// Results of a submission.
struct Ended {
    /// In host order.
    outputs: Vec<Vec<f32>>,
    /// Time of each step; none without timestamps.
    steps: Vec<Duration>,
}

/// Receives the result of `map_async`.
type Mapped = mpsc::Receiver<Result<(), wgpu::BufferAsyncError>>;

impl Executor {
    /// Compiles the kernels of `plan` and uploads its weights.
    ///
    /// # Errors
    /// [`GpuError::Dispatch`] when not even one clip fits the device, [`GpuError::MissingFeature`] for an f16
    /// plan on a device without f16, [`GpuError::OutOfMemory`], [`GpuError::Shader`].
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
            max_batch,
            pipelines,
            weights,
            slots,
            programs: Mutex::default(),
            budget: Budget::new(limited.then_some(options.submission)),
            idle: Mutex::default(),
            times: Mutex::default(),
            plan,
        })
    }

    /// Most clips that run as one batch; more run in parts.
    pub fn max_batch(&self) -> usize {
        self.max_batch
    }

    /// The device.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// The plan, for batches of [`Executor::max_batch`].
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Bytes of activations and weights on the device.
    pub fn device_bytes(&self) -> u64 {
        self.slots.iter().chain(self.weights.iter().flatten()).map(wgpu::Buffer::size).sum()
    }

    /// Returns the times since the executor was made.
    pub fn times(&self) -> Times {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs `inputs`, all with the same batch, and returns the plan's outputs in its order.
    ///
    /// # Errors
    /// [`GpuError::Input`] for inputs that are not the plan's, [`GpuError::DependentBatch`] for a batch that may
    /// not be cut and is too large, [`GpuError::OutOfMemory`], [`GpuError::NotResponding`] and
    /// [`GpuError::Failed`] from the device.
    pub fn run(&self, inputs: &[HostTensor]) -> Result<Vec<HostTensor>, GpuError> {
        let batch = inputs.first().map_or(0, |input| input.shape().extent(0));
        self.plan.with_batch(batch).check_inputs(inputs)?;
        if batch > self.max_batch && self.plan.depends_on_batch() {
            return Err(GpuError::DependentBatch { batch, most: self.max_batch });
        }
        let mut outputs: Vec<Vec<f32>> = vec![Vec::new(); self.plan.outputs().len()];
        let (mut first, mut ahead) = (0, None);
        while first < batch {
            let clips = self.part(batch - first);
            let next = self.begin(inputs, first, clips, self.is_timed())?;
            if let Some(pending) = ahead.replace(next) {
                append(&mut outputs, self.end(pending)?.outputs);
            }
            first += clips;
        }
        if let Some(pending) = ahead {
            append(&mut outputs, self.end(pending)?.outputs);
        }
        self.tensors(batch, outputs)
    }

    /// Submits `inputs`, at most [`Executor::max_batch`] clips, without waiting.
    ///
    /// # Errors
    /// As [`Executor::run`]; [`GpuError::DependentBatch`] for any batch that is too large.
    pub fn submit(&self, inputs: &[HostTensor]) -> Result<SubmittedBatch, GpuError> {
        let batch = inputs.first().map_or(0, |input| input.shape().extent(0));
        self.plan.with_batch(batch).check_inputs(inputs)?;
        if batch > self.max_batch {
            return Err(GpuError::DependentBatch { batch, most: self.max_batch });
        }
        let mut in_flight =
            SubmittedBatch { batch, done: vec![Vec::new(); self.plan.outputs().len()], pending: Vec::new() };
        let mut first = 0;
        while first < batch {
            // The first clip of all says how many more may follow at once.
            let blind = self.budget.is_blind();
            let clips = self.part(batch - first);
            let pending = self.begin(inputs, first, clips, self.is_timed())?;
            if blind {
                append(&mut in_flight.done, self.end(pending)?.outputs)
            } else {
                in_flight.pending.push(pending)
            }
            first += clips;
        }
        Ok(in_flight)
    }

    /// Waits for a batch and returns the plan's outputs in its order.
    ///
    /// # Errors
    /// [`GpuError::Failed`] and [`GpuError::NotResponding`] from the device.
    pub fn collect(&self, in_flight: SubmittedBatch) -> Result<Vec<HostTensor>, GpuError> {
        let SubmittedBatch { batch, mut done, pending } = in_flight;
        for pending in pending {
            append(&mut done, self.end(pending)?.outputs);
        }
        self.tensors(batch, done)
    }

    /// Clips of the next submission when `rest` are left.
    fn part(&self, rest: usize) -> usize {
        self.budget.clips().unwrap_or(rest).min(self.max_batch).min(rest)
    }

    fn tensors(&self, batch: usize, outputs: Vec<Vec<f32>>) -> Result<Vec<HostTensor>, GpuError> {
        let shapes =
            self.plan.outputs().iter().map(|(_, id)| self.plan.tensors()[*id].shape.with_batch(batch));
        let tensors = shapes.zip(outputs).map(|(shape, data)| HostTensor::new(shape, data));
        tensors.collect::<Result<_, _>>().map_err(|error| GpuError::Failed { reason: error.to_string() })
    }

    /// Runs one submission, as many of the inputs as it may hold, and says how long each step took.
    ///
    /// # Errors
    /// As [`Executor::run`], and [`GpuError::MissingFeature`] where the device has no timestamps.
    pub fn profile(&self, inputs: &[HostTensor]) -> Result<Vec<StepTime>, GpuError> {
        let given = inputs.first().map_or(0, |input| input.shape().extent(0));
        self.plan.with_batch(given).check_inputs(inputs)?;
        let batch = self.part(given);
        if batch == 0 {
            return Ok(Vec::new());
        }
        let pending = self.begin(inputs, 0, batch, true)?;
        let times = self.end(pending)?.steps;
        let plan = self.plan.with_batch(batch);
        let steps = plan.steps().iter().zip(times).map(|(step, time)| {
            let shapes = plan.shapes(step);
            let call = plan.call(step, &shapes);
            let kernel = select_kernel(&self.gpu, &plan, step, &self.options)?.dispatch.kernel.name;
            Ok(StepTime { step: step.name.clone(), kernel, time, flops: step.op.flops(&call) })
        });
        steps.collect()
    }

    fn is_timed(&self) -> bool {
        self.options.timed && self.gpu.summary().timestamps
    }

    /// Queues clips `first..first + clips` of the inputs.
    fn begin(
        &self,
        inputs: &[HostTensor],
        first: usize,
        clips: usize,
        timed: bool,
    ) -> Result<Pending, GpuError> {
        self.gpu.check_responding(self.timeout(clips))?;
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        let program = match programs.get(&clips) {
            Some(program) => program.clone(),
            None => {
                let program = Arc::new(Program::new(self, clips)?);
                programs.insert(clips, program.clone());
                program
            }
        };
        let staging = match program.free_staging(timed) {
            Some(staging) => staging,
            None => Staging::new(&self.gpu, &program, timed)?,
        };
        let failed = |error: wgpu::Error| match error {
            wgpu::Error::OutOfMemory { .. } => {
                GpuError::OutOfMemory { what: "a batch", bytes: program.output_bytes }
            }
            error => GpuError::Failed { reason: error.to_string() },
        };
        let began = Instant::now();
        upload(&program, &staging, inputs, first)?;
        let pending = self.gpu.scoped(|| {
            let submission = self.record(&program, &staging);
            let read = |buffer| map(buffer, wgpu::MapMode::Read);
            let stamped = staging.timestamps.as_ref().map(|timestamps| read(&timestamps.readback));
            let mapped = read(&staging.outputs);
            let writable = staging.inputs.iter().map(|buffer| map(buffer, wgpu::MapMode::Write)).collect();
            Pending { program: program.clone(), staging, submission, mapped, writable, stamped, began }
        });
        pending.map_err(failed)
    }

    /// Waits for a submission.
    fn end(&self, pending: Pending) -> Result<Ended, GpuError> {
        let Pending { program, staging, submission, mapped, writable, stamped, began } = pending;
        self.gpu.wait(Some(submission), self.timeout(program.batch))?;
        let now = Instant::now();
        let before = self.idle.lock().unwrap_or_else(PoisonError::into_inner).replace(now);
        self.budget.record(program.batch, now - before.map_or(began, |before| before.max(began)));
        let outputs = read(&staging.outputs, &mapped, |bytes| {
            let outputs = program.outputs.iter().zip(program.plan.outputs());
            outputs
                .map(|(&(_, size, place), (_, id))| {
                    let tensor = &program.plan.tensors()[*id];
                    from_stored(tensor.shape, tensor.dtype, &bytes[place as usize..(place + size) as usize])
                })
                .collect()
        })?;
        let readback_time = now.elapsed();
        let steps = match (&staging.timestamps, stamped) {
            (Some(timestamps), Some(stamped)) => {
                read(&timestamps.readback, &stamped, |bytes| timestamps.times(&self.gpu, bytes))?
            }
            _ => Vec::new(),
        };
        {
            let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
            times.readback += readback_time;
            for (run, time) in program.runs.iter().zip(&steps) {
                *times.kernels.entry(run.kernel).or_default() += *time;
            }
        }
        // Staging that cannot be written again is dropped; the next batch makes its own.
        if writable.iter().all(|mapped| matches!(mapped.recv_timeout(MAPPING), Ok(Ok(())))) {
            program.give_back(staging);
        }
        Ok(Ended { outputs, steps })
    }

    /// Submits one command buffer: the inputs' copies, one compute pass, the outputs' copies.
    fn record(&self, program: &Program, staging: &Staging) -> wgpu::SubmissionIndex {
        let timestamps = staging.timestamps.as_ref();
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        for (&(slot, bytes), buffer) in program.inputs.iter().zip(&staging.inputs) {
            if let Some(slot) = slot {
                encoder.copy_buffer_to_buffer(buffer, 0, &self.slots[slot], 0, bytes);
            }
        }
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            if let Some(timestamps) = timestamps {
                pass.write_timestamp(&timestamps.queries, 0);
            }
            for (index, run) in program.runs.iter().enumerate() {
                pass.set_pipeline(&run.pipeline);
                pass.set_bind_group(0, &run.bind_group, &[]);
                pass.dispatch_workgroups(run.workgroups[0], run.workgroups[1], run.workgroups[2]);
                if let Some(timestamps) = timestamps {
                    pass.write_timestamp(&timestamps.queries, index as u32 + 1);
                }
            }
        }
        for &(slot, size, place) in &program.outputs {
            encoder.copy_buffer_to_buffer(&self.slots[slot], 0, &staging.outputs, place, size);
        }
        if let Some(timestamps) = timestamps {
            timestamps.resolve(&mut encoder);
        }
        self.gpu.queue.submit([encoder.finish()])
    }

    /// Time limit of a wait for a submission of `clips` clips.
    fn timeout(&self, clips: usize) -> Duration {
        self.options.timeout.unwrap_or_else(|| self.gpu.default_timeout(clips))
    }
}

/// Writes clips `first..` of the inputs to their staging buffers, as the device stores them.
fn upload(program: &Program, staging: &Staging, inputs: &[HostTensor], first: usize) -> Result<(), GpuError> {
    for ((input, &id), buffer) in inputs.iter().zip(program.plan.inputs()).zip(&staging.inputs) {
        let tensor = &program.plan.tensors()[id];
        let row = input.shape().len() / input.shape().extent(0);
        let data = &input.data()[first * row..][..tensor.shape.len()];
        {
            let view = buffer.get_mapped_range_mut(..);
            let mut view = view.map_err(|error| GpuError::Failed { reason: error.to_string() })?;
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

/// Reads a buffer that is being mapped and whose submission has ended.
fn read<T>(buffer: &wgpu::Buffer, mapped: &Mapped, read: impl FnOnce(&[u8]) -> T) -> Result<T, GpuError> {
    let failed = |reason: String| GpuError::Failed { reason };
    // Another thread may have polled and be about to say so.
    mapped
        .recv_timeout(MAPPING)
        .map_err(|_| failed("the device was lost".into()))?
        .map_err(|error| failed(error.to_string()))?;
    let value = {
        let bytes = buffer.get_mapped_range(..).map_err(|error| failed(error.to_string()))?;
        read(&bytes)
    };
    buffer.unmap();
    Ok(value)
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
        let failed = |error: wgpu::Error| GpuError::Failed { reason: error.to_string() };
        gpu.scoped(|| gpu.queue.write_buffer(&buffer, 0, &bytes)).map_err(failed)?;
        Ok(buffer)
    });
    buffers.collect()
}

/// Adds a part's outputs to those before it.
fn append(outputs: &mut [Vec<f32>], part: Vec<Vec<f32>>) {
    outputs.iter_mut().zip(part).for_each(|(all, part)| all.extend(part));
}

/// Asks for a buffer to become readable or writable.
fn map(buffer: &wgpu::Buffer, mode: wgpu::MapMode) -> Mapped {
    let (sender, receiver) = mpsc::channel();
    buffer.map_async(mode, .., move |result| {
        // A receiver that has given up need not be told.
        let _ = sender.send(result);
    });
    receiver
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
            let in_flight = executor.submit(&input).unwrap();
            let submissions = in_flight.pending.len();
            let submitted = executor.collect(in_flight).unwrap();
            assert_eq!(submitted, executor.run(&input).unwrap());
            (submissions, submitted)
        };
        let (few, expected) = run(Duration::from_secs(3600));
        let (many, found) = run(Duration::from_nanos(1));
        // The first clip was waited for; what is left goes at once, or one by one.
        assert_eq!((few, many), (1, 4));
        assert_eq!(found, expected);
    }

    /// No time at all stands for a driver that never answers.
    #[test]
    fn a_device_that_does_not_answer_is_given_up() {
        let Some(gpu) = crate::gpu::adapter() else { return };
        let plan = one_convolution();
        let input = [filled(&[64, 4, 6, 7])];
        let options = Options { max_batch: 64, timeout: Some(Duration::ZERO), ..Options::default() };
        let executor = Executor::new(&gpu, &plan, &options).unwrap();
        let start = Instant::now();
        let error = executor.run(&input).unwrap_err();
        assert!(matches!(error, GpuError::NotResponding { limit_s: 0 }), "{error}");
        // Nothing is queued or waited for any more, whatever the limit.
        let patient = Executor::new(&gpu, &plan, &Options::default()).unwrap();
        for executor in [&executor, &patient] {
            let error = executor.run(&input).unwrap_err();
            assert!(matches!(error, GpuError::NotResponding { .. }), "{error}");
            assert!(executor.submit(&input).is_err());
        }
        assert!(start.elapsed() < Duration::from_secs(60));
    }
}
