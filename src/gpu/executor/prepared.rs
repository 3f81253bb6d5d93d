//! Objects of an executor that all batch sizes share: kernels, weights, activations.

use super::super::bind::upload_weights;
use super::super::options::Options;
use super::super::select::select_kernel;
use super::super::shader::{Pipeline, Pipelines};
use super::super::{Context, GpuError};
use crate::plan::{Arena, Plan};

/// A plan with its compiled kernels, uploaded weights and buffers of activations.
#[derive(Debug)]
pub(in crate::gpu) struct DevicePlan {
    pub(in crate::gpu) gpu: Context,
    /// The plan for the largest batch.
    pub(in crate::gpu) plan: Plan,
    pub(in crate::gpu) arena: Arena,
    pub(in crate::gpu) options: Options,
    pub(in crate::gpu) pipelines: Vec<Pipeline>,
    pub(in crate::gpu) weights: Vec<Vec<wgpu::Buffer>>,
    pub(in crate::gpu) slots: Vec<wgpu::Buffer>,
}

impl DevicePlan {
    /// As [`Executor::new`](super::Executor::new).
    pub(in crate::gpu) fn new(gpu: &Context, plan: &Plan, options: &Options) -> Result<DevicePlan, GpuError> {
        gpu.check_precision(plan)?;
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
        Ok(DevicePlan { gpu: gpu.clone(), plan, arena, options: options.clone(), pipelines, weights, slots })
    }
}

/// The largest batch up to `options.max_batch` whose tensors the device can bind.
fn largest_batch(gpu: &Context, plan: &Plan, options: &Options) -> Result<usize, GpuError> {
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
