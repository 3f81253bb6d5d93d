//! Host-visible buffers of recordings, which come back when the device is done with them.

use std::sync::{Arc, Mutex, PoisonError};

/// Buffers that no recording uses; those for uploads are mapped.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool(Arc<Mutex<Vec<wgpu::Buffer>>>);

/// Most unused buffers of a pool.
const MAX_FREE: usize = 4;

impl Pool {
    pub(super) fn take(&self) -> Option<wgpu::Buffer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    pub(super) fn give_back(&self, buffer: wgpu::Buffer) {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < MAX_FREE {
            free.push(buffer);
        }
    }
}
