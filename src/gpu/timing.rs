//! Time of each step on the device, from timestamps between kernels.

use std::time::Duration;

use super::{Context, GpuError, failed};

/// Timestamps around the steps of one submission.
#[derive(Debug)]
pub(super) struct Timestamps {
    pub(super) queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    pub(super) readback: wgpu::Buffer,
    count: u32,
}

impl Timestamps {
    /// Room for one timestamp before the first of `steps` steps and one after each.
    pub(super) fn new(gpu: &Context, steps: usize) -> Result<Timestamps, GpuError> {
        if !gpu.summary().timestamps {
            return Err(GpuError::MissingFeature {
                adapter: gpu.summary().name.clone(),
                feature: "timestamps inside compute passes",
                advice: "time whole batches instead",
            });
        }
        let count = steps as u32 + 1;
        let bytes = u64::from(count) * 8;
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let resolved = gpu.buffer("timestamps", bytes, usage)?;
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let readback = gpu.buffer("timestamps", bytes, usage)?;
        let descriptor =
            wgpu::QuerySetDescriptor { label: Some("timestamps"), ty: wgpu::QueryType::Timestamp, count };
        let queries = gpu.scoped(|| gpu.device.create_query_set(&descriptor)).map_err(failed)?;
        Ok(Timestamps { queries, resolved, readback, count })
    }

    /// Records the copy of all timestamps to where the host can read them.
    pub(super) fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        encoder.resolve_query_set(&self.queries, 0..self.count, &self.resolved, 0);
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.readback, 0, u64::from(self.count) * 8);
    }

    /// Time between neighbouring timestamps, from the bytes read back.
    pub(super) fn times(&self, gpu: &Context, bytes: &[u8]) -> Vec<Duration> {
        let ticks: Vec<u64> = bytes
            .chunks_exact(8)
            .take(self.count as usize)
            .map(|b| u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]))
            .collect();
        let period = f64::from(gpu.queue.get_timestamp_period());
        ticks
            .windows(2)
            .map(|pair| Duration::from_nanos((pair[1].saturating_sub(pair[0]) as f64 * period) as u64))
            .collect()
    }
}
