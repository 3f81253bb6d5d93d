//! Parts of a batch in flight: readback of their outputs, and delivery of the whole batch.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::budget::Budget;
use super::program::{Program, Staging};
use crate::executor::{Clock, ExecuteError, PlanOutputs, Promise, StepTime, Times};
use crate::gpu::Context;
use crate::gpu::layout::from_stored;
use crate::tensor::{HostTensor, Shape};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// State of an executor that completions change.
#[derive(Debug)]
pub(super) struct Progress {
    clock: Arc<dyn Clock>,
    pub(super) budget: Budget,
    times: Mutex<Times>,
    /// Time of the last completion.
    idle_since: Mutex<Option<Duration>>,
    in_flight: AtomicUsize,
}

impl Progress {
    pub(super) fn new(clock: Arc<dyn Clock>, budget: Budget) -> Progress {
        Progress {
            clock,
            budget,
            times: Mutex::default(),
            idle_since: Mutex::default(),
            in_flight: AtomicUsize::new(0),
        }
    }

    pub(super) fn times(&self) -> Times {
        lock(&self.times).clone()
    }

    /// Counts a batch until the returned guard is dropped.
    pub(super) fn enter(self: &Arc<Progress>, limit: usize) -> Result<InFlight, ExecuteError> {
        let guard = InFlight(self.clone());
        let in_flight = self.in_flight.fetch_add(1, Ordering::AcqRel);
        if in_flight >= limit.max(1) { Err(ExecuteError::Busy { in_flight }) } else { Ok(guard) }
    }
}

/// Guard of one batch in flight.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Progress>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// PlanOutputs of a part in host order, and the time of each step.
type PartOutputs = (Vec<Vec<f32>>, Vec<StepTime>);

/// A batch in flight: collects the outputs of its parts.
#[derive(Debug)]
pub(super) struct Batch {
    /// Shapes of the outputs.
    shapes: Vec<Shape>,
    state: Mutex<BatchState>,
}

#[derive(Debug)]
struct BatchState {
    parts: Vec<Option<Result<PartOutputs, ExecuteError>>>,
    promise: Option<Promise>,
    in_flight: Option<InFlight>,
}

impl Batch {
    pub(super) fn new(shapes: Vec<Shape>, parts: usize, in_flight: InFlight) -> Batch {
        let parts = (0..parts).map(|_| None).collect();
        let state = BatchState { parts, promise: None, in_flight: Some(in_flight) };
        Batch { shapes, state: Mutex::new(state) }
    }

    /// Sets the promise of the batch, after all parts were submitted.
    pub(super) fn promise(&self, promise: Promise) {
        lock(&self.state).promise = Some(promise);
        self.complete_if_done();
    }

    fn deliver(&self, part: usize, outputs: Result<PartOutputs, ExecuteError>) {
        if let Some(place) = lock(&self.state).parts.get_mut(part) {
            *place = Some(outputs);
        }
        self.complete_if_done();
    }

    fn complete_if_done(&self) {
        let (parts, promise, in_flight) = {
            let mut state = lock(&self.state);
            if state.parts.iter().any(Option::is_none) {
                return;
            }
            let Some(promise) = state.promise.take() else { return };
            (std::mem::take(&mut state.parts), promise, state.in_flight.take())
        };
        drop(in_flight);
        promise.complete(self.join(parts.into_iter().flatten()));
    }

    fn join(
        &self,
        parts: impl Iterator<Item = Result<PartOutputs, ExecuteError>>,
    ) -> Result<PlanOutputs, ExecuteError> {
        let mut joined: Vec<Vec<f32>> = vec![Vec::new(); self.shapes.len()];
        let mut steps = Vec::new();
        for part in parts {
            let (outputs, times) = part?;
            for (all, part) in joined.iter_mut().zip(outputs) {
                // Usually there is one part.
                if all.is_empty() { *all = part } else { all.extend(part) }
            }
            steps = times;
        }
        let tensors = self.shapes.iter().zip(joined).enumerate().map(|(index, (&shape, data))| {
            HostTensor::new(shape, data)
                .map_err(|source| ExecuteError::Output { output: format!("output {index}"), source })
        });
        Ok(PlanOutputs { tensors: tensors.collect::<Result<_, _>>()?, steps })
    }
}

/// A submission in flight. Once the device is done, its buffers become readable or writable again, which wgpu reports
/// by one callback each; the last one reads the outputs. If wgpu drops the callbacks, the part fails.
#[derive(Debug)]
pub(super) struct BatchPart {
    gpu: Context,
    progress: Arc<Progress>,
    program: Arc<Program>,
    /// Taken when the part is complete.
    staging: Mutex<Option<Staging>>,
    began: Duration,
    /// Number of callbacks to come.
    left: AtomicUsize,
    /// First error of an output, and of an input.
    failures: [Mutex<Option<String>>; 2],
    batch: (Arc<Batch>, usize),
}

impl BatchPart {
    pub(super) fn new(
        gpu: Context,
        progress: Arc<Progress>,
        program: Arc<Program>,
        staging: Staging,
        batch: (Arc<Batch>, usize),
    ) -> Arc<BatchPart> {
        let began = progress.clock.now();
        let left = AtomicUsize::new(staging.inputs.len() + 1 + usize::from(staging.timestamps.is_some()));
        let staging = Mutex::new(Some(staging));
        Arc::new(BatchPart {
            gpu,
            progress,
            program,
            staging,
            began,
            left,
            failures: Default::default(),
            batch,
        })
    }

    /// Requests the callbacks.
    pub(super) fn map(self: &Arc<BatchPart>) {
        let (read, write) = {
            let staging = lock(&self.staging);
            let Some(staging) = &*staging else { return };
            let timestamps = staging.timestamps.as_ref().map(|timestamps| timestamps.readback.clone());
            let read: Vec<_> = timestamps.into_iter().chain([staging.outputs.clone()]).collect();
            (read, staging.inputs.clone())
        };
        let buffers = read.iter().map(|buffer| (buffer, wgpu::MapMode::Read, 0));
        for (buffer, mode, kind) in
            buffers.chain(write.iter().map(|buffer| (buffer, wgpu::MapMode::Write, 1)))
        {
            let part = self.clone();
            buffer.map_async(mode, .., move |result| {
                if let Err(error) = result {
                    lock(&part.failures[kind]).get_or_insert(error.to_string());
                }
                if part.left.fetch_sub(1, Ordering::AcqRel) == 1 {
                    part.finish();
                }
            });
        }
    }

    /// Reads the outputs, records times and returns the staging buffers.
    fn finish(&self) {
        let Some(staging) = lock(&self.staging).take() else { return };
        let now = self.progress.clock.now();
        let before = lock(&self.progress.idle_since).replace(now);
        let start = before.map_or(self.began, |before| before.max(self.began));
        self.progress.budget.record(self.program.batch, now.saturating_sub(start));
        let failed = lock(&self.failures[0]).take();
        let outputs = match failed {
            Some(reason) => Err(ExecuteError::Failed { reason }),
            None => self.read(&staging),
        };
        {
            let mut times = lock(&self.progress.times);
            times.readback += self.progress.clock.now().saturating_sub(now);
            for step in outputs.iter().flat_map(|(_, steps)| steps) {
                *times.kernels.entry(step.kernel).or_default() += step.time;
            }
        }
        // Staging that cannot be written again is dropped; the next batch makes its own.
        if outputs.is_ok() && lock(&self.failures[1]).is_none() {
            self.program.give_back(staging);
        }
        self.batch.0.deliver(self.batch.1, outputs);
    }

    fn read(&self, staging: &Staging) -> Result<PartOutputs, ExecuteError> {
        let program = &self.program;
        let outputs = read(&staging.outputs, |bytes| {
            let outputs = program.outputs.iter().zip(program.plan.outputs());
            outputs
                .map(|(&(_, size, place), (_, id))| {
                    let tensor = &program.plan.tensors()[*id];
                    from_stored(tensor.shape, tensor.dtype, &bytes[place as usize..(place + size) as usize])
                })
                .collect()
        })?;
        let times = match &staging.timestamps {
            Some(timestamps) => read(&timestamps.readback, |bytes| timestamps.times(&self.gpu, bytes))?,
            None => Vec::new(),
        };
        let mut steps: Vec<StepTime> = Vec::new();
        let mut last = None;
        for (run, time) in program.runs.iter().zip(times) {
            match steps.last_mut().filter(|_| last == Some(run.step)) {
                // Another slice.
                Some(step) => {
                    step.time += time;
                    step.flops += run.flops;
                }
                None => steps.push(StepTime {
                    step: program.plan.steps()[run.step].name.clone(),
                    kernel: run.kernel,
                    time,
                    flops: run.flops,
                }),
            }
            last = Some(run.step);
        }
        Ok((outputs, steps))
    }
}

impl Drop for BatchPart {
    fn drop(&mut self) {
        if lock(&self.staging).is_some() {
            let reason = "the device was lost".into();
            self.batch.0.deliver(self.batch.1, Err(ExecuteError::Failed { reason }));
        }
    }
}

/// Reads a mapped buffer and unmaps it.
fn read<T>(buffer: &wgpu::Buffer, read: impl FnOnce(&[u8]) -> T) -> Result<T, ExecuteError> {
    let value = {
        let bytes = buffer.get_mapped_range(..);
        let bytes = bytes.map_err(|error| ExecuteError::Failed { reason: error.to_string() })?;
        read(&bytes)
    };
    buffer.unmap();
    Ok(value)
}
