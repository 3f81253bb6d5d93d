//! Device time of one compute pass, where the device has timestamps.

use super::Pool;
use crate::gpu::{Context, GpuError, failed};

/// Bytes of two timestamps.
const BYTES: u64 = 16;

/// Timestamps at the beginning and the end of passes.
#[derive(Debug)]
pub(super) struct PassTimer {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    readbacks: Pool,
    period_ns: f64,
}

impl PassTimer {
    /// `None` for a device without timestamps.
    pub(super) fn new(gpu: &Context) -> Result<Option<PassTimer>, GpuError> {
        if !gpu.device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return Ok(None);
        }
        let descriptor =
            wgpu::QuerySetDescriptor { label: Some("pass time"), ty: wgpu::QueryType::Timestamp, count: 2 };
        let queries = gpu.scoped(|| gpu.device.create_query_set(&descriptor)).map_err(failed)?;
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let resolved = gpu.buffer("timestamps", BYTES, usage)?;
        let period_ns = f64::from(gpu.queue.get_timestamp_period());
        Ok(Some(PassTimer { queries, resolved, readbacks: Pool::default(), period_ns }))
    }

    pub(super) fn writes(&self) -> wgpu::ComputePassTimestampWrites<'_> {
        wgpu::ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(0),
            end_of_pass_write_index: Some(1),
        }
    }

    /// Records the readback of the last pass; `done` gets its seconds once the device is done.
    pub(super) fn read(
        &self,
        gpu: &Context,
        encoder: &mut wgpu::CommandEncoder,
        done: impl FnOnce(f64) + Send + 'static,
    ) -> Result<(), GpuError> {
        let buffer = match self.readbacks.take() {
            Some(buffer) => buffer,
            None => {
                gpu.buffer("timestamps", BYTES, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST)?
            }
        };
        encoder.resolve_query_set(&self.queries, 0..2, &self.resolved, 0);
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &buffer, 0, BYTES);
        let (readbacks, period_ns) = (self.readbacks.clone(), self.period_ns);
        encoder.map_buffer_on_submit(&buffer.clone(), wgpu::MapMode::Read, .., move |mapped| {
            if mapped.is_err() {
                return;
            }
            let ticks = match buffer.get_mapped_range(..) {
                Ok(bytes) => bytes.as_chunks::<8>().0.iter().map(|&word| u64::from_le_bytes(word)).collect(),
                Err(_) => Vec::new(),
            };
            buffer.unmap();
            readbacks.give_back(buffer);
            if let [begin, end, ..] = ticks[..] {
                done(end.saturating_sub(begin) as f64 * period_ns * 1e-9);
            }
        });
        Ok(())
    }
}
