//! Pipelines: a dispatch's shader text, constants and explicit layout, compiled once.

use std::collections::HashMap;

use super::select::SelectedKernel;
use super::{Context, GpuError};
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

/// Shader text, the constants by their bits, and whether it runs without checks.
type Key = (String, Vec<(&'static str, u64)>, bool);

impl Pipelines {
    /// The pipeline for a step's dispatch, compiled at its first use.
    pub(super) fn get(
        &mut self,
        gpu: &Context,
        chosen: &SelectedKernel,
        trusted: bool,
    ) -> Result<Pipeline, GpuError> {
        let dispatch = &chosen.dispatch;
        let constants = dispatch.constants.iter().map(|&(name, value)| (name, value.to_bits())).collect();
        let key = (chosen.source(), constants, trusted);
        if let Some(pipeline) = self.0.get(&key) {
            return Ok(pipeline.clone());
        }
        let pipeline = compile(gpu, dispatch, &key.0, trusted)?;
        self.0.insert(key, pipeline.clone());
        Ok(pipeline)
    }
}

fn compile(gpu: &Context, dispatch: &Dispatch, source: &str, trusted: bool) -> Result<Pipeline, GpuError> {
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
        let module = wgpu::ShaderModuleDescriptor {
            label: Some(name),
            source: wgpu::ShaderSource::Wgsl(source.into()),
        };
        let module =
            if trusted { without_checks(gpu, module) } else { gpu.device.create_shader_module(module) };
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
            cache: gpu.cache.as_ref().map(|cache| &cache.pipelines),
        });
        Pipeline { pipeline, layout }
    })
    .map_err(|error| GpuError::Shader { kernel: name.to_string(), reason: error.to_string() })
}

/// A module whose indices are not clamped and whose loops are not counted.
fn without_checks(gpu: &Context, module: wgpu::ShaderModuleDescriptor<'_>) -> wgpu::ShaderModule {
    // SAFETY: only for kernels of this crate whose largest index into every binding the host half states and
    // `kernels::is_within_bounds` has compared with the bindings (`SelectedKernel::packed`); their loops count up to sizes.
    unsafe { gpu.device.create_shader_module_trusted(module, wgpu::ShaderRuntimeChecks::unchecked()) }
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
