//! One step on its own: its kernels checked and timed without the rest of a model.

use std::time::{Duration, Instant};

use super::bind::{binding, upload_weights};
use super::layout::{from_stored, to_stored};
use super::options::Options;
use super::select::select_kernel;
use super::shader::Pipelines;
use super::timing::Timestamps;
use super::{Context, GpuError, failed};
use crate::executor::ExecuteError;
use crate::kernels::{KernelConfig, Role};
use crate::plan::Plan;
use crate::tensor::{HostTensor, Shape};

/// The tensors of one step on a device, for as many kernels as are to be tried on it.
#[derive(Debug)]
pub struct Trial {
    gpu: Context,
    plan: Plan,
    inputs: Vec<wgpu::Buffer>,
    output: wgpu::Buffer,
}

/// A kernel made ready for a [`Trial`].
#[derive(Debug)]
pub struct Prepared {
    /// Kernel configuration.
    pub config: KernelConfig,
    /// Name of the built-in kernel.
    pub kernel: &'static str,
    /// Bytes of the weights as the kernel wants them.
    pub weight_bytes: u64,
    recorded: Recorded,
}

/// Objects of one dispatch.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) bind_group: wgpu::BindGroup,
    pub(super) workgroups: [u32; 3],
}

impl Trial {
    /// Uploads the inputs of a plan of one step ([`Plan::alone`]); a few clips are repeated over its batch.
    ///
    /// # Errors
    /// [`ExecuteError::OutOfMemory`] when the tensors do not fit, [`ExecuteError::Input`] for inputs of other shapes.
    pub fn new(gpu: &Context, plan: &Plan, clips: &[HostTensor]) -> Result<Trial, GpuError> {
        let given = clips.first().map_or(0, |input| input.shape().extent(0));
        plan.with_batch(given).check_inputs(clips).map_err(ExecuteError::from)?;
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        let bytes = |id: usize| {
            let tensor = &plan.tensors()[id];
            (tensor.shape.stored_len() * tensor.dtype.size()) as u64
        };
        let mut inputs = Vec::new();
        for (input, &id) in clips.iter().zip(plan.inputs()) {
            let tensor = &plan.tensors()[id];
            let buffer = gpu.buffer("trial input", bytes(id), usage)?;
            let stored = to_stored(input.shape(), tensor.dtype, input.data());
            let clip = bytes(id) / plan.batch().max(1) as u64;
            gpu.scoped(|| fill(gpu, &buffer, &stored, clip * given as u64, bytes(id))).map_err(failed)?;
            inputs.push(buffer);
        }
        let output = gpu.buffer("trial output", bytes(plan.steps()[0].output), usage)?;
        Ok(Trial { gpu: gpu.clone(), plan: plan.clone(), inputs, output })
    }

    /// Compiles what `options` choose for the step.
    ///
    /// # Errors
    /// [`GpuError::Dispatch`] when the device cannot run it, [`GpuError::Shader`] when it does not compile.
    pub fn prepare(&self, options: &Options) -> Result<Prepared, GpuError> {
        let step = &self.plan.steps()[0];
        let chosen = select_kernel(&self.gpu, &self.plan, step, options)?;
        let (packed, trusted) = chosen.packed(&self.plan, step, options);
        let pipeline = Pipelines::default().get(&self.gpu, &chosen, trusted)?;
        let weights = upload_weights(&self.gpu, &packed, &chosen)?;
        let block = chosen.dispatch.params.bytes();
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let params = self.gpu.buffer("params", block.len() as u64, usage)?;
        let bind_group = || {
            self.gpu.queue.write_buffer(&params, 0, &block);
            let buffer = |role: Role| match role {
                Role::Input(index) => &self.inputs[index],
                Role::Weight(index) => &weights[index],
                Role::Output => &self.output,
            };
            let bindings = chosen.dispatch.kernel.bindings.iter();
            let buffers: Vec<_> =
                [&params].into_iter().chain(bindings.map(|item| buffer(item.role))).collect();
            let entries: Vec<_> = buffers
                .iter()
                .enumerate()
                .map(|(slot, buffer)| wgpu::BindGroupEntry {
                    binding: slot as u32,
                    resource: binding(buffer, 0, buffer.size()),
                })
                .collect();
            self.gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(&step.name),
                layout: &pipeline.layout,
                entries: &entries,
            })
        };
        let bind_group = self.gpu.scoped(bind_group).map_err(failed)?;
        Ok(Prepared {
            config: chosen.config,
            kernel: chosen.dispatch.kernel.name,
            weight_bytes: weights.iter().map(wgpu::Buffer::size).sum(),
            recorded: Recorded {
                pipeline: pipeline.pipeline,
                bind_group,
                workgroups: chosen.dispatch.workgroups,
            },
        })
    }

    /// Forgets what earlier kernels made: one that writes nothing is not to pass for them.
    ///
    /// # Errors
    /// [`ExecuteError::Failed`] from the device.
    pub fn clear(&self) -> Result<(), GpuError> {
        let clear = || {
            let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
            encoder.clear_buffer(&self.output, 0, None);
            self.gpu.queue.submit([encoder.finish()]);
        };
        self.gpu.scoped(clear).map_err(failed)
    }

    /// Submits `runs` runs of the kernel, and does not wait for them.
    ///
    /// # Errors
    /// [`ExecuteError::Failed`] from the device.
    pub fn submit(&self, prepared: &Prepared, runs: usize) -> Result<(), GpuError> {
        submit(&self.gpu, &prepared.recorded, runs, None).map(drop)
    }

    /// Runs the kernel `runs` times and says how long each took: by the device's timestamps, else by the clock.
    ///
    /// # Errors
    /// [`ExecuteError::Failed`] from the device.
    pub fn time(&self, prepared: &Prepared, runs: usize) -> Result<Vec<Duration>, GpuError> {
        time(&self.gpu, &prepared.recorded, runs)
    }

    /// Reads the output of clip `clip`, `[1, ...]`, that the last kernel wrote.
    ///
    /// # Errors
    /// [`ExecuteError::Failed`] from the device.
    pub fn output(&self, clip: usize) -> Result<HostTensor, GpuError> {
        let tensor = &self.plan.tensors()[self.plan.steps()[0].output];
        let shape: Shape = tensor.shape.with_batch(1);
        let bytes = (shape.stored_len() * tensor.dtype.size()) as u64;
        // Copies start and end at multiples of four bytes; a clip of f16 values may not.
        let (first, end) = (clip as u64 * bytes, (clip as u64 + 1) * bytes);
        let (start, size) = (first / 4 * 4, end.next_multiple_of(4) - first / 4 * 4);
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let readback = self.gpu.buffer("readback", size, usage)?;
        let copy = || {
            let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
            encoder.copy_buffer_to_buffer(&self.output, start, &readback, 0, size);
            self.gpu.queue.submit([encoder.finish()])
        };
        self.gpu.scoped(copy).map_err(failed)?;
        let skipped = (first - start) as usize;
        let data = self.gpu.read_buffer(&readback, |stored| {
            from_stored(shape, tensor.dtype, &stored[skipped..skipped + bytes as usize])
        })?;
        HostTensor::new(shape, data)
            .map_err(|source| ExecuteError::Output { output: "trial".into(), source }.into())
    }
}

/// Runs a dispatch `runs` times: by the device's timestamps, else by the clock.
pub(super) fn time(gpu: &Context, recorded: &Recorded, runs: usize) -> Result<Vec<Duration>, GpuError> {
    if !gpu.summary().timestamps {
        return (0..runs).map(|_| run(gpu, recorded, 1, None)).collect();
    }
    let timestamps = Timestamps::new(gpu, runs)?;
    run(gpu, recorded, runs, Some(&timestamps))?;
    gpu.read_buffer(&timestamps.readback, |bytes| timestamps.times(gpu, bytes))
}

/// Submits runs and waits for them.
fn run(
    gpu: &Context,
    recorded: &Recorded,
    runs: usize,
    timestamps: Option<&Timestamps>,
) -> Result<Duration, GpuError> {
    let start = Instant::now();
    submit(gpu, recorded, runs, timestamps)?;
    gpu.wait(None, gpu.default_timeout(runs))?;
    Ok(start.elapsed())
}

fn submit(
    gpu: &Context,
    recorded: &Recorded,
    runs: usize,
    timestamps: Option<&Timestamps>,
) -> Result<wgpu::SubmissionIndex, GpuError> {
    let record = || {
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&recorded.pipeline);
            pass.set_bind_group(0, &recorded.bind_group, &[]);
            let [x, y, z] = recorded.workgroups;
            for run in 0..=runs as u32 {
                if let Some(timestamps) = timestamps {
                    pass.write_timestamp(&timestamps.queries, run);
                }
                if run < runs as u32 {
                    pass.dispatch_workgroups(x, y, z);
                }
            }
        }
        if let Some(timestamps) = timestamps {
            timestamps.resolve(&mut encoder);
        }
        gpu.queue.submit([encoder.finish()])
    };
    gpu.scoped(record).map_err(failed)
}

/// Writes `stored` and repeats its first `period` bytes until `bytes` are full.
fn fill(gpu: &Context, buffer: &wgpu::Buffer, stored: &[u8], period: u64, bytes: u64) {
    let first = period.min(bytes);
    gpu.queue.write_buffer(buffer, 0, &stored[..(first.next_multiple_of(4) as usize).min(stored.len())]);
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    let mut filled = first;
    // wgpu copies between different buffers only: through one that holds the period.
    let usage = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
    if let Ok(source) = gpu.buffer("trial clips", first, usage) {
        gpu.queue.write_buffer(&source, 0, &stored[..(first.next_multiple_of(4) as usize).min(stored.len())]);
        while filled < bytes {
            let size = first.min(bytes - filled).next_multiple_of(4);
            encoder.copy_buffer_to_buffer(&source, 0, buffer, filled, size);
            filled += first;
        }
    }
    gpu.queue.submit([encoder.finish()]);
}
