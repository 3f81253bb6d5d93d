//! Buffers of weights, and bindings of buffers.

use super::layout::weight_bytes;
use super::select::SelectedKernel;
use super::{Context, GpuError, failed};
use crate::kernels::Packed;

/// Binding of a part of a buffer.
pub(super) fn binding(buffer: &wgpu::Buffer, offset: u64, bytes: u64) -> wgpu::BindingResource<'_> {
    wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size: wgpu::BufferSize::new(bytes) })
}

/// Uploads the packed weights of a step.
pub(super) fn upload_weights(
    gpu: &Context,
    packed: &[Packed],
    chosen: &SelectedKernel,
) -> Result<Vec<wgpu::Buffer>, GpuError> {
    let buffers = packed.iter().map(|array| {
        let bytes = weight_bytes(array, chosen.dispatch.element);
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
        let buffer = gpu.buffer("weights", bytes.len() as u64, usage)?;
        gpu.scoped(|| gpu.queue.write_buffer(&buffer, 0, &bytes)).map_err(failed)?;
        Ok(buffer)
    });
    buffers.collect()
}
