//! Runs a plan on a device: one upload, one compute pass, one readback per batch.
//!
//! Weights and pipelines are made once per executor; parameters and bind groups once per batch size; then a
//! batch creates no GPU object. A batch that is too large for the device's bindings runs in parts.
//!
//! [`Executor::submit`] hands a batch over without waiting and [`Executor::collect`] waits for one, so that the
//! next batch is uploaded and queued while this one computes. Each batch on its way has a readback buffer of its
//! own out of a ring; activations are shared, since the device takes batches in the order of their submission.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use super::choose::{Chosen, choose};
use super::layout::{from_stored, to_stored, weight_bytes};
use super::shader::{Pipeline, Pipelines};
use super::timing::{StepTime, Timestamps};
use super::{Gpu, GpuError};
use crate::kernels::{Dispatch, Kernels, Limits, Operation, Packed, Role, Strategy};
use crate::plan::{Arena, Plan, Step};
use crate::tensor::HostTensor;

/// How an executor is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Most clips of one batch; fewer where the device's limits say so.
    pub max_batch: usize,
    /// A strategy to force wherever it can run; otherwise each op's default.
    pub strategy: Option<Strategy>,
    /// Tighter limits to plan with than the device's own: tests fold dispatches and change tiles with them.
    pub limits: Option<Limits>,
    /// Which kernels run; `None` for the device's own ([`Gpu::with_kernels`]).
    pub kernels: Option<Arc<Kernels>>,
    /// Whether kernels run with their indices checked on the device even where the plan has proved them.
    pub checked: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            max_batch: 8,
            strategy: None,
            limits: None,
            kernels: None,
            // Tests are built with debug assertions.
            // No gain on the software driver (docs/performance.md), and no GPU has been measured.
            checked: true,
        }
    }
}

/// How long the word that a buffer is readable may take once the device is done.
const MAPPING: Duration = Duration::from_secs(10);

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
}

/// What one batch size needs.
#[derive(Debug)]
struct Program {
    batch: usize,
    plan: Plan,
    runs: Vec<Run>,
    /// Readback buffers that no batch uses at the moment, and how large they are.
    readbacks: Mutex<Vec<wgpu::Buffer>>,
    readback_bytes: u64,
    /// Slot, bytes and place in the readback of each output.
    outputs: Vec<(usize, u64, u64)>,
}

/// A batch on its way.
#[derive(Debug)]
pub struct Ticket {
    program: Arc<Program>,
    readback: wgpu::Buffer,
    submission: wgpu::SubmissionIndex,
    mapped: Mapped,
}

/// Says when a buffer can be read.
type Mapped = mpsc::Receiver<Result<(), wgpu::BufferAsyncError>>;

#[derive(Debug)]
struct Run {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    workgroups: [u32; 3],
}

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
            let chosen = choose(gpu, &plan, step, options)?;
            let (packed, trusted) = chosen.packed(&plan, step, options);
            pipelines.push(cache.get(gpu, &chosen, trusted)?);
            weights.push(upload_weights(gpu, &packed, &chosen)?);
        }
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        let slots = arena.slot_bytes().iter().map(|&bytes| gpu.buffer("activations", bytes, usage));
        let slots = slots.collect::<Result<_, _>>()?;
        Ok(Executor {
            gpu: gpu.clone(),
            arena,
            options: options.clone(),
            max_batch,
            pipelines,
            weights,
            slots,
            programs: Mutex::default(),
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

    /// Runs `inputs`, all with the same batch, and returns the plan's outputs in its order.
    ///
    /// # Errors
    /// [`GpuError::Input`] for inputs that are not the plan's, [`GpuError::CoupledBatch`] for a batch that may
    /// not be cut and is too large, [`GpuError::OutOfMemory`] and
    /// [`GpuError::Failed`] from the device.
    pub fn run(&self, inputs: &[HostTensor]) -> Result<Vec<HostTensor>, GpuError> {
        let batch = inputs.first().map_or(0, |input| input.shape().extent(0));
        self.plan.with_batch(batch).check_inputs(inputs)?;
        if batch > self.max_batch && self.plan.couples_clips() {
            return Err(GpuError::CoupledBatch { batch, most: self.max_batch });
        }
        let mut outputs: Vec<Vec<f32>> = vec![Vec::new(); self.plan.outputs().len()];
        let mut keep =
            |part: Vec<Vec<f32>>| outputs.iter_mut().zip(part).for_each(|(all, part)| all.extend(part));
        let mut ahead = None;
        for first in (0..batch).step_by(self.max_batch) {
            let clips = self.max_batch.min(batch - first);
            let next = self.begin(inputs, first, clips, None)?;
            if let Some(ticket) = ahead.replace(next) {
                keep(self.end(ticket)?);
            }
        }
        if let Some(ticket) = ahead {
            keep(self.end(ticket)?);
        }
        self.tensors(batch, outputs)
    }

    /// Uploads `inputs`, at most [`Executor::max_batch`] clips, and queues them without waiting.
    ///
    /// # Errors
    /// As [`Executor::run`]; [`GpuError::CoupledBatch`] for any batch that is too large.
    pub fn submit(&self, inputs: &[HostTensor]) -> Result<Ticket, GpuError> {
        let batch = inputs.first().map_or(0, |input| input.shape().extent(0));
        self.plan.with_batch(batch).check_inputs(inputs)?;
        if batch > self.max_batch {
            return Err(GpuError::CoupledBatch { batch, most: self.max_batch });
        }
        self.begin(inputs, 0, batch, None)
    }

    /// Waits for a batch and returns the plan's outputs in its order.
    ///
    /// # Errors
    /// [`GpuError::Failed`] from the device.
    pub fn collect(&self, ticket: Ticket) -> Result<Vec<HostTensor>, GpuError> {
        let batch = ticket.program.batch;
        let outputs = self.end(ticket)?;
        self.tensors(batch, outputs)
    }

    fn tensors(&self, batch: usize, outputs: Vec<Vec<f32>>) -> Result<Vec<HostTensor>, GpuError> {
        let shapes =
            self.plan.outputs().iter().map(|(_, id)| self.plan.tensors()[*id].shape.with_batch(batch));
        let tensors = shapes.zip(outputs).map(|(shape, data)| HostTensor::new(shape, data));
        tensors.collect::<Result<_, _>>().map_err(|error| GpuError::Failed { reason: error.to_string() })
    }

    /// Runs one batch, at most [`Executor::max_batch`] of the inputs, and says how long each step took.
    ///
    /// # Errors
    /// As [`Executor::run`], and [`GpuError::MissingFeature`] where the device has no timestamps.
    pub fn profile(&self, inputs: &[HostTensor]) -> Result<Vec<StepTime>, GpuError> {
        let given = inputs.first().map_or(0, |input| input.shape().extent(0));
        self.plan.with_batch(given).check_inputs(inputs)?;
        let batch = given.min(self.max_batch);
        if batch == 0 {
            return Ok(Vec::new());
        }
        let timestamps = Timestamps::new(&self.gpu, self.plan.steps().len())?;
        let ticket = self.begin(inputs, 0, batch, Some(&timestamps))?;
        let mapped = map(&timestamps.readback);
        let submission = ticket.submission.clone();
        self.end(ticket)?;
        let times =
            self.read(&timestamps.readback, submission, &mapped, |bytes| timestamps.times(&self.gpu, bytes))?;
        let plan = self.plan.with_batch(batch);
        let steps = plan.steps().iter().zip(times).map(|(step, time)| {
            let shapes = plan.shapes(step);
            let call = plan.call(step, &shapes);
            let kernel = choose(&self.gpu, &plan, step, &self.options)?.dispatch.kernel.name;
            Ok(StepTime { step: step.name.clone(), kernel, time, flops: step.op.flops(&call) })
        });
        steps.collect()
    }

    /// Queues clips `first..first + clips` of the inputs.
    fn begin(
        &self,
        inputs: &[HostTensor],
        first: usize,
        clips: usize,
        timestamps: Option<&Timestamps>,
    ) -> Result<Ticket, GpuError> {
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        let program = match programs.get(&clips) {
            Some(program) => program.clone(),
            None => {
                let program = Arc::new(self.program(clips)?);
                programs.insert(clips, program.clone());
                program
            }
        };
        let free = program.readbacks.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let readback = match free {
            Some(readback) => readback,
            None => self.gpu.buffer("readback", program.readback_bytes, usage)?,
        };
        let failed = |error: wgpu::Error| match error {
            wgpu::Error::OutOfMemory { .. } => {
                GpuError::OutOfMemory { what: "a batch", bytes: program.readback_bytes }
            }
            error => GpuError::Failed { reason: error.to_string() },
        };
        let (submission, mapped) = self
            .gpu
            .scoped(|| {
                let submission = self.record(&program, &readback, inputs, first, timestamps);
                (submission, map(&readback))
            })
            .map_err(failed)?;
        Ok(Ticket { program, readback, submission, mapped })
    }

    /// Waits for a batch; outputs in host order.
    fn end(&self, ticket: Ticket) -> Result<Vec<Vec<f32>>, GpuError> {
        let Ticket { program, readback, submission, mapped } = ticket;
        let outputs = self.read(&readback, submission, &mapped, |bytes| {
            let outputs = program.outputs.iter().zip(program.plan.outputs());
            outputs
                .map(|(&(_, size, place), (_, id))| {
                    let tensor = &program.plan.tensors()[*id];
                    from_stored(tensor.shape, tensor.dtype, &bytes[place as usize..(place + size) as usize])
                })
                .collect()
        })?;
        program.readbacks.lock().unwrap_or_else(PoisonError::into_inner).push(readback);
        Ok(outputs)
    }

    /// Uploads the inputs and submits one command buffer with one compute pass.
    fn record(
        &self,
        program: &Program,
        readback: &wgpu::Buffer,
        inputs: &[HostTensor],
        first: usize,
        timestamps: Option<&Timestamps>,
    ) -> wgpu::SubmissionIndex {
        for (input, &id) in inputs.iter().zip(program.plan.inputs()) {
            let tensor = &program.plan.tensors()[id];
            let shape = tensor.shape;
            let row = input.shape().len() / input.shape().extent(0);
            let data = &input.data()[first * row..][..shape.len()];
            if let Some(slot) = self.arena.slot(id) {
                self.gpu.queue.write_buffer(&self.slots[slot], 0, &to_stored(shape, tensor.dtype, data));
            }
        }
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
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
            encoder.copy_buffer_to_buffer(&self.slots[slot], 0, readback, place, size);
        }
        if let Some(timestamps) = timestamps {
            timestamps.resolve(&mut encoder);
        }
        self.gpu.queue.submit([encoder.finish()])
    }

    /// Waits for a submission and reads a buffer that is being mapped.
    fn read<T>(
        &self,
        buffer: &wgpu::Buffer,
        submission: wgpu::SubmissionIndex,
        mapped: &Mapped,
        read: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, GpuError> {
        let failed = |reason: String| GpuError::Failed { reason };
        let wait = wgpu::PollType::Wait { submission_index: Some(submission), timeout: None };
        self.gpu.device.poll(wait).map_err(|error| failed(error.to_string()))?;
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

    /// Parameters and bind groups for batches of `clips`.
    fn program(&self, clips: usize) -> Result<Program, GpuError> {
        let plan = self.plan.with_batch(clips);
        let dispatches = plan
            .steps()
            .iter()
            .map(|step| choose(&self.gpu, &plan, step, &self.options).map(|chosen| chosen.dispatch))
            .collect::<Result<Vec<_>, _>>()?;
        let params = self.upload_params(&dispatches)?;
        let failed = |error: wgpu::Error| GpuError::Failed { reason: error.to_string() };
        let runs = self
            .gpu
            .scoped(|| {
                let steps = plan.steps().iter().zip(&dispatches).enumerate();
                steps
                    .map(|(index, (step, dispatch))| Run {
                        pipeline: self.pipelines[index].pipeline.clone(),
                        bind_group: self.bind_group(&plan, index, step, dispatch, &params),
                        workgroups: dispatch.workgroups,
                    })
                    .collect()
            })
            .map_err(failed)?;
        let mut place = 0;
        let mut outputs = Vec::new();
        for (_, id) in plan.outputs() {
            let tensor = &plan.tensors()[*id];
            let bytes = ((tensor.shape.stored_len() * tensor.dtype.size()) as u64).next_multiple_of(4);
            if let Some(slot) = self.arena.slot(*id) {
                outputs.push((slot, bytes, place));
                place += bytes;
            }
        }
        Ok(Program { batch: clips, plan, runs, readbacks: Mutex::default(), readback_bytes: place, outputs })
    }

    /// All parameter blocks in one buffer, at the device's alignment.
    fn upload_params(&self, dispatches: &[Dispatch]) -> Result<(wgpu::Buffer, Vec<(u64, u64)>), GpuError> {
        let alignment = self.gpu.device.limits().min_uniform_buffer_offset_alignment.max(16) as usize;
        let (mut bytes, mut places) = (Vec::new(), Vec::new());
        for dispatch in dispatches {
            bytes.resize(bytes.len().next_multiple_of(alignment), 0u8);
            let block = dispatch.params.bytes();
            places.push((bytes.len() as u64, block.len() as u64));
            bytes.extend(block);
        }
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let buffer = self.gpu.buffer("params", bytes.len() as u64, usage)?;
        let failed = |error: wgpu::Error| GpuError::Failed { reason: error.to_string() };
        self.gpu.scoped(|| self.gpu.queue.write_buffer(&buffer, 0, &bytes)).map_err(failed)?;
        Ok((buffer, places))
    }

    fn bind_group(
        &self,
        plan: &Plan,
        index: usize,
        step: &Step,
        dispatch: &Dispatch,
        (params, places): &(wgpu::Buffer, Vec<(u64, u64)>),
    ) -> wgpu::BindGroup {
        let (offset, size) = places[index];
        let mut entries = vec![wgpu::BindGroupEntry { binding: 0, resource: binding(params, offset, size) }];
        for (place, item) in dispatch.kernel.bindings.iter().enumerate() {
            let activation = |id: usize| {
                let tensor = &plan.tensors()[id];
                let bytes = ((tensor.shape.stored_len() * tensor.dtype.size()) as u64).next_multiple_of(4);
                binding(&self.slots[self.arena.slot(id).unwrap_or_default()], 0, bytes)
            };
            let resource = match item.role {
                Role::Input(input) => activation(step.inputs[input]),
                Role::Output => activation(step.output),
                Role::Weight(weight) => {
                    let buffer = &self.weights[index][weight];
                    binding(buffer, 0, buffer.size())
                }
            };
            entries.push(wgpu::BindGroupEntry { binding: place as u32 + 1, resource });
        }
        self.gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(&step.name),
            layout: &self.pipelines[index].layout,
            entries: &entries,
        })
    }
}

pub(super) fn binding(buffer: &wgpu::Buffer, offset: u64, bytes: u64) -> wgpu::BindingResource<'_> {
    wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size: wgpu::BufferSize::new(bytes) })
}

pub(super) fn upload_weights(
    gpu: &Gpu,
    packed: &[Packed],
    chosen: &Chosen,
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

/// Asks for a buffer to become readable.
fn map(buffer: &wgpu::Buffer) -> Mapped {
    let (sender, receiver) = mpsc::channel();
    buffer.map_async(wgpu::MapMode::Read, .., move |result| {
        // A receiver that has given up need not be told.
        let _ = sender.send(result);
    });
    receiver
}

/// The largest batch up to `options.max_batch` whose tensors the device can bind.
fn largest_batch(gpu: &Gpu, plan: &Plan, options: &Options) -> Result<usize, GpuError> {
    let fits = |batch: usize| {
        let plan = plan.with_batch(batch);
        plan.steps().iter().try_for_each(|step| choose(gpu, &plan, step, options).map(drop))
    };
    fits(1)?;
    let (mut good, mut bad) = (1, options.max_batch.max(1) + 1);
    while good + 1 < bad {
        let middle = good + (bad - good) / 2;
        if fits(middle).is_ok() { good = middle } else { bad = middle }
    }
    Ok(good)
}
