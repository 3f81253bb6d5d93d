//! Compiled pipelines that are kept between runs, where the backend hands them out (Vulkan).
//!
//! Whatever goes wrong here costs the time of a compilation and nothing else.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

/// Bytes of the digest in front of the driver's data.
const DIGEST: usize = 32;
/// Maximum size: no driver's pipelines for a few dozen kernels are larger.
pub(super) const LARGEST: usize = 64 << 20;

/// Storage of the pipelines of a device, such as a file.
pub(super) trait PipelineStore: fmt::Debug + Send + Sync {
    /// Loads what was stored, if it can be read and is not larger than [`LARGEST`].
    fn load(&self) -> Option<Vec<u8>>;

    /// Replaces what was stored; returns true on success.
    fn save(&self, content: &[u8]) -> bool;
}

/// A device's pipelines and their storage.
#[derive(Debug)]
pub(super) struct PipelineCache {
    pub(super) pipelines: wgpu::PipelineCache,
    store: Box<dyn PipelineStore>,
    /// Stored contents, digest first.
    stored: Mutex<Vec<u8>>,
}

impl PipelineCache {
    /// Name of the pipelines of a device; `None` on backends without pipeline caches.
    pub(super) fn key(device: &wgpu::Device) -> Option<String> {
        if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let key = wgpu::util::pipeline_cache_key(&device.adapter_info())?;
        Some(format!("{key}-{}", env!("CARGO_PKG_VERSION")))
    }

    /// Makes the cache of a device that has a [`PipelineCache::key`].
    pub(super) fn new(device: &wgpu::Device, store: Box<dyn PipelineStore>) -> PipelineCache {
        let stored = store.load().filter(|content| is_intact(content)).unwrap_or_default();
        let descriptor = wgpu::PipelineCacheDescriptor {
            label: Some("pipelines"),
            data: stored.get(DIGEST..).filter(|data| !data.is_empty()),
            fallback: true,
        };
        // SAFETY: the bytes are what `get_data` gave for a device with the same key: the store has that key, and the
        // digest in front of them is right. Vulkan has no safe way to hand them to a driver, and the driver itself passes
        // over what another version of it wrote.
        let pipelines = unsafe { device.create_pipeline_cache(&descriptor) };
        PipelineCache { pipelines, store, stored: Mutex::new(stored) }
    }

    /// Stores the pipelines if there are new ones.
    pub(super) fn save(&self) {
        let Some(data) = self.pipelines.get_data() else { return };
        let content = [&*Sha256::digest(&data), &data].concat();
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        if *stored != content && content.len() <= LARGEST && self.store.save(&content) {
            *stored = content;
        }
    }
}

/// Returns true if the digest is right.
fn is_intact(content: &[u8]) -> bool {
    let parts = content.split_at_checked(DIGEST);
    parts.is_some_and(|(digest, data)| *Sha256::digest(data) == *digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_contents_are_recognised() {
        let content = [&*Sha256::digest(b"pipelines"), b"pipelines".as_slice()].concat();
        assert!(is_intact(&content));
        for place in 0..content.len() {
            let mut damaged = content.clone();
            damaged[place] ^= 1;
            assert!(!is_intact(&damaged), "byte {place}");
            assert!(!is_intact(&content[..place]), "{place} bytes");
        }
    }
}
