//! Pipelines: a dispatch's shader text, constants and explicit layout, compiled once.

use std::collections::HashMap;

use super::{Gpu, GpuError};
use crate::kernels::{Dispatch, Role};

/// A compiled kernel with the layout of its bindings.
#[derive(Clone, Debug)]
pub(super) struct Pipeline {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
}

/// Pipelines by what they were made from, so that equal dispatches share one.
#[derive(Debug, Default)]
pub(super) struct Pipelines(HashMap<Key, Pipeline>);

/// Shader text, and the constants by their bits.
type Key = (String, Vec<(&'static str, u64)>);

impl Pipelines {
    /// The pipeline for a dispatch, compiled at its first use.
    pub(super) fn get(&mut self, gpu: &Gpu, dispatch: &Dispatch) -> Result<Pipeline, GpuError> {
        let constants = dispatch.constants.iter().map(|&(name, value)| (name, value.to_bits())).collect();
        let key = (dispatch.source(), constants);
        if let Some(pipeline) = self.0.get(&key) {
            return Ok(pipeline.clone());
        }
        let pipeline = compile(gpu, dispatch, &key.0)?;
        self.0.insert(key, pipeline.clone());
        Ok(pipeline)
    }
}

fn compile(gpu: &Gpu, dispatch: &Dispatch, source: &str) -> Result<Pipeline, GpuError> {
    let name = dispatch.kernel.name;
    gpu.scoped(|| {
        let layout = gpu.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(name),
            entries: &layout_entries(dispatch),
        });
        let pipeline_layout = gpu.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(name),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let module = gpu.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(name),
            source: wgpu::ShaderSource::Wgsl(source.into()),
        });
        let pipeline = gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(name),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &dispatch.constants,
                // Every kernel writes its shared memory before it reads it.
                zero_initialize_workgroup_memory: false,
            },
            cache: None,
        });
        Pipeline { pipeline, layout }
    })
    .map_err(|error| GpuError::Shader { kernel: name.to_string(), reason: error.to_string() })
}

/// The uniform at slot 0, then the kernel's buffers.
fn layout_entries(dispatch: &Dispatch) -> Vec<wgpu::BindGroupLayoutEntry> {
    let entry = |binding, ty| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    };
    let buffers = dispatch.kernel.bindings.iter().enumerate().map(|(place, binding)| {
        let read_only = binding.role != Role::Output;
        entry(place as u32 + 1, wgpu::BufferBindingType::Storage { read_only })
    });
    std::iter::once(entry(0, wgpu::BufferBindingType::Uniform)).chain(buffers).collect()
}
