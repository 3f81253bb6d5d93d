//! Executor: prepares the steps of a plan once and runs clips one by one with reused memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pulp::Arch;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::CpuError;
use super::conv_prepared::Convolution;
use super::kernel::{CpuKernel, KernelContext};
use super::prepare::prepare;
use super::scratch::{Buffer, Scratch, ScratchPool};
use super::simd_level::SimdLevel;
use crate::executor::{
    self, Clock, ExecuteError, Inputs, PlanOutputs, StepTime, Submission, SystemClock, Times, check_batch,
};
use crate::kernels::Operation;
use crate::plan::{Arena, Plan, TensorId};
use crate::tensor::{DType, HostTensor, Shape};

/// Options of an executor.
#[derive(Clone, Debug)]
pub struct Options {
    /// Number of threads; `None` for all cores.
    pub threads: Option<usize>,
    /// Recommended number of clips per batch. Memory does not depend on it: each thread holds one clip.
    pub max_batch: usize,
    /// Convolution algorithm; `None` for the default of each layer.
    pub convolution: Option<Convolution>,
    /// SIMD level; `None` for the widest supported one.
    pub simd_level: Option<SimdLevel>,
}

impl Default for Options {
    fn default() -> Options {
        Options { threads: None, max_batch: 8, convolution: None, simd_level: None }
    }
}

/// A plan prepared for the CPU.
///
/// A batch runs on the threads of the executor. Clips that depend on each other run one at a time.
#[derive(Debug)]
pub struct Executor {
    prepared: Arc<PreparedPlan>,
    /// The plan for batches of `max_batch` clips.
    plan: Plan,
    /// `None` for one thread: that of the caller.
    pool: Option<ThreadPool>,
}

/// State shared with worker threads.
#[derive(Debug)]
struct PreparedPlan {
    /// The plan for one clip.
    clip_plan: Plan,
    arena: Arena,
    layers: Vec<Box<dyn CpuKernel>>,
    /// Accumulated nanoseconds of each step.
    spent: Vec<AtomicU64>,
    clock: SystemClock,
    simd_level: SimdLevel,
    arch: Arch,
    threads: usize,
    slots: ScratchPool<Vec<Buffer>>,
    scratch: ScratchPool<Scratch>,
}

impl Executor {
    /// Starts the threads and packs the weights of `plan`.
    ///
    /// # Errors
    /// [`CpuError::Precision`] for an f16 plan, [`CpuError::SimdLevel`], [`CpuError::Threads`].
    pub fn new(plan: &Plan, options: &Options) -> Result<Executor, CpuError> {
        let f16 = |id: TensorId| plan.tensors()[id].dtype == DType::F16;
        if let Some(step) = plan.steps().iter().find(|step| f16(step.output)) {
            return Err(CpuError::Precision { step: step.name.clone() });
        }
        let simd_level = options.simd_level.or_else(|| SimdLevel::available().first().copied());
        let simd_level = simd_level.unwrap_or(SimdLevel::Scalar);
        let arch = simd_level.arch()?;
        let clip_plan = plan.with_batch(1);
        let layers = clip_plan.steps().iter().map(|step| {
            let x = clip_plan.shapes(step).0;
            let weights: Vec<&HostTensor> =
                step.weights.iter().filter_map(|&id| clip_plan.weight(id).map(|weight| &**weight)).collect();
            let y = clip_plan.tensors()[step.output].shape;
            prepare(arch, &step.op, &x, y, &weights, options.convolution)
        });
        let layers: Vec<_> = layers.collect();
        let threads = options.threads.unwrap_or_else(available_threads).max(1);
        let max_batch = if plan.depends_on_batch() { 1 } else { options.max_batch.max(1) };
        Ok(Executor {
            plan: plan.with_batch(max_batch),
            pool: pool(threads)?,
            prepared: Arc::new(PreparedPlan {
                arena: Arena::new(&clip_plan),
                clip_plan,
                spent: layers.iter().map(|_| AtomicU64::new(0)).collect(),
                layers,
                clock: SystemClock::default(),
                simd_level,
                arch,
                threads,
                slots: ScratchPool::default(),
                scratch: ScratchPool::default(),
            }),
        })
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.prepared.threads
    }

    /// SIMD level in use.
    pub fn simd_level(&self) -> SimdLevel {
        self.prepared.simd_level
    }

    /// Starts `work` on the threads of the executor, or runs it in the call if there is one thread only.
    fn start(
        &self,
        inputs: &Inputs,
        work: impl FnOnce(&PreparedPlan, &Inputs) -> Result<PlanOutputs, ExecuteError> + Send + 'static,
    ) -> Result<Submission, ExecuteError> {
        check_batch(self, inputs)?;
        let Some(pool) = &self.pool else {
            return Ok(Submission::ready(work(&self.prepared, inputs)));
        };
        let (submission, promise) = Submission::new(None, Duration::MAX);
        let (prepared, inputs) = (self.prepared.clone(), inputs.clone());
        pool.spawn(move || {
            if !promise.is_abandoned() {
                let outputs = work(&prepared, &inputs);
                promise.complete(outputs);
            }
        });
        Ok(submission)
    }
}

impl executor::Executor for Executor {
    fn device(&self) -> &str {
        "cpu"
    }

    fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Recommended number of clips per batch.
    fn max_batch(&self) -> usize {
        self.plan.batch()
    }

    fn submit(&self, inputs: &Inputs) -> Result<Submission, ExecuteError> {
        self.start(inputs, PreparedPlan::run)
    }

    /// Runs one clip after the other with all threads.
    fn submit_timed(&self, inputs: &Inputs) -> Result<Submission, ExecuteError> {
        self.start(inputs, PreparedPlan::profile)
    }

    fn times(&self) -> Times {
        let mut times = Times::default();
        for (layer, spent) in self.prepared.layers.iter().zip(&self.prepared.spent) {
            let spent = Duration::from_nanos(spent.load(Ordering::Relaxed));
            *times.kernels.entry(layer.kernel()).or_default() += spent;
        }
        times
    }
}

impl PreparedPlan {
    /// Runs a batch on the threads of the current pool, if there are several.
    fn run(&self, inputs: &Inputs) -> Result<PlanOutputs, ExecuteError> {
        let (first, end) = (inputs.first(), inputs.first() + inputs.batch());
        let clips: Vec<_> = if self.threads == 1 {
            (first..end).map(|clip| self.clip(inputs.tensors(), clip, false)).collect()
        } else {
            // Whole clips per thread while there are enough; the rest one by one, each split between threads.
            let whole = end - inputs.batch() % self.threads;
            let clips = (first..whole).into_par_iter().with_max_len(1);
            let mut clips: Vec<Vec<Vec<f32>>> =
                clips.map(|clip| self.clip(inputs.tensors(), clip, false)).collect();
            clips.extend((whole..end).map(|clip| self.clip(inputs.tensors(), clip, true)));
            clips
        };
        let outputs = self.clip_plan.outputs().iter().enumerate().map(|(index, (name, id))| {
            let shape = self.clip_plan.tensors()[*id].shape.with_batch(inputs.batch());
            let data = clips.iter().flat_map(|clip: &Vec<Vec<f32>>| &clip[index]).copied().collect();
            HostTensor::new(shape, data)
                .map_err(|source| ExecuteError::Output { output: name.clone(), source })
        });
        Ok(PlanOutputs { tensors: outputs.collect::<Result<_, _>>()?, steps: Vec::new() })
    }

    /// Runs a batch, one clip after the other with all threads, and times each step.
    fn profile(&self, inputs: &Inputs) -> Result<PlanOutputs, ExecuteError> {
        let batch = inputs.batch();
        let steps = self.clip_plan.steps().iter().zip(&self.layers).map(|(step, layer)| {
            let shapes = self.clip_plan.shapes(step);
            let flops = step.op.flops(&self.clip_plan.call(step, &shapes)) * batch as u64;
            StepTime { step: step.name.clone(), kernel: layer.kernel(), time: Duration::ZERO, flops }
        });
        let mut steps: Vec<StepTime> = steps.collect();
        self.slots.with(
            || self.new_slots(),
            |slots| {
                for clip in inputs.first()..inputs.first() + batch {
                    self.upload(inputs.tensors(), clip, slots);
                    for (index, step) in steps.iter_mut().enumerate() {
                        let start = self.clock.now();
                        self.step(index, slots, self.threads > 1);
                        step.time += self.clock.now().saturating_sub(start);
                    }
                }
            },
        );
        Ok(PlanOutputs { tensors: self.run(inputs)?.tensors, steps })
    }

    /// Runs one clip and returns its outputs in host layout.
    fn clip(&self, inputs: &[HostTensor], clip: usize, parallel: bool) -> Vec<Vec<f32>> {
        self.slots.with(
            || self.new_slots(),
            |slots| {
                self.upload(inputs, clip, slots);
                for index in 0..self.layers.len() {
                    self.step(index, slots, parallel);
                }
                let outputs = self.clip_plan.outputs().iter().map(|(_, id)| {
                    let shape = self.clip_plan.tensors()[*id].shape;
                    self.arena.slot(*id).map_or_else(Vec::new, |slot| from_stored(shape, &slots[slot]))
                });
                outputs.collect()
            },
        )
    }

    fn new_slots(&self) -> Vec<Buffer> {
        self.arena.slot_bytes().iter().map(|&bytes| Buffer::zeros(bytes.div_ceil(4) as usize)).collect()
    }

    fn upload(&self, inputs: &[HostTensor], clip: usize, slots: &mut [Buffer]) {
        for (input, &id) in inputs.iter().zip(self.clip_plan.inputs()) {
            if let Some(slot) = self.arena.slot(id) {
                to_stored(self.clip_plan.tensors()[id].shape, input.row(clip), &mut slots[slot]);
            }
        }
    }

    fn step(&self, index: usize, slots: &mut [Buffer], parallel: bool) {
        let start = self.clock.now();
        let step = &self.clip_plan.steps()[index];
        let len = |id: TensorId| self.clip_plan.tensors()[id].shape.len();
        let Some(output) = self.arena.slot(step.output) else { return };
        // The arena never gives a step's output the slot of one of its inputs.
        let mut y = std::mem::take(&mut slots[output]);
        let mut x: [&[f32]; 2] = [&[]; 2];
        for (x, &id) in x.iter_mut().zip(&step.inputs) {
            *x = self.arena.slot(id).map_or(&[], |slot| &slots[slot][..len(id)]);
        }
        let context = KernelContext { arch: self.arch, scratch: &self.scratch, parallel };
        self.layers[index].run(&context, &x[..step.inputs.len()], &mut y[..len(step.output)]);
        slots[output] = y;
        let spent = self.clock.now().saturating_sub(start);
        self.spent[index].fetch_add(spent.as_nanos() as u64, Ordering::Relaxed);
    }
}

fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn pool(threads: usize) -> Result<Option<ThreadPool>, CpuError> {
    if threads == 1 {
        return Ok(None);
    }
    let pool = ThreadPoolBuilder::new().num_threads(threads).build();
    pool.map(Some).map_err(|error| CpuError::Threads { threads, reason: error.to_string() })
}

/// Number of channels and of positions of one clip of `shape`; positions are outermost in storage.
fn planes(shape: Shape) -> [usize; 2] {
    match shape.rank() {
        4 => [shape.extent(1), shape.extent(2) * shape.extent(3)],
        _ => [1, shape.len()],
    }
}

/// Converts a clip from host layout to channels last.
fn to_stored(shape: Shape, data: &[f32], stored: &mut [f32]) {
    let [channels, places] = planes(shape);
    if channels == 1 {
        return stored[..data.len()].copy_from_slice(data);
    }
    for (place, stored) in stored.chunks_exact_mut(channels).enumerate().take(places) {
        for (channel, v) in stored.iter_mut().enumerate() {
            *v = data[channel * places + place];
        }
    }
}

/// Converts a clip from channels last to host layout.
fn from_stored(shape: Shape, stored: &[f32]) -> Vec<f32> {
    let [channels, places] = planes(shape);
    (0..channels * places).map(|index| stored[index % places * channels + index / places]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_last_and_back() {
        let shape = Shape::from([1, 3, 2, 5]);
        let data: Vec<f32> = (0..30).map(|v| v as f32).collect();
        let mut stored = vec![0.0; 30];
        to_stored(shape, &data, &mut stored);
        assert_eq!(stored[..4], [0.0, 10.0, 20.0, 1.0]);
        assert_eq!(from_stored(shape, &stored), data);
    }
}
