//! Objects of one batch size: bind groups, parameters, and staging buffers to be used again.

use std::sync::{Mutex, PoisonError};

use super::prepared::DevicePlan;
use crate::gpu::bind::binding;
use crate::gpu::select::select_kernel;
use crate::gpu::timing::Timestamps;
use crate::gpu::{Context, GpuError, failed};
use crate::kernels::{Dispatch, Operation, Role};
use crate::plan::Plan;

/// Maximum number of unused staging buffers of a program.
const MAX_FREE_STAGING: usize = 4;

/// A plan at one batch size, ready to be recorded.
#[derive(Debug)]
pub(in crate::gpu) struct Program {
    pub(in crate::gpu) batch: usize,
    pub(in crate::gpu) plan: Plan,
    pub(in crate::gpu) runs: Vec<BoundDispatch>,
    /// Staging buffers that no batch uses at the moment.
    staging: Mutex<Vec<Staging>>,
    /// Slot and bytes of each input; `None` for an input that no step reads.
    pub(in crate::gpu) inputs: Vec<(Option<usize>, u64)>,
    /// Bytes of all outputs.
    pub(in crate::gpu) output_bytes: u64,
    /// Slot, bytes and place in the staging buffer of each output.
    pub(in crate::gpu) outputs: Vec<(usize, u64, u64)>,
}

/// Host-visible buffers of one submission, kept from batch to batch: making such memory costs more than filling it.
#[derive(Debug)]
pub(in crate::gpu) struct Staging {
    /// One for each input of the plan, mapped for writing while no submission uses it.
    pub(in crate::gpu) inputs: Vec<wgpu::Buffer>,
    pub(in crate::gpu) outputs: wgpu::Buffer,
    /// Present if the submission is timed.
    pub(in crate::gpu) timestamps: Option<Timestamps>,
}

impl Staging {
    pub(in crate::gpu) fn new(gpu: &Context, program: &Program, timed: bool) -> Result<Staging, GpuError> {
        let inputs = program.inputs.iter().map(|&(_, bytes)| gpu.upload_buffer("inputs", bytes));
        let inputs = inputs.collect::<Result<_, _>>()?;
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let outputs = gpu.buffer("outputs", program.output_bytes, usage)?;
        let timestamps = timed.then(|| Timestamps::new(gpu, program.runs.len())).transpose()?;
        Ok(Staging { inputs, outputs, timestamps })
    }
}

/// A kernel with all it needs, or a slice of it.
#[derive(Debug)]
pub(in crate::gpu) struct BoundDispatch {
    /// Index of the step in the plan.
    pub(in crate::gpu) step: usize,
    pub(in crate::gpu) kernel: &'static str,
    pub(in crate::gpu) pipeline: wgpu::ComputePipeline,
    pub(in crate::gpu) bind_group: wgpu::BindGroup,
    pub(in crate::gpu) workgroups: [u32; 3],
    /// Floating-point operations of the batch.
    pub(in crate::gpu) flops: u64,
}

/// Dispatches of all steps, each with the index of its step and its floating-point operations.
fn dispatches(prepared: &DevicePlan, plan: &Plan) -> Result<Vec<(usize, Dispatch, u64)>, GpuError> {
    let options = &prepared.options;
    let limits = options.limits.as_ref().unwrap_or(&prepared.gpu.summary().limits);
    let mut all = Vec::new();
    for (index, step) in plan.steps().iter().enumerate() {
        let selected = select_kernel(&prepared.gpu, plan, step, options)?;
        let flops = step.op.flops(&plan.call(step, &plan.shapes(step)));
        let parts = match options.slice_flops {
            Some(most) if selected.user_kernel.is_none() => flops.div_ceil(most.max(1)).max(1),
            _ => 1,
        };
        let slices = selected.dispatch.sliced(usize::try_from(parts).unwrap_or(usize::MAX), limits);
        let share = flops / slices.len().max(1) as u64;
        all.extend(slices.into_iter().map(|slice| (index, slice, share)));
    }
    Ok(all)
}

impl BoundDispatch {
    pub(in crate::gpu) fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.dispatch_workgroups(self.workgroups[0], self.workgroups[1], self.workgroups[2]);
    }
}

impl Program {
    /// Parameters and bind groups for batches of `clips`.
    pub(in crate::gpu) fn new(prepared: &DevicePlan, clips: usize) -> Result<Program, GpuError> {
        let plan = prepared.plan.with_batch(clips);
        let dispatches = dispatches(prepared, &plan)?;
        let (params, places) =
            upload_params(&prepared.gpu, dispatches.iter().map(|(_, dispatch, _)| dispatch))?;
        let bound =
            |((step, dispatch, flops), place): (&(usize, Dispatch, u64), &(u64, u64))| BoundDispatch {
                step: *step,
                kernel: dispatch.kernel.name,
                pipeline: prepared.pipelines[*step].pipeline.clone(),
                bind_group: bind_group(prepared, &plan, *step, dispatch, (&params, *place)),
                workgroups: dispatch.workgroups,
                flops: *flops,
            };
        let runs =
            prepared.gpu.scoped(|| dispatches.iter().zip(&places).map(bound).collect()).map_err(failed)?;
        let bytes = |id: usize| {
            let tensor = &plan.tensors()[id];
            ((tensor.shape.stored_len() * tensor.dtype.size()) as u64).next_multiple_of(4)
        };
        let inputs = plan.inputs().iter().map(|&id| (prepared.arena.slot(id), bytes(id))).collect();
        let mut place = 0;
        let mut outputs = Vec::new();
        for (_, id) in plan.outputs() {
            if let Some(slot) = prepared.arena.slot(*id) {
                outputs.push((slot, bytes(*id), place));
                place += bytes(*id);
            }
        }
        Ok(Program {
            batch: clips,
            runs,
            staging: Mutex::default(),
            inputs,
            output_bytes: place,
            outputs,
            plan,
        })
    }

    /// Staging buffers, timed or not, that no submission uses at the moment.
    pub(in crate::gpu) fn free_staging(&self, timed: bool) -> Option<Staging> {
        let mut free = self.staging.lock().unwrap_or_else(PoisonError::into_inner);
        let place = free.iter().position(|staging| staging.timestamps.is_some() == timed)?;
        Some(free.swap_remove(place))
    }

    /// Keeps staging buffers for a later batch; more than batches usually in flight are dropped.
    pub(in crate::gpu) fn give_back(&self, staging: Staging) {
        let mut free = self.staging.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < MAX_FREE_STAGING {
            free.push(staging);
        }
    }

    /// Submits one command buffer: copies of the inputs, one compute pass, copies of the outputs.
    pub(in crate::gpu) fn submit(
        &self,
        gpu: &Context,
        slots: &[wgpu::Buffer],
        staging: &Staging,
    ) -> wgpu::SubmissionIndex {
        let timestamps = staging.timestamps.as_ref();
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        for (&(slot, bytes), buffer) in self.inputs.iter().zip(&staging.inputs) {
            if let Some(slot) = slot {
                encoder.copy_buffer_to_buffer(buffer, 0, &slots[slot], 0, bytes);
            }
        }
        self.record(&mut encoder, timestamps);
        for &(slot, size, place) in &self.outputs {
            encoder.copy_buffer_to_buffer(&slots[slot], 0, &staging.outputs, place, size);
        }
        if let Some(timestamps) = timestamps {
            timestamps.resolve(&mut encoder);
        }
        gpu.queue.submit([encoder.finish()])
    }

    /// Records all steps in one compute pass.
    pub(in crate::gpu) fn record(&self, encoder: &mut wgpu::CommandEncoder, timestamps: Option<&Timestamps>) {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        if let Some(timestamps) = timestamps {
            pass.write_timestamp(&timestamps.queries, 0);
        }
        for (index, run) in self.runs.iter().enumerate() {
            run.record(&mut pass);
            if let Some(timestamps) = timestamps {
                pass.write_timestamp(&timestamps.queries, index as u32 + 1);
            }
        }
    }
}

/// All parameter blocks in one buffer, at the device's alignment.
fn upload_params<'a>(
    gpu: &Context,
    dispatches: impl Iterator<Item = &'a Dispatch>,
) -> Result<(wgpu::Buffer, Vec<(u64, u64)>), GpuError> {
    let alignment = gpu.device.limits().min_uniform_buffer_offset_alignment.max(16) as usize;
    let (mut bytes, mut places) = (Vec::new(), Vec::new());
    for dispatch in dispatches {
        bytes.resize(bytes.len().next_multiple_of(alignment), 0u8);
        let block = dispatch.params.bytes();
        places.push((bytes.len() as u64, block.len() as u64));
        bytes.extend(block);
    }
    let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
    let buffer = gpu.buffer("params", bytes.len() as u64, usage)?;
    gpu.scoped(|| gpu.queue.write_buffer(&buffer, 0, &bytes)).map_err(failed)?;
    Ok((buffer, places))
}

fn bind_group(
    prepared: &DevicePlan,
    plan: &Plan,
    index: usize,
    dispatch: &Dispatch,
    (params, (offset, size)): (&wgpu::Buffer, (u64, u64)),
) -> wgpu::BindGroup {
    let step = &plan.steps()[index];
    let mut entries = vec![wgpu::BindGroupEntry { binding: 0, resource: binding(params, offset, size) }];
    for (place, item) in dispatch.kernel.bindings.iter().enumerate() {
        let activation = |id: usize| {
            let tensor = &plan.tensors()[id];
            let bytes = ((tensor.shape.stored_len() * tensor.dtype.size()) as u64).next_multiple_of(4);
            binding(&prepared.slots[prepared.arena.slot(id).unwrap_or_default()], 0, bytes)
        };
        let resource = match item.role {
            Role::Input(input) => activation(step.inputs[input]),
            Role::Output => activation(step.output),
            Role::Weight(weight) => {
                let buffer = &prepared.weights[index][weight];
                binding(buffer, 0, buffer.size())
            }
        };
        entries.push(wgpu::BindGroupEntry { binding: place as u32 + 1, resource });
    }
    prepared.gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(&step.name),
        layout: &prepared.pipelines[index].layout,
        entries: &entries,
    })
}
