//! Tiny kernels that measure the device itself.

use std::time::Duration;

use super::trial::{Recorded, time};
use super::{Context, GpuError};

/// A kernel with one buffer to read (slot 0) and one to write (slot 1), of equal size.
#[derive(Debug)]
pub struct Probe {
    gpu: Context,
    recorded: Recorded,
}

impl Probe {
    /// Compiles `source` and makes its buffers, which hold zeros.
    ///
    /// # Errors
    /// [`GpuError::Shader`] when it does not compile, [`GpuError::Execute`].
    pub fn new(gpu: &Context, source: &str, bytes: u64, workgroups: u32) -> Result<Probe, GpuError> {
        let usage = wgpu::BufferUsages::STORAGE;
        let buffers = [gpu.buffer("probe", bytes, usage)?, gpu.buffer("probe", bytes, usage)?];
        let make = || {
            let module = gpu.device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some("probe"),
                source: wgpu::ShaderSource::Wgsl(source.into()),
            });
            let pipeline = gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some("probe"),
                layout: None,
                module: &module,
                entry_point: Some("main"),
                compilation_options: Default::default(),
                cache: None,
            });
            let entries = [0, 1].map(|slot| wgpu::BindGroupEntry {
                binding: slot,
                resource: buffers[slot as usize].as_entire_binding(),
            });
            let bind_group = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("probe"),
                layout: &pipeline.get_bind_group_layout(0),
                entries: &entries,
            });
            Recorded { pipeline, bind_group, workgroups: [workgroups, 1, 1] }
        };
        let failed =
            |error: wgpu::Error| GpuError::Shader { kernel: "probe".into(), reason: error.to_string() };
        Ok(Probe { recorded: gpu.scoped(make).map_err(failed)?, gpu: gpu.clone() })
    }

    /// Times of `runs` runs.
    ///
    /// # Errors
    /// [`GpuError::Execute`] from the device.
    pub fn time(&self, runs: usize) -> Result<Vec<Duration>, GpuError> {
        time(&self.gpu, &self.recorded, runs)
    }
}
