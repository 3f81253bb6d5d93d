//! Records clips into command encoders of the caller, whole or in steps that fit a budget of device time.
//!
//! Recording submits nothing, polls nothing and waits for nothing. Buffers come back by callbacks of the caller's
//! submissions, which run on the thread that polls the device. Activations, and the position in an unfinished clip,
//! belong to the recorder.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use costs::Costs;
use pool::Pool;
use timer::PassTimer;

use super::executor::{DevicePlan, Program};
use super::layout::{from_stored, to_stored};
use super::options::Options;
use super::{Context, GpuError};
use crate::executor::{ExecuteError, PlanOutputs, Submission};
use crate::plan::Plan;
use crate::tensor::HostTensor;

mod costs;
mod pool;
mod timer;

/// Floating-point operations of a slice: under a millisecond on an integrated GPU.
const SLICE_FLOPS: u64 = 250_000_000;
/// Alignment of outputs in their buffer, which every device accepts for bindings.
const OUTPUT_ALIGNMENT: u64 = 256;

/// Input of a recorded clip.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum RecorderInput<'a> {
    /// Mono samples at the model's rate, as many as a clip has. They are copied.
    Samples(&'a [f32]),
    /// The same as f32 in a buffer of the caller with the usage `COPY_SRC`, from an offset in bytes on.
    Buffer(&'a wgpu::Buffer, u64),
}

/// Result of one step of a recording.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct StepProgress {
    /// Number of dispatches recorded by this call.
    pub dispatches: usize,
    /// Device time that they are expected to take.
    pub expected: Duration,
    /// True if the clip is complete: its outputs are in their buffer once the encoder's commands are done.
    pub is_complete: bool,
}

/// Output of a plan in the buffer of outputs.
#[derive(Debug)]
struct OutputPlace {
    name: String,
    index: usize,
    bytes: Range<u64>,
}

/// Copy of the input that the next step records first.
#[derive(Debug)]
enum Upload {
    Staging(wgpu::Buffer),
    Caller(wgpu::Buffer, u64),
}

/// A plan for one clip, recorded into encoders of the caller.
#[derive(Debug)]
pub struct PlanRecorder {
    pub(super) prepared: DevicePlan,
    pub(super) program: Program,
    outputs: wgpu::Buffer,
    places: Vec<OutputPlace>,
    pub(super) costs: Arc<Mutex<Costs>>,
    timer: Option<PassTimer>,
    uploads: Pool,
    readbacks: Pool,
    upload: Option<Upload>,
    /// Next dispatch of the clip that is being recorded.
    cursor: Option<usize>,
    has_outputs: bool,
}

impl PlanRecorder {
    /// Compiles the kernels of `plan` and uploads its weights.
    ///
    /// # Errors
    /// As [`Executor::new`](super::Executor::new).
    pub fn new(gpu: &Context, plan: &Plan) -> Result<PlanRecorder, GpuError> {
        let options = Options { max_batch: 1, slice_flops: Some(SLICE_FLOPS), ..Options::default() };
        let prepared = DevicePlan::new(gpu, plan, &options)?;
        let program = Program::new(&prepared, 1)?;
        let mut places = Vec::new();
        let mut end = 0u64;
        for (index, ((_, bytes, _), (name, _))) in
            program.outputs.iter().zip(program.plan.outputs()).enumerate()
        {
            let start = end.next_multiple_of(OUTPUT_ALIGNMENT);
            end = start + bytes;
            places.push(OutputPlace { name: name.clone(), index, bytes: start..end });
        }
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        let outputs = gpu.buffer("outputs", end, usage)?;
        let costs = Arc::new(Mutex::new(Costs::estimated(program.runs.iter().map(|run| run.flops))));
        let timer = PassTimer::new(gpu)?;
        let (uploads, readbacks) = (Pool::default(), Pool::default());
        Ok(PlanRecorder {
            prepared,
            program,
            outputs,
            places,
            costs,
            timer,
            uploads,
            readbacks,
            upload: None,
            cursor: None,
            has_outputs: false,
        })
    }

    /// The plan, for one clip.
    pub fn plan(&self) -> &Plan {
        &self.program.plan
    }

    /// The device.
    pub fn gpu(&self) -> &Context {
        &self.prepared.gpu
    }

    /// Bytes of activations, weights and outputs on the device.
    pub fn device_bytes(&self) -> u64 {
        let weights = self.prepared.weights.iter().flatten();
        let buffers = self.prepared.slots.iter().chain(weights).chain([&self.outputs]);
        buffers.map(wgpu::Buffer::size).sum()
    }

    /// True while a clip is incomplete.
    pub fn is_recording(&self) -> bool {
        self.cursor.is_some()
    }

    /// Buffer and range in bytes of the output called `name`, in the stored order of the device: f32 (spectrograms and
    /// scores have the host's order). It keeps the last complete clip.
    pub fn output(&self, name: &str) -> Option<(&wgpu::Buffer, Range<u64>)> {
        let place = self.places.iter().find(|place| place.name == name)?;
        Some((&self.outputs, place.bytes.clone()))
    }

    /// Begins a clip; an incomplete one is dropped. Nothing is recorded yet.
    ///
    /// # Errors
    /// [`ExecuteError::Input`] for another number of samples, [`ExecuteError::OutOfMemory`].
    pub fn begin(&mut self, input: RecorderInput<'_>) -> Result<(), GpuError> {
        self.abandon();
        let upload = match input {
            RecorderInput::Buffer(buffer, offset) => Upload::Caller(buffer.clone(), offset),
            RecorderInput::Samples(samples) => {
                let id = self.program.plan.inputs()[0];
                let tensor = &self.program.plan.tensors()[id];
                let host = HostTensor::new([1, samples.len()], samples.to_vec());
                let host = host.map_err(|source| ExecuteError::Output { output: "input".into(), source })?;
                crate::executor::Inputs::from(host).check(&self.program.plan).map_err(ExecuteError::from)?;
                let staging = match self.uploads.take() {
                    Some(staging) => staging,
                    None => self.prepared.gpu.upload_buffer("inputs", self.program.inputs[0].1)?,
                };
                {
                    let view = staging.get_mapped_range_mut(..);
                    let mut view =
                        view.map_err(|error| ExecuteError::Failed { reason: error.to_string() })?;
                    let stored = to_stored(tensor.shape, tensor.dtype, samples);
                    view.slice(..stored.len()).copy_from_slice(&stored);
                }
                staging.unmap();
                Upload::Staging(staging)
            }
        };
        self.upload = Some(upload);
        self.cursor = Some(0);
        Ok(())
    }

    /// Drops the clip that is being recorded.
    pub fn abandon(&mut self) {
        self.cursor = None;
        self.upload = None;
    }

    /// Records the next dispatches of the clip, as many as fit `budget` and at least one. Without a clip it records
    /// nothing, and is complete if there are outputs.
    ///
    /// # Errors
    /// [`ExecuteError::OutOfMemory`].
    pub fn step(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        budget: Duration,
    ) -> Result<StepProgress, GpuError> {
        let Some(first) = self.cursor else {
            let is_complete = self.has_outputs;
            return Ok(StepProgress { dispatches: 0, expected: Duration::ZERO, is_complete });
        };
        self.record_upload(encoder);
        let (end, expected) = {
            let costs = self.costs.lock().unwrap_or_else(PoisonError::into_inner);
            let end = costs.fitting(first, budget.as_secs_f64());
            (end, costs.of(first, end))
        };
        {
            let timestamp_writes = self.timer.as_ref().map(PassTimer::writes);
            let descriptor = wgpu::ComputePassDescriptor { label: Some("tagwave"), timestamp_writes };
            let mut pass = encoder.begin_compute_pass(&descriptor);
            self.program.runs[first..end].iter().for_each(|run| run.record(&mut pass));
        }
        if let Some(timer) = &self.timer {
            let costs = self.costs.clone();
            timer.read(&self.prepared.gpu, encoder, move |seconds| {
                costs.lock().unwrap_or_else(PoisonError::into_inner).correct(first, end, seconds);
            })?;
        }
        let is_complete = end == self.program.runs.len();
        self.cursor = (!is_complete).then_some(end);
        if is_complete {
            for (place, &(slot, bytes, _)) in self.places.iter().zip(&self.program.outputs) {
                let source = &self.prepared.slots[slot];
                encoder.copy_buffer_to_buffer(source, 0, &self.outputs, place.bytes.start, bytes);
            }
            self.has_outputs = true;
        }
        Ok(StepProgress { dispatches: end - first, expected: Duration::from_secs_f64(expected), is_complete })
    }

    fn record_upload(&mut self, encoder: &mut wgpu::CommandEncoder) {
        let (slot, bytes) = self.program.inputs[0];
        let slot = slot.map(|slot| &self.prepared.slots[slot]);
        match (self.upload.take(), slot) {
            (Some(Upload::Caller(buffer, offset)), Some(slot)) => {
                encoder.copy_buffer_to_buffer(&buffer, offset, slot, 0, bytes);
            }
            (Some(Upload::Staging(buffer)), Some(slot)) => {
                encoder.copy_buffer_to_buffer(&buffer, 0, slot, 0, bytes);
                let uploads = self.uploads.clone();
                encoder.map_buffer_on_submit(&buffer.clone(), wgpu::MapMode::Write, .., move |mapped| {
                    if mapped.is_ok() {
                        uploads.give_back(buffer);
                    }
                });
            }
            _ => {}
        }
    }

    /// Records the readback of the outputs of the last complete clip. The result arrives after the caller submitted the
    /// encoder, while the caller polls the device; an encoder that is dropped cancels it.
    ///
    /// # Errors
    /// [`ExecuteError::Cancelled`] before a clip is complete, [`ExecuteError::OutOfMemory`].
    pub fn read(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<Submission, GpuError> {
        if !self.has_outputs {
            return Err(ExecuteError::Cancelled.into());
        }
        let size = self.outputs.size();
        let buffer = match self.readbacks.take() {
            Some(buffer) => buffer,
            None => {
                let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
                self.prepared.gpu.buffer("outputs", size, usage)?
            }
        };
        encoder.copy_buffer_to_buffer(&self.outputs, 0, &buffer, 0, size);
        let (submission, promise) = Submission::new(None, self.prepared.gpu.default_timeout(1));
        let outputs = self.places.iter().map(|place| {
            let tensor = &self.program.plan.tensors()[self.program.plan.outputs()[place.index].1];
            (tensor.shape, tensor.dtype, place.bytes.clone())
        });
        let (outputs, readbacks): (Vec<_>, Pool) = (outputs.collect(), self.readbacks.clone());
        encoder.map_buffer_on_submit(&buffer.clone(), wgpu::MapMode::Read, .., move |mapped| {
            let lost = |error: &dyn std::fmt::Display| ExecuteError::Failed { reason: error.to_string() };
            let tensors = match (mapped, buffer.get_mapped_range(..)) {
                (Ok(()), Ok(bytes)) => outputs
                    .iter()
                    .map(|(shape, dtype, range)| {
                        let bytes = bytes.get(range.start as usize..range.end as usize).unwrap_or_default();
                        HostTensor::new(*shape, from_stored(*shape, *dtype, bytes))
                            .map_err(|source| ExecuteError::Output { output: "output".into(), source })
                    })
                    .collect(),
                (Err(error), _) => Err(lost(&error)),
                (_, Err(error)) => Err(lost(&error)),
            };
            if tensors.is_ok() {
                buffer.unmap();
                readbacks.give_back(buffer);
            }
            promise.complete(tensors.map(|tensors| PlanOutputs { tensors, ..PlanOutputs::default() }));
        });
        Ok(submission)
    }
}
